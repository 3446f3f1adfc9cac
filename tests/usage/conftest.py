"""A usage file for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.usage.homes import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "tokens.db.usage")
    yield home
    left = {p.name for p in tmp_path.iterdir()}
    assert left <= {home.path.name, f"{home.path.name}.lock"}, "a temporary file was left behind"
