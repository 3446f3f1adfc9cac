"""What happened to one request: written along the road, read once at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenomics.dialects.usage import Usage
from tokenomics.policy.rules import Finding
from tokenomics.tokens import EVENT_HASH_DIGITS
from tokenomics.units import rfc3339_micros


@dataclass(slots=True)
class Outcome:
    """One request. Times are seconds: `started` since the epoch, the others since `started`."""

    id: str
    path: str
    started: float
    shape: str = "openai"  # of its errors
    hash: str = ""
    model: str = ""  # asked for
    stream: bool = False
    status: int = 0
    code: str = ""  # of the refusal, or of how an answer broke off
    served_model: str = ""
    provider: str = ""
    upstream_id: str = ""
    attempts: int = 0
    client_retries: int = 0  # that its SDK made before this one
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
        row: dict[str, Any] = {
            "time": rfc3339_micros(self.started),
            "request_id": self.id,
            "path": self.path,
            "status": self.status,
            "duration_ms": round(self.seconds * 1000, 1),
        }
        if self.hash:
            row["token_hash"] = "****" if hide_hash else self.short_hash
        if self.model:
            row["model"] = self.model
        if self.provider:
            row["provider"] = self.provider
        if self.usage:
            row["input_tokens"], row["output_tokens"] = self.usage.input, self.usage.output
            row.update(_kinds(self.usage))
        if self.head_seconds is not None:
            row["upstream_ms"] = round(self.head_seconds * 1000, 1)
        row.update(self._rare())
        return row

    def _rare(self) -> Iterator[tuple[str, Any]]:
        """What most requests have none of."""
        if self.code:
            yield "code", self.code
        if self.served_model != self.model and self.served_model:
            yield "served_model", self.served_model
        if self.stream:
            yield "stream", True
        if self.upstream_id:
            yield "upstream_id", self.upstream_id
        if self.attempts > 1:
            yield "attempts", self.attempts
        if self.client_retries:
            yield "client_retries", self.client_retries
        if self.skipped:
            yield "skipped_fallbacks", list(self.skipped)
        if self.findings:
            yield "rules", [f"{f.rule.name}:{f.rule.action}" for f in self.findings]
        if self.estimated:
            yield "estimated", True
        if self.metadata:
            yield "metadata", dict(self.metadata)

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


def _kinds(usage: Usage) -> Iterator[tuple[str, int]]:
    """What of the tokens is of a kind with a price of its own, where there is any."""
    kinds = {
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        "reasoning_tokens": usage.reasoning,
        "audio_tokens": usage.audio_input + usage.audio_output,
    }
    return ((name, count) for name, count in kinds.items() if count)
