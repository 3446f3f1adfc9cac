"""Configuration: `settings` is the table, `sources` reads files, `providers` the catalogue."""
