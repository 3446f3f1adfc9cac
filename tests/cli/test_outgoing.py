"""Connections out as the config and the environment say, judged before a node starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tokenomics.cli.outgoing import check, make_patience, make_pool_limits, make_proxies
from tokenomics.config.settings import Config, Events, Remote, Seconds, Upstream, Webhook
from tokenomics.errors import Invalid
from tokenomics.net.client import Patience
from tokenomics.net.pool import PoolLimits
from tokenomics.net.tls import ensure_certificate, utc_now


def test_the_defaults_of_the_settings_are_those_of_the_parts() -> None:
    assert make_patience(Upstream()) == Patience()
    assert make_pool_limits(Upstream()) == PoolLimits()


def test_each_setting_arrives() -> None:
    settings = Upstream(Seconds(1), Seconds(2), Seconds(3), Seconds(4), 5)
    assert make_patience(settings) == Patience(connect=1, handshake=2, write=3)
    assert make_pool_limits(settings) == PoolLimits(idle=4, max_open=5)


def test_a_proxy_that_cannot_be_is_named_by_its_variable() -> None:
    with pytest.raises(Invalid, match=r"^https_proxy: the proxy's URL") as caught:
        make_proxies({"https_proxy": "socks5://user:hunter2@x"})
    assert "hunter2" not in str(caught.value)


def test_every_fault_is_told_with_its_setting(tmp_path: Path) -> None:
    cert_file, _ = ensure_certificate(tmp_path / "one", (), utc_now())
    _, other_key = ensure_certificate(tmp_path / "two", (), utc_now())
    config = replace(
        Config(),
        providers={
            "a": {"ca_file": "no-ca"},
            "b": {"cert_file": str(cert_file), "key_file": str(other_key)},
        },
        remote=Remote(ca_file="no-remote-ca"),
        events=Events((Webhook("http://x", ca_file=""), Webhook("http://x", ca_file="no-hook-ca"))),
    )
    with pytest.raises(Invalid) as caught:
        check(config, {"HTTP_PROXY": "http://"})
    places = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [
        "HTTP_PROXY",
        "providers.a.ca_file",
        "events.webhooks[1].ca_file",
        "remote.ca_file",
        "providers.b.cert_file",
    ]


def test_files_that_are_good_pass(tmp_path: Path) -> None:
    cert_file, key_file = ensure_certificate(tmp_path, (), utc_now())
    row = {
        "ca_file": str(tmp_path / "ca.crt"),
        "cert_file": str(cert_file),
        "key_file": str(key_file),
    }
    check(replace(Config(), providers={"a": row}), {"HTTPS_PROXY": "http://proxy:3128"})
