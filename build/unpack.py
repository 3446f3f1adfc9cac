"""Unpacking the built file: needed once per user and version, so kept out of every other start."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import sys
import tempfile
import time
import zipfile

from start import INSIDE, UnusableError, hold, require_trusted

# A copy nobody started for so long is removed when a new one is made: long enough for a monthly
# job that runs an older file, short enough that upgrades don't fill the disk (30 MB each).
UNUSED_SECONDS = 40 * 24 * 3600


def cached_copy(archive: str, root: str, copy_name: str) -> str:
    """Makes the copy under a lock, or waits for whoever is making it; returns it held."""
    make_trusted(root)
    copy = os.path.join(root, copy_name)
    lock = os.open(os.path.join(root, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(copy):
            unpack_beside(archive, copy)
            remove_unused(root, copy_name.partition("-")[0] + "-", time.time() - UNUSED_SECONDS)
        hold(root, copy_name)
    finally:
        os.close(lock)
    return copy


def make_trusted(folder: str) -> str:
    """Makes the folder, for us alone, and returns it; UnusableError if it is there and unfit."""
    existing = folder
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if existing != folder and os.geteuid() == 0 and os.stat(existing).st_uid != 0:
        # sudo with the user's HOME: a folder of root's in there would lock the user out.
        raise UnusableError(f"{existing} belongs to another user")
    before = os.umask(0o077)
    try:
        os.makedirs(folder, exist_ok=True)
    finally:
        os.umask(before)
    require_trusted(folder)
    return folder


def unpack_beside(archive: str, copy: str) -> None:
    """Unpacks beside the final place and renames; what a killed one left is removed first."""
    new = copy + ".new"
    shutil.rmtree(new, ignore_errors=True)
    try:
        unpack_into(archive, new)
        os.rename(new, copy)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def unpack_into(archive: str, folder: str) -> None:
    """Writes what this Python can use of the packages, readable and writable for us alone."""
    before = os.umask(0o077)
    try:
        os.makedirs(folder, exist_ok=True)
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            raise UnusableError(f"{os.path.dirname(folder)} is on a file system mounted noexec")
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                if name.startswith(INSIDE) and is_for_this_python(name):
                    write_durably(os.path.join(folder, name[len(INSIDE) :]), file.read(name))
    finally:
        os.umask(before)


def is_for_this_python(name: str) -> bool:
    """Compiled parts of other Pythons stay in the zip; "abi3" ones are for all."""
    return ".cpython-" not in name or f".{sys.implementation.cache_tag}-" in name


def write_durably(path: str, content: bytes) -> None:
    """Writes one file and waits for the disk.

    A rename can outlive a power cut that the files' contents do not, and a copy with empty files
    in it would be taken for whole for ever.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove_unused(root: str, prefix: str, before: float) -> None:
    """Removes copies last started before then, unless one still runs. The caller has the lock."""
    for entry in os.scandir(root):
        try:
            if not entry.name.startswith(prefix) or entry.stat().st_mtime > before:
                continue
            folder = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone, or not a copy
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry.path, ignore_errors=True)
        except OSError:
            pass  # somebody runs from it
        finally:
            os.close(folder)


def temporary_copy(archive: str, name: str) -> str:
    """A copy for this process alone; if killed outright, it leaves it to the system's cleaner."""
    folder = tempfile.mkdtemp(prefix=f"{name}-")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not a forked child, which leaves by the same door
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    try:
        unpack_into(archive, folder)
    except BaseException:
        remove()
        raise
    return folder
