"""The journal file: what it opens as after every accident, and who may write it when."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.store.stores import child, disk_ends_at, line_of, until
from tokenomics.errors import Failed, Invalid
from tokenomics.store.frames import MAGIC, frame, pack, scan
from tokenomics.store.journal import Header, Journal, Locked

HEADER = Header("f" * 32, 1)
# MAGIC and the frame of HEADER: what every version must read and write.
GOLDEN = bytes.fromhex(
    "544b4e4a524e4c01"
    "0000004d6fbe96fd8dd3d4e3"
    "85a6666f726d617401a26964d9206666666666666666666666666666666666666666666666666666666666666666"
    "aa67656e65726174696f6e01a473616c74c400a96b65795f636865636bc400"
)


@dataclass
class Store:
    """A journal's path, and what journals there said."""

    path: Path
    said: list[str] = field(default_factory=list)

    def journal(self) -> Journal:
        return Journal(self.path, self.said.append)

    def make(self, *values: Any) -> list[int]:
        """A file of its own write for each value; where the header and each value end."""
        self.path.unlink(missing_ok=True)
        journal = self.journal()
        with journal.lock():
            journal.create(HEADER)
            ends = [journal.size]
            for value in values:
                journal.append([value])
                ends.append(journal.size)
        return ends

    def add(self, *values: Any) -> None:
        journal = self.journal()
        with journal.lock():
            journal.read()
            journal.append(list(values))

    def values(self) -> list[Any]:
        return self.journal().read()[1]

    def problem(self) -> str:
        """Why the file does not open, "" if it does."""
        try:
            self.journal().read()
        except Invalid as e:
            return str(e)
        return ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "new" / "data.journal")
    store.path.parent.mkdir(mode=0o700)
    yield store
    left = {p.name for p in store.path.parent.iterdir()} - {"data.journal", "data.journal.lock"}
    assert not left, "a temporary file was left behind"


# The format


def test_the_format_is_as_ever(store: Store) -> None:
    store.make()
    assert store.path.read_bytes() == GOLDEN
    assert store.values() == []


def test_each_record_names_the_one_before_it(store: Store) -> None:
    """docs/format.md: 16 bytes of the SHA-256 of the payload before."""
    store.make("one", "two")
    payloads = [p.hex() for _, p in scan(store.path.read_bytes()[len(MAGIC) :]).payloads]
    assert payloads[1:] == [
        "92c410" + "0f6358140fedc63d4830b06b4aefb1fe" + "a36f6e65",
        "92c410" + "a96e00b2320d23b735e05f8d9b85d600" + "a374776f",
    ]


def test_a_header_in_another_writers_order_opens(store: Store) -> None:
    """The chain begins with the header's bytes as they are, whatever order and fields they have."""
    header = pack({**dict(reversed(HEADER.row().items())), "comment": "we don't know this field"})
    record = pack([hashlib.sha256(header).digest()[:16], "one"])
    data = MAGIC + frame(header) + frame(record)
    store.path.write_bytes(data)
    store.add("two")
    assert store.values() == ["one", "two"]
    assert store.path.read_bytes().startswith(data)


def test_files_and_folders_are_ours_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "b" / "data.journal")
    store.make("one")
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (store.path, store.path.parent)]
    lock = store.path.with_name("data.journal.lock")
    assert [*modes, stat.S_IMODE(lock.stat().st_mode)] == [0o600, 0o700, 0o600]


def with_header(row: object) -> bytes:
    return MAGIC + frame(pack(row))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "offset 0: this is not a tokenomics data file"),
        (b"SQLite format 3\x00" * 9, "offset 0: this is not a tokenomics data file"),
        (b"TKNJRNL\x02" + GOLDEN[8:], "offset 0: this is not a tokenomics data file"),
        (MAGIC, "offset 8: the header is missing"),
        (with_header({"format": 2}), r"offset 8: written by a newer version \(format 2\)"),
        (with_header(["format", 1]), "offset 8: the header cannot be read"),
        (with_header({"format": 1}), "offset 8: the header cannot be read"),
        (with_header({**HEADER.row(), "salt": "text"}), "offset 8: the header cannot be read"),
        (GOLDEN + frame(pack("no chain")), "a record does not follow the one before it"),
        (GOLDEN + frame(pack([b"0" * 16, 1])), "a record does not follow the one before it"),
        (GOLDEN + frame(b"\xc1"), f"offset {len(GOLDEN)}: a record cannot be read"),
    ],
    ids=[
        "empty",
        "foreign",
        "newer magic",
        "magic alone",
        "newer format",
        "header is a list",
        "header lacks fields",
        "header has other types",
        "no chain",
        "another chain",
        "not msgpack",
    ],
)
def test_a_file_that_is_not_ours_is_named_and_left_alone(
    store: Store, data: bytes, problem: str
) -> None:
    store.path.write_bytes(data)
    with pytest.raises(Invalid, match=problem) as caught:
        store.add("one")
    assert str(store.path) in str(caught.value)
    assert store.path.read_bytes() == data


# Accidents


def test_a_cut_at_every_offset_leaves_the_whole_records_before_it(store: Store) -> None:
    values = ["one", {"two": b"\x00" * 9}, [3]]
    ends = store.make(*values)
    data = store.path.read_bytes()
    for cut in range(ends[0], len(data) + 1):
        store.said.clear()
        store.path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert store.values() == values[:whole]
        assert store.path.stat().st_size == cut, "reading must not write"
        store.add("next")
        assert store.values() == [*values[:whole], "next"]
        tail = cut - ends[whole]
        said = [f"{store.path}: cut {tail} bytes at offset {ends[whole]} that a write"]
        assert [s.split(" which")[0] for s in store.said] == (said if tail else [])


def test_a_cut_in_the_header_is_refused(store: Store) -> None:
    ends = store.make("one")
    data = store.path.read_bytes()
    for cut in range(ends[0]):
        store.path.write_bytes(data[:cut])
        with pytest.raises(Invalid, match=r"offset [08]:"):
            store.add("next")
        assert store.path.read_bytes() == data[:cut]


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF], ids=hex)
def test_a_flip_of_any_byte_is_found(store: Store, bits: int) -> None:
    """Never other values, never silently fewer: only what looks like a torn last write is cut."""
    values = ["one", "two", "three"]
    ends = store.make(*values)
    data = store.path.read_bytes()
    for offset in range(len(data)):
        changed = data[:offset] + bytes([data[offset] ^ bits]) + data[offset + 1 :]
        store.path.write_bytes(changed)
        damaged = max((e for e in [len(MAGIC), *ends] if e <= offset), default=0)
        problem = store.problem()
        if problem:
            assert f"offset {damaged}:" in problem
            with pytest.raises(Invalid):
                store.add("next")
            assert store.path.read_bytes() == changed
        else:
            assert offset >= ends[-2], "a record before the last was lost without a word"
            assert store.values() == values[:-1]


@pytest.mark.parametrize(
    "edit",
    [
        lambda frames: [frames[0], *frames[2:]],
        lambda frames: [frames[0], frames[2], frames[1], frames[3]],
        lambda frames: [*frames[:2], frames[1], *frames[2:]],
    ],
    ids=["taken out", "swapped", "twice"],
)
def test_records_cannot_be_rearranged(
    store: Store, edit: Callable[[list[bytes]], list[bytes]]
) -> None:
    store.make("one", "two", "three")
    payloads = scan(store.path.read_bytes()[len(MAGIC) :]).payloads
    store.path.write_bytes(MAGIC + b"".join(edit([frame(p) for _, p in payloads])))
    with pytest.raises(Invalid, match="does not follow the one before it"):
        store.values()


@pytest.mark.parametrize("extra", [0, 1, 13, 60], ids=lambda n: f"{n} bytes of room")
def test_a_full_disk_leaves_the_file_as_it_was(store: Store, extra: int) -> None:
    ends = store.make("one")
    before = store.path.read_bytes()
    journal = store.journal()
    with journal.lock():
        journal.read()
        with (
            disk_ends_at(ends[-1] + extra),
            pytest.raises(Failed, match="cannot be written: File too large"),
        ):
            journal.append(["two", "x" * 500])
        assert store.path.read_bytes() == before
        journal.append(["three"])  # the same journal goes on when there is room again
    assert store.values() == ["one", "three"]
    assert store.said == []


def test_a_full_disk_does_not_replace_the_file(store: Store) -> None:
    store.make("one")
    before = store.path.read_bytes()
    journal = store.journal()
    journal.read()
    with journal.lock(), disk_ends_at(50), pytest.raises(Failed, match="File too large"):
        journal.rewrite(HEADER, ["x" * 500])
    assert store.path.read_bytes() == before
    store.add("two")
    assert store.values() == ["one", "two"]


def test_a_path_that_is_no_file_is_an_error_of_the_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Failed, match="Is a directory"):
        store.values()


# Following


def test_a_missing_file_is_empty(store: Store) -> None:
    journal = store.journal()
    assert not journal.changed()
    assert journal.read() == (False, [])
    assert journal.header is None
    assert not store.path.exists()


def test_a_reader_sees_what_is_appended_once(store: Store) -> None:
    store.make("one")
    journal = store.journal()
    assert journal.read() == (True, ["one"])
    assert not journal.changed()
    store.add("two", "three")
    assert journal.changed()
    assert journal.read() == (False, ["two", "three"])
    assert journal.read() == (False, [])
    assert not journal.changed()


def test_a_reader_waits_for_the_rest_of_a_record(store: Store) -> None:
    ends = store.make("one", "two")
    data = store.path.read_bytes()
    store.path.write_bytes(data[: ends[1] + 5])
    journal = store.journal()
    assert journal.read() == (True, ["one"])
    with open(store.path, "r+b") as file:
        file.write(data)
    assert journal.read() == (False, ["two"])


def renamed_over(path: Path, data: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(data)
    other.rename(path)


def overwritten(path: Path, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


@pytest.mark.parametrize("replace", [renamed_over, overwritten])
@pytest.mark.parametrize(
    "values",
    [["one"], ["one", "2"], ["one", "TWO"], ["ONE", "two"], ["1", "2", "3", "4", "5"]],
    ids=lambda values: "+".join(values),
)
def test_a_reader_sees_another_file(
    store: Store, replace: Callable[[Path, bytes], None], values: list[str]
) -> None:
    """Shorter, of the same size, longer; as another inode, or written over by `cp`."""
    store.make(*values)
    other = store.path.read_bytes()
    store.make("one", "two")
    journal = store.journal()
    journal.read()
    replace(store.path, other)
    assert journal.changed()
    assert journal.read() == (True, values)
    with journal.lock():
        journal.append(["last"])
    assert store.values() == [*values, "last"]


def test_a_reader_sees_two_rewrites_at_once(store: Store) -> None:
    """Some file systems give the second file the inode that the first one freed."""
    store.make("one")
    journal = store.journal()
    journal.read()
    writer = store.journal()
    with writer.lock():
        for generation in (2, 3):
            writer.rewrite(Header(HEADER.id, generation), [f"of {generation}"])
    assert journal.read() == (True, ["of 3"])
    assert journal.header == Header(HEADER.id, 3)


def test_a_reader_sees_that_the_file_is_gone_and_back(store: Store) -> None:
    store.make("one")
    journal = store.journal()
    journal.read()
    store.path.unlink()
    assert journal.changed()
    assert journal.read() == (True, [])
    assert journal.header is None
    assert journal.read() == (False, [])
    store.make("two")
    assert journal.read() == (True, ["two"])


def test_a_file_that_could_not_be_used_may_vanish(store: Store) -> None:
    store.make("one")
    journal = store.journal()
    journal.read()
    journal.forget()
    assert journal.changed()
    store.path.unlink()
    assert journal.read() == (True, [])


def test_what_was_forgotten_is_read_again(store: Store) -> None:
    store.make("one")
    journal = store.journal()
    journal.read()
    journal.forget()
    assert journal.read() == (True, ["one"])


def test_damage_behind_what_was_read_heals_when_the_file_does(store: Store) -> None:
    store.make("one")
    good = store.path.read_bytes()
    journal = store.journal()
    journal.read()
    store.path.write_bytes(good + b"x" * 50)
    for _ in range(2):
        with pytest.raises(Invalid, match=f"offset {len(good)}:"):
            journal.read()
        assert journal.changed(), "it is tried again"
    store.path.write_bytes(good)
    assert journal.read() == (False, [])


def test_a_writer_follows_itself(store: Store) -> None:
    journal = store.journal()
    with journal.lock():
        journal.create(HEADER)
        journal.append(["one"])
        journal.append([])
        journal.append(["two", "three"])
    assert not journal.changed()
    assert journal.read() == (False, [])
    assert journal.size == store.path.stat().st_size
    assert store.values() == ["one", "two", "three"]


# Taking turns

HOLD = """
import sys
from pathlib import Path
from tokenomics.store.journal import Journal
with Journal(Path(sys.argv[1]), print).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_writes_at_a_time_and_a_dead_one_gives_way(store: Store) -> None:
    store.make("one")
    with child(HOLD, store.path) as holder:
        assert line_of(holder) == "locked"
        with pytest.raises(Locked, match="locked by another process"), store.journal().lock(0.02):
            pytest.fail("two writers")
        assert store.values() == ["one"], "readers do not wait"
        holder.kill()
        with store.journal().lock():
            pass


def test_a_writer_waits_for_the_other(store: Store) -> None:
    with child(HOLD, store.path) as holder:
        assert line_of(holder) == "locked"
        with child(HOLD, store.path) as second:
            holder.communicate()
            assert line_of(second) == "locked"


def test_the_lock_is_given_back_after_an_error(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.journal().lock():
        _ = 1 / 0
    with store.journal().lock(seconds=0):
        pass


def test_a_lock_that_cannot_be_made_is_not_held_by_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    journal = Journal(tmp_path / "file" / "data.journal", print)
    with pytest.raises(Failed, match="cannot be made") as caught, journal.lock():
        pytest.fail("locked")
    assert not isinstance(caught.value, Locked)


APPEND = """
import sys
from pathlib import Path
from tokenomics.store.journal import Journal
journal = Journal(Path(sys.argv[1]), print)
for n in range(1_000_000):
    with journal.lock():
        journal.read()
        journal.append([n])
    print(n, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_what_a_killed_writer_acknowledged_is_there(store: Store, acknowledged: int) -> None:
    store.make()
    with child(APPEND, store.path) as writer:
        last = 0
        until(lambda: store.path.stat().st_size > len(GOLDEN))
        for _ in range(acknowledged):
            last = int(line_of(writer))
        os.kill(writer.pid, 9)
        rest = (writer.stdout.read() if writer.stdout else "").split()
    last = int(rest[-1]) if rest else last
    store.add("next")
    *values, after = store.values()
    assert after == "next"
    assert values == list(range(len(values)))
    assert len(values) > last
