"""Several `serve` processes that count in one Redis: limits hold over all, whoever dies."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.support.http import Answer, ask, exchange, until
from tests.support.processes import Person, Process, chat, free_port
from tests.support.redis import RedisServer, needs_redis, redis_server
from tests.support.upstream import DONE, Upstream, answers, chunk, provider, streams
from tests.usage.redis_home import counted

pytestmark = needs_redis

PATH = "/v1/chat/completions"
COST = 10  # tokens of each answer of the provider
BUDGET = 200


@dataclass
class Site:
    """Proxies that know the same tokens, each with a database of its own."""

    folder: Path
    upstream: Upstream
    redis: RedisServer
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(3)])

    def person(self, number: int) -> Person:
        return Person.at(
            self.folder / f"proxy{number}",
            TOKENOMICS_SESSION_BACKEND="redis",
            TOKENOMICS_SESSION_REDIS_ADDR=self.redis.addr,
            OPENAI_API_KEY="sk-x",
        )

    async def tokens(self, *policies: dict[str, Any]) -> list[str]:
        """Make tokens, and the proxies' folders."""
        first, found = self.person(0), []
        rows = {"openai": {"upstream_url": self.upstream.url}}
        (first.folder / "providers.yaml").write_text(json.dumps(rows))
        for policy in policies:
            text = json.dumps({"default_provider": "openai", **policy})
            made = await first.do("token", "create", "--policy", text, "--json")
            found.append(str(json.loads(made)["token"]))
        for number in range(1, len(self.ports)):
            shutil.copytree(first.folder, self.folder / f"proxy{number}")
        return found

    @asynccontextmanager
    async def serving(self, number: int = 0, *words: str) -> AsyncIterator[Process]:
        port = self.ports[number]
        listen = ("--http-port", str(port), "--https-port", "0")
        async with self.person(number).running("serve", *listen, *words, port=port) as process:
            yield process

    async def ask(self, number: int, token: str, **more: Any) -> Answer:
        body = json.dumps(chat(max_tokens=16, **more)).encode()
        return await ask(self.ports[number], "POST", PATH, fields_of(token), body)

    async def spend_all(self, number: int, token: str) -> int:
        """Ask until the budget is spent; how often there was an answer."""
        passed = 0
        while True:
            answer = await self.ask(number, token)
            if answer.status == 200:
                passed += 1
            elif answer.code == "insufficient_quota":
                return passed

    async def accounts(self) -> list[str]:
        """Whose accounts there are."""
        lua = "return table.concat(redis.call('KEYS', 'tokenomics:{*}'), ' ')"
        keys = (await self.redis.do("EVAL", lua, "0")).split()
        return [key.removeprefix("tokenomics:{").removesuffix("}") for key in keys]

    async def spent(self) -> list[int]:
        """What is counted of each budget; nothing is held."""
        found = []
        for account in await self.accounts():
            there = await counted(self.redis, account)
            assert there.pop("running") == (0, 0)
            found += [total for total, _ in there.values()]
            assert not any(held for key, (_, held) in there.items())
        return sorted(found)

    async def let_leases_lapse(self) -> None:
        """As if their time were over."""
        for account in await self.accounts():
            lua = """
                for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
                    redis.call('ZADD', KEYS[1], 1, id)
                end
                return 'OK'"""
            await self.redis.do("EVAL", lua, "1", f"tokenomics:{{{account}}}:expiry")


def fields_of(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}"), ("connection", "close")]


async def test_a_budget_and_a_rate_are_exact_over_three_proxies(tmp_path: Path) -> None:
    rate = {"rate_limit": {"rules": [{"requests": 20, "window": "1h"}]}}
    async with provider(answers()) as upstream, redis_server() as redis, AsyncExitStack() as stack:
        site = Site(tmp_path, upstream, redis)
        alone, together, rated = await site.tokens(
            {"max_tokens": BUDGET}, {"max_tokens": BUDGET}, rate
        )
        for number in range(3):
            process = await stack.enter_async_context(site.serving(number))
            await until(lambda p=process: "counted in Redis" in p.err, "Redis")
        expected, passed, statuses = await site.spend_all(0, alone), [], []

        async def spend(number: int) -> None:
            passed.append(await site.spend_all(number, together))

        async def rate_one(number: int) -> None:
            statuses.append((await site.ask(number, rated)).status)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(spend, number % 3)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(rate_one, number % 3)
        assert sum(passed) == expected
        assert sorted(statuses) == [200] * 20 + [429] * 20
        assert await site.spent() == [20, expected * COST, expected * COST]
        assert len(upstream.seen) == 2 * expected + 20


async def test_a_proxy_that_is_killed_gives_back_what_it_held(tmp_path: Path) -> None:
    go = trio.Event()
    parts = (chunk("Hel"), chunk("lo!"), chunk(None, "stop"), DONE)
    policy = {"max_tokens": 1000, "rate_limit": {"max_parallel": 1}}
    async with provider(streams(*parts, wait=go, after=1)) as upstream, redis_server() as redis:
        site = Site(tmp_path, upstream, redis)
        (token,) = await site.tokens(policy)
        async with site.serving(0) as first, site.serving(1) as second:
            await until(lambda: "in Redis" in first.err and "in Redis" in second.err, "Redis")
            body = json.dumps(chat(stream=True)).encode()
            async with exchange(site.ports[0], "POST", PATH, fields_of(token), body) as call:
                await call.head()
                await call.until(b"Hel")
                first.kill()
            assert (await site.ask(1, token)).code == "too_many_parallel"
            await site.let_leases_lapse()
            upstream.script[:] = [answers()]
            assert (await site.ask(1, token)).status == 200
            assert await site.spent() == [COST]


async def test_a_proxy_that_is_started_again_counts_on(tmp_path: Path) -> None:
    async with provider(answers()) as upstream, redis_server(appendonly=True) as redis:
        site = Site(tmp_path, upstream, redis)
        (token,) = await site.tokens({"max_tokens": BUDGET})
        passed = 0
        for again in range(3):
            async with site.serving() as process:
                await until(lambda p=process: "counted in Redis" in p.err, "Redis")
                for _ in range(3):
                    passed += (await site.ask(0, token)).status == 200
                assert await site.spent() == [passed * COST]
                assert await process.terminate() == 0
            await redis.restart(empty=again == 1)
        assert passed == 9


async def test_workers_count_in_redis(tmp_path: Path) -> None:
    async with provider(answers()) as upstream, redis_server() as redis:
        site = Site(tmp_path, upstream, redis)
        alone, together = await site.tokens({"max_tokens": BUDGET}, {"max_tokens": BUDGET})
        async with site.serving(0, "--workers", "2") as process:
            await until(lambda: process.err.count("counted in Redis") == 2, "Redis")
            expected, passed = await site.spend_all(0, alone), []

            async def spend() -> None:
                passed.append(await site.spend_all(0, together))

            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(spend)
            assert sum(passed) == expected
            assert await site.spent() == [expected * COST] * 2
            assert await process.terminate() == 0
