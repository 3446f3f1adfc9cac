"""shiv.spec as a value: what the built file holds and where it runs."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path

from venvs import ROOT, BuildError


@dataclass(frozen=True)
class Spec:
    """One file to build: for one platform, for all its Pythons."""

    entry_point: str
    output: Path
    shebang: str
    shiv_flags: tuple[str, ...]
    package: Path
    lock: Path
    pythons: tuple[str, ...]
    platform: str
    tags: tuple[str, ...]
    drop: tuple[str, ...]


def read_spec(platform: str | None = None) -> Spec:
    """Reads shiv.spec for this machine, or for the named platform, whose file gets its name."""
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string((ROOT / "shiv.spec").read_text())
    shiv, stage = ini["shiv"], ini["stage"]
    machine = platform or os.uname().machine
    if machine not in stage["platforms"].split():
        raise BuildError(f"no file can be built for {machine}: shiv.spec has {stage['platforms']}")
    output = ROOT / shiv["output-file"]
    return Spec(
        entry_point=shiv["entry-point"],
        output=output.with_stem(f"{output.stem}-{platform}") if platform else output,
        shebang=shiv["python"],
        shiv_flags=tuple(shiv["flags"].split()),
        package=ROOT / stage["package"],
        lock=ROOT / stage["lock"],
        pythons=tuple(stage["pythons"].split()),
        platform=machine,
        tags=tuple(stage["tags"].format(platform=machine).split()),
        drop=tuple(stage["drop"].split()),
    )
