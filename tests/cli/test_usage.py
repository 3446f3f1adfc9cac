"""`token usage` and `token rotate`: where a token is counted, seen from the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import until
from tests.support.redis import needs_redis, redis_server
from tokenomics.cli import main
from tokenomics.config.settings import Redis
from tokenomics.policy.limits import Bill, Lease, Want
from tokenomics.policy.meters import limits_of
from tokenomics.policy.model import Entry, parse_policy
from tokenomics.store.database import Database, Place
from tokenomics.tokens import Secret
from tokenomics.usage.process import ProcessUsage
from tokenomics.usage.redis import RedisUsage
from tokenomics.usage.share import Share

POLICY = {
    "default_provider": "echo",
    "max_tokens": 1000,
    "budget": [{"cost_usd": 2, "period": "month"}],
    "rate_limit": {"rules": [{"requests": 9, "window": "1h"}], "max_parallel": 3},
    "providers": {"echo": [{"model": "a", "max_tokens": 70}]},
}
LIMITS = limits_of(parse_policy(json.dumps(POLICY)), Entry("echo"))
DATABASE = Path("tokens.db")
USAGE = Path("tokens.db.usage")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TOKENOMICS_HASH_KEY", "k" * 32)
    monkeypatch.setenv("TOKENOMICS_STORAGE_DB_PATH", str(tmp_path / DATABASE))


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    status = main([*words])
    out, err = capsys.readouterr()
    return status, out, err


def run_json(capsys: Capture, *words: str) -> Any:
    status, out, err = run(capsys, *words, "--json")
    assert status == 0, err
    return json.loads(out)


def create(capsys: Capture, name: str = "alice") -> str:
    words = ("token", "create", "--policy", json.dumps(POLICY), "--name", name)
    hash_ = run_json(capsys, *words)["hash"]
    assert isinstance(hash_, str)
    return hash_


def entry(hash_: str) -> Any:
    return Database(Place(DATABASE, Secret()), pytest.fail).table.entries[hash_]


def stands(row: Any) -> dict[str, tuple[float, float]]:
    """(used, held) of each limit."""
    return {limit["name"]: (limit["used"], limit["held"]) for limit in row["limits"]}


async def spend(usage: ProcessUsage | RedisUsage, account: str) -> Lease:
    """One request that is over, and one that runs."""
    lease = await usage.admit(account, LIMITS, Want(10, 20, input_cost=5))
    assert isinstance(lease, Lease)
    await usage.settle(account, lease, Bill(25, 500_000_000))
    running = await usage.admit(account, LIMITS, Want(10, 20, input_cost=5))
    assert isinstance(running, Lease)
    return running


USED = {
    "requests in 3600 s": (2, 0),
    "total": (55, 30),
    "month cost": (0.500000005, 0.000000005),
    "echo:a": (0, 0),
}


async def test_usage_of_a_proxy_that_runs_and_of_one_that_ended(
    capsys: Capture, nursery: trio.Nursery
) -> None:
    hash_ = create(capsys)
    assert stands(run_json(capsys, "token", "usage", "--name", "alice"))["total"] == (0, 0)
    usage = ProcessUsage(USAGE, pytest.fail)
    with usage.open():
        await spend(usage, hash_)
        nursery.start_soon(usage.run)
        await until(lambda: run_json(capsys, "token", "usage")[0]["running"] == 1)
        nursery.cancel_scope.cancel()
        row = run_json(capsys, "token", "usage", "--name", "alice")
        assert (row["hash"], row["name"], row["running"], row["max_parallel"]) == (
            hash_,
            "alice",
            1,
            3,
        )
        assert stands(row) == USED
    (row,) = run_json(capsys, "token", "usage")
    assert row["running"] == 0
    assert stands(row)["total"] == (25, 0)
    month = next(limit for limit in row["limits"] if limit["name"] == "month cost")
    assert month["resets_at"].startswith(str(time.gmtime().tm_year)[:2])
    assert (month["unit"], month["limit"], month["remaining"]) == ("usd", 2, 1.5)
    status, out, _ = run(capsys, "token", "usage", "--hash", hash_[:8])
    assert status == 0
    assert "25 of         1000    2.5%" in out


@needs_redis
async def test_usage_that_is_counted_in_redis(
    capsys: Capture, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_ = create(capsys)
    async with redis_server() as server:
        monkeypatch.setenv("TOKENOMICS_SESSION_BACKEND", "redis")
        monkeypatch.setenv("TOKENOMICS_SESSION_REDIS_ADDR", server.addr)
        share = Share(USAGE, pytest.fail)
        usage = RedisUsage(Redis(addr=server.addr), share, lambda _level, _message: None)
        nursery.start_soon(usage.run)
        await spend(usage, hash_)
        nursery.cancel_scope.cancel()
        row = await trio_thread(run_json, capsys, "token", "usage", "--name", "alice")
        assert row["running"] == 1
        assert stands(row) == USED
    status, _, err = await trio_thread(run, capsys, "token", "usage")
    assert status == 1
    assert "Redis, which cannot be asked" in err


async def trio_thread(function: Any, *words: Any) -> Any:
    """A command that has an event loop of its own."""
    with trio.CancelScope(shield=True):
        return await trio.to_thread.run_sync(function, *words)


async def test_a_reset_begins_a_new_account_and_says_why(capsys: Capture) -> None:
    hash_ = create(capsys)
    usage = ProcessUsage(USAGE, pytest.fail)
    with usage.open():
        await spend(usage, hash_)
    words = ("token", "usage", "--name", "alice", "--reset")
    status, _, err = run(capsys, *words)
    assert (status, "--reason" in err) == (2, True)
    assert run_json(capsys, *words, "--reason", "new quarter")["reset"] is True
    assert stands(run_json(capsys, "token", "usage", "--name", "alice"))["total"] == (0, 0)
    assert len(entry(hash_).account) == 64
    main(["token", "update", "--name", "alice", "--policy", '{"max_tokens": 5}'])
    capsys.readouterr()
    kept = entry(hash_).account
    assert kept
    assert stands(run_json(capsys, "token", "usage", "--name", "alice"))["total"] == (0, 0)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--reset", "--reason", "x"), 2),
        (("--reason", "x", "--name", "alice"), 2),
        (("--reset", "--reason", "x" * 201, "--name", "alice"), 2),
        (("--reset", "--reason", "a\nb", "--name", "alice"), 2),
        (("--reset", "--reason", "x", "--name", "bob"), 3),
        (("--name", "bob"), 3),
    ],
)
def test_what_cannot_be_reset_or_shown(
    capsys: Capture, words: tuple[str, ...], status: int
) -> None:
    hash_ = create(capsys)
    assert run(capsys, "token", "usage", *words)[0] == status
    assert entry(hash_).account == ""


async def test_rotation_keeps_the_policy_and_the_usage(capsys: Capture) -> None:
    old = create(capsys)
    usage = ProcessUsage(USAGE, pytest.fail)
    with usage.open():
        await spend(usage, old)
    made = run_json(capsys, "token", "rotate", "--name", "alice", "--grace", "1h")
    assert made["token"].startswith("tkn_")
    assert (entry(made["hash"]).account, entry(made["hash"]).name) == (old, "alice")
    assert entry(made["hash"]).policy == entry(old).policy
    assert 3500 < entry(old).expires_at - time.time() <= 3600
    assert stands(run_json(capsys, "token", "usage", "--name", "alice"))["total"] == (25, 0)
    again = run_json(capsys, "token", "rotate", "--name", "alice", "--grace", "0s")
    assert entry(again["hash"]).account == old
    assert entry(made["hash"]).expires_at <= time.time()
    status, _, err = run(capsys, "token", "rotate", "--hash", made["hash"][:12])
    assert (status, "expired" in err) == (1, True)
    assert run(capsys, "token", "rotate", "--name", "alice", "--grace", "soon")[0] == 2
