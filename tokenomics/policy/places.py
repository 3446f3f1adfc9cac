"""The JSON paths of what a policy was read from. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tokenomics.policy.model import Entry, Policy
from tokenomics.policy.rules import Rule


def entry_paths(policy: Policy) -> list[tuple[str, Entry]]:
    """The entries with their JSON paths, in the order written."""
    counts: dict[str, int] = {}
    out = []
    for entry in policy.entries:
        index = counts.get(entry.provider, 0)
        counts[entry.provider] = index + 1
        out.append((f"$.providers.{entry.provider}[{index}]", entry))
    return out


def rule_paths(policy: Policy) -> Iterator[tuple[str, Rule]]:
    """The rules with their JSON paths, the global ones first."""
    for i, rule in enumerate(policy.rules):
        yield f"$.rules[{i}]", rule
    for path, entry in entry_paths(policy):
        for i, rule in enumerate(entry.rules):
            yield f"{path}.rules[{i}]", rule


def rule_lists(policy: Policy) -> Iterator[tuple[str, tuple[Rule, ...]]]:
    """The lists of rules with their JSON paths, the global one first."""
    yield "$.rules", policy.rules
    for path, entry in entry_paths(policy):
        if entry.rules:
            yield f"{path}.rules", entry.rules
