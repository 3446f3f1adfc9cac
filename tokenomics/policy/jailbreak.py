"""How much a text looks like an attempt to talk a model out of its instructions."""

from __future__ import annotations

DEFAULT_THRESHOLD = 1.0
