"""The command line: one table of commands, one outer door for their errors.

A command's module is imported, and its parser built, only when it is asked for: `--version` starts
in a few milliseconds. A module has `configure(parser)` and `run(context, arguments) -> status`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from types import ModuleType

from tokenomics import __version__
from tokenomics.errors import ToolError, UsageError

COMMANDS = {
    "serve": "run the proxy",
    "remote": "run the central config server",
    "token": "create, list, get, update and delete wrapper tokens",
    "policy": "check policies before a token gets them",
    "provider": "list and test the providers, and their models",
    "init": "print what a client needs to use a proxy",
    "run": "run a command behind a private proxy",
    "demo": "try everything on this machine with the built-in echo provider",
    "db": "check the token database",
    "docs": "read the documentation",
    "version": "print the version",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Parser(argparse.ArgumentParser):
    """argparse with our one-line errors and exact option names."""

    def __init__(self, prog: str, description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> None:  # type: ignore[override]  # argparse says NoReturn
        raise UsageError(f"{message}\nsee: {self.prog} --help")


def _globals() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = Parser.error.__get__(parser)  # type: ignore[method-assign]  # same errors
    parser.prog = "tokenomics"
    parser.add_argument("--config", metavar="FILE")
    parser.add_argument("--dir", metavar="DIR")
    parser.add_argument("--db", metavar="FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--version", action="store_true")
    return parser


def _overview() -> str:
    rows = "\n".join(f"  {name:9} {what}" for name, what in COMMANDS.items())
    return f"""usage: tokenomics [options] COMMAND ...

The gateway between a team and its LLM providers.

commands:
{rows}

options, before or after the command:
  --config FILE   config file (else ./.tokenomics/, ., ~/.tokenomics/ are searched)
  --dir DIR       state directory (default ~/.tokenomics)
  --db FILE       token database
  --json          machine output on stdout, nothing else there
  --quiet         no messages but errors
  --version       print the version

first steps:
  tokenomics demo
  tokenomics docs quickstart
"""


def dispatch(argv: list[str]) -> int:
    """Run one command line. Raises ToolError."""
    cut = argv.index("--") if "--" in argv else len(argv)
    known, rest = _globals().parse_known_args(argv[:cut])
    rest += argv[cut:]  # what follows is another program's
    if known.version:
        print(f"tokenomics {__version__}")
        return 0
    if not rest or rest[0] in ("-h", "--help", "help"):
        print(_overview(), end="")
        return 0 if rest else UsageError.exit_code
    name = rest[0]
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}\n\n{_overview()}")
    module = importlib.import_module(f"tokenomics.cli.{name}")
    parser = Parser(f"tokenomics {name}", module.__doc__ or "")
    module.configure(parser)
    arguments = parser.parse_args(rest[1:])
    return _run(module, known, arguments)


def _run(module: ModuleType, known: argparse.Namespace, arguments: argparse.Namespace) -> int:
    from tokenomics.cli.context import Context

    context = Context(known)
    status: int = module.run(context, arguments)
    sys.stdout.flush()
    return status


def main(argv: list[str] | None = None) -> int:
    """The entry point: the exit status. Errors end here, as one message on stderr."""
    try:
        return dispatch(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as e:  # argparse's --help
        return e.code if isinstance(e.code, int) else 0
    except BrokenPipeError:  # `tokenomics token list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ToolError as e:
        return _fail(e)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:  # Ctrl-C inside a nursery
            return INTERRUPTED
        found = _tool_error(group)
        if found is None:
            return _bug(group)
        return _fail(found)
    except Exception as e:  # noqa: BLE001  outer door: nobody is shown a traceback unasked
        return _bug(e)


def _fail(error: ToolError) -> int:
    if os.environ.get("TOKENOMICS_DEBUG") == "1":
        raise error
    print(f"tokenomics: {error}", file=sys.stderr)
    return error.exit_code


def _bug(error: BaseException) -> int:
    if os.environ.get("TOKENOMICS_DEBUG") == "1":
        raise error
    print(
        f"tokenomics: internal error: {type(error).__name__}: {error}\n"
        "This is a bug. TOKENOMICS_DEBUG=1 shows where it happened.",
        file=sys.stderr,
    )
    return 1


def _tool_error(group: BaseExceptionGroup[BaseException]) -> ToolError | None:
    """The first ToolError in a group that came out of a nursery."""
    for error in group.exceptions:
        if isinstance(error, ToolError):
            return error
        if isinstance(error, BaseExceptionGroup) and (inner := _tool_error(error)):
            return inner
    return None
