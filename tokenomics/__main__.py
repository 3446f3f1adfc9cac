"""`python -m tokenomics`: the same as the built file."""

import sys

from tokenomics.cli import main

sys.exit(main())
