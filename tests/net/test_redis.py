"""The client of Redis against a real one that is killed, stopped, filled up and made a replica."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from tests.net.redis_clients import (
    INCREASE,
    SHORT,
    client_of,
    connected,
    fails,
    settings_of,
)
from tests.support.http import until
from tests.support.redis import RedisServer, needs_redis, redis_server
from tokenomics.config.settings import Redis
from tokenomics.net.redis import MAX_PAUSE_SECONDS, Away, RedisClient, RedisError, pause
from tokenomics.net.redis_link import MAX_IN_FLIGHT
from tokenomics.net.resp import ReplyError

pytestmark = needs_redis


# Asking.


async def test_a_command_has_its_reply() -> None:
    async with connected() as (server, told):
        assert told.client.connected
        assert await told.client.call("SET", "a", 1) == b"OK"
        assert await told.client.call(b"GET", b"a") == b"1"
        assert await told.client.call("GET", "none") is None
        assert await told.client.call("MGET", "a", "none") == [b"1", None]
        assert await server.clients("tokenomics") == 1


async def test_an_error_is_raised_with_its_kind() -> None:
    async with connected() as (_, told):
        await told.client.call("SET", "a", 1)
        with pytest.raises(RedisError, match="WRONGTYPE Operation against a key") as caught:
            await told.client.call("LPUSH", "a", 1)
        assert caught.value.kind == "WRONGTYPE"
        found = await told.client.call("EVAL", "return {1, redis.error_reply('MINE x')}", 0)
        assert found == [1, ReplyError("MINE x")]
        assert told.said == ["up"]


async def test_each_of_many_tasks_has_its_own_reply() -> None:
    async def one(number: int) -> None:
        for i in range(20):
            assert await told.client.call("ECHO", f"{number}-{i}") == f"{number}-{i}".encode()

    async with (
        connected() as (_, told),
        trio.open_nursery() as nursery,
    ):
        for number in range(50):
            nursery.start_soon(one, number)


async def test_commands_of_many_tasks_go_out_in_few_sends() -> None:
    async with connected() as (server, told):
        before = await reads(server)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(told.client.call, "PING")
        # One for the first, one for the rest, and what `reads` asks itself.
        assert await reads(server) - before <= 10


async def reads(server: RedisServer) -> int:
    """How often the server has read from anybody."""
    text = await server.do("INFO", "stats")
    [line] = [line for line in text.splitlines() if line.startswith("total_reads_processed:")]
    return int(line.partition(":")[2])


async def test_what_the_socket_does_not_take_at_once_goes_out_in_order() -> None:
    async with connected() as (_, told):
        big = {i: b"%d" % i * (3 << 20) for i in range(4)}

        async def one(number: int) -> None:
            assert await told.client.call("SET", f"big{number}", big[number]) == b"OK"
            assert await told.client.call("STRLEN", f"big{number}") == len(big[number])

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for number in big:
                    nursery.start_soon(one, number)
        assert await told.client.call("GET", "big2") == big[2]


async def test_a_script_is_known_by_its_digest_and_sent_once() -> None:
    async with connected() as (server, told):
        assert await told.client.script(INCREASE, ["{a}"], [2, "x"]) == [2, b"x"]
        assert await server.do("SCRIPT", "EXISTS", INCREASE.sha1) == "*1"
        assert await told.client.script(INCREASE, ["{a}"], [2, "x"]) == [4, b"x"]
        await server.do("SCRIPT", "FLUSH")
        assert await told.client.script(INCREASE, ["{a}"], [2, "x"]) == [6, b"x"]
        stats = await server.do("INFO", "commandstats")
        assert "cmdstat_eval:calls=2," in stats
        assert "cmdstat_evalsha:calls=3," in stats


async def test_a_script_that_fails_is_an_error_and_not_sent_again() -> None:
    async with connected() as (server, told):
        with pytest.raises(RedisError, match="not an integer") as caught:
            await told.client.script(INCREASE, ["{a}"], ["x", "y"])
        assert caught.value.kind == "ERR"
        assert "cmdstat_eval:calls=1," in await server.do("INFO", "commandstats")


async def test_more_in_flight_than_is_allowed_is_refused_at_once() -> None:
    async with connected() as (server, told):
        server.pause()
        refused = []
        async with trio.open_nursery() as nursery:

            async def one() -> None:
                try:
                    assert await told.client.call("PING") == b"PONG"
                except Away as e:
                    refused.append(e.reason)

            for _ in range(MAX_IN_FLIGHT + 3):
                nursery.start_soon(one)
            await until(lambda: len(refused) == 3, "three refusals")
            server.resume()
        assert refused == ["full"] * 3
        assert await told.client.call("PING") == b"PONG"


# Callers that leave.


async def test_a_cancelled_caller_leaves_nothing_broken() -> None:
    async with connected() as (server, told):
        server.pause()
        async with trio.open_nursery() as nursery:
            for i in range(5):
                nursery.start_soon(told.client.call, "SET", f"k{i}", i)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        found: dict[int, object] = {}

        async def one(i: int) -> None:
            found[i] = await told.client.call("ECHO", i)

        async with trio.open_nursery() as nursery:
            for i in range(5):
                nursery.start_soon(one, i)
            server.resume()
        assert found == {i: b"%d" % i for i in range(5)}
        assert await told.client.call("GET", "k4") == b"4", "what was asked may be done"
        assert told.said == ["up"]


async def test_nothing_is_sent_for_a_caller_who_is_cancelled_already() -> None:
    async with connected() as (_, told):
        with trio.CancelScope() as scope:
            scope.cancel()
            await told.client.call("SET", "a", 1)
        assert scope.cancelled_caught
        assert await told.client.call("GET", "a") is None


async def test_who_waits_when_the_client_is_stopped_is_told() -> None:
    async with connected() as (server, told):
        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, told, "the client was stopped")
            await trio.testing.wait_all_tasks_blocked()
            told.run.cancel()
        assert not told.client.connected
        await fails(told, "the client was stopped")
        server.resume()


# Servers that come and go.


async def test_before_there_is_a_connection_a_call_fails_at_once() -> None:
    client = RedisClient(Redis(addr="127.0.0.1:1"), lambda: None, lambda _: None)
    with pytest.raises(Away, match=r"^Redis at 127\.0\.0\.1:1: not connected yet$"):
        await client.call("PING")


async def test_a_server_that_is_killed_and_comes_back() -> None:
    async with connected() as (server, told):
        await told.client.call("SET", "a", 1)
        server.kill()
        await told.until("Connection refused")
        with pytest.raises(Away, match="Connection refused"):
            await told.client.call("GET", "a")
        assert not told.client.connected
        await server.start()
        await told.up(2)
        assert await told.client.call("GET", "a") is None
    assert told.said[0] == told.said[-1] == "up"
    assert told.said[-2] == f"Redis at {server.addr}: Connection refused"
    assert len(told.said) == 4, "the same reason is said once"


async def test_a_server_that_keeps_its_data_has_them_again() -> None:
    async with redis_server(appendonly=True) as server, client_of(settings_of(server)) as told:
        await told.up()
        await told.client.script(INCREASE, ["a"], [5, ""])
        await server.restart()
        await told.up(2)
        assert await told.client.script(INCREASE, ["a"], [1, ""]) == [6, b""]
        await server.restart(empty=True)
        await told.up(3)
        assert await told.client.script(INCREASE, ["a"], [1, ""]) == [1, b""]


async def test_a_server_killed_in_mid_call_is_told_at_once() -> None:
    async with connected(timeout=60) as (server, told):
        server.pause()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(fails, told, f"Redis at {server.addr}: ")
            await trio.testing.wait_all_tasks_blocked()
            server.kill()


async def test_a_server_that_stops_answering_costs_the_timeout_and_recovers() -> None:
    async with connected(timeout=SHORT) as (server, told):
        server.pause()
        began = trio.current_time()
        await fails(told, "no answer within 0.2 s")
        assert SHORT <= trio.current_time() - began < 2
        began = trio.current_time()
        await fails(told, "no answer within 0.2 s")
        assert trio.current_time() - began < SHORT / 2, "it is not asked again meanwhile"
        server.resume()
        await told.up(2)
        assert await told.client.call("PING") == b"PONG"


async def test_a_late_reply_goes_to_nobody() -> None:
    async with connected(timeout=SHORT) as (server, told):
        server.pause()
        with pytest.raises(Away):
            await told.client.call("ECHO", "late")
        server.resume()
        await told.up(2)
        assert await told.client.call("ECHO", "next") == b"next"


async def test_connections_that_the_server_ends_are_made_anew() -> None:
    async with connected() as (server, told):
        await server.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await told.up(2)
        assert await told.client.call("PING") == b"PONG"
        assert await server.clients("tokenomics") == 1
    assert told.said[1] == f"Redis at {server.addr}: it closed the connection"


async def test_a_master_that_becomes_a_replica_is_looked_for_anew() -> None:
    async with redis_server() as master, connected() as (server, told):
        await told.client.script(INCREASE, ["a"], [1, ""])
        await server.do("REPLICAOF", "127.0.0.1", str(master.port))
        with pytest.raises(RedisError) as caught:
            await told.client.script(INCREASE, ["a"], [1, ""])
        assert caught.value.kind == "READONLY"
        await told.until("it answers READONLY")
        await told.until("its role is replica: only a master takes writes")
        await server.do("REPLICAOF", "NO", "ONE")
        await told.up(2)
        assert await told.client.script(INCREASE, ["b"], [1, ""]) == [1, b""]


async def test_a_replica_is_no_server_to_count_on() -> None:
    async with (
        redis_server("replicaof 127.0.0.1 1") as server,
        client_of(settings_of(server)) as told,
    ):
        await told.until("its role is replica: only a master takes writes")
        assert not told.client.connected


async def test_a_full_server_says_so_and_stays_connected() -> None:
    async with connected("maxmemory 1", "maxmemory-policy noeviction") as (server, told):
        for _ in range(2):
            with pytest.raises(RedisError) as caught:
                await told.client.script(INCREASE, ["a"], [1, ""])
            assert caught.value.kind == "OOM"
        await server.do("CONFIG", "SET", "maxmemory", "0")
        assert await told.client.script(INCREASE, ["a"], [1, ""]) == [1, b""]
        assert told.said == ["up"]


async def test_a_server_without_room_for_more_clients_is_tried_again() -> None:
    async with (
        redis_server("maxclients 1") as server,
        await trio.open_tcp_stream("127.0.0.1", server.port) as other,
    ):
        await other.send_all(b"PING\r\n")
        assert await other.receive_some(7) == b"+PONG\r\n"
        async with client_of(settings_of(server)) as told:
            await told.until("it has as many clients as it takes")
            await other.aclose()
            await told.up()


# Pauses.


@pytest.mark.parametrize(
    ("failures", "hopeless", "least", "most"),
    [
        (0, False, 0, 0.025),
        (1, False, 0, 0.05),
        (2, False, 0, 0.1),
        (7, False, 0, 3.2),
        (8, False, 0, 5),
        (10**6, False, 0, 5),
        (1, True, 2.5, 5),
        (50, True, 2.5, 5),
    ],
)
def test_pauses_double_up_to_the_longest(
    failures: int, hopeless: bool, least: float, most: float
) -> None:
    assert pause(failures, 0.0, hopeless=hopeless) == least
    assert math.isclose(pause(failures, 1.0, hopeless=hopeless), most)
    assert most <= MAX_PAUSE_SECONDS
