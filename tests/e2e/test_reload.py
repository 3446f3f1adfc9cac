"""`kill -HUP` under load, as an operator does it: files are edited, nothing is cut."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.support.http import Answer, ask, exchange, until
from tests.support.processes import Person, Process, chat, free_port
from tests.support.upstream import Upstream, provider, streams
from tokenomics.net.tls import ensure_certificate, utc_now

POLICY = '{"base_key_env": "OPENAI_API_KEY", "default_provider": "openai"}'


@dataclass
class Operator:
    """Somebody with `serve` running, who edits its files."""

    person: Person
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)
    token: str = ""

    def write(self, upstream: Upstream, key: str, server: str = "max_body: 1mb") -> None:
        """Every file that a reload reads, but the certificate."""
        folder = self.person.folder
        rows = {"openai": {"upstream_url": upstream.url}}
        (folder / "providers.yaml").write_text(json.dumps(rows))
        (folder / ".env").write_text(f"OPENAI_API_KEY={key}\n")
        (folder / "config.yaml").write_text(
            f"server: {{host: 127.0.0.1, https_port: {self.https}, {server},"
            " tls: {cert_file: proxy.crt, key_file: proxy.key}}\n"
        )

    def certify(self, name: str) -> ssl.SSLContext:
        """Put another certificate in place, as ACME clients do; what trusts it."""
        folder = self.person.folder
        cert_file, key_file = ensure_certificate(folder / name, (), utc_now())
        key_file.replace(folder / "proxy.key")
        cert_file.replace(folder / "proxy.crt")
        return ssl.create_default_context(cafile=str(folder / name / "ca.crt"))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Process]:
        self.token = (await self.person.do("token", "create", "--policy", POLICY, "--json")).strip()
        self.token = json.loads(self.token)["token"]
        words = ("serve", "--http-port", str(self.http))
        async with self.person.running(*words, port=self.http) as process:
            yield process

    async def hang_up(self, process: Process) -> str:
        """kill -HUP; what is said of it."""
        before = len(process.err)
        process.popen.send_signal(signal.SIGHUP)
        await until(lambda: "reload" in process.err[before:], "a reload")
        return process.err[before:]

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}"), ("content-type", "application/json")]

    async def ask(self, tls: ssl.SSLContext | None = None, text: str = "Hello") -> Answer:
        port = self.https if tls else self.http
        body = json.dumps(chat(text)).encode()
        return await ask(port, "POST", "/v1/chat/completions", self.headers, body, tls)


async def test_a_reload_under_a_stream(tmp_path: Path) -> None:
    go = trio.Event()
    operator = Operator(Person.at(tmp_path))
    async with provider(streams(wait=go, after=1)) as old, provider() as new:
        operator.write(old, "sk-old")
        first = operator.certify("one")
        async with operator.serving() as process:
            body = json.dumps(chat(stream=True)).encode()
            path = "/v1/chat/completions"
            async with exchange(
                operator.https, "POST", path, operator.headers, body, first
            ) as call:
                await call.head()
                await call.until(b"Hel")

                operator.write(new, "sk-new", server="max_body: 2kb, http_port: 1")
                second = operator.certify("two")
                said = await operator.hang_up(process)
                assert "reloaded: 2 settings changed: server.max_body, providers.openai;" in said
                assert "restart" not in said, "--http-port beats the file, as at the start"

                assert (await operator.ask(second)).status == 200
                assert new.last.get("authorization") == ["Bearer sk-new"]
                assert (await operator.ask(text="long " * 1000)).status == 413

                operator.write(old, "sk-broken", server="max_body: big, htp_port: 1")
                said = await operator.hang_up(process)
                assert "reload refused, the running config stays: " in said
                assert "server.max_body: 'big' is not a size" in said
                assert "server.htp_port is not a known key" in said
                assert (await operator.ask(second)).status == 200
                assert new.last.get("authorization") == ["Bearer sk-new"]

                go.set()
                streamed = await call.rest()
            assert (streamed.whole, streamed.events[-1]) == (True, "[DONE]")
            assert len(old.seen) == 1
            assert "sk-" not in process.err + process.out
            assert await process.terminate() == 0


async def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "centre"
    port = free_port()
    person = Person.at(folder, TOKENOMICS_SERVER_HOST="127.0.0.1")
    (folder / ".env").write_text("TOKENOMICS_REMOTE_KEY=the-first-key\n")
    words = ("remote", "--addr", f"127.0.0.1:{port}")
    async with person.running(*words, port=port) as process:
        (folder / ".env").write_text("TOKENOMICS_REMOTE_KEY=the-second-key\n")
        (folder / "config.yaml").write_text("storage: {db_path: other.db}\n")
        said = await Operator(person).hang_up(process)
    assert "needs a restart: storage.db_path, TOKENOMICS_REMOTE_KEY" in said
    assert "the-second-key" not in said


async def test_a_faulty_provider_or_proxy_ends_the_start(tmp_path: Path) -> None:
    person = Person.at(tmp_path)
    (tmp_path / "providers.yaml").write_text("openai: {ca_file: gone.pem}\n")
    done = await person.run("serve", HTTPS_PROXY="socks5://user:hunter2@proxy")
    assert done.status == 5
    assert "providers.openai.ca_file: gone.pem: " in done.err
    assert "HTTPS_PROXY: the proxy's URL must begin with" in done.err
    assert "hunter2" not in done.err
