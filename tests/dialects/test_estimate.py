"""Estimates of tokens: too few would let a budget overshoot, too many lock it."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.ask import estimate

# Texts of each kind, and how many tokens cl100k makes of them (counted with tiktoken 0.14).
COUNTED = {
    "prose": (
        "The gateway reserves what a request can cost before it is sent, and settles it"
        " with what the provider counted. " * 40,
        881,
    ),
    "code": (
        "    def receive(self, size: int) -> bytes:\n        if size <= 0:\n"
        "            raise ValueError(size)\n        return self._socket.recv(size)\n\n" * 30,
        960,
    ),
    "json": (
        json.dumps(
            [{"id": i, "name": f"item {i}", "price": i * 1.25, "ok": True} for i in range(100)]
        ),
        2701,
    ),
    "numbers": (" ".join(str(i * 7919 % 10**9) for i in range(1, 2000, 7)), 1125),
    "hex": ("".join(hashlib.sha256(bytes([i])).hexdigest() for i in range(40)), 1450),
    "base64": (
        base64.b64encode(b"".join(hashlib.sha256(bytes([i])).digest() for i in range(60))).decode(),
        1844,
    ),
    "uuids": (
        "\n".join(
            str(uuid.UUID(int=i * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) for i in range(80)
        ),
        1884,
    ),
    "sql": (
        "SELECT a.id, COUNT(*) AS n FROM t1 a JOIN t2 b ON a.id=b.id WHERE b.y IN (1,2,3)"
        " GROUP BY 1;\n" * 30,
        1110,
    ),
    "punctuation": ("!@#$%^&*()_+{}|:<>?~`-=[]\\;',./ " * 60, 1261),
    "capitals": ("THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG " * 40, 561),
    "german": (
        "Die Würde des Menschen ist unantastbar. Sie zu schützen ist Verpflichtung aller Gewalt. "
        * 30,
        781,
    ),
    "russian": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. " * 30,
        1051,
    ),
    "chinese": ("人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。" * 40, 1320),
    "japanese": ("すべての人間は、生まれながらにして自由であり、かつ、平等である。" * 40, 1240),
    "arabic": ("يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. " * 40, 1481),
    "hindi": ("सभी मनुष्यों को गौरव और अधिकारों के मामले में समानता प्राप्त है। " * 30, 1861),
    "thai": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน " * 40, 1680),
    "emoji": ("😀🚀👩\u200d💻🎉🔥 " * 100, 1702),
}


@pytest.mark.parametrize(("text", "tokens"), COUNTED.values(), ids=COUNTED)
def test_an_estimate_is_on_the_upper_side_and_not_far_above(text: str, tokens: int) -> None:
    assert tokens <= estimate(text) <= 1.85 * tokens


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", 0),
        ("You miss 100% of the shots you don't take", 11),  # OpenAI's help: "What are tokens"
        ("1234567890", 4),  # groups of three digits
        ("你好，世界", 5),
        ("a", 1),
    ],
    ids=["empty", "prose", "digits", "han", "one"],
)
def test_an_estimate_is_not_below_a_known_count(text: str, least: int) -> None:
    assert least <= estimate(text) <= 2 * least + 2


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_more_text_is_never_fewer_tokens(a: str, b: str) -> None:
    assert max(estimate(a), estimate(b)) <= estimate(a + b) <= estimate(a) + estimate(b)


@pytest.mark.parametrize(
    "text",
    [
        "QmFzZTY0IHRleHQ" * 20,
        "0123456789abcdef" * 4,
        "f" * 64,
        ("a1B2c3D4" * 16 + " ") * 8,
        "{" + '"k":"a9f8e7d6c5b4a39281706f5e4d3c2b1a",' * 4 + "}",
    ],
    ids=["base64", "hash", "64", "hashes", "minified"],
)
def test_what_has_few_spaces_is_estimated_as_base64_is(text: str) -> None:
    assert estimate(text) >= len(text) / 1.4


def test_prose_and_short_words_are_not_estimated_as_base64() -> None:
    assert estimate("word " * 300) == 518
    assert estimate("x" * 63) == 22
