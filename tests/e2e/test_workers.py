"""`serve --workers N`: several processes, one proxy. Limits hold over all; each may die."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.support.http import PATIENCE, Answer, ask, exchange, until
from tests.support.processes import Person, Process, chat, free_port
from tests.support.upstream import Upstream, answers, hangs, provider, streams

WORKERS = 3


def workers_of(process: Process) -> list[int]:
    """The ids of a process's children."""
    path = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Farm:
    """A proxy of several workers before a provider."""

    person: Person
    upstream: Upstream
    port: int = field(default_factory=free_port)

    async def token(self, policy: Mapping[str, Any]) -> str:
        text = json.dumps({"default_provider": "openai", **policy})
        made = await self.person.do("token", "create", "--policy", text, "--json")
        token = str(json.loads(made)["token"])
        with trio.fail_after(PATIENCE):
            while not await self._known(token):  # noqa: ASYNC110  processes have no Event
                await trio.sleep(0.01)
        return token

    async def _known(self, token: str) -> bool:
        """Whether all that answer know a token: each worker reads the database for itself."""
        fields = [("authorization", f"Bearer {token}"), ("connection", "close")]
        found = [await ask(self.port, "GET", "/v1/models", fields) for _ in range(4 * WORKERS)]
        return all(answer.status == 200 for answer in found)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Process]:
        rows = {"openai": {"upstream_url": self.upstream.url}}
        (self.person.folder / "providers.yaml").write_text(json.dumps(rows))
        words = ("serve", "--http-port", str(self.port), "--https-port", "0")
        more = ("--workers", str(WORKERS))
        async with self.person.running(
            *words, *more, port=self.port, OPENAI_API_KEY="sk-x"
        ) as process:
            await until(lambda: len(workers_of(process)) == WORKERS, "the workers")
            yield process

    async def ask(self, token: str, **more: Any) -> Answer:
        fields = [("authorization", f"Bearer {token}"), ("connection", "close")]
        body = json.dumps(chat(**more)).encode()
        return await ask(self.port, "POST", "/v1/chat/completions", fields, body)

    async def many(self, token: str, count: int, **more: Any) -> list[int]:
        """The statuses of requests that are asked at once, each on a connection of its own."""
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await self.ask(token, **more)).status)

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
        return statuses


async def test_limits_hold_over_all_workers(tmp_path: Path) -> None:
    async with provider(answers()) as upstream:
        farm = Farm(Person.at(tmp_path), upstream)
        async with farm.serving() as process:
            rate = {"rules": [{"requests": 10, "window": "1h"}]}
            statuses = await farm.many(await farm.token({"rate_limit": rate}), 40)
            assert sorted(statuses) == [200] * 10 + [429] * 30
            # Each request costs 10 tokens, and holds more while it runs.
            budget = await farm.token({"max_tokens": 55})
            for _ in range(3):
                await farm.many(budget, 10, max_tokens=16)
            while (answer := await farm.ask(budget, max_tokens=16)).status == 200:
                pass
            assert (answer.status, answer.code) == (429, "insufficient_quota")
            assert await process.terminate() == 0
        assert 10 < len(upstream.seen) <= 10 + 5
        seen = len(upstream.seen)
        async with farm.serving():
            assert (await farm.ask(budget, max_tokens=16)).code == "insufficient_quota"
        assert len(upstream.seen) == seen, "what was spent is still spent"


async def test_a_killed_worker_is_replaced_and_gives_back_what_it_held(tmp_path: Path) -> None:
    async with provider(hangs) as upstream:
        farm = Farm(Person.at(tmp_path), upstream)
        async with farm.serving() as process:
            token = await farm.token({"rate_limit": {"max_parallel": 4}, "max_tokens": 10**6})
            fields = [("authorization", f"Bearer {token}")]
            body = json.dumps(chat()).encode()
            async with trio.open_nursery() as nursery:

                async def hold() -> None:
                    path = "/v1/chat/completions"
                    async with exchange(farm.port, "POST", path, fields, body):
                        await trio.sleep_forever()

                for _ in range(4):
                    nursery.start_soon(hold)
                await until(lambda: upstream.running == 4, "four running requests")
                assert (await farm.ask(token)).code == "too_many_parallel"
                for pid in workers_of(process):
                    os.kill(pid, signal.SIGKILL)
                upstream.script[:] = [answers()]
                await until(lambda: not upstream.running, "the end of the calls")
                await until(lambda: len(workers_of(process)) == WORKERS, "new workers")
                statuses = await farm.many(token, 4)
                nursery.cancel_scope.cancel()
        assert statuses == [200] * 4
        assert process.err.count("starting it anew") == WORKERS


async def test_workers_that_are_killed_at_their_start_are_replaced(tmp_path: Path) -> None:
    async with provider(answers()) as upstream:
        farm = Farm(Person.at(tmp_path), upstream)
        async with farm.serving() as process:
            token = await farm.token({})
            for _ in range(3):
                await until(lambda: len(workers_of(process)) == WORKERS, "the workers")
                pids = workers_of(process)
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                await until(lambda pids=pids: not any(map(alive, pids)), "their end")
            await until(lambda: len(workers_of(process)) == WORKERS, "new workers")
            with trio.fail_after(PATIENCE):
                assert (await farm.ask(token)).status == 200


async def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    async with provider(answers()) as old, provider(answers()) as new:
        farm = Farm(Person.at(tmp_path), old)
        async with farm.serving() as process:
            token = await farm.token({})
            assert await farm.many(token, 12) == [200] * 12
            rows = {"openai": {"upstream_url": new.url}}
            (tmp_path / "providers.yaml").write_text(json.dumps(rows))
            process.popen.send_signal(signal.SIGHUP)
            await until(lambda: process.err.count("reloaded:") == WORKERS + 1, "the reloads")
            assert await farm.many(token, 12) == [200] * 12
        assert (len(old.seen), len(new.seen)) == (12, 12)


async def test_sigterm_drains_every_worker(tmp_path: Path) -> None:
    go = trio.Event()
    async with provider(streams(wait=go, after=1)) as upstream:
        farm = Farm(Person.at(tmp_path), upstream)
        async with farm.serving() as process:
            token = await farm.token({})
            fields = [("authorization", f"Bearer {token}")]
            body = json.dumps(chat(stream=True)).encode()
            path = "/v1/chat/completions"
            async with exchange(farm.port, "POST", path, fields, body) as call:
                await call.head()
                await call.until(b"Hel")
                pids = workers_of(process)
                process.popen.send_signal(signal.SIGTERM)
                for pid in pids:  # as systemd does: to all of the group
                    os.kill(pid, signal.SIGTERM)
                await until(lambda: sum(map(alive, pids)) == 1, "the end of the idle workers")
                go.set()
                answer = await call.rest()
            assert (answer.whole, answer.events[-1]) == (True, "[DONE]")
            assert await process.ended() == 0


async def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    async with provider(answers()) as upstream:
        farm = Farm(Person.at(tmp_path), upstream)
        async with farm.serving() as process:
            pids = workers_of(process)
            process.kill()
            await until(lambda: not any(map(alive, pids)), "the end of the workers")
