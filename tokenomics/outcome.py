"""What happened to one request: written along the road, read once at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenomics.dialects.openai import Usage
from tokenomics.policy.rules import Finding
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.units import rfc3339_micros


@dataclass(slots=True)
class Outcome:
    """One request. Times are seconds: `started` since the epoch, the others since `started`."""

    id: str
    path: str
    started: float
    hash: str = ""
    model: str = ""  # asked for
    stream: bool = False
    status: int = 0
    code: str = ""  # of the refusal, or of how an answer broke off
    served_model: str = ""
    provider: str = ""
    upstream_id: str = ""
    attempts: int = 0
    skipped: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    usage: Usage | None = None
    estimated: bool = False
    head_seconds: float | None = None
    seconds: float = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def short_hash(self) -> str:
        """As much of the token's hash as events and logs carry."""
        return self.hash[:EVENT_HASH_DIGITS]

    def log_row(self, *, hide_hash: bool) -> dict[str, Any]:
        """The line of the request log. It holds no content and no key."""
        usage = self.usage
        row: dict[str, Any] = {
            "time": rfc3339_micros(self.started),
            "request_id": self.id,
            "path": self.path,
            "status": self.status,
            "duration_ms": round(self.seconds * 1000, 1),
        }
        optional = {
            "token_hash": "****" if hide_hash and self.hash else self.short_hash,
            "code": self.code,
            "model": self.model,
            "served_model": self.served_model if self.served_model != self.model else "",
            "provider": self.provider,
            "stream": self.stream,
            "upstream_id": self.upstream_id,
            "attempts": self.attempts if self.attempts > 1 else 0,
            "skipped_fallbacks": list(self.skipped),
            "rules": [f"{f.rule.name}:{f.rule.action}" for f in self.findings],
            "input_tokens": usage.input if usage else 0,
            "output_tokens": usage.output if usage else 0,
            "estimated": self.estimated,
            "metadata": dict(self.metadata),
        }
        row.update({key: value for key, value in optional.items() if value})
        if self.head_seconds is not None:
            row["upstream_ms"] = round(self.head_seconds * 1000, 1)
        return row

    def completed_data(self) -> dict[str, Any]:
        """The data of `request.completed`, as the original sends it."""
        usage = self.usage or Usage(0, 0)
        return {
            "token_hash": self.short_hash,
            "model": self.model,
            "stream": self.stream,
            "status_code": self.status,
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "error": self.status >= 400 or bool(self.code),
        }
