"""The built file's start: where it unpacks, what it refuses, what is left when it can't.

A small file made by build/pack.py stands in for the real one: same launcher, same start, but one
module.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pack import BESIDE, HERE, make_main, write_zip
from spec import read_spec

PROGRAM = """
import sys, time
def main():
    print(sys.path[0], flush=True)
    if "wait" in sys.argv:
        sys.stdin.read()
    if "compiled" in sys.argv:
        import compiled_part
    return 7
"""
OTHERS_PYTHON = ".cpython-310-x86_64-linux-gnu.so"


@dataclass(frozen=True)
class Built:
    """A built file, and an environment to run it in."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def given(self, **environment: object) -> Built:
        return replace(self, environment={k: str(v) for k, v in environment.items()})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", str(self.path), *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[str, str, int]:
        """What it printed to stdout and to stderr, and its exit status."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        return out.strip(), err.strip(), process.returncode


def make_file(path: Path, text: str = PROGRAM) -> Built:
    entries = {f"site-packages/{name}": b"" for name in ("app/__init__.py", f"x{OTHERS_PYTHON}")}
    entries["site-packages/app/cli.py"] = text.encode()
    entries |= {name: (HERE / name).read_bytes() for name in BESIDE}
    spec = replace(read_spec(), entry_point="app.cli:main")
    entries["__main__.py"] = make_main(spec, entries, (2, 17))
    write_zip(path, spec.shebang, entries)
    return Built(path)


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Built]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    yield make_file(tmp_path / "app.pyz").given(HOME=tmp_path / "home", TMPDIR=temporary)
    assert list(temporary.iterdir()) == [], "a temporary copy was left behind"


def test_first_start_unpacks_for_us_alone_and_the_next_runs_the_same(
    built: Built, tmp_path: Path
) -> None:
    place, said, status = built.run()
    assert (said, status) == ("", 7)
    assert Path(place).parent == tmp_path / "home" / ".cache" / "tokenomics"
    assert [Path(place, up).resolve().stat().st_mode & 0o777 for up in (".", "..")] == [0o700] * 2
    (Path(place) / "app" / "cli.py").write_text("def main(): return 8")
    assert built.run() == ("", "", 8)


def test_compiled_parts_of_other_pythons_stay_packed(built: Built) -> None:
    place, _, _ = built.run()
    assert not list(Path(place).glob(f"*{OTHERS_PYTHON}"))


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"SHIV_ROOT": "{}/a", "CACHE_DIRECTORY": "{}/b", "XDG_CACHE_HOME": "{}/c"}, "a"),
        ({"CACHE_DIRECTORY": "{}/b:{}/x", "XDG_CACHE_HOME": "{}/c"}, "b"),
        ({"XDG_CACHE_HOME": "{}/c", "HOME": "{}/d"}, "c/tokenomics"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "{}/d"}, "d/.cache/tokenomics"),
        ({"SHIV_ROOT": "", "CACHE_DIRECTORY": "", "HOME": "{}/d"}, "d/.cache/tokenomics"),
    ],
)
def test_the_environment_chooses_the_folder(
    built: Built, tmp_path: Path, environment: dict[str, str], root: str
) -> None:
    chosen = {name: value.replace("{}", str(tmp_path)) for name, value in environment.items()}
    place, said, _ = built.given(**chosen).run()
    assert (Path(place).parent, said) == (tmp_path / root, "")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused(
    built: Built, tmp_path: Path, mode: int
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    place, said, status = built.given(
        SHIV_ROOT=tmp_path / "open", TMPDIR=built.environment["TMPDIR"]
    ).run()
    assert place.startswith(built.environment["TMPDIR"])
    assert f"{tmp_path}/open can be written by others (mode {mode:o})" in said
    assert (said.count("\n"), status) == (0, 7)
    assert not list((tmp_path / "open").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a folder away")
def test_another_users_folder_is_refused(built: Built, tmp_path: Path) -> None:
    theirs = tmp_path / "home"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    _, said, status = built.run()  # as sudo does that keeps HOME
    assert "belongs to another user" in said
    assert (status, list(theirs.iterdir())) == (7, [])
    (theirs / "cache").mkdir()
    os.chown(theirs / "cache", 12345, 12345)
    _, said, _ = replace(
        built, environment={**built.environment, "SHIV_ROOT": f"{theirs}/cache"}
    ).run()
    assert "belongs to another user (uid 12345)" in said


def test_a_copy_that_others_can_write_to_is_refused(built: Built) -> None:
    place, _, _ = built.run()
    Path(place).chmod(0o777)
    again, said, _ = built.run()
    assert again != place
    assert "can be written by others" in said


def test_a_folder_that_cannot_be_made_gives_a_temporary_copy(built: Built, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    place, said, status = built.run()
    assert place.startswith(built.environment["TMPDIR"])
    assert said.endswith("running from a temporary copy; name a folder with SHIV_ROOT")
    assert status == 7


def test_without_any_room_it_runs_from_the_file_itself(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no byte can be written to a file
    try:
        place, said, status = built.run()
        _, failed, failure = built.run("compiled")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place == f"{built.path}/site-packages"
    assert "running without compiled parts" in said
    assert (said.count("\n"), status) == (0, 7)
    assert "this needs a folder to unpack into" in failed.splitlines()[-1]
    assert (failed.count("\n"), failure) == (1, 1)
    assert not list((tmp_path / "home").rglob("*.py"))


def test_what_a_killed_unpacking_left_is_no_copy(built: Built) -> None:
    place, _, _ = built.run()
    Path(place).rename(place + ".new")
    (Path(place + ".new") / "app" / "cli.py").write_text("half a fi")
    assert built.run() == (place, "", 7)
    assert not Path(place + ".new").exists()


def test_many_first_starts_at_once(built: Built) -> None:
    processes = [built.start() for _ in range(8)]
    results = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert len(set(results)) == 1
    assert results[0][1:] == ("", 7)


def test_a_new_version_removes_old_copies_but_none_in_use(built: Built, tmp_path: Path) -> None:
    places = []
    for number in range(3):
        other = make_file(tmp_path / f"{number}.pyz", PROGRAM + f"#{number}")
        places.append(Path(other.given(**built.environment).run()[0]))
    unused, running, recent = places
    with replace(built, path=tmp_path / "1.pyz").start("wait") as server:
        assert server.stdout is not None
        server.stdout.readline()
        long_ago = time.time() - 100 * 24 * 3600
        os.utime(unused, (long_ago, long_ago))
        os.utime(running, (long_ago, long_ago))
        built.run()
        assert [place.exists() for place in (unused, running, recent)] == [False, True, True]
        server.communicate(timeout=60)


def test_a_copy_made_beforehand_may_be_read_only(built: Built) -> None:
    place, _, _ = built.run()
    Path(place).chmod(0o500)
    Path(place).parent.chmod(0o500)
    assert built.run() == (place, "", 7)
    Path(place).parent.chmod(0o700)
    Path(place).chmod(0o700)
