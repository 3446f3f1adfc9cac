"""Bodies of multipart/form-data (RFC 7578), read strictly and written anew.

Whatever two parsers could read differently is refused: a preamble, a boundary inside a part, two
parts of one name, transfer encodings. What goes to a provider is written from what was read here,
with a boundary of ours, so that it can only be read in this one way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_PARTS = 256
MAX_PART_HEAD = 8192  # bytes; a name, a file name and a type
_BOUNDARY = re.compile(r'boundary=(?:"([^"\\]*)"|([^\s;"]+))', re.IGNORECASE)
_BCHARS = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1
_PARAMETER = re.compile(r';\s*([a-z]+\*?)\s*=\s*(?:"((?:[^"\\\x00-\x1f]|\\[^"])*)"|([^\s;"]+))')
_ENCODINGS = ("7bit", "8bit", "binary")


class BadForm(ValueError):
    """Not a form that may pass; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `data` is None where the part is text, which then stands in the document."""

    name: str
    filename: str | None
    type: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Form:
    """The parts in order; the texts among them are in the document under their names."""

    parts: tuple[Part, ...]

    @property
    def blind(self) -> bool:
        """Whether a part is no text."""
        return any(part.data is not None for part in self.parts)


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parse(body: bytes, content_type: str, *, text_files: bool) -> tuple[Form, dict[str, Any]]:
    """A form and its texts: {name: text, or a list of texts for a name that ends in `[]`}.

    With `text_files`, the content of files is text where it is UTF-8. Raises BadForm.
    """
    boundary = b"--" + _boundary(content_type)
    if not body.startswith(boundary + b"\r\n"):
        raise BadForm("the body does not begin with its boundary")
    chunks = body[len(boundary) :].split(b"\r\n" + boundary)
    if chunks.pop() not in (b"--", b"--\r\n"):
        raise BadForm("the body does not end with its boundary")
    if not chunks:
        raise BadForm("it has no part")
    if len(chunks) > MAX_PARTS:
        raise BadForm(f"more than {MAX_PARTS} parts")
    parts, document = [], dict[str, Any]()
    for i, chunk in enumerate(chunks):
        if not chunk.startswith(b"\r\n"):
            raise BadForm(f"part {i} holds the boundary")
        part, text = _part(chunk[2:], i, text_files)
        parts.append(part)
        if part.name.endswith("[]"):
            document.setdefault(part.name, []).extend([] if text is None else [text])
        elif any(part.name == other.name for other in parts[:-1]):
            raise BadForm(f"the field {part.name!r} stands twice")
        elif text is not None:
            document[part.name] = text
    return Form(tuple(parts)), document


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.findall(content_type)
    value = found[0][0] or found[0][1] if len(found) == 1 else ""
    if not _BCHARS.fullmatch(value):
        raise BadForm("the content type has no boundary")
    return value.encode()


def _part(chunk: bytes, number: int, text_files: bool) -> tuple[Part, str | None]:
    # A part without headers would begin with the empty line.
    head, gap, data = chunk.partition(b"\r\n\r\n")
    if not gap or len(head) > MAX_PART_HEAD:
        raise BadForm(f"part {number} has no head, or one that is too long")
    fields = _head(head, number)
    name, filename = _disposition(fields.get("content-disposition", ""), number)
    if fields.get("content-transfer-encoding", "binary").lower() not in _ENCODINGS:
        raise BadForm(f"the field {name!r} has a transfer encoding")
    type_ = fields.get("content-type", "")
    if filename is not None and not text_files:
        return Part(name, filename, type_, data), None
    try:
        return Part(name, filename, type_, None), data.decode()
    except UnicodeDecodeError:
        if filename is None:
            raise BadForm(f"the field {name!r} is not UTF-8") from None
        return Part(name, filename, type_, data), None


def _head(head: bytes, number: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError:
        raise BadForm(f"the head of part {number} is not UTF-8") from None
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name.replace("-", "").isalnum() or name in fields:
            raise BadForm(f"the head of part {number} is malformed")
        if any(char < " " and char != "\t" for char in value):
            raise BadForm(f"the head of part {number} holds control characters")
        fields[name] = value.strip()
    return fields


def _disposition(value: str, number: int) -> tuple[str, str | None]:
    """(name, file name) of a Content-Disposition (RFC 7578 section 4.2)."""
    kind, rest = value[:9].lower(), value[9:].strip()
    parameters: dict[str, str] = {}
    at = 0
    while kind == "form-data" and at < len(rest):
        match = _PARAMETER.match(rest, at)
        if match is None or match[1] in parameters:
            break
        parameters[match[1]] = match[2] if match[2] is not None else match[3]
        at = match.end()
    if at < len(rest) or not parameters.get("name"):
        raise BadForm(f"part {number} has no name, or more than that says")
    filename = parameters.get("filename", parameters.get("filename*"))
    return parameters["name"], filename


def encode(form: Form, document: Mapping[str, Any]) -> tuple[bytes, str]:
    """A form with the texts of `document`, and its content type. Texts that the form has no part
    for are added."""
    items: list[tuple[Part, bytes]] = []
    used: dict[str, int] = {}
    for part in form.parts:
        if part.data is not None:
            items.append((part, part.data))
            continue
        value = document[part.name]
        if isinstance(value, list):
            index = used[part.name] = used.get(part.name, -1) + 1
            value = value[index]
        else:
            used[part.name] = 0
        items.append((part, str(value).encode()))
    for name, value in document.items():
        if name not in used and not isinstance(value, list):
            items.append((Part(name, None, "", None), str(value).encode()))
    digest = hashlib.sha256(b"".join(data for _, data in items)).hexdigest()[:32]
    boundary = f"tokenomics-{digest}"  # no text can hold what its own digest decides
    out = []
    for part, data in items:
        out.append(f"--{boundary}\r\n{_part_head(part)}\r\n\r\n".encode())
        out += (data, b"\r\n")
    out.append(f"--{boundary}--\r\n".encode())
    return b"".join(out), f"multipart/form-data; boundary={boundary}"


def _part_head(part: Part) -> str:
    head = f'content-disposition: form-data; name="{_quoted(part.name)}"'
    if part.filename is not None:
        head += f'; filename="{_quoted(part.filename)}"'
    return head + (f"\r\ncontent-type: {part.type}" if part.type else "")


def _quoted(text: str) -> str:
    """As HTML's forms are written (WHATWG HTML, multipart/form-data encoding algorithm)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
