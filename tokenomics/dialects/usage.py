"""What an answer cost, in tokens, as the providers of every dialect tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_TOKENS = 10**9  # a count beyond this is no count


class Usage(NamedTuple):
    """Tokens as the provider counted them. `input` and `output` are all of them; the kinds after
    them are parts of these that have prices of their own.

    As read, the kinds of input have no token in common; `cached` was read from a cache, the two
    others were written to one, for minutes or for an hour.
    """

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.input + self.output


# The names of chat and of what came before it, where nothing of the usage has the others' names:
# https://platform.openai.com/docs/api-reference/chat/object#chat/object-usage
# Responses, messages, pictures and sound have the names below it:
# https://platform.openai.com/docs/api-reference/responses/object#responses/object-usage
_CHAT = ("prompt_tokens", "completion_tokens")
_LATER = ("input_tokens", "output_tokens")
# Transcripts say `input_token_details`:
# https://platform.openai.com/docs/api-reference/audio/json-object#audio/json-object-usage
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")


def read_usage(value: Any) -> Usage | None:
    """The usage of a `usage` object; None if it has none that can be trusted. A kind that is no
    count is none: its tokens are plain ones of their total."""
    if not isinstance(value, dict) or value.get("type") == "duration":  # sound, by the second
        return None
    names = _CHAT if _CHAT[0] in value or _CHAT[1] in value else _LATER
    if names[0] not in value and names[1] not in value:
        return _read_total(value)
    input_, output = _count(value.get(names[0], 0)), _count(value.get(names[1], 0))
    beside = (0, 0, 0) if names is _CHAT else _read_beside(value)
    if input_ is None or output is None or beside is None:
        return None
    within, made = _details(value, _INPUT_DETAILS), _details(value, _OUTPUT_DETAILS)
    total = input_ + sum(beside)
    # Kinds that two providers would let overlap: the dearer one has the token.
    audio = min(_kind(within, "audio_tokens"), input_)
    written = min(_kind(within, "cache_write_tokens"), input_ - audio)
    # DeepSeek has a name of its own: https://api-docs.deepseek.com/guides/kv_cache
    hit = _kind(within, "cached_tokens") or _kind(value, "prompt_cache_hit_tokens")
    hit = min(hit, input_ - audio - written)
    output, reasoning = _with_reasoning(
        total, output, _kind(made, "reasoning_tokens"), value if names[1] in value else {}
    )
    return Usage(
        total,
        output,
        cached=beside[0] + hit,
        cache_write=beside[1] + written,
        cache_write_1h=beside[2],
        reasoning=reasoning,
        audio_input=audio,
        audio_output=min(_kind(made, "audio_tokens"), output),
    )


def _read_beside(value: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """What was read from the cache, written for minutes, written for an hour, where that is counted
    beside the input; None if a count is none. Anthropic:
    https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#tracking-cache-performance
    """
    told = value.get("cache_creation")
    lasting = _kind(told, "ephemeral_1h_input_tokens")
    brief = _kind(told, "ephemeral_5m_input_tokens")
    read, written = value.get("cache_read_input_tokens"), value.get("cache_creation_input_tokens")
    read = _count(0 if read is None else read)
    written = _count(lasting + brief if written is None else written)
    if read is None or written is None:
        return None
    lasting = min(lasting, written)
    return read, written - lasting, lasting


def _with_reasoning(
    input_: int, output: int, reasoning: int, value: Mapping[str, Any]
) -> tuple[int, int]:
    """All output, and the reasoning in it. Two providers count reasoning in the `total_tokens` of
    `value`, but not in the output: xAI, which says so in
    https://docs.x.ai/docs/key-information/consumption-and-rate-limits, and Gemini, which may not
    name it, https://ai.google.dev/gemini-api/docs/thinking#pricing. Whatever else may make a total
    larger is taken for output, which is dearer than input."""
    total = _count(value.get("total_tokens"))
    more = 0 if total is None else max(total - input_ - output, 0)
    output += more
    return output, min(max(reasoning, more), output)


def _read_total(value: Mapping[str, Any]) -> Usage | None:
    """Rerank's: one count, of what was read."""
    total = _count(value["total_tokens"]) if set(value) == {"total_tokens"} else None
    return None if total is None else Usage(total, 0)


def _details(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if value.get(name) is not None:
            return value[name]
    return None


def _kind(details: Any, name: str) -> int:
    return (_count(details.get(name)) or 0) if isinstance(details, dict) else 0


def _count(value: Any) -> int | None:
    """A count of tokens, None if it is none. Some write 12 as 12.0."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None  # True is no count
