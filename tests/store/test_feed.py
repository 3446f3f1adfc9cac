"""The change feed: what a follower ends with, whatever it knew before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.store.stores import hash_of, place, put
from tokenomics import strictjson
from tokenomics.errors import Invalid
from tokenomics.store.database import Database
from tokenomics.store.feed import (
    MAX_CHANGES,
    MAX_FEED_BYTES,
    Change,
    Feed,
    changes_since,
    follows,
    parse_feed,
    parse_list,
    source_of,
    token_object,
)
from tokenomics.store.table import CREATE, DELETE, MARK

HASH = hash_of(1)
TIME, EPOCH = "2026-11-23T08:46:38Z", 1795423598.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(place(tmp_path), pytest.fail)


def answer(database: Database, source: str, since: int, tip: str | None = None) -> Feed:
    """What a follower reads: over JSON, as on the wire. Without `tip`, it has the database's."""
    if tip is None:
        tip = database.table.tip(min(since, database.table.revision))
    body = strictjson.dumps(changes_since(database, source, since, tip))
    assert len(body) < MAX_FEED_BYTES
    feed = parse_feed(body)
    assert feed.tip == database.table.tip(feed.revision)
    assert feed.reset != follows(database, source, since, tip)
    return feed


class Follower:
    """Asks until it has all, as a replica does."""

    def __init__(self) -> None:
        self.source, self.revision, self.tip = "", 0, ""
        self.policies: dict[str, str] = {}
        self.answers: list[Feed] = []

    def follow(self, database: Database) -> list[Feed]:
        self.answers = []
        more = True
        while more:
            feed = answer(database, self.source, self.revision, self.tip)
            self.answers.append(feed)
            if feed.reset:
                self.policies = {}
            for change in feed.changes:
                self.policies.pop(change.hash, None)
                if change.policy is not None:
                    self.policies[change.hash] = change.policy
            self.source, self.revision, self.tip = feed.source, feed.revision, feed.tip
            more = feed.more
        return self.answers


def test_a_token_arrives_as_it_was_set(database: Database) -> None:
    with database.writing() as writer:
        writer.put(HASH, '{"a":"ü"}', EPOCH, EPOCH + 60, "one")
        writer.put(hash_of(2), "{}", EPOCH + 0.75, None, "")
    assert answer(database, "", 0) == Feed(
        source=f"{database.id}.1",
        revision=2,
        reset=True,
        more=False,
        changes=(
            Change(HASH, '{"a":"ü"}', EPOCH, EPOCH + 60, "one"),
            Change(hash_of(2), "{}", EPOCH, None, ""),  # times are to the second on the wire
        ),
        tip=database.table.tip(2),
    )


def test_a_sealed_policy_arrives_in_clear(tmp_path: Path) -> None:
    database = Database(place(tmp_path, "secret"), pytest.fail)
    put(database, 1, "the policy")
    assert [change.policy for change in answer(database, "", 0).changes] == ["the policy"]


def test_only_what_is_new_is_sent(database: Database) -> None:
    for number in (1, 2, 3):
        put(database, number)
    put(database, 1, "again")
    with database.writing() as writer:
        writer.delete(hash_of(2))
    feed = answer(database, source_of(database), 3)
    assert (feed.reset, feed.more, feed.revision) == (False, False, 5)
    assert [(c.hash, c.policy) for c in feed.changes] == [
        (hash_of(1), "again"),
        (hash_of(2), None),
    ]
    assert answer(database, feed.source, 5).changes == ()


def test_a_mark_moves_the_revision_and_sends_nothing(database: Database) -> None:
    put(database, 1)
    with database.writing() as writer:
        writer.mark({"source": "elsewhere"})
    feed = answer(database, source_of(database), 1)
    assert (feed.revision, feed.changes, feed.more) == (2, (), False)


@pytest.mark.parametrize(
    ("source", "since"),
    [("", 0), ("list", 0), ("{id}.2", 2), ("{id}", 2), ("{id}.1", 4), ("other.1", 2)],
    ids=[
        "nothing known",
        "from a list",
        "another generation",
        "no generation",
        "a future revision",
        "another database",
    ],
)
def test_a_follower_of_something_else_begins_anew(
    database: Database, source: str, since: int
) -> None:
    for number in (1, 2, 3):
        put(database, number)
    feed = answer(database, source.format(id=database.id), since)
    assert (feed.reset, feed.revision) == (True, 3)
    assert [c.hash for c in feed.changes] == [hash_of(n) for n in (1, 2, 3)]


def test_replacing_the_database_resets_followers(database: Database) -> None:
    follower = Follower()
    for number in (1, 2, 3):
        put(database, number)
    follower.follow(database)
    database.replace_all([(CREATE, hash_of(7), database.table.entries[HASH].fields())])
    (feed,) = follower.follow(database)
    assert feed.reset
    assert set(follower.policies) == {hash_of(7)}


@pytest.mark.parametrize("tip", ["", "0x0.0p+0", "no number", "{1}", "{3}"])
def test_a_follower_whose_tip_names_another_record_begins_anew(
    database: Database, tip: str
) -> None:
    for number in (1, 2, 3):
        put(database, number)
    tips = [database.table.tip(n) for n in range(4)]
    feed = answer(database, source_of(database), 2, tip.format(*tips))
    assert (feed.reset, len(feed.changes)) == (True, 3)
    feed = answer(database, source_of(database), 2, tips[2])
    assert (feed.reset, len(feed.changes)) == (False, 1)


@pytest.mark.parametrize("more", [0, 2], ids=["as-long", "longer"])
def test_a_backup_that_was_restored_and_written_again_resets_its_followers(
    database: Database, tmp_path: Path, more: int
) -> None:
    """Same source, same revision, another history: tokens 3 and 4 must not stay valid."""
    follower, file = Follower(), place(tmp_path).path
    put(database, 1)
    put(database, 2)
    backup = file.read_bytes()
    put(database, 3)
    put(database, 4)
    follower.follow(database)
    file.write_bytes(backup)
    restored = Database(place(tmp_path), pytest.fail)
    for number in range(5, 7 + more):
        put(restored, number)
    assert restored.table.revision == follower.revision + more
    assert follower.source == source_of(restored)
    (feed,) = follower.follow(restored)
    assert feed.reset
    assert set(follower.policies) == {hash_of(n) for n in (1, 2, *range(5, 7 + more))}
    (feed,) = follower.follow(restored)
    assert (feed.reset, feed.changes) == (False, ())


def test_a_backup_that_was_restored_and_not_written_again_resets_its_followers(
    database: Database, tmp_path: Path
) -> None:
    follower, file = Follower(), place(tmp_path).path
    put(database, 1)
    backup = file.read_bytes()
    put(database, 2)
    follower.follow(database)
    file.write_bytes(backup)
    (feed,) = follower.follow(Database(place(tmp_path), pytest.fail))
    assert feed.reset
    assert set(follower.policies) == {HASH}


def test_a_file_that_cannot_be_read_resets_nobody(database: Database, tmp_path: Path) -> None:
    put(database, 1)
    source = source_of(database)
    place(tmp_path).path.write_bytes(b"damaged")
    with pytest.raises(Invalid, match="not a tokenomics data file"):
        database.refresh()
    assert not answer(database, source, 1).reset


def test_an_empty_database_is_a_source_too(database: Database) -> None:
    follower = Follower()
    (feed,) = follower.follow(database)
    assert (feed.revision, feed.reset, feed.changes) == (0, True, ())
    put(database, 1)
    (feed,) = follower.follow(database)
    assert feed.reset
    assert set(follower.policies) == {HASH}


def test_a_long_answer_comes_in_pages(database: Database) -> None:
    count = 2 * MAX_CHANGES + 1
    with database.writing() as writer:
        for number in range(count):
            writer.put(hash_of(number), str(number), EPOCH, None, "")
    follower = Follower()
    feeds = follower.follow(database)
    assert [len(feed.changes) for feed in feeds] == [MAX_CHANGES, MAX_CHANGES, 1]
    assert [feed.more for feed in feeds] == [True, True, False]
    assert [feed.reset for feed in feeds] == [True, False, False]
    assert feeds[-1].revision == count
    assert follower.policies == {hash_of(n): str(n) for n in range(count)}


def test_a_page_that_is_just_full_is_the_last(database: Database) -> None:
    with database.writing() as writer:
        for number in range(MAX_CHANGES):
            writer.put(hash_of(number), "{}", EPOCH, None, "")
    assert not answer(database, "", 0).more


def test_changes_between_pages_arrive(database: Database) -> None:
    """A token of the first page is deleted, one of the second changes, before the second page."""
    with database.writing() as writer:
        for number in range(MAX_CHANGES + 5):
            writer.put(hash_of(number), "old", EPOCH, None, "")
    first = answer(database, "", 0)
    with database.writing() as writer:
        writer.delete(hash_of(0))
        writer.put(hash_of(MAX_CHANGES), "new", EPOCH, None, "")
    rest = {c.hash: c.policy for c in answer(database, first.source, first.revision).changes}
    assert rest[hash_of(0)] is None
    assert rest[hash_of(MAX_CHANGES)] == "new"
    assert len(rest) == 6


def test_large_policies_make_more_pages(database: Database) -> None:
    """No page may be longer than what a follower reads of one, at the worst escaping there is."""
    policy = json.dumps("\x01" * (1 << 17))  # 768 KB of \\u0001, each backslash escaped once more
    rows: list[tuple[str, str, dict[str, Any]]] = [
        (CREATE, hash_of(n), {"policy": policy, "created": 0.0, "expires": None, "name": ""})
        for n in range(30)
    ]
    database.replace_all(rows)
    follower = Follower()
    assert len(follower.follow(database)) > 1
    assert set(follower.policies) == {hash_of(n) for n in range(30)}


# Bad documents


def feed_of(**fields: object) -> dict[str, Any]:
    good = {"source": "s.1", "revision": 1, "reset": False, "more": False, "changes": [], "tip": ""}
    return {**good, **fields}


def change_of(**fields: object) -> dict[str, Any]:
    good = {"op": "put", "token_hash": HASH, "policy": "{}", "created_at": TIME}
    return {**good, **fields}


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in document.items() if k != key}


BAD_CHANGES: list[Any] = [
    *[without(change_of(), key) for key in ("token_hash", "policy", "created_at")],
    None,
    7,
    "put",
    [],
    change_of(token_hash=None),
    change_of(token_hash=HASH[:-1]),
    change_of(token_hash="g" * 64),
    change_of(token_hash="A" * 64),
    change_of(policy=None),
    change_of(policy={"max_tokens": 1}),
    change_of(created_at=None),
    change_of(created_at=1.5),
    change_of(created_at="yesterday"),
    change_of(created_at="2026-11-23T08:46:38"),
    change_of(expires_at=5),
    change_of(expires_at="never"),
    change_of(name=None),
]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        *[without(feed_of(), key) for key in feed_of()],
        feed_of(source=None),
        feed_of(revision="1"),
        feed_of(revision=None),
        feed_of(revision=True),
        feed_of(revision=1.5),
        feed_of(reset="false"),
        feed_of(more=0),
        feed_of(tip=None),
        feed_of(tip=1.5),
        feed_of(changes=None),
        feed_of(changes={}),
        feed_of(changes={"op": "put"}),
        *[feed_of(changes=[change]) for change in BAD_CHANGES],
        feed_of(changes=[without(change_of(), "op")]),
        feed_of(changes=[change_of(op="rename")]),
        feed_of(changes=[change_of(op=["put"])]),
        feed_of(changes=[{"op": "delete"}]),
        feed_of(changes=[{"op": "delete", "token_hash": "x"}]),
    ],
    ids=str,
)
def test_a_document_that_is_no_feed_is_a_value_error(document: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_feed(strictjson.dumps(document))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b'{"source":"s","revision":1e999,"reset":false,"more":false,"changes":[]}',
        b'{"source":"s","source":"t","revision":1,"reset":false,"more":false,"changes":[]}',
        b"[" * 100_000,
    ],
    ids=["nothing", "a page", "not UTF-8", "infinite", "twice", "deep"],
)
def test_bytes_that_are_no_feed_are_a_value_error(body: bytes) -> None:
    for parse in (parse_feed, parse_list):
        with pytest.raises(ValueError, match=r"."):
            parse(body)


def test_a_feed_may_grow() -> None:
    body = strictjson.dumps(feed_of(changes=[change_of(note="new")], note="of a later version"))
    assert parse_feed(body).changes == (Change(HASH, "{}", EPOCH),)


# The original's list


def test_the_list_reads_back(database: Database) -> None:
    with database.writing() as writer:
        writer.put(HASH, "{}", EPOCH, None, "")
        writer.put(hash_of(2), "{}", EPOCH, EPOCH + 60, "two")
        writer.put(hash_of(3), "{}", EPOCH, None, "")
        writer.delete(hash_of(3))
    rows = [token_object(database, entry) for entry in database.table.entries.values()]
    assert rows == [
        {"token_hash": HASH, "policy": "{}", "created_at": TIME},
        {
            "token_hash": hash_of(2),
            "policy": "{}",
            "created_at": TIME,
            "expires_at": "2026-11-23T08:47:38Z",
            "name": "two",
        },
    ]
    assert parse_list(strictjson.dumps(rows)) == [
        Change(HASH, "{}", EPOCH),
        Change(hash_of(2), "{}", EPOCH, EPOCH + 60, "two"),
    ]


@pytest.mark.parametrize("expires", ["", None], ids=repr)
def test_an_empty_expiry_is_none(expires: str | None) -> None:
    (change,) = parse_list(strictjson.dumps([change_of(expires_at=expires)]))
    assert change.expires_at is None


@pytest.mark.parametrize(
    "document", [None, {}, "text", 7, *[[change] for change in BAD_CHANGES]], ids=str
)
def test_a_document_that_is_no_list_is_a_value_error(document: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_list(strictjson.dumps(document))


def test_deletes_and_marks_are_not_tokens(database: Database) -> None:
    database.replace_all([(DELETE, HASH, {}), (MARK, "", {})])
    assert answer(database, "", 0).changes == (Change(HASH, None),)
