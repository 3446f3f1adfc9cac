"""What answers with numbers: embeddings, moderations, rerank.

https://platform.openai.com/docs/api-reference/embeddings/create, .../moderations/object;
https://docs.cohere.com/reference/rerank, https://docs.together.ai/reference/rerank-1
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Any

from tokenomics.dialects.ask import MAX_OUTPUT, whole_number, wrong
from tokenomics.echo.plan import Answer, Plan, content_text, json_body

DIMENSIONS = 8  # of a vector, if the request names none
MAX_DIMENSIONS = 4096
MAX_NUMBERS = 1 << 18  # in all vectors of one answer: some MB of JSON
# Each with the kinds of input it looks at.
_CATEGORIES = {
    "harassment": ["text"],
    "harassment/threatening": ["text"],
    "hate": ["text"],
    "hate/threatening": ["text"],
    "illicit": ["text"],
    "illicit/violent": ["text"],
    "self-harm": ["text", "image"],
    "self-harm/instructions": ["text", "image"],
    "self-harm/intent": ["text", "image"],
    "sexual": ["text", "image"],
    "sexual/minors": ["text"],
    "violence": ["text", "image"],
    "violence/graphic": ["text", "image"],
}


def embeddings(plan: Plan) -> Answer:
    """A vector an input, of length 1, the same for the same input. Raises Refusal."""
    size = whole_number(plan.document, "dimensions", 1, MAX_DIMENSIONS) or DIMENSIONS
    inputs = _inputs(plan.document["input"])
    if len(inputs) * size > MAX_NUMBERS:
        raise wrong(f"echo makes {MAX_NUMBERS} numbers at most", "input")
    packed = plan.document.get("encoding_format") == "base64"
    data = []
    for i, item in enumerate(inputs):
        vector: Any = _vector(str(item), size)
        if packed:
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": i, "embedding": vector})
    usage = {"prompt_tokens": plan.input, "total_tokens": plan.input}
    return json_body({"object": "list", "data": data, "model": plan.ask.model, "usage": usage})


def _inputs(value: Any) -> list[Any]:
    """A text, a list of texts, a token array, or a list of those."""
    many = isinstance(value, list) and not isinstance(value[0], int)
    return value if many else [value]


def _vector(text: str, size: int) -> list[float]:
    digest = hashlib.shake_256(text.encode("utf-8", "replace")).digest(size)
    numbers = [byte - 127.5 for byte in digest]  # so that none is 0
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


def moderations(plan: Plan) -> Answer:
    """Nothing is ever flagged; the scores tell one input from another."""
    value = plan.document["input"]
    texts = (
        value if isinstance(value, list) and isinstance(value[0], str) else [content_text(value)]
    )
    results = [_moderation(text) for text in texts]
    return json_body({"id": f"modr-{plan.id}", "model": plan.ask.model, "results": results})


def _moderation(text: Any) -> dict[str, Any]:
    digest = hashlib.sha256(str(text).encode("utf-8", "replace")).digest()
    scores = [byte / 25500 for byte in digest]  # below 1 %
    return {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict(zip(_CATEGORIES, scores, strict=False)),
        "category_applied_input_types": _CATEGORIES,
    }


def rerank(plan: Plan) -> Answer:
    """Documents by how many of the query's words they hold. Raises Refusal."""
    documents = plan.document["documents"]
    top = whole_number(plan.document, "top_n", 1, MAX_OUTPUT) or len(documents)
    texts = [_text(document) for document in documents]
    query = frozenset(plan.document["query"].lower().split())
    scores = [_share(query, text) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: -scores[i])
    results: list[dict[str, Any]] = []
    for i in order[:top]:
        result: dict[str, Any] = {"index": i, "relevance_score": scores[i]}
        if plan.document.get("return_documents"):
            result["document"] = {"text": texts[i]}
        results.append(result)
    return json_body(
        {
            "id": f"rerank-{plan.id}",
            "model": plan.ask.model,
            "results": results,
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
            "usage": {"total_tokens": plan.input},
        }
    )


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    return text if isinstance(text, str) else ""


def _share(words: frozenset[str], text: str) -> float:
    return len(words.intersection(text.lower().split())) / len(words) if words else 0.0
