"""Load over real sockets that tries to get past limits: `python -m tests.load --help`."""
