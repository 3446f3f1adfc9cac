"""What a careful colleague says of a policy that is valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenomics.config.providers import Provider
from tokenomics.policy.advice import advise
from tokenomics.policy.route import Site
from tokenomics.policy.schema import examine

EXAMPLES = Path(__file__).parents[2] / "examples/distributed-team/policies"
SITE = Site({"openai": Provider("openai", "https://api.openai.com")}, "https://api.openai.com")
# Nothing is said of this.
QUIET: dict[str, Any] = {"base_key_env": "KEY", "max_tokens": 1000}


def said(document: dict[str, Any], site: Site | None = None, now: float | None = None) -> list[str]:
    """The warnings about a policy, which must be valid."""
    policy, read, faults = examine(json.dumps(document))
    assert policy is not None, faults
    return [str(advice) for advice in advise(policy, site, read, now)]


def rule(**fields: Any) -> dict[str, Any]:
    return {"rules": [fields]}


KEY = "sk-" + "a1B2" * 12
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "quiet": ({}, []),
    # Models
    "entry-after-all": (
        {"providers": {"openai": [{}, {"model": "gpt-4o"}], "groq": [{}]}},
        [
            "$.providers.openai[1]: can never match: $.providers.openai[0] takes all its models",
            "$.providers.groq[0]: can never match: $.providers.openai[0] takes all its models",
        ],
    ),
    "entry-after-two": (
        {"providers": {"a": [{"model": "x"}, {"model": "y"}, {"models": ["x", "y"]}]}},
        ["$.providers.a[2]: can never match: the entries before it take all its models"],
    ),
    "entry-is-alias": (
        {"model_aliases": {"x": "y"}, "providers": {"a": [{"model": "x"}, {"model": "y"}]}},
        ["$.providers.a[0]: 'x' is an alias of 'y', so it never comes here"],
    ),
    "model-excluded": (
        {"model": "o3", "model_regex": "^gpt"},
        ["$.model: 'o3' is excluded by the other global model fields, which hold too"],
    ),
    "global-replaced": (
        {"model_regex": "^gpt", "providers": {"a": [{"model": "o3"}]}},
        [
            "$.providers.a[0]: allows 'o3', which the global model fields do not: an entry's model"
            " fields replace them"
        ],
    ),
    "global-in-vain": (
        {"base_key_env": None, "model": "x", "providers": {"a": [{"model": "x"}]}},
        [
            "$: the global model fields have no effect: every entry has its own, and nothing else"
            " serves a model"
        ],
    ),
    "odd-names": (
        {"models": ["gpt-*-mini", "a", "a"], "providers": {"a": [{"model": "o3*"}]}},
        [
            "$.providers.a[0]: allows 'o3*', which the global model fields do not: an entry's model"
            " fields replace them",
            "$.models: 'gpt-*-mini': a * stands for more only at the end",
            "$.models: names a model twice",
            "$.providers.a[0].model: 'o3*' is an exact name; `models` knows `prefix*`",
        ],
    ),
    "alias-forbidden": (
        {"model": "a", "model_aliases": {"fast": "b"}},
        [
            "$.model_aliases.fast: model 'fast' (an alias of 'b') is not allowed for this token;"
            " allowed: 'a'"
        ],
    ),
    "fallbacks": (
        {"models": ["a", "b"], "retry": {"fallbacks": ["c", "b", "b"]}},
        [
            "$.retry.fallbacks[0]: 'c' is not allowed by this policy, so it is always skipped",
            "$.retry.fallbacks[2]: 'b' is named twice",
        ],
    ),
    "fallback-itself": (
        {"model": "a", "retry": {"fallbacks": ["a"]}},
        ["$.retry.fallbacks[0]: 'a' is the only model: the fallback is another try of the same"],
    ),
    # Limits
    "no-limits": (
        {"max_tokens": 0},
        ["$: has no budget and no rate: whoever has the token can spend without end"],
    ),
    "entry-budget": (
        {"providers": {"a": [{"max_tokens": 1001}]}},
        ["$.providers.a[0].max_tokens: 1001 is above the whole token's 1000, which is spent first"],
    ),
    "outputs": (
        {"max_output_tokens": 2000, "providers": {"a": [{"max_output_tokens": 3000}]}},
        [
            "$.providers.a[0].max_output_tokens: is above the global 2000, which holds",
            "$.max_output_tokens: is above the whole budget of 1000",
        ],
    ),
    "budgets": (
        {"budget": [{"tokens": 500, "timezone": "Europe/Berlin"}]},
        [
            "$.budget: there are several budgets of the whole; 500 tokens is what counts",
            "$.budget[0].timezone: has no use: a total begins at no time of day",
        ],
    ),
    "rate-above-budget": (
        {"rate_limit": {"rules": [{"tokens": 5000, "window": "1h"}]}},
        ["$.rate_limit.rules[0].tokens: is above the whole budget of 1000"],
    ),
    "rate-never-binds": (
        {
            "rate_limit": {
                "rules": [{"requests": 10, "window": "1m"}, {"requests": 600, "window": "1h"}]
            }
        },
        ["$.rate_limit.rules[1]: can never bind: $.rate_limit.rules[0] is always stricter"],
    ),
    "rate-binds": (
        {
            "rate_limit": {
                "rules": [{"requests": 10, "window": "1m"}, {"requests": 599, "window": "1h"}]
            }
        },
        [],
    ),
    "rate-twice": (
        {"rate_limit": {"rules": [{"requests": 10}, {"requests": 10}]}},
        ["$.rate_limit.rules[1]: can never bind: $.rate_limit.rules[0] is always stricter"],
    ),
    # Rules
    "matches-all": (
        rule(type="regex", pattern="x*"),
        ["$.rules[0].pattern: matches every text: every request is blocked"],
    ),
    "matches-empty": (rule(type="regex", pattern="^$"), []),
    "backspace": (
        rule(type="regex", pattern="\bsecret\b"),
        [r'$.rules[0].pattern: has a backspace character: in JSON a \b is written "\\b"'],
    ),
    "anchor-inside": (
        rule(type="regex", pattern="foo^bar"),
        ["$.rules[0].pattern: has a ^ or $ inside, which never holds there without (?m)"],
    ),
    "anchor-lines": (rule(type="regex", pattern="(?m)foo$bar|a^b"), []),
    "anchor-right": (rule(type="regex", pattern=r"(^a|b$)|[a^]|x\^y|\bz$|c\$5"), []),
    "replacement": (
        rule(type="pii", detect=["ssn"], replacement="x"),
        ["$.rules[0].replacement: has no use: the action is fail, not mask"],
    ),
    "threshold-high": (
        rule(type="jailbreak", threshold=90),
        ["$.rules[0].threshold: can never be reached: all families together weigh {most}"],
    ),
    "threshold-low": (
        rule(type="jailbreak", threshold=0.3),
        ["$.rules[0].threshold: is so low that ordinary requests (`act as a reviewer`) match"],
    ),
    "jailbreak-output": (
        rule(type="jailbreak", scope="output"),
        ["$.rules[0].scope: looks at what the model says: attempts are in the input"],
    ),
    "rule-twice": (
        {"rules": ["x", {"type": "regex", "pattern": "x", "name": "y"}]},
        ["$.rules[1]: is the same as $.rules[0]"],
    ),
    "rule-names": (
        {
            "rules": [
                {"type": "regex", "pattern": "x", "name": "n"},
                {"type": "regex", "pattern": "y", "name": "n"},
            ]
        },
        ["$.rules[1].name: 'n' is the name of $.rules[0] too: logs do not differ"],
    ),
    "rule-in-vain": (
        {
            "rules": [{"type": "pii", "detect": ["ssn", "email"]}],
            "providers": {
                "a": [
                    {
                        "rules": [
                            {"type": "pii", "detect": ["ssn"], "action": "mask"},
                            {"type": "pii", "detect": ["ssn"], "action": "warn"},
                            {"type": "pii", "detect": ["ssn"], "action": "mask", "scope": "both"},
                        ]
                    }
                ]
            },
        },
        ["$.providers.a[0].rules[0]: never acts: other rules block every kind that it looks for"],
    ),
    "words": (
        rule(type="keyword", keywords=["a", "A", "b ", ""]),
        [
            "$.rules[0].keywords: has a word twice",
            "$.rules[0].keywords[2]: 'b ' only matches with its blanks",
            "$.rules[0].keywords[3]: is empty, and is left out",
        ],
    ),
    # The rest
    "prompts": (
        {
            "prompts": [{"content": " "}, {"role": "developer", "content": "x"}],
            "providers": {"anthropic": [{"prompts": [{"role": "assistant", "content": "y"}] * 2}]},
        },
        [
            "$.prompts[0].content: is blank",
            "$.prompts[1].role: many providers know no developer role: system is read by all",
            "$.providers.anthropic[0].prompts[0].role: Anthropic's conversations begin with the"
            " user",
            "$.providers.anthropic[0].prompts[1]: stands here twice",
            "$.providers.anthropic[0].prompts[1].role: Anthropic's conversations begin with the"
            " user",
        ],
    ),
    "key-in-policy": (
        {"base_key_env": KEY},
        [
            "$.base_key_env: is no name of a variable; a key itself does not belong in a policy",
        ],
    ),
    "urls": (
        {
            "upstream_url": "http://llm.example",
            "providers": {"a": [{"upstream_url": "http://127.0.0.1:8000"}]},
        },
        ["$.upstream_url: is not encrypted: the key and all texts can be read"],
    ),
    "timeouts": (
        {"timeout": 0, "providers": {"a": [{"timeout": 0.5}]}},
        [
            "$.providers.a[0].timeout: 0.5 s: few models begin to answer that soon",
            "$.timeout: 0 is not for ever: it is the same as leaving it out",
        ],
    ),
    "endpoints": (
        {"endpoints": ["/v1/*", "/v1/files*"]},
        ["$.endpoints: opens every endpoint of the provider, also those for its account"],
    ),
    "addresses": (
        {"allow_ips": ["10.0.0.0/8", "10.1.0.0/16", "::/0"]},
        [
            "$.allow_ips[1]: is part of one before it",
            "$.allow_ips[2]: is every IPv6 address, and no other kind",
        ],
    ),
    "secrets": (
        {"metadata": {"team": KEY}, "prompts": [{"content": f"Use {KEY} for it."}]},
        [
            "$.metadata.team: holds what looks like a secret (api_key)",
            "$.prompts[0].content: holds what looks like a secret (api_key)",
        ],
    ),
    "memory": (
        {"memory": {"enabled": True, "file_path": "logs", "file_name": "{date}-{user}.md"}},
        [
            "$.memory.file_name: all tokens with this policy write into one file: {token_hash}"
            " tells them apart",
            "$.memory: {user} is not filled in: file_name knows {token_hash} and {date}",
            "$.memory.file_path: is relative to where the proxy was started",
        ],
    ),
    "memory-off": (
        {"memory": {"file_path": "/x"}},
        ["$.memory: nothing is written: enabled is not true"],
    ),
    "metadata": (
        {"metadata": {" team": "red", "role": ""}},
        [
            "$.metadata. team: is an odd key: logs are searched by it",
            "$.metadata.role: is empty",
        ],
    ),
    "retry-on": (
        {"retry": {"retry_on": [500]}},
        ["$.retry.retry_on: has no use without max_retries or fallbacks"],
    ),
    "retry-none": (
        {"retry": {"max_retries": 2, "retry_on": []}},
        ["$.retry.retry_on: an empty list means the default statuses, not none"],
    ),
}


@pytest.mark.parametrize(("fields", "expected"), CASES.values(), ids=CASES)
def test_what_is_odd_is_said_with_its_path(fields: dict[str, Any], expected: list[str]) -> None:
    found = said({**QUIET, **fields})
    assert [line.split("weigh ")[0] for line in found] == [
        line.split("weigh ")[0] for line in expected
    ]
    assert KEY not in "".join(found)


def test_an_unknown_provider_is_odd_only_here() -> None:
    document = {
        **QUIET,
        "default_provider": "opnai",
        "providers": {"acme": [{}], "openai": [{"model": "x"}]},
    }
    here = [line for line in said(document, SITE) if "installation" in line]
    assert here == [
        "$.providers.acme[0]: this installation knows no provider 'acme'; it has: openai",
        "$.default_provider: this installation knows no provider 'opnai'; it has: openai",
    ]
    assert "installation" not in "".join(said(document))
    own = {**document, "upstream_url": "https://own.example"}
    assert "installation" not in "".join(said(own, SITE))


NOW = 1_800_000_000.0  # 2027-01-15
FAR = "2028-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("moment", "now", "count"),
    [(FAR, NOW, 1), (FAR, NOW + 86400 * 30, 0), (FAR, None, 0), ("2020-01-01T00:00:00Z", NOW, 0)],
    ids=["far", "near", "no clock", "past"],
)
def test_a_policy_that_begins_late_is_odd(moment: str, now: float | None, count: int) -> None:
    found = said({**QUIET, "not_before": moment}, now=now)
    what = "is more than 366 days away: until then every request is refused"
    assert found == [f"$.not_before: {moment} {what}"] * count


@pytest.mark.parametrize(
    ("role", "count"),
    [("lead-engineer", 0), ("developer", 0), ("contractor", 1), ("ci-pipeline", 1)],
)
def test_there_is_little_to_say_of_the_examples(role: str, count: int) -> None:
    document = json.loads((EXAMPLES / f"{role}.json").read_text())
    assert len(said(document)) == count
