"""`policy explain`: the steps it prints for a file or a token, and its exit status."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tokenomics.cli import main

POLICY = {
    "default_provider": "openai",
    "models": ["gpt-4o*"],
    "endpoints": ["/v1/files*"],
    "allow_ips": ["10.0.0.0/8"],
    "rules": [{"name": "pii", "type": "pii", "detect": ["email"], "action": "mask"}],
}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a@example.org"}]}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TOKENOMICS_HASH_KEY", "k" * 32)
    Path("policy.json").write_text(json.dumps(POLICY))
    Path("body.json").write_text(json.dumps(BODY))


def explain(capsys: Capture, *words: str) -> tuple[int, str, str]:
    status = main(["policy", "explain", *words])
    out, err = capsys.readouterr()
    return status, out, err


def as_json(capsys: Capture, *words: str) -> dict[str, Any]:
    status, out, _ = explain(capsys, "--json", *words)
    assert status == 0
    told: dict[str, Any] = json.loads(out)
    return told


def test_a_file_and_a_body(capsys: Capture) -> None:
    status, out, _ = explain(capsys, "--file", "policy.json", "--body", "body.json")
    assert status == 0
    assert "only from 10.0.0.0/8" in out
    assert "the global fields allow 'gpt-4o*': taken" in out
    assert "rule 0 'pii' (pii, mask, input): matched email" in out
    assert out.endswith("The request would be sent.\n")
    assert "a@example.org" not in out


def test_a_model_that_cannot_stand_in_the_provider_s_path(capsys: Capture) -> None:
    Path("policy.json").write_text(json.dumps({"default_provider": "azure-deployments"}))
    out = explain(capsys, "--file", "policy.json", "--model", "a/b")[1]
    assert "cannot stand in a path of provider azure-deployments" in out
    assert out.endswith("The answer would be 400 invalid_request.\n")
    out = explain(capsys, "--file", "policy.json", "--model", "my-gpt")[1]
    assert out.endswith("The request would be sent.\n")


def test_a_token_by_name(capsys: Capture) -> None:
    main(["token", "create", "--policy", "@policy.json", "--name", "bob", "--json"])
    digits = json.loads(capsys.readouterr().out)["hash"]
    told = as_json(capsys, "--name", "bob", "--model", "gpt-4o")
    assert told["would_be"] == "sent"
    assert told["steps"][0]["because"][0] == f"{digits[:16]} bob"
    assert as_json(capsys, "--hash", digits[:8], "--model", "gpt-4o") == told


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--model", "o3"), "model_not_allowed"),
        (("--model", "gpt-4o", "--path", "/v1/batches"), "endpoint_not_allowed"),
        (("--model", "gpt-4o", "--path", "/v1/messages/count_tokens"), "invalid_request"),
        (("--body", "policy.json"), "invalid_request"),
    ],
    ids=["model", "path", "dialect", "body"],
)
def test_what_would_be_refused(capsys: Capture, words: tuple[str, ...], code: str) -> None:
    told = as_json(capsys, "--file", "policy.json", *words)
    assert (told["would_be"], told["code"]) == ("refused", code)
    assert told["steps"][-1]["passed"] is False


def test_a_token_that_is_not_valid_yet(capsys: Capture) -> None:
    late = json.dumps({**POLICY, "not_before": "2999-01-01T00:00:00Z"})
    main(["token", "create", "--policy", late, "--name", "late", "--quiet"])
    capsys.readouterr()
    told = as_json(capsys, "--name", "late", "--model", "gpt-4o")
    assert told["code"] == "token_not_yet_valid"


def test_a_path_that_the_policy_opens_needs_no_model(capsys: Capture) -> None:
    told = as_json(capsys, "--file", "policy.json", "--path", "/v1/files")
    assert told["would_be"] == "sent"


def typed(monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> None:
    """Something to read on stdin."""
    data = io.BytesIO(json.dumps(document).encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))


def test_a_policy_comes_from_stdin(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, POLICY)
    status, out, _ = explain(capsys, "--file", "-", "--body", "body.json")
    assert status == 0
    assert "the policy is that of stdin" in out
    assert "matched email" in out


def test_a_body_comes_from_stdin(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, BODY)
    status, out, _ = explain(capsys, "--file", "policy.json", "--body", "-")
    assert status == 0
    assert "matched email" in out


def test_help_says_what_each_exit_status_means(capsys: Capture) -> None:
    status, out, _ = explain(capsys, "--help")
    assert status == 0
    told = out[out.index("Exit status of `explain`") :]
    assert ": 0 if it told" in told
    assert re.findall(r"; ([0-9]) if ", " ".join(told.split())) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--file", "policy.json"), 2),
        (("--file", "nothing.json", "--model", "m"), 3),
        (("--file", "policy.json", "--body", "nothing.json"), 3),
        (("--name", "nobody", "--model", "m"), 3),
        (("--file", "body.json", "--model", "m"), 5),
        (("--model", "m"), 2),
        (("--file", "-", "--body", "-"), 2),
        (("--file", ".", "--model", "m"), 1),
    ],
    ids=[
        "no-model",
        "no-file",
        "no-body",
        "no-token",
        "no-policy",
        "nothing",
        "stdin-twice",
        "a-folder",
    ],
)
def test_bad_input_has_its_exit_status(
    capsys: Capture, words: tuple[str, ...], status: int
) -> None:
    got, out, err = explain(capsys, *words)
    assert (got, out) == (status, "")
    assert err
