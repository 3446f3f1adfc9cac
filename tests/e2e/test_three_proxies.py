"""Three proxies behind one centre: what is changed there holds on all of them within a second."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.support.team import Node, Team

WITHIN_SECONDS = 1.0


async def seconds_until(nodes: list[Node], token: str, status: int) -> float:
    """How long it takes until all proxies answer a token with a status."""
    begun = trio.current_time()

    async def one(node: Node) -> None:
        while (await node.models(token)).status != status:  # noqa: ASYNC110  no Event
            await trio.sleep(0.002)

    with trio.fail_after(5 * WITHIN_SECONDS):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(one, node)
    return trio.current_time() - begun


async def test_a_change_holds_on_three_proxies_within_a_second(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    nodes = [team.add_proxy(f"proxy{i}") for i in range(3)]
    team.copy_central_config()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(team.centre_running())
        for node in nodes:
            await stack.enter_async_context(node.running())
        kept, _ = await team.create("developer")
        token, digits = await team.create("developer")
        assert await seconds_until(nodes, token, 200) < WITHIN_SECONDS
        await team.centre.do(
            "token", "update", "--hash", digits[:8], "--policy", '{"providers": {"openai": null}}'
        )
        begun = trio.current_time()
        for node in nodes:
            while "gpt-4o" in (await node.models(token)).body.decode():
                await trio.sleep(0.002)
                assert trio.current_time() - begun < WITHIN_SECONDS
        await team.centre.do("token", "delete", "--hash", digits[:8])
        assert await seconds_until(nodes, token, 401) < WITHIN_SECONDS
        for node in nodes:
            assert (await node.ask(token)).code == "invalid_token"
            assert (await node.ask(kept)).status == 200


async def test_many_tokens_made_at_once_reach_all_proxies(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    nodes = [team.add_proxy(f"proxy{i}") for i in range(3)]
    team.copy_central_config()
    policy = f"@{team.policies}/ci-pipeline.json"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(team.centre_running())
        for node in nodes:
            await stack.enter_async_context(node.running())
        made: list[str] = []

        async def create() -> None:
            text = await team.centre.do(
                "token", "create", "--policy", policy, "--count", "50", "--json"
            )
            made.extend(json.loads(line)["token"] for line in text.splitlines())

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(create)
        assert len(set(made)) == 200
        for token in made[::20]:
            assert await seconds_until(nodes, token, 200) < WITHIN_SECONDS
