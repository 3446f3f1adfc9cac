"""Addresses of a Redis: what is read, and that a fault never shows a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.net.redis_address import Address, parse_address
from tokenomics.tokens import Secret

WORD = "open" + "sesame"  # stands for a password


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("localhost:6379", Address("localhost", 6379), "localhost:6379"),
        ("cache", Address("cache", 6379), "cache:6379"),
        ("10.0.0.7:7000", Address("10.0.0.7", 7000), "10.0.0.7:7000"),
        ("[::1]:7000", Address("::1", 7000), "[::1]:7000"),
        ("[fe80::1%eth0]", Address("fe80::1%eth0", 6379), "[fe80::1%eth0]:6379"),
        ("müller.example:1", Address("xn--mller-kva.example", 1), "xn--mller-kva.example:1"),
        ("unix:/run/redis.sock", Address(path="/run/redis.sock"), "unix:/run/redis.sock"),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock"), "unix:/run/redis.sock"),
        ("redis://cache", Address("cache"), "cache:6379"),
        ("redis://cache:7000/", Address("cache", 7000), "cache:7000"),
        ("redis://cache/3", Address("cache", db=3), "cache:6379"),
        ("redis://cache/0", Address("cache", db=0), "cache:6379"),
        ("rediss://cache:6380", Address("cache", 6380, tls=True), "cache:6380"),
        (f"redis://:{WORD}@cache", Address("cache", password=Secret(WORD)), "cache:6379"),
        (
            f"rediss://al%40x:{WORD}%2F%23@[::1]:7/2",
            Address("::1", 7, "", True, "al@x", Secret(f"{WORD}/#"), 2),
            "[::1]:7",
        ),
        (
            f"redis://a:{WORD}@b@cache",
            Address("cache", 6379, "", False, "a", Secret(f"{WORD}@b")),
            "cache:6379",
        ),
    ],
    ids=str,
)
def test_an_address_is_read_and_shown(text: str, address: Address, shown: str) -> None:
    assert parse_address(text) == address
    assert str(address) == shown
    assert parse_address(shown) == Address(address.host, address.port, address.path)
    assert WORD not in repr(address)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a host and port"),
        ("cache:port", "'cache:port' is not a host and port"),
        ("cache:0", "is not a host and port"),
        ("cache:65536", "is not a host and port"),
        ("a b:1", "is not a host and port"),
        ("a..b:1", "is not a host and port"),
        ("::1", "is not a host and port"),
        ("[cache", "is not a host and port"),
        ("unix:redis.sock", "write unix:/path"),
        ("unix:", "write unix:/path"),
        (f"user:{WORD}@cache:6379", "written into a URL"),
        ("http://cache", "does not begin with redis://"),
        (f"redis://:{WORD}", "has no host and port (or no @)"),
        (f"redis://u:{WORD}@", "has no host and port:"),
        (f"redis://u:{WORD}/x@cache", "more behind the host"),
        (f"redis://u:{WORD}#@cache", "more behind the host"),
        (f"redis://u:{WORD}?@cache", "more behind the host"),
        (f"redis://u:{WORD}@cache/one", "more behind the host"),
        (f"redis://u:{WORD}@cache?db=1", "more behind the host"),
        (f"redis://u:{WORD}@[cache", "not a URL"),
    ],
    ids=str,
)
def test_a_wrong_address_is_a_fault_without_its_password(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|unix:/path") as caught:
        parse_address(text)
    assert says in str(caught.value)
    assert WORD not in str(caught.value)


@given(
    st.lists(
        st.sampled_from(
            ["redis://", "unix:", "rediss", "a", ":", "@", "[", "]", "/", "1", "%", "ü"]
        )
        | st.characters(),
        max_size=12,
    ).map("".join)
)
def test_no_text_breaks_it_and_what_is_read_is_shown_as_it_is_read(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    again = parse_address(str(address))
    assert (again.host, again.port, again.path) == (address.host, address.port, address.path)
