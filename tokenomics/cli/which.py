"""Which token a command is about, and where it stands."""

from __future__ import annotations

import argparse

from tokenomics.cli.context import Context
from tokenomics.errors import UsageError
from tokenomics.store.database import Database, Place
from tokenomics.store.table import Entry
from tokenomics.tokens import is_hash_prefix


def find(database: Database, args: argparse.Namespace) -> Entry:
    """The token that `--hash` or `--name` stands for. Raises UsageError, NotFound, Ambiguous."""
    if args.hash is not None and not is_hash_prefix(args.hash):
        raise UsageError(f"--hash {args.hash}: a hash prefix is 6 to 64 lower-case hex digits")
    return database.find(prefix=args.hash, name=args.name)


def open_database(context: Context) -> Database:
    """The token database of the config. Raises Invalid or Failed."""
    place = Place(
        context.config.storage.db_path,
        context.encryption_key(),
        context.config.security.encryption_key_env,
    )
    return Database(place, context.note)
