"""From a document, the environment and flags to a config, or to all faults at once."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.config.build import Built, Source, build, expand
from tokenomics.config.settings import Certificate, Config, Redis, Row, Webhook, rows
from tokenomics.errors import Invalid
from tokenomics.tokens import Secret

HOME = {"HOME": "/home/u"}
WORD = "open" + "sesame"  # stands for a password


def built(
    document: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    lines: Mapping[str, int] | None = None,
) -> Built:
    return build(Source("c.yaml", document or {}, lines or {}, HOME | dict(env or {}), flags or {}))


def faults(document: Mapping[str, Any], **lines: int) -> list[str]:
    with pytest.raises(Invalid) as caught:
        built(document, lines=lines)
    return str(caught.value).splitlines()


def at(key: str, value: object) -> dict[str, Any]:
    """The document that sets one dotted key."""
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def get(config: Config, key: str) -> Any:
    return operator.attrgetter(key)(config)


# Reading values


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("server.http_port", 9000, 9000),
        ("server.http_port", "9000", 9000),
        ("server.http_port", 0, 0),
        ("server.host", "127.0.0.1", "127.0.0.1"),
        ("server.max_head", "128kb", 128 << 10),
        ("server.max_head", 1000, 1000),
        ("server.drain", 5, 5.0),
        ("server.drain", 0.5, 0.5),
        ("server.drain", "90", 90.0),
        ("server.drain", "2m", 120.0),
        ("server.tls.enabled", False, False),
        ("server.tls.enabled", "no", False),
        ("server.tls.enabled", "On", True),
        ("server.tls.enabled", 0, False),
        ("server.tls.hosts", ["a", "b"], ("a", "b")),
        ("server.tls.hosts", "a, b", ("a", "b")),
        ("remote.api_key", "k", Secret("k")),
        ("server.http_port", None, 8080),
        ("cli_maps", {"codex": "openai"}, {"codex": "openai"}),
        ("providers", {"p": {"models": ["m"]}}, {"p": {"models": ["m"]}}),
        ("storage.db_path", "data/t.db", Path("data/t.db")),
        ("session.redis.timeout", "250ms", 0.25),
        ("session.redis.on_error", "closed", "closed"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_a_setting_is_read_by_its_type(key: str, raw: object, value: object) -> None:
    assert get(built(at(key, raw)).config, key) == value


@pytest.mark.parametrize(
    ("key", "raw", "says"),
    [
        ("server.http_port", "eighty", "'eighty' is not a whole number"),
        ("server.http_port", True, "True is not a whole number"),
        ("server.http_port", -1, "-1 is not a whole number"),
        ("server.http_port", 80.5, "80.5 is not a whole number"),
        ("remote.api_key", 12345, "must be text: put it in quotes"),
        ("server.http_port", 65536, "65536 is not a port"),
        ("server.https_port", 70000, "70000 is not a port"),
        ("server.host", True, "must be text"),
        ("server.host", ["a"], "must be text"),
        ("server.max_head", "big", "is not a size"),
        ("server.drain", "soon", "is not a duration"),
        ("server.drain", -1, "is not a duration"),
        ("server.drain", True, "is not a duration"),
        ("server.tls.enabled", "maybe", "'maybe' is not true or false"),
        ("server.tls.hosts", [1], "must be a list of text"),
        ("server.tls.hosts", {"a": 1}, "must be a list of text"),
        ("logging.level", "loud", "is not one of: debug, info, warn, error"),
        ("logging.format", "xml", "is not one of: json, text"),
        ("upstream.connect_timeout", 0, "must be more than 0"),
        ("upstream.max_connections", "0", "must be more than 0"),
        ("session.backend", "disk", "is not one of: memory, redis"),
        ("session.redis.on_error", "shut", "is not one of: local, closed, open"),
        ("session.redis.timeout", 0, "must be more than 0"),
        ("session.redis.timeout", "soon", "is not a duration"),
        ("session.redis.tls", "maybe", "'maybe' is not true or false"),
        ("session.redis.db", -1, "-1 is not a whole number"),
        ("session.redis.password", 1234, "must be text: put it in quotes"),
        ("session.redis.addr", "cache:port", "'cache:port' is not a host and port"),
        ("session.redis.addr", "unix:redis.sock", "write unix:/path"),
        ("server.tls.certificates", "a.crt", "must be a list of certificates"),
        ("cli_maps", "codex", "must be a mapping"),
        ("events.webhooks", {"url": "http://x"}, "must be a list of webhooks"),
        ("server", 8080, "server must be a mapping"),
        ("server.tls", [1], "server.tls must be a mapping"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_a_wrong_value_is_one_fault_that_names_its_key(key: str, raw: object, says: str) -> None:
    (fault,) = faults(at(key, raw))
    assert fault.startswith(f"c.yaml: {key}")
    assert says in fault


def test_certificates_are_read_as_pairs() -> None:
    pair = {"cert_file": "a.crt", "key_file": "a.key"}
    config = built(at("server.tls.certificates", [pair])).config
    assert config.server.tls.certificates == (Certificate("a.crt", "a.key"),)


def test_half_a_certificate_is_refused_with_its_place() -> None:
    document = at("server.tls.certificates", [{"cert_file": "a.crt"}])
    (fault,) = faults(document, **{"server.tls.certificates[0]": 9})
    assert fault == "c.yaml:9: server.tls.certificates[0] needs cert_file and key_file"


def test_a_fault_names_the_line() -> None:
    (fault,) = faults(at("server.drain", "soon"), **{"server.drain": 7})
    assert fault.startswith("c.yaml:7: server.drain: 'soon' is not a duration")


def test_all_faults_are_told_at_once() -> None:
    assert len(faults({"a": 1, "server": {"http_port": "x", "b": 2}, "remote": 3})) == 4


def test_an_empty_group_is_the_defaults() -> None:
    assert built({"server": None}) == built()


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (at("server.htp_port", 1), "c.yaml:3: server.htp_port is not a known key; did you mean"),
        ({"sever": {}}, "sever is not a known key; did you mean server?"),
        ({"http_port": 1}, "http_port is not a known key; did you mean server.http_port?"),
        ({"qqqqqq": 1}, "qqqqqq is not a known key"),
        ({1: 2}, "1 is not a known key"),
        (at("server.tls.cert", "x"), "did you mean server.tls.cert_"),
        (
            {"events": {"webhooks": [{"url": "http://x", "signingkey": "k"}]}},
            "events.webhooks[0].signingkey is not a known key; did you mean events.",
        ),
    ],
    ids=lambda v: str(v)[:24],
)
def test_an_unknown_key_is_refused_with_the_nearest(document: dict[str, Any], says: str) -> None:
    (fault,) = faults(document, **{"server.htp_port": 3})
    assert says in fault


# The table


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.key)
def test_every_setting_has_a_help_line_and_its_default_is_valid(row: Row) -> None:
    assert row.help.endswith((".", ")."))
    env = {} if row.type.startswith(("Mapping", "Path", "tuple")) else {row.variable: text_of(row)}
    assert built(env=env) == built()


def text_of(row: Row) -> str:
    return row.default.reveal() if isinstance(row.default, Secret) else str(row.default)


def test_variables_are_of_one_setting_each() -> None:
    names = [row.variable for row in rows()]
    assert len(set(names)) == len(names)


# By group, in the order of contract 3.
ORIGINAL = {
    "": ("dir", "cli_maps", "default_provider", "providers"),
    "server.": ("http_port", "https_port", "upstream_url"),
    "server.tls.": ("enabled", "auto_gen", "cert_dir", "cert_file", "key_file"),
    "admin.": ("enabled", "auth.username", "auth.password"),
    "storage.": ("db_path",),
    "session.": ("backend", "redis.addr", "redis.password", "redis.db"),
    "security.": ("hash_key_env", "encryption_key_env"),
    "logging.": (
        "level",
        "format",
        "request_body",
        "response_body",
        "hide_token_hash",
        "disable_request",
    ),
    "logging.file.": ("enabled", "level", "path"),
    "events.": ("webhooks",),
    "remote.": ("url", "api_key", "sync", "insecure"),
    "remote.webhook.": (
        "enabled",
        "path",
        "secret",
        "signing_key",
        "auto_register",
        "callback_url",
        "insecure",
    ),
    "ledger.": ("enabled", "memory"),
}


@pytest.mark.parametrize("prefix", ORIGINAL)
def test_the_originals_keys_are_accepted(prefix: str) -> None:
    known = {row.key for row in rows()}
    assert [name for name in ORIGINAL[prefix] if prefix + name not in known] == []


def test_a_webhook_is_read_with_all_the_originals_keys() -> None:
    hook = {
        "url": "https://x/hook",
        "secret": "s",
        "signing_key": "k",
        "events": ["token.*"],
        "timeout": "5s",
        "insecure": True,
    }
    config = built({"events": {"webhooks": [hook]}}).config
    assert config.events.webhooks == (
        Webhook("https://x/hook", Secret("s"), Secret("k"), ("token.*",), 5.0, True),  # type: ignore[arg-type]
    )


NO_URLS = [
    "ftp://x",
    "hooks.internal",
    "http://x:99999",
    "http://x/a b",
    "http://x/ü",
    "http://a..b",
]


@pytest.mark.parametrize("url", ["", *NO_URLS])
def test_a_webhook_needs_a_url_that_no_delivery_can_fail_on(url: str) -> None:
    key = "events.webhooks[1].url"
    hooks = [{"url": "https://x/hook"}, {"url": url}]
    (fault,) = faults({"events": {"webhooks": hooks}}, **{key: 9})
    assert fault.startswith(f"c.yaml:9: {key}: {url!r}")


@pytest.mark.parametrize("url", NO_URLS)
def test_the_centres_url_is_judged_before_anything_starts(url: str) -> None:
    (fault,) = faults(at("remote.url", url), **{"remote.url": 4})
    assert fault.startswith(f"c.yaml:4: remote.url: {url!r}")
    assert built(at("remote.url", "https://centre:8443/base")).config.remote.url


def test_a_setting_that_does_nothing_yet_is_warned_about() -> None:
    (warning,) = built(at("admin.enabled", True)).warnings
    assert warning == "admin.enabled is set but has no effect: there is no admin page yet"
    assert built(at("admin.enabled", False)).warnings == ()


def test_a_config_does_not_change_and_does_not_show_secrets() -> None:
    config = built({"remote": {"api_key": "hunter2"}, "events": {"webhooks": []}}).config
    assert "hunter2" not in repr(config)
    with pytest.raises(FrozenInstanceError):
        config.server.http_port = 1  # type: ignore[misc]  # that is the test


# session.redis


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, Redis()),
        ({"addr": ""}, Redis()),
        ({"addr": "cache"}, Redis("cache:6379")),
        ({"addr": "[::1]:7000", "db": 2}, Redis("[::1]:7000", db=2)),
        ({"addr": "unix:///run/redis.sock"}, Redis("unix:/run/redis.sock")),
        ({"addr": "redis://cache:7"}, Redis("cache:7")),
        ({"addr": "rediss://cache"}, Redis("cache:6379", tls=True)),
        ({"addr": "redis://cache", "tls": True}, Redis("cache:6379", tls=True)),
        (
            {"addr": f"redis://al:{WORD}%40@cache/3"},
            Redis("cache:6379", "al", Secret(f"{WORD}@"), 3),
        ),
        (
            {"addr": "redis://al:none@cache/3", "username": "b", "password": WORD, "db": 0},
            Redis("cache:6379", "b", Secret(WORD), 0),
        ),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_url_of_redis_says_what_is_not_said_beside_it(
    given: dict[str, Any], found: Redis
) -> None:
    assert built(at("session.redis", given)).config.session.redis == found


def test_redis_is_reached_by_what_the_environment_says() -> None:
    env = {
        "TOKENOMICS_SESSION_REDIS_ADDR": f"rediss://:{WORD}@cache/1",
        "TOKENOMICS_SESSION_REDIS_DB": "4",
    }
    redis = built(at("session.redis.addr", "elsewhere"), env=env).config.session.redis
    assert redis == Redis("cache:6379", password=Secret(WORD), db=4, tls=True)


@pytest.mark.parametrize("addr", [f"redis://u:{WORD}/@cache", f"u:{WORD}@cache:1"])
def test_a_fault_in_redis_address_does_not_show_its_password(addr: str) -> None:
    (fault,) = faults(at("session.redis.addr", addr), **{"session.redis.addr": 4})
    assert fault.startswith("c.yaml:4: session.redis.addr: ")
    assert WORD not in fault
    good = built(at("session.redis.addr", f"redis://u:{WORD}@cache")).config
    assert WORD not in repr(good)


# Where values come from


@pytest.mark.parametrize(
    ("flag", "env", "file", "port"),
    [
        (1, "2", 3, 1),
        (None, "2", 3, 2),
        (None, None, 3, 3),
        (None, None, None, 8080),
        (0, "2", 3, 0),
    ],
    ids=["flag", "environment", "file", "default", "a flag of zero"],
)
def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    flag: int | None, env: str | None, file: int | None, port: int
) -> None:
    found = built(
        at("server.http_port", file) if file is not None else {},
        env={"TOKENOMICS_SERVER_HTTP_PORT": env} if env is not None else {},
        flags={"server.http_port": flag},
    )
    assert found.config.server.http_port == port


@pytest.mark.parametrize(
    ("env", "flags", "origin"),
    [
        ({"TOKENOMICS_SERVER_DRAIN": "soon"}, {}, "$TOKENOMICS_SERVER_DRAIN: "),
        ({}, {"server.drain": "soon"}, "command line: "),
    ],
    ids=["environment", "flag"],
)
def test_a_fault_names_where_its_value_comes_from(
    env: dict[str, str], flags: dict[str, str], origin: str
) -> None:
    with pytest.raises(Invalid) as caught:
        built(env=env, flags=flags)
    assert str(caught.value).startswith(origin)


def test_variables_are_filled_in_at_any_depth() -> None:
    document = {
        "remote": {"api_key": "${KEY}"},
        "events": {"webhooks": [{"url": "https://${HOST}/a", "events": ["${KIND}.*"]}]},
        "providers": {"p": {"headers": {"x": "${KEY}"}}},
    }
    config = built(document, env={"KEY": "k", "HOST": "h", "KIND": "token"}).config
    assert config.remote.api_key == Secret("k")
    assert config.events.webhooks[0].url == "https://h/a"
    assert config.events.webhooks[0].events == ("token.*",)
    assert config.providers == {"p": {"headers": {"x": "k"}}}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${A}", "1"),
        ("x${A}${B}y", "x1${A}y"),
        ("${NONE:-d}", "d"),
        ("${A:-d}", "1"),
        ("${NONE:-}", ""),
        ("${EMPTY:-d}", ""),
        ("$A", "$A"),
        ("${A", "${A"),
        ("${1}", "${1}"),
        ("pa$$word", "pa$$word"),
    ],
)
def test_only_a_name_in_braces_is_a_variable(text: str, filled: str) -> None:
    assert expand(text, {"A": "1", "B": "${A}", "EMPTY": ""}) == filled


def test_an_unset_variable_is_a_fault_and_no_empty_secret() -> None:
    (fault,) = faults({"remote": {"api_key": "${NOWHERE}"}}, **{"remote.api_key": 4})
    assert fault == "c.yaml:4: remote.api_key: ${NOWHERE} is not set in the environment or .env"


# Paths


@pytest.mark.parametrize(
    ("chosen", "env", "root"),
    [
        (None, {}, "/home/u/.tokenomics"),
        ("", {}, "/home/u/.tokenomics"),
        (".", {}, "."),
        ("state", {}, "state"),
        ("~", {}, "/home/u"),
        ("~/t", {}, "/home/u/t"),
        ("~other", {}, "~other"),
        (None, {"STATE_DIRECTORY": "/var/lib/t:/var/lib/u"}, "/var/lib/t"),
        ("/srv", {"STATE_DIRECTORY": "/var/lib/t"}, "/srv"),
        ("~/.tokenomics", {"STATE_DIRECTORY": "/var/lib/t"}, "/home/u/.tokenomics"),
        (None, {"HOME": "/"}, "/.tokenomics"),
    ],
    ids=str,
)
def test_what_is_not_placed_lies_in_the_state_directory(
    chosen: str | None, env: dict[str, str], root: str
) -> None:
    config = built({} if chosen is None else {"dir": chosen}, env=env).config
    assert config.dir == Path(root)
    assert config.storage.db_path == Path(root, "tokenomics.db")
    assert config.server.tls.cert_dir == Path(root, "certs")


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("storage.db_path", "./t.db", "t.db"),
        ("storage.db_path", "~/t.db", "/home/u/t.db"),
        ("storage.db_path", "", "/state/tokenomics.db"),
        ("server.tls.cert_dir", ".", "."),
        ("server.tls.cert_dir", "/etc/t", "/etc/t"),
    ],
)
def test_a_placed_path_stays_where_it_was_put(key: str, value: str, path: str) -> None:
    assert get(built({"dir": "/state", **at(key, value)}).config, key) == Path(path)


# Anything else

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["server", "tls", "events", "webhooks", "url", "dir", "remote", "x"])
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([r.key.split(".")[0] for r in rows()]), JUNK))
def test_no_document_breaks_it(document: dict[str, Any]) -> None:
    with contextlib.suppress(Invalid):
        built(document)


def test_only_a_file_is_expanded() -> None:
    """A secret in the environment may hold `${`: it is not ours to read."""
    built = build(Source("c.yaml", {}, {}, {"TOKENOMICS_REMOTE_API_KEY": "a${b}"}, {}))
    assert built.config.remote.api_key.reveal() == "a${b}"
