"""Requests with every kind of content that the providers document: what the tests of texts and the
fuzzer start from. A string that a model is shown says so; `PICTURE` and the like are what is not.

https://platform.openai.com/docs/api-reference, https://docs.anthropic.com/en/api/messages,
https://docs.cohere.com/reference/rerank, https://openrouter.ai/docs (reasoning_details).
"""

from __future__ import annotations

from typing import Any

PICTURE = "data:image/png;base64,iVBORw0KGgo="
BYTES = "iVBORw0KGgo="

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "shown", "format": "shown", "pattern": "shown"},
        "unit": {"enum": ["shown", 5, None], "default": "shown", "title": "shown"},
        "deep": {"anyOf": [{"const": "shown"}, {"$ref": "#/$defs/shown"}]},
        "signature": {"examples": [{"signature": "shown", "url": "shown", "data": "shown"}]},
    },
    "required": ["city"],
    "$defs": {"shown": {"not": {"const": "shown"}}},
    "additionalProperties": False,
}
FUNCTION = {"name": "shown", "description": "shown", "parameters": SCHEMA, "strict": True}

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "shown"},
        {"role": "developer", "content": [{"type": "text", "text": "shown"}], "name": "shown"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "shown", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": BYTES, "format": "wav"}},
                {"type": "file", "file": {"file_data": PICTURE, "filename": "shown"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "text", "text": "shown"},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "shown"}, {"type": "refusal", "refusal": "shown"}],
            "refusal": "shown",
            "reasoning_content": "shown",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "shown", "signature": BYTES, "format": "f"},
                {"type": "reasoning.summary", "summary": "shown"},
                {"type": "reasoning.encrypted", "data": BYTES, "format": "f"},
            ],
            "audio": {"id": "audio_1"},
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {
                        "name": "shown",
                        "arguments": '{"id": "shown", "deep": [{"url": "shown", "n": 5.5}]}',
                    },
                },
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "shown {"}},
                {"id": "c", "type": "custom", "custom": {"name": "shown", "input": "shown"}},
                {"id": "c", "type": "function", "function": {"arguments": {"id": "shown"}}},
            ],
            "function_call": {"name": "shown", "arguments": '{"type": "shown"}'},
            "annotations": [
                {"type": "url_citation", "url_citation": {"url": "u", "title": "shown"}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "shown"},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "shown"}]},
        {"role": "function", "name": "shown", "content": "shown"},
    ],
    "tools": [
        {"type": "function", "function": FUNCTION},
        {
            "type": "custom",
            "custom": {
                "name": "shown",
                "description": "shown",
                "format": {
                    "type": "grammar",
                    "grammar": {"definition": "shown", "syntax": "lark"},
                },
            },
        },
    ],
    "functions": [FUNCTION],
    "tool_choice": {"type": "function", "function": {"name": "shown"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "shown", "description": "shown", "schema": SCHEMA},
    },
    "prediction": {"type": "content", "content": [{"type": "text", "text": "shown"}]},
    "web_search_options": {
        "user_location": {"type": "approximate", "approximate": {"city": "shown"}}
    },
    "stop": ["shown"],
    "unknown": {"shown": ["shown"]},
    "user": "u-1",
    "metadata": {"k": "v"},
    "safety_identifier": "s-1",
    "service_tier": "auto",
    "reasoning_effort": "low",
    "modalities": ["text"],
    "logit_bias": {"50256": -100},
    "temperature": 0.5,
}

RESPONSES: dict[str, Any] = {
    "model": "m",
    "instructions": "shown",
    "input": [
        {"role": "user", "content": "shown"},
        {
            "type": "message",
            "role": "user",
            "id": "msg_1",
            "status": "completed",
            "content": [
                {"type": "input_text", "text": "shown"},
                {"type": "input_image", "image_url": PICTURE, "detail": "low", "file_id": "f"},
                {"type": "input_file", "filename": "shown", "file_data": PICTURE},
                {"type": "input_file", "file_url": "u"},
                {"type": "input_audio", "input_audio": {"data": BYTES, "format": "wav"}},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_2",
            "phase": "final_answer",
            "content": [
                {
                    "type": "output_text",
                    "text": "shown",
                    "annotations": [
                        {"type": "url_citation", "url": "u", "title": "shown"},
                        {"type": "file_citation", "file_id": "f", "filename": "shown"},
                        {"type": "container_file_citation", "container_id": "c"},
                    ],
                },
                {"type": "refusal", "refusal": "shown"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "shown"}],
            "content": [{"type": "reasoning_text", "text": "shown"}],
            "encrypted_content": BYTES,
        },
        {"type": "compaction", "encrypted_content": BYTES},
        {"type": "function_call", "call_id": "c", "name": "shown", "arguments": '{"id": "shown"}'},
        {"type": "function_call_output", "call_id": "c", "output": "shown"},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [
                {"type": "input_text", "text": "shown"},
                {"type": "input_image", "image_url": PICTURE},
            ],
        },
        {"type": "custom_tool_call", "call_id": "c", "name": "shown", "input": "shown"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "shown"},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "action": {
                "type": "search",
                "query": "shown",
                "queries": ["shown"],
                "sources": [{"type": "url", "url": "u"}],
            },
        },
        {
            "type": "file_search_call",
            "id": "fs_1",
            "queries": ["shown"],
            "results": [{"filename": "shown", "text": "shown", "attributes": {"url": "shown"}}],
        },
        {
            "type": "computer_call",
            "call_id": "c",
            "action": {"type": "type", "text": "shown", "keys": ["shown"]},
            "pending_safety_checks": [{"id": "sc_1", "code": "shown", "message": "shown"}],
        },
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": PICTURE},
        },
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "container_id": "cntr_1",
            "code": "shown",
            "outputs": [{"type": "logs", "logs": "shown"}, {"type": "image", "url": PICTURE}],
        },
        {
            "type": "local_shell_call",
            "call_id": "c",
            "action": {"command": ["shown"], "env": {"id": "shown"}, "working_directory": "shown"},
        },
        {"type": "local_shell_call_output", "id": "c", "output": "shown"},
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["shown"]}},
        {
            "type": "shell_call_output",
            "call_id": "c",
            "output": [{"stdout": "shown", "stderr": "shown"}],
        },
        {
            "type": "apply_patch_call",
            "call_id": "c",
            "operation": {"type": "update_file", "path": "shown", "diff": "shown"},
        },
        {"type": "image_generation_call", "id": "ig_1", "result": BYTES, "revised_prompt": "shown"},
        {"type": "program_output", "id": "p_1", "result": "shown"},
        {
            "type": "mcp_list_tools",
            "id": "mcpl_1",
            "server_label": "shown",
            "tools": [{"name": "shown", "description": "shown", "input_schema": SCHEMA}],
        },
        {"type": "tool_search_call", "call_id": "c", "arguments": {"id": "shown"}},
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "name": "shown",
            "server_label": "shown",
            "arguments": '{"q": "shown"}',
            "output": "shown",
            "error": "shown",
        },
        {"type": "item_reference", "id": "msg_9"},
    ],
    "prompt": {
        "id": "pmpt_1",
        "version": "2",
        "variables": {
            "url": "shown",
            "part": {"type": "input_text", "text": "shown"},
            "picture": {"type": "input_image", "image_url": PICTURE},
        },
    },
    "text": {
        "format": {"type": "json_schema", "name": "shown", "schema": SCHEMA},
        "verbosity": "low",
    },
    "tools": [
        {"type": "function", "name": "shown", "description": "shown", "parameters": SCHEMA},
        {"type": "custom", "name": "shown", "format": {"type": "grammar", "definition": "shown"}},
        {
            "type": "mcp",
            "server_label": "shown",
            "server_description": "shown",
            "server_url": "https://a.example",
            "authorization": "a",
            "headers": {"k": "v"},
            "connector_id": "c",
            "allowed_tools": ["shown"],
        },
        {"type": "web_search", "user_location": {"type": "approximate", "city": "shown"}},
    ],
    "unknown": {"shown": "shown"},
    "metadata": {"k": "v"},
    "user": "u-1",
    "previous_response_id": "resp_1",
    "include": ["reasoning.encrypted_content"],
    "tool_choice": {"type": "function", "name": "f"},
    "reasoning": {"effort": "low"},
}

MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "system": [
        {"type": "text", "text": "shown", "cache_control": {"type": "ephemeral", "ttl": "5m"}}
    ],
    "messages": [
        {"role": "user", "content": "shown"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "shown"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": BYTES},
                },
                {"type": "image", "source": {"type": "url", "url": "u"}},
                {
                    "type": "document",
                    "title": "shown",
                    "context": "shown",
                    "source": {"type": "text", "media_type": "text/plain", "data": "shown"},
                    "citations": {"enabled": True},
                },
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "text", "text": "shown"}]},
                },
                {"type": "document", "source": {"type": "file", "file_id": "f"}},
                {
                    "type": "search_result",
                    "source": "shown",
                    "title": "shown",
                    "content": [{"type": "text", "text": "shown"}],
                },
                {"type": "container_upload", "file_id": "f"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "shown", "signature": BYTES},
                {"type": "redacted_thinking", "data": BYTES},
                {
                    "type": "text",
                    "text": "shown",
                    "citations": [
                        {
                            "type": "char_location",
                            "cited_text": "shown",
                            "document_title": "shown",
                            "file_id": "f",
                        },
                        {
                            "type": "web_search_result_location",
                            "cited_text": "shown",
                            "title": "shown",
                            "url": "u",
                            "encrypted_index": BYTES,
                        },
                    ],
                },
                {"type": "tool_use", "id": "t", "name": "shown", "input": {"id": "shown", "n": 5}},
                {"type": "server_tool_use", "id": "t", "name": "shown", "input": {"url": "shown"}},
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "t",
                    "content": [
                        {
                            "type": "web_search_result",
                            "title": "shown",
                            "url": "u",
                            "encrypted_content": BYTES,
                            "page_age": "shown",
                        }
                    ],
                },
                {
                    "type": "code_execution_tool_result",
                    "tool_use_id": "t",
                    "content": {"type": "code_execution_result", "stdout": "shown"},
                },
                {"type": "mcp_tool_use", "id": "t", "server_name": "s", "input": {"type": "shown"}},
                {"type": "compaction", "content": "shown"},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "shown"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "shown"},
                        {"type": "image", "source": {"type": "base64", "data": BYTES}},
                    ],
                },
            ],
        },
    ],
    "tools": [
        {"name": "shown", "description": "shown", "input_schema": SCHEMA, "input_examples": [{}]}
    ],
    "tool_choice": {"type": "tool", "name": "shown"},
    "stop_sequences": ["shown"],
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "context_management": {"edits": [{"type": "compact_20260112", "instructions": "shown"}]},
    "unknown": {"shown": "shown"},
    "metadata": {"user_id": "u-1"},
    "container": "container_1",
    "mcp_servers": [{"type": "url", "url": "u", "name": "s", "authorization_token": "a"}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}

# Path of the endpoint and body, by a name.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", CHAT),
    "responses": ("/responses", RESPONSES),
    "messages": ("/messages", MESSAGES),
    "count_tokens": ("/messages/count_tokens", MESSAGES),
    "completions": (
        "/completions",
        {
            "model": "m",
            "prompt": ["shown", "shown"],
            "suffix": "shown",
            "stop": "shown",
            "user": "u",
        },
    ),
    "embeddings": (
        "/embeddings",
        {"model": "m", "input": ["shown", "shown"], "user": "u", "encoding_format": "float"},
    ),
    "moderations": (
        "/moderations",
        {
            "input": [
                {"type": "text", "text": "shown"},
                {"type": "image_url", "image_url": {"url": PICTURE}},
            ]
        },
    ),
    "images": (
        "/images/generations",
        {"model": "m", "prompt": "shown", "negative_prompt": "shown", "size": "auto", "style": "s"},
    ),
    "image-edits": (
        "/images/edits",
        {"model": "m", "prompt": "shown", "images": [{"image_url": PICTURE}], "quality": "low"},
    ),
    "speech": (
        "/audio/speech",
        {"model": "m", "input": "shown", "instructions": "shown", "voice": "v", "speed": 1.5},
    ),
    "rerank": (
        "/rerank",
        {"model": "m", "query": "shown", "documents": ["shown", {"text": "shown"}]},
    ),
}
# (name, file name, type, data): transcription is a form.
FORM: list[tuple[str, str | None, str, bytes]] = [
    ("model", None, "", b"m"),
    ("prompt", None, "", b"shown"),
    ("unknown", None, "text/plain; charset=utf-8", b"shown"),
    ("list[]", None, "", b"shown"),
    ("list[]", None, "", b"shown"),
    ("language", None, "", b"en"),
    ("file", "a.wav", "audio/wav", b"RIFF\x00\xff"),
]


def form_body(parts: list[tuple[str, str | None, str, bytes]], boundary: str = "bound") -> bytes:
    """A form as clients write it."""
    out = b""
    for name, filename, type_, data in parts:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        out += f'; filename="{filename}"'.encode() if filename is not None else b""
        out += f"\r\nContent-Type: {type_}".encode() if type_ else b""
        out += b"\r\n\r\n" + data + b"\r\n"
    return out + f"--{boundary}--\r\n".encode()


FORM_TYPE = "multipart/form-data; boundary=bound"
