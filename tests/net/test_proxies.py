"""Which proxy serves an origin, and that nobody reads its password."""

from __future__ import annotations

import base64
import traceback

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenomics.net.origin import Origin, parse_origin
from tokenomics.net.proxies import Proxies, Proxy, connect_head, parse_proxy
from tokenomics.tokens import Secret

HTTP, HTTPS = Proxy("plain.example", 3128), Proxy("secure.example", 3129)
BOTH = {"HTTP_PROXY": "plain.example:3128", "HTTPS_PROXY": "http://secure.example:3129"}


# The environment.

ENVIRONMENTS: dict[str, tuple[dict[str, str], str, Proxy | None]] = {
    "none": ({}, "https://a.example", None),
    "https": (BOTH, "https://a.example", HTTPS),
    "http": (BOTH, "http://a.example", HTTP),
    "http-does-not-serve-https": ({"HTTP_PROXY": "p:1"}, "https://a.example", None),
    "https-does-not-serve-http": ({"HTTPS_PROXY": "p:1"}, "http://a.example", None),
    "lower-case": ({"https_proxy": "p:1"}, "https://a.example", Proxy("p", 1)),
    "lower-case-wins": (
        {"HTTPS_PROXY": "upper:1", "https_proxy": "lower:1"},
        "https://a.example",
        Proxy("lower", 1),
    ),
    "empty-is-unset": ({**BOTH, "https_proxy": ""}, "https://a.example", HTTPS),
    "blank": ({"HTTPS_PROXY": " "}, "https://a.example", None),
    "a-final-newline": ({"HTTPS_PROXY": "p:1\n"}, "https://a.example", Proxy("p", 1)),
    "all-proxy-is-not-read": ({"ALL_PROXY": "p:1"}, "https://a.example", None),
    "no-proxy": ({**BOTH, "NO_PROXY": "a.example"}, "https://a.example", None),
    "no-proxy-lower-case-wins": (
        {**BOTH, "NO_PROXY": "a.example", "no_proxy": "b.example"},
        "https://a.example",
        HTTPS,
    ),
}


@pytest.mark.parametrize(("env", "url", "proxy"), ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_the_environment_names_a_proxy_for_each_scheme(
    env: dict[str, str], url: str, proxy: Proxy | None
) -> None:
    assert Proxies.from_env(env).proxy_for(parse_origin(url)) == proxy


def test_a_scheme_of_our_own_has_no_proxy() -> None:
    assert Proxies.from_env(BOTH).proxy_for(Origin("echo", "echo", 80)) is None


# NO_PROXY: (entries, hosts that are reached directly, hosts that are not), on port 443.
DIRECT: dict[str, tuple[str, list[str], list[str]]] = {
    "loopback": (
        "",
        ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"],
        ["::2", "local.localhost", "localhost.example", "128.0.0.1", "0.0.0.0"],
    ),
    "name": (
        "foo.example",
        ["foo.example", "FOO.example", "www.foo.example", "a.b.foo.example"],
        ["afoo.example", "foo.example.com", "example", "foo.example."],
    ),
    "case": ("FOO.Example", ["foo.example"], []),
    "below": (".foo.example", ["www.foo.example"], ["foo.example", "afoo.example"]),
    "star-below": ("*.foo.example", ["www.foo.example"], ["foo.example", "afoo.example"]),
    "list": (" a.example ,, b.example,", ["a.example", "b.example"], ["c.example"]),
    "everything": ("*", ["a.example", "10.0.0.1", "::2"], []),
    "everything-in-a-list": ("a.example, *", ["b.example"], []),
    "star-within": ("f*.example", [], ["foo.example"]),
    "port": ("a.example:443, b.example:80", ["a.example", "www.a.example"], ["b.example"]),
    "empty-port": ("a.example:", ["a.example"], []),
    "word-as-port": ("a.example:https", [], ["a.example"]),
    "no-host": (":443", [], ["a.example", "10.0.0.1"]),
    "dot": (".", [], ["a.example", "a.example."]),
    "ipv4": ("10.0.0.1", ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2", "x.10.0.0.1"]),
    "ipv4-port": ("10.0.0.1:443, 10.0.0.2:80", ["10.0.0.1"], ["10.0.0.2"]),
    "ipv6": ("2001:db8::1", ["2001:db8::1", "2001:db8:0::1"], ["2001:db8::2"]),
    "ipv6-brackets": ("[2001:db8::1]", ["2001:db8::1"], ["2001:db8::2"]),
    "ipv6-port": ("[2001:db8::1]:443, [2001:db8::2]:80", ["2001:db8::1"], ["2001:db8::2"]),
    "cidr": ("10.1.2.3/8", ["10.0.0.1", "10.255.255.255"], ["11.0.0.1", "a.example"]),
    "cidr-ipv6": ("2001:db8::/32", ["2001:db8:1::1"], ["2001:db9::1", "10.0.0.1"]),
    "all-addresses": ("0.0.0.0/0", ["10.0.0.1"], ["2001:db8::1", "a.example"]),
    "cidr-port": ("10.0.0.0/8:443", [], ["10.0.0.1"]),
    "broken-cidr": ("10.0.0.0/33, a.example", ["a.example"], ["10.0.0.1"]),
    # A zone is not a part of the address, and no name (Go's CVE-2025-22870).
    "zone": ("fe80::1, b.example", ["fe80::1%eth0"], ["fe80::2%.b.example"]),
    "zone-in-the-list": ("fe80::1%eth0", ["fe80::1", "fe80::1%eth1"], ["fe80::2%eth0"]),
    "idn": ("bücher.example", ["xn--bcher-kva.example"], ["bucher.example"]),
    "idn-below": (".bücher.example", ["a.xn--bcher-kva.example"], ["xn--bcher-kva.example"]),
    "not-a-name": ("\u2100.\udcff", [], ["a.example"]),
}


@pytest.mark.parametrize(("no_proxy", "direct", "proxied"), DIRECT.values(), ids=DIRECT.keys())
def test_no_proxy_and_loopback_are_reached_directly(
    no_proxy: str, direct: list[str], proxied: list[str]
) -> None:
    proxies = Proxies.from_env({**BOTH, "NO_PROXY": no_proxy})
    found = {host: proxies.proxy_for(Origin("https", host, 443)) for host in direct + proxied}
    assert found == {**dict.fromkeys(direct), **dict.fromkeys(proxied, HTTPS)}


def test_a_broken_proxy_is_refused_by_the_name_of_its_variable() -> None:
    with pytest.raises(ValueError, match=r"^https_proxy: the proxy's port must be"):
        Proxies.from_env({"https_proxy": "http://u:hunter2@p:x", "HTTPS_PROXY": "p:1"})


def test_a_broken_proxy_that_serves_nothing_is_not_read() -> None:
    assert Proxies.from_env({"HTTPS_PROXY": "socks5://p", "NO_PROXY": "*"}) == Proxies()


# A proxy's URL.


def basic(pair: str) -> Secret:
    return Secret("Basic " + base64.b64encode(pair.encode()).decode())


URLS = {
    "http": ("http://p.example:3128", Proxy("p.example", 3128)),
    "https": ("https://p.example:3128", Proxy("p.example", 3128, tls=True)),
    "slash": ("http://p.example:3128/", Proxy("p.example", 3128)),
    "bare": ("p.example:3128", Proxy("p.example", 3128)),
    "bare-word": ("proxy", Proxy("proxy", 80)),
    "bare-user": ("u:p@p.example:1", Proxy("p.example", 1, authorization=basic("u:p"))),
    "http-port": ("http://p.example", Proxy("p.example", 80)),
    "https-port": ("https://p.example", Proxy("p.example", 443, tls=True)),
    "empty-port": ("http://p.example:", Proxy("p.example", 80)),
    "case": ("HTTPS://P.Example", Proxy("p.example", 443, tls=True)),
    "ipv4": ("10.0.0.1:3128", Proxy("10.0.0.1", 3128)),
    "ipv6": ("http://[2001:db8::1]:3128", Proxy("2001:db8::1", 3128)),
    "bare-ipv6": ("[2001:db8::1]:3128", Proxy("2001:db8::1", 3128)),
    "idn": ("http://bücher.example:1", Proxy("xn--bcher-kva.example", 1)),
    "user-alone": ("http://u@p:1", Proxy("p", 1, authorization=basic("u:"))),
    "no-user": ("http://@p:1", Proxy("p", 1, authorization=basic(":"))),
    "escapes": (
        "http://dom%5Cu:p%40s%3As%2F%25@p:1",
        Proxy("p", 1, authorization=basic("dom\\u:p@s:s/%")),
    ),
    "utf-8": ("http://u:p%C3%A4ss@p:1", Proxy("p", 1, authorization=basic("u:päss"))),
    "unescaped-alphabet": ("http://u:päss@p:1", Proxy("p", 1, authorization=basic("u:päss"))),
    "at-and-colon": ("http://u:p@s:s@p:1", Proxy("p", 1, authorization=basic("u:p@s:s"))),
}


@pytest.mark.parametrize(("url", "proxy"), URLS.values(), ids=URLS.keys())
def test_the_proxy_of_a_url(url: str, proxy: Proxy) -> None:
    found = parse_proxy(url)
    assert found == proxy
    assert found.authorization.reveal() == proxy.authorization.reveal()


BROKEN = {
    "empty": ("", "no host"),
    "only-a-scheme": ("http://", "no host"),
    "only-a-port": (":3128", "no host"),
    "only-a-user": ("http://u:hunter2@", "no host"),
    "dots": ("http://u:hunter2@a..b", "no host"),
    "percent": ("http://u:hunter2@a%20b", "no host"),
    "long": ("http://u:hunter2@" + "a" * 64, "no host"),
    "not-utf-8-host": ("http://\udcff:1", "no host"),
    "socks": ("socks5://u:hunter2@p:1080", "must begin with http:// or https://"),
    "password-as-scheme": ("u:hunter2://@p:1080", "must begin with http:// or https://"),
    "port-0": ("http://u:hunter2@p:0", "from 1 to 65535"),
    "port-65536": ("http://u:hunter2@p:65536", "from 1 to 65535"),
    "port-word": ("http://u:hunter2@p:http", "from 1 to 65535"),
    "password-as-port": ("http://u:hunter2/x@p:3128", "more than a host and a port"),
    "password-as-host": ("http://u:x@hunter2/x@p:3128", "more than a host and a port"),
    "question-mark": ("http://u:1?hunter2@p:3128", "more than a host and a port"),
    "hash": ("http://u:1#hunter2@p:3128", "more than a host and a port"),
    "path": ("http://p:3128/path", "more than a host and a port"),
    "bracket": ("http://u:[hunter2@p:3128", "write . . and other alphabets"),
    "nfkc": ("http://u:hunter2\u2100@p:3128", "write . . and other alphabets"),
    "brackets-around-a-name": ("http://u:hunter2@[p]:3128", "proxy's URL"),
    "space": ("http://u:hunter2 @p:3128", "a space or a control character"),
    "newline": ("http://u:hunter2@p\n:3128", "a space or a control character"),
    "not-utf-8": ("http://u:hunter2\udcff@p:3128", "not UTF-8"),
}


@pytest.mark.parametrize(("url", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_url_that_is_no_proxy_is_refused_without_repeating_it(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_proxy(url)
    assert type(caught.value) is ValueError
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))


SECRET = "QQ7QQ"
PARTS = st.sampled_from(
    [SECRET, *"u:/@?#[]%.", "://", "http", "80", "::1", "ü", "\udcff", "\u2100"]
)


@given(st.lists(PARTS, max_size=10).map("".join))
@example(f"u:{SECRET}")
@example(f"http://u:{SECRET}/@p")
def test_no_message_repeats_anything_of_the_url(url: str) -> None:
    problem: ValueError | None = None
    try:
        proxy = parse_proxy(url)
    except ValueError as e:
        problem = e
    if problem is None:
        assert 0 < proxy.port < 65536
        assert proxy.host
    else:
        assert type(problem) is ValueError
        assert SECRET not in str(problem)


def test_a_proxy_does_not_print_its_password() -> None:
    proxy = parse_proxy("http://user:hunter2@p.example:3128")
    shown = repr(Proxies(proxy, proxy)) + str(proxy) + proxy.authority
    assert "hunter2" not in shown
    assert proxy.authorization.reveal().removeprefix("Basic ") not in shown
    assert proxy.authority == "p.example:3128"


# What is said to a proxy.

HEADS = {
    "name": ("http://p", "a.example", 443, b"a.example:443", None),
    "port-80": ("http://p", "a.example", 80, b"a.example:80", None),
    "ipv4": ("http://p", "10.0.0.1", 8443, b"10.0.0.1:8443", None),
    "ipv6": ("http://p", "2001:db8::1", 443, b"[2001:db8::1]:443", None),
    "user": (
        "http://Aladdin:open%20sesame@p",
        "a",
        1,
        b"a:1",
        b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    ),
    "long": (
        "http://u:" + "x" * 200 + "@p",
        "a",
        1,
        b"a:1",
        b"Basic dTp4" + b"eHh4" * 66 + b"eA==",
    ),
}


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authorization"), HEADS.values(), ids=HEADS.keys()
)
def test_a_tunnel_is_asked_for(
    url: str, host: str, port: int, target: bytes, authorization: bytes | None
) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(connect_head(parse_proxy(url), host, port))
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target, request.http_version) == (b"CONNECT", target, b"1.1")
    expected = [(b"host", target)]
    if authorization is not None:
        expected.append((b"proxy-authorization", authorization))
    assert list(request.headers) == expected
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
