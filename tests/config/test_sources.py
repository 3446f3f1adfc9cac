"""Finding and reading config files, `.env` and provider keys: real files in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenomics.config import sources
from tokenomics.config.build import Built
from tokenomics.errors import Invalid, NotFound
from tokenomics.tokens import Secret


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not the working directory, which is `work` beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def put(path: str | Path, text: str | bytes) -> Path:
    """Write a file and the folders it needs."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def load(
    home: Path,
    *,
    config: str | None = None,
    flags: dict[str, object] | None = None,
    **env: str,
) -> tuple[Built, dict[str, str], Path | None]:
    return sources.load(config, flags or {}, {"HOME": str(home), **env})


# Which file


def test_the_nearest_config_is_read(home: Path) -> None:
    assert sources.find_config(None, str(home)) is None
    for place in (
        home / ".tokenomics/config.toml",
        home / ".tokenomics/config.yaml",
        Path("config.toml"),
        Path("config.yml"),
        Path("config.yaml"),
        Path(".tokenomics/config.toml"),
        Path(".tokenomics/config.yaml"),
    ):
        put(place, "")
        assert sources.find_config(None, str(home)) == place


def test_a_named_config_is_read_instead_of_the_nearest(home: Path) -> None:
    put("config.yaml", "server: {http_port: 1}")
    put("other.yaml", "server: {http_port: 2}")
    built, _, path = load(home, config="other.yaml")
    assert (built.config.server.http_port, path) == (2, Path("other.yaml"))


def test_a_named_config_that_is_missing_is_an_error(home: Path) -> None:
    put("config.yaml", "")
    with pytest.raises(NotFound, match=r"--config nowhere\.yaml"):
        load(home, config="nowhere.yaml")


def test_without_a_config_the_defaults_hold(home: Path) -> None:
    built, _, path = load(home)
    assert (built.config.server.http_port, path) == (8080, None)
    assert built.config.dir == home / ".tokenomics"


# Reading it


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "server:\n  http_port: 1\n  tls: {hosts: [a]}\n"),
        ("c.toml", "[server]\nhttp_port = 1\n[server.tls]\nhosts = ['a']\n"),
    ],
)
def test_yaml_and_toml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    document, _ = sources.read_document(put(tmp_path / name, text))
    assert document == {"server": {"http_port": 1, "tls": {"hosts": ["a"]}}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, text: str) -> None:
    assert sources.read_document(put(tmp_path / "c.yaml", text)) == ({}, {})


def test_every_key_of_yaml_has_its_line(tmp_path: Path) -> None:
    text = (
        "# head\nserver:\n  tls:\n    enabled: no\nevents:\n  webhooks:\n    - url: x\n    - {}\n"
    )
    _, lines = sources.read_document(put(tmp_path / "c.yaml", text))
    assert lines == {
        "server": 2,
        "server.tls": 3,
        "server.tls.enabled": 4,
        "events": 5,
        "events.webhooks": 6,
        "events.webhooks[0]": 7,
        "events.webhooks[0].url": 7,
        "events.webhooks[1]": 8,
    }


def test_a_fault_in_the_file_is_told_with_file_and_line(home: Path) -> None:
    put("config.yaml", "server:\n  htp_port: 1\n")
    with pytest.raises(Invalid, match=r"^config\.yaml:2: server\.htp_port is not a known key"):
        load(home)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.yaml", f"remote:\n  api_key: '{SECRET}\n", r"c\.yaml:3: found unexpected end"),
        ("c.yaml", f"remote:\n  api_key: {SECRET}: x\n", r"c\.yaml:2: mapping values"),
        ("c.yaml", f"a: !!python/object:os.system {SECRET}", r"c\.yaml:1: could not determine"),
        ("c.yaml", "a: 1\n---\nb: 2\n", r"c\.yaml:2: but found another document"),
        ("c.yaml", "- a\n", "must be a mapping of settings"),
        ("c.yaml", "text", "must be a mapping of settings"),
        ("c.yaml", "a: 2020-13-45", r"c\.yaml: month must be in 1\.\.12"),
        ("c.yaml", "a: &a [*a]", "nested too deeply"),
        ("c.yaml", "a: \x07", "special characters are not allowed"),
        ("c.yaml", b"a: \xff", "cannot be read"),
        ("c.toml", f"api_key = '{SECRET}\n", r"c\.toml: "),
        ("c.toml", "a = 1\na = 2\n", r"c\.toml: Cannot overwrite a value"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_what_cannot_be_parsed_is_refused_without_quoting_it(
    tmp_path: Path, name: str, text: str | bytes, says: str
) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        sources.read_document(put(tmp_path / name, text))
    assert SECRET not in str(caught.value)


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        sources.read_document(tmp_path)


# .env


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("  export  A = 1  ", "1"),
        ("A=", ""),
        ("A=a b", "a b"),
        ("A=a=b", "a=b"),
        ("A=a # comment", "a"),
        ("A=a\t# comment", "a"),
        ("A= # comment", ""),
        ("A=a#b", "a#b"),
        ("A=#b", "#b"),
        ("A='a # b'", "a # b"),
        ('A="a # b" # comment', "a # b"),
        ('A="it\'s"', "it's"),
        ("A='unended", "unended"),
        ("A=$HOME", "$HOME"),
        ("# c\n\nA=1\r\n", "1"),
        ("A=1\nA=2", "2"),
        ("A=ключ", "ключ"),
    ],
    ids=repr,
)
def test_a_line_of_dotenv_is_an_assignment(tmp_path: Path, line: str, value: str) -> None:
    assert sources.read_dotenv(put(tmp_path / ".env", line)) == {"A": value}


@pytest.mark.parametrize("line", ["A", "export", "1A=x", "A B=x", "=x", f"{SECRET} x", "A-B=x"])
def test_any_other_line_is_refused_by_its_number_alone(tmp_path: Path, line: str) -> None:
    with pytest.raises(Invalid, match=r"\.env:2: not NAME=value") as caught:
        sources.read_dotenv(put(tmp_path / ".env", f"OK=1\n{line}\n"))
    assert SECRET not in str(caught.value)


def test_a_dotenv_that_is_no_text_is_an_error_and_a_missing_one_is_not(tmp_path: Path) -> None:
    assert sources.read_dotenv(tmp_path / ".env") == {}
    with pytest.raises(Invalid, match="cannot be read"):
        sources.read_dotenv(put(tmp_path / ".env", b"A=\xff"))


def test_the_environment_beats_the_nearer_dotenv_beats_the_farther(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    put(near / ".env", "A=near\nB=near")
    put(far / ".env", "A=far\nB=far\nC=far")
    env = sources.environment([near, far], {"A": "real"})
    assert env == {"A": "real", "B": "near", "C": "far"}


def test_an_empty_real_variable_is_not_overridden(tmp_path: Path) -> None:
    put(tmp_path / ".env", "A=1")
    assert sources.environment([tmp_path], {"A": ""}) == {"A": ""}


@pytest.mark.parametrize(
    ("flags", "env", "config", "state"),
    [
        ({}, {}, "", "{home}/.tokenomics"),
        ({"dir": "flag"}, {"TOKENOMICS_DIR": "env"}, "dir: file", "flag"),
        ({}, {"TOKENOMICS_DIR": "env"}, "dir: file", "env"),
        ({}, {"STATE_DIRECTORY": "systemd"}, "dir: file", "file"),
        ({}, {"WHERE": "state"}, "dir: ~/${{WHERE}}", "{home}/state"),
        ({}, {"STATE_DIRECTORY": "systemd:more"}, "", "systemd"),
    ],
    ids=["default", "flag", "environment", "file", "file with a variable", "systemd"],
)
def test_the_dotenv_of_the_state_directory_is_read(
    home: Path, flags: dict[str, object], env: dict[str, str], config: str, state: str
) -> None:
    put("config.yaml", config.format())
    put(state.format(home=home) + "/.env", "TOKENOMICS_REMOTE_API_KEY=kept")
    built, found, _ = load(home, flags=flags, **env)
    assert built.config.dir == Path(state.format(home=home))
    assert built.config.remote.api_key == Secret("kept")
    assert found["TOKENOMICS_REMOTE_API_KEY"] == "kept"


def test_a_state_directory_with_an_unset_variable_is_a_fault(home: Path) -> None:
    put("config.yaml", "dir: ${NOWHERE}")
    with pytest.raises(Invalid, match=r"config\.yaml:1: dir: \$\{NOWHERE\} is not set"):
        load(home)


def test_a_config_takes_variables_from_dotenv(home: Path) -> None:
    put("config.yaml", "remote: {api_key: '${KEY}'}")
    put(".env", "KEY=from dotenv")
    assert load(home)[0].config.remote.api_key == Secret("from dotenv")
    assert load(home, KEY="real")[0].config.remote.api_key == Secret("real")


# providers.yaml


@pytest.mark.parametrize(
    "text",
    ["providers:\n  a: {api_key_env: FILE, models: [m]}\n", "a: {api_key_env: FILE, models: [m]}"],
    ids=["under providers", "at the top"],
)
def test_providers_yaml_lies_under_the_configs_own_providers(home: Path, text: str) -> None:
    put("sub/providers.yaml", text)
    put("sub/config.yaml", "providers: {a: {api_key_env: OWN}, b: {}}")
    built, _, _ = load(home, config="sub/config.yaml")
    assert built.config.providers == {"a": {"api_key_env": "OWN", "models": ["m"]}, "b": {}}


def test_providers_yaml_is_read_beside_the_config_and_nowhere_else(home: Path) -> None:
    put("providers.yaml", "here: {}")
    put("sub/config.yaml", "")
    assert load(home)[0].config.providers == {"here": {}}
    assert load(home, config="sub/config.yaml")[0].config.providers == {}


@pytest.mark.parametrize("text", ["providers: [a]", "- a"])
def test_a_providers_yaml_that_is_no_mapping_is_refused(home: Path, text: str) -> None:
    put("providers.yaml", text)
    with pytest.raises(Invalid, match=r"providers\.yaml: .*must be a mapping"):
        load(home)


# Provider keys


def test_a_key_is_the_variable_else_its_file_else_the_credential(tmp_path: Path) -> None:
    credential = put(tmp_path / "credentials/KEY", "from systemd\n")
    file = put(tmp_path / "key", " from file\n")
    env = {"CREDENTIALS_DIRECTORY": str(credential.parent)}
    assert sources.provider_key("KEY", env) == "from systemd"
    env["KEY_FILE"] = str(file)
    assert sources.provider_key("KEY", env) == "from file"
    env["KEY"] = "from variable"
    assert sources.provider_key("KEY", env) == "from variable"
    env["KEY"] = ""
    assert sources.provider_key("KEY", env) == "from file"


@pytest.mark.parametrize(
    "file", [None, b"", b"\n", b"\xff\xfe"], ids=["missing", "empty", "blank", "no text"]
)
def test_a_file_without_a_key_gives_none(tmp_path: Path, file: bytes | None) -> None:
    path = tmp_path / "key"
    if file is not None:
        put(path, file)
    assert sources.provider_key("KEY", {"KEY_FILE": str(path)}) is None


def test_an_empty_file_gives_way_to_the_credential(tmp_path: Path) -> None:
    put(tmp_path / "credentials/KEY", "from systemd")
    env = {
        "KEY_FILE": str(put(tmp_path / "key", "")),
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
    }
    assert sources.provider_key("KEY", env) == "from systemd"


@pytest.mark.parametrize("name", ["../secret", "{tmp}/secret", "", ".", "\0"])
def test_a_name_never_leads_out_of_the_credentials(tmp_path: Path, name: str) -> None:
    put(tmp_path / "secret", "not yours")
    (tmp_path / "credentials").mkdir()
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert sources.provider_key(name.format(tmp=tmp_path), env) is None


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("server:\n  http_port: 1\n  http_port: 2\n")
    with pytest.raises(Invalid, match=r":3: server.http_port stands twice"):
        sources.read_document(path)
