"""Reloads in turn, and the names of what changed."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.node import Said
from tokenomics.cli.reload import FIXED_FOR_SERVE, Node, Reading, Reloads, changes
from tokenomics.config.settings import Config, Webhook, rows
from tokenomics.errors import Invalid
from tokenomics.net.client import Client
from tokenomics.net.connection import Limits, Reply, Request
from tokenomics.net.resolver import Resolver
from tokenomics.net.server import Server
from tokenomics.tokens import Secret
from tokenomics.webhooks import Webhooks

NOW = Reading(Config(), {})


async def app(request: Request, reply: Reply) -> None:
    await reply.send(200)


def make_node(said: Said) -> Node:
    log, client = said.log, Client()
    server = Server(app, Limits(), log.say)
    webhooks = Webhooks((), client, log)
    return Node(client, Resolver(), webhooks, None, log, server, lambda *_: app)


class Files:
    """Files that take as long to read as a test wants. A fault is raised when they have been."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.begun = 0
        self.may_end = threading.Semaphore(0)

    def read(self) -> Reading:
        self.begun += 1
        self.may_end.acquire(timeout=10)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        return NOW


async def told(said: Said, times: int) -> None:
    with trio.fail_after(5):
        while said.text.count("reload") < times:
            await trio.testing.wait_all_tasks_blocked(0.001)


async def test_asking_while_one_runs_causes_one_more_after_it(nursery: trio.Nursery) -> None:
    files, said = Files(), Said()
    reloads = Reloads(NOW, files.read)
    nursery.start_soon(reloads.run, make_node(said))
    reloads.ask()
    with trio.fail_after(5):
        while not files.begun:
            await trio.testing.wait_all_tasks_blocked(0.001)
    for _ in range(3):
        reloads.ask()
    assert files.begun == 1
    files.may_end.release(5)
    await told(said, 2)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert files.begun == 2


async def test_a_fault_and_a_bug_are_said_and_the_next_reload_works(nursery: trio.Nursery) -> None:
    files, said = Files(Invalid("c.yaml:1: a\nc.yaml:2: b"), RuntimeError("a bug")), Said()
    files.may_end.release(9)
    reloads = Reloads(NOW, files.read)
    nursery.start_soon(reloads.run, make_node(said))
    for times in (1, 2, 3):
        reloads.ask()
        await told(said, times)
    refused, failed, done = said.text.splitlines()
    assert "reload refused, the running config stays: c.yaml:1: a; c.yaml:2: b" in refused
    assert "reload failed, the running config stays: RuntimeError('a bug')" in failed
    assert '"level":"info","message":"reloaded: 0 settings changed' in done


# Names.


def test_equal_configs_have_no_changes() -> None:
    assert changes(Config(), Config()) == []


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"default_provider": "groq"}, ["default_provider"]),
        ({"storage": replace(Config().storage, db_path=Path("x"))}, ["storage.db_path"]),
        ({"remote": replace(Config().remote, api_key=Secret("s"))}, ["remote.api_key"]),
        (
            {"events": replace(Config().events, webhooks=(Webhook("http://x"),))},
            ["events.webhooks"],
        ),
        ({"providers": {"a": {"models": ["m"]}, "b": None}}, ["providers.a", "providers.b"]),
        ({"ledger": replace(Config().ledger, enabled=True)}, []),
    ],
    ids=lambda v: str(v)[:30],
)
def test_a_change_is_named(fields: dict[str, Any], names: list[str]) -> None:
    assert changes(Config(), replace(Config(), **fields)) == names


def test_a_provider_that_goes_is_named() -> None:
    before = replace(Config(), providers={"a": {}, "b": {}})
    assert changes(before, replace(before, providers={"b": {}})) == ["providers.a"]


@pytest.mark.parametrize("name", FIXED_FOR_SERVE)
def test_what_needs_a_restart_is_a_setting(name: str) -> None:
    keys = [row.key for row in rows()]
    assert any(key.startswith(name) if name.endswith(".") else key == name for key in keys)
