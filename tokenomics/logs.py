"""What the process says: JSON (or text) lines, requests on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import trio

from tokenomics.units import rfc3339_micros

FLUSH_SECONDS = 0.1
# Several workers write to one pipe: what is not longer than PIPE_BUF bytes is not torn apart
# (https://man7.org/linux/man-pages/man7/pipe.7.html). A few characters take more than a byte.
WHOLE_CHARACTERS = 3500
MAX_ROWS = 50_000  # about 25 MB
END_SECONDS = 1.0  # for the reader of stdout, when the process ends

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
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
        _write(self.diagnostics or sys.stderr, _line(row, as_json))

    def write_requests(self, rows: Sequence[dict[str, Any]]) -> None:
        """Lines of the request log."""
        stream, as_json = self.requests or sys.stdout, self.format == "json"
        piece = ""
        for row in rows:
            line = _line(row, as_json)
            if len(piece) + len(line) > WHOLE_CHARACTERS:
                _write(stream, piece)
                piece = ""
            piece += line
        _write(stream, piece)


class RequestLog:
    """The request log: rows are kept for a moment, and a thread writes them together.

    So a line costs a request little, and a reader of stdout that stalls holds up nobody: what is
    more than MAX_ROWS by then is dropped, counted, and said once the reader goes on.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rows: list[dict[str, Any]] = []
        self._dropped = 0

    def add(self, row: dict[str, Any]) -> None:
        """A request is over."""
        if len(self._rows) < MAX_ROWS:
            self._rows.append(row)
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Write until cancelled; what there is by then gets END_SECONDS to be taken."""
        try:
            while True:
                await trio.sleep(FLUSH_SECONDS)
                await self._flush()
        finally:
            left = len(self._rows)
            with trio.move_on_after(END_SECONDS, shield=True) as scope:
                await self._flush()
            if scope.cancelled_caught:
                self._log.say("warn", "request log: its reader stalled, lines were lost", n=left)

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            write = self._log.write_requests
            await trio.to_thread.run_sync(write, rows, abandon_on_cancel=True)
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._log.say("warn", "request log: its reader stalled, lines were dropped", n=dropped)


def _line(row: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return _encode(row) + "\n"
    head = [row["time"], row.get("level", "info"), row.get("message", "request")]
    rest = [f"{k}={v!r}" for k, v in row.items() if k not in ("time", "level", "message")]
    return " ".join([*head, *rest]) + "\n"


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(_writable(stream, text))
        stream.flush()
    except (OSError, ValueError):
        return  # nobody reads the log any more, nor is there a place to say so: requests go on


def _writable(stream: TextIO, text: str) -> str:
    """`text` as far as the stream's encoding has its characters, the others as escapes: a locale
    without UTF-8 must not lose a line."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
