from __future__ import annotations

import pytest

from tokenomics.echo.wish import MAX_SECONDS, BadWish, Wish, read_wish

WISHES = {
    "Hello": Wish(),
    "[echo status=503]": Wish(status=503),
    "[echo status=429 retry_after=2]": Wish(status=429, retry_after="2"),
    "[echo delay=1.5s gap=200ms]": Wish(delay=1.5, gap=0.2),
    "[echo delay=1w]": Wish(delay=MAX_SECONDS),
    "[echo words=200 break=3]": Wish(words=200, breaks=3),
    "[echo words=0]": Wish(words=0),
    "[echo tool=get_weather]": Wish(tool="get_weather"),
    "[echo text=exactly this]": Wish(text="exactly this"),
    "[echo text=]": Wish(text=""),
    "[echo text=status=503 [is text]": Wish(text="status=503 [is text"),
    "[echo delay=1s text=a text=b]": Wish(delay=1.0, text="a text=b"),
    "[echo tool=text=x]": Wish(tool="text=x"),
    "[echo]": Wish(),
    "[echo ]": Wish(),
    "[echo unknown=1]": Wish(),
    "[echo status=503": Wish(),
    "[ECHO status=503]": Wish(),
    "before [echo status=503] after [echo status=504]": Wish(status=503),
}


@pytest.mark.parametrize("said", WISHES)
def test_the_first_directive_counts(said: str) -> None:
    assert read_wish(said)[0] == WISHES[said]


@pytest.mark.parametrize(
    ("said", "rest"),
    [
        ("Hello", "Hello"),
        (" [echo words=1] ", ""),
        ("before [echo status=503] after [echo status=504]", "before  after"),
        ("no end [echo status=503", "no end [echo status=503"),
        ("[echo words=1] and ] more [", "and ] more ["),
    ],
)
def test_the_rest_of_a_text_is_without_directives(said: str, rest: str) -> None:
    assert read_wish(said)[1] == rest


@pytest.mark.parametrize(
    ("directive", "fault"),
    [
        ("status=99", "from 200 to 599"),
        ("status=600", "from 200 to 599"),
        ("status=no", "status=no must be a whole number"),
        ("status=٥٠٣", "must be a whole number"),
        ("words=-1", "words=-1"),
        ("break=1.5", "break=1.5"),
        ("retry_after=\x7f", "retry_after"),
        ("words=" + "9" * 5000, "words=9"),
        ("delay=1", "not a duration"),
        ("gap=1y", "no fixed length"),
    ],
)
def test_a_directive_that_is_none_says_why(directive: str, fault: str) -> None:
    with pytest.raises(BadWish) as caught:
        read_wish(f"[echo {directive}]")
    assert fault in str(caught.value)
    assert len(str(caught.value)) < 300


def test_many_beginnings_without_an_end_cost_little() -> None:
    said = "[echo " * 1_000_000
    assert read_wish(said) == (Wish(), said.strip())
