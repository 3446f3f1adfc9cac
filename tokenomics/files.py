"""Files that hold secrets or state: made 0600, in folders made 0700, replaced by rename."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder and its parents, 0700 where it is new. Raises OSError."""
    if not path.parent.exists():
        make_folder(path.parent)  # mkdir(parents=True) would make them by the umask alone
    path.mkdir(exist_ok=True, mode=0o700)


def write_private(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone. Raises OSError."""
    make_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make a rename or a new name in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
