"""The built-in providers, as facts from each provider's API documentation.

Columns that most share have defaults (see `providers.Provider`): a new OpenAI-compatible provider
is one line here. `providers.yaml` overrides any field of a row and adds rows.
"""

from __future__ import annotations

from typing import Any

# A dialect other than "openai" is what the provider speaks at its chat path.
CATALOGUE: dict[str, dict[str, Any]] = {
    "openai": {
        "upstream_url": "https://api.openai.com",
        "api_key_env": "OPENAI_API_KEY",
        "base_url_env": "OPENAI_BASE_URL",
        # https://platform.openai.com/docs/api-reference/chat: max_tokens is deprecated there and
        # refused by reasoning models.
        "output_cap": "max_completion_tokens",
        "models": ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "o3", "o3-mini", "o4-mini"],
    },
    "anthropic": {
        "upstream_url": "https://api.anthropic.com",
        "api_key_env": "ANTHROPIC_API_KEY",
        "base_url_env": "ANTHROPIC_BASE_URL",
        "auth_scheme": "header",
        "auth_header": "x-api-key",
        "headers": {"anthropic-version": "2023-06-01"},
        "chat_path": "/v1/messages",
        "models": ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"],
    },
    "groq": {
        "upstream_url": "https://api.groq.com/openai",
        "api_key_env": "GROQ_API_KEY",
        "base_url_env": "GROQ_BASE_URL",
        "models": ["llama-3.3-70b-versatile", "llama-3.1-8b-instant"],
    },
    "mistral": {
        "upstream_url": "https://api.mistral.ai",
        "api_key_env": "MISTRAL_API_KEY",
        "base_url_env": "MISTRAL_BASE_URL",
        "models": ["mistral-large-latest", "mistral-small-latest", "codestral-latest"],
    },
    "together": {
        "upstream_url": "https://api.together.xyz",
        "api_key_env": "TOGETHER_API_KEY",
        "base_url_env": "TOGETHER_BASE_URL",
    },
    "fireworks": {
        "upstream_url": "https://api.fireworks.ai/inference",
        "api_key_env": "FIREWORKS_API_KEY",
        "base_url_env": "FIREWORKS_BASE_URL",
    },
    "deepseek": {
        "upstream_url": "https://api.deepseek.com",
        "api_key_env": "DEEPSEEK_API_KEY",
        "base_url_env": "DEEPSEEK_BASE_URL",
        "models": ["deepseek-chat", "deepseek-reasoner"],
    },
    "xai": {
        "upstream_url": "https://api.x.ai",
        "api_key_env": "XAI_API_KEY",
        "base_url_env": "XAI_BASE_URL",
    },
    "openrouter": {
        "upstream_url": "https://openrouter.ai/api",
        "api_key_env": "OPENROUTER_API_KEY",
        "base_url_env": "OPENROUTER_BASE_URL",
    },
    "ollama": {
        "upstream_url": "http://localhost:11434",
        "base_url_env": "OLLAMA_BASE_URL",
        "auth_scheme": "none",
    },
    "vllm": {
        "upstream_url": "http://localhost:8000",
        "api_key_env": "VLLM_API_KEY",
        "base_url_env": "VLLM_BASE_URL",
    },
    "echo": {"upstream_url": "builtin:echo", "auth_scheme": "none", "models": ["echo-1"]},
}
