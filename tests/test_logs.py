"""Log lines: one a call, where they belong, as JSON or text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tokenomics.logs import Log
from tokenomics.tokens import Secret
from tokenomics.units import parse_rfc3339

ROW = {"time": "2026-11-23T08:46:38.000000Z", "status": 200, "model": "é\nx"}


class Lines:
    """A log and what it wrote."""

    def __init__(self, **options: Any) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.log = Log(requests=self.out, diagnostics=self.err, **options)

    def row(self) -> dict[str, Any]:
        """The one JSON line of the diagnostics, but for its time."""
        (line,) = self.err.getvalue().splitlines()
        row: dict[str, Any] = json.loads(line)
        assert parse_rfc3339(row.pop("time")) > 0
        return row


def test_a_diagnostic_is_one_json_line_on_its_own_stream() -> None:
    lines = Lines()
    lines.log.say("warn", "two\nlines", target="é", n=1)
    assert lines.row() == {"level": "warn", "message": "two\nlines", "target": "é", "n": 1}
    assert lines.out.getvalue() == ""


def test_a_request_is_one_json_line_on_its_own_stream() -> None:
    lines = Lines()
    lines.log.write_requests([ROW])
    assert lines.err.getvalue() == ""
    assert lines.out.getvalue().count("\n") == 1
    assert json.loads(lines.out.getvalue()) == ROW


def test_without_streams_requests_go_to_stdout_and_the_rest_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Log().write_requests([ROW])
    Log().say("error", "oh")
    out, err = capsys.readouterr()
    assert json.loads(out) == ROW
    assert json.loads(err)["message"] == "oh"


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_not_said(level: str, said: list[str]) -> None:
    lines = Lines(level=level)
    for each in ("debug", "info", "warn", "error"):
        lines.log.say(each, each)
    assert [json.loads(line)["level"] for line in lines.err.getvalue().splitlines()] == said


@pytest.mark.parametrize(
    ("error", "shown"),
    [(ValueError("no"), "ValueError: no"), ("only text", "only text")],
    ids=["exception", "text"],
)
def test_an_error_is_shown_by_its_text(error: object, shown: str) -> None:
    lines = Lines()
    lines.log.say("error", "failed", error=error)
    assert lines.row() == {"level": "error", "message": "failed", "error": shown}


def test_a_traceback_is_shown_only_when_debugging() -> None:
    lines = Lines(debug=True)
    try:
        raise ValueError("no")
    except ValueError as e:
        lines.log.say("error", "failed", error=e)
    assert "test_logs.py" in lines.row()["traceback"]


def test_any_value_can_be_logged_and_a_secret_stays_one() -> None:
    lines = Lines()
    lines.log.say("info", "x", path=Path("a/b"), key=Secret("hunter2"))
    assert lines.row() == {"level": "info", "message": "x", "path": "a/b", "key": "***"}


def test_text_lines_hold_the_same_and_stay_one_line() -> None:
    lines = Lines(format="text")
    lines.log.write_requests([ROW])
    lines.log.say("warn", "slow", target="a\nb")
    assert lines.out.getvalue().startswith("2026-11-23T08:46:38.000000Z info request status=200 ")
    assert lines.out.getvalue().endswith("model='é\\nx'\n")
    assert lines.err.getvalue().endswith("Z warn slow target='a\\nb'\n")


def test_diagnostics_can_be_text_beside_requests_in_json() -> None:
    lines = Lines(text_diagnostics=True)
    lines.log.write_requests([ROW])
    lines.log.say("info", "started")
    assert json.loads(lines.out.getvalue()) == ROW
    assert lines.err.getvalue().endswith("Z info started\n")


def test_a_stream_that_has_not_all_characters_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="latin-1") as stream:
        Log(requests=stream).write_requests([ROW, {**ROW, "model": "\u6a21"}, ROW])
    lines = path.read_text("latin-1").splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["\xe9\nx", "\u6a21", "\xe9\nx"]
