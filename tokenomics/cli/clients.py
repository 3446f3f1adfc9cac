"""The clients that are known, and what each reads: one table, for `init --client` and for `run`.

A row is from the client's own documentation, which stands beside it. Every path is served with and
without `/v1`, and with it twice, so each client gets its base URL the way its page shows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

CODEX_PROVIDER = "tokenomics"  # the name of its table in config.toml; the built-in ones are taken


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to use a proxy. `url` has no path; `more` are variables for all clients:
    the CAs to trust."""

    token: str
    url: str
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A config file of a client: where it belongs, and its text."""

    place: str
    text: Callable[[Access, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class Client:
    """One client. In `variables`, `{token}` and `{url}` are filled in.

    `file` is what it reads beside them, and `needs_file` says that they alone do not do. `command`
    is its program: `run` gives it `arguments` behind its name, and takes `unset` away from it.
    """

    what: str
    variables: Mapping[str, str]
    file: File | None = None
    needs_file: bool = False
    command: str = ""
    arguments: Callable[[Access], list[str]] = lambda _: []
    unset: tuple[str, ...] = ()


def variables_of(client: Client, access: Access) -> dict[str, str]:
    """A client's variables, and those for all clients."""
    own = {
        name: value.format(token=access.token, url=access.url)
        for name, value in client.variables.items()
    }
    return {**own, **access.more}


def file_text(client: Client, access: Access) -> str:
    """The text of a client's config file; "" if it has none."""
    return client.file.text(access, variables_of(client, access)) if client.file else ""


def everything(access: Access) -> dict[str, str]:
    """The variables of all clients. They agree: a name has one value."""
    out: dict[str, str] = {}
    for client in CLIENTS.values():
        out |= variables_of(client, access)
    return out


def _codex_table(access: Access) -> dict[str, str]:
    return {
        "name": CODEX_PROVIDER,
        "base_url": access.url + "/v1",
        "env_key": "OPENAI_API_KEY",
        "wire_api": "responses",
    }


def _codex_file(access: Access, _variables: Mapping[str, str]) -> str:
    lines = [f"model_provider = {_toml(CODEX_PROVIDER)}", ""]
    lines += [f"[model_providers.{CODEX_PROVIDER}]"]
    lines += [f"{key} = {_toml(value)}" for key, value in _codex_table(access).items()]
    return "\n".join(lines) + "\n"


def _codex_arguments(access: Access) -> list[str]:
    """The same as the file, for one run."""
    settings = {"model_provider": CODEX_PROVIDER}
    place = f"model_providers.{CODEX_PROVIDER}"
    settings |= {f"{place}.{key}": value for key, value in _codex_table(access).items()}
    return [word for key, value in settings.items() for word in ("-c", f"{key}={_toml(value)}")]


def _toml(text: str) -> str:
    """A basic string (https://toml.io/en/v1.0.0#string): JSON's, but that a DEL is escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _claude_file(_access: Access, variables: Mapping[str, str]) -> str:
    return json.dumps({"env": dict(variables)}, indent=2, ensure_ascii=False) + "\n"


_OPENAI = {"OPENAI_API_KEY": "{token}", "OPENAI_BASE_URL": "{url}/v1"}
_ANTHROPIC = {"ANTHROPIC_API_KEY": "{token}", "ANTHROPIC_BASE_URL": "{url}"}

CLIENTS: dict[str, Client] = {
    # https://github.com/openai/openai-python, https://github.com/openai/openai-node: README
    "openai": Client("OpenAI's SDKs, and most that speak its API", _OPENAI),
    # https://docs.anthropic.com/en/api/client-sdks
    "anthropic": Client("Anthropic's SDKs", _ANTHROPIC),
    # https://developers.openai.com/codex/config-reference: "responses" is the only wire_api left,
    # and no variable names another base URL.
    "codex": Client(
        "Codex CLI",
        {"OPENAI_API_KEY": "{token}"},
        file=File("~/.codex/config.toml (model_provider above its first table)", _codex_file),
        needs_file=True,
        command="codex",
        arguments=_codex_arguments,
    ),
    # https://code.claude.com/docs/en/llm-gateway-connect: a key beside the token is a conflict.
    "claude-code": Client(
        "Claude Code",
        {"ANTHROPIC_AUTH_TOKEN": "{token}", "ANTHROPIC_BASE_URL": "{url}"},
        file=File("~/.claude/settings.json", _claude_file),
        command="claude",
        unset=("ANTHROPIC_API_KEY",),
    ),
    # https://aider.chat/docs/llms/openai-compat.html; its models are named openai/NAME.
    "aider": Client("aider", {**_OPENAI, "OPENAI_API_BASE": "{url}/v1", **_ANTHROPIC}),
    # https://llm.datasette.io/en/stable/setup.html; the SDK inside of it reads the base URL.
    "llm": Client("llm (datasette)", _OPENAI),
    # https://reference.langchain.com/python/integrations/langchain_openai
    # https://reference.langchain.com/python/integrations/langchain_anthropic
    "langchain": Client(
        "LangChain",
        {
            **_OPENAI,
            "OPENAI_API_BASE": "{url}/v1",
            **_ANTHROPIC,
            "ANTHROPIC_API_URL": "{url}",
        },
    ),
    # https://ai-sdk.dev/providers/ai-sdk-providers/openai, .../anthropic
    "vercel-ai-sdk": Client("Vercel's AI SDK, from version 5", {**_OPENAI, **_ANTHROPIC}),
}
