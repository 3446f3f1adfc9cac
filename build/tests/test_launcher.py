"""The launcher's one line for a Python or a machine that the built file is not for."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import launcher
import pytest

FACTS = {
    "pythons": ((3, 11), (3, 12), (3, 13), (3, 14)),
    "machine": "x86_64",
    "glibc": (2, 27),
    "name": "tokenomics",
}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine the file is for."""
    monkeypatch.setattr(launcher, "FACTS", FACTS)
    monkeypatch.setattr(sys, "argv", ["./tokenomics.pyz"])
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    monkeypatch.setattr(os, "uname", lambda: ("Linux", "host", "6.1", "#1", "x86_64"))
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setenv("PATH", "")


def test_it_says_nothing_where_the_file_runs() -> None:
    assert launcher.complaint() is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 15, 0)])
def test_other_pythons(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    named = ".".join(map(str, version))
    assert launcher.complaint() == (
        f"needs CPython 3.11 to 3.14; this is Python {named} ({sys.executable})"
    )


def test_it_names_a_python_that_would_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    for name in ("python3.11", "python3.13", "python3.15"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert str(launcher.complaint()).endswith("; try: python3.13 ./tokenomics.pyz")


def test_other_kinds_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "abiflags", "t")
    assert "not free-threaded" in str(launcher.complaint())
    monkeypatch.setattr(sys, "version", "3.11.13 [PyPy 7.3.20 with GCC 10.2.1]")
    assert "this is PyPy 3.12.1" in str(launcher.complaint())


@pytest.mark.parametrize(
    ("libc", "said"),
    [
        ("glibc 2.17", "here is glibc 2.17"),
        ("glibc 2.27", None),
        (None, "here is another C library"),
    ],
)
def test_other_c_libraries(
    monkeypatch: pytest.MonkeyPatch, libc: str | None, said: str | None
) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    problem = launcher.complaint()
    assert (problem is None) if said is None else str(problem).endswith(said)


def test_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: ("Linux", "host", "6.1", "#1", "aarch64"))
    wanted = "this file is for Linux on x86_64 with glibc 2.27 or newer"
    assert launcher.complaint() == f"{wanted}; this is linux on aarch64, 64 bit"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "this is darwin on aarch64" in str(launcher.complaint())


def test_old_pythons_can_read_it() -> None:
    """What 2.7 would stumble over: none of it in the tree, nothing but ASCII in the text."""
    text = Path(launcher.__file__).read_text()
    assert text.isascii()
    nodes = list(ast.walk(ast.parse(text)))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Starred, ast.Nonlocal, ast.AsyncFor)
    assert not [node for node in nodes if isinstance(node, newer)]
    assert not [node for node in nodes if isinstance(node, ast.arg) and node.annotation]
    assert not re.search(r"\bprint\b|\braise .* from\b", text)
