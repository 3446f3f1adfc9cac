"""Virtual environments made from hashed locks, remade only when the lock or the Python changed."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / ".scratch"
STAMP = "made-from"

# These would let the caller's shell change what a build or a check finds and writes.
UNWANTED = ("PYTHONHOME", "PYTHONPATH", "PYTHONWARNINGS", "SOURCE_DATE_EPOCH", "VIRTUAL_ENV")

# Only wheels, only the ones whose hashes are in the lock, nothing resolved anew.
LOCKED = ("--require-hashes", "--no-deps", "--only-binary", ":all:")


class BuildError(Exception):
    """Ends the build with its text as the one line the user sees."""


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would change a build's result."""
    return {name: value for name, value in os.environ.items() if name not in UNWANTED}


def run_quietly(command: Sequence[str | Path], doing: str) -> None:
    """Runs a command; shows what it printed only if it failed, and then raises BuildError."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(),
        cwd=ROOT,
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        raise BuildError(f"{doing} failed (exit status {done.returncode}); see above")


def run_pip(python: Path, *arguments: str | Path) -> None:
    """Runs pip with the machine's own settings (mirror, proxy, certificates), never asking."""
    command = (python, "-m", "pip", "--disable-pip-version-check", "--no-input")
    run_quietly((*command, "--cache-dir", SCRATCH / "pip", *arguments), f"pip {arguments[0]}")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Lets two builds in one checkout wait for each other instead of mixing their files."""
    SCRATCH.mkdir(exist_ok=True)
    with (SCRATCH / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure_venv(where: Path, lock: Path) -> Path:
    """Makes the environment if it isn't there as the lock wants it; returns its Python."""
    python = where / "bin" / "python"
    wanted = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version} {sys.base_prefix}"
    stamp = where / STAMP
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    require_venv_module()
    name, source = where.relative_to(ROOT), lock.relative_to(ROOT)
    print(f"making {name} from {source} ...", file=sys.stderr, flush=True)
    run_quietly((sys.executable, "-m", "venv", "--clear", where), f"making {name}")
    # Not compiled here: most of it is never imported, and what is gets compiled then.
    install = ("install", "--no-compile", "--root-user-action", "ignore")
    run_pip(python, *install, *LOCKED, "-r", lock)
    stamp.write_text(wanted)
    return python


def require_venv_module() -> None:
    """Debian and Ubuntu ship python3 without these; say what to install, not what is missing."""
    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return
    package = f"python3.{sys.version_info.minor}-venv"
    raise BuildError(
        f"{sys.executable} cannot make virtual environments: install its venv module"
        f" (Debian, Ubuntu: apt install {package}), or name another Python with PYTHON="
    )
