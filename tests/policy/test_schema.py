"""Reading policies: what a document means, and that every fault is named with its JSON path."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.errors import Invalid
from tokenomics.policy.detectors import KINDS
from tokenomics.policy.jailbreak import DEFAULT_THRESHOLD
from tokenomics.policy.leaves import MAX_COUNT
from tokenomics.policy.model import (
    DEFAULT_RETRY_ON,
    MAX_POLICY_BYTES,
    BudgetRule,
    Memory,
    ModelSet,
    Policy,
    Prompt,
    RateLimit,
    RateRule,
    Retry,
    cached_policy,
    parse_policy,
)

EXAMPLES = Path(__file__).parents[2] / "examples/distributed-team/policies"


def parse(**fields: Any) -> Policy:
    """The policy of a document that names a key; `fields` are the rest."""
    return parse_policy(json.dumps({"base_key_env": "KEY", **fields}))


def faults(document: Any) -> list[str]:
    """Every fault, without the word in front."""
    with pytest.raises(Invalid) as caught:
        parse_policy(json.dumps(document))
    return [line.removeprefix("policy: ") for line in str(caught.value).splitlines()]


# What a document means


def test_the_least_policy_allows_everything_without_limits() -> None:
    policy = parse()
    assert policy == Policy(base_key_env="KEY", timeout=30.0)
    assert policy.retry.retry_on == DEFAULT_RETRY_ON
    assert not policy.models


def test_every_global_field_is_read() -> None:
    policy = parse(
        upstream_url="https://llm.example/api",
        max_tokens=1000,
        model="gpt-4o",
        model_regex="^gpt",
        models=["a", "b*"],
        prompts=[{"role": "developer", "content": "Be kind."}, {"content": "And brief."}],
        default_provider="openai",
        timeout=2.5,
        rate_limit={
            "max_parallel": 3,
            "rules": [{"requests": 5}, {"tokens": 9, "window": "1d12h", "strategy": "fixed"}],
        },
        retry={"max_retries": 2, "fallbacks": ["x"], "retry_on": [418]},
        metadata={"team": "red"},
        memory={"enabled": True, "file_path": "/var/m", "file_name": "{date}.md"},
        max_output_tokens=50,
        model_aliases={"fast": "gpt-4o"},
        endpoints=["/v1/files*", "/batches/"],
        budget={"tokens": 500, "cost_usd": 2.5, "period": "day", "warn_at": [0.8]},
        not_before="2027-01-01T01:00:00+01:00",
        allow_ips=["10.0.0.0/8", "::1"],
    )
    assert policy == Policy(
        base_key_env="KEY",
        upstream_url="https://llm.example/api",
        max_tokens=1000,
        models=ModelSet("gpt-4o", "^gpt", ("a", "b*")),
        prompts=(Prompt("developer", "Be kind."), Prompt("system", "And brief.")),
        default_provider="openai",
        timeout=2.5,
        rate_limit=RateLimit(
            (RateRule(5, 0, 60.0, "sliding"), RateRule(0, 9, 129600.0, "fixed")), 3
        ),
        retry=Retry(2, ("x",), (418,)),
        metadata={"team": "red"},
        memory=Memory("/var/m", "{date}.md"),
        max_output_tokens=50,
        model_aliases={"fast": "gpt-4o"},
        endpoints=("/files*", "/batches"),
        budgets=(BudgetRule(500, 2.5, "day", warn_at=(0.8,)),),
        not_before=1798761600.0,
        allow_ips=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
    )


def test_entries_keep_the_written_order_over_all_providers() -> None:
    policy = parse(providers={"z": [{"model": "1", "timeout": 5}, {"model_regex": "2"}], "a": [{}]})
    assert [(e.provider, e.models, e.timeout) for e in policy.entries] == [
        ("z", ModelSet(exact="1"), 5.0),
        ("z", ModelSet(regex="2"), 0.0),
        ("a", ModelSet(), 0.0),
    ]


def test_a_rule_has_defaults() -> None:
    [found] = parse(rules=[{"type": "pii"}]).rules
    assert (found.name, found.action, found.scope) == ("rules[0]", "fail", "input")
    assert found.kinds == KINDS
    assert found.replacement == "[REDACTED]"


def test_a_jailbreak_rule_has_a_threshold() -> None:
    default, own = parse(rules=[{"type": "jailbreak"}, {"type": "jailbreak", "threshold": 2}]).rules
    assert (default.threshold, own.threshold) == (DEFAULT_THRESHOLD, 2.0)
    assert (own.pattern, own.kinds) == (None, ())


def test_empty_keys_of_another_type_say_nothing() -> None:
    """The original may have written them."""
    [found] = parse(rules=[{"type": "pii", "pattern": "", "keywords": [], "action": "warn"}]).rules
    assert (found.type, found.pattern) == ("pii", None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_ipv4_written_in_ipv6_is_ipv4(written: str, read: str) -> None:
    assert parse(allow_ips=[written]).allow_ips == (ip_network(read),)


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({}, 0),
        ({"max_tokens": 9}, 9),
        ({"budget": {"tokens": 7}}, 7),
        ({"max_tokens": 9, "budget": {"tokens": 7}}, 7),
        ({"max_tokens": 5, "budget": [{"tokens": 7}, {"tokens": 6, "timezone": "UTC"}]}, 5),
    ],
    ids=["none", "old", "new", "both", "list"],
)
def test_all_budgets_of_the_whole_token_hold(fields: dict[str, Any], total: int) -> None:
    assert parse(**fields).total_tokens == total


def test_the_old_rule_form_is_a_failing_regex() -> None:
    old, new = parse(rules=["(?i)secret", {"type": "regex", "pattern": "(?i)secret"}]).rules
    assert old.name == "rules[0]"
    assert (old.type, old.action, old.scope, old.pattern) == (
        new.type,
        new.action,
        new.scope,
        new.pattern,
    )
    assert old.pattern is not None
    assert list(old.pattern.spans("a SECRET")) == [(2, 8)]


@pytest.mark.parametrize(
    "key",
    [
        "upstream_url",
        "max_tokens",
        "model",
        "models",
        "prompts",
        "rules",
        "providers",
        "timeout",
        "rate_limit",
        "retry",
        "metadata",
        "memory",
        "default_provider",
        "model_aliases",
        "endpoints",
        "budget",
        "max_output_tokens",
        "not_before",
        "allow_ips",
    ],
)
def test_null_is_the_same_as_a_missing_key(key: str) -> None:
    assert parse(**{key: None}) == parse()


@pytest.mark.parametrize(
    "memory", [{}, {"enabled": False}, {"file_path": "/x"}], ids=["empty", "off", "unset"]
)
def test_memory_that_is_not_enabled_is_none(memory: dict[str, Any]) -> None:
    assert parse(memory=memory).memory is None


@pytest.mark.parametrize(
    "document", [{"default_provider": "openai"}, {"providers": {"openai": [{}]}}], ids=["d", "p"]
)
def test_a_provider_is_enough_without_a_key(document: dict[str, Any]) -> None:
    parse_policy(json.dumps(document))


# Faults

FAULTS: dict[str, tuple[Any, list[str]]] = {
    "list": ([], ["$: must be an object, not a list"]),
    "null": (None, ["$: must be an object, not null"]),
    "empty": ({}, ["$: needs base_key_env, default_provider or at least one provider"]),
    "no-entries": (
        {"providers": {"openai": []}},
        ["$: needs base_key_env, default_provider or at least one provider"],
    ),
    "near-key": ({"max_token": 1}, ["$.max_token: unknown key; did you mean 'max_tokens'?"]),
    "far-key": ({"zzz": 1}, ["$.zzz: unknown key"]),
    "budget": (
        {
            "budget": {
                "tokens": "5",
                "cost_usd": -1,
                "period": "fortnight",
                "timezone": "Europe/Berln",
                "warn_at": [0, 1.5, True],
                "limit": 3,
            }
        },
        [
            "$.budget.tokens: must be a whole number, not text",
            "$.budget.cost_usd: must be from 0 to 1000000000 US dollars",
            "$.budget.period: 'fortnight' is not one of total, hour, day, week, month",
            "$.budget.timezone: 'Europe/Berln' is no time zone known here, such as Europe/Berlin"
            " or UTC",
            "$.budget.warn_at[0]: must be above 0 and at most 1 (0.8 is 80 %), not 0",
            "$.budget.warn_at[1]: must be above 0 and at most 1 (0.8 is 80 %), not 1.5",
            "$.budget.warn_at[2]: must be a number, not a boolean",
            "$.budget.limit: unknown key",
        ],
    ),
    "budget-empty": ({"budget": {"period": "total"}}, ["$.budget: needs tokens or cost_usd"]),
    "budget-number": ({"budget": 5}, ["$.budget: must be an object, not a number"]),
    "budget-item": ({"budget": [5]}, ["$.budget[0]: must be an object, not a number"]),
    "zone-path": (
        {"budget": {"tokens": 1, "timezone": "../etc/passwd"}},
        [
            "$.budget.timezone: '../etc/passwd' is no time zone known here, such as Europe/Berlin"
            " or UTC"
        ],
    ),
    "not-before": (
        {"not_before": "2027-01-01T00:00:00"},
        ["$.not_before: '2027-01-01T00:00:00' has no time zone: add Z or +01:00"],
    ),
    "not-before-number": ({"not_before": 5}, ["$.not_before: must be text, not a number"]),
    "not-before-far": (
        {"not_before": "9999-12-31T23:59:59-14:00"},
        [
            "$.not_before: '9999-12-31T23:59:59-14:00' must lie between the years 1970 and 9998",
        ],
    ),
    "ips": (
        {"allow_ips": ["10.0.0.5/8", "localhost", 7, "::1/129"]},
        [
            "$.allow_ips[0]: '10.0.0.5/8' has bits behind its prefix; the block is 10.0.0.0/8",
            "$.allow_ips[1]: 'localhost' is no IP address or CIDR block such as 10.0.0.0/8",
            "$.allow_ips[2]: must be text, not a number",
            "$.allow_ips[3]: '::1/129' is no IP address or CIDR block such as 10.0.0.0/8",
        ],
    ),
    "ips-empty": (
        {"allow_ips": []},
        ["$.allow_ips: must name at least one address, or be left out"],
    ),
    "alias-of-alias": (
        {"model_aliases": {"a": "b", "b": "c", "d": "d"}},
        [
            "$.model_aliases.a: 'b' is an alias itself; name a model",
            "$.model_aliases.d: 'd' is an alias itself; name a model",
        ],
    ),
    "alias-empty": (
        {"model_aliases": {"a": "", "b": 5}},
        [
            "$.model_aliases.a: must not be empty",
            "$.model_aliases.b: must be text, not a number",
        ],
    ),
    "alias-list": (
        {"model_aliases": ["a"]},
        ["$.model_aliases: must be an object, not a list"],
    ),
    "endpoints": (
        {"endpoints": ["files", "/v1/fi*es", "/v1/files?x=1", "/v1/%66iles", None]},
        [
            "$.endpoints[0]: 'files' is no path: write /v1/files, or /v1/files* for all that begins"
            " so",
            "$.endpoints[1]: '/v1/fi*es': a * may stand only at the end",
            "$.endpoints[2]: '/v1/files?x=1': write the path alone, without escapes, blanks, query"
            " or fragment",
            "$.endpoints[3]: '/v1/%66iles': write the path alone, without escapes, blanks, query or"
            " fragment",
            "$.endpoints[4]: must be text, not null",
        ],
    ),
    "text": ({"base_key_env": 5}, ["$.base_key_env: must be text, not a number"]),
    "url": (
        {"upstream_url": "ftp://x"},
        ["$.upstream_url: 'ftp://x' is not an http(s) URL such as https://host:8443"],
    ),
    "url-port": (
        {"providers": {"openai": [{"upstream_url": "http://x:99999"}]}},
        [
            "$.providers.openai[0].upstream_url: 'http://x:99999' is not an http(s) URL:"
            " Port out of range 0-65535"
        ],
    ),
    "url-path": (
        {"upstream_url": "http://x/a b"},
        ["$.upstream_url: 'http://x/a b': write spaces and other alphabets as %XX"],
    ),
    "models-empty": ({"models": []}, ["$.models: must name at least one model, or be left out"]),
    "models-empty-entry": (
        {"providers": {"openai": [{"models": []}]}},
        ["$.providers.openai[0].models: must name at least one model, or be left out"],
    ),
    "count-text": ({"max_tokens": "5"}, ["$.max_tokens: must be a whole number, not text"]),
    "count-boolean": (
        {"max_tokens": True},
        ["$.max_tokens: must be a whole number, not a boolean"],
    ),
    "count-fraction": (
        {"max_tokens": 1.5, "max_output_tokens": 1e3},
        [
            "$.max_tokens: must be a whole number in digits alone, not 1.5",
            "$.max_output_tokens: must be a whole number in digits alone, not 1000.0",
        ],
    ),
    "count-negative": ({"max_tokens": -1}, [f"$.max_tokens: must be from 0 to {MAX_COUNT}"]),
    "count-huge": ({"max_tokens": 10**16}, [f"$.max_tokens: must be from 0 to {MAX_COUNT}"]),
    "seconds": ({"timeout": "30s"}, ["$.timeout: must be a number of seconds, not text"]),
    "seconds-many": ({"timeout": 86401}, ["$.timeout: must be from 0 to 86400 seconds"]),
    "seconds-boolean": (
        {"timeout": False},
        ["$.timeout: must be a number of seconds, not a boolean"],
    ),
    "models": ({"models": "gpt"}, ["$.models: must be a list, not text"]),
    "models-null": ({"models": [None]}, ["$.models[0]: must be text, not null"]),
    "regex": ({"model_regex": "("}, ["$.model_regex: is no RE2 pattern: missing ): ("]),
    "lookahead": (
        {"rules": ["(?!x)"]},
        ["$.rules[0].pattern: is no RE2 pattern: invalid perl operator: (?!"],
    ),
    "providers-list": ({"providers": []}, ["$.providers: must be an object, not a list"]),
    "provider-object": (
        {"providers": {"openai": {}}},
        ["$.providers.openai: must be a list, not an object"],
    ),
    "entry-text": (
        {"providers": {"openai": ["x"]}},
        ["$.providers.openai[0]: must be an object, not text"],
    ),
    "entry-key": (
        {"providers": {"openai": [{}, {"rate_limit": {}}]}},
        ["$.providers.openai[1].rate_limit: unknown key"],
    ),
    "entry-rule": (
        {"providers": {"openai": [{"rules": [{"type": "pii", "detect": ["email", "fone"]}]}]}},
        [
            f"$.providers.openai[0].rules[0].detect[1]: 'fone' is not one of {', '.join(KINDS)};"
            " did you mean 'phone'?"
        ],
    ),
    "prompt-text": ({"prompts": ["Be kind"]}, ["$.prompts[0]: must be an object, not text"]),
    "prompt-empty": ({"prompts": [{"role": "user"}]}, ["$.prompts[0]: needs content"]),
    "prompt-role": (
        {"prompts": [{"role": "tool", "content": "x"}]},
        ["$.prompts[0].role: 'tool' is not one of system, developer, user, assistant"],
    ),
    "rule-number": ({"rules": [5]}, ["$.rules[0]: must be an object, not a number"]),
    "rule-null": ({"rules": [None]}, ["$.rules[0]: must be an object, not null"]),
    "rule-type": ({"rules": [{}]}, ["$.rules[0]: needs a type: regex, keyword, pii, jailbreak"]),
    "rule-type-null": (
        {"rules": [{"type": None}]},
        ["$.rules[0]: needs a type: regex, keyword, pii, jailbreak"],
    ),
    "rule-jailbreak": (
        {"rules": [{"type": "jailbreak", "action": "mask", "threshold": 0}]},
        [
            "$.rules[0].threshold: must be above 0 and at most 100, not 0",
            "$.rules[0].action: a jailbreak rule judges a whole text: use fail, warn or log",
        ],
    ),
    "rule-keys-of-another-type": (
        {
            "rules": [
                {"type": "pii", "pattern": "x", "keywords": ["y"]},
                {"type": "regex", "pattern": "x", "detect": ["ssn"], "threshold": 2},
            ]
        },
        [
            "$.rules[0].pattern: is for regex rules, this one is of type pii",
            "$.rules[0].keywords: is for keyword rules, this one is of type pii",
            "$.rules[1].detect: is for pii rules, this one is of type regex",
            "$.rules[1].threshold: is for jailbreak rules, this one is of type regex",
        ],
    ),
    "rule-keyword-blank": (
        {"rules": [{"type": "keyword", "keywords": ["a", "  "]}]},
        ["$.rules[0].keywords[1]: is blank: it would match between any two words"],
    ),
    "rule-pattern": (
        {"rules": [{"type": "regex"}]},
        ["$.rules[0]: a regex rule needs a pattern"],
    ),
    "rule-pattern-null": (
        {"rules": [{"type": "regex", "pattern": None}]},
        ["$.rules[0]: a regex rule needs a pattern"],
    ),
    "rule-keywords": (
        {"rules": [{"type": "keyword", "keywords": [""]}]},
        ["$.rules[0]: a keyword rule needs keywords"],
    ),
    "rule-action": (
        {"rules": [{"type": "pii", "action": "block", "scope": "in"}]},
        [
            "$.rules[0].action: 'block' is not one of fail, warn, log, mask; did you mean 'log'?",
            "$.rules[0].scope: 'in' is not one of input, output, both; did you mean 'input'?",
        ],
    ),
    "rate-empty": (
        {"rate_limit": {"rules": [{}]}},
        ["$.rate_limit.rules[0]: needs requests or tokens"],
    ),
    "rate-zero": (
        {"rate_limit": {"rules": [{"requests": 0}, {"requests": 0, "tokens": 0}]}},
        [
            "$.rate_limit.rules[0]: requests: must be at least 1",
            "$.rate_limit.rules[1]: requests and tokens: must be at least 1",
        ],
    ),
    "rate-null": (
        {"rate_limit": {"rules": [None]}},
        ["$.rate_limit.rules[0]: must be an object, not null"],
    ),
    "rate-strategy": (
        {"rate_limit": {"rules": [{"requests": 1, "strategy": "slide"}]}},
        [
            "$.rate_limit.rules[0].strategy: 'slide' is not one of sliding, fixed;"
            " did you mean 'sliding'?"
        ],
    ),
    "rate-flat": (
        {"rate_limit": {"requests": 1}},
        ["$.rate_limit.requests: unknown key; did you mean 'rules'?"],
    ),
    "retries": ({"retry": {"max_retries": 11}}, ["$.retry.max_retries: must be from 0 to 10"]),
    "retry-on": (
        {"retry": {"retry_on": [429, 200, "500"]}},
        [
            "$.retry.retry_on[1]: 200 is not an error status (400 to 599)",
            "$.retry.retry_on[2]: must be a whole number, not text",
        ],
    ),
    "metadata": ({"metadata": {"a": 1}}, ["$.metadata.a: must be text, not a number"]),
    "memory-path": ({"memory": {"enabled": True}}, ["$.memory: needs file_path"]),
    "memory-flag": (
        {"memory": {"enabled": "yes"}},
        ["$.memory.enabled: must be true or false, not text"],
    ),
    "memory-out": (
        {"memory": {"enabled": True, "file_path": "/m", "file_name": "a/../../b"}},
        ["$.memory.file_name: must stay inside file_path"],
    ),
    "memory-absolute": (
        {"memory": {"enabled": True, "file_path": "/m", "file_name": "/b"}},
        ["$.memory.file_name: must stay inside file_path"],
    ),
    "several": (
        {
            "modle": "x",
            "max_tokens": [],
            "providers": {"openai": [{"timeout": {}}]},
            "rate_limit": {"rules": [{"requests": 1, "window": 60}]},
        },
        [
            "$.modle: unknown key; did you mean 'model'?",
            "$.max_tokens: must be a whole number, not a list",
            "$.providers.openai[0].timeout: must be a number of seconds, not an object",
            "$.rate_limit.rules[0].window: must be text, not a number",
        ],
    ),
}


@pytest.mark.parametrize(("document", "expected"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named_with_its_path(document: Any, expected: list[str]) -> None:
    assert faults(document) == expected


@pytest.mark.parametrize("window", ["", "1", "1y", "0s", "m", "-1m", "1 m"])
def test_a_window_that_is_no_duration_is_refused(window: str) -> None:
    [fault] = faults({"rate_limit": {"rules": [{"requests": 1, "window": window}]}})
    assert fault.startswith("$.rate_limit.rules[0].window: ")
    assert repr(window) in fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ('{"model": "a", "model": "b"}', "stands twice"),
        ('{"timeout": NaN}', "not a JSON number"),
        (" " * (MAX_POLICY_BYTES + 1), "larger than 1 MiB"),
    ],
    ids=["broken", "twice", "nan", "large"],
)
def test_a_text_that_is_no_document_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        parse_policy(text)


KEYS = ["base_key_env", "upstream_url", "max_tokens", "model", "model_regex", "models", "prompts"]
KEYS += ["rules", "providers", "default_provider", "rate_limit", "retry", "timeout", "metadata"]
KEYS += ["budget", "period", "timezone", "endpoints", "model_aliases", "allow_ips", "not_before"]
KEYS += ["memory", "enabled", "type", "pattern", "keywords", "detect", "requests", "window", "role"]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**17) | st.floats(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, min_size=1))
def test_any_document_is_read_or_refused_with_paths(document: dict[str, Any]) -> None:
    said = ""
    try:
        parse_policy(json.dumps(document))
    except Invalid as e:
        said = str(e)
    assert all(line.startswith("policy: $") for line in said.splitlines())


def test_equal_texts_are_parsed_once_and_refusals_are_kept() -> None:
    good, bad = '{"base_key_env": "CACHED"}', '{"base_key_env": 1}'
    assert isinstance(cached_policy(good), Policy)
    assert cached_policy(good) is cached_policy(good)
    assert isinstance(cached_policy(bad), Invalid)


# The roles of contract 4.5

HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("role", "budget", "per_minute", "tokens", "retries", "actions", "memory"),
    [
        ("lead-engineer", 10**6, 120, (500_000, HOUR, "sliding"), 3, ["warn"], "{token_hash}.md"),
        ("developer", 200_000, 60, (200_000, HOUR, "sliding"), 2, ["mask"], "{token_hash}.md"),
        ("contractor", 50_000, 20, (50_000, HOUR, "sliding"), 0, ["mask", "fail", "fail"], ""),
        ("ci-pipeline", 500_000, 30, (500_000, DAY, "fixed"), 2, [], None),
    ],
    ids=["lead", "developer", "contractor", "ci"],
)
def test_the_example_roles_say_what_their_table_says(
    role: str,
    budget: int,
    per_minute: int,
    tokens: tuple[int, float, str],
    retries: int,
    actions: list[str],
    memory: str | None,
) -> None:
    policy = parse_policy((EXAMPLES / f"{role}.json").read_text())
    assert policy.max_tokens == budget
    first, second = policy.rate_limit.rules
    assert first == RateRule(per_minute, 0, 60.0, "sliding")
    assert (second.tokens, second.window, second.strategy) == tokens
    assert policy.retry.max_retries == retries
    assert [found.action for found in policy.rules] == actions
    assert (policy.memory and policy.memory.file_name) == memory
