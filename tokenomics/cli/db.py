"""Check the token database: every checksum, the chain of records, every policy.

example:
  tokenomics db verify
"""

from __future__ import annotations

import argparse

from tokenomics.cli.context import Context
from tokenomics.cli.which import open_database
from tokenomics.errors import NotFound
from tokenomics.policy.model import parse_policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    commands.add_parser("verify", help="read all of it", prog=f"{parser.prog} verify")


def run(context: Context, _args: argparse.Namespace) -> int:
    """Read everything; the first damage ends it with its offset. Raises Invalid."""
    path = context.config.storage.db_path
    if not path.exists():
        raise NotFound(f"{path}: there is no such file")
    database = open_database(context)
    for entry in database.table.entries.values():
        parse_policy(database.policy_text(entry))
    found = {
        "file": str(path),
        "id": database.id,
        "generation": database.generation,
        "revision": database.table.revision,
        "tokens": len(database.table.entries),
    }
    if context.json:
        context.print_json(found)
    context.print(
        f"{path}: whole; {found['tokens']} tokens, revision {found['revision']},"
        f" id {database.id[:8]}, generation {database.generation}"
    )
    return 0
