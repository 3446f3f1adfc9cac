"""Bad input and bad surroundings: each is said where a person will see it, and loses nothing."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
import trio

from tests.support.http import until
from tests.support.processes import PROGRAM, Person, chat, free_port, shell_variables
from tests.support.team import REMOTE_KEY, Team
from tests.support.upstream import (
    DONE,
    Step,
    breaks_off,
    chunk,
    hangs,
    provider,
    refuses_to_speak,
    streams,
)
from tokenomics.net.server import bind

POLICY = '{"base_key_env": "OPENAI_API_KEY"}'


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person.at(tmp_path / "person")


async def fails(person: Person, status: int, *words: str, **env: str) -> str:
    """What a command says that must fail, in a line or two on stderr and nothing on stdout."""
    done = await person.run(*words, **env)
    assert (done.status, done.out) == (status, ""), done.err
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    return done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sever:\n  http_port: 1\n", ["config.yaml:1", "sever", "server"]),
        ("server:\n  http_prot: 1\n", ["config.yaml:2", "server.http_prot", "http_port"]),
        ("server:\n  http_port: many\n", ["config.yaml:2", "server.http_port"]),
        ("server: [\n", ["config.yaml:"]),
        ("remote:\n  api_key: ${NOT_SET}\n", ["config.yaml:2", "NOT_SET"]),
        ("- a list\n", ["config.yaml"]),
    ],
)
@pytest.mark.parametrize("command", ["serve", "token list"])
async def test_a_config_that_is_wrong_names_the_place(
    person: Person, command: str, text: str, said: list[str]
) -> None:
    (person.folder / "config.yaml").write_text(text)
    error = await fails(person, 5, *command.split())
    assert [word for word in said if word not in error] == []


async def test_a_config_that_is_missing(person: Person) -> None:
    assert "own.yaml" in await fails(person, 3, "--config", "own.yaml", "serve")


async def test_a_policy_that_is_malformed_names_the_path(person: Person) -> None:
    (person.folder / "policy.json").write_text('{"rules": [{"type": "pii", "detect": ["snn"]}]}')
    error = await fails(person, 5, "token", "create", "--policy", "@policy.json")
    assert "rules[0].detect" in error
    assert "ssn" in error


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("serve", "--host", "127.0.0.1", "--https-port", "0", "--http-port"), "--http-port"),
        (("serve", "--host", "127.0.0.1", "--http-port", "0", "--https-port"), "--https-port"),
        (("remote", "--api-key", "k", "--addr"), "--addr"),
    ],
)
async def test_a_busy_port_names_the_option(
    person: Person, words: tuple[str, ...], option: str
) -> None:
    with bind("127.0.0.1", 0) as sock:
        port = str(sock.getsockname()[1])
        last = port if option != "--addr" else f"127.0.0.1:{port}"
        error = await fails(person, 1, *words, last)
    assert port in error
    assert "another program listens there" in error
    assert option in error


async def test_a_second_proxy_on_one_database_is_refused(person: Person) -> None:
    ports = free_port(), free_port()
    words = ("serve", "--host", "127.0.0.1", "--https-port", "0", "--http-port")
    async with person.running(*words, str(ports[0]), port=ports[0]):
        error = await fails(person, 6, *words, str(ports[1]))
    assert "--db" in error


async def test_a_hash_key_that_cannot_be_kept(person: Person) -> None:
    words = ("--dir", "/proc/tokenomics", "--db", "own.db", "token", "create", "--policy", POLICY)
    error = await fails(person, 1, *words)
    assert "hash key" in error
    assert "TOKENOMICS_HASH_KEY" in error
    assert not (person.folder / "own.db").exists()
    await person.do(*words, TOKENOMICS_HASH_KEY="from the environment")


@pytest.mark.parametrize("key", ["", "another"])
async def test_another_encryption_key_leaves_the_database_untouched(
    person: Person, key: str
) -> None:
    create = ("token", "create", "--policy", POLICY)
    await person.do(*create, TOKENOMICS_ENCRYPTION_KEY="the right one")
    path = person.folder / "home" / ".tokenomics" / "tokenomics.db"
    before = path.read_bytes()
    for words in (("token", "list"), create):
        error = await fails(person, 5, *words, TOKENOMICS_ENCRYPTION_KEY=key)
        assert "TOKENOMICS_ENCRYPTION_KEY" in error
    assert path.read_bytes() == before
    assert b"OPENAI_API_KEY" not in before


async def test_a_centre_that_is_away_at_start_is_said_and_waited_for(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    node = team.add_proxy()
    team.copy_central_config()
    token, _ = await team.create("developer")
    async with node.running("/health") as serving:
        await until(lambda: "sync with" in serving.err, "the complaint")
        assert "refused" in serving.err
        assert (await node.ask(token)).code == "invalid_token"
        async with team.centre_running():
            await until(lambda: "works again" in serving.err, "the sync")
            assert (await node.ask(token)).status == 200


@pytest.mark.parametrize(
    ("change", "here", "there"),
    [
        ({"TOKENOMICS_REMOTE_KEY": "wrong"}, "remote.api_key", ""),
        ({"TOKENOMICS_HASH_KEY": "wrong"}, "TOKENOMICS_HASH_KEY", "TOKENOMICS_HASH_KEY"),
    ],
)
async def test_a_proxy_with_a_wrong_key_says_which(
    tmp_path: Path, change: dict[str, str], here: str, there: str
) -> None:
    team = Team(tmp_path, "builtin:echo")
    node = team.add_proxy()
    team.copy_central_config()
    token, _ = await team.create("developer")
    async with team.centre_running() as remote, node.running("/health", **change) as serving:
        await until(lambda: here in serving.err, here)
        await until(lambda: there in remote.err, there)
        assert (await node.ask(token)).status == 401
        said = serving.err + serving.out + remote.err + remote.out
    assert REMOTE_KEY not in said
    assert "the-hash-key" not in said


HALF = b'{"choices":['


@pytest.mark.parametrize(
    ("step", "stream", "status", "code"),
    [
        (None, False, 502, "upstream_unreachable"),
        (hangs, False, 504, "upstream_timeout"),
        (refuses_to_speak, False, 502, "upstream_invalid"),
        (
            breaks_off(HALF, head=[(b"content-type", b"application/json")]),
            False,
            502,
            "upstream_invalid",
        ),
        (breaks_off(chunk("Hel")), True, 200, "upstream_invalid"),
        (streams(chunk("Hel")), True, 200, "upstream_invalid"),
        (streams(chunk("Hel"), DONE), True, 200, ""),
    ],
    ids=["refuses", "hangs", "closes", "breaks", "breaks a stream", "no [DONE]", "all is well"],
)
async def test_curl_sees_what_became_of_the_provider(
    person: Person, step: Step | None, stream: bool, status: int, code: str
) -> None:
    port = free_port()
    async with provider(*([step] if step else [])) as upstream:
        url = upstream.url if step else f"http://127.0.0.1:{free_port()}"
        policy = {"base_key_env": "OPENAI_API_KEY", "timeout": 0.3, "upstream_url": url}
        text = await person.do("token", "create", "--json", "--policy", json.dumps(policy))
        words = ("serve", "--host", "127.0.0.1", "--https-port", "0", "--http-port", str(port))
        async with person.running(*words, port=port, OPENAI_API_KEY="sk-secret") as serving:
            done = await person.bash(
                'curl -sS --max-time 10 -w "\\n%{http_code}" "$URL/v1/chat/completions"'
                ' -H "Authorization: Bearer $TOKEN" -d "$BODY"',
                URL=f"http://127.0.0.1:{port}",
                TOKEN=json.loads(text)["token"],
                BODY=json.dumps(chat(stream=stream)),
            )
            await until(lambda: serving.out.endswith("\n"), "the request log")
    body, _, got = done.out.rpartition("\n")
    assert int(got) == status
    assert (f'"code":"{code}"' in body) is bool(code)
    # A stream that is not whole ends in an error for curl as well: 18, a partial file.
    assert done.status == (18 if stream and code else 0), done.err
    assert json.loads(serving.out).get("code", "") == code
    assert "sk-secret" not in done.out + serving.out + serving.err


async def test_init_does_not_trust_by_itself_nor_a_ca_that_changed(tmp_path: Path) -> None:
    team = Team(tmp_path, "builtin:echo")
    node = team.add_proxy()
    team.copy_central_config()
    member = Person.at(tmp_path / "member")
    words = ("init", "--token", "tkn_x", "--port", str(node.https))
    async with node.running("/health"):
        assert "--insecure" in await fails(member, 1, *words)
        wrong = await fails(member, 5, *words, "--ca-sha256", "00" * 32)
        assert "fingerprint" in wrong
        first = await member.run(*words, "--insecure")
        assert shell_variables(first.out)["SSL_CERT_FILE"].startswith(str(member.folder))
        print_ = first.err.split("fingerprint ")[1].strip()
        assert (await member.run(*words)).status == 0, "it is trusted now"
        other = Person.at(tmp_path / "other")
        assert (await other.run(*words, "--ca-sha256", print_.lower())).status == 0
    for path in (node.person.folder / "certs").iterdir():
        path.unlink()
    async with node.running("/health"):
        changed = await fails(member, 6, *words, "--insecure")
        assert "has changed" in changed
        assert print_ in changed


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n"])
async def test_init_at_a_port_that_is_something_else(person: Person, answer: bytes) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(answer or b"\0")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, talk, 0)
        port = listeners[0].socket.getsockname()[1]
        words = ("init", "--token", "t", "--host", "127.0.0.1", "--port", str(port), "--insecure")
        assert str(port) in await fails(person, 1, *words)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("words", [("init", "--token", "t", "--host", "127.0.0.1", "--port")])
async def test_ctrl_c_is_130_and_says_nothing(person: Person, words: tuple[str, ...]) -> None:
    with bind("127.0.0.1", 0) as sock:
        process = person.start(*words, str(sock.getsockname()[1]), "--insecure")
        sock.settimeout(10)
        connection, _ = sock.accept()
        with connection:
            assert await process.terminate(signal.SIGINT) == 130
    assert process.err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["serve", "remote"])
async def test_a_signal_ends_a_server_cleanly(
    person: Person, command: str, number: signal.Signals
) -> None:
    port = free_port()
    words = {
        "serve": ("serve", "--host", "127.0.0.1", "--https-port", "0", "--http-port", str(port)),
        "remote": ("remote", "--api-key", "k", "--addr", f"127.0.0.1:{port}"),
    }[command]
    async with person.running(*words, port=port) as process:
        assert await process.terminate(number) == 0
    assert "Traceback" not in process.err
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


async def test_a_closed_stdout_is_no_error(person: Person) -> None:
    await person.do("token", "create", "--policy", POLICY, "--count", "100")
    done = await person.bash(f"{' '.join(PROGRAM)} token list | head -1 || test $? = 141")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Hash:")
