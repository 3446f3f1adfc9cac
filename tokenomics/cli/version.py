"""Print the version of tokenomics and of the Python it runs on.

example:
  tokenomics version --json
"""

from __future__ import annotations

import argparse
import platform

from tokenomics import __version__
from tokenomics.cli.context import Context


def configure(_parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def run(context: Context, _args: argparse.Namespace) -> int:
    """Print it."""
    if context.json:
        context.print_json({"version": __version__, "python": platform.python_version()})
    else:
        print(f"tokenomics {__version__} (Python {platform.python_version()})")
    return 0
