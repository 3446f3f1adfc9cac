"""`init --client`: what each known client is given, and that a proxy serves it as it asks."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import ask
from tests.support.node import HELLO, proxy
from tests.support.processes import shell_variables
from tokenomics.cli import main
from tokenomics.cli.clients import CLIENTS, Access, everything, file_text, variables_of
from tokenomics.cli.docs import page
from tokenomics.config.providers import ECHO_URL

Capture = pytest.CaptureFixture[str]
TOKEN = "tkn_of the 'tests' \"é\" {url}"
URL = "http://localhost:8080"
ACCESS = Access(TOKEN, URL)
each_client = pytest.mark.parametrize("name", CLIENTS)


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def run(capsys: Capture, *words: str) -> tuple[int, str, str]:
    status = main(["init", "--token", TOKEN, "--no-tls", *words])
    return status, *capsys.readouterr()


@each_client
def test_a_shell_gets_the_variables_of_the_client(capsys: Capture, name: str) -> None:
    status, out, err = run(capsys, "--client", name, "--output", "shell")
    assert (status, err) == (0, "")
    assert shell_variables(out) == variables_of(CLIENTS[name], ACCESS)


@each_client
def test_json_and_dotenv_have_the_same(capsys: Capture, tmp_path: Path, name: str) -> None:
    wanted = variables_of(CLIENTS[name], ACCESS)
    assert json.loads(run(capsys, "--client", name, "--output", "json")[1]) == wanted
    assert run(capsys, "--client", name, "--output", "dotenv")[0] == 0
    assert shell_variables("set -a\n" + (tmp_path / ".env").read_text()) == wanted


@each_client
def test_every_client_gets_the_token_and_the_proxy(name: str) -> None:
    client = CLIENTS[name]
    found = " ".join([*variables_of(client, ACCESS).values(), file_text(client, ACCESS)])
    assert TOKEN in found
    assert URL in found


def test_what_some_clients_are_given() -> None:
    assert variables_of(CLIENTS["openai"], ACCESS) == {
        "OPENAI_API_KEY": TOKEN,
        "OPENAI_BASE_URL": URL + "/v1",
    }
    assert variables_of(CLIENTS["claude-code"], ACCESS) == {
        "ANTHROPIC_AUTH_TOKEN": TOKEN,
        "ANTHROPIC_BASE_URL": URL,
    }
    assert variables_of(CLIENTS["aider"], ACCESS)["OPENAI_API_BASE"] == URL + "/v1"


def test_clients_agree_on_the_variables_they_share() -> None:
    merged = everything(ACCESS)
    for client in CLIENTS.values():
        assert variables_of(client, ACCESS).items() <= merged.items()


def test_codex_gets_its_file_on_stdout_and_the_rest_on_stderr(capsys: Capture) -> None:
    status, out, err = run(capsys, "--client", "codex")
    assert status == 0
    assert tomllib.loads(out) == {
        "model_provider": "tokenomics",
        "model_providers": {
            "tokenomics": {
                "name": "tokenomics",
                "base_url": URL + "/v1",
                "env_key": "OPENAI_API_KEY",
                "wire_api": "responses",
            }
        },
    }
    assert TOKEN not in out
    assert "belongs in ~/.codex/config.toml" in err
    needs = [line.partition("needs beside it: ")[2] for line in err.splitlines()[1:]]
    assert shell_variables("\n".join(needs)) == {"OPENAI_API_KEY": TOKEN}


def test_codex_s_arguments_say_what_its_file_says() -> None:
    words = CLIENTS["codex"].arguments(ACCESS)
    assert words[::2] == ["-c"] * (len(words) // 2)
    settings = tomllib.loads("\n".join(words[1::2]))
    assert settings == tomllib.loads(file_text(CLIENTS["codex"], ACCESS))


@pytest.mark.parametrize(
    "url", ['http://h/"]\\', "http://h/\x7f\n", "http://h/é", "http://h/\U0001f600"]
)
def test_a_url_stays_a_string_in_toml(url: str) -> None:
    read = tomllib.loads(file_text(CLIENTS["codex"], Access("t", url)))
    assert read["model_providers"]["tokenomics"]["base_url"] == url + "/v1"


def test_claude_code_s_settings_have_its_variables(capsys: Capture) -> None:
    status, out, err = run(capsys, "--client", "claude-code", "--output", "file")
    assert status == 0
    assert json.loads(out) == {"env": variables_of(CLIENTS["claude-code"], ACCESS)}
    assert err == "tokenomics: belongs in ~/.claude/settings.json\n"


def test_a_file_in_json(capsys: Capture) -> None:
    found = json.loads(run(capsys, "--client", "codex", "--json")[1])
    assert found.keys() == {"file", "variables"}
    assert tomllib.loads(found["file"]["text"])["model_provider"] == "tokenomics"
    assert found["variables"] == {"OPENAI_API_KEY": TOKEN}


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("--client", "cursor"), 3, "there is no such client; known: openai, anthropic, codex"),
        (("--client", "codex", "--provider", "openai"), 2, "not allowed with argument"),
        (("--output", "file"), 2, "--output file needs --client"),
        (("--client", "llm", "--output", "file"), 2, "llm reads variables"),
    ],
)
def test_what_cannot_be(capsys: Capture, words: tuple[str, ...], status: int, says: str) -> None:
    got, out, err = run(capsys, *words)
    assert (got, out) == (status, "")
    assert says in err


def test_the_cas_of_a_proxy_are_for_every_client() -> None:
    cas = {"NODE_EXTRA_CA_CERTS": "/cas/x.pem"}
    access = Access(TOKEN, "https://proxy:8443", cas)
    for client in CLIENTS.values():
        assert variables_of(client, access).items() >= cas.items()
    settings = json.loads(file_text(CLIENTS["claude-code"], access))
    assert settings["env"]["NODE_EXTRA_CA_CERTS"] == "/cas/x.pem"


@each_client
def test_the_page_has_every_client(name: str) -> None:
    assert re.search(rf"`{name}`", page("clients"))


# What a client appends to each base URL that it is given.
OPENAI_PATHS = [("/chat/completions", HELLO), ("/responses", {"model": "m", "input": "Hello"})]
ANTHROPIC = {**HELLO, "max_tokens": 5}
APPENDED: dict[str, list[tuple[str, Any]]] = {
    "OPENAI_BASE_URL": OPENAI_PATHS,
    "OPENAI_API_BASE": OPENAI_PATHS,
    "ANTHROPIC_BASE_URL": [("/v1/messages", ANTHROPIC), ("/messages", ANTHROPIC)],
    "ANTHROPIC_API_URL": [("/v1/messages", ANTHROPIC)],
}


async def test_what_clients_make_of_their_base_urls_is_served(tmp_path: Path) -> None:
    policy = {"default_provider": "echo"}
    async with proxy(tmp_path, ECHO_URL, policy, providers={}) as gateway:
        origin = f"http://127.0.0.1:{gateway.port}"
        found = everything(Access(gateway.token, origin))
        bases = {name: value for name, value in found.items() if value.startswith(origin)}
        assert bases.keys() == APPENDED.keys()
        for name, base in bases.items():
            for path, document in APPENDED[name]:
                target = base.removeprefix(origin) + path
                answer = await gateway.post(document, target)
                assert answer.status == 200, (name, target, answer.body)
        models = await ask(gateway.port, "GET", "/v1/models", [("x-api-key", gateway.token)])
    assert models.status == 200
