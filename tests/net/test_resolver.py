"""DNS results kept: what is asked again and when, and what outlives an outage or a cancelling."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.net.peers import PATIENCE, Peer, listen, patience
from tokenomics.net.resolver import (
    MAX_LOOKUPS,
    MAX_NAMES,
    SLOW_SECONDS,
    STALE_SECONDS,
    TTL_SECONDS,
    Found,
    Host,
    Port,
    Question,
    Resolver,
)

DOWN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def entries(*addresses: str, port: int = 80) -> Found:
    kind = socket.SOCK_STREAM
    return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]


class Names:
    """DNS as a test wants it: `answer` is found or raised, and `silent` names wait for `speak`."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.answer: Found | Exception = entries("10.0.0.1")
        self.silent: set[Host] = set()
        self.spoken = threading.Event()
        self.heard = threading.Event()  # some question

    def __call__(
        self, host: Host, port: Port, family: int, type: int, proto: int, flags: int
    ) -> Found:
        self.asked.append((host, port, family, type, proto, flags))
        self.heard.set()
        if host in self.silent:
            assert self.spoken.wait(PATIENCE), "a test leaves no thread behind"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def hosts(self) -> list[Host]:
        return [question[0] for question in self.asked]

    @contextmanager
    def silence(self, *hosts: bytes) -> Iterator[None]:
        """These names are not answered within the block, and are after it."""
        self.silent = set(hosts)
        try:
            yield
        finally:
            self.silent = set()
            self.spoken.set()
            self.spoken = threading.Event()


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def resolver(names: Names) -> Resolver:
    return Resolver(names)


async def ask(resolver: Resolver, host: bytes = b"a.example") -> str:
    """The first address of a host."""
    found = await resolver.getaddrinfo(host, 80)
    return str(found[0][4][0])


async def ended(resolver: Resolver) -> None:
    """Wait until no look-up is under way."""
    while resolver._limiter.borrowed_tokens:
        await trio.lowlevel.checkpoint()


# Keeping.


async def test_a_result_is_kept_and_then_asked_for_again(
    mock_clock: MockClock, resolver: Resolver, names: Names
) -> None:
    assert await ask(resolver) == "10.0.0.1"
    names.answer = entries("10.0.0.2")
    mock_clock.jump(TTL_SECONDS - 0.1)
    assert await ask(resolver) == "10.0.0.1"
    mock_clock.jump(0.1)
    assert await ask(resolver) == "10.0.0.2"
    assert names.hosts() == [b"a.example"] * 2


async def test_all_of_a_question_counts(resolver: Resolver, names: Names) -> None:
    questions: list[Question] = [
        (b"a.example", 80, 0, 0, 0, 0),
        (b"b.example", 80, 0, 0, 0, 0),
        (b"a.example", 81, 0, 0, 0, 0),
        (b"a.example", 80, socket.AF_INET, 0, 0, 0),
        (b"a.example", 80, 0, socket.SOCK_STREAM, 0, 0),
        (b"a.example", 80, 0, 0, socket.IPPROTO_TCP, 0),
        (b"a.example", 80, 0, 0, 0, socket.AI_PASSIVE),
        (None, 80, 0, 0, 0, 0),
    ]
    for question in questions * 2:
        await resolver.getaddrinfo(*question)
    assert names.asked == questions


async def test_what_a_caller_does_with_a_result_is_its_own(resolver: Resolver) -> None:
    for _ in range(3):
        found = await resolver.getaddrinfo(b"a.example", 80)
        assert found == entries("10.0.0.1")
        found.clear()


async def test_what_was_fetched_first_goes_when_there_are_too_many(
    mock_clock: MockClock, resolver: Resolver, names: Names
) -> None:
    for i in range(MAX_NAMES):
        await ask(resolver, b"%d.example" % i)
    mock_clock.jump(TTL_SECONDS)
    await ask(resolver, b"0.example")  # fetched anew: now 1.example is the first
    await ask(resolver, b"new.example")
    names.answer = DOWN
    assert await ask(resolver, b"0.example") == "10.0.0.1"
    assert await ask(resolver, b"2.example") == "10.0.0.1"
    with pytest.raises(socket.gaierror):
        await ask(resolver, b"1.example")


async def test_forget_asks_again(resolver: Resolver, names: Names) -> None:
    await ask(resolver)
    resolver.forget()
    names.answer = entries("10.0.0.2")
    assert await ask(resolver) == "10.0.0.2"


async def test_what_was_under_way_at_forget_is_not_kept(
    nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    with names.silence(b"a.example"):
        nursery.start_soon(ask, resolver)
        await wait_all_tasks_blocked()
        resolver.forget()
    await ended(resolver)
    await ask(resolver)
    assert len(names.asked) == 2


# Failing.


@pytest.mark.parametrize("error", [DOWN, UnicodeError("no name")], ids=["gaierror", "other"])
async def test_a_failure_is_raised_and_not_kept(
    resolver: Resolver, names: Names, error: Exception
) -> None:
    names.answer = error
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            await ask(resolver)
        assert caught.value is error
    names.answer = entries("10.0.0.2")
    assert await ask(resolver) == "10.0.0.2"


async def test_an_outage_leaves_the_last_result_for_a_while(
    mock_clock: MockClock, resolver: Resolver, names: Names
) -> None:
    await ask(resolver)
    names.answer = DOWN
    mock_clock.jump(TTL_SECONDS)
    assert await ask(resolver) == "10.0.0.1"
    mock_clock.jump(STALE_SECONDS - TTL_SECONDS - 0.1)
    assert await ask(resolver) == "10.0.0.1"
    assert len(names.asked) == 3, "each asked, in the hope that it is over"
    mock_clock.jump(0.1)
    with pytest.raises(socket.gaierror):
        await ask(resolver)
    names.answer = entries("10.0.0.2")
    assert await ask(resolver) == "10.0.0.2"


async def test_the_end_of_an_outage_is_noticed_at_once(
    mock_clock: MockClock, resolver: Resolver, names: Names
) -> None:
    await ask(resolver)
    names.answer = DOWN
    mock_clock.jump(TTL_SECONDS)
    await ask(resolver)
    names.answer = entries("10.0.0.2")
    assert await ask(resolver) == "10.0.0.2"


async def test_silence_is_an_outage_too_and_holds_one_thread(
    mock_clock: MockClock, nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    await ask(resolver)
    mock_clock.jump(TTL_SECONDS)
    got: list[str] = []

    async def asks() -> None:
        got.append(await ask(resolver))

    with names.silence(b"a.example"):
        nursery.start_soon(asks)
        await wait_all_tasks_blocked()
        mock_clock.jump(SLOW_SECONDS - 0.1)
        await wait_all_tasks_blocked()
        assert got == []
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert got == ["10.0.0.1"]
        assert await ask(resolver) == "10.0.0.1", "at once: it was waited for already"
        names.answer = entries("10.0.0.2")
    await ended(resolver)
    assert await ask(resolver) == "10.0.0.2", "what came late is kept"
    assert len(names.asked) == 2


# Several at the same time.


async def test_those_who_ask_the_same_share_a_look_up(
    nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    got: list[str] = []

    async def asks() -> None:
        got.append(await ask(resolver))

    with names.silence(b"a.example"):
        for _ in range(3):
            nursery.start_soon(asks)
        await wait_all_tasks_blocked()
    await ended(resolver)
    await wait_all_tasks_blocked()
    assert got == ["10.0.0.1"] * 3
    assert len(names.asked) == 1


async def test_those_who_ask_the_same_share_a_failure(
    nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    names.answer = DOWN
    got: list[object] = []

    async def asks() -> None:
        try:
            await ask(resolver)
        except socket.gaierror as e:
            got.append(e)

    with names.silence(b"a.example"):
        for _ in range(3):
            nursery.start_soon(asks)
        await wait_all_tasks_blocked()
    await ended(resolver)
    await wait_all_tasks_blocked()
    assert got == [DOWN] * 3
    assert len(names.asked) == 1


@pytest.mark.parametrize("cancelled", [0, 1], ids=["first", "second"])
async def test_a_cancelled_task_takes_nothing_from_the_others(
    nursery: trio.Nursery, resolver: Resolver, names: Names, cancelled: int
) -> None:
    scopes = [trio.CancelScope(), trio.CancelScope()]
    got: list[tuple[int, str]] = []

    async def asks(number: int) -> None:
        with scopes[number]:
            got.append((number, await ask(resolver)))

    with names.silence(b"a.example"):
        for number in (0, 1):
            nursery.start_soon(asks, number)
            await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await wait_all_tasks_blocked()
        assert scopes[cancelled].cancelled_caught
    await ended(resolver)
    await wait_all_tasks_blocked()
    assert got == [(1 - cancelled, "10.0.0.1")]
    assert len(names.asked) == 1


async def test_what_a_cancelled_task_asked_for_is_kept(
    nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    scope = trio.CancelScope()

    async def asks() -> None:
        with scope:
            await ask(resolver)

    with names.silence(b"a.example"):
        nursery.start_soon(asks)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
    await ended(resolver)
    assert await ask(resolver) == "10.0.0.1"
    assert len(names.asked) == 1


async def test_a_kept_result_is_a_checkpoint(resolver: Resolver) -> None:
    await ask(resolver)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ask(resolver)
    assert scope.cancelled_caught


async def test_silent_names_are_bounded_and_leave_trios_threads_alone(
    mock_clock: MockClock, nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    await ask(resolver, b"kept.example")
    mock_clock.jump(TTL_SECONDS)
    silent = [b"%d.example" % i for i in range(MAX_LOOKUPS)]
    with names.silence(*silent):
        for name in silent:
            nursery.start_soon(ask, resolver, name)
        await wait_all_tasks_blocked()
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        with pytest.raises(socket.gaierror, match=f"{MAX_LOOKUPS} look-ups are under way") as e:
            await ask(resolver, b"one.more.example")
        assert e.value.errno == socket.EAI_AGAIN
        assert await ask(resolver, b"kept.example") == "10.0.0.1"
    await ended(resolver)
    await ask(resolver, b"one.more.example")


def test_a_run_does_not_wait_for_its_look_ups(names: Names) -> None:
    async def main() -> None:
        with trio.move_on_after(1):
            await ask(Resolver(names))

    with names.silence(b"a.example"):
        trio.run(main, clock=MockClock(autojump_threshold=0))
        assert names.heard.wait(PATIENCE)  # the thread may begin after the run has ended
        assert names.hosts() == [b"a.example"]


# In trio.


async def test_a_stream_opens_by_a_kept_name(
    nursery: trio.Nursery, resolver: Resolver, names: Names
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"hello")

    port = await listen(nursery, script)
    # The first address refuses, so that happy eyeballs goes on to the second.
    names.answer = entries("127.0.0.2", "127.0.0.1", port=port)
    trio.socket.set_custom_hostname_resolver(resolver)
    for _ in range(2):
        with patience():
            stream = await trio.open_tcp_stream("bücher.example", port)
            assert await stream.receive_some() == b"hello"
            await stream.aclose()
    assert names.asked == [(b"xn--bcher-kva.example", port, 0, socket.SOCK_STREAM, 0, 0)]
    assert await trio.socket.getaddrinfo("127.0.0.1", port)
    assert len(names.asked) == 1, "a numeric address is not asked for"


async def test_names_of_addresses_are_the_standard_librarys(resolver: Resolver) -> None:
    trio.socket.set_custom_hostname_resolver(resolver)
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await trio.socket.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")


async def test_the_real_look_up_finds_localhost() -> None:
    found = await Resolver().getaddrinfo(b"localhost", 80, socket.AF_INET, socket.SOCK_STREAM)
    assert found[0][4] == ("127.0.0.1", 80)
