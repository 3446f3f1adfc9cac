"""`run`: a command behind a proxy of its own, with real processes and real signals."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import trio
import yaml

from tests.support.http import ask, until
from tests.support.processes import PROGRAM, Finished, Person, Process
from tests.support.upstream import provider
from tokenomics.cli.clients import Access
from tokenomics.cli.run import FAMILIES, _run_command, default_policy, dressed, private
from tokenomics.config.catalogue import CATALOGUE
from tokenomics.config.providers import build_providers
from tokenomics.config.settings import Config, Events, Redis, Remote, Session, Webhook
from tokenomics.policy.model import parse_policy

KEY = "the-real-key-" + "x" * 20
ECHO = ("run", "--provider", "echo")
# A client as small as can be: one chat in each dialect.
CHAT = """
import json, os, sys, urllib.error, urllib.request
def ask(base, path, token, **body):
    body = {"messages": [{"role": "user", "content": "Hello"}], **body}
    request = urllib.request.Request(os.environ[base] + path, json.dumps(body).encode())
    request.add_header("authorization", "Bearer " + os.environ[token])
    request.add_header("content-type", "application/json")
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as e:
        return e.status
model = sys.argv[1]
print(ask("OPENAI_BASE_URL", "/chat/completions", "OPENAI_API_KEY", model=model))
print(ask("ANTHROPIC_BASE_URL", "/v1/messages", "ANTHROPIC_AUTH_TOKEN", model=model, max_tokens=9))
"""


SDKS = """
import anthropic, openai
hello = [{"role": "user", "content": "Hello"}]
print(openai.OpenAI().chat.completions.create(model="m", messages=hello).choices[0].message.content)
print(openai.OpenAI().responses.create(model="m", input="Hello").output_text)
made = anthropic.Anthropic().messages.create(model="m", messages=hello, max_tokens=9)
print(made.content[0].text)
"""


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    if "SHIV_ROOT" not in os.environ:
        monkeypatch.setenv("SHIV_ROOT", str(tmp_path / "shiv"))
    (tmp_path / "tmp").mkdir()
    someone = Person.at(tmp_path / "work", TMPDIR=str(tmp_path / "tmp"))
    (someone.folder / "chat.py").write_text(CHAT)
    return someone


async def chat(person: Person, *options: str, model: str = "m", **env: str) -> Finished:
    return await person.run("run", *options, "--", sys.executable, "chat.py", model, **env)


async def shell(person: Person, script: str, **env: str) -> Finished:
    return await person.run(*ECHO, "--", "sh", "-c", script, **env)


def start(person: Person, *command: str, terminal: int | None = None) -> Process:
    """Start `run` in a session of its own, with a terminal if there is one to give."""

    def take_terminal() -> None:
        if terminal is not None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    out, err = person.folder / "run.out", person.folder / "run.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        popen = subprocess.Popen(
            [*PROGRAM, *ECHO, "--", *command],
            cwd=person.folder,
            env=person.env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
    return Process(popen, out, err)


async def test_a_command_speaks_to_its_proxy(person: Person) -> None:
    done = await chat(person, "--provider", "echo")
    assert (done.status, done.out, done.err) == (0, "200\n200\n", "")


async def test_the_sdks_need_nothing_else(person: Person) -> None:
    done = await person.run(*ECHO, "--", sys.executable, "-c", SDKS)
    assert (done.status, done.out) == (0, "You said: Hello\n" * 3)


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("true", 0)],
)
async def test_its_exit_status_is_returned(person: Person, script: str, status: int) -> None:
    done = await shell(person, script)
    assert (done.status, done.out, done.err) == (status, "", "")


async def test_a_command_that_is_not_there_or_cannot_be_run(person: Person) -> None:
    missing = await person.run(*ECHO, "--", "no-such-command")
    assert (missing.status, missing.out) == (127, "")
    assert missing.err == "tokenomics: no-such-command: there is no such command\n"
    denied = await person.run(*ECHO, "--", "./chat.py")
    assert (denied.status, denied.out) == (126, "")
    assert "cannot be run: Permission denied" in denied.err


async def test_its_streams_are_those_of_the_caller(person: Person) -> None:
    run = shlex.join([*PROGRAM, *ECHO])
    done = await person.bash(f"echo in | {run} -- sh -c 'cat; echo err >&2'")
    assert (done.status, done.out, done.err) == (0, "in\n", "err\n")


async def test_what_follows_the_dashes_is_the_command_s(person: Person) -> None:
    words = ("--json", "--version", "--quiet", "--help", "--", "--provider")
    done = await person.run(*ECHO, "--", "echo", *words)
    assert done.out == " ".join(words) + "\n"


async def test_nothing_is_left(person: Person, tmp_path: Path) -> None:
    before = sorted(person.folder.iterdir())
    done = await shell(person, "echo $OPENAI_BASE_URL; ls $TMPDIR")
    url, folder = done.out.split()
    assert folder.startswith("tokenomics-run-")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert sorted(person.folder.iterdir()) == before
    assert list((person.folder / "home").iterdir()) == []
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    with pytest.raises(OSError, match="connect"):
        await ask(port, "GET", "/health")


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
async def test_a_signal_goes_on_to_the_command(person: Person, number: str) -> None:
    script = f"trap 'echo got; exit 3' {number}; echo ready; while :; do sleep 0.02; done"
    process = start(person, "sh", "-c", script)
    await until(lambda: process.out, "the command")
    status = await process.terminate(signal.Signals[f"SIG{number}"])
    assert (status, process.out, process.err) == (3, "ready\ngot\n", "")


async def test_a_signal_that_ends_the_command_is_in_the_status(person: Person) -> None:
    process = start(person, "sh", "-c", "echo ready; exec sleep 60")
    await until(lambda: process.out, "the command")
    assert await process.terminate() == 128 + signal.SIGTERM


async def test_a_terminal_s_signal_comes_once(person: Person) -> None:
    """The terminal sends it to both. USR1 would come behind an INT that was passed on."""
    script = "trap 'echo int' INT; trap 'echo usr; exit 0' USR1; echo ready;"
    script += " while :; do sleep 0.02; done"
    ours, theirs = os.openpty()
    try:
        process = start(person, "bash", "-c", script, terminal=theirs)
        await until(lambda: process.out, "the command")
        os.write(ours, b"\x03")
        await until(lambda: "int" in process.out, "the signal of the terminal")
        assert await process.terminate(signal.SIGUSR1) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.out == "ready\nint\nusr\n"


async def test_a_command_ends_with_its_proxy(tmp_path: Path) -> None:
    """If the proxy fails, everything in its nursery is cancelled."""
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}; exec sleep 60"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run_command, ["sh", "-c", script], dict(os.environ))
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "a command")
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_the_real_key_is_the_proxy_s_alone(person: Person) -> None:
    async with provider() as upstream:
        rows = {"openai": {"upstream_url": upstream.url}}
        (person.folder / "providers.yaml").write_text(yaml.safe_dump({"providers": rows}))
        run = shlex.join([*PROGRAM, "run"])
        script = f"{run} -- sh -c 'env; {shlex.quote(sys.executable)} chat.py gpt-4o'"
        done = await person.bash(script, OPENAI_API_KEY=KEY)
    assert "\n200\n" in done.out
    assert KEY not in done.out
    assert upstream.seen[0].get("authorization") == [f"Bearer {KEY}"]


async def test_a_policy_is_the_token_s(person: Person) -> None:
    policy = {"default_provider": "echo", "models": ["allowed"]}
    (person.folder / "p.json").write_text(json.dumps(policy))
    for given in (json.dumps(policy), "@p.json"):
        assert (await chat(person, "--policy", given, model="allowed")).out == "200\n200\n"
        assert (await chat(person, "--policy", given, model="other")).out == "403\n403\n"


async def test_a_provider_that_is_named_goes_before_the_policy_s(person: Person) -> None:
    policy = json.dumps({"default_provider": "openai", "max_tokens": 1000})
    done = await chat(person, "--policy", policy, "--provider", "echo")
    assert done.out == "200\n200\n"


async def test_it_stays_away_from_the_team_s_centre_and_counters(person: Person) -> None:
    config = {
        "default_provider": "echo",
        "remote": {"url": "http://127.0.0.1:1", "api_key": "k"},
        "session": {"backend": "redis", "redis": {"addr": "127.0.0.1:1", "on_error": "closed"}},
        "server": {"http_port": 1, "https_port": 1, "workers": 4},
    }
    (person.folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = await chat(person)
    assert (done.status, done.out, done.err) == (0, "200\n200\n", "")


async def test_a_log_is_kept_where_it_is_asked_for(person: Person) -> None:
    await chat(person, "--provider", "echo", "--log", "run.log")
    lines = (person.folder / "run.log").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["status"] for row in rows if "status" in row] == [200, 200]
    denied = await chat(person, "--provider", "echo", "--log", "no/folder")
    assert (denied.status, denied.out) == (1, "")
    assert "--log no/folder" in denied.err


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ((), 1, "no provider has a key here"),
        (("--provider", "openai"), 1, "set OPENAI_API_KEY (or OPENAI_API_KEY_FILE)"),
        (("--provider", "nobody"), 3, "there is no such provider; known: openai"),
        (("--policy", "{"), 5, "policy is not JSON"),
        (("--policy", '{"default_provider": "echo", "modles": []}'), 5, "modles"),
        (("--policy", "@nowhere.json"), 3, "there is no such file"),
        (("--unknown",), 2, "--unknown"),
    ],
)
async def test_what_cannot_be(
    person: Person, words: tuple[str, ...], status: int, says: str
) -> None:
    done = await person.run("run", *words, "--", "echo", "started")
    assert (done.status, done.out) == (status, "")
    assert says in done.err


async def test_a_command_is_needed(person: Person) -> None:
    done = await person.run(*ECHO)
    assert (done.status, "CMD" in done.err) == (2, True)


ACCESS = Access("tkn_x", "http://127.0.0.1:5")


def test_keys_of_providers_that_are_used_give_way_and_others_stay() -> None:
    env = {"GROQ_API_KEY": KEY, "HF_TOKEN": KEY, "HOME": "/h"}
    _, out = dressed(["cmd"], env, ACCESS, [build_providers({})["groq"]])
    assert (out["GROQ_API_KEY"], out["GROQ_BASE_URL"]) == ("tkn_x", "http://127.0.0.1:5/v1")
    assert (out["HF_TOKEN"], out["HOME"]) == (KEY, "/h")
    assert out["OPENAI_API_KEY"] == out["ANTHROPIC_AUTH_TOKEN"] == "tkn_x"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}),
        ({"no_proxy": "a,b"}, {"NO_PROXY": "127.0.0.1", "no_proxy": "a,b,127.0.0.1"}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*", "no_proxy": "127.0.0.1"}),
    ],
)
def test_an_http_proxy_is_not_asked_for_this_machine(
    before: dict[str, str], after: dict[str, str]
) -> None:
    _, out = dressed(["cmd"], before, ACCESS, [])
    assert {name: value for name, value in out.items() if name.lower() == "no_proxy"} == after


def test_codex_gets_its_settings_behind_its_name() -> None:
    words, _ = dressed(["/usr/bin/codex", "exec", "hi"], {}, ACCESS, [])
    assert words[0] == "/usr/bin/codex"
    assert words[-2:] == ["exec", "hi"]
    assert 'model_providers.tokenomics.base_url="http://127.0.0.1:5/v1"' in words
    assert dressed(["sh", "codex"], {}, ACCESS, [])[0] == ["sh", "codex"]


def test_claude_code_gets_a_token_and_no_key() -> None:
    _, out = dressed(["claude"], {"ANTHROPIC_API_KEY": KEY}, ACCESS, [])
    assert "ANTHROPIC_API_KEY" not in out
    assert out["ANTHROPIC_AUTH_TOKEN"] == "tkn_x"


@pytest.mark.parametrize(
    ("usable", "policy"),
    [
        (["openai"], {"default_provider": "openai"}),
        (["groq", "vllm"], {"default_provider": "groq"}),
        (
            ["openai", "anthropic", "groq"],
            {
                "default_provider": "openai",
                "providers": {"anthropic": [{"models": ["claude-*"]}]},
            },
        ),
    ],
)
def test_without_a_policy_each_family_goes_to_its_maker(
    usable: list[str], policy: dict[str, object]
) -> None:
    assert default_policy(usable) == policy
    parse_policy(json.dumps(policy))


def test_families_are_of_providers_and_apart_from_each_other() -> None:
    assert FAMILIES.keys() <= CATALOGUE.keys()
    names = [name for family in FAMILIES.values() for name in family]
    assert len(names) == len(set(names))


def test_a_private_config_keeps_providers_and_nothing_of_the_team(tmp_path: Path) -> None:
    config = Config(
        dir=Path("/var/lib/x"),
        remote=Remote(url="http://centre"),
        events=Events((Webhook("http://hook"),)),
        session=Session("redis", Redis(addr="redis:6379")),
        providers={"own": {}},
    )
    found = private(config, tmp_path, 5)
    assert (found.remote, found.events, found.session) == (Remote(), Events(), Session())
    assert (found.server.host, found.server.http_port) == ("127.0.0.1", 5)
    assert found.dir == tmp_path == found.storage.db_path.parent
    assert found.providers == config.providers
