"""The command line, in this process: what it prints, where, and its exit status."""

from __future__ import annotations

import io
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import shell_variables
from tokenomics import __version__
from tokenomics.cli import main
from tokenomics.store.database import Database, Place
from tokenomics.tokens import Secret

POLICY = '{"base_key_env": "OPENAI_API_KEY", "max_tokens": 1000}'
TOKEN = re.compile(r"tkn_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Shell:
    """Runs command lines in an empty folder with an empty home."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """(exit status, stdout, stderr)."""
        status = main(list(words))
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    def json(self, *words: str) -> Any:
        """What a command that must succeed says with --json."""
        status, out, err = self.run(*words, "--json")
        assert status == 0, err
        return json.loads(out)

    def fails(self, status: int, *words: str) -> str:
        """What a command that must fail says, all of it on stderr."""
        got, out, err = self.run(*words)
        assert (got, out) == (status, ""), err
        assert err.startswith("tokenomics: ")
        return err

    def create(self, *words: str) -> dict[str, Any]:
        row: dict[str, Any] = self.json("token", "create", "--policy", POLICY, *words)
        return row


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    for name in ("TOKENOMICS_HASH_KEY", "TOKENOMICS_ENCRYPTION_KEY", "TOKENOMICS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def test_version(shell: Shell) -> None:
    assert shell.run("--version") == (0, f"tokenomics {__version__}\n", "")
    assert shell.run("version")[1].startswith(f"tokenomics {__version__} (Python 3.")
    assert shell.json("version")["version"] == __version__


def test_help_says_how_to_begin(shell: Shell) -> None:
    status, out, _ = shell.run("--help")
    assert (status, "tokenomics demo" in out) == (0, True)
    assert shell.run("token", "create", "--help")[0] == 0
    assert shell.run()[0] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tokne"], "tokne"),
        (["token"], "ACTION"),
        (["token", "creat"], "creat"),
        (["token", "create"], "--policy"),
        (["token", "get"], "--hash"),
        (["token", "get", "--hash", "abcdef", "--name", "a"], "not allowed"),
        (["token", "update", "--hash", "abcdef"], "--policy or --expires"),
        (["token", "list", "--unknown"], "--unknown"),
        (["token", "create", "--policy", POLICY, "--expires", "soon"], "--expires"),
        (["token", "create", "--policy", POLICY, "--expires", "2001-01-01T00:00:00Z"], "--expires"),
        (["token", "create", "--policy", POLICY, "--count", "0"], "--count"),
        (["token", "create", "--policy", POLICY, "--count", "2", "--name", "a"], "--name"),
        (["remote"], "--api-key"),
        (["remote", "--api-key", "k", "--addr", "9090"], "--addr"),
        (["remote", "--api-key", "k", "--addr", ":0"], "--addr"),
        (["serve", "--http-port", "x"], "--http-port"),
        (["init"], "--token"),
        (["init", "--token", "t", "--proxy-url", "ftp://x"], "--proxy-url"),
    ],
)
def test_a_wrong_command_line_is_2(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.fails(2, *words)


def test_create_shows_a_token_once(shell: Shell, tmp_path: Path) -> None:
    status, out, err = shell.run("token", "create", "--policy", POLICY, "--expires", "1d")
    assert status == 0
    assert err == ""
    token = TOKEN.search(out)
    assert token is not None
    assert "only be shown once" in out
    assert "Expires:" in out
    assert token[0] not in shell.run("token", "list")[1]
    state = tmp_path / "home" / ".tokenomics"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in state.iterdir() if p.is_file()} == {0o600}
    assert not any(token[0].encode() in p.read_bytes() for p in state.rglob("*") if p.is_file())


def test_create_in_json_is_one_object_a_line(shell: Shell) -> None:
    status, out, _ = shell.run("token", "create", "--policy", POLICY, "--count", "3", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (status, len(rows)) == (0, 3)
    assert all(TOKEN.fullmatch(row["token"]) for row in rows)
    assert set(rows[0]) == {"token", "hash", "expires_at", "name"}
    assert len({row["hash"] for row in rows}) == 3


def test_a_policy_comes_from_a_file_or_stdin(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.json").write_text(POLICY)
    first = shell.json("token", "create", "--policy", "@policy.json")
    monkeypatch.setattr("sys.stdin", io.StringIO(POLICY))
    second = shell.json("token", "create", "--policy", "-")
    for row in (first, second):
        assert shell.json("token", "get", "--hash", row["hash"])["policy"] == json.loads(POLICY)
    shell.fails(3, "token", "create", "--policy", "@missing.json")


def test_list_get_update_delete(shell: Shell) -> None:
    assert shell.run("token", "list")[:2] == (0, "No tokens found.\n")
    assert shell.json("token", "list") == []
    first = shell.create("--name", "ann", "--expires", "1y")
    second = shell.create()
    assert [row["name"] for row in shell.json("token", "list")] == ["ann", None]
    prefix = first["hash"][:6]
    assert shell.json("token", "get", "--hash", prefix) == shell.json(
        "token", "get", "--name", "ann"
    )
    _, out, _ = shell.run("token", "get", "--name", "ann")
    assert first["hash"] in out
    assert '"max_tokens": 1000' in out

    changed = shell.json("token", "update", "--hash", prefix, "--policy", '{"max_tokens": 5}')
    assert changed["hash"] == first["hash"]
    assert len(changed["changes"]) == 1
    shell.json("token", "update", "--hash", prefix, "--expires", "clear")
    got = shell.json("token", "get", "--hash", prefix)
    assert got["policy"] == {"base_key_env": "OPENAI_API_KEY", "max_tokens": 5}
    assert got["expires_at"] is None

    shell.json("token", "update", "--name", "ann", "--policy", '{"max_tokens": null}')
    assert "max_tokens" not in shell.json("token", "get", "--name", "ann")["policy"]
    whole = '{"base_key_env": "GROQ_API_KEY"}'
    shell.json("token", "update", "--name", "ann", "--policy", whole, "--replace")
    assert shell.json("token", "get", "--name", "ann")["policy"] == json.loads(whole)
    same = shell.run("token", "update", "--name", "ann", "--policy", whole)
    assert same[:2] == (0, "Nothing changed.\n")

    assert shell.json("token", "delete", "--hash", prefix) == {
        "hash": first["hash"],
        "deleted": True,
    }
    assert [row["hash"] for row in shell.json("token", "list")] == [second["hash"]]


def test_update_shows_what_changed(shell: Shell) -> None:
    row = shell.create()
    status, out, _ = shell.run(
        "token", "update", "--hash", row["hash"][:8], "--policy", '{"max_tokens": 2, "model": "m"}'
    )
    assert (status, out.splitlines()[0]) == (0, "Token updated.")
    assert re.search(r"max_tokens.*1000.*2", out)
    assert re.search(r"\+.*model.*m", out)


@pytest.mark.parametrize("action", ["get", "delete", "update"])
def test_what_does_not_exist_is_3(shell: Shell, action: str) -> None:
    more = ["--expires", "1d"] if action == "update" else []
    assert "abcdef" in shell.fails(3, "token", action, "--hash", "abcdef", *more)
    assert "ann" in shell.fails(3, "token", action, "--name", "ann", *more)


def test_an_ambiguous_prefix_is_4_and_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    """Two hashes that begin alike, as they never will by themselves."""
    path = tmp_path / "home" / ".tokenomics" / "tokenomics.db"
    path.parent.mkdir()
    with Database(Place(path, Secret()), print).writing() as writer:
        for digit in "12":
            writer.put("abcdef" + digit * 58, POLICY, 1.0, None, "")
    assert "abcdef1111" in shell.fails(4, "token", "delete", "--hash", "abcdef")
    assert len(shell.json("token", "list")) == 2
    assert shell.json("token", "delete", "--hash", "abcdef1")["deleted"] is True


@pytest.mark.parametrize("prefix", ["abc", "xyzxyz", "", "a" * 65])
def test_what_is_no_prefix_is_2(shell: Shell, prefix: str) -> None:
    shell.create()
    assert "6 to 64 lower-case hex digits" in shell.fails(2, "token", "delete", "--hash", prefix)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("{", "not JSON"),
        ("[]", "object"),
        ('{"max_token": 5}', "max_tokens"),
        ('{"max_tokens": "5"}', "max_tokens"),
        ('{"rules": [{"type": "regex", "pattern": "("}]}', "rules[0].pattern"),
        ('{"providers": {"openai": [{"modle": "x"}]}}', "providers.openai[0].modle"),
        (
            '{"rate_limit": {"rules": [{"requests": 5, "window": "x"}]}}',
            "rate_limit.rules[0].window",
        ),
    ],
)
def test_an_invalid_policy_is_5_and_names_the_place(shell: Shell, policy: str, said: str) -> None:
    assert said in shell.fails(5, "token", "create", "--policy", policy)
    row = shell.create()
    if policy not in ("{", "[]"):
        update = ("token", "update", "--hash", row["hash"][:8], "--policy", policy)
        assert said in shell.fails(5, *update)
    assert shell.json("token", "get", "--hash", row["hash"])["policy"] == json.loads(POLICY)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_globals_stand_before_or_after_the_command(
    shell: Shell, tmp_path: Path, place: int
) -> None:
    words = ["token", "list"]
    words[place:place] = ["--dir", str(tmp_path / "state"), "--json", "--db", "own.db"]
    status, out, _ = shell.run(*words)
    assert (status, json.loads(out)) == (0, [])
    create = ["token", "create", "--policy", POLICY, "--quiet"]
    create[place:place] = ["--dir", str(tmp_path / "state"), "--db", "own.db", "--json"]
    shell.run(*create)
    assert (tmp_path / "own.db").exists()
    assert (tmp_path / "state" / "hash.key").exists()
    assert not (tmp_path / "home" / ".tokenomics").exists()


def test_db_verify(shell: Shell) -> None:
    shell.fails(3, "db", "verify")
    shell.create()
    assert shell.json("db", "verify")["tokens"] == 1


NASTY = "tkn_'\"$(touch pwned)`x` \\ ;&| é"


def test_init_quotes_for_the_shell(shell: Shell, tmp_path: Path) -> None:
    words = ("init", "--token", NASTY, "--no-tls", "--host", "proxy.internal")
    status, out, err = shell.run(*words)
    assert (status, err) == (0, "")
    assert shell_variables(out) == {
        "OPENAI_API_KEY": NASTY,
        "OPENAI_BASE_URL": "http://proxy.internal:8080/v1",
    }
    assert not (tmp_path / "pwned").exists()


def test_init_in_json(shell: Shell) -> None:
    wanted = {"OPENAI_API_KEY": NASTY, "OPENAI_BASE_URL": "http://localhost:81/v1"}
    words = ("init", "--token", NASTY, "--no-tls", "--port", "81")
    assert shell.json(*words) == wanted
    assert json.loads(shell.run(*words, "--output", "json")[1]) == wanted


def test_init_keeps_the_other_lines_of_a_dotenv(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# mine\nOTHER=1\nexport OPENAI_API_KEY=old\n")
    words = ("init", "--token", "tkn_$x", "--no-tls", "--output", "dotenv")
    for _ in range(2):
        assert shell.run(*words)[:2] == (0, "")
    text = (tmp_path / ".env").read_text()
    assert text.startswith("# mine\nOTHER=1\n")
    assert "old" not in text
    assert text.count("OPENAI_API_KEY") == 1
    exported = f"set -a\n{text}"
    assert shell_variables(exported) == {
        "OTHER": "1",
        "OPENAI_API_KEY": "tkn_$x",
        "OPENAI_BASE_URL": "http://localhost:8080/v1",
    }
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_init_for_other_providers(shell: Shell) -> None:
    words = ("init", "--token", "t", "--proxy-url", "http://p:1/", "--provider")
    assert shell.json(*words, "anthropic") == {
        "ANTHROPIC_API_KEY": "t",
        "ANTHROPIC_AUTH_TOKEN": "t",
        "ANTHROPIC_BASE_URL": "http://p:1",
    }
    everything = shell.json(*words, "all")
    assert everything["GROQ_API_KEY"] == everything["OPENAI_API_KEY"] == "t"
    assert "nobody" in shell.fails(3, *words, "nobody")


def test_init_without_a_proxy_says_so(shell: Shell) -> None:
    words = ("init", "--token", "tkn_secret", "--host", "127.0.0.1", "--port", "1", "--insecure")
    said = shell.fails(1, *words)
    assert "127.0.0.1:1" in said
    assert "tkn_secret" not in said
