"""Reading a policy document: every field of every object in one table, faults with JSON paths.

How one value is read is in `leaves`; here is which keys an object has and what they say together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tokenomics import strictjson
from tokenomics.errors import Invalid
from tokenomics.policy import leaves, model
from tokenomics.policy.detectors import KINDS
from tokenomics.policy.jailbreak import DEFAULT_THRESHOLD
from tokenomics.policy.leaves import Bad, Read, kind, near
from tokenomics.policy.periods import PERIODS
from tokenomics.policy.regexes import keyword_pattern
from tokenomics.policy.rules import ACTIONS, MASK, SCOPES, Rule

# The one key that says what a rule of a type looks for. Another type's key would promise a check
# that is never made.
RULE_TYPES = {
    "regex": "pattern",
    "keyword": "keywords",
    "pii": "detect",
    "jailbreak": "threshold",
}
ROLES = ("system", "developer", "user", "assistant")


class Fault(NamedTuple):
    """What is wrong, and where."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


_RULE: dict[str, Read] = {
    "name": leaves.text,
    "type": leaves.one_of(*RULE_TYPES),
    "action": leaves.one_of(*ACTIONS),
    "scope": leaves.one_of(*SCOPES),
    "pattern": leaves.pattern,
    "replacement": leaves.text,
    "threshold": leaves.threshold,
}
_RATE_RULE: dict[str, Read] = {
    "requests": leaves.count,
    "tokens": leaves.count,
    "window": leaves.window,
    "strategy": leaves.one_of("sliding", "fixed"),
}
_BUDGET: dict[str, Read] = {
    "tokens": leaves.count,
    "cost_usd": leaves.dollars,
    "period": leaves.one_of(*PERIODS),
    "timezone": leaves.timezone,
}
_SHARED: dict[str, Read] = {
    "base_key_env": leaves.text,
    "upstream_url": leaves.url,
    "max_tokens": leaves.count,
    "max_output_tokens": leaves.count,
    "model": leaves.text,
    "model_regex": leaves.regex_source,
    "timeout": leaves.seconds,
}
_GLOBAL: dict[str, Read] = {
    **_SHARED,
    "default_provider": leaves.text,
    "not_before": leaves.moment,
}
_MEMORY: dict[str, Read] = {
    "enabled": leaves.flag,
    "file_path": leaves.text,
    "file_name": leaves.text,
}
_PROMPT: dict[str, Read] = {"role": leaves.one_of(*ROLES), "content": leaves.text}


class _Reader:
    """Walks the document once, collecting faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, path: str, message: str) -> None:
        self.faults.append(Fault(path, message))

    def object(
        self, value: Any, path: str, simple: Mapping[str, Read], nested: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The read fields of one object; a null is the same as a missing key."""
        if not isinstance(value, dict):
            self.fault(path, f"must be an object, not {kind(value)}")
            return {}
        out = {}
        for key, item in value.items():
            place = f"{path}.{key}"
            if key in nested:
                out[key] = nested[key](item, place) if item is not None else None
            elif key in simple:
                out[key] = self.leaf(item, place, simple[key]) if item is not None else None
            else:
                self.fault(place, "unknown key" + near(key, [*simple, *nested]))
        return {key: item for key, item in out.items() if item is not None}

    def leaf(self, value: Any, path: str, read: Read) -> Any:
        try:
            return read(value)
        except Bad as e:
            self.fault(path, str(e))
            return None

    def many(self, value: Any, path: str, read: Callable[[Any, str], Any]) -> tuple[Any, ...]:
        if not isinstance(value, list):
            self.fault(path, f"must be a list, not {kind(value)}")
            return ()
        read_items = (read(item, f"{path}[{i}]") for i, item in enumerate(value))
        return tuple(item for item in read_items if item is not None)

    def list_of(self, read: Read) -> Callable[[Any, str], tuple[Any, ...]]:
        return lambda value, path: self.many(value, path, lambda v, p: self.leaf(v, p, read))

    def allowed(self, read: Read, one: str) -> Callable[[Any, str], tuple[Any, ...]]:
        """A list of what is allowed: whoever empties one does not mean everything."""

        def read_list(value: Any, path: str) -> tuple[Any, ...]:
            if value == []:
                self.fault(path, f"must name at least one {one}, or be left out")
            return self.list_of(read)(value, path)

        return read_list

    def map_of(self, value: Any, path: str, read: Read) -> Mapping[str, Any]:
        """An object whose keys are the user's own."""
        keys = value if isinstance(value, dict) else ()
        return MappingProxyType(self.object(value, path, dict.fromkeys(keys, read), {}))

    # The objects, from the inside out

    def prompt(self, value: Any, path: str) -> model.Prompt | None:
        found = self.object(value, path, _PROMPT, {})
        if isinstance(value, dict) and not found.get("content"):
            self.fault(path, "needs content")
        return model.Prompt(found.get("role", "system"), found.get("content", ""))

    def rule(self, value: Any, path: str) -> Rule | None:
        if isinstance(value, str):  # the original's old form
            value = {"type": "regex", "pattern": value}
        lists = {
            "keywords": self.list_of(leaves.keyword),
            "detect": self.list_of(leaves.one_of(*KINDS)),
        }
        found = self.object(value, path, _RULE, lists)
        if not isinstance(value, dict):
            return None
        type_, action = found.get("type", ""), found.get("action", "fail")
        keywords = tuple(word for word in found.get("keywords", ()) if word)
        if value.get("type") is None:
            self.fault(path, f"needs a type: {', '.join(RULE_TYPES)}")
        if type_ == "regex" and value.get("pattern") is None:
            self.fault(path, "a regex rule needs a pattern")
        if type_ == "keyword" and not keywords:
            self.fault(path, "a keyword rule needs keywords")
        if type_ == "jailbreak" and action == "mask":
            message = "a jailbreak rule judges a whole text: use fail, warn or log"
            self.fault(f"{path}.action", message)
        self._no_other_types_keys(type_, value, path)
        words = keyword_pattern(keywords) if keywords else None
        return Rule(
            name=found.get("name") or path.rpartition(".")[2],
            type=type_,
            action=action,
            scope=found.get("scope", "input"),
            pattern={"regex": found.get("pattern"), "keyword": words}.get(type_),
            kinds=(found.get("detect") or KINDS) if type_ == "pii" else (),
            replacement=found.get("replacement", MASK),
            threshold=found.get("threshold", DEFAULT_THRESHOLD),
        )

    def _no_other_types_keys(self, type_: str, value: Mapping[str, Any], path: str) -> None:
        """Empty ones say nothing, and the original may have written them."""
        for other, key in RULE_TYPES.items():
            if type_ and other != type_ and value.get(key) not in (None, "", []):
                self.fault(f"{path}.{key}", f"is for {other} rules, this one is of type {type_}")

    def rate_rule(self, value: Any, path: str) -> model.RateRule | None:
        found = self.object(value, path, _RATE_RULE, {})
        requests, tokens = found.get("requests", 0), found.get("tokens", 0)
        if isinstance(value, dict) and not requests and not tokens:
            zero = " and ".join(key for key in ("requests", "tokens") if found.get(key) == 0)
            self.fault(path, f"{zero}: must be at least 1" if zero else "needs requests or tokens")
        return model.RateRule(
            requests, tokens, found.get("window", 60.0), found.get("strategy", "sliding")
        )

    def rate_limit(self, value: Any, path: str) -> model.RateLimit:
        nested = {"rules": lambda v, p: self.many(v, p, self.rate_rule)}
        found = self.object(value, path, {"max_parallel": leaves.count}, nested)
        return model.RateLimit(found.get("rules", ()), found.get("max_parallel", 0))

    def budget(self, value: Any, path: str) -> model.BudgetRule:
        found = self.object(value, path, _BUDGET, {"warn_at": self.list_of(leaves.part)})
        if isinstance(value, dict) and not value.get("tokens") and not value.get("cost_usd"):
            self.fault(path, "needs tokens or cost_usd")
        return model.BudgetRule(**found)

    def budgets(self, value: Any, path: str) -> tuple[model.BudgetRule, ...]:
        if isinstance(value, list):
            return self.many(value, path, self.budget)
        return (self.budget(value, path),)

    def retry(self, value: Any, path: str) -> model.Retry:
        nested = {
            "fallbacks": self.list_of(leaves.text),
            "retry_on": self.list_of(leaves.error_status),
        }
        found = self.object(value, path, {"max_retries": leaves.count}, nested)
        if found.get("max_retries", 0) > 10:
            self.fault(f"{path}.max_retries", "must be from 0 to 10")
        return model.Retry(
            found.get("max_retries", 0),
            found.get("fallbacks", ()),
            found.get("retry_on") or model.DEFAULT_RETRY_ON,
        )

    def memory(self, value: Any, path: str) -> model.Memory | None:
        found = self.object(value, path, _MEMORY, {})
        if not found.get("enabled"):
            return None
        if not found.get("file_path"):
            self.fault(path, "needs file_path")
        name = found.get("file_name", "")
        if name.startswith("/") or ".." in name.split("/"):
            self.fault(f"{path}.file_name", "must stay inside file_path")
        return model.Memory(found.get("file_path", ""), name)

    def aliases(self, value: Any, path: str) -> Mapping[str, str]:
        found = self.map_of(value, path, leaves.filled)
        for alias, target in found.items():
            if not alias:
                self.fault(path, "an alias must not be empty")
            if target in found:
                self.fault(f"{path}.{alias}", f"{target!r} is an alias itself; name a model")
        return found

    def shared(self) -> dict[str, Any]:
        return {
            "models": self.allowed(leaves.text, "model"),
            "prompts": lambda v, p: self.many(v, p, self.prompt),
            "rules": lambda v, p: self.many(v, p, self.rule),
            "budget": self.budgets,
        }

    def entries(self, value: Any, path: str) -> tuple[model.Entry, ...]:
        if not isinstance(value, dict):
            self.fault(path, f"must be an object, not {kind(value)}")
            return ()
        out: list[model.Entry] = []
        for name, items in value.items():
            place = f"{path}.{name}"
            out += self.many(items, place, functools.partial(self.entry, name))
        return tuple(out)

    def entry(self, provider: str, value: Any, path: str) -> model.Entry:
        return model.Entry(provider, **_common(self.object(value, path, _SHARED, self.shared())))

    def policy(self, value: Any) -> model.Policy:
        nested = {
            **self.shared(),
            "providers": self.entries,
            "model_aliases": self.aliases,
            "endpoints": self.list_of(leaves.endpoint),
            "rate_limit": self.rate_limit,
            "retry": self.retry,
            "metadata": lambda v, p: self.map_of(v, p, leaves.text),
            "memory": self.memory,
            "allow_ips": self.allowed(leaves.network, "address"),
        }
        found = self.object(value, "$", _GLOBAL, nested)
        entries = found.pop("providers", ())
        if not self.faults and not (
            entries or found.get("base_key_env") or found.get("default_provider")
        ):
            self.fault("$", "needs base_key_env, default_provider or at least one provider")
        common = _common(found)
        common["timeout"] = common.get("timeout") or model.DEFAULT_TIMEOUT
        rest = {key: found[key] for key in _OWN if key in found}
        return model.Policy(entries=entries, **common, **rest)


# The keys that only the policy as a whole has.
_OWN = (
    "default_provider model_aliases endpoints rate_limit retry metadata memory not_before allow_ips"
).split()


def _common(found: dict[str, Any]) -> dict[str, Any]:
    """What a policy and an entry share, with the three model fields as one set."""
    keys = (*(key for key in _SHARED if key not in ("model", "model_regex")), "prompts", "rules")
    out = {key: found[key] for key in keys if key in found}
    if "budget" in found:
        out["budgets"] = found["budget"]
    out["models"] = model.ModelSet(
        found.get("model", ""), found.get("model_regex", ""), found.get("models", ())
    )
    return out


def examine(text: str) -> tuple[model.Policy | None, Any, list[Fault]]:
    """A policy, the document it stands in, and every fault; with faults there is no policy."""
    if len(text.encode("utf-8", "replace")) > model.MAX_POLICY_BYTES:
        return None, None, [Fault("$", f"is larger than {model.MAX_POLICY_BYTES >> 20} MiB")]
    try:
        document = strictjson.loads(text)
    except strictjson.BadJSON as e:
        return None, None, [Fault("$", f"is not JSON: {e}")]
    reader = _Reader()
    policy = reader.policy(document)
    return (None if reader.faults else policy), document, reader.faults


def read_policy(text: str) -> model.Policy:
    """The policy of a JSON text. Raises Invalid: one line per fault, each with its path."""
    policy, _, faults = examine(text)
    if policy is None:
        raise Invalid("\n".join(f"policy: {fault}" for fault in faults))
    return policy
