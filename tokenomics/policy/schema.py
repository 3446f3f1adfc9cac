"""Reading a policy document: every field of every object in one table, faults with JSON paths."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tokenomics.config.providers import ECHO_URL
from tokenomics.errors import Invalid
from tokenomics.net.origin import parse_origin
from tokenomics.policy import model
from tokenomics.policy.detectors import KINDS
from tokenomics.policy.regexes import BadPattern, Pattern, compile_pattern, keyword_pattern
from tokenomics.policy.rules import ACTIONS, MASK, SCOPES, Rule
from tokenomics.units import parse_duration

RULE_TYPES = ("regex", "keyword", "pii")
ROLES = ("system", "developer", "user", "assistant")
MAX_COUNT = 10**15  # far above any budget, and exact in every JSON reader
MAX_TIMEOUT = 86400.0  # seconds


class _Bad(ValueError):
    """One field is wrong; the caller knows its path."""


Read = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Bad(f"must be text, not {_kind(value)}")
    return value


def _url(value: Any) -> str:
    text = _text(value)
    if text and text != ECHO_URL:
        try:
            parse_origin(text)
        except ValueError as e:
            raise _Bad(str(e)) from None
    return text


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Bad(f"must be a whole number, not {_kind(value)}")
    if not 0 <= value <= MAX_COUNT:
        raise _Bad(f"must be from 0 to {MAX_COUNT}")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Bad(f"must be a number of seconds, not {_kind(value)}")
    if not 0 <= value <= MAX_TIMEOUT:
        raise _Bad(f"must be from 0 to {MAX_TIMEOUT:.0f} seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Bad(f"must be true or false, not {_kind(value)}")
    return value


def _window(value: Any) -> float:
    try:
        return parse_duration(_text(value))
    except _Bad:
        raise
    except ValueError as e:
        raise _Bad(str(e)) from None


def _pattern(value: Any) -> Pattern:
    try:
        return compile_pattern(_text(value))
    except BadPattern as e:
        raise _Bad(f"is no RE2 pattern: {e}") from None


def _regex_source(value: Any) -> str:
    return _pattern(value).source


def _one_of(*allowed: str) -> Read:
    def read(value: Any) -> str:
        text = _text(value)
        if text not in allowed:
            near = difflib.get_close_matches(text, allowed, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _Bad(f"{text!r} is not one of {', '.join(allowed)}{hint}")
        return text

    return read


def _status(value: Any) -> int:
    code = _count(value)
    if not 400 <= code <= 599:
        raise _Bad(f"{code} is not an error status (400 to 599)")
    return code


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


_RULE: dict[str, Read] = {
    "name": _text,
    "type": _one_of(*RULE_TYPES),
    "action": _one_of(*ACTIONS),
    "scope": _one_of(*SCOPES),
    "pattern": _pattern,
    "replacement": _text,
}
_RATE_RULE: dict[str, Read] = {
    "requests": _count,
    "tokens": _count,
    "window": _window,
    "strategy": _one_of("sliding", "fixed"),
}
_SHARED: dict[str, Read] = {
    "base_key_env": _text,
    "upstream_url": _url,
    "max_tokens": _count,
    "model": _text,
    "model_regex": _regex_source,
    "timeout": _seconds,
}
_MEMORY: dict[str, Read] = {"enabled": _flag, "file_path": _text, "file_name": _text}


class _Reader:
    """Walks the document once, collecting faults."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def fault(self, path: str, message: str) -> None:
        self.faults.append(f"{path}: {message}")

    def object(
        self, value: Any, path: str, simple: Mapping[str, Read], nested: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The read fields of one object; a null is the same as a missing key."""
        if not isinstance(value, dict):
            self.fault(path, f"must be an object, not {_kind(value)}")
            return {}
        out = {}
        for key, item in value.items():
            place = f"{path}.{key}"
            if key in nested:
                out[key] = nested[key](item, place) if item is not None else None
            elif key in simple:
                out[key] = self.leaf(item, place, simple[key]) if item is not None else None
            else:
                near = difflib.get_close_matches(key, [*simple, *nested], 1, 0.5)
                self.fault(place, "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
        return {key: item for key, item in out.items() if item is not None}

    def leaf(self, value: Any, path: str, read: Read) -> Any:
        try:
            return read(value)
        except _Bad as e:
            self.fault(path, str(e))
            return None

    def many(self, value: Any, path: str, read: Callable[[Any, str], Any]) -> tuple[Any, ...]:
        if not isinstance(value, list):
            self.fault(path, f"must be a list, not {_kind(value)}")
            return ()
        read_items = (read(item, f"{path}[{i}]") for i, item in enumerate(value))
        return tuple(item for item in read_items if item is not None)

    def list_of(self, read: Read) -> Callable[[Any, str], tuple[Any, ...]]:
        return lambda value, path: self.many(value, path, lambda v, p: self.leaf(v, p, read))

    # The objects, from the inside out

    def prompt(self, value: Any, path: str) -> model.Prompt | None:
        found = self.object(value, path, {"role": _one_of(*ROLES), "content": _text}, {})
        if isinstance(value, dict) and not found.get("content"):
            self.fault(path, "needs content")
        return model.Prompt(found.get("role", "system"), found.get("content", ""))

    def rule(self, value: Any, path: str) -> Rule | None:
        if isinstance(value, str):  # the original's old form
            value = {"type": "regex", "pattern": value}
        lists = {"keywords": self.list_of(_text), "detect": self.list_of(_one_of(*KINDS))}
        found = self.object(value, path, _RULE, lists)
        if not isinstance(value, dict):
            return None
        type_ = found.get("type", "")
        if value.get("type") is None:
            self.fault(path, f"needs a type: {', '.join(RULE_TYPES)}")
        keywords = tuple(word for word in found.get("keywords", ()) if word)
        if type_ == "regex" and value.get("pattern") is None:
            self.fault(path, "a regex rule needs a pattern")
        if type_ == "keyword" and not keywords:
            self.fault(path, "a keyword rule needs keywords")
        pattern = keyword_pattern(keywords) if type_ == "keyword" and keywords else None
        return Rule(
            name=found.get("name") or path.rpartition(".")[2],
            type=type_,
            action=found.get("action", "fail"),
            scope=found.get("scope", "input"),
            pattern=found.get("pattern") if type_ == "regex" else pattern,
            kinds=(found.get("detect") or KINDS) if type_ == "pii" else (),
            replacement=found.get("replacement", MASK),
        )

    def rate_rule(self, value: Any, path: str) -> model.RateRule | None:
        found = self.object(value, path, _RATE_RULE, {})
        requests, tokens = found.get("requests", 0), found.get("tokens", 0)
        if isinstance(value, dict) and not requests and not tokens:
            self.fault(path, "needs requests or tokens")
        return model.RateRule(
            requests, tokens, found.get("window", 60.0), found.get("strategy", "sliding")
        )

    def rate_limit(self, value: Any, path: str) -> model.RateLimit:
        nested = {"rules": lambda v, p: self.many(v, p, self.rate_rule)}
        found = self.object(value, path, {"max_parallel": _count}, nested)
        return model.RateLimit(found.get("rules", ()), found.get("max_parallel", 0))

    def retry(self, value: Any, path: str) -> model.Retry:
        nested = {"fallbacks": self.list_of(_text), "retry_on": self.list_of(_status)}
        found = self.object(value, path, {"max_retries": _count}, nested)
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

    def metadata(self, value: Any, path: str) -> Mapping[str, str]:
        if not isinstance(value, dict):
            self.fault(path, f"must be an object, not {_kind(value)}")
            return {}
        return MappingProxyType(self.object(value, path, dict.fromkeys(value, _text), {}))

    def models(self, value: Any, path: str) -> tuple[str, ...]:
        if value == []:  # whoever empties a list of what is allowed does not mean everything
            self.fault(path, "must name at least one model, or be left out")
        return self.list_of(_text)(value, path)

    def shared(self) -> dict[str, Any]:
        return {
            "models": self.models,
            "prompts": lambda v, p: self.many(v, p, self.prompt),
            "rules": lambda v, p: self.many(v, p, self.rule),
        }

    def entries(self, value: Any, path: str) -> tuple[model.Entry, ...]:
        if not isinstance(value, dict):
            self.fault(path, f"must be an object, not {_kind(value)}")
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
            "rate_limit": self.rate_limit,
            "retry": self.retry,
            "metadata": self.metadata,
            "memory": self.memory,
        }
        found = self.object(value, "$", {**_SHARED, "default_provider": _text}, nested)
        entries = found.pop("providers", ())
        if not self.faults and not (
            entries or found.get("base_key_env") or found.get("default_provider")
        ):
            self.fault("$", "needs base_key_env, default_provider or at least one provider")
        common = _common(found)
        common["timeout"] = common.get("timeout") or model.DEFAULT_TIMEOUT
        own = ("default_provider", "rate_limit", "retry", "metadata", "memory")
        rest = {key: found[key] for key in own if key in found}
        return model.Policy(entries=entries, **common, **rest)


def _common(found: dict[str, Any]) -> dict[str, Any]:
    """What a policy and an entry share, with the three model fields as one set."""
    keys = ("base_key_env", "upstream_url", "max_tokens", "prompts", "rules", "timeout")
    out = {key: found[key] for key in keys if key in found}
    out["models"] = model.ModelSet(
        found.get("model", ""), found.get("model_regex", ""), found.get("models", ())
    )
    return out


def read_policy(document: Any) -> model.Policy:
    """The policy of a JSON document. Raises Invalid: one line per fault, each with its path."""
    reader = _Reader()
    policy = reader.policy(document)
    if reader.faults:
        raise Invalid("\n".join(f"policy: {fault}" for fault in reader.faults))
    return policy
