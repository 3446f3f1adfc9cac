"""Read the documentation: it is inside the program, and needs no network.

examples:
  tokenomics docs
  tokenomics docs policies
"""

from __future__ import annotations

import argparse
from importlib import resources

from tokenomics.cli.context import Context
from tokenomics.config.settings import rows
from tokenomics.errors import NotFound

SETTINGS_MARK = "<!-- settings -->\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the topic."""
    parser.add_argument("topic", nargs="?", help="one of the topics that `docs` alone lists")


def topics() -> dict[str, str]:
    """Every topic and its title."""
    out = {}
    for file in sorted(resources.files("tokenomics").joinpath("docs").iterdir(), key=str):
        if file.name.endswith(".md"):
            out[file.name.removesuffix(".md")] = (
                file.read_text("utf-8").splitlines()[0].lstrip("# ")
            )
    return out


def page(topic: str) -> str:
    """One page, with the tables that are made from the code."""
    text = resources.files("tokenomics").joinpath("docs", f"{topic}.md").read_text("utf-8")
    return text.replace(SETTINGS_MARK, _settings_table())


def _settings_table() -> str:
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for row in rows():
        default = "" if row.default in ((), {}) or str(row.default) in (".", "") else row.default
        inert = f" No effect in this version: {row.inert}." if row.inert else ""
        lines.append(f"| `{row.key}` | {default} | {row.help}{inert} |")
    return "\n".join(lines) + "\n"


def run(context: Context, args: argparse.Namespace) -> int:
    """Print a page, or the list of pages."""
    known = topics()
    if args.topic is None:
        for name, title in known.items():
            context.print(f"  {name:15} {title}")
        return 0
    if args.topic not in known:
        raise NotFound(f"there is no topic {args.topic!r}; topics: {', '.join(known)}")
    print(page(args.topic), end="")
    return 0
