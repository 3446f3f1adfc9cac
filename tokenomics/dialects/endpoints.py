"""The table of governed paths, and reading what is sent to them."""

from __future__ import annotations

from typing import Any

from tokenomics import strictjson
from tokenomics.dialects import anthropic, openai, responses
from tokenomics.dialects.ask import MAX_OUTPUT, Ask, Endpoint, whole_number, wrong
from tokenomics.dialects.forms import BadForm, Form, is_form, parse
from tokenomics.dialects.texts import openings_inside
from tokenomics.errors import Refusal

MAX_MODEL_NAME = 256  # characters
ENDPOINTS: dict[str, Endpoint] = {
    row.path: row for row in (*openai.ROWS, *responses.ROWS, *anthropic.ROWS)
}
# What some providers take as more models to try (https://openrouter.ai/docs/model-routing): it
# would go past the policy's list.
_ROUTING = frozenset({"models", "fallbacks", "route"})
# The fields of known forms that are files. Anything else there is text: a prompt is one, too, if it
# is sent as a file.
_FILES = frozenset({"file", "image", "image[]", "mask"})


def open_endpoint(path: str) -> Endpoint:
    """A path that a policy opens and no dialect knows: whatever it takes, all of it is text."""
    return Endpoint("open", path, openai.OPEN, "", "", any_answer=True)


def read(endpoint: Endpoint, body: bytes, content_type: str = "") -> Ask:
    """Read a request body. Raises Refusal `invalid_json` or `invalid_request`, naming the field."""
    if endpoint.name == "open":
        return _read_open(endpoint, body, content_type)
    form, document = _parse(endpoint, body, content_type)
    model = document.get("model") or endpoint.default_model
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_NAME:
        raise wrong("must name a model", "model")
    if not model.isprintable():
        raise wrong("must be printable text", "model")
    for key in _ROUTING & document.keys():
        if document[key]:
            raise wrong("the proxy routes; name one model, fallbacks are the policy's", key)
    stream = document.get("stream") or False
    if form is not None:
        stream = stream == "true"
    if not isinstance(stream, bool):
        raise wrong("must be true or false", "stream")
    options = document.get("stream_options")
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise wrong("must be an object", "stream_options")
    dialect = endpoint.dialect
    dialect.check(endpoint, document)
    choices = dialect.choices(endpoint, document)
    given = [whole_number(document, key, 1, MAX_OUTPUT) for key in endpoint.caps if key in document]
    caps = [cap for cap in given if cap is not None]
    return Ask(
        endpoint=endpoint,
        model=model,
        stream=stream,
        usage_asked=options.get("include_usage") is True,
        choices=choices,
        output_cap=(max(caps) * choices if caps else None) if endpoint.generates else 0,
        blind=dialect.blind(endpoint, document),
        raw=body,
        document=document,
        form=form,
    )


def error_body(shape: str, refusal: Refusal, request_id: str) -> bytes:
    """A refusal in the shape of a dialect."""
    if shape == "anthropic":
        return anthropic.error_body(refusal, request_id)
    return openai.error_body(refusal)


def _parse(
    endpoint: Endpoint, body: bytes, content_type: str
) -> tuple[Form | None, dict[str, Any]]:
    if endpoint.form and is_form(content_type):
        return _parse_form(body, content_type, _FILES)
    return None, _parse_json(body)


def _parse_form(
    body: bytes, content_type: str, files: frozenset[str] | None
) -> tuple[Form, dict[str, Any]]:
    try:
        return parse(body, content_type, files)
    except BadForm as e:
        message = f"the request body is not a form that may pass: {e}"
        raise Refusal("invalid_request", message) from None


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        document = strictjson.loads(body)
    except strictjson.BadJSON as e:
        raise Refusal("invalid_json", f"the request body is not JSON: {e}") from None
    if not isinstance(document, dict):
        raise Refusal("invalid_json", "the request body must be a JSON object")
    # Arguments are JSON, too: a thousand small ones take as long to look through as one large one.
    most = strictjson.MAX_CONTAINERS
    if len(body) > most and openings_inside(document) > most:
        message = f"the request body has more than {most} objects and arrays in arguments"
        raise Refusal("invalid_json", message)
    return document


def _read_open(endpoint: Endpoint, body: bytes, content_type: str) -> Ask:
    """A body of any kind: JSON, a form, text, or bytes in which no rule can look."""
    form: Form | None = None
    document: dict[str, Any] = {}
    blind = False
    if is_form(content_type):
        form, document = _parse_form(body, content_type, None)
        blind = form.blind
    elif body.lstrip()[:1] in (b"{", b"["):
        document = _parse_json(body)
    elif body:
        blind = True
    model = document.get("model") or ""
    if not isinstance(model, str) or len(model) > MAX_MODEL_NAME or not model.isprintable():
        raise wrong("must be the name of a model", "model")
    return Ask(
        endpoint=endpoint,
        model=model,
        stream=document.get("stream") is True,
        usage_asked=True,
        choices=1,
        output_cap=0,
        blind=blind,
        raw=body,
        document=document,
        form=form,
    )
