"""What models cost, as their providers' pages say: a table like the catalogue's.

Rates are US dollars per million tokens, of the standard tier. Where two pages disagree, or a price
goes by the hour, the dearer figure stands. A model that nobody is sure of is not here, nor one that
is billed by the picture, the minute or the character: a cost budget refuses it until
`providers.yaml` gives its price.
"""

from __future__ import annotations

from decimal import Decimal

from tokenomics.prices import ANY_MODEL, Row, Rows

PRICES_AS_OF = "2026-11-24"

_K128, _K200, _K400, _M1, _M1_05 = 128_000, 200_000, 400_000, 1_000_000, 1_050_000
_GPT_4_1 = 1_047_576
_GEMINI = 1_048_576
_LLAMA = 131_072


def _row(
    input_: float, output: float, cached: float | None = None, out: int = 0, context: int = 0
) -> dict[str, object]:
    cache = {} if cached is None else {"cached": cached}
    return {"input": input_, "output": output, **cache, "max_output": out, "context": context}


def _long(row: Row, over: int, input_: float, output: float, cached: float | None = None) -> Row:
    """A row whose prices are others for requests with more than `over` input tokens."""
    return {**row, "over": over, "long": _row(input_, output, cached)}


def _claude(
    input_: float, output: float, cached: float, out: int = 0, context: int = 0
) -> dict[str, object]:
    """Anthropic's writes to the cache cost 1.25 times the input, those for an hour 2 times."""
    base = Decimal(str(input_))
    written = {"cache_write": base * Decimal("1.25"), "cache_write_1h": base * 2}
    return {**_row(input_, output, cached, out, context), **written}


# https://developers.openai.com/api/docs/pricing, and the page of each model there.
_OPENAI = {
    "gpt-4o": _row(2.5, 10, 1.25, 16_384, _K128),
    "gpt-4o-2024-05-13": _row(5, 15, None, 4096, _K128),
    "gpt-4o-mini": _row(0.15, 0.6, 0.075, 16_384, _K128),
    "chatgpt-4o-latest": _row(5, 15, None, 16_384, _K128),
    "gpt-4.1": _row(2, 8, 0.5, 32_768, _GPT_4_1),
    "gpt-4.1-mini": _row(0.4, 1.6, 0.1, 32_768, _GPT_4_1),
    "gpt-4.1-nano": _row(0.1, 0.4, 0.025, 32_768, _GPT_4_1),
    "gpt-4-turbo": _row(10, 30, None, 4096, _K128),
    "gpt-4": _row(30, 60, None, 8192, 8192),
    "gpt-3.5-turbo": _row(0.5, 1.5, None, 4096, 16_385),
    "gpt-5": _row(1.25, 10, 0.125, _K128, _K400),
    "gpt-5-mini": _row(0.25, 2, 0.025, _K128, _K400),
    "gpt-5-nano": _row(0.05, 0.4, 0.005, _K128, _K400),
    "gpt-5-pro": _row(15, 120, None, 272_000, _K400),
    "gpt-5-codex": _row(1.25, 10, 0.125, _K128, _K400),
    "gpt-5-chat-latest": _row(1.25, 10, 0.125, 16_384, _K128),
    "gpt-5.1": _row(1.25, 10, 0.125, _K128, _K400),
    "gpt-5.1-codex": _row(1.25, 10, 0.125, _K128, _K400),
    "gpt-5.1-codex-max": _row(1.25, 10, 0.125, _K128, _K400),
    "gpt-5.1-codex-mini": _row(0.25, 2, 0.025, _K128, _K400),
    "gpt-5.1-chat-latest": _row(1.25, 10, 0.125, 16_384, _K128),
    "gpt-5.2": _row(1.75, 14, 0.175, _K128, _K400),
    "gpt-5.2-codex": _row(1.75, 14, 0.175, _K128, _K400),
    "gpt-5.3-codex": _row(1.75, 14, 0.175, _K128, _K400),
    "gpt-5.4": _long(_row(2.5, 15, 0.25, _K128, _M1_05), 272_000, 5, 22.5, 0.5),
    "gpt-5.4-mini": _row(0.75, 4.5, 0.075, _K128, _K400),
    "gpt-5.4-nano": _row(0.2, 1.25, 0.02, _K128, _K400),
    "gpt-5.5": _long(_row(5, 30, 0.5, _K128, _M1_05), 272_000, 10, 45, 1),
    "o1": _row(15, 60, 7.5, 100_000, _K200),
    "o3": _row(2, 8, 0.5, 100_000, _K200),
    "o3-pro": _row(20, 80, None, 100_000, _K200),
    "o3-mini": _row(1.1, 4.4, 0.55, 100_000, _K200),
    "o4-mini": _row(1.1, 4.4, 0.275, 100_000, _K200),
    "text-embedding-3-small": _row(0.02, 0, None, 0, 8192),
    "text-embedding-3-large": _row(0.13, 0, None, 0, 8192),
    "text-embedding-ada-002": _row(0.1, 0, None, 0, 8192),
    "omni-moderation": _row(0, 0),
    "text-moderation": _row(0, 0),
    "gpt-audio": {**_row(2.5, 10, None, 16_384, _K128), "audio_input": 32, "audio_output": 64},
    "gpt-4o-audio-preview": {
        **_row(2.5, 10, None, 16_384, _K128),
        "audio_input": 40,
        "audio_output": 80,
    },
    "gpt-4o-mini-audio-preview": {
        **_row(0.15, 0.6, None, 16_384, _K128),
        "audio_input": 10,
        "audio_output": 20,
    },
    "gpt-4o-transcribe": {**_row(2.5, 10, None, 2000, 16_000), "audio_input": 6},
    "gpt-4o-mini-transcribe": {**_row(1.25, 5, None, 2000, 16_000), "audio_input": 3},
    # Text and pictures in the input have two prices: the dearer one.
    "gpt-image-1": _row(10, 40),
    "gpt-image-1-mini": _row(2.5, 8),
}

# https://platform.claude.com/docs/en/about-claude/pricing
# https://platform.claude.com/docs/en/models/opus-5-5/overview, and so on for each model
_ANTHROPIC = {
    "claude-fable-5-1": _claude(10, 50, 0.25, _K128, _M1),
    "claude-fable-5": _claude(10, 50, 1, _K128, _M1),
    "claude-opus-5-5": _claude(4, 20, 0.2, _K128, _M1),
    "claude-opus-5": _claude(5, 25, 0.5, _K128, _M1),
    "claude-opus-4-8": _claude(5, 25, 0.5, _K128, _M1),
    "claude-opus-4-7": _claude(5, 25, 0.5, _K128, _M1),
    "claude-opus-4-6": _claude(5, 25, 0.5, _K128, _M1),
    "claude-opus-4-5": _claude(5, 25, 0.5, 64_000, _K200),
    "claude-opus-4-1": _claude(15, 75, 1.5, 32_000, _K200),
    "claude-opus-4-0": _claude(15, 75, 1.5, 32_000, _K200),
    "claude-opus-4": _claude(15, 75, 1.5, 32_000, _K200),
    "claude-3-opus": _claude(15, 75, 1.5, 4096, _K200),
    "claude-sonnet-5-5": _claude(2, 10, 0.1, _K128, _M1),
    "claude-sonnet-5": _claude(2, 10, 0.2, _K128, _M1),
    "claude-sonnet-4-6": _claude(3, 15, 0.3, _K128, _M1),
    **{
        name: {
            **_claude(3, 15, 0.3, 64_000, _M1),
            "over": 200_000,  # with the beta of the long context
            "long": _claude(6, 22.5, 0.6),
        }
        for name in ("claude-sonnet-4-5", "claude-sonnet-4-0", "claude-sonnet-4")
    },
    # 128k with a beta header
    "claude-3-7-sonnet": _claude(3, 15, 0.3, _K128, _K200),
    "claude-3-5-sonnet": _claude(3, 15, 0.3, 8192, _K200),
    "claude-haiku-5-5": {
        **_claude(0.1, 0.5, 0.01, _K128, _M1),
        "over": 100_000,
        "long": _claude(0.5, 2.5, 0.05),
    },
    "claude-haiku-4-5": _claude(1, 5, 0.1, 64_000, _K200),
    "claude-3-5-haiku": _claude(0.8, 4, 0.08, 8192, _K200),
}

# https://groq.com/pricing and https://console.groq.com/docs/models
_GROQ = {
    "llama-3.3-70b-versatile": _row(0.59, 0.79, None, 32_768, _LLAMA),
    "llama-3.1-8b-instant": _row(0.05, 0.08, None, _LLAMA, _LLAMA),
    "openai/gpt-oss-120b": _row(0.15, 0.6, 0.075, 65_536, _LLAMA),
    "openai/gpt-oss-20b": _row(0.075, 0.3, 0.0375, 65_536, _LLAMA),
}

# https://mistral.ai/pricing#api-pricing and https://docs.mistral.ai/models
_MISTRAL = {
    "mistral-large-latest": _row(0.5, 1.5, 0.05, 0, 262_144),
    "mistral-large-2512": _row(0.5, 1.5, 0.05, 0, 262_144),
    "mistral-large-2411": _row(2, 6, None, 0, 131_072),
    "mistral-medium-latest": _row(1.5, 7.5, 0.15),
    "mistral-medium-3-5": _row(1.5, 7.5, 0.15),
    "mistral-medium-2508": _row(0.4, 2, 0.04),
    "mistral-medium-2505": _row(0.4, 2, 0.04),
    "mistral-small-latest": _row(0.15, 0.6, 0.015),
    "mistral-small-2603": _row(0.15, 0.6, 0.015),
    "codestral-latest": _row(0.3, 0.9, 0.03, 0, 256_000),
    "codestral-2508": _row(0.3, 0.9, 0.03, 0, 256_000),
    "devstral-2512": _row(0.4, 2, 0.04, 0, 262_144),
    "magistral-medium-latest": _row(2, 5),
    "magistral-small-latest": _row(0.5, 1.5),
    "open-mistral-nemo": _row(0.15, 0.15, None, 0, 131_072),
    "mistral-embed": _row(0.1, 0, None, 0, 8192),
}

# https://api-docs.deepseek.com/quick_start/pricing: the prices of the peak hours, which are twice
# those of the others. What was called chat and reasoner is Flash now.
_DEEPSEEK_FLASH = _row(0.3, 1.2, 0.006, 393_216, _GEMINI)
_DEEPSEEK = {
    "deepseek-chat": _DEEPSEEK_FLASH,
    "deepseek-reasoner": _DEEPSEEK_FLASH,
    "deepseek-flash": _DEEPSEEK_FLASH,
    "deepseek-v4-flash": _DEEPSEEK_FLASH,
    "deepseek-v4-pro": _row(1.32, 3.96, 0.044, 393_216, _GEMINI),
}

# https://docs.x.ai/docs/models, which tells of no bound on the output
_XAI = {
    "grok-4.5": _long(_row(2, 6, 0.5, 0, 500_000), 200_000, 4, 12, 1),
    "grok-4.3": _long(_row(1.25, 2.5, 0.2, 0, _M1), 200_000, 2.5, 5, 0.4),
    "grok-4": _long(_row(3, 15, 0.75, 0, 256_000), _K128, 6, 30),
    "grok-4-0709": _long(_row(3, 15, 0.75, 0, 256_000), _K128, 6, 30),
    **{
        name: _long(_row(0.2, 0.5, 0.05, 0, 2_000_000), _K128, 0.4, 1)
        for version in ("grok-4-fast", "grok-4-1-fast")
        for name in (version, f"{version}-reasoning", f"{version}-non-reasoning")
    },
    "grok-3": _row(3, 15, 0.75, 0, 131_072),
    "grok-3-mini": _row(0.3, 0.5, 0.075, 0, 131_072),
    "grok-code-fast-1": _row(0.2, 1.5, 0.02, 0, 256_000),
}

# https://ai.google.dev/gemini-api/docs/pricing
_GEMINI_MODELS = {
    "gemini-2.0-flash": {**_row(0.1, 0.4, 0.025, 8192, _GEMINI), "audio_input": 0.7},
    "gemini-2.0-flash-lite": _row(0.075, 0.3, None, 8192, _GEMINI),
    "gemini-2.5-pro": _long(_row(1.25, 10, 0.125, 65_536, _GEMINI), 200_000, 2.5, 15, 0.25),
    "gemini-2.5-flash": {**_row(0.3, 2.5, 0.03, 65_536, _GEMINI), "audio_input": 1},
    "gemini-2.5-flash-lite": {**_row(0.1, 0.4, 0.01, 65_536, _GEMINI), "audio_input": 0.3},
    "gemini-3-flash-preview": {**_row(0.5, 3, 0.05, 65_536, _GEMINI), "audio_input": 1},
    "gemini-3-pro-preview": _long(_row(2, 12, 0.2, 65_536, _GEMINI), 200_000, 4, 18, 0.4),
    "gemini-3.1-pro-preview": _long(_row(2, 12, 0.2, 65_536, _GEMINI), 200_000, 4, 18, 0.4),
    "gemini-3.5-flash": _row(1.5, 9, 0.15, 65_536, _GEMINI),
    "gemini-embedding-001": _row(0.15, 0, None, 0, 2048),
}

# https://cohere.com/pricing; its rerank is billed by the search
_COHERE = {
    "command-a-03-2025": _row(2.5, 10, None, 8000, 256_000),
    "command-r-plus-08-2024": _row(2.5, 10, None, 4000, _K128),
    "command-r-08-2024": _row(0.15, 0.6, None, 4000, _K128),
    "command-r7b-12-2024": _row(0.0375, 0.15, None, 4000, _K128),
    "embed-english-v3.0": _row(0.1, 0),
    "embed-multilingual-v3.0": _row(0.1, 0),
}

PRICES: Rows = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "groq": _GROQ,
    "mistral": _MISTRAL,
    "deepseek": _DEEPSEEK,
    "xai": _XAI,
    "gemini": _GEMINI_MODELS,
    "cohere": _COHERE,
    # Costs nothing; a round price, so that a demonstration shows what costs look like.
    "echo": {ANY_MODEL: _row(1, 10, 0.1)},
}
