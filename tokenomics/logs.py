"""What the process says: JSON (or text) lines, requests on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, TextIO

from tokenomics.units import rfc3339_micros

_RANK = {"debug": 0, "info": 1, "warn": 2, "error": 3}


@dataclass(slots=True)
class Log:
    """Writes lines. `level` and `format` are those of the config, and change when that is reloaded;
    `debug` adds tracebacks and `text_diagnostics` writes diagnostics as text whatever the format.
    """

    level: str = "info"
    format: str = "json"
    requests: TextIO | None = None
    diagnostics: TextIO | None = None
    debug: bool = False
    text_diagnostics: bool = False

    def say(self, level: str, message: str, **fields: object) -> None:
        """A diagnostic line. An `error` field that is an exception is shown by its text."""
        if _RANK[level] < _RANK[self.level]:
            return
        error = fields.get("error")
        if isinstance(error, BaseException):
            fields["error"] = f"{type(error).__name__}: {error}"
            if self.debug:
                fields["traceback"] = "".join(traceback.format_exception(error))
        row = {"time": rfc3339_micros(time.time()), "level": level, "message": message, **fields}
        as_json = self.format == "json" and not self.text_diagnostics
        _write(self.diagnostics or sys.stderr, row, as_json)

    def request(self, row: dict[str, Any]) -> None:
        """A line of the request log."""
        _write(self.requests or sys.stdout, row, self.format == "json")


def _write(stream: TextIO, row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str)
    else:
        head = [row["time"], row.get("level", "info"), row.get("message", "request")]
        rest = [f"{k}={v!r}" for k, v in row.items() if k not in ("time", "level", "message")]
        line = " ".join([*head, *rest])
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        return  # nobody reads the log any more, nor is there a place to say so: requests go on
