"""Events of a provider's stream, read as leniently as clients read them."""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes) -> Any:
    """The document of an event, None if it is none. Half a surrogate pair becomes a question mark:
    it cannot be written."""
    text = data.decode("utf-8", "replace")
    try:
        document = json.loads(text)
        if _SURROGATE.search(text):
            whole = json.dumps(document, ensure_ascii=False)
            document = json.loads(whole.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return document
