"""What the tests with real processes share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_unpacked_copy(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The built file is unpacked once for all tests, into a folder that goes away."""
    os.environ.setdefault("SHIV_ROOT", str(tmp_path_factory.mktemp("shiv")))
