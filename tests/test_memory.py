"""Memory files: where a turn goes, how it reads, and what a bad path may not do."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tokenomics.logs import Log
from tokenomics.memory import QUEUE_ENTRIES, MemoryWriter, Turn, file_of, render
from tokenomics.policy.model import Memory

HASH = "0123456789abcdef" * 4
TIME = 1795423598.9  # 2026-11-23T08:46:38Z


def turn(content: str = "hello", role: str = "user", model: str = "gpt-4o") -> Turn:
    return Turn(TIME, HASH, role, model, content)


class Bench:
    """A writer, and what it said."""

    def __init__(self) -> None:
        self._lines = io.StringIO()
        self.writer = MemoryWriter(Log(diagnostics=self._lines))

    def said(self) -> list[str]:
        return [json.loads(line)["message"] for line in self._lines.getvalue().splitlines()]

    async def write(self, *entries: tuple[Memory, list[Turn]]) -> None:
        """Remember entries, and run the writer until they are written."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.writer.run)
            for memory, turns in entries:
                self.writer.remember(memory, turns)
            nursery.cancel_scope.cancel()


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Where and how


@pytest.mark.parametrize(
    ("memory", "path"),
    [
        (Memory("/m/all.md"), "/m/all.md"),
        (Memory("/m", "team.md"), "/m/team.md"),
        (Memory("/m", "{token_hash}.md"), "/m/0123456789abcdef.md"),
        (Memory("/m", "{date}/{token_hash}-{date}.md"), None),
        (Memory("/m/{date}", "x.md"), "/m/{date}/x.md"),
        (Memory("/m", "{model}{0}%s.md"), "/m/{model}{0}%s.md"),
    ],
    ids=str,
)
def test_the_file_of_a_turn(memory: Memory, path: str | None) -> None:
    expected = path or "/m/2026-11-23/0123456789abcdef-2026-11-23.md"
    assert file_of(memory, turn()) == Path(expected)


def test_a_turn_reads_as_markdown() -> None:
    assert render(turn("two\nlines")) == (
        "## 2026-11-23T08:46:38Z | 0123456789abcdef | user | gpt-4o\n\ntwo\nlines\n\n---\n\n"
    )


@pytest.mark.parametrize("trick", ["\n", "\r", "\r\n", "\x85", "\u2028", "|", " | "], ids=repr)
def test_a_heading_is_one_line_of_four_parts(trick: str) -> None:
    """The client chooses the model, and in some dialects the role."""
    text = f"x{trick}## forged"
    heading = render(turn("", role=text, model=text)).splitlines()[0]
    assert heading.count("|") == 3
    assert heading.split(" | ")[2].startswith("x")
    assert heading.endswith("## forged")


# Writing


async def test_turns_are_appended_in_order(bench: Bench, tmp_path: Path) -> None:
    one, two = Memory(str(tmp_path / "one.md")), Memory(str(tmp_path), "two.md")
    await bench.write(
        (one, [turn("a"), turn("b", "assistant")]), (two, [turn("ü")]), (one, [turn("c")])
    )
    again = Bench()
    await again.write((one, [turn("d")]))
    assert (tmp_path / "one.md").read_text() == "".join(
        map(render, [turn("a"), turn("b", "assistant"), turn("c"), turn("d")])
    )
    assert (tmp_path / "two.md").read_bytes() == render(turn("ü")).encode()
    assert (bench.writer.dropped, bench.said(), again.said()) == (0, [], [])


async def test_line_ends_stay_as_they_were(bench: Bench, tmp_path: Path) -> None:
    await bench.write((Memory(str(tmp_path / "m.md")), [turn("a\r\nb\rc")]))
    assert b"a\r\nb\rc" in (tmp_path / "m.md").read_bytes()


async def test_memory_is_for_the_owner_alone(bench: Bench, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        await bench.write((Memory(str(tmp_path / "new"), "a/b/m.md"), [turn()]))
    finally:
        os.umask(umask)
    paths = [tmp_path / "new" / part for part in ("", "a", "a/b", "a/b/m.md")]
    assert [oct(stat.S_IMODE(p.stat().st_mode)) for p in paths] == ["0o700"] * 3 + ["0o600"]


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancel_at_any_step_loses_nothing(bench: Bench, tmp_path: Path, steps: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.writer.run)
        await trio.testing.wait_all_tasks_blocked()
        for n in range(3):
            bench.writer.remember(Memory(str(tmp_path / "m.md")), [turn(str(n))])
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert (tmp_path / "m.md").read_text() == "".join(render(turn(str(n))) for n in range(3))


# What goes wrong


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.with_name("target").write_text("untouched")
    path.symlink_to(path.with_name("target"))


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("made through a link"))


@pytest.mark.parametrize(
    "make", [Path.mkdir, make_pipe, make_link, make_dangling_link], ids=lambda f: f.__name__
)
async def test_what_is_no_file_is_not_written_to(
    bench: Bench, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "m.md")
    before = set(os.listdir(tmp_path))
    with trio.fail_after(10):
        await bench.write((Memory(str(tmp_path / "m.md")), [turn()]))
    assert bench.writer.dropped == 1
    assert set(os.listdir(tmp_path)) == before
    if make is make_link:
        assert (tmp_path / "target").read_text() == "untouched"


@pytest.mark.parametrize("name", ["nul\0.md", "x" * 300, ".", "file/m.md", "\ud800.md"], ids=ascii)
async def test_a_bad_name_does_not_end_the_writer(bench: Bench, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    good = Memory(str(tmp_path), "good.md")
    await bench.write((Memory(str(tmp_path), name), [turn("lost")]), (good, [turn("kept")]))
    assert (tmp_path / "good.md").read_text() == render(turn("kept"))
    assert bench.writer.dropped == 1
    assert len(bench.said()) == 1


async def test_a_path_that_fails_is_said_once_until_it_works(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "m.md"
    memory = Memory(str(path))
    path.parent.write_text("in the way")
    await bench.write((memory, [turn(), turn()]), (memory, [turn()]))
    assert bench.writer.dropped == 3
    assert [s.startswith(f"memory: {path}: ") for s in bench.said()] == [True]
    path.parent.unlink()
    await bench.write((memory, [turn("now")]))
    assert path.read_text() == render(turn("now"))
    path.unlink()
    path.mkdir()
    await bench.write((memory, [turn()]), (memory, [turn()]))
    assert bench.writer.dropped == 5
    assert len(bench.said()) == 2


async def test_one_turn_that_fails_does_not_stop_the_next(bench: Bench, tmp_path: Path) -> None:
    memory = Memory(str(tmp_path / "m.md"))
    await bench.write((memory, [turn("a"), turn("\ud800"), turn("b")]))
    assert (tmp_path / "m.md").read_text() == render(turn("a")) + render(turn("b"))
    assert bench.writer.dropped == 1


async def test_a_full_queue_drops_says_so_once_and_recovers(bench: Bench, tmp_path: Path) -> None:
    path, turns = tmp_path / "m.md", [turn(), turn()]
    writer, sent = bench.writer, 0

    def settled() -> bool:
        """Whether each turn is either written or counted as dropped."""
        written = os.path.getsize(path) if os.path.exists(path) else 0
        return written == (sent - writer.dropped) * len(render(turn()))

    async with trio.open_nursery() as nursery:
        for times in (1, 2):
            for _ in range(QUEUE_ENTRIES + 5):
                writer.remember(Memory(str(path)), turns)
                sent += len(turns)
            if times == 1:
                assert writer.dropped == 5 * len(turns)
                await nursery.start(writer.run)
            with trio.fail_after(20):
                while not settled():
                    await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert writer.dropped > 5 * len(turns)
    assert bench.said() == ["memory: the disk is too slow, entries are dropped"] * 2


async def test_a_disk_that_fails_does_not_hide_a_full_queue(bench: Bench, tmp_path: Path) -> None:
    await bench.write((Memory(str(tmp_path)), [turn()]))
    for _ in range(QUEUE_ENTRIES + 1):
        bench.writer.remember(Memory(str(tmp_path / "m.md")), [turn()])
    assert [("too slow" in s) for s in bench.said()] == [False, True]
    assert bench.writer.dropped == 2
