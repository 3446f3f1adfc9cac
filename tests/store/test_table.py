"""Records folded into a table, and what a follower learns from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.store.table import CREATE, DELETE, MARK, UPDATE, Entry, Record, Table, fold_all

A, B, C = "aa" * 32, "ab" * 32, "cd" * 32
FIELDS: dict[str, Any] = {"policy": "{}", "created": 1.5, "expires": None, "name": "n"}


def history(*changes: tuple[str, str]) -> list[Record]:
    return [
        Record(n, 0.0, op, hash_, {**FIELDS, "name": f"n{n}"} if op in (CREATE, UPDATE) else {})
        for n, (op, hash_) in enumerate(changes, 1)
    ]


def test_the_last_record_of_a_token_holds() -> None:
    table = fold_all(history((CREATE, A), (CREATE, B), (UPDATE, A), (DELETE, B)))
    assert table.entries == {A: Entry(A, 3, "{}", 1.5, None, "n3")}
    assert table.tombstones == {B: 4}
    assert table.revision == 4


def test_a_token_made_again_has_no_tombstone() -> None:
    table = fold_all(history((CREATE, A), (DELETE, A), (CREATE, A)))
    assert table.since(0) == [table.entries[A]]
    assert not table.tombstones


def test_a_mark_is_kept_and_is_no_change_of_a_token() -> None:
    table = fold_all(history((CREATE, A)))
    table.fold(Record(2, 0.0, MARK, "", {"source": "s"}))
    assert table.mark == {"source": "s"}
    assert table.revision == 2
    assert table.since(1) == []


@pytest.mark.parametrize("revision", [0, 1, 3], ids=["before", "again", "one left out"])
def test_only_the_next_revision_follows(revision: int) -> None:
    table = fold_all(history((CREATE, A)))
    with pytest.raises(ValueError, match=f"revision {revision} follows 1"):
        table.fold(Record(revision, 0.0, DELETE, A, {}))
    assert A in table.entries


def test_a_row_reads_back_and_may_grow() -> None:
    record = Record(1, 2.0, CREATE, A, FIELDS)
    assert Record.of(record.row()) == record
    assert Record.of([*record.row(), "of a later version"]) == record


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        [1, 2.0, CREATE, A],
        ["1", 2.0, CREATE, A, FIELDS],
        [1, None, CREATE, A, FIELDS],
        [1, 2.0, "rename", A, FIELDS],
        [1, 2.0, CREATE, None, FIELDS],
        [1, 2.0, DELETE, A, []],
        [1, 2.0, UPDATE, A, {}],
        [1, 2.0, CREATE, A, {**FIELDS, "policy": None}],
        [1, 2.0, CREATE, A, {**FIELDS, "created": "now"}],
        [1, 2.0, CREATE, A, {**FIELDS, "expires": ""}],
        [1, 2.0, CREATE, A, {**FIELDS, "name": None}],
    ],
    ids=str,
)
def test_a_row_that_is_no_record_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match="fields that do not fit"):
        Record.of(row)


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("aa", [A]), ("a", [A, B]), (A, [A]), ("ee", []), (A + "0", [])],
)
def test_prefixes(prefix: str, found: list[str]) -> None:
    table = fold_all(history((CREATE, A), (CREATE, B), (CREATE, C), (DELETE, C)))
    assert table.find_prefix(prefix) == found


def test_names_are_those_in_force() -> None:
    table = fold_all(history((CREATE, A), (CREATE, B), (UPDATE, A)))
    assert [table.find_name(f"n{n}") for n in (1, 2, 3)] == [[], [B], [A]]


def test_no_name_is_not_a_name() -> None:
    table = fold_all([Record(1, 0.0, CREATE, A, {**FIELDS, "name": ""})])
    assert table.find_name("") == []


CHANGES = st.lists(
    st.tuples(st.sampled_from([CREATE, UPDATE, DELETE]), st.sampled_from([A, B, C])), max_size=12
)


@given(CHANGES, st.integers(0, 12))
def test_who_knows_a_revision_learns_all_the_rest(
    changes: list[tuple[str, str]], known: int
) -> None:
    records = history(*changes)
    follower, table = fold_all(records[:known]).entries, fold_all(records)
    revisions = []
    for change in table.since(known):
        if isinstance(change, tuple):
            follower.pop(change[0], None)
            revisions.append(change[1])
        else:
            follower[change.hash] = change
            revisions.append(change.revision)
    assert follower == table.entries
    assert revisions == sorted(set(revisions))


def test_an_empty_table() -> None:
    assert (Table().revision, Table().since(0), Table().mark) == (0, [], {})
    assert (Table().times, Table().tip(0)) == ([], "")


def test_every_records_time_names_it_marks_and_deletes_too() -> None:
    times = [1000.5, 7.0, 1000.5000001, 2000]  # a clock may step back; JSON may write 2000.0 so
    records = [
        Record(n, time, record.op, record.hash, record.fields)
        for n, (time, record) in enumerate(
            zip(times, history((CREATE, A), (UPDATE, A), (DELETE, A), (MARK, "")), strict=True), 1
        )
    ]
    table = fold_all(records)
    assert table.times == times
    assert table.tip(0) == ""
    assert len({table.tip(n) for n in range(5)}) == 5
    again = fold_all(Record.of(record.row()) for record in records)
    assert [again.tip(n) for n in range(5)] == [table.tip(n) for n in range(5)]
