"""The token database: many processes, accidents, encryption; against a plain dict."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.store.stores import child, disk_ends_at, hash_of, line_of, place, policies, put
from tokenomics.errors import Ambiguous, Failed, Invalid, NotFound, ToolError
from tokenomics.store.database import Database, Place
from tokenomics.store.frames import MAGIC, frame, pack
from tokenomics.store.journal import Header, Journal
from tokenomics.store.seal import new_header
from tokenomics.store.table import CREATE, DELETE, MARK, UPDATE, Entry
from tokenomics.tokens import Secret

KEY = "correct horse"
FIELDS: dict[str, Any] = {"policy": "{}", "created": 1.0, "expires": None, "name": ""}


def quiet(message: str) -> None:
    pytest.fail(f"nothing was torn, but: {message}")


def create(number: int, policy: str = "{}") -> tuple[str, str, dict[str, Any]]:
    return CREATE, hash_of(number), {**FIELDS, "policy": policy}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database that, after the test, must be in the file as it is in memory."""
    database = Database(place(tmp_path), quiet)
    yield database
    database.refresh()
    again = Database(place(tmp_path), quiet)
    assert again.table.entries == database.table.entries
    assert again.table.tombstones == database.table.tombstones
    assert (again.id, again.generation) == (database.id, database.generation)
    assert {p.name for p in tmp_path.iterdir()} <= {"tokens.db", "tokens.db.lock"}


# Changes


def test_nothing_is_made_before_the_first_write(database: Database, tmp_path: Path) -> None:
    assert (database.id, database.generation, database.table.entries) == ("", 0, {})
    with database.writing():
        pass
    assert not (tmp_path / "tokens.db").exists()


def test_a_token_lives_and_dies(database: Database) -> None:
    put(database, 1, '{"max_tokens":1}', "one")
    assert database.table.entries == {
        hash_of(1): Entry(hash_of(1), 1, '{"max_tokens":1}', 1000.5, None, "one")
    }
    put(database, 1, '{"max_tokens":2}', "uno")
    assert policies(database) == {hash_of(1): '{"max_tokens":2}'}
    with database.writing() as writer:
        writer.delete(hash_of(1))
    assert database.table.entries == {}
    assert database.table.since(0) == [(hash_of(1), 3)]


def test_the_records_that_are_new_are_told(database: Database, tmp_path: Path) -> None:
    other = Database(place(tmp_path), quiet)
    put(database, 1)
    assert other.changed()
    assert [(r.op, r.hash) for r in other.refresh()] == [(CREATE, hash_of(1))]
    put(database, 1)
    with database.writing() as writer:
        writer.delete(hash_of(1))
        writer.mark({"source": "s"})
    assert [r.op for r in other.refresh()] == [UPDATE, DELETE, MARK]
    assert other.refresh() == []
    assert other.table.mark == {"source": "s"}


def test_what_goes_wrong_while_writing_writes_nothing(database: Database, tmp_path: Path) -> None:
    put(database, 1, name="one")
    before = (tmp_path / "tokens.db").read_bytes()

    def write_and_clash() -> None:
        with database.writing() as writer:
            writer.put(hash_of(2), "{}", 1.0, None, "two")
            writer.put(hash_of(3), "{}", 1.0, None, "one")

    with pytest.raises(Failed, match="belongs to token"):
        write_and_clash()
    assert (tmp_path / "tokens.db").read_bytes() == before
    assert set(database.table.entries) == {hash_of(1)}


def test_a_name_may_pass_from_one_token_to_another(database: Database) -> None:
    put(database, 1, name="one")
    with database.writing() as writer:
        writer.put(hash_of(1), "{}", 1.0, None, "")
        writer.put(hash_of(2), "{}", 1.0, None, "one")
        with pytest.raises(Failed, match="belongs to token"):
            writer.put(hash_of(3), "{}", 1.0, None, "one")
    assert database.find(name="one").hash == hash_of(2)


def test_a_name_belongs_to_one_token(database: Database) -> None:
    put(database, 1, name="one")
    with pytest.raises(Failed, match="'one' belongs to token 0000000000000000 already"):
        put(database, 2, name="one")
    put(database, 1, name="one")
    put(database, 2, name="")
    put(database, 3, name="")
    assert [e.name for e in database.table.entries.values()] == ["one", "", ""]


def test_a_writer_sees_what_others_wrote_first(database: Database, tmp_path: Path) -> None:
    other = Database(place(tmp_path), quiet)
    put(database, 1, name="one")
    with pytest.raises(Failed, match="belongs to token"):
        put(other, 2, name="one")


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ({"prefix": "aaaaaa1"}, "aaaaaa1"),
        ({"name": "two"}, "aaaaaa2"),
        ({"prefix": "aaaaaa"}, Ambiguous),
        ({"prefix": "bbbbbb"}, NotFound),
        ({"name": "three"}, NotFound),
        ({"name": ""}, NotFound),
        ({"prefix": "aaaaa"}, Invalid),
        ({"prefix": "AAAAAA1"}, Invalid),
        ({"prefix": "a" * 65}, Invalid),
    ],
    ids=str,
)
def test_finding(database: Database, what: dict[str, str], found: str | type[ToolError]) -> None:
    with database.writing() as writer:
        for start, name in (("aaaaaa1", ""), ("aaaaaa2", "two"), ("aaaaaa3", "")):
            writer.put(start.ljust(64, "0"), "{}", 1.0, None, name)
    if isinstance(found, str):
        assert database.find(**what).hash == found.ljust(64, "0")
    else:
        with pytest.raises(found, match=f"^--.* {next(iter(what.values()))}"):
            database.find(**what)


# A plain dict beside it


class AgainstADict(RuleBasedStateMachine):
    """Two processes' databases, writing in turn, and a follower that only reads."""

    @initialize(key=st.sampled_from(["", KEY]))
    def begin(self, key: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.place = place(Path(self.folder.name), key)
        self.said: list[str] = []
        self.open = [Database(self.place, self.said.append) for _ in range(3)]
        self.model: dict[str, str] = {}
        self.tears = 0

    @rule(who=st.integers(0, 1), number=st.integers(0, 4), policy=st.text(max_size=5))
    def put(self, who: int, number: int, policy: str) -> None:
        put(self.open[who], number, policy)
        self.model[hash_of(number)] = policy

    @rule(who=st.integers(0, 1), numbers=st.sets(st.integers(0, 4), min_size=1))
    def delete(self, who: int, numbers: set[int]) -> None:
        with self.open[who].writing() as writer:
            for number in numbers:
                writer.delete(hash_of(number))
                self.model.pop(hash_of(number), None)

    @rule(who=st.integers(0, 1), model=st.dictionaries(st.integers(0, 4), st.text(max_size=5)))
    def replace_all(self, who: int, model: dict[int, str]) -> None:
        self.open[who].refresh()
        generation = self.open[who].generation
        self.open[who].replace_all([create(n, policy) for n, policy in model.items()])
        assert self.open[who].generation == generation + 1
        self.model = {hash_of(n): policy for n, policy in model.items()}

    @rule(who=st.integers(0, 1), size=st.integers(1, 11))
    def tear(self, who: int, size: int) -> None:
        """A writer dies in its write; the next one cuts that."""
        with self.open[who].writing() as writer:
            writer.mark({})
        with open(self.place.path, "ab") as file:
            file.write(frame(b"never whole")[:size])
        with self.open[who].writing() as writer:
            writer.mark({})
        self.tears += 1

    @rule(who=st.integers(0, 2))
    def reopen(self, who: int) -> None:
        self.open[who] = Database(self.place, self.said.append)

    @rule(who=st.integers(0, 2))
    def follow(self, who: int) -> None:
        self.open[who].refresh()
        assert policies(self.open[who]) == self.model
        assert not self.open[who].changed()

    @invariant()
    def is_the_same_for_all(self) -> None:
        if hasattr(self, "place"):
            assert policies(Database(self.place, self.said.append)) == self.model
            assert len(self.said) == self.tears

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


AgainstADict.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestAgainstADict = AgainstADict.TestCase


# Many processes

WRITER = """
import sys
from pathlib import Path
from tokenomics.store.database import Database, Place
from tokenomics.tokens import Secret
path, name, count = sys.argv[1:]
database = Database(Place(Path(path), Secret()), print)
for n in range(int(count)):
    hash_ = f"{name}{n:063x}"
    with database.writing() as writer:
        writer.put(hash_, "{}", 1.0, None, "")
    print(hash_, flush=True)
"""


def test_writers_at_the_same_time_lose_nothing(database: Database, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(child(WRITER, tmp_path / "tokens.db", name, 25)) for name in "abcd"
        ]
        printed = [writer.communicate()[0].split() for writer in writers]
    assert [len(lines) for lines in printed] == [25] * 4
    database.refresh()
    assert set(database.table.entries) == {hash_ for lines in printed for hash_ in lines}
    assert database.table.revision == 100


@pytest.mark.parametrize("seed", range(4))
def test_what_was_acknowledged_before_a_kill_is_there(tmp_path: Path, seed: int) -> None:
    """Two writers; one is killed somewhere in its work, the other is not held up."""
    said: list[str] = []
    with (
        child(WRITER, tmp_path / "tokens.db", "a", 100_000) as killed,
        child(WRITER, tmp_path / "tokens.db", "b", 20) as other,
    ):
        acknowledged = [line_of(killed) for _ in range(random.Random(seed).randrange(1, 30))]
        killed.kill()
        assert killed.stdout is not None
        acknowledged += killed.stdout.read().split()  # `communicate` skips what was read ahead
        killed.wait()
        acknowledged += [line for line in other.communicate()[0].split() if len(line) == 64]
    database = Database(place(tmp_path), said.append)
    put(database, 7)
    entries = set(Database(place(tmp_path), quiet).table.entries)
    assert len([hash_ for hash_ in acknowledged if hash_.startswith("b")]) == 20
    assert {*acknowledged, hash_of(7)} <= entries
    assert len(entries) <= len(acknowledged) + 2, "at most one was written but not acknowledged"


# A disk that is full


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "sealed"])
def test_a_change_that_does_not_fit_is_not_made(tmp_path: Path, key: str) -> None:
    database = Database(place(tmp_path, key), quiet)
    put(database, 1, "first")
    before = place(tmp_path).path.read_bytes()
    with disk_ends_at(len(before) + 20), pytest.raises(Failed, match="File too large"):
        put(database, 2, "x" * 100)
    assert place(tmp_path).path.read_bytes() == before
    assert policies(database) == {hash_of(1): "first"}
    put(database, 2, "second")
    assert policies(Database(place(tmp_path, key), quiet)) == {
        hash_of(1): "first",
        hash_of(2): "second",
    }


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "sealed"])
def test_what_cannot_be_replaced_stays_in_force(tmp_path: Path, key: str) -> None:
    database = Database(place(tmp_path, key), quiet)
    put(database, 1, "first")
    with disk_ends_at(50), pytest.raises(Failed, match="File too large"):
        database.replace_all([create(2)])
    assert policies(database) == {hash_of(1): "first"}
    assert database.generation == 1
    put(database, 3, "third")
    assert set(policies(Database(place(tmp_path, key), quiet))) == {hash_of(1), hash_of(3)}


# Replacing, vanishing


def test_replacing_everything_is_a_new_generation(database: Database, tmp_path: Path) -> None:
    reader = Database(place(tmp_path), quiet)
    put(database, 1)
    reader.refresh()
    id_ = database.id
    database.replace_all([create(2), (MARK, "", {"revision": 9})])
    assert (database.id, database.generation) == (id_, 2)
    assert set(database.table.entries) == {hash_of(2)}
    assert database.table.tombstones == {}
    reader.refresh()
    assert (reader.id, reader.generation, reader.table.mark) == (id_, 2, {"revision": 9})
    assert set(reader.table.entries) == {hash_of(2)}


def test_replacing_repairs_a_damaged_file(database: Database, tmp_path: Path) -> None:
    put(database, 1)
    (tmp_path / "tokens.db").write_bytes(b"damaged, and longer than it was before" * 9)
    with pytest.raises(Invalid):
        put(database, 2)
    database.replace_all([create(3)])
    put(database, 4)
    assert set(policies(Database(place(tmp_path), quiet))) == {hash_of(3), hash_of(4)}


@pytest.mark.parametrize("damaged_first", [False, True], ids=["at once", "after damage"])
def test_a_file_that_is_gone_is_begun_anew(
    database: Database, tmp_path: Path, damaged_first: bool
) -> None:
    put(database, 1)
    path, id_ = tmp_path / "tokens.db", database.id
    if damaged_first:
        path.write_bytes(b"x")
        with pytest.raises(Invalid):
            database.refresh()
    path.unlink()
    assert database.changed()
    database.refresh()
    assert (database.table.entries, database.id) == ({}, "")
    put(database, 2)
    assert database.id not in ("", id_)
    assert set(policies(Database(place(tmp_path), quiet))) == {hash_of(2)}


def unfit(op: str = CREATE, revision: int = 2, **fields: object) -> list[Any]:
    return [revision, 1.0, op, hash_of(2), {**FIELDS, **fields}]


@pytest.mark.parametrize(
    "row",
    [unfit("rename"), unfit(revision=1), unfit(revision=3), unfit(policy=None), "row"],
    ids=["unknown op", "revision again", "revision left out", "no policy", "no record"],
)
@pytest.mark.parametrize("replaced", [False, True], ids=["appended", "in a new file"])
def test_what_cannot_be_used_leaves_the_last_good_state(
    tmp_path: Path, row: object, replaced: bool
) -> None:
    """Whole frames, wrong records: what a newer or a broken writer would leave."""
    database = Database(place(tmp_path), quiet)
    put(database, 1, "first")
    good = (database.id, database.generation, policies(database))
    journal = Journal(place(tmp_path).path, quiet)
    journal.read()
    with journal.lock():
        if replaced:
            record = [1, 1.0, CREATE, hash_of(3), FIELDS]
            journal.rewrite(Header("another", 5), [record, row])
        else:
            journal.append([row])
    before = place(tmp_path).path.read_bytes()
    for attempt in (database.refresh, lambda: put(database, 4), database.refresh):
        with pytest.raises(Invalid, match="see `tokenomics db verify`"):
            attempt()
        assert (database.id, database.generation, policies(database)) == good
    assert database.changed(), "it is tried again"
    assert place(tmp_path).path.read_bytes() == before
    with pytest.raises(Invalid, match=str(place(tmp_path).path)):
        Database(place(tmp_path), quiet)


# Encryption


def test_no_policy_is_in_a_sealed_file(tmp_path: Path) -> None:
    database = Database(place(tmp_path, KEY), quiet)
    put(database, 1, "only for my eyes")
    put(database, 1, "only for my eyes, again")
    database.replace_all([create(2, "only for my eyes too"), (DELETE, hash_of(9), {})])
    put(database, 3, "only for my eyes, after")
    data = place(tmp_path).path.read_bytes()
    assert b"my eyes" not in data
    assert KEY.encode() not in data
    assert policies(Database(place(tmp_path, KEY), quiet)) == {
        hash_of(2): "only for my eyes too",
        hash_of(3): "only for my eyes, after",
    }


@pytest.mark.parametrize(
    ("made_with", "opened_with", "problem"),
    [
        (KEY, "", "is encrypted: set TOKENOMICS_ENCRYPTION_KEY"),
        (KEY, "wrong", "was encrypted with another key"),
        ("", KEY, "is not encrypted, but TOKENOMICS_ENCRYPTION_KEY is set"),
    ],
    ids=["missing", "wrong", "not wanted"],
)
def test_a_key_that_does_not_fit_leaves_the_file(
    tmp_path: Path, made_with: str, opened_with: str, problem: str
) -> None:
    before_it_was = Database(place(tmp_path, opened_with), quiet)  # open since before the file was
    put(Database(place(tmp_path, made_with), quiet), 1)
    data = place(tmp_path).path.read_bytes()
    attempts: list[Callable[[], object]] = [
        lambda: Database(place(tmp_path, opened_with), quiet),
        before_it_was.refresh,
        lambda: put(before_it_was, 2),
    ]
    for attempt in attempts:
        with pytest.raises(Invalid, match=problem):
            attempt()
    assert place(tmp_path).path.read_bytes() == data


def test_a_sealed_database_outlives_a_file_with_another_key(tmp_path: Path) -> None:
    database = Database(place(tmp_path, KEY), quiet)
    put(database, 1, "mine")
    good = place(tmp_path).path.read_bytes()
    theirs = tmp_path / "theirs"
    put(Database(Place(theirs, Secret("another")), quiet), 1, "theirs")
    theirs.rename(place(tmp_path).path)
    with pytest.raises(Invalid, match="another key"):
        database.refresh()
    assert policies(database) == {hash_of(1): "mine"}
    place(tmp_path).path.write_bytes(good)
    database.refresh()
    assert policies(database) == {hash_of(1): "mine"}


def swapped(rows: list[Any]) -> None:
    rows[0][4]["policy"], rows[1][4]["policy"] = rows[1][4]["policy"], rows[0][4]["policy"]


def in_clear(rows: list[Any]) -> None:
    rows[0][4]["policy"] = rows[1][4]["policy"] = '{"max_tokens":0}'


def repeated(rows: list[Any]) -> None:
    """The first policy again, as a later revision: a limit that was taken back."""
    rows.append([3, 2.0, UPDATE, rows[0][3], rows[0][4]])
    rows.append([4, 2.0, UPDATE, rows[1][3], rows[1][4]])


@pytest.mark.parametrize("edit", [swapped, in_clear, repeated])
def test_who_can_write_the_file_cannot_move_sealed_policies(
    tmp_path: Path, edit: Callable[[list[Any]], None]
) -> None:
    database = Database(place(tmp_path, KEY), quiet)
    put(database, 1, "first")
    put(database, 2, "second")
    journal = Journal(place(tmp_path).path, quiet)
    _, rows = journal.read()
    edit(rows)
    assert journal.header is not None
    with journal.lock():
        journal.rewrite(journal.header, rows)
    database = Database(place(tmp_path, KEY), quiet)
    assert set(database.table.entries) == {hash_of(1), hash_of(2)}
    for entry in database.table.entries.values():
        with pytest.raises(Invalid, match=f"token {entry.hash[:16]}"):
            database.policy_text(entry)


def test_a_sealed_policy_in_a_plain_database_is_not_read(tmp_path: Path) -> None:
    _, seal = new_header("", Secret(KEY))
    assert seal is not None
    row = [1, 1.0, CREATE, hash_of(1), {**FIELDS, "policy": seal.close(hash_of(1), 1, "{}")}]
    journal = Journal(place(tmp_path).path, quiet)
    with journal.lock():
        journal.rewrite(Header("f" * 32, 1), [row])
    database = Database(place(tmp_path), quiet)
    with pytest.raises(Invalid, match="not both"):
        policies(database)


def test_a_header_without_records_is_a_database(tmp_path: Path) -> None:
    """What a writer leaves that dies, or finds the disk full, between header and first record."""
    place(tmp_path).path.write_bytes(MAGIC + frame(pack(Header("f" * 32, 1).row())))
    database = Database(place(tmp_path), quiet)
    put(database, 1)
    assert database.id == "f" * 32
    assert set(policies(Database(place(tmp_path), quiet))) == {hash_of(1)}
