"""`policy explain`: a token's policy, a model and perhaps a body, and what the proxy would do."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import trio

from tokenomics.cli import node
from tokenomics.cli.context import Context
from tokenomics.cli.which import find, open_database
from tokenomics.dialects import endpoints
from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint
from tokenomics.errors import Failed, NotFound, Refusal, UsageError
from tokenomics.gateway.explain import Case, Explanation, explain
from tokenomics.gateway.upstream import origin_of, segment_of
from tokenomics.policy.endpoints import bare_path, permits
from tokenomics.policy.model import Policy, parse_policy
from tokenomics.policy.route import Target
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.units import rfc3339

STDIN = "-"
EXIT_STATUS = """Exit status of `explain`: 0 if it told what would become of the request, also where
it would be refused (--json: `would_be`); 1 if a file cannot be read; 2 if an option or the model is
missing; 3 if a file or the token does not exist; 4 if several tokens are meant; 5 if the policy or
the config is not valid."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--hash", metavar="PREFIX", help="a token, at least 6 hex digits")
    which.add_argument("--name", help="a token by its name")
    which.add_argument(
        "--file", metavar="POLICY", help="a policy file instead of a token's; - for stdin"
    )
    parser.add_argument("--model", default="", help="the model that is asked for; else the body's")
    parser.add_argument("--body", metavar="FILE", help="a request body to look at; - for stdin")
    parser.add_argument("--path", default="/v1/chat/completions", help="the path it is sent to")


def run(context: Context, args: argparse.Namespace) -> int:
    """Print the steps. Raises UsageError, NotFound, Ambiguous, Invalid or Failed."""
    if args.file == STDIN == args.body:
        raise UsageError("--file and --body cannot both be stdin")
    told = Explanation()
    policy = _policy(context, args, told)
    if told.refusal is None:
        trio.run(_explain, context, args, policy, told)
    if context.json:
        context.print_json(told.document(), indent=2)
    context.print(told.text())
    return 0


def _policy(context: Context, args: argparse.Namespace, told: Explanation) -> Policy:
    """The policy, and the step that finds it."""
    if args.file is not None:
        policy = parse_policy(_bytes(args.file).decode("utf-8", "replace"))
        told.add("token", f"none; the policy is {_named(args.file)}", *_conditions(policy))
        return policy
    database = open_database(context)
    entry = find(database, args)
    policy = parse_policy(database.policy_text(entry))
    lines = [f"{entry.hash[:EVENT_HASH_DIGITS]} {entry.name}".rstrip()]
    now = time.time()
    if entry.expires_at is not None and entry.expires_at <= now:
        expired = Refusal("token_expired", f"the token expired at {rfc3339(entry.expires_at)}")
        told.refuse("token", expired, *lines)
    elif policy.not_before > now:
        when = rfc3339(policy.not_before)
        early = Refusal("token_not_yet_valid", f"the token is not valid before {when}")
        told.refuse("token", early, *lines)
    else:
        told.add("token", *lines, *_conditions(policy))
    return policy


def _conditions(policy: Policy) -> list[str]:
    networks = ", ".join(str(network) for network in policy.allow_ips)
    return [f"only from {networks} (allow_ips)"] if networks else []


async def _explain(
    context: Context, args: argparse.Namespace, policy: Policy, told: Explanation
) -> None:
    site = node.make_site(context.config)
    try:
        endpoint = _endpoint(policy, args.path)
        ask = _ask(endpoint, args)
    except Refusal as refusal:
        told.refuse("body" if refusal.code.startswith("invalid") else "endpoint", refusal)
        return
    model = args.model or (ask.model if ask else "")
    if not model and endpoint.name != "open":
        raise UsageError("explain needs --model, or --body with a model in it")
    await explain(Case(policy, site, endpoint, model, ask, reach=_reach), told)


def _endpoint(policy: Policy, path: str) -> Endpoint:
    bare = bare_path(path)
    if bare in ENDPOINTS:
        return ENDPOINTS[bare]
    if permits(policy.endpoints, path):
        return open_endpoint(bare)
    raise Refusal("endpoint_not_allowed", f'{path} is closed: "endpoints" does not open it')


def _ask(endpoint: Endpoint, args: argparse.Namespace) -> Ask | None:
    if args.body is None:
        return None
    ask = endpoints.read(endpoint, _bytes(args.body))
    if args.model:
        ask.model = args.model
    return ask


def _reach(endpoint: Endpoint, target: Target) -> None:
    """Whether the provider can serve the endpoint. Its key is where `serve` runs, not here."""
    origin_of(target.provider, endpoint)
    segment_of(target)


def _named(name: str) -> str:
    return "that of stdin" if name == STDIN else name


def _bytes(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{name}: there is no such file") from None
    except OSError as e:
        raise Failed(f"{name}: {e.strerror}") from None
