"""A killed process loses less than a second, wherever it is killed."""

from __future__ import annotations

from pathlib import Path

from tests.usage.kills import kill_many, kill_one, on_disk


def test_killed_processes_lose_less_than_a_second_and_make_up_nothing(tmp_path: Path) -> None:
    kill_many(tmp_path, 8, seed=5, most_seconds=0.4)


def test_what_is_a_second_old_is_there(tmp_path: Path) -> None:
    kill_one(tmp_path / "usage", 1.2)
    assert on_disk(tmp_path / "usage")[0] > 0
