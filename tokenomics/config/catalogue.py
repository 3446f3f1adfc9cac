"""The built-in providers, as facts from each provider's API documentation.

Columns that most share have defaults (see `providers.Provider`): a new OpenAI-compatible provider
is one line here. `providers.yaml` overrides any field of a row and adds rows. `upstream_url` and
`api_path` together are the base URL that the page above a row names. `models` are a choice, for
listings and trials: any other model can be asked for, too.
"""

from __future__ import annotations

from typing import Any

# Stands where only the customer knows the host: nothing can ever answer at it (RFC 6761 section
# 6.4), so no key goes anywhere before `upstream_url` is set.
UNSET_URL = "https://set-upstream-url.invalid"

CATALOGUE: dict[str, dict[str, Any]] = {
    # https://platform.openai.com/docs/api-reference
    "openai": {
        "upstream_url": "https://api.openai.com",
        "api_key_env": "OPENAI_API_KEY",
        "base_url_env": "OPENAI_BASE_URL",
        # https://platform.openai.com/docs/api-reference/chat: max_tokens is deprecated there and
        # refused by reasoning models.
        "output_cap": "max_completion_tokens",
        "models": ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "o3", "o3-mini", "o4-mini"],
    },
    # https://docs.anthropic.com/en/api/overview
    "anthropic": {
        "upstream_url": "https://api.anthropic.com",
        "api_key_env": "ANTHROPIC_API_KEY",
        "base_url_env": "ANTHROPIC_BASE_URL",
        "auth_scheme": "header",
        "auth_header": "x-api-key",
        "headers": {"anthropic-version": "2023-06-01"},
        "dialect": "anthropic",
        "models": ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"],
    },
    # https://console.groq.com/docs/openai
    "groq": {
        "upstream_url": "https://api.groq.com/openai",
        "api_key_env": "GROQ_API_KEY",
        "base_url_env": "GROQ_BASE_URL",
        "models": ["llama-3.3-70b-versatile", "llama-3.1-8b-instant"],
    },
    # https://docs.mistral.ai/api/
    "mistral": {
        "upstream_url": "https://api.mistral.ai",
        "api_key_env": "MISTRAL_API_KEY",
        "base_url_env": "MISTRAL_BASE_URL",
        "models": ["mistral-large-latest", "mistral-small-latest", "codestral-latest"],
    },
    # https://docs.together.ai/docs/openai-api-compatibility
    "together": {
        "upstream_url": "https://api.together.xyz",
        "api_key_env": "TOGETHER_API_KEY",
        "base_url_env": "TOGETHER_BASE_URL",
    },
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility
    "fireworks": {
        "upstream_url": "https://api.fireworks.ai/inference",
        "api_key_env": "FIREWORKS_API_KEY",
        "base_url_env": "FIREWORKS_BASE_URL",
    },
    # https://api-docs.deepseek.com/
    "deepseek": {
        "upstream_url": "https://api.deepseek.com",
        "api_key_env": "DEEPSEEK_API_KEY",
        "base_url_env": "DEEPSEEK_BASE_URL",
        "models": ["deepseek-chat", "deepseek-reasoner"],
    },
    # https://docs.x.ai/docs/api-reference
    "xai": {
        "upstream_url": "https://api.x.ai",
        "api_key_env": "XAI_API_KEY",
        "base_url_env": "XAI_BASE_URL",
    },
    # https://openrouter.ai/docs/quickstart
    "openrouter": {
        "upstream_url": "https://openrouter.ai/api",
        "api_key_env": "OPENROUTER_API_KEY",
        "base_url_env": "OPENROUTER_BASE_URL",
    },
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: the v1 API, without
    # a dated version. Its models are the names of deployments.
    "azure": {
        "upstream_url": UNSET_URL,  # https://RESOURCE.openai.azure.com/openai
        "api_key_env": "AZURE_OPENAI_API_KEY",
        "base_url_env": "AZURE_OPENAI_BASE_URL",
        "auth_scheme": "header",
        "auth_header": "api-key",
        "output_cap": "max_completion_tokens",
    },
    # https://learn.microsoft.com/azure/ai-foundry/openai/reference: the dated API, the deployment
    # in the path. 2024-10-21 is its last general version; later ones are previews.
    "azure-deployments": {
        "upstream_url": UNSET_URL,  # https://RESOURCE.openai.azure.com
        "api_key_env": "AZURE_OPENAI_API_KEY",
        "auth_scheme": "header",
        "auth_header": "api-key",
        "api_path": "/openai/deployments/{model}",
        "query": {"api-version": "2024-10-21"},
        "output_cap": "max_completion_tokens",
    },
    # https://ai.google.dev/gemini-api/docs/openai
    "gemini": {
        "upstream_url": "https://generativelanguage.googleapis.com",
        "api_key_env": "GEMINI_API_KEY",
        "base_url_env": "GEMINI_BASE_URL",
        "api_path": "/v1beta/openai",
        "models": ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"],
    },
    # https://docs.cohere.com/docs/compatibility-api
    "cohere": {
        "upstream_url": "https://api.cohere.ai/compatibility",
        "api_key_env": "COHERE_API_KEY",
        "base_url_env": "COHERE_BASE_URL",
        "models": ["command-a-03-2025", "command-r7b-12-2024"],
    },
    # https://docs.perplexity.ai/docs/grounded-llm/openai-compatibility: Responses are under /v1,
    # chat completions are not, and there is no list of models.
    "perplexity": {
        "upstream_url": "https://api.perplexity.ai",
        "api_key_env": "PERPLEXITY_API_KEY",
        "base_url_env": "PERPLEXITY_BASE_URL",
        "dialect": "openai",
        "chat_path": "/chat/completions",
        "models": ["sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research"],
    },
    # https://inference-docs.cerebras.ai/resources/openai
    "cerebras": {
        "upstream_url": "https://api.cerebras.ai",
        "api_key_env": "CEREBRAS_API_KEY",
        "base_url_env": "CEREBRAS_BASE_URL",
        "output_cap": "max_completion_tokens",
        "models": ["gpt-oss-120b"],
    },
    # https://docs.sambanova.ai/docs/en/features/openai-compatibility
    "sambanova": {
        "upstream_url": "https://api.sambanova.ai",
        "api_key_env": "SAMBANOVA_API_KEY",
        "base_url_env": "SAMBANOVA_BASE_URL",
    },
    # https://docs.api.nvidia.com/nim/reference/llm-apis
    "nvidia": {
        "upstream_url": "https://integrate.api.nvidia.com",
        "api_key_env": "NVIDIA_API_KEY",
        "base_url_env": "NVIDIA_BASE_URL",
    },
    # https://huggingface.co/docs/inference-providers
    "huggingface": {
        "upstream_url": "https://router.huggingface.co",
        "api_key_env": "HF_TOKEN",
        "base_url_env": "HF_BASE_URL",
    },
    # https://docs.deepinfra.com/api-reference/chat-completions/openai-chat-completions
    "deepinfra": {
        "upstream_url": "https://api.deepinfra.com",
        "api_key_env": "DEEPINFRA_API_KEY",
        "base_url_env": "DEEPINFRA_BASE_URL",
        "api_path": "/v1/openai",
    },
    # https://docs.hyperbolic.xyz/docs/rest-api
    "hyperbolic": {
        "upstream_url": "https://api.hyperbolic.xyz",
        "api_key_env": "HYPERBOLIC_API_KEY",
        "base_url_env": "HYPERBOLIC_BASE_URL",
    },
    # https://docs.tokenfactory.nebius.com/api-reference/inference/create-chat-completion
    "nebius": {
        "upstream_url": "https://api.tokenfactory.nebius.com",
        "api_key_env": "NEBIUS_API_KEY",
        "base_url_env": "NEBIUS_BASE_URL",
    },
    # https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion
    "novita": {
        "upstream_url": "https://api.novita.ai/openai",
        "api_key_env": "NOVITA_API_KEY",
        "base_url_env": "NOVITA_BASE_URL",
    },
    # https://platform.moonshot.ai/docs/api/chat
    "moonshot": {
        "upstream_url": "https://api.moonshot.ai",
        "api_key_env": "MOONSHOT_API_KEY",
        "base_url_env": "MOONSHOT_BASE_URL",
    },
    # https://docs.z.ai/api-reference/llm/chat-completion; in China https://open.bigmodel.cn/api/paas
    "zai": {
        "upstream_url": "https://api.z.ai/api/paas",
        "api_key_env": "ZAI_API_KEY",
        "base_url_env": "ZAI_BASE_URL",
        "api_path": "/v4",
    },
    # https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope; in
    # China https://dashscope.aliyuncs.com/compatible-mode
    "dashscope": {
        "upstream_url": "https://dashscope-intl.aliyuncs.com/compatible-mode",
        "api_key_env": "DASHSCOPE_API_KEY",
        "base_url_env": "DASHSCOPE_BASE_URL",
        "models": ["qwen-max", "qwen-plus", "qwen-turbo"],
    },
    # https://platform.minimax.io/docs/api-reference/text-openai-api
    "minimax": {
        "upstream_url": "https://api.minimax.io",
        "api_key_env": "MINIMAX_API_KEY",
        "base_url_env": "MINIMAX_BASE_URL",
        "output_cap": "max_completion_tokens",
    },
    # https://docs.ollama.com/api/openai-compatibility
    "ollama": {
        "upstream_url": "http://localhost:11434",
        "base_url_env": "OLLAMA_BASE_URL",
        "auth_scheme": "none",
    },
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    "vllm": {
        "upstream_url": "http://localhost:8000",
        "api_key_env": "VLLM_API_KEY",
        "base_url_env": "VLLM_BASE_URL",
    },
    # https://lmstudio.ai/docs/developer/openai-compat
    "lmstudio": {
        "upstream_url": "http://localhost:1234",
        "base_url_env": "LMSTUDIO_BASE_URL",
        "auth_scheme": "none",
    },
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md: its port is also the
    # proxy's own, one of the two has to move.
    "llamacpp": {
        "upstream_url": "http://localhost:8080",
        "base_url_env": "LLAMACPP_BASE_URL",
        "auth_scheme": "none",
    },
    # https://docs.litellm.ai/docs/proxy/user_keys
    "litellm": {
        "upstream_url": "http://localhost:4000",
        "api_key_env": "LITELLM_API_KEY",
        "base_url_env": "LITELLM_BASE_URL",
    },
    "echo": {"upstream_url": "builtin:echo", "auth_scheme": "none", "models": ["echo-1"]},
}
