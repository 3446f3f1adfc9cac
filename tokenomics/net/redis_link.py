"""One connection to Redis: commands of many tasks go out together, replies come back in order.

Laws:
- Replies are told apart by their order alone. So what breaks the order ends the connection: a late
  reply, a reply nobody asked for, bytes that are no reply.
- Nobody waits for long: there is a reply within the timeout, or the connection is given up and all
  who wait are told.
- A caller that is cancelled leaves its place in the queue; its reply is read and dropped.

A command goes out at once if nothing else is under way. Else it goes with those of the other tasks
that run before the writer does, in one send: one by one, most of the time would go into sends.
"""

from __future__ import annotations

from collections import deque

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from tokenomics.net.resp import BadReply, Parser, Push, Reply, ReplyError
from tokenomics.net.wire import Rest, Wire, WireError

MAX_IN_FLIGHT = 1000  # commands; a server that answers has a few dozen, even at 10,000 a second
TICKS = 10  # parts of the timeout in which it is looked at; it is noticed up to one part late

# What another server may do that this one does not: it is a replica now, or it starts. Behind the
# same name there may be another one by now.
ELSEWHERE = frozenset({"READONLY", "LOADING", "MASTERDOWN"})


class Away(Exception):
    """There is no Redis to ask now: it is not connected, too slow, or asked too much. What was
    asked may have been done."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lost(Exception):
    """There is no connection, or no longer; `hopeless` if a person has to change something."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


class _Asked:
    """A command in flight. `task` is None once nobody waits for its reply."""

    __slots__ = ("answered", "reply", "task", "tick")

    def __init__(self, task: Task, tick: int) -> None:
        self.task: Task | None = task
        self.tick = tick
        self.answered = False
        self.reply: Reply = None

    def wake(self) -> None:
        """Let the task go on."""
        if self.task is not None:
            reschedule(self.task)
            self.task = None

    def leave(self, _: object) -> Abort:
        """The task is cancelled."""
        self.task = None
        return Abort.SUCCEEDED


class Link:
    """One connection. Its three tasks end by `drop`, whichever finds a reason first."""

    def __init__(self, wire: Wire, timeout: float) -> None:
        self.reason = ""  # why it is lost; empty while it is not
        self.lost = trio.Event()
        self._wire = wire
        self._timeout = timeout
        self._asked: deque[_Asked] = deque()  # in the order of their replies
        self._unsent: list[bytes] = []  # for the writer
        self._blocked: Rest = b""  # what the socket would not take of a send: it goes first
        self._writer: Task | None = None  # while it has nothing to do
        self._tick = 0

    async def ask(self, command: bytes) -> Reply:
        """The reply to a command. Raises Lost if the connection is, and Away if it has enough to
        do."""
        if len(self._asked) >= MAX_IN_FLIGHT:
            raise Away("full")
        if not self.reason:
            self._send(command)
        if self.reason:
            raise Lost(self.reason)
        asked = _Asked(current_task(), self._tick)
        self._asked.append(asked)
        await wait_task_rescheduled(asked.leave)
        if not asked.answered:
            raise Lost(self.reason)
        return asked.reply

    def _send(self, command: bytes) -> None:
        """Send it now, or let the writer do it."""
        if self._asked or self._unsent or self._blocked:
            self._unsent.append(command)
        else:
            try:
                rest = self._wire.try_send(command)
            except WireError as e:
                self.drop(str(e))
                return
            if not rest:
                return
            self._blocked = rest
        if self._writer is not None:
            reschedule(self._writer)
            self._writer = None

    async def write(self) -> None:
        """Send what was left to the writer, until the connection is lost."""
        try:
            while True:
                if not (self._unsent or self._blocked):
                    self._writer = current_task()
                    await wait_task_rescheduled(self._stop_writer)
                if self._blocked:
                    await self._wire.send_rest(self._blocked, _as_it_is)
                    self._blocked = b""
                if self._unsent:
                    commands = b"".join(self._unsent)
                    self._unsent.clear()
                    self._blocked = self._wire.try_send(commands)
        except WireError as e:
            self.drop(str(e))

    def _stop_writer(self, _: object) -> Abort:
        self._writer = None
        return Abort.SUCCEEDED

    async def read(self) -> None:
        """Hand out replies until the connection is lost."""
        parser = Parser()
        try:
            while not self.reason:
                data = await self._wire.receive()
                if not data:
                    self.drop("it closed the connection")
                parser.receive(data)
                for reply in parser.replies():
                    self._take(reply)
        except WireError as e:
            self.drop(str(e))
        except BadReply as e:
            self.drop(f"it does not speak Redis's protocol: {e}")

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Push) or self.reason:
            return
        if not self._asked:
            self.drop("it sent a reply that nobody asked for")
            return
        asked = self._asked.popleft()
        asked.reply, asked.answered = reply, True
        asked.wake()
        if isinstance(reply, ReplyError) and reply.kind in ELSEWHERE:
            self.drop(f"it answers {reply.kind}")

    async def watch(self) -> None:
        """Give up a connection whose oldest command waits too long.

        It is by ticks of this task: a process that was stopped for a while has not heard its
        server, but that is not the server's fault.
        """
        while True:
            await trio.sleep(self._timeout / TICKS)
            self._tick += 1
            if self._asked and self._tick - self._asked[0].tick > TICKS:
                self.drop(f"no answer within {self._timeout:g} s")

    def drop(self, reason: str) -> None:
        """The connection is of no use any more; who waits is told. Only the first reason counts."""
        if not self.reason:
            self.reason = reason
            self.lost.set()
            while self._asked:
                self._asked.popleft().wake()


def _as_it_is() -> None:
    """`watch` sees to a send that takes too long: its commands are in flight."""
