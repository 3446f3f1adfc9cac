"""The built file itself: what it holds, and that anybody's build has the same bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from pack import pack
from spec import read_spec
from stage import download_wheels, fill_stage, oldest_glibc
from venvs import ROOT, SCRATCH

SPEC = read_spec()
COMPILED = ("_cffi_backend", "msgpack/_cmsgpack", "re2/_re2")
PACKAGES = ("attrs", "cffi", "cryptography", "google_re2", "h11", "idna", "msgpack", "outcome")
PACKAGES += ("pyyaml", "sniffio", "sortedcontainers", "trio")


@pytest.fixture(scope="module")
def pyz() -> Path:
    path = os.environ.get("TOKENOMICS_PYZ")
    if not path:
        pytest.skip("TOKENOMICS_PYZ names no built file; build/test does")
    return Path(path)


@pytest.fixture(scope="module")
def names(pyz: Path) -> list[str]:
    with zipfile.ZipFile(pyz) as archive:
        return [name.removeprefix("site-packages/") for name in archive.namelist()]


def test_compiled_parts_of_all_pythons_are_there(names: list[str]) -> None:
    for python in SPEC.pythons:
        tag = f"cpython-{python.replace('.', '')}-{SPEC.platform}-linux-gnu"
        assert [name for name in COMPILED if f"{name}.{tag}.so" not in names] == []


def test_every_package_is_there_with_its_licence(names: list[str]) -> None:
    licensed = {re.match(r"[^-]+", n)[0] for n in names if re.search(r"LICENSE|COPYING", n)}  # type: ignore[index]
    assert set(PACKAGES) <= licensed
    folders = {name.partition("-")[0] for name in names if ".dist-info/" in name}
    assert folders == set(PACKAGES), "shiv.spec or the lock changed: change this list too"


def test_nothing_is_there_that_is_not_needed(names: list[str]) -> None:
    unwanted = re.compile(r"/RECORD$|\.pyc$|\.pyi$|_tests/|^bin/|^yaml/.*\.so$|^cffi/|^pycparser")
    assert [name for name in names if unwanted.search(name)] == []


def test_all_packages_can_be_imported_from_it(pyz: Path, tmp_path: Path) -> None:
    program = """
import sys, h11, msgpack, re2, trio, yaml
import cryptography.x509, cryptography.hazmat.primitives.ciphers.aead as aead
assert msgpack.Unpacker.__module__ == "msgpack._cmsgpack", "msgpack fell back to pure Python"
assert re2.search("(b+)", "abbc")[1] == "bb"
assert aead.AESGCM(b"k" * 16).encrypt(b"n" * 12, b"", None)
assert not {"absl", "cffi", "pycparser"} & set(sys.modules)
print(*sorted({module.split(".")[0] for module in sys.modules if "." not in module}))
"""
    done = subprocess.run(
        [sys.executable, "-I", str(pyz), "-c", program],
        env={"SHIV_INTERPRETER": "1", "SHIV_ROOT": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_locks_name_neither_an_index_nor_a_path() -> None:
    for lock in (ROOT / "build").glob("*.lock"):
        assert not re.search(r"://|index-url|find-links|^/", lock.read_text(), re.MULTILINE)


@pytest.mark.skipif(not os.environ.get("CI"), reason="takes seconds; set CI=true to run it")
def test_another_folder_and_umask_give_the_same_bytes(pyz: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        python = SCRATCH / "builder" / "bin" / "python"
        wheels = download_wheels(SPEC, python)
        fill_stage(SPEC, wheels, tmp_path / "stage")
        spec = replace(SPEC, output=tmp_path / "dist" / "other.pyz")
        pack(spec, tmp_path / "stage", oldest_glibc(wheels), python)
    finally:
        os.umask(before)
    assert spec.output.read_bytes() == pyz.read_bytes()
