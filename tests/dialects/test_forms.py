"""Forms: what is read, what is refused, and that others read what we write as we read it."""

from __future__ import annotations

import email.parser
import email.policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.bodies import FORM, FORM_TYPE, form_body
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint, read
from tokenomics.dialects.forms import (
    FILENAMES,
    MAX_PART_HEAD,
    MAX_PARTS,
    BadForm,
    Form,
    encode,
    is_form,
    parse,
)
from tokenomics.errors import Refusal

FILES = frozenset({"file"})
TEXT = b"Content-Disposition: form-data; name="


def part(head: bytes = b'Content-Disposition: form-data; name="a"', data: bytes = b"x") -> bytes:
    """A body of one part, after a first one that is plain."""
    first = b'--bound\r\nContent-Disposition: form-data; name="first"\r\n\r\n1\r\n'
    return first + b"--bound\r\n" + head + b"\r\n\r\n" + data + b"\r\n--bound--\r\n"


def named(disposition: bytes) -> bytes:
    return part(b"Content-Disposition: " + disposition)


def as_others_read(body: bytes, content_type: str) -> list[tuple[Any, ...]]:
    """(name, file name, type, data) of each part by Python's email package."""
    head = f"content-type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    assert not message.defects
    found = []
    for inner in message.iter_parts():
        assert not inner.defects
        name = inner.get_param("name", header="content-disposition")
        type_ = str(inner.get("content-type", "")).replace('"', "")  # which it puts in itself
        found.append((name, inner.get_filename(), type_, inner.get_payload(decode=True)))
    return found


def as_we_read(form: Form, document: dict[str, Any]) -> list[tuple[Any, ...]]:
    texts = {k: iter(v if isinstance(v, list) else [v]) for k, v in document.items()}
    return [
        (
            p.name,
            p.filename,
            p.type.replace('"', ""),
            next(texts[p.name]).encode() if p.data is None else p.data,
        )
        for p in form.parts
    ]


def test_what_is_read() -> None:
    form, document = parse(form_body(FORM), FORM_TYPE, FILES)
    assert document == {
        "model": "m",
        "prompt": "shown",
        "unknown": "shown",
        "list[]": ["shown", "shown"],
        "language": "en",
    }
    assert form.parts[-1].data == b"RIFF\x00\xff"
    assert form.blind


def test_in_an_unknown_form_files_of_text_and_the_names_of_files_are_texts() -> None:
    parts = [("a", "x.txt", "text/plain", "é".encode()), ("b", "y.bin", "", b"\xff")]
    form, document = parse(form_body(parts), FORM_TYPE, None)
    assert document == {"a": "é", FILENAMES: ["x.txt", "y.bin"]}
    assert form.blind


@pytest.mark.parametrize("files", [FILES, None], ids=["known", "unknown"])
def test_what_was_read_is_written_and_read_again(files: frozenset[str] | None) -> None:
    form, document = parse(form_body(FORM), FORM_TYPE, files)
    assert parse(*encode(form, document), files) == (form, document)


def test_texts_and_keys_change_in_their_places_and_fields_are_added() -> None:
    form, document = parse(form_body(FORM), FORM_TYPE, None)
    changed = {f"new {key}": value for key, value in document.items()}
    changed["new list[]"] = ["one", "two"]
    changed[f"new {FILENAMES}"] = ['b".wav']
    body, content_type = encode(form, {**changed, "added": "y"})
    assert as_others_read(body, content_type) == [
        ("new model", None, "", b"m"),
        ("new prompt", None, "", b"shown"),
        ("new unknown", None, "text/plain; charset=utf-8", b"shown"),
        ("new list[]", None, "", b"one"),
        ("new list[]", None, "", b"two"),
        ("new language", None, "", b"en"),
        ("file", "b%22.wav", "audio/wav", b"RIFF\x00\xff"),
        ("added", None, "", b"y"),
    ]


def test_what_a_mask_holds_makes_no_two_fields_of_one_and_no_quotes() -> None:
    form, document = parse(form_body(FORM), FORM_TYPE, FILES)
    masked = {f'"\\\r\n{i}': value for i, value in enumerate(document.values())}
    body, content_type = encode(form, masked)
    assert parse(body, content_type, FILES)[1] == {
        "%22%5C%0D%0A0": "m",
        "%22%5C%0D%0A1": "shown",
        "%22%5C%0D%0A2": "shown",
        "%22%5C%0D%0A3[]": ["shown", "shown"],
        "%22%5C%0D%0A4": "en",
    }


GOOD = {
    "token": named(b"form-data; name=a"),
    "odd-case": part(b'CONTENT-DISPOSITION: Form-Data; name="a"'),
    "spaces": named(b'form-data ;  name = "a"'),
    "semicolon-in-name": named(b'form-data; name="a;b=c"'),
    "extended-name-is-dropped": named(b"form-data; name=\"a\"; name*=UTF-8''model"),
    "no-space": named(b'form-data;name="a";filename="b"'),
    "utf-8": named('form-data; name="é"'.encode()),
    "percent": named(b'form-data; name="a%22b"'),
    "no-last-line-end": part()[:-2],
    "empty": part(data=b""),
    "dashes": part(data=b"-\r\n --bound\n--bound"),
    "lines": part(data=b"\r\n\r\n\n\r"),
    "charset": part(TEXT + b'"a"\r\nContent-Type: text/plain; charset="UTF-8"'),
    "transfer-encoding": part(TEXT + b'"a"\r\nContent-Transfer-Encoding: 8bit'),
}


@pytest.mark.parametrize("files", [FILES, None], ids=["known", "unknown"])
@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_others_read_what_we_write_as_we_read_it(body: bytes, files: frozenset[str] | None) -> None:
    form, document = parse(body, FORM_TYPE, files)
    assert as_others_read(*encode(form, document)) == as_we_read(form, document)


ONE = form_body([("a", None, "", b"x")])
EVIL = {
    "nothing": b"",
    "no-parts": b"--bound--\r\n",
    "preamble": b"hello\r\n" + ONE,
    "empty-preamble": b"\r\n" + ONE,
    "epilogue": ONE + b"more",
    "epilogue-part": ONE + ONE,
    "tab-in-a-name": form_body([("a\tb", None, "", b"x")]),
    "tab-in-a-file-name": form_body([("file", "a\tb", "", b"x")]),
    "no-end": ONE[: -len(b"--\r\n")],
    "cut": ONE[:-10],
    "only-lf": ONE.replace(b"\r\n", b"\n"),
    "lf-in-head": part(TEXT + b'"a"\nContent-Type: x'),
    "cr-in-head": part(TEXT + b'"a"\rContent-Type: x'),
    "padding-after-boundary": ONE.replace(b"--bound\r\n", b"--bound  \r\n"),
    "longer-boundary": part(data=b"x\r\n--boundary\r\ny"),
    "boundary-in-value": part(data=b"x\r\n--bound y"),
    "end-in-the-middle": part(data=b"x\r\n--bound--\r\n"),
    "no-line-before-end": ONE.replace(b"x\r\n", b"x"),
    "twice": part(TEXT + b'"first"'),
    "twice-as-file": part(TEXT + b'"first"; filename="x"'),
    "no-head": b"--bound\r\n\r\nx\r\n--bound--\r\n",
    "no-empty-line": b"--bound\r\nx\r\n--bound--\r\n",
    "no-disposition": part(b"Content-Type: text/plain"),
    "two-dispositions": part(TEXT + b'"a"\r\n' + TEXT + b'"b"'),
    "attachment": named(b'attachment; name="a"'),
    "form-data-more": named(b'form-datax; name="a"'),
    "no-name": named(b"form-data"),
    "empty-name": named(b'form-data; name=""'),
    "extended-name-only": named(b"form-data; name*=UTF-8''a"),
    "two-names": named(b'form-data; name="a"; name="b"'),
    "name-in-upper-case": named(b'form-data; NAME="a"'),
    "junk-after-name": named(b'form-data; name="a"b'),
    "last-semicolon": named(b'form-data; name="a";'),
    "open-quote": named(b'form-data; name="a'),
    "escaped-quote": named(rb'form-data; name="a\"b"'),
    "escaped-letter": named(rb'form-data; name="mo\del"'),
    "escaped-end": named(rb'form-data; name="a\\"'),
    "escape-in-token": named(rb"form-data; name=mo\del"),
    "escape-in-filename": named(rb'form-data; name="a"; filename="\"'),
    "spaces-around-name": named(b'form-data; name=" a"'),
    "nul-in-name": named(b'form-data; name="a\x00"'),
    "line-in-name": named('form-data; name="a\u2028b"'.encode()),
    "not-utf-8-name": named(b'form-data; name="\xff"'),
    "folded": part(b'Content-Disposition: form-data;\r\n name="a"'),
    "space-before-colon": part(b'Content-Disposition : form-data; name="a"'),
    "odd-field": part(TEXT + b'"a"\r\n\xc3\xa9: x'),
    "not-ascii-type": part(TEXT + b'"a"\r\nContent-Type: \xc3\xa9'),
    "long-head": part(TEXT + b'"a"\r\nx: ' + b"x" * MAX_PART_HEAD),
    "base64": part(TEXT + b'"a"\r\nContent-Transfer-Encoding: base64'),
    "quoted-printable": part(TEXT + b'"a"\r\nContent-Transfer-Encoding: quoted-printable'),
    "charset": part(TEXT + b'"a"\r\nContent-Type: text/plain; charset=utf-7'),
    "charset-spaced": part(TEXT + b'"a"\r\nContent-Type: text/plain; charset = "utf-16"'),
    "charset-twice": part(TEXT + b'"a"\r\nContent-Type: a; charset=utf-8; charset=utf-7'),
    "charset-field": part(TEXT + b'"_charset_"'),
    "not-utf-8": part(data=b"\xff"),
    "other-file-not-utf-8": part(TEXT + b'"prompt"; filename="x"', b"\xff"),
    "many": form_body([(f"n{i}", None, "", b"") for i in range(MAX_PARTS + 1)]),
    "very-many": b"--bound\r\n" * 100_000,
}


@pytest.mark.parametrize("body", EVIL.values(), ids=EVIL)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(BadForm) as caught:
        parse(body, FORM_TYPE, FILES)
    assert len(str(caught.value)) > 10
    with pytest.raises(Refusal, match="the request body is not a form that may pass: ") as refused:
        read(ENDPOINTS["/audio/transcriptions"], body, FORM_TYPE)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a\\"b"',
        "multipart/form-data; boundary=bound; boundary=other",
        "multipart/form-data; boundary=bound; x=boundary=other",
        "multipart/form-data; boundary=é",
        "multipart/form-data; boundary=" + "a" * 71,
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=a@b",
    ],
)
def test_a_boundary_is_one_and_well_formed(content_type: str) -> None:
    with pytest.raises(BadForm, match="boundary"):
        parse(ONE, content_type, FILES)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("multipart/form-data; boundary=x", True),
        ("Multipart/Form-Data ; boundary=x", True),
        ("multipart/mixed; boundary=x", False),
        ("application/json; x=multipart/form-data", False),
        ("", False),
    ],
)
def test_which_bodies_are_forms(content_type: str, expected: bool) -> None:
    assert is_form(content_type) == expected


def test_as_many_parts_as_allowed_are_read() -> None:
    parts = [(f"n{i}", None, "", b"") for i in range(MAX_PARTS)]
    assert len(parse(form_body(parts), FORM_TYPE, FILES)[1]) == MAX_PARTS


def test_a_prompt_that_is_sent_as_a_file_is_a_text() -> None:
    parts = [("model", None, "", b"m"), ("prompt", "p.txt", "", b"secret")]
    ask = read(ENDPOINTS["/images/edits"], form_body(parts), FORM_TYPE)
    assert "secret" in [text.value for text in ask.texts]


def test_a_nested_form_is_a_text_of_its_own() -> None:
    inner = form_body([("model", None, "", b"other")], "inner")
    head = TEXT + b'"a"\r\nContent-Type: multipart/form-data; boundary=inner'
    _, document = parse(part(head, inner), FORM_TYPE, FILES)
    assert document["a"] == inner.decode()


names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters='"\\\x85'),
    min_size=1,
    max_size=6,
).filter(lambda name: name == name.strip())
fields = st.tuples(
    names,
    st.none() | names,
    st.sampled_from(["", "text/plain", "audio/wav; x=y"]),
    st.binary(max_size=20) | st.sampled_from([b"--bound", b"\r\n--tokenomics-", b"\r\n\r\n"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(fields, min_size=1, max_size=5), st.booleans())
def test_whatever_is_read_others_read_alike(
    parts: list[tuple[str, str | None, str, bytes]], known: bool
) -> None:
    files = FILES if known else None
    try:
        form, document = parse(form_body(parts), FORM_TYPE, files)
    except BadForm:
        return
    assert as_we_read(form, document) == parts
    body, content_type = encode(form, document)
    assert as_others_read(body, content_type) == parts
    assert parse(body, content_type, files) == (form, document)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*EVIL.values(), *GOOD.values()]), min_size=1, max_size=2), st.data()
)
def test_whatever_is_cut_or_put_together_is_read_in_one_way_or_refused(
    bodies: list[bytes], data: st.DataObject
) -> None:
    body = b"".join(bodies)[:2000]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    body = body[:start] + data.draw(st.binary(max_size=3)) + body[end:]
    try:
        form, document = parse(body, FORM_TYPE, None)
    except BadForm:
        return
    assert as_others_read(*encode(form, document)) == as_we_read(form, document)


def test_an_open_path_takes_any_body() -> None:
    endpoint = open_endpoint("/files")
    assert read(endpoint, b"", "").texts == []
    assert read(endpoint, b"\xff", "application/octet-stream").blind
    assert not read(endpoint, form_body([("a", "b", "", b"x")]), FORM_TYPE).blind
