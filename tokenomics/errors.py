"""Every way in which tokenomics says no, in two closed lists.

`Refusal` ends one request; its code is in `CASES`, which gives the HTTP status and the error type
that OpenAI's clients switch on. `ToolError` ends one command; its class gives the exit status.
Everything else that is raised is a bug or is translated where it was caught.
"""

from __future__ import annotations

# code: (HTTP status, OpenAI error type). When each is raised: `tokenomics docs errors`.
CASES: dict[str, tuple[int, str]] = {
    "missing_token": (401, "authentication_error"),
    "invalid_token": (401, "authentication_error"),
    "token_expired": (401, "authentication_error"),
    "token_not_yet_valid": (401, "authentication_error"),
    "model_not_allowed": (403, "permission_error"),
    "model_not_priced": (403, "permission_error"),
    "endpoint_not_allowed": (403, "permission_error"),
    "ip_not_allowed": (403, "permission_error"),
    "admin_required": (403, "permission_error"),
    "content_blocked": (403, "permission_error"),
    "invalid_json": (400, "invalid_request_error"),
    "invalid_request": (400, "invalid_request_error"),
    "not_found": (404, "invalid_request_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "request_timeout": (408, "invalid_request_error"),
    "body_too_large": (413, "invalid_request_error"),
    "unsupported_encoding": (415, "invalid_request_error"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "too_many_parallel": (429, "rate_limit_error"),
    "insufficient_quota": (429, "insufficient_quota"),
    "provider_key_missing": (500, "api_error"),
    "internal_error": (500, "api_error"),
    "upstream_unreachable": (502, "api_error"),
    "upstream_invalid": (502, "api_error"),
    "upstream_timeout": (504, "api_error"),
    "policy_unsupported": (503, "api_error"),
    "limits_unavailable": (503, "api_error"),
}

Headers = tuple[tuple[str, str], ...]


class Refusal(Exception):
    """A request ends here, with an answer the client can act on.

    `message` says what happened, to what, and what to do; it never holds a secret or matched text.
    `headers` are added to the answer (`Retry-After` and the like).
    """

    def __init__(
        self, code: str, message: str, *, param: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers
        self.status, self.type = CASES[code]


class ToolError(Exception):
    """A command cannot go on. The message is printed on stderr, `exit_code` is its status."""

    exit_code = 1


class Failed(ToolError):
    """Network, disk or server failed."""

    exit_code = 1


class UsageError(ToolError):
    """The command line is wrong."""

    exit_code = 2


class NotFound(ToolError):
    """What was named does not exist."""

    exit_code = 3


class Ambiguous(ToolError):
    """A hash prefix or a name stands for more than one token."""

    exit_code = 4


class Invalid(ToolError):
    """A policy, a config or a data file is not valid."""

    exit_code = 5


class Refused(ToolError):
    """Going on would lose data, or it runs already."""

    exit_code = 6
