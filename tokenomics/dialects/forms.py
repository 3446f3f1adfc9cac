"""Bodies of multipart/form-data (RFC 7578), read strictly and written anew.

Whatever two parsers could read differently is refused: a preamble, a boundary inside a part, two
parts of one name, backslashes in names, charsets, transfer encodings. What goes to a provider is
written from what was read here, with a boundary of ours, so that it can only be read in this one
way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MAX_PARTS = 256
MAX_PART_HEAD = 8192  # bytes; a name, a file name and a type
_BOUNDARY = re.compile(r'boundary=(?:"([^"\\]*)"|([^\s;"]+))', re.IGNORECASE)
_BCHARS = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1
_PARAMETER = re.compile(r';\s*([a-z]+\*?)\s*=\s*(?:"([^"\\]*)"|([^\s;"\\]+))')
_FIELD_NAME = re.compile(r"[a-z0-9-]+")
_ENCODINGS = ("7bit", "8bit", "binary")
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_UNQUOTED = re.compile(r'[\x00-\x1f"\\\x7f]')
_TYPE = re.compile(
    r"""[\w.+-]+/[\w.+-]+(?:[ \t]*;[ \t]*[\w-]+=(?:"[^"\\;]*"|[^\s;"=]+))*""", re.ASCII
)
_CHARSETS = ("utf-8", "us-ascii")
# The document's key for the names of files; no field can be called that.
FILENAMES = '"filename"'


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
    """The parts in order; the texts among them are in the document under their names, and with
    `filenames_read` the names of files under FILENAMES."""

    parts: tuple[Part, ...]
    filenames_read: bool = False

    @property
    def blind(self) -> bool:
        """Whether a part is no text."""
        return any(part.data is not None for part in self.parts)


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parse(
    body: bytes, content_type: str, files: frozenset[str] | None
) -> tuple[Form, dict[str, Any]]:
    """A form and its texts: {name: text, or a list of texts for a name that ends in `[]`}.

    `files` are the fields that may hold a file; what else is sent as one is text. With None, which
    is for forms that nobody here knows, a file is text where it is UTF-8, and the names of files
    are texts, too, in a list under FILENAMES. Raises BadForm.
    """
    boundary = b"--" + _boundary(content_type)
    if not body.startswith(boundary + b"\r\n"):
        raise BadForm("the body does not begin with its boundary")
    chunks = body[len(boundary) :].split(b"\r\n" + boundary, MAX_PARTS + 1)
    if len(chunks) > MAX_PARTS + 1:
        raise BadForm(f"it has more than {MAX_PARTS} parts")
    if chunks.pop() not in (b"--", b"--\r\n"):
        raise BadForm("the body does not end with its boundary")
    if not chunks:
        raise BadForm("it has no part")
    parts, document = [], dict[str, Any]()
    for i, chunk in enumerate(chunks):
        if not chunk.startswith(b"\r\n"):
            raise BadForm(f"part {i} holds the boundary")
        part, text = _part(chunk[2:], i, files)
        parts.append(part)
        if _is_list(part.name):
            document.setdefault(part.name, []).extend([] if text is None else [text])
        elif any(part.name == other.name for other in parts[:-1]):
            raise BadForm(f"the field {part.name!r} stands twice")
        elif text is not None:
            document[part.name] = text
    names = [part.filename for part in parts if part.filename is not None]
    if files is None and names:
        document[FILENAMES] = names
    return Form(tuple(parts), FILENAMES in document), document


def _is_list(name: str) -> bool:
    return name.endswith("[]")


def _names(parts: Sequence[Part]) -> list[str]:
    """The names that stand in the document, in its order."""
    return list(dict.fromkeys([p.name for p in parts if p.data is None or _is_list(p.name)]))


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.findall(content_type)
    value = found[0][0] or found[0][1] if len(found) == 1 else ""
    if not _BCHARS.fullmatch(value):
        raise BadForm("the content type has no boundary")
    return value.encode()


def _part(chunk: bytes, number: int, files: frozenset[str] | None) -> tuple[Part, str | None]:
    # A part without headers would begin with the empty line.
    head, gap, data = chunk.partition(b"\r\n\r\n")
    if not gap or len(head) > MAX_PART_HEAD:
        raise BadForm(f"part {number} has no head, or one that is too long")
    fields = _head(head, number)
    name, filename = _disposition(fields.get("content-disposition", ""), number)
    if fields.get("content-transfer-encoding", "binary").lower() not in _ENCODINGS:
        raise BadForm(f"the field {name!r} has a transfer encoding")
    type_ = fields.get("content-type", "")
    if type_ and not _TYPE.fullmatch(type_):
        raise BadForm(f"the content type of the field {name!r} is none")
    if filename is not None and files is not None and name in files:
        return Part(name, filename, type_, data), None
    charsets = [charset.lower() for charset in _CHARSET.findall(type_)]
    if name == "_charset_" or not all(charset in _CHARSETS for charset in charsets):
        raise BadForm(f"the field {name!r} names a charset that is not UTF-8")
    try:
        return Part(name, filename, type_, None), data.decode()
    except UnicodeDecodeError:
        if filename is None or files is not None:
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
        if not colon or not _FIELD_NAME.fullmatch(name) or name in fields:
            raise BadForm(f"the head of part {number} is malformed")
        if any(char in "\x7f\x85\u2028\u2029" or "\t" != char < " " for char in value):
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
    name = parameters.get("name", "")
    odd = any(_UNQUOTED.search(text) for text in parameters.values())  # a tab, say
    if at < len(rest) or not name or name != name.strip() or odd:
        raise BadForm(
            f"part {number} needs a content-disposition of form-data with a name, perhaps a file"
            " name, and no backslashes and control characters"
        )
    return name, parameters.get("filename", parameters.get("filename*"))


def encode(form: Form, document: Mapping[str, Any]) -> tuple[bytes, str]:
    """A form with the texts of `document`, and its content type. The document is the one that was
    read, in its order: values and keys may have changed, and fields may have been added."""
    keys = list(document)
    texts = [iter(v if isinstance(v, list) else [v]) for v in document.values()]
    places = {name: i for i, name in enumerate(_names(form.parts))}
    filenames = texts[len(places)] if form.filenames_read else None
    items: list[tuple[Part, bytes]] = []
    for part in form.parts:
        place = places.get(part.name)
        data = part.data
        if place is not None:
            data = str(next(texts[place])).encode() if data is None else data
            name = keys[place]
            many = _is_list(part.name) and not _is_list(name)  # it may stand more than once
            part = replace(part, name=name + "[]" if many else name)
        if filenames is not None and part.filename is not None:
            part = replace(part, filename=str(next(filenames)))
        assert data is not None, "a part without data is a text of the document"
        items.append((part, data))
    for name in keys[len(places) + form.filenames_read :]:
        items.append((Part(name, None, "", None), str(document[name]).encode()))
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
    """As HTML's forms are written (WHATWG HTML, multipart/form-data encoding algorithm), and no
    backslashes: a mask may hold anything."""
    return _UNQUOTED.sub(lambda match: f"%{ord(match[0]):02X}", text)
