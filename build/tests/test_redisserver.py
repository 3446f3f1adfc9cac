"""Where the tests' redis-server comes from, on machines made of a PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import redisserver
from redisserver import SCRIPT, ensure_redis
from venvs import BuildError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, name: str, text: str = "") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_the_path_is_taken_as_it_is(programs: Path, name: str) -> None:
    path = program(programs, name)
    assert ensure_redis() == str(path)


def test_without_apt_one_line_says_what_to_install(programs: Path) -> None:
    with pytest.raises(BuildError) as caught:
        ensure_redis()
    says = "the tests need redis-server or valkey-server on PATH: install one of them"
    assert str(caught.value) == says


def test_somebody_who_is_not_root_is_asked_no_password(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(programs, "apt-get")
    program(programs, "sudo", '[ "$1" = -n ] || exec sleep 60\nexit 1')
    with pytest.raises(BuildError, match="install one of them"):
        ensure_redis()
    program(programs, "sudo", '[ "$1" = -n ] || exec sleep 60')
    assert redisserver.become_root() == (str(programs / "sudo"), "-n")


def apt(folder: Path, text: str) -> tuple[int, str]:
    """Runs the script with such an apt-get; the exit status, and how apt-get was called."""
    calls = folder / "calls"
    program(
        folder,
        "apt-get",
        f'while [ "${{1#-}}" != "$1" ] || [ "${{1#DPkg}}" != "$1" ]; do '
        f'shift; done\necho "$*" >>{calls}\n{text}',
    )
    script = SCRIPT.replace("/usr/sbin/policy-rc.d", str(folder / "policy"))
    environment = {"PATH": f"{folder}{os.pathsep}{os.defpath}"}
    done = subprocess.run(["/bin/sh", "-c", script], env=environment, check=False)
    return done.returncode, calls.read_text()


INSTALL = "install --no-install-recommends redis-server\n"


def test_fresh_lists_are_used_as_they_are(tmp_path: Path) -> None:
    assert apt(tmp_path, "exit 0") == (0, INSTALL)


def test_lists_that_do_not_do_are_renewed(tmp_path: Path) -> None:
    assert apt(tmp_path, '[ "$1" = update ] && touch "$0.new"; [ -e "$0.new" ]') == (
        0,
        f"{INSTALL}update\n{INSTALL}",
    )


def test_what_apt_cannot_do_fails(tmp_path: Path) -> None:
    assert apt(tmp_path, "exit 100") == (100, f"{INSTALL}update\n")


def test_no_service_starts_meanwhile_and_nothing_stays_behind(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    assert apt(tmp_path, f"! {policy}")[0] == 0
    assert not policy.exists()


def test_a_policy_of_the_machine_stays(tmp_path: Path) -> None:
    policy = program(tmp_path, "policy", "exit 104")
    assert apt(tmp_path, "exit 0")[0] == 0
    assert "exit 104" in policy.read_text()
