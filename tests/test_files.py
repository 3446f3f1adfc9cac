"""Files that hold secrets: private, and whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenomics.files import make_folder, write_private


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """An umask that hides nothing, so that privacy is our own doing."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_new_folders_are_private_with_their_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b/c")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a/b")
    assert mode(tmp_path / "a") == 0o755


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        make_folder(tmp_path / "a")
    with pytest.raises(OSError, match="a"):
        make_folder(tmp_path / "a/b")


def test_a_file_is_written_whole_private_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "state/key"
    write_private(path, b"\x00secret")
    assert path.read_bytes() == b"\x00secret"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert os.listdir(path.parent) == ["key"]


def test_a_file_that_is_replaced_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("something longer than the new")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_an_open_reader_keeps_the_old_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_private(path, b"new")
        assert reader.read() == b"old"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "key/inner").mkdir(parents=True)
    with pytest.raises(OSError, match="key"):
        write_private(tmp_path / "key", b"new")
    assert os.listdir(tmp_path) == ["key"]
