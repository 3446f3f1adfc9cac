"""One look at a provider: is it there, does it take the key, which models does it have.

A list of models is the cheapest thing to ask for. Some providers show it to everybody, and then it
says nothing of the key; some have none. There a chat of one token is what is left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import trio

from tokenomics import __version__, strictjson
from tokenomics.config.catalogue import UNSET_URL
from tokenomics.config.providers import MODEL_MARK, Provider
from tokenomics.errors import Failed, Refusal
from tokenomics.gateway.upstream import origin_of
from tokenomics.net.client import Broken, Client, Unreachable
from tokenomics.net.message import encode

SECONDS = 15.0  # for all that is asked of one provider: the slow ones answer in 2 or 3
MAX_ANSWER = 8 << 20  # bytes; the largest lists of models have about 1 MiB
MAX_SAID = 200  # characters of a provider's own words
LIST_QUERY = {"anthropic": "limit=1000"}  # its list comes in pages; this is the largest


class Verdict(NamedTuple):
    """What became of one key. `variable` is where it is from ("" if none is needed), `call` what
    was asked: "models", "chat" or nothing."""

    provider: str
    variable: str
    ok: bool
    call: str
    milliseconds: int | None
    said: str


class Answer(NamedTuple):
    """A provider's answer, and how long it took."""

    status: int
    body: bytes
    milliseconds: int


async def probe(client: Client, provider: Provider, variable: str, key: str) -> Verdict:
    """Judge a provider with a key, within SECONDS."""
    if provider.upstream_url == UNSET_URL:
        said = f"set providers.{provider.name}.upstream_url in providers.yaml"
        return Verdict(provider.name, variable, False, "", None, said)
    ok, call, milliseconds, said = False, "", None, f"no answer within {SECONDS:g} s"
    with trio.move_on_after(SECONDS):
        try:
            ok, call, milliseconds, said = await _judge(client, provider, key)
        except Failed as e:
            said = str(e)
    return Verdict(provider.name, variable, ok, call, milliseconds, _clean(said, key))


async def models(client: Client, provider: Provider, key: str) -> list[str]:
    """The models that a provider lists, within SECONDS. Raises Failed."""
    if provider.upstream_url == UNSET_URL:
        raise Failed(f"set providers.{provider.name}.upstream_url in providers.yaml")
    answer = None
    with trio.move_on_after(SECONDS):
        answer = await _list(client, provider, key)
    if answer is None:
        raise Failed(f"provider {provider.name}: no answer within {SECONDS:g} s")
    found = _names(answer)
    if found is None:
        said = _clean(_words(answer), key)
        raise Failed(f"provider {provider.name} gives no list of models: {said}")
    return found


async def _judge(client: Client, provider: Provider, key: str) -> tuple[bool, str, int, str]:
    if MODEL_MARK in provider.api_path:
        return await _chat(client, provider, key, "there is no list of models")
    answer = await _list(client, provider, key)
    found = _names(answer)
    if found is not None:
        many = f"{len(found)} models"
        if not key or _names(await _list(client, provider, "")) is None:
            return True, "models", answer.milliseconds, many
        if not provider.models:
            said = f"{many}, which everybody may see: the key was not tried"
            return True, "models", answer.milliseconds, said
    elif answer.status in (401, 402, 429) or answer.status >= 500:
        return False, "models", answer.milliseconds, _words(answer)
    return await _chat(client, provider, key, f"no list of models: {_words(answer)}")


async def _chat(
    client: Client, provider: Provider, key: str, why: str
) -> tuple[bool, str, int, str]:
    """Ask the first model that is known for one token."""
    if not provider.models:
        raise Failed(f"{why}; name a model under providers.{provider.name}.models to try it")
    model = provider.models[0]
    document = {
        "model": model,
        "messages": [{"role": "user", "content": "ping"}],
        provider.output_cap: 1,
    }
    path = "/messages" if provider.dialect == "anthropic" else "/chat/completions"
    try:
        segment = provider.segment(model)
    except ValueError as e:
        raise Failed(str(e)) from None
    answer = await _ask(client, provider, key, path, segment=segment, document=document)
    if answer.status == 200:
        return True, "chat", answer.milliseconds, f"{model} answers"
    return False, "chat", answer.milliseconds, f"{model}: {_words(answer)}"


async def _list(client: Client, provider: Provider, key: str) -> Answer:
    return await _ask(client, provider, key, "/models", LIST_QUERY.get(provider.dialect, ""))


async def _ask(
    client: Client,
    provider: Provider,
    key: str,
    path: str,
    query: str = "",
    *,
    segment: str = "",
    document: Mapping[str, Any] | None = None,
) -> Answer:
    """One request. Raises Failed."""
    own = {"accept": "application/json", "user-agent": f"tokenomics/{__version__}"}
    own |= {"accept-encoding": "identity", **provider.headers}
    body = b""
    if document is not None:
        own["content-type"] = "application/json"
        body = strictjson.dumps(document)
    target = provider.path(path, segment)
    query = provider.query_of(query, key)
    target += f"?{query}" if query else ""
    begun = trio.current_time()
    try:
        headers = [encode(*pair) for pair in (*own.items(), *provider.credentials(key))]
        method = "GET" if document is None else "POST"
        with await client.call(origin_of(provider), method, target, headers, body) as call:
            milliseconds = round((trio.current_time() - begun) * 1000)
            return Answer(call.answer.status, await call.read_all(MAX_ANSWER), milliseconds)
    except (Unreachable, Broken, ValueError) as e:
        raise Failed(str(e)) from None
    except Refusal as e:
        raise Failed(e.message) from None


def _names(answer: Answer) -> list[str] | None:
    """The names in a list of models, sorted; None if it is none."""
    if answer.status != 200:
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    rows = document.get("data") if isinstance(document, dict) else document  # Together: a bare list
    if not isinstance(rows, list):
        return None
    names = [row.get("id") for row in rows if isinstance(row, dict)]
    # They go to a terminal.
    return sorted({name for name in names if isinstance(name, str) and name.isprintable()})


_MEANINGS = {
    401: "the key is refused",
    402: "the account has no credit",
    403: "the key may not do this",
    404: "nothing is there",
    429: "the key is at a limit",
}


def _words(answer: Answer) -> str:
    """A status in words, with the provider's own."""
    meaning = _MEANINGS.get(answer.status, "it is no list" if answer.status == 200 else "")
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list) and document:  # Gemini's errors
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else None
    own = error.get("message") if isinstance(error, dict) else error
    parts = [str(answer.status), meaning, own if isinstance(own, str) else ""]
    return ", ".join(part for part in parts if part)


def _clean(text: str, key: str) -> str:
    """A provider's words for a terminal, without the key it may repeat."""
    if key:
        text = text.replace(key, "***")
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= MAX_SAID else text[: MAX_SAID - 3] + "..."
