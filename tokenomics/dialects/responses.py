"""OpenAI's Responses. https://platform.openai.com/docs/api-reference/responses/create"""

from __future__ import annotations

from typing import Any

from tokenomics.dialects.ask import (
    Ask,
    Dialect,
    Document,
    Endpoint,
    Prompts,
    Turns,
    check_content,
    document_texts,
    since_assistant,
    wrong,
)
from tokenomics.dialects.openai import KNOWN, SCHEMAS
from tokenomics.dialects.texts import MAX_TEXTS, OWN_JSON, Key, Text, Words, walk

_ROLES = frozenset("system developer user assistant".split())
_SKIP = frozenset(
    "role type id call_id item_id status url image_url file_url data format detail file_id"
    " container_id phase".split()
)
_TOOLS = Words(
    SCHEMAS.known
    | frozenset(
        "server_label allowed_tools require_approval vector_store_ids container server_description"
        " filters".split()
    ),
    SCHEMAS.skip,
    numbers=True,
)
# A remote tool's address and credentials are the provider's business, not the model's.
_REMOTE = frozenset("server_url authorization headers connector_id tunnel_id".split())
_ITEMS = Words(
    KNOWN
    | _SKIP
    | frozenset("summary output action queries results code outputs variables".split()),
    _SKIP - {"data"},
    # Definitions of tools; a shell's environment and a stored file's attributes have any keys.
    below={"tools": _TOOLS, "env": OWN_JSON, "attributes": OWN_JSON},
)
_HIDDEN = frozenset(
    "model stream stream_options store metadata service_tier safety_identifier user"
    " prompt_cache_key prompt_cache_retention prompt_cache_options temperature top_p top_logprobs"
    " max_output_tokens max_tool_calls parallel_tool_calls previous_response_id conversation"
    " include background truncation reasoning context_management tool_choice".split()
)


def _check(_endpoint: Endpoint, document: Document) -> None:
    if document.get("background"):
        raise wrong("the proxy cannot follow what a provider does in the background", "background")
    if not isinstance(document.get("instructions"), str | None):
        raise wrong("must be text", "instructions")
    value = document.get("input")
    if isinstance(value, str) or (value is None and document.get("prompt")):
        return
    if not isinstance(value, list):
        raise wrong("must be text or a list of items", "input")
    for i, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong("must be an object", f"input[{i}]")
        for key in ("role", "type"):
            if not isinstance(item.get(key), str | None):
                raise wrong("must be text", f"input[{i}].{key}")
        check_content(item.get("content"), f"input[{i}].content")


def _texts(endpoint: Endpoint, document: Document) -> list[Text]:
    return document_texts(endpoint, document, _ITEMS.known, _field_texts)


def _field_texts(key: str, value: Any) -> list[Text]:
    out: list[Text] = []
    if key == "input" and isinstance(value, list):
        for i, item in enumerate(value):
            out += walk(item, ("input", i), _ITEMS)
            if item.get("role") not in _ROLES and item.get("role"):
                out.append(Text(("input", i, "role"), item["role"]))
            if len(out) > MAX_TEXTS:
                break
    elif key == "tools" and isinstance(value, list):
        for i, tool in enumerate(value):
            out += walk(_shown_tool(tool), ("tools", i), _TOOLS)
    elif key == "prompt" and isinstance(value, dict):
        _prompt_texts(value, out)
    else:
        out += walk(value, (key,), SCHEMAS if key == "text" else _ITEMS)
    return out


def _shown_tool(tool: Any) -> Any:
    if not isinstance(tool, dict) or tool.get("type") != "mcp":
        return tool
    return {key: value for key, value in tool.items() if key not in _REMOTE}


def _prompt_texts(prompt: dict[str, Any], out: list[Text]) -> None:
    """A stored prompt's variables are put into its text, whatever they are called."""
    variables = prompt.get("variables")
    for name, value in variables.items() if isinstance(variables, dict) else ():
        path = ("prompt", "variables")
        out.append(Text((*path, Key(name)), name))
        out += walk(value, (*path, name), _ITEMS)
    rest = {key: value for key, value in prompt.items() if value is not variables}
    out += walk(rest, ("prompt",), _ITEMS)


def _prompted(_ask: Ask, document: Document, prompts: Prompts) -> dict[str, Any]:
    """What instructs goes to `instructions`, the rest in front of the input."""
    changed: dict[str, Any] = {}
    instructing = [content for role, content in prompts if role in ("system", "developer")]
    if instructing:
        own = document.get("instructions")
        changed["instructions"] = "\n\n".join([*instructing, *([own] if own else [])])
    talk = [
        {"role": role, "content": text} for role, text in prompts if role in ("user", "assistant")
    ]
    if talk:
        value = document.get("input") or []
        own_items = [{"role": "user", "content": value}] if isinstance(value, str) else value
        changed["input"] = talk + own_items
    return changed


def _turns(document: Document) -> Turns:
    value = document.get("input")
    if not isinstance(value, list):
        return Turns("", (), 0)
    roles = [item.get("role") or item.get("type") or "user" for item in value]
    # A call of a tool is the assistant's, too; its output is what came after.
    spoken = ["assistant" if role in _SPOKEN else role for role in roles]
    return Turns("input", roles, since_assistant(spoken))


_SPOKEN = frozenset("function_call custom_tool_call reasoning local_shell_call".split())


def _images(document: Document) -> int:
    value = document.get("input")
    contents = [item.get("content") for item in value] if isinstance(value, list) else []
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return sum(1 for part in parts if isinstance(part, dict) and part.get("type") == "input_image")


RESPONSES = Dialect("responses", _check, _texts, prompted=_prompted, turns=_turns, images=_images)
ROWS = (
    Endpoint(
        "responses",
        "/responses",
        RESPONSES,
        "openai",
        "input",
        generates=True,
        caps=("max_output_tokens",),
        hidden=_HIDDEN,
    ),
)
