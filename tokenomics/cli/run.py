"""Run a command behind a private proxy: on a free port of this machine, with a state of its own.

The command gets a token and the variables that known clients read (`tokenomics docs clients`); its
exit status is returned. The proxy ends with it. Without --policy the token may use the config's
default_provider, or each provider whose key is set; --provider names one.

examples:
  tokenomics run -- python ask.py
  tokenomics run --provider anthropic -- claude
  tokenomics run --policy @developer.json -- codex exec 'say hello'
  tokenomics run --provider echo --log run.log -- ./tests.sh
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from tokenomics import strictjson
from tokenomics.cli import node, outgoing
from tokenomics.cli.clients import CLIENTS, Access, everything
from tokenomics.cli.context import Context
from tokenomics.cli.init import client_variables
from tokenomics.cli.proxy import ProxySetup, run_proxy
from tokenomics.cli.token import read_policy
from tokenomics.config.providers import Provider, build_providers
from tokenomics.config.settings import Config, Events, Remote, Session, Storage
from tokenomics.config.sources import provider_key
from tokenomics.errors import Failed, NotFound
from tokenomics.logs import Log
from tokenomics.policy.model import parse_policy
from tokenomics.store.database import Database
from tokenomics.tokens import Secret, hash_token, make_token

HOST = "127.0.0.1"
END_SECONDS = 5.0  # for a command to end after SIGTERM, should its proxy fail
FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# What a terminal sends to all of its foreground processes, the command among them.
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
# Names that are one maker's, so that a token without a policy finds each at its maker.
FAMILIES = {
    "openai": ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "codex-*", "text-embedding-*"),
    "anthropic": ("claude-*",),
    "gemini": ("gemini-*",),
    "mistral": ("mistral-*", "codestral-*", "magistral-*"),
    "deepseek": ("deepseek-*",),
    "xai": ("grok-*",),
    "cohere": ("command-*",),
    "perplexity": ("sonar*",),
}


class NotStarted(Failed):
    """The command is there and cannot be run; the status is a shell's."""

    exit_code = 126


class NoCommand(NotFound):
    """There is no such command; the status is a shell's."""

    exit_code = 127


@dataclass(frozen=True, slots=True)
class Job:
    """A command with its environment, and the proxy it is for."""

    setup: ProxySetup
    listener: node.Listener
    command: Sequence[str]
    env: Mapping[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--provider", metavar="NAME", help="the provider that is asked")
    parser.add_argument("--policy", metavar="JSON|@FILE|-", help="the policy of the token")
    parser.add_argument("--log", metavar="FILE", help="append the proxy's log to this file")
    parser.add_argument("command", nargs="+", metavar="CMD", help="after --, with its arguments")


def run(context: Context, args: argparse.Namespace) -> int:
    """Run the command: its exit status, or 128 + the number of the signal that ended it.

    Raises ToolError.
    """
    outgoing.check(context.config, context.env)
    providers = build_providers(context.config.providers)
    policy = _policy(context, providers, args)
    with tempfile.TemporaryDirectory(prefix="tokenomics-run-") as folder:
        where = args.log or Path(folder, "run.log")
        try:
            file = open(where, "a", encoding="utf-8")  # noqa: SIM115  closed with the block below
        except OSError as e:
            raise Failed(f"--log {where}: {e.strerror}") from None
        with file:
            log = Log(requests=file, diagnostics=file)
            job = _job(context, Path(folder), log, policy, args.command, providers)
            return trio.run(_perform, job)


def _policy(
    context: Context, providers: Mapping[str, Provider], args: argparse.Namespace
) -> dict[str, Any]:
    """The token's policy. Raises NotFound, Invalid or Failed."""
    given = None if args.policy is None else strictjson.loads(read_policy(args.policy).encode())
    named = args.provider and context.config.cli_maps.get(args.provider, args.provider)
    if named and named not in providers:
        known = ", ".join(providers)
        raise NotFound(f"--provider {named}: there is no such provider; known: {known}")
    if given is not None:
        return {**given, "default_provider": named} if named else given
    named = named or context.config.default_provider
    if named:
        if named in providers and not _usable(context, providers[named]):
            variable = providers[named].api_key_env
            raise Failed(f"provider {named} has no key here: set {variable} (or {variable}_FILE)")
        return {"default_provider": named}
    usable = [p.name for p in providers.values() if p.api_key_env and _usable(context, p)]
    if not usable:
        raise Failed(
            "no provider has a key here (see: tokenomics provider list); set one, or try"
            " --provider echo"
        )
    return default_policy(usable)


def _usable(context: Context, provider: Provider) -> bool:
    names = provider.variables
    return not names or any(provider_key(name, context.env) is not None for name in names)


def default_policy(usable: Sequence[str]) -> dict[str, Any]:
    """The first of the providers for every model, but for those of another one's family."""
    first, *others = usable
    entries = {name: [{"models": list(FAMILIES[name])}] for name in others if name in FAMILIES}
    return {"default_provider": first, **({"providers": entries} if entries else {})}


def _job(
    context: Context,
    folder: Path,
    log: Log,
    policy: Mapping[str, Any],
    command: Sequence[str],
    providers: Mapping[str, Provider],
) -> Job:
    """Make the state, the socket and the token. Raises Failed or Invalid."""
    listener = node.listen(HOST, 0, "nothing")
    port = listener.getsockname()[1]
    config = private(context.config, folder, port)
    key = secrets.token_bytes(32)
    token = make_token(uuid.uuid4())
    database = Database(node.place_of(config, Secret()), lambda m: log.say("warn", m))
    text = strictjson.dumps(policy).decode()
    parse_policy(text)
    with database.writing() as writer:
        writer.put(hash_token(key, token), text, time.time(), None, "run")
    setup = ProxySetup(config, context.env, key, Secret(), log)
    access = Access(token, f"http://{HOST}:{port}")
    used = [policy.get("default_provider"), *(policy.get("providers") or {})]
    known = [providers[name] for name in used if name in providers]
    words, env = dressed(command, os.environ, access, known)
    return Job(setup, (listener, None), words, env)


def private(config: Config, folder: Path, port: int) -> Config:
    """A config's providers and connections, with nothing of its place in a team: no centre, no
    events, no shared limits, no files outside of a folder."""
    server = replace(config.server, host=HOST, http_port=port, https_port=0, workers=1)
    return replace(
        config,
        dir=folder,
        server=server,
        storage=Storage(db_path=folder / "tokenomics.db"),
        session=Session(),
        remote=Remote(),
        events=Events(),
    )


def dressed(
    command: Sequence[str],
    env: Mapping[str, str],
    access: Access,
    providers: Sequence[Provider],
) -> tuple[list[str], dict[str, str]]:
    """A command and its environment as its clients need them. The keys of providers that are used
    give way to the token."""
    out = dict(env)
    for provider in providers:
        out |= client_variables(provider, access.token, access.url)
    out |= everything(access)
    for name in ("NO_PROXY", "no_proxy"):  # else an HTTP proxy would be asked for this machine
        kept = [part for part in out.get(name, "").split(",") if part.strip()]
        if "*" not in kept:
            out[name] = ",".join([*kept, HOST])
    words = list(command)
    for client in CLIENTS.values():
        if client.command and Path(words[0]).name == client.command:
            words[1:1] = client.arguments(access)
            for name in client.unset:
                out.pop(name, None)
    return words, out


async def _perform(job: Job) -> int:
    async with trio.open_nursery() as nursery:
        await nursery.start(run_proxy, job.setup, [job.listener])
        status = await _run_command(job.command, job.env)
        nursery.cancel_scope.cancel()
    return status


async def _run_command(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command to its end, passing signals on to it. Raises NoCommand or NotStarted.

    If this is cancelled, the command is ended.
    """
    # Who ignores a signal here (nohup) has the command ignore it, too.
    heard = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]
    with trio.open_signal_receiver(*heard) as signals:
        try:
            process = await trio.lowlevel.open_process(list(command), env=dict(env))
        except FileNotFoundError:
            raise NoCommand(f"{command[0]}: there is no such command") from None
        except OSError as e:
            raise NotStarted(f"{command[0]}: cannot be run: {e.strerror}") from None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_forward, signals, process)
                status = await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            if process.returncode is None:
                await _end(process)
    return status if status >= 0 else 128 - status


async def _forward(signals: AsyncIterator[int], process: trio.Process) -> None:
    async for number in signals:
        if number not in FROM_TERMINAL or not _in_foreground():
            process.send_signal(number)


def _in_foreground() -> bool:
    """Whether a terminal sends its signals to this process and the command alike."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(END_SECONDS, shield=True):
        await process.wait()
        return
    process.kill()
    with trio.move_on_after(END_SECONDS, shield=True):
        await process.wait()
