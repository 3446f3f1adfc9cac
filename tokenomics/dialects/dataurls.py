"""Texts inside of data URLs and base64: a file that a provider opens and shows to a model.

https://www.rfc-editor.org/rfc/rfc2397. Read as leniently as anybody might: what is missing of
base64's padding is put there, and bytes that are no text stand as replacement characters.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, unquote_to_bytes

_URL = re.compile(r"(?i)\s*data:(?P<type>[^;,]*)(?P<rest>[^,]*),(?P<data>.*)", re.DOTALL)
_BASE64 = re.compile(r"(?i);\s*base64\s*\Z")
_TEXT = re.compile(
    r"(?i)\s*(?:text/.*|application/(?:x-)?(?:json|ndjson|xml|yaml|javascript|csv|sql|sh|rtf|toml|tex)"
    r"|.*\+(?:json|xml|yaml))?\s*"
)
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]+")


def is_text(media_type: object) -> bool:
    """Whether what is of this type is read as text; without any, it is `text/plain`."""
    return isinstance(media_type, str) and _TEXT.fullmatch(media_type) is not None


def opened(value: str) -> str | None:
    """The text in a data URL of a text's type; None if it is none."""
    url = _URL.match(value) if "data:" in value[:64].lower() else None
    if url is None or not is_text(url["type"]):
        return None
    if _BASE64.search(url["rest"]):
        return decoded(url["data"])
    return unquote_to_bytes(url["data"]).decode("utf-8", "replace")


def decoded(value: str) -> str:
    """The text in base64 of either alphabet, each padded part of it by itself."""
    plain = _NOT_BASE64.sub("", value.replace("-", "+").replace("_", "/"))
    data = b"".join([_bytes(part) for part in plain.split("=")])
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    wide = "utf-16-be" if data[:1] == b"\0" else "utf-16-le" if data[1:2] == b"\0" else "utf-8"
    return data.decode(wide, "replace")


def _bytes(part: str) -> bytes:
    part = part[: len(part) - (len(part) % 4 == 1)]  # a quarter of what makes three bytes is none
    return base64.b64decode(part + "=" * (-len(part) % 4))


def closed(value: str, text: str) -> str:
    """A value as those above take it, with `text` inside."""
    url = _URL.match(value)
    encoded = base64.b64encode(text.encode()).decode()
    if url is None:
        return encoded
    head = f"data:{url['type'].strip() or 'text/plain'};charset=utf-8"
    return f"{head};base64,{encoded}" if _BASE64.search(url["rest"]) else f"{head},{quote(text)}"
