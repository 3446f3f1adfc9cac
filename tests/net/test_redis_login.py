"""How a connection to Redis begins: passwords, users, TLS, and servers that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from tests.net.peers import Peer, listen
from tests.net.redis_clients import INCREASE, SHORT, WORD, Told, client_of, fails, settings_of
from tests.support.redis import needs_redis, redis_server
from tokenomics.config.settings import Redis
from tokenomics.net.redis import Away, RedisError
from tokenomics.tokens import Secret

pytestmark = needs_redis


# Who may ask, and how.


async def test_a_password_is_given() -> None:
    async with (
        redis_server(password=WORD) as server,
        client_of(settings_of(server, password=Secret(WORD))) as told,
    ):
        await told.up()
        assert await told.client.call("ACL", "WHOAMI") == b"default"


@pytest.mark.parametrize("given", ["not" + WORD, ""], ids=["wrong", "none"])
async def test_a_wrong_password_is_said_clearly_and_tried_slowly(given: str) -> None:
    async with (
        redis_server(password=WORD) as server,
        client_of(settings_of(server, password=Secret(given))) as told,
    ):
        await told.until("Redis at")
        for _ in range(20):  # without a pause it would try again meanwhile
            await server.do("PING")
        assert "cmdstat_hello:calls=1," in await server.do("INFO", "commandstats")
        with pytest.raises(Away) as caught:
            await told.client.call("PING")
    kind = "WRONGPASS: the user or the password" if given else "NOAUTH: it wants a password"
    assert kind in told.said[-1]
    assert kind in caught.value.reason
    assert WORD not in told.said[-1]


async def test_an_acl_user_of_few_rights_may_ask_what_it_may() -> None:
    line = f"user proxy on >{WORD} ~t:* +evalsha +eval +incrby +select"
    async with redis_server(line) as server:
        who = settings_of(server, username="proxy", password=Secret(WORD), db=3)
        async with client_of(who) as told:
            await told.up()
            assert await told.client.script(INCREASE, ["t:a"], [1, ""]) == [1, b""]
            with pytest.raises(RedisError) as caught:
                await told.client.call("FLUSHALL")
            assert caught.value.kind == "NOPERM"
            assert await server.do("INFO", "keyspace")
            assert "db3:keys=1" in await server.do("INFO", "keyspace")


async def test_a_database_that_there_is_not_is_said() -> None:
    async with redis_server() as server, client_of(settings_of(server, db=99)) as told:
        await told.until("ERR DB index is out of range")


async def test_tls_with_an_own_ca(authority: trustme.CA, ca_file: Path) -> None:
    async with redis_server(authority=authority, password=WORD) as server:
        who = settings_of(server, tls=True, ca_file=str(ca_file), password=Secret(WORD))
        async with client_of(who) as told:
            await told.up()
            big = b"x" * (1 << 20)
            async with trio.open_nursery() as nursery:
                for i in range(5):
                    nursery.start_soon(told.client.call, "SET", f"a{i}", big)
            assert await told.client.call("GET", "a4") == big
            await server.restart()
            await told.up(2)


async def test_tls_of_a_stranger_is_not_trusted(authority: trustme.CA) -> None:
    async with (
        redis_server(authority=authority) as server,
        client_of(settings_of(server, tls=True)) as told,
    ):
        await told.until("TLS: CERTIFICATE_VERIFY_FAILED")


async def test_tls_and_none_do_not_go_together(authority: trustme.CA) -> None:
    async with (
        redis_server(authority=authority) as server,
        client_of(settings_of(server)) as told,
    ):
        await told.until("Redis at")
    async with (
        redis_server() as server,
        client_of(settings_of(server, tls=True)) as told,
    ):
        await told.until("Redis at")


async def test_a_unix_socket(tmp_path: Path) -> None:
    async with (
        redis_server() as server,
        client_of(Redis(addr=f"unix:{server.socket}")) as told,
    ):
        await told.up()
        assert await told.client.call("PING") == b"PONG"
    async with client_of(Redis(addr=f"unix:{tmp_path}/none.sock")) as told:
        await told.until("No such file or directory")


# Servers that are none.

HELLO = b"%1\r\n+role\r\n+master\r\n"


def server_that(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Answers so, each when something comes, and then says nothing more."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if not await peer.more():
                return
            await peer.send(answer)
        while await peer.more():
            pass

    return script


@asynccontextmanager
async def pretender(*answers: bytes) -> AsyncIterator[Told]:
    async with trio.open_nursery() as nursery:
        port = await listen(nursery, server_that(*answers))
        settings = Redis(addr=f"127.0.0.1:{port}", password=Secret(WORD), timeout=SHORT)
        async with client_of(settings, jitter=1.0) as told:
            yield told
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "it does not speak Redis's protocol"),
        ((b"\x15\x03\x03\x00\x02\x02\x46",), "it does not speak Redis's protocol"),
        ((b"+OK\r\n",), "it does not answer HELLO as Redis does"),
        ((b"%0\r\n",), "its role is unknown"),
        ((HELLO, b":1\r\n"), "it does not answer PING as Redis does"),
        ((HELLO + b"+PONG\r\n",), "it sent a reply that nobody asked for"),
        ((HELLO, b"-LOADING Redis is loading the dataset in memory\r\n"), "LOADING"),
        ((b"",), "no answer within 0.2 s"),
        (
            (
                f"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, "
                f"`{WORD}`, \r\n".encode(),
            ),
            "ERR: it does not know HELLO: Redis 6 or newer is needed",
        ),
        ((f"-NEW {WORD}\r\n".encode(),), "NEW: it refuses HELLO"),
    ],
    ids=["http", "tls", "simple", "no role", "ping", "too much", "loading", "silent", "old", "new"],
)
async def test_what_is_no_redis_is_said(answers: tuple[bytes, ...], says: str) -> None:
    async with pretender(*answers) as told:
        await told.until(says)
        assert not told.client.connected
    assert "up" not in told.said
    assert WORD not in " ".join(told.said)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"garbage\r\n", "it does not speak Redis's protocol"),
        (b"$5\r\nabcdefgh\r\n", "it does not speak Redis's protocol"),
        (b"$5\r\nabc", "no answer within 0.2 s"),
        (b"*2\r\n:1\r\n", "no answer within 0.2 s"),
        (b">1\r\n+news\r\n", "no answer within 0.2 s"),
    ],
    ids=["garbage", "wrong length", "half a text", "half a list", "only a push"],
)
async def test_garbage_in_the_place_of_a_reply_is_away(answer: bytes, says: str) -> None:
    async with pretender(HELLO, b"+PONG\r\n", answer) as told:
        await told.up()
        await fails(told, says)
        await told.until(says)


async def test_a_push_between_replies_is_passed_over() -> None:
    async with pretender(HELLO, b"+PONG\r\n", b">1\r\n+news\r\n:5\r\n>0\r\n") as told:
        await told.up()
        assert await told.client.call("X") == 5


async def test_replies_behind_one_that_is_too_much_are_not_taken() -> None:
    async with pretender(HELLO, b"+PONG\r\n", b":1\r\n:2\r\n") as told:
        await told.up()
        assert await told.client.call("X") == 1
        await told.until("it sent a reply that nobody asked for")


async def test_a_server_that_loads_is_left_for_a_while() -> None:
    async with pretender(HELLO, b"+PONG\r\n", b"-LOADING Redis is loading\r\n") as told:
        await told.up()
        with pytest.raises(RedisError) as caught:
            await told.client.call("X")
        assert caught.value.kind == "LOADING"
        await told.until("it answers LOADING")
