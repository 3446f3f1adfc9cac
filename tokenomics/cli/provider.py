"""The providers that are known here: what is configured, whether they answer, what they have.

`test` asks each provider for its list of models, or for a chat of one token where the list says
nothing of the key. Without a name it tests those whose key is set. Keys are never shown.

examples:
  tokenomics provider list
  tokenomics provider test
  tokenomics provider models openai
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import trio

from tokenomics.cli import outgoing
from tokenomics.cli.context import Context
from tokenomics.cli.probe import Verdict, models, probe
from tokenomics.cli.proxy import echo_dialer
from tokenomics.config.catalogue import UNSET_URL
from tokenomics.config.providers import Provider, build_providers
from tokenomics.config.sources import provider_key
from tokenomics.errors import Failed, NotFound
from tokenomics.logs import Log
from tokenomics.net.client import Client

AT_ONCE = 8  # providers that are asked at the same time
SHOWN_MODELS = 3  # of each provider in `list`; --json has them all


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, what in (
        ("list", "what is configured, and which keys are set"),
        ("test", "whether providers answer and take the keys"),
        ("models", "the models that a provider says it has"),
    ):
        command = commands.add_parser(name, help=what, prog=f"{parser.prog} {name}")
        if name == "test":
            command.add_argument("name", nargs="?", metavar="NAME", help="one provider")
        elif name == "models":
            command.add_argument("name", metavar="NAME", help="a provider")


def run(context: Context, args: argparse.Namespace) -> int:
    """Run one subcommand. Raises ToolError."""
    providers = build_providers(context.config.providers)
    if args.action == "list":
        return _list(context, list(providers.values()))
    outgoing.check(context.config, context.env)
    if args.name is not None and args.name not in providers:
        raise NotFound(f"there is no provider {args.name!r}; known: {', '.join(providers)}")
    if args.action == "models":
        return _models(context, providers[args.name])
    if args.name is not None:
        return _test(context, [providers[args.name]])
    # Two rows share Azure's key; the one that nobody gave a URL is not in use.
    known = [p for p in providers.values() if p.upstream_url != UNSET_URL]
    chosen = [p for p in known if any(_keys(context, p).values())]
    if not chosen:
        raise Failed("no provider's key is set here (see: tokenomics provider list); name one")
    return _test(context, chosen)


def _keys(context: Context, provider: Provider) -> dict[str, str | None]:
    """A provider's keys by their variables, None where one is not set; empty if it needs none."""
    return {name: provider_key(name, context.env) for name in provider.variables}


def _list(context: Context, providers: Sequence[Provider]) -> int:
    if context.json:
        context.print_json([_row(context, provider) for provider in providers], indent=2)
        return 0
    table = [("NAME", "DIALECT", "URL", "KEY", "MODELS")]
    for provider in providers:
        keys = _keys(context, provider).items()
        shown = ", ".join(f"{name} ({'set' if key else 'not set'})" for name, key in keys)
        more = len(provider.models) - SHOWN_MODELS
        names = [*provider.models[:SHOWN_MODELS], *([f"and {more} more"] if more > 0 else [])]
        row = (provider.name, provider.dialect, _url(provider), shown or "none", ", ".join(names))
        table.append(row)
    _print_table(context, table)
    return 0


def _row(context: Context, provider: Provider) -> dict[str, Any]:
    keys = _keys(context, provider)
    return {
        "name": provider.name,
        "dialect": provider.dialect,
        "url": _url(provider),
        "chat_path": provider.chat_path,
        "auth_scheme": provider.auth_scheme,
        "keys": [{"variable": name, "set": bool(key)} for name, key in keys.items()],
        "models": list(provider.models),
    }


def _url(provider: Provider) -> str:
    """The base URL without a password that may stand in it."""
    if provider.upstream_url == UNSET_URL:
        return "(set upstream_url)"
    parts = urlsplit(provider.upstream_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _print_table(context: Context, table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        context.print(
            "  ".join(f"{cell:{n}}" for cell, n in zip(row, widths, strict=True)).rstrip()
        )


def _test(context: Context, providers: Sequence[Provider]) -> int:
    verdicts = trio.run(_probe_all, context, providers)
    if context.json:
        context.print_json([verdict._asdict() for verdict in verdicts], indent=2)
    table = [
        (
            "ok" if v.ok else "FAIL",
            v.provider,
            v.variable or "no key",
            "" if v.milliseconds is None else f"{v.milliseconds} ms",
            v.said,
        )
        for v in verdicts
    ]
    _print_table(context, table)
    return 0 if all(verdict.ok for verdict in verdicts) else Failed.exit_code


async def _probe_all(context: Context, providers: Sequence[Provider]) -> list[Verdict]:
    """A verdict for each key, in order."""
    wanted: list[tuple[Provider, str, str | None]] = []
    for provider in providers:
        keys = _keys(context, provider) or {"": ""}
        wanted += [(provider, variable, key) for variable, key in keys.items()]
    verdicts: dict[int, Verdict] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def judge(i: int, client: Client) -> None:
        provider, variable, key = wanted[i]
        if key is None:
            said = f"set {variable} (or {variable}_FILE)"
            verdicts[i] = Verdict(provider.name, variable, False, "", None, said)
            return
        async with limit:
            verdicts[i] = await probe(client, provider, variable, key)

    async with trio.open_nursery() as echoes:
        client = _client(context, echoes)
        try:
            async with trio.open_nursery() as nursery:
                for i in range(len(wanted)):
                    nursery.start_soon(judge, i, client)
        finally:
            client.close()
            echoes.cancel_scope.cancel()
    return [verdicts[i] for i in range(len(wanted))]


def _client(context: Context, nursery: trio.Nursery) -> Client:
    dialers = {"builtin": echo_dialer(nursery, Log(level="error"))}
    return Client(dialers, outgoing.make_proxies(context.env))


def _models(context: Context, provider: Provider) -> int:
    names = trio.run(_listed, context, provider)
    if context.json:
        context.print_json(names, indent=2)
    for name in names:
        context.print(name)
    return 0


async def _listed(context: Context, provider: Provider) -> list[str]:
    """What a provider lists with the first of its keys. Raises Failed."""
    keys = _keys(context, provider)
    key = next((key for key in keys.values() if key), "")
    async with trio.open_nursery() as echoes:
        client = _client(context, echoes)
        try:
            return await models(client, provider, key)
        except Failed as e:
            unset = [name for name, value in keys.items() if not value]
            hint = f"; {' and '.join(unset)} is not set" if unset and not key else ""
            raise Failed(f"{e}{hint}") from None
        finally:
            client.close()
            echoes.cancel_scope.cancel()
