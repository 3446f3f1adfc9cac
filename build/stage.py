"""The stage: one folder with the locked packages for every Python, and ours.

A wheel is a zip that needs no installing, so wheels are downloaded with pip (which checks their
hashes) and unpacked here, file by file. That leaves nothing of the builder in them: no scripts with
its Python's path, no RECORD, no file modes. Compiled parts carry the Python's version in their
names, so those of all Pythons lie side by side; every other file must be the same in all wheels.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from spec import Spec
from venvs import LOCKED, SCRATCH, STAMP, BuildError, run_pip

# manylinux2014 is the old name of manylinux_2_17: the oldest glibc the compiled part runs with.
GLIBC_TAG = re.compile(r"manylinux_(\d+)_(\d+)_|manylinux2014_")
OLD_NAME = (2, 17)


def download_wheels(spec: Spec, pip_python: Path) -> list[Path]:
    """The wheels for all Pythons, from .scratch if they are there already, each one verified."""
    places = [SCRATCH / "wheels" / f"{spec.platform}-{python}" for python in spec.pythons]

    def fetch(python: str, place: Path) -> None:
        download_for(spec, python, place, pip_python)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fetch, spec.pythons, places))
    # One name is one wheel, since the lock has its hash: those for all Pythons are taken once.
    wheels = list({path.name: path for place in places for path in place.glob("*.whl")}.values())
    locked = set(re.findall(r"sha256:([0-9a-f]{64})", spec.lock.read_text()))
    for wheel in wheels:
        if hashlib.sha256(wheel.read_bytes()).hexdigest() not in locked:
            raise BuildError(f"{wheel} is not what {spec.lock.name} names: delete it, build again")
    return wheels


def download_for(spec: Spec, python: str, place: Path, pip_python: Path) -> None:
    """Downloads the wheels of one Python, unless this very lock's are there."""
    wanted = f"{hashlib.sha256(spec.lock.read_bytes()).hexdigest()} {' '.join(spec.tags)}"
    stamp = place / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(place, ignore_errors=True)
    abi = "cp" + python.replace(".", "")
    target = ["--python-version", python, "--implementation", "cp"]
    target += [word for name in (abi, "abi3", "none") for word in ("--abi", name)]
    target += [word for tag in spec.tags for word in ("--platform", tag)]
    run_pip(pip_python, "download", *LOCKED, *target, "-d", place, "-r", spec.lock)
    stamp.write_text(wanted)


def oldest_glibc(wheels: list[Path]) -> tuple[int, int]:
    """The glibc that all compiled parts together need, read off the wheels' names."""
    needs = []
    for wheel in wheels:
        found = [
            (int(tag[1]), int(tag[2])) if tag[1] else OLD_NAME
            for tag in GLIBC_TAG.finditer(wheel.name)
        ]
        needs.append(min(found, default=OLD_NAME))
    return max(needs, default=OLD_NAME)


def fill_stage(spec: Spec, wheels: list[Path], stage: Path) -> None:
    """Makes the stage anew from the wheels and our package."""
    shutil.rmtree(stage, ignore_errors=True)
    for wheel in sorted(wheels):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if not member.is_dir() and is_wanted(spec, member.filename):
                    place_file(stage / member.filename, archive.read(member), wheel)
    for source in package_files(spec.package):
        target = stage / source.relative_to(spec.package.parent)
        place_file(target, source.read_bytes(), source)


def is_wanted(spec: Spec, name: str) -> bool:
    """Whether the stage keeps a file of a wheel; stops at kinds it can't place."""
    if name.endswith(".pth") or ".data/" in name:
        raise BuildError(f"{name}: a wheel with this needs installing; teach build/stage.py how")
    return not any(fnmatchcase(name, pattern) for pattern in spec.drop)


def place_file(target: Path, content: bytes, source: Path) -> None:
    """Writes a file that no other wheel may have written differently."""
    if target.exists() and target.read_bytes() != content:
        raise BuildError(f"{source.name} has another {target.name} than the wheels before it")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def package_files(package: Path) -> Iterator[Path]:
    """The package's files, data included, in order; not what running it left behind."""
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package).parts
        left_behind = "__pycache__" in inside or any(part.startswith(".") for part in inside)
        if path.is_file() and not left_behind and path.suffix != ".pyc":
            yield path
