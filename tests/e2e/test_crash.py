"""kill -9 of any process, then start again: nothing that was acknowledged is gone."""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.support.http import PATIENCE, until
from tests.support.team import Team
from tests.support.upstream import provider, streams_as_asked


async def listed(team: Team) -> set[str]:
    """The hashes that `token list` knows."""
    return {row["hash"] for row in json.loads(await team.centre.do("token", "list", "--json"))}


async def test_a_killed_centre_has_all_its_tokens_and_proxies_go_on(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    node = team.add_proxy()
    team.copy_central_config()
    token, digits = await team.create("developer")
    async with team.centre_running() as remote, node.running() as serving:
        assert (await node.ask(token)).status == 200
        remote.kill()
        assert (await node.ask(token)).status == 200
        later, later_digits = await team.create("developer")
        assert await listed(team) == {digits, later_digits}
        async with team.centre_running():
            await until_known(team, later)
            assert (await node.ask(token)).status == 200
        assert "works again" in serving.err


async def until_known(team: Team, token: str) -> None:
    """Wait until the first proxy has caught up; it asks again within its backoff."""
    with trio.fail_after(PATIENCE):
        while (await team.nodes[0].models(token)).status != 200:  # noqa: ASYNC110  no Event
            await trio.sleep(0.01)


async def test_a_killed_proxy_serves_again_even_without_the_centre(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    node = team.add_proxy()
    team.copy_central_config()
    token, _ = await team.create("developer")
    async with team.centre_running() as remote:
        async with node.running() as serving:
            assert (await node.ask(token)).status == 200
            serving.kill()
        remote.kill()
    async with node.running() as serving:
        assert (await node.ask(token)).status == 200
        assert "sync with" in serving.err


async def test_spent_budget_is_still_spent_after_a_kill(tmp_path: Path) -> None:
    async with provider(streams_as_asked()) as upstream:
        team = Team(tmp_path, upstream.url)
        node = team.add_proxy()
        policy = '{"base_key_env": "OPENAI_API_KEY", "max_tokens": 60}'
        text = await node.person.do("token", "create", "--policy", policy, "--json")
        token = json.loads(text)["token"]
        usage = node.person.folder / "tokenomics.db.usage"
        async with node.running("/health") as serving:
            while (await node.ask(token, None, max_tokens=20)).status == 200:
                pass
            assert len(upstream.seen) > 1
            for _ in range(2):  # what the first write misses is in the second
                await grown(usage)
                await node.ask(token, None, max_tokens=20)
            serving.kill()
        served = len(upstream.seen)
        async with node.running("/health"):
            answer = await node.ask(token, None, max_tokens=20)
        assert len(upstream.seen) == served
    assert (answer.status, answer.code) == (429, "insufficient_quota")


async def grown(path: Path) -> None:
    """Wait until something is appended."""
    before = path.stat().st_size  # noqa: ASYNC240  one stat
    await until(lambda: path.stat().st_size > before, "what was spent on disk")


async def test_killed_commands_lose_no_acknowledged_token(tmp_path: Path) -> None:
    """Creates that are killed anywhere: what was printed is there, the rest is whole."""
    team = Team(tmp_path, "builtin:echo")
    team.copy_central_config()
    policy = f"@{team.policies}/ci-pipeline.json"
    words = ("token", "create", "--policy", policy, "--count", "3", "--json")
    acknowledged: set[str] = set()

    async def create_and_kill(seconds: float) -> None:
        process = team.centre.start(*words)
        with trio.move_on_after(seconds):
            await process.ended()
        process.kill()
        whole = [line for line in process.out.splitlines() if line.endswith("}")]
        acknowledged.update(json.loads(line)["hash"] for line in whole)

    begun = trio.current_time()
    await create_and_kill(PATIENCE)
    usual = trio.current_time() - begun
    async with team.centre_running():
        for part in (0.5, 0.7, 0.8, 0.9, 1.0, 1.1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(create_and_kill, part * usual)
                nursery.start_soon(create_and_kill, 1.5 * part * usual)
        found = await listed(team)
    assert acknowledged <= found
    assert len(acknowledged) >= 3
    done = await team.centre.run("db", "verify")
    assert (done.status, "whole" in done.out) == (0, True), done.err


async def test_a_torn_tail_is_cut_off_and_reported(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    team.copy_central_config()
    _, first = await team.create("developer")
    path = team.centre.folder / "tokenomics.db"
    good = path.stat().st_size
    await team.create("developer")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5)
    assert await listed(team) == {first}
    done = await team.centre.run("token", "create", "--policy", f"@{team.policies}/developer.json")
    assert done.status == 0, done.err
    assert str(good) in done.err or "torn" in done.err, done.err
    assert len(await listed(team)) == 2


async def test_damage_in_the_middle_is_reported_and_left_alone(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    team.copy_central_config()
    await team.create("developer")
    await team.create("developer")
    path = team.centre.folder / "tokenomics.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    for words in (("token", "list"), ("db", "verify"), ("remote", "--api-key", "k")):
        done = await team.centre.run(*words)
        assert (done.status, done.out) == (5, ""), words
        assert "offset" in done.err or "byte" in done.err, done.err
    assert path.read_bytes() == data


async def test_a_stopped_proxy_finishes_what_runs(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    node = team.add_proxy()
    team.copy_central_config()
    token, _ = await team.create("developer")
    answers = []
    async with team.centre_running(), node.running() as serving:

        async def slow() -> None:
            answers.append(await node.ask(token, None, text="[echo delay=500ms]"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await until(lambda: "serving on" in serving.err, "its start")
            await until_running(node.http)
            assert await serving.terminate() == 0
    assert [answer.status for answer in answers] == [200]


async def until_running(port: int) -> None:
    """Wait until a connection to the port is established."""
    wanted = f":{port:04X} "

    def connected() -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(row[2].endswith(wanted.strip()) and row[3] == "01" for row in rows)

    await until(connected, "the request")
