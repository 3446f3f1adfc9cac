"""`provider list`, `test` and `models`: against scripted providers, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import yaml

from tests.support.upstream import Upstream, answers, provider
from tokenomics.cli import main, probe
from tokenomics.config.catalogue import CATALOGUE
from tokenomics.net.connection import Reply, Request

KEY = "the-key-of-the-tests-" + "x" * 20
LISTED = {"object": "list", "data": [{"id": "b"}, {"id": "a"}, {"id": "a"}]}
REFUSED = {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}}


class Done(NamedTuple):
    """A command that ended."""

    status: int
    out: str
    err: str


class Shell:
    """Runs commands in an empty folder, beside a provider that runs in the test's own loop."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def run(self, *words: str) -> Done:
        status = await trio.to_thread.run_sync(main, list(words))
        done = Done(status, *self._capsys.readouterr())
        assert "Traceback" not in done.err
        assert KEY not in done.out + done.err
        return done

    async def json(self, *words: str) -> Any:
        return json.loads((await self.run(*words, "--json")).out)

    async def verdict(self, *words: str) -> dict[str, Any]:
        """The only one there is."""
        (row,) = await self.json("provider", "test", *words)
        assert isinstance(row, dict)
        return row

    def configure(self, **rows: dict[str, Any]) -> None:
        Path("providers.yaml").write_text(yaml.safe_dump({"providers": rows}, sort_keys=False))


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    for row in CATALOGUE.values():
        monkeypatch.delenv(row.get("api_key_env", "NONE"), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OWN_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def row_for(upstream: Upstream, **more: Any) -> dict[str, Any]:
    return {"upstream_url": upstream.url, "api_key_env": "OWN_KEY", **more}


def asked(upstream: Upstream) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in upstream.seen]


LIST, CHAT = "GET /v1/models", "POST /v1/chat/completions"


class Case(NamedTuple):
    """A provider's answers, and the verdict. `models` are those of its row."""

    script: Sequence[tuple[Any, int]]
    ok: bool
    said: str
    asked: Sequence[str]
    models: Sequence[str] = ()


CASES = {
    "it takes the key, and only the key": Case(
        [(LISTED, 200), (REFUSED, 401)], True, "2 models", [LIST, LIST]
    ),
    "a bare list": Case([([{"id": "x"}], 200), ({}, 403)], True, "1 models", [LIST, LIST]),
    "it refuses the key": Case(
        [(REFUSED, 401)],
        False,
        "401, the key is refused, Incorrect API key provided: ***.",
        [LIST],
    ),
    "no credit": Case([({}, 402)], False, "402, the account has no credit", [LIST]),
    "a limit": Case([({"error": "slow"}, 429)], False, "429, the key is at a limit, slow", [LIST]),
    "it is ill": Case([(b"<html>", 503)], False, "503", [LIST]),
    "everybody may see the list": Case(
        [(LISTED, 200)],
        True,
        "2 models, which everybody may see: the key was not tried",
        [LIST, LIST],
    ),
    "everybody may see the list, and a chat works": Case(
        [(LISTED, 200), (LISTED, 200), ({}, 200)], True, "m answers", [LIST, LIST, CHAT], ["m"]
    ),
    "everybody may see the list, and a chat does not": Case(
        [(LISTED, 200), (LISTED, 200), (REFUSED, 401)],
        False,
        "m: 401, the key is refused, Incorrect API key provided: ***.",
        [LIST, LIST, CHAT],
        ["m"],
    ),
    "no list, a chat": Case(
        [({}, 404), ({}, 200)], True, "m answers", [LIST, CHAT], ["m", "another"]
    ),
    "no list, and no such model": Case(
        [({}, 404), ([{"error": {"message": "no m"}}], 404)],
        False,
        "m: 404, nothing is there, no m",
        [LIST, CHAT],
        ["m"],
    ),
    "no list, and no model to try": Case(
        [({}, 404)],
        False,
        "no list of models: 404, nothing is there; name a model under providers.own.models"
        " to try it",
        [LIST],
    ),
    "a list for other keys": Case([({}, 403), ({}, 200)], True, "m answers", [LIST, CHAT], ["m"]),
    "no JSON": Case([(b"<html>", 200), ({}, 200)], True, "m answers", [LIST, CHAT], ["m"]),
    "deep JSON": Case([(b"[" * 200_000, 200), ({}, 200)], True, "m answers", [LIST, CHAT], ["m"]),
    "JSON of another kind": Case(
        [({"data": 5}, 200), ({}, 200)], True, "m answers", [LIST, CHAT], ["m"]
    ),
    "words for the terminal": Case(
        [({"error": {"message": "a\x1b[2Jb\n" + "c" * 300}}, 401)],
        False,
        "401, the key is refused, a [2Jb " + "c" * 165 + "...",
        [LIST],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_verdict(shell: Shell, case: Case) -> None:
    async with provider(*(answers(body, status) for body, status in case.script)) as upstream:
        shell.configure(own=row_for(upstream, models=list(case.models)))
        row = await shell.verdict()
    assert (row["ok"], row["said"]) == (case.ok, case.said)
    assert (row["provider"], row["variable"]) == ("own", "OWN_KEY")
    assert asked(upstream) == case.asked


@pytest.mark.parametrize("status", [200, 401])
async def test_the_exit_status_and_a_line_for_people(shell: Shell, status: int) -> None:
    script = (answers(LISTED, status), answers({}, 401))
    async with provider(*script) as upstream:
        shell.configure(own=row_for(upstream))
        done = await shell.run("provider", "test", "own")
    assert done.status == (status != 200)
    assert done.out.split()[:3] == ["ok" if status == 200 else "FAIL", "own", "OWN_KEY"]
    assert " ms " in done.out


async def test_the_key_goes_where_the_provider_wants_it(shell: Shell) -> None:
    async with provider(answers(LISTED), answers({}, 401)) as upstream:
        shell.configure(
            own=row_for(
                upstream,
                auth_scheme="header",
                auth_header="Api-Key",
                query={"api-version": "1"},
                headers={"X-Team": "a"},
                api_path="/v4",
            )
        )
        assert (await shell.verdict())["ok"]
    with_key, without = upstream.seen
    assert (with_key.path, with_key.query) == ("/v4/models", "api-version=1")
    assert with_key.get("api-key") == [KEY]
    assert with_key.get("x-team") == ["a"]
    assert with_key.get("authorization") == []
    assert without.get("api-key") == []


async def test_a_chat_is_of_one_token_and_in_the_provider_s_dialect(shell: Shell) -> None:
    async with provider(answers({}, 404), answers({})) as upstream:
        shell.configure(own=row_for(upstream, dialect="anthropic", models=["claude"]))
        assert (await shell.verdict())["ok"]
    listing, chat = upstream.seen
    assert (listing.path, listing.query) == ("/v1/models", "limit=1000")
    assert chat.path == "/v1/messages"
    assert chat.json()["max_tokens"] == 1
    assert chat.json()["model"] == "claude"


async def test_where_the_model_is_in_the_path_there_is_only_a_chat(shell: Shell) -> None:
    row = {**CATALOGUE["azure-deployments"], "models": ["my gpt"]}
    async with provider() as upstream:
        shell.configure(own={**row, **row_for(upstream)})
        assert (await shell.verdict())["ok"]
        shell.configure(own={**row, **row_for(upstream), "models": ["a/b"]})
        refused = await shell.verdict()
    assert asked(upstream) == ["POST /openai/deployments/my%20gpt/chat/completions"]
    assert (refused["ok"], refused["milliseconds"]) == (False, None)
    assert "cannot stand in a path" in refused["said"]


async def test_a_provider_without_keys_is_asked_once(shell: Shell) -> None:
    async with provider(answers(LISTED)) as upstream:
        shell.configure(own={"upstream_url": upstream.url, "auth_scheme": "none"})
        row = await shell.verdict("own")
    assert (row["ok"], row["variable"], row["said"]) == (True, "", "2 models")
    assert asked(upstream) == [LIST]


async def test_all_are_tested_whose_key_is_set(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)  # for a provider that has no URL yet
    async with provider(answers(LISTED)) as good, provider(answers({}, 401)) as bad:
        shell.configure(
            good=row_for(good), bad=row_for(bad), other=row_for(bad, api_key_env="NOT_SET")
        )
        rows = await shell.json("provider", "test")
        done = await shell.run("provider", "test")
    assert [(row["provider"], row["ok"]) for row in rows] == [("good", True), ("bad", False)]
    assert done.status == 1


async def test_a_provider_that_is_named_needs_its_key_and_its_url(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await shell.verdict("azure")
    assert (row["ok"], row["said"]) == (
        False,
        "set AZURE_OPENAI_API_KEY (or AZURE_OPENAI_API_KEY_FILE)",
    )
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    row = await shell.verdict("azure")
    assert row["said"] == "set providers.azure.upstream_url in providers.yaml"


async def test_a_silent_provider_costs_a_bounded_time(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_request: Request, _reply: Reply) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(probe, "SECONDS", 0.05)
    async with provider(silent) as upstream:
        shell.configure(own=row_for(upstream))
        row = await shell.verdict()
        done = await shell.run("provider", "models", "own")
    assert (row["ok"], row["said"]) == (False, "no answer within 0.05 s")
    assert (done.status, "no answer within" in done.err) == (1, True)


async def test_a_provider_that_is_not_there(shell: Shell) -> None:
    async with provider() as upstream:
        row = row_for(upstream)
    shell.configure(own=row)
    verdict = await shell.verdict()
    assert not verdict["ok"]
    assert "Connection refused" in verdict["said"]


async def test_a_key_that_cannot_be_sent_is_not_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_KEY", KEY + "\n")
    async with provider() as upstream:
        shell.configure(own=row_for(upstream))
        row = await shell.verdict()
    assert "authorization" in row["said"]
    assert upstream.seen == []


async def test_echo_answers(shell: Shell) -> None:
    row = await shell.verdict("echo")
    assert (row["ok"], row["call"], row["said"]) == (True, "chat", "echo-1 answers")


async def test_nothing_to_test_is_said(shell: Shell) -> None:
    done = await shell.run("provider", "test")
    assert (done.status, done.out) == (1, "")
    assert "no provider's key is set here" in done.err


async def test_an_unknown_provider(shell: Shell) -> None:
    for action in ("test", "models"):
        done = await shell.run("provider", action, "opneai")
        assert (done.status, done.out) == (3, "")
        assert "known: openai, anthropic" in done.err


async def test_the_models_of_a_provider(shell: Shell) -> None:
    listed = {"data": [{"id": "b"}, {"id": "a"}, {"id": "\x1b[2J"}, {"id": 5}, "c", {}]}
    async with provider(answers(listed)) as upstream:
        shell.configure(own=row_for(upstream))
        done = await shell.run("provider", "models", "own")
        names = await shell.json("provider", "models", "own")
    assert (done.status, done.out) == (0, "a\nb\n")
    assert names == ["a", "b"]
    assert upstream.last.get("authorization") == [f"Bearer {KEY}"]


async def test_a_provider_without_a_list_says_why(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(answers(REFUSED, 401), answers({}, 401)) as upstream:
        shell.configure(own=row_for(upstream))
        refused = await shell.run("provider", "models", "own")
        monkeypatch.delenv("OWN_KEY")
        without = await shell.run("provider", "models", "own")
    assert (refused.status, refused.out) == (1, "")
    assert "gives no list of models: 401, the key is refused, Incorrect API key" in refused.err
    assert "OWN_KEY is not set" in without.err


async def test_the_list_for_people(shell: Shell) -> None:
    shell.configure(
        own={
            "upstream_url": "http://user:hunter2@10.0.0.1:8000/x",
            "api_key_env": "OWN_KEY",
            "dialect": "anthropic",
            "models": ["a", "b", "c", "d", "e"],
        }
    )
    done = await shell.run("provider", "list")
    assert done.status == 0
    assert "hunter2" not in done.out
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.out.splitlines()}
    assert lines.keys() == {"NAME", *CATALOGUE, "own"}
    assert lines["own"].split()[:4] == [
        "anthropic",
        "http://10.0.0.1:8000/x",
        "OWN_KEY",
        "(set)",
    ]
    assert lines["own"].endswith("a, b, c, and 2 more")
    assert "OPENAI_API_KEY (not set)" in lines["openai"]
    assert "(set upstream_url)" in lines["azure"]
    assert lines["ollama"].split()[2] == "none"


async def test_the_list_in_json(shell: Shell) -> None:
    rows = {row["name"]: row for row in await shell.json("provider", "list")}
    assert rows["anthropic"] == {
        "name": "anthropic",
        "dialect": "anthropic",
        "url": "https://api.anthropic.com",
        "chat_path": "/v1/messages",
        "auth_scheme": "header",
        "keys": [{"variable": "ANTHROPIC_API_KEY", "set": False}],
        "models": CATALOGUE["anthropic"]["models"],
    }
    assert rows["echo"]["keys"] == []


async def test_a_typo_in_a_dialect_is_refused_with_its_place(shell: Shell) -> None:
    shell.configure(own={"dialect": "opnai"})
    done = await shell.run("provider", "list")
    assert (done.status, done.out) == (5, "")
    assert "providers.own.dialect must be one of: openai, anthropic" in done.err
    assert "did you mean openai?" in done.err
