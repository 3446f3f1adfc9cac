"""Which idle connection is used again, and which are closed."""

from __future__ import annotations

from tokenomics.net.pool import Pool, PoolLimits

IDLE_SECONDS = 10.0


def pool(*unfit: str, **limits: int) -> Pool[str]:
    return Pool(lambda connection: connection not in unfit, PoolLimits(IDLE_SECONDS, **limits))


def test_an_empty_pool_has_nothing() -> None:
    assert pool().take("a", 0.0) == (None, [])


def test_the_newest_is_used_first_and_each_once() -> None:
    kept = pool()
    for connection in ("old", "new"):
        assert kept.put("a", connection, 0.0) == []
    assert [kept.take("a", 1.0) for _ in range(3)] == [("new", []), ("old", []), (None, [])]


def test_origins_do_not_share() -> None:
    kept = pool()
    kept.put("a", "to a", 0.0)
    assert kept.take("b", 0.0) == (None, [])
    assert kept.take("a", 0.0) == ("to a", [])


def test_what_idled_too_long_is_closed() -> None:
    kept = pool()
    kept.put("a", "x", 0.0)
    kept.put("a", "y", 1.0)
    assert kept.take("a", IDLE_SECONDS) == ("y", [])
    assert kept.take("a", IDLE_SECONDS) == (None, ["x"])


def test_those_that_idled_too_long_are_overdue_wherever_they_go() -> None:
    kept = pool()
    kept.put("a", "x", 0.0)
    kept.put("a", "y", 1.0)
    kept.put("b", "z", 0.5)
    assert kept.overdue(IDLE_SECONDS - 0.5) == []
    assert kept.overdue(IDLE_SECONDS + 0.5) == ["x", "z"]
    assert kept.overdue(IDLE_SECONDS + 0.5) == []
    assert kept.take("a", IDLE_SECONDS + 0.5) == ("y", [])


def test_the_unfit_are_closed_and_the_next_is_taken() -> None:
    kept = pool("gone")
    kept.put("a", "fit", 0.0)
    kept.put("a", "gone", 0.0)
    assert kept.take("a", 0.0) == ("fit", ["gone"])


def test_more_than_the_limit_closes_the_oldest() -> None:
    kept = pool(max_idle=2)
    assert [kept.put("a", name, 0.0) for name in "xyz"] == [[], [], ["x"]]
    assert kept.put("b", "another origin", 0.0) == []


def test_as_many_are_open_as_may_be_for_each_origin() -> None:
    kept = pool(max_open=2)
    for _ in range(2):
        assert kept.has_room("a")
        kept.opened("a")
    assert not kept.has_room("a")
    assert kept.has_room("b")
    kept.closed("a")
    assert kept.has_room("a")


def test_clear_forgets_all() -> None:
    kept = pool()
    kept.put("a", "x", 0.0)
    kept.put("b", "y", 0.0)
    assert sorted(kept.clear()) == ["x", "y"]
    assert kept.clear() == []
    assert kept.take("a", 0.0) == (None, [])
