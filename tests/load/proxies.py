"""Proxies as processes, alone, with workers or several with Redis; and their token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.support.http import PATIENCE, ask, until
from tests.support.processes import Person, Process, free_port
from tests.support.redis import redis_server
from tests.support.upstream import Upstream

HOMES = ("process", "workers", "redis")


@dataclass
class Proxies:
    """Running proxies on one token database's copies. `ports` are where they listen."""

    person: Person
    token: str
    envs: list[dict[str, str]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    async def start(self, number: int, *options: str) -> None:
        """Start one, or start it again."""
        port = self.ports[number]
        state = str(self.person.folder / f"state-{number}")
        words = ("serve", "--host", "127.0.0.1", "--http-port", str(port), *options)
        self.processes[number] = self.person.start(
            *words, **self.envs[number], TOKENOMICS_DIR=state
        )
        with trio.fail_after(PATIENCE):
            while not await self._is_ready(port):  # noqa: ASYNC110  processes have no Event
                await trio.sleep(0.02)

    async def _is_ready(self, port: int) -> bool:
        try:
            fields = [("authorization", f"Bearer {self.token}")]
            return (await ask(port, "GET", "/v1/models", fields)).status == 200
        except OSError:
            return False

    async def usage(self) -> Any:
        """What `token usage` says."""
        state = {"TOKENOMICS_DIR": str(self.person.folder / "state-0")}
        text = await self.person.do("token", "usage", "--json", **self.envs[0], **state)
        return json.loads(text)[0]

    async def settled(self, seconds: float) -> Any:
        """The same, once nothing runs. Raises trio.TooSlowError."""
        found: list[Any] = []
        with trio.fail_after(seconds):
            while not found or found[-1]["running"]:
                await trio.sleep(0.3)  # a journal is written four times a second
                found.append(await self.usage())
        return found[-1]


@asynccontextmanager
async def proxies(
    folder: Path, home: str, upstream: Upstream, policy: Mapping[str, Any]
) -> AsyncIterator[Proxies]:
    """One proxy, one of two workers, or three with Redis, that know one token."""
    async with AsyncExitStack() as stack:
        person = Person.at(folder)
        env = {
            "OPENAI_API_KEY": "sk-of-the-load",
            "OPENAI_BASE_URL": "",
            "TOKENOMICS_HASH_KEY": "k" * 32,
            "TOKENOMICS_SERVER_UPSTREAM_URL": upstream.url,
            "TOKENOMICS_STORAGE_DB_PATH": str(folder / "tokens.db"),
        }
        (folder / "config.yaml").write_text(
            f"providers: {{openai: {{upstream_url: '{upstream.url}'}}}}\n"
            "server: {https_port: 0, tls: {enabled: false}}\n"
        )
        count = 1
        if home == "redis":
            server = await stack.enter_async_context(redis_server())
            env["TOKENOMICS_SESSION_BACKEND"] = "redis"
            env["TOKENOMICS_SESSION_REDIS_ADDR"] = server.addr
            count = 3
        text = json.dumps({"default_provider": "openai", **policy})
        made = json.loads(await person.do("token", "create", "--policy", text, "--json", **env))
        running = Proxies(person, made["token"])
        for number in range(count):
            running.ports.append(free_port())
            running.processes.append(None)  # type: ignore[arg-type]  # until it is started
            own = folder / f"{number}.db"  # a usage file has one owner
            own.write_bytes((folder / "tokens.db").read_bytes())
            running.envs.append({**env, "TOKENOMICS_STORAGE_DB_PATH": str(own)})
            await running.start(number, *(["--workers", "2"] if home == "workers" else []))
        try:
            yield running
        finally:
            for process in running.processes:
                if process is not None and process.popen.poll() is None:
                    process.kill()


async def all_ended(upstream: Upstream) -> None:
    """Wait until the provider has no call left."""
    await until(lambda: not upstream.running, "the end of all calls")
