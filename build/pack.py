"""From the stage to the one file: shiv makes the zip, then it is rewritten to be reproducible.

shiv 1.0.8's own result depends on the builder's umask and on the order of directory entries, and
its start-up code takes 40 ms. So the zip is written again, sorted, with one time stamp and one
mode, and with our launcher as its `__main__.py`. shiv's own start-up code stays inside, for
SHIV_INTERPRETER.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

from spec import Spec
from venvs import ROOT, BuildError, run_quietly

HERE = Path(__file__).resolve().parent
LAUNCHER, BESIDE = HERE / "launcher.py", ("start.py", "unpack.py")
PLACEHOLDER = "FACTS = {}  # type: dict\n"

TIME_STAMP = (1980, 1, 1, 0, 0, 0)  # the first a zip can hold
FILE_MODE = 0o100644 << 16
UNIX = 3  # ZipInfo.create_system: without it the mode is not read as one
LEVEL = 6  # zlib's: its best, 9, takes four times as long to save 0.6 %


def pack(spec: Spec, stage: Path, glibc: tuple[int, int], shiv_python: Path) -> None:
    """Writes spec.output and its .sha256; the old file stays until the new one is whole."""
    scratch = stage.with_suffix(".shiv")
    command: list[str | Path] = [shiv_python, "-m", "shiv", *spec.shiv_flags, "--uncompressed"]
    command += ["--site-packages", stage, "-e", spec.entry_point]
    run_quietly([*command, "-p", spec.shebang, "-o", scratch], "shiv")
    entries = read_entries(scratch)
    scratch.unlink()
    entries["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    entries |= {name: (HERE / name).read_bytes() for name in BESIDE}
    entries["__main__.py"] = make_main(spec, entries, glibc)
    spec.output.parent.mkdir(exist_ok=True)
    new = spec.output.with_suffix(".new")
    write_zip(new, spec.shebang, entries)
    new.chmod(0o755)
    digest = hashlib.sha256(new.read_bytes()).hexdigest()
    checksum_file(spec.output).write_text(f"{digest}  {spec.output.name}\n")
    os.replace(new, spec.output)


def checksum_file(output: Path) -> Path:
    """Beside the file, as `sha256sum -c` reads it: a truncated upload is else hard to tell."""
    return output.with_name(output.name + ".sha256")


def read_entries(path: Path) -> dict[str, bytes]:
    """What shiv packed, without what it left to chance: its JSON's order."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    settings = json.loads(entries["environment.json"])
    entries["environment.json"] = json.dumps(settings, sort_keys=True).encode()
    return entries


def make_main(spec: Spec, entries: dict[str, bytes], glibc: tuple[int, int]) -> bytes:
    """The launcher with what it has to know written into it, so that it need not look it up."""
    facts = {
        "build": content_digest(entries)[:16],
        "entry_point": spec.entry_point,
        "glibc": glibc,
        "machine": spec.platform,
        "name": spec.package.name,
        "pythons": tuple(tuple(map(int, python.split("."))) for python in spec.pythons),
    }
    text = LAUNCHER.read_text()
    if text.count(PLACEHOLDER) != 1:
        raise BuildError(f"{LAUNCHER.name} lacks its line {PLACEHOLDER.strip()!r}")
    return text.replace(PLACEHOLDER, f"FACTS = {facts!r}\n").encode()


def content_digest(entries: dict[str, bytes]) -> str:
    """Names the content: another file unpacks into another folder, the same one into the same."""
    digest = hashlib.sha256()
    for name, content in sorted(entries.items()):
        if name.startswith("site-packages/"):
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def write_zip(path: Path, shebang: str, entries: dict[str, bytes]) -> None:
    """The same bytes for the same entries, whoever writes them (and with the same zlib)."""
    with path.open("wb") as file:
        file.write(f"#!{shebang}\n".encode())
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            for name, content in sorted(entries.items()):
                info = zipfile.ZipInfo(name, TIME_STAMP)
                info.create_system = UNIX
                info.external_attr = FILE_MODE
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content, compresslevel=LEVEL)
