"""Errors, in the shape of the dialect that was called."""

from __future__ import annotations

from tokenomics import strictjson

# https://docs.anthropic.com/en/api/errors
_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def fault(shape: str, status: int, message: str, code: str = "echo_error") -> bytes:
    """An error body. OpenAI has a code, Anthropic a type for each status."""
    if shape == "anthropic":
        kind = _ANTHROPIC.get(status, "invalid_request_error" if status < 500 else "api_error")
        error = {"type": kind, "message": message}
        return strictjson.dumps({"type": "error", "error": error, "request_id": "req_echo"})
    error_type = "server_error" if status >= 500 else "invalid_request_error"
    openai = {"message": message, "type": error_type, "param": None, "code": code}
    return strictjson.dumps({"error": openai})
