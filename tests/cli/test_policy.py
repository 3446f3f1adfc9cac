"""`policy check`: what it prints, and its exit status."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tokenomics.cli import main

GOOD = '{"base_key_env": "KEY", "max_tokens": 1000}'
ODD = '{"base_key_env": "KEY"}'
BAD = '{"max_tokens": "x", "modle": "a"}'


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in (("good.json", GOOD), ("odd.json", ODD), ("bad.json", BAD)):
        (tmp_path / name).write_text(text)


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    """(exit status, lines of stdout, stderr)."""
    status = main(["policy", "check", *words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_a_valid_policy_is_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "good.json") == (0, ["good.json: ok"], "")


def test_a_warning_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = check(capsys, "odd.json")
    assert status == 0
    assert lines[0].startswith("odd.json: warning: $: has no budget")
    assert lines[1:] == ["odd.json: ok, 1 warning"]


def test_every_fault_of_every_file_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = check(capsys, "bad.json", "good.json")
    assert status == 5
    assert lines == [
        "bad.json: error: $.max_tokens: must be a whole number, not text",
        "bad.json: error: $.modle: unknown key; did you mean 'model'?",
        "good.json: ok",
    ]


def test_quiet_shows_only_faults(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = check(capsys, "odd.json", "bad.json", "--quiet")
    assert status == 5
    assert [line.split(": ")[1] for line in lines] == ["error", "error"]


def test_json_has_paths_and_messages(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = check(capsys, "--json", "bad.json", "odd.json")
    bad, odd = json.loads("\n".join(lines))
    assert status == 5
    assert (bad["file"], bad["valid"], bad["warnings"]) == ("bad.json", False, [])
    assert bad["faults"][0] == {
        "path": "$.max_tokens",
        "message": "must be a whole number, not text",
    }
    assert (odd["valid"], odd["faults"], odd["warnings"][0]["path"]) == (True, [], "$")


def test_a_policy_comes_from_stdin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("{"))
    status, lines, _ = check(capsys, "-")
    assert status == 5
    assert lines[0].startswith("-: error: $: is not JSON: ")


def test_a_policy_that_begins_in_centuries_is_odd(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    late = GOOD.replace("}", ', "not_before": "2999-01-01T00:00:00Z"}')
    (tmp_path / "late.json").write_text(late)
    status, lines, _ = check(capsys, "late.json")
    assert status == 0
    assert lines[0].startswith("late.json: warning: $.not_before: 2999-01-01T00:00:00Z is more")


def test_bytes_that_are_no_text_are_invalid(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bytes.json").write_bytes(b'{"a": "\xff"}')
    status, _, err = check(capsys, "bytes.json")
    assert (status, err) == (5, "tokenomics: bytes.json: is not UTF-8 at byte 7\n")


def test_providers_are_compared_where_there_is_a_config(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "p.json").write_text('{"max_tokens": 1, "default_provider": "acme"}')
    assert check(capsys, "p.json")[1] == ["p.json: ok"]
    (tmp_path / "config.yaml").write_text("default_provider: openai\n")
    assert "knows no provider 'acme'" in check(capsys, "p.json")[1][0]
    (tmp_path / "providers.yaml").write_text(
        "providers:\n  acme:\n    upstream_url: https://acme.example\n"
    )
    assert check(capsys, "p.json")[1] == ["p.json: ok"]


def test_a_broken_config_does_not_keep_from_checking(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("nonsense: 1\n")
    status, lines, err = check(capsys, "good.json")
    assert (status, lines) == (0, ["good.json: ok"])
    assert "providers are not compared" in err


def test_a_missing_file_does_not_hide_what_is_said_of_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, lines, err = check(capsys, "nope.json", "good.json")
    assert (status, lines) == (3, ["good.json: ok"])
    assert "nope.json: there is no such file" in err
    assert check(capsys, "bad.json", "nope.json")[0] == 5


def test_null_is_no_patch(capsys: pytest.CaptureFixture[str]) -> None:
    main(["token", "create", "--policy", "@good.json", "--name", "bob", "--quiet"])
    assert main(["token", "update", "--name", "bob", "--policy", "null"]) == 5
    assert "must be a JSON object" in capsys.readouterr().err
