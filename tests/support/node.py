"""A proxy and a centre in this process, over real sockets, as the command line runs them."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from tests.support.http import Answer, Exchange, Headers, ask, exchange, until
from tests.support.upstream import Upstream
from tokenomics.cli.https import Https
from tokenomics.cli.node import Listener
from tokenomics.cli.proxy import ProxySetup, run_proxy
from tokenomics.cli.reload import FIXED, FIXED_FOR_SERVE, Reading, Reloads
from tokenomics.cli.remote import CentralSetup, run_central
from tokenomics.config.settings import Config, Events, Receiver, Remote, Storage, Webhook
from tokenomics.logs import Log
from tokenomics.net.server import Server, bind
from tokenomics.policy.counts import Account
from tokenomics.store.database import Database, Place
from tokenomics.tokens import Secret, hash_token, make_token
from tokenomics.usage.process import ProcessUsage

HASH_KEY = b"the hash key of the tests"
API_KEY = "the api key of the tests"
PROVIDER_KEY = "sk-the-real-provider-key"
ENV = {"OPENAI_API_KEY": PROVIDER_KEY, "GROQ_API_KEY": "gsk-another-key"}
POLICY: dict[str, Any] = {"base_key_env": "OPENAI_API_KEY"}
HELLO: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "Hello"}],
}


@dataclass
class Tokens:
    """A token database, written as commands write it."""

    path: Path
    hash_key: bytes = HASH_KEY

    def _open(self) -> Database:
        return Database(Place(self.path, Secret()), lambda message: None)

    def add(self, policy: Mapping[str, Any] = POLICY, expires_at: float | None = None) -> str:
        """Create a token."""
        token = make_token(uuid.uuid4())
        self.put(token, json.dumps(policy), expires_at)
        return token

    def put(self, token: str, policy: str, expires_at: float | None = None) -> None:
        """Set a token's policy to a text, be it valid or not."""
        with self._open().writing() as writer:
            writer.put(self.hash(token), policy, time.time(), expires_at, "")

    def delete(self, token: str) -> None:
        with self._open().writing() as writer:
            writer.delete(self.hash(token))

    def hash(self, token: str) -> str:
        return hash_token(self.hash_key, token)


@dataclass
class Said:
    """A log, kept to be read."""

    requests: io.StringIO = field(default_factory=io.StringIO)
    diagnostics: io.StringIO = field(default_factory=io.StringIO)

    @property
    def log(self) -> Log:
        return Log(requests=self.requests, diagnostics=self.diagnostics)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The request log."""
        return [json.loads(line) for line in self.requests.getvalue().splitlines()]

    @property
    def text(self) -> str:
        """The diagnostics."""
        return self.diagnostics.getvalue()


class Files:
    """What a node reads at a reload: its config as it is, until it is changed."""

    def __init__(self, reading: Reading, fixed: Sequence[str]) -> None:
        self.reading = reading
        self.reloads = Reloads(reading, lambda: self.reading, fixed)

    @property
    def config(self) -> Config:
        return self.reading.config

    def change(self, *, env: Mapping[str, str] | None = None, **groups: Any) -> None:
        """Write other settings, by the fields of Config, or another environment."""
        config = replace(self.reading.config, **groups)
        self.reading = Reading(config, self.reading.env if env is None else dict(env))


@dataclass
class Proxy:
    """A running proxy and a token of its own database."""

    port: int
    server: Server
    said: Said
    tokens: Tokens
    token: str
    files: Files
    tls_port: int  # of the HTTPS listener, if there is one

    async def reload(self) -> str:
        """Reload once; what was said of it."""
        return await reloaded(self.files, self.said)

    async def get(self, path: str, headers: Headers = (), method: str = "GET") -> Answer:
        return await ask(self.port, method, path, headers)

    async def post(
        self,
        document: Any = None,
        path: str = "/v1/chat/completions",
        headers: Headers = (),
        token: str | None = None,
    ) -> Answer:
        """Ask, by default for a chat completion with the proxy's token."""
        async with self.posting(document, path, headers, token) as call:
            await call.head()
            return await call.rest()

    @asynccontextmanager
    async def posting(
        self,
        document: Any = None,
        path: str = "/v1/chat/completions",
        headers: Headers = (),
        token: str | None = None,
    ) -> AsyncIterator[Exchange]:
        """The same, the answer not yet read."""
        document = HELLO if document is None else document
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        token = self.token if token is None else token
        own = [("authorization", f"Bearer {token}")] if token else []
        sent = [*own, ("content-type", "application/json"), *headers]
        async with exchange(self.port, "POST", path, sent, body) as call:
            yield call

    async def row(self, number: int = -1, *, of: int = 1) -> dict[str, Any]:
        """A row of the request log, once there are `of`: it is written as the request ends."""
        await until(lambda: len(self.said.rows) >= of, f"{of} rows in the request log")
        return self.said.rows[number]

    async def idle(self) -> None:
        """Wait until no connection is open."""
        await until(lambda: not self.server.connections, "the end of all connections")

    def account(self, token: str | None = None) -> Account:
        """What is counted for a token, as `run_proxy` counts it."""
        usage = _usage_of(self.server)
        return usage.account(self.tokens.hash(token or self.token))


async def reloaded(files: Files, said: Said) -> str:
    """Ask for a reload and wait for what it says."""
    before = len(said.text)
    files.reloads.ask()
    await until(lambda: "reload" in said.text[before:], "a reload")
    return said.text[before:]


def _usage_of(server: Server) -> ProcessUsage:
    app: Any = server.app
    usage: ProcessUsage = app.gateway.usage
    return usage


@asynccontextmanager
async def proxy(
    folder: Path,
    upstream: Upstream | str,
    policy: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] = ENV,
    providers: Mapping[str, Any] | None = None,
    webhooks: Sequence[Webhook] = (),
    receiver: Receiver | None = None,
    remote: Remote | None = None,
    https: Https | None = None,
    hash_key: bytes = HASH_KEY,
) -> AsyncIterator[Proxy]:
    """A proxy with one token, that runs while the block does."""
    url = upstream if isinstance(upstream, str) else upstream.url
    tokens = Tokens(folder / "tokenomics.db", hash_key)
    token = tokens.add(POLICY if policy is None else policy)
    base = Config()
    config = replace(
        base,
        dir=folder,
        server=replace(base.server, host="127.0.0.1", upstream_url=url),
        storage=Storage(db_path=tokens.path),
        events=Events(webhooks=tuple(webhooks)),
        remote=replace(remote or Remote(), webhook=receiver or Receiver()),
        providers={"openai": {"upstream_url": url}} if providers is None else providers,
    )
    said = Said()
    setup = ProxySetup(config, dict(env), hash_key, Secret(), said.log)
    files = Files(Reading(config, dict(env)), FIXED_FOR_SERVE)
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listeners: list[Listener] = [(listener, None)]
    if https is not None:
        listeners.append((bind("127.0.0.1", 0), https.context))
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run_proxy, setup, listeners, https, files.reloads)
        try:
            yield Proxy(port, server, said, tokens, token, files, listeners[-1][0].getsockname()[1])
        finally:
            nursery.cancel_scope.cancel()


@dataclass
class Centre:
    """A running central server."""

    port: int
    server: Server
    said: Said
    tokens: Tokens
    files: Files

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def get(self, path: str, key: str = API_KEY, headers: Headers = ()) -> Answer:
        own = [("authorization", f"Bearer {key}")] if key else []
        return await ask(self.port, "GET", path, [*own, *headers])

    def remote(self, **changes: Any) -> Remote:
        """The settings of a proxy that follows it."""
        return replace(Remote(url=self.url, api_key=Secret(API_KEY)), **changes)


@asynccontextmanager
async def centre(
    folder: Path,
    *,
    port: int = 0,
    webhooks: Sequence[Webhook] = (),
    hash_key: bytes = HASH_KEY,
) -> AsyncIterator[Centre]:
    """A central server that runs while the block does."""
    tokens = Tokens(folder / "tokenomics.db", hash_key)
    config = replace(
        Config(),
        dir=folder,
        storage=Storage(db_path=tokens.path),
        events=Events(webhooks=tuple(webhooks)),
    )
    said = Said()
    setup = CentralSetup(config, hash_key, Secret(), Secret(API_KEY), said.log)
    files = Files(Reading(config, {}), FIXED)
    listener = bind("127.0.0.1", port)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run_central, setup, [(listener, None)], None, files.reloads)
        try:
            yield Centre(listener.getsockname()[1], server, said, tokens, files)
        finally:
            nursery.cancel_scope.cancel()
