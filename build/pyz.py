"""Builds the one file if it is missing or its sources changed; with --run, becomes it.

build/tokenomics ARGUMENTS                          build if needed, then run
build/with-python build/pyz.py                      build if needed
build/with-python build/pyz.py --platform aarch64   build that platform's file
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pack import checksum_file, pack
from spec import Spec, read_spec
from stage import download_wheels, fill_stage, oldest_glibc, package_files
from venvs import ROOT, SCRATCH, BuildError, ensure_venv, one_at_a_time

HERE = Path(__file__).resolve().parent
BUILD_LOCK = HERE / "requirements-build.lock"
UNINVOLVED = ("checks.py", "locks.py")


def ensure_pyz(spec: Spec) -> Path:
    """Returns the file, built now unless it already is what its sources would give."""
    with one_at_a_time():
        wanted = inputs_digest(spec)
        made_from = SCRATCH / f"{spec.output.name}.made-from"
        if made_from.exists() and made_from.read_text() == f"{wanted} {output_digest(spec)}":
            return spec.output
        if not (spec.package / "__init__.py").exists():
            raise BuildError(f"there is no package {spec.package.name}/ to build the file from")
        began = time.monotonic()
        print(f"building {spec.output.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        build(spec)
        made_from.write_text(f"{wanted} {output_digest(spec)}")
        size, took = spec.output.stat().st_size / 1e6, time.monotonic() - began
        print(f"built it: {size:.1f} MB in {took:.1f} s", file=sys.stderr, flush=True)
        return spec.output


def build(spec: Spec) -> None:
    """The whole road, from locks to file."""
    python = ensure_venv(SCRATCH / "builder", BUILD_LOCK)
    wheels = download_wheels(spec, python)
    stage = SCRATCH / f"stage-{spec.platform}"
    fill_stage(spec, wheels, stage)
    pack(spec, stage, oldest_glibc(wheels), python)


def inputs(spec: Spec) -> Iterator[Path]:
    """Every file of the checkout that has a say in the bytes of the result."""
    yield from (ROOT / "shiv.spec", ROOT / "LICENSE", spec.lock, BUILD_LOCK)
    yield from sorted(path for path in HERE.glob("*.py") if path.name not in UNINVOLVED)
    yield from package_files(spec.package)


def inputs_digest(spec: Spec) -> str:
    """By content, not by time: a checkout gives all files the time of the checkout."""
    digest = hashlib.sha256()
    for path in inputs(spec):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def output_digest(spec: Spec) -> str:
    """The digest of the file as it lies there; it must also have its checksum beside it."""
    if not (spec.output.exists() and checksum_file(spec.output).exists()):
        return "missing"
    return hashlib.sha256(spec.output.read_bytes()).hexdigest()


def main(arguments: list[str]) -> int:
    """Arguments after --run are the built file's and are not looked at."""
    run = arguments[:1] == ["--run"]
    platform = arguments[1] if arguments[:1] == ["--platform"] and len(arguments) == 2 else None
    if arguments and not run and not platform:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        output = ensure_pyz(read_spec(platform))
    except BuildError as error:
        print(f"tokenomics: {error}", file=sys.stderr)
        return 1
    if run:
        os.execv(sys.executable, [sys.executable, "-I", str(output), *arguments[1:]])
    print(output.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
