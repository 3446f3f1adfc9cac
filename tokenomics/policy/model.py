"""A policy as values: parsing, with the JSON path of every fault, and nothing else.

The schema is the Go original's (`tokenomics docs policies`). What this version cannot enforce is
refused like any unknown key, so that no token ever runs with less than its policy says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType

from tokenomics.errors import Invalid
from tokenomics.policy.rules import Rule

DEFAULT_TIMEOUT = 30.0  # seconds, as in the original
DEFAULT_RETRY_ON = (429, 500, 502, 503, 504)
MAX_POLICY_BYTES = 1 << 20
Network = IPv4Network | IPv6Network
MAX_BUDGET_NAME = 160  # bytes; a longer one is cut, and told apart by its digest


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Which models. Empty allows every model."""

    exact: str = ""
    regex: str = ""
    names: tuple[str, ...] = ()  # exact names or `prefix*`

    def __bool__(self) -> bool:
        return bool(self.exact or self.regex or self.names)

    def describe(self) -> str:
        """What is allowed, for messages."""
        parts = [repr(self.exact)] if self.exact else []
        parts += [f"what matches {self.regex!r}"] if self.regex else []
        parts += [repr(name) for name in self.names]
        return ", ".join(parts) or "any model"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A message that is put in front of the client's."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class RateRule:
    """At most `requests` and/or `tokens` (0: no limit) per `window` seconds."""

    requests: int
    tokens: int
    window: float
    strategy: str  # "sliding" or "fixed"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """All rate rules of a token; `max_parallel` 0 means no limit."""

    rules: tuple[RateRule, ...] = ()
    max_parallel: int = 0


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """At most `tokens` and/or `cost_usd` (0: no limit) per `period`, which begins at midnight, on
    the hour, on Monday or on the first, as `timezone` has them. `warn_at` are parts of the whole,
    from 0 to 1."""

    tokens: int = 0
    cost_usd: float = 0.0
    period: str = "total"  # or "hour", "day", "week", "month"
    timezone: str = "UTC"
    warn_at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """`max_retries` more tries per model on the statuses `retry_on`, then each fallback model."""

    max_retries: int = 0
    fallbacks: tuple[str, ...] = ()
    retry_on: tuple[int, ...] = DEFAULT_RETRY_ON


@dataclass(frozen=True, slots=True)
class Memory:
    """Where the conversation is written. Without `file_name`, `file_path` is the file."""

    file_path: str
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry under `providers`: what it sets overrides or extends the global fields."""

    provider: str
    base_key_env: str = ""
    upstream_url: str = ""
    max_tokens: int = 0
    max_output_tokens: int = 0
    models: ModelSet = ModelSet()
    prompts: tuple[Prompt, ...] = ()
    rules: tuple[Rule, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    timeout: float = 0.0

    @property
    def budget_name(self) -> str:
        """The name its budgets are counted under: stable while provider and models stay."""
        parts = (self.models.exact, self.models.regex, ",".join(self.models.names))
        name = f"{self.provider}:{'|'.join(part for part in parts if part) or '*'}"
        if len(name.encode()) <= MAX_BUDGET_NAME:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return f"{name.encode()[:MAX_BUDGET_NAME].decode(errors='ignore')}#{digest}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one token may do. Zero and empty mean that nothing was set.

    `model_aliases` are names that clients may use for a model; `endpoints` are paths without a
    version, or `prefix*`, that are open beside the governed ones; `max_output_tokens` bounds all
    output of one request; `not_before` is in epoch seconds.
    """

    base_key_env: str = ""
    upstream_url: str = ""
    max_tokens: int = 0
    max_output_tokens: int = 0
    models: ModelSet = ModelSet()
    prompts: tuple[Prompt, ...] = ()
    rules: tuple[Rule, ...] = ()
    entries: tuple[Entry, ...] = ()
    default_provider: str = ""
    model_aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    endpoints: tuple[str, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    rate_limit: RateLimit = RateLimit()
    retry: Retry = Retry()
    timeout: float = DEFAULT_TIMEOUT
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    memory: Memory | None = None
    not_before: float = 0.0
    allow_ips: tuple[Network, ...] = ()

    @property
    def total_tokens(self) -> int:
        """The budget of the token as a whole: the smallest that is set, for all of them hold."""
        totals = [self.max_tokens, *(b.tokens for b in self.budgets if b.period == "total")]
        return min((limit for limit in totals if limit), default=0)


def parse_policy(text: str) -> Policy:
    """The policy that a JSON text says. Raises Invalid with every fault and its JSON path."""
    from tokenomics.policy.schema import read_policy  # the reader needs the values above

    return read_policy(text)


@lru_cache(maxsize=1024)
def cached_policy(text: str) -> Policy | Invalid:
    """The same, parsed once for all tokens with equal text; or why this version refuses it."""
    try:
        return parse_policy(text)
    except Invalid as e:
        return e
