"""A real redis-server (or valkey-server) of a test's own, on a free port of 127.0.0.1.

It keeps nothing unless a test wants it to, lives in a folder that goes with it, and can be killed,
stopped and started again. Beside its port it listens on a Unix socket without TLS, over which the
tests give orders in a few lines of their own, so that no mistake of ours is made twice. Only what
was started here is ended, by its id.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trustme

from tests.support.http import PATIENCE, POLL_SECONDS
from tests.support.processes import free_port

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
SOCKET = "redis.sock"

needs_redis = pytest.mark.skipif(not PROGRAM, reason="no redis-server; build/test installs one")


@dataclass
class RedisServer:
    """One server. `lines` are of its configuration; `password` is the default user's."""

    folder: Path
    port: int
    lines: tuple[str, ...] = ()
    password: str = ""
    popen: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return self.folder / SOCKET

    async def start(self) -> None:
        """Start it, on the same port each time, and wait until it answers."""
        self.popen = popen = self._spawn()
        with trio.move_on_after(PATIENCE):
            while popen.poll() is None:
                try:
                    if not (await self.ask("PING")).startswith("-LOADING"):
                        return
                except OSError:
                    pass  # it does not listen yet
                await trio.sleep(POLL_SECONDS)
        raise AssertionError(f"redis-server is not ready: {(self.folder / 'log').read_text()}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert PROGRAM, "needs_redis marks the tests that start one"
        assert self.popen is None, "it runs"
        config = self.folder / "redis.conf"
        config.write_text("\n".join(self.lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [PROGRAM, str(config)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9; what it has not written is lost."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait(PATIENCE)
            self.popen = None
        self.socket.unlink(missing_ok=True)

    async def restart(self, *, empty: bool = False) -> None:
        """kill -9 and start; `empty` without what it had written."""
        self.kill()
        if empty:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
            (self.folder / "appendonly.aof").unlink(missing_ok=True)  # as Redis 6 names it
        await self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, and the kernel takes new ones, but nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        assert self.popen is not None, "it does not run"
        self.popen.send_signal(number)

    async def ask(self, *words: str) -> str:
        """Give it an order as the default user; the first line of the reply, or the text behind a
        bulk reply's length. Raises OSError if it does not run."""
        orders = [["AUTH", self.password]] if self.password else []
        reply = ""
        async with await trio.open_unix_socket(str(self.socket)) as stream:
            for order in [*orders, list(words)]:
                with trio.fail_after(PATIENCE):
                    await stream.send_all(_encoded(order))
                    reply = await _line(stream)
                    if reply.startswith("$") and reply != "$-1":
                        reply = await _exactly(stream, int(reply[1:]) + 2)
        return reply

    async def do(self, *words: str) -> str:
        """The same for an order that must be done."""
        reply = await self.ask(*words)
        assert not reply.startswith("-"), f"{words[0]}: {reply}"
        return reply

    async def clients(self, name: str) -> int:
        """How many connections have this name."""
        listing = await self.do("CLIENT", "LIST")
        return sum(f" name={name} " in line for line in listing.splitlines())


@asynccontextmanager
async def redis_server(
    *lines: str,
    password: str = "",
    user: tuple[str, str] | None = None,
    authority: trustme.CA | None = None,
    appendonly: bool = False,
) -> AsyncIterator[RedisServer]:
    """A server that runs, and is killed with the block.

    `lines` are added to its configuration; `user` is the name and password of somebody who may do
    all; with an `authority` its port speaks TLS only; with `appendonly` it keeps all it answered.
    """
    # Not in pytest's folder, whose path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="tokenomics-redis-") as name:
        folder, port = Path(name), free_port()
        config = _config(folder, 0 if authority else port, appendonly)
        config += [f"requirepass {password}"] if password else []
        config += [f"user {user[0]} on >{user[1]} ~* +@all"] if user else []
        config += _tls(folder, port, authority) if authority else []
        server = RedisServer(folder, port, (*config, *lines), password)
        try:
            await server.start()
            yield server
        finally:
            server.kill()


def _config(folder: Path, port: int, appendonly: bool) -> list[str]:
    return [
        "bind 127.0.0.1",
        f"port {port}",
        f"unixsocket {folder / SOCKET}",
        f"dir {folder}",
        'save ""',
        f"appendonly {'yes' if appendonly else 'no'}",
        "appendfsync always",
        "daemonize no",
    ]


def _tls(folder: Path, port: int, authority: trustme.CA) -> list[str]:
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return [
        f"tls-port {port}",
        f"tls-cert-file {folder / 'server.pem'}",
        f"tls-key-file {folder / 'server.pem'}",
        f"tls-ca-cert-file {folder / 'ca.pem'}",
        "tls-auth-clients no",
    ]


def _encoded(words: list[str]) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


async def _line(stream: trio.SocketStream) -> str:
    found = b""
    while not found.endswith(b"\r\n"):
        found += await _some(stream, 1)
    return found[:-2].decode()


async def _exactly(stream: trio.SocketStream, size: int) -> str:
    found = b""
    while len(found) < size:
        found += await _some(stream, size - len(found))
    return found[:-2].decode()


async def _some(stream: trio.SocketStream, size: int) -> bytes:
    try:
        data = bytes(await stream.receive_some(size))
    except trio.BrokenResourceError as e:
        raise OSError("the connection broke") from e
    if not data:
        raise OSError("it closed the connection")
    return data
