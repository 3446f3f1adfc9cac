"""All checks of the project, in the order that tells soonest what is wrong; pytest comes last.

A failed check does not stop the ones after it: one run tells everything. The exit status is 0 only
if all passed, and pytest's closing line is the last line printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyz import ensure_pyz
from redisserver import ensure_redis
from spec import read_spec
from venvs import ROOT, SCRATCH, BuildError, clean_environment, ensure_venv, one_at_a_time

HERE = Path(__file__).resolve().parent
DEV_LOCK = HERE / "requirements-dev.lock"
SOURCES = ("tokenomics", "tests", "build")
BRIEF = ("--quiet", "--output-format", "concise")


def main(pytest_arguments: list[str]) -> int:
    """Runs everything; 0 only if everything passed."""
    try:
        with one_at_a_time():
            python = ensure_venv(ROOT / ".venv", DEV_LOCK)
    except BuildError as error:
        print(f"tokenomics: {error}", file=sys.stderr)
        return 1
    environment = check_environment(python)
    sources = [name for name in SOURCES if (ROOT / name).is_dir()]
    ruff = (python.with_name("ruff"), "--config", HERE / "ruff.toml")
    steps: list[tuple[str, Callable[[], bool]]] = [
        ("ruff check", lambda: run((*ruff, "check", *BRIEF, *sources), environment)),
        ("ruff format", lambda: run((*ruff, "format", "--check", *BRIEF, *sources), environment)),
        ("mypy", lambda: run((python, "-m", "mypy"), environment)),
        ("pyz", lambda: build_pyz(environment)),
        ("redis", have_redis),
    ]
    failed = [name for name, step in steps if not timed(name, step)]
    if failed:
        print(f"FAILED before pytest: {', '.join(failed)}", flush=True)
    passed = run((python, "-m", "pytest", *pytest_arguments), environment)
    return 0 if passed and not failed else 1


def check_environment(python: Path) -> dict[str, str]:
    """What checks see: the environment's programs first, and their caches out of the way."""
    environment = clean_environment()
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment["RUFF_CACHE_DIR"] = str(SCRATCH / "ruff")
    environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(SCRATCH / "hypothesis")
    environment.pop("TOKENOMICS_PYZ", None)
    return environment


def run(command: tuple[str | Path, ...], environment: dict[str, str]) -> bool:
    """Runs one check in the checkout's root, its output going where ours goes."""
    sys.stdout.flush()
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=sys.stdout, check=False
    )
    return done.returncode == 0


def build_pyz(environment: dict[str, str]) -> bool:
    """Builds the file and names it to the tests; without it, those that need it are skipped."""
    try:
        environment["TOKENOMICS_PYZ"] = str(ensure_pyz(read_spec()))
    except BuildError as error:
        print(f"tokenomics: {error}", flush=True)
        return False
    return True


def have_redis() -> bool:
    """Sees to a redis-server; without it, the tests that need it are skipped."""
    try:
        ensure_redis()
    except BuildError as error:
        print(f"tokenomics: {error}", flush=True)
        return False
    return True


def timed(name: str, step: Callable[[], bool]) -> bool:
    """Runs one step and says how it went and how long it took."""
    began = time.monotonic()
    passed = step()
    took = time.monotonic() - began
    print(f"{name:12} {'passed' if passed else 'FAILED'} in {took:5.1f} s", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
