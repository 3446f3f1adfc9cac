"""Check policies before a token gets them, and explain what they do with a request.

`check` says of each file whether it is valid; what is wrong with it, with the JSON path; and what
is valid but hardly meant so. It needs no token, no database and no network. Providers are compared
with this installation's if it has a config.

`explain` says step by step what the proxy would do with a request, and what decided each step. It
takes a token or a policy file, a model, and a body if you have one; it sends nothing. A running
proxy does the same for a live request with its counts: header `x-tokenomics-explain: 1`, with
admin.auth.password in `x-tokenomics-admin`.

Exit status of `check`: 0 if all are valid, warnings or not; 5 if one is not; 3 if a file does not
exist; 1 if one cannot be read.

Exit status of `explain`: 0 if it told what would become of the request, also where it would be
refused; what else there is says `tokenomics policy explain --help`.

examples:
  tokenomics policy check lead-engineer.json
  tokenomics policy check policies/*.json --json
  tokenomics policy explain --name alice --model gpt-4o --body request.json
  tokenomics policy explain --file contractor.json --model o3 --path /v1/responses
  tokenomics token get --name alice --json | jq .policy | tokenomics policy check -
  jq .model_aliases={} contractor.json | tokenomics policy explain --file - --model o3
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tokenomics.cli import explaining, node
from tokenomics.cli.context import Context
from tokenomics.errors import Failed, Invalid, NotFound
from tokenomics.policy.advice import Advice, advise
from tokenomics.policy.route import Site
from tokenomics.policy.schema import Fault, examine


class Verdict(NamedTuple):
    """What there is to say of one file."""

    name: str
    faults: list[Fault]
    advice: list[Advice]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = commands.add_parser(
        "check", help="validate policies, and warn of what is odd", prog=f"{parser.prog} check"
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="a policy in JSON; - for stdin")
    what = commands.add_parser(
        "explain",
        help="what would become of a request, and why",
        prog=f"{parser.prog} explain",
        epilog=explaining.EXIT_STATUS,
    )
    explaining.configure(what)


def run(context: Context, args: argparse.Namespace) -> int:
    """Run one subcommand."""
    if args.action == "explain":
        return explaining.run(context, args)
    site = _site(context)
    verdicts, missing = [], False
    for name in args.files:
        try:
            verdicts.append(_judge(name, _read(name), site))
        except NotFound as e:  # the others are checked all the same
            context.note(str(e))
            missing = True
    if context.json:
        context.print_json([_row(verdict) for verdict in verdicts], indent=2)
    else:
        for verdict in verdicts:
            _show(context, verdict)
    if any(verdict.faults for verdict in verdicts):
        return Invalid.exit_code
    return NotFound.exit_code if missing else 0


def _read(name: str) -> str:
    """The text of a file or of stdin. Raises NotFound, Invalid or Failed."""
    try:
        return sys.stdin.read() if name == explaining.STDIN else Path(name).read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"{name}: there is no such file") from None
    except UnicodeDecodeError as e:
        raise Invalid(f"{name}: is not UTF-8 at byte {e.start}") from None
    except OSError as e:
        raise Failed(f"{name}: cannot be read: {e.strerror}") from None


def _site(context: Context) -> Site | None:
    """This installation, None if it has no config or one that cannot be read: that is no reason not
    to check a policy."""
    try:
        if not context.has_config():
            return None
        return node.make_site(context.config)
    except Invalid as e:
        context.note(f"warning: providers are not compared, for the config is not valid: {e}")
        return None


def _judge(name: str, text: str, site: Site | None) -> Verdict:
    policy, document, faults = examine(text)
    advice = [] if policy is None else advise(policy, site, document, time.time())
    return Verdict(name, faults, advice)


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "file": verdict.name,
        "valid": not verdict.faults,
        "faults": [fault._asdict() for fault in verdict.faults],
        "warnings": [advice._asdict() for advice in verdict.advice],
    }


def _show(context: Context, verdict: Verdict) -> None:
    """Faults are shown also with --quiet."""
    for fault in verdict.faults:
        print(f"{verdict.name}: error: {fault}")
    for advice in verdict.advice:
        context.print(f"{verdict.name}: warning: {advice}")
    if not verdict.faults:
        count = len(verdict.advice)
        many = f", {count} warning{'s' if count > 1 else ''}" if count else ""
        context.print(f"{verdict.name}: ok{many}")
