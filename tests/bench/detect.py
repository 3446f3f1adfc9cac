"""Precision and recall of the detectors per kind, on labelled sets that the user fetched.

    PYTHONPATH=. .venv/bin/python tests/bench/detect.py [--show] PATH...

A path is one of these, told apart by what is in it:

- Presidio's sentences, a JSON list of {"full_text", "spans": [{"entity_type", "start_position",
  "end_position"}]}: `data/synth_dataset_v2.json` of https://github.com/microsoft/presidio-research,
  or newly made ones in any number, in a venv with `pip install presidio-evaluator`:

      maker = presidio_evaluator.data_generator.PresidioSentenceFaker("en_US", 0.05, random_seed=7)
      made = maker.generate_new_fake_sentences(8000)
      json.dump([{"full_text": s.full_text, "spans": [vars(x) for x in s.spans]} for s in made], f)

- Gitleaks' cases, one Go file per provider under `cmd/generate/config/rules` of
  https://github.com/gitleaks/gitleaks: what stands in `tps` must be found, what stands in `fps`
  must not. A rule counts for the kind that its id names (`RULES`); keys that it makes from a
  pattern are made here from the same pattern.

A label is found if a span of its kind touches it, and a span is right if it touches a label of its
kind. Two figures each: as labelled; and without the labels that `FAULTS` names, with reasons.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import golang

from tokenomics.policy.detectors import DETECTORS, fold, luhn

PRESIDIO = {
    "CREDIT_CARD": "credit_card",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip_address",
    "PHONE_NUMBER": "phone",
    "US_SSN": "ssn",
}

# The start of a gitleaks rule's id -> our kind. A rule that is not here is for a kind of secret
# that no policy can name yet (a password, a webhook's address, a cloud's storage key).
RULES = {
    **dict.fromkeys(
        """anthropic openai openrouter gcp-api-key groq huggingface perplexity slack-bot slack-user
        slack-app slack-config slack-legacy stripe twilio sendgrid npm pypi digitalocean gitlab
        databricks vault-service shopify postman linear grafana notion xai replicate""".split(),
        "api_key",
    ),
    "aws-access-token": "aws_key",
    "github": "github_token",
    "jwt": "jwt",
    "private-key": "private_key",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A text with what is labelled in it. `kinds` are those whose labels are complete."""

    text: str
    labels: tuple[tuple[int, int, str], ...]
    kinds: frozenset[str]


@dataclass(slots=True)
class Score:
    found: int = 0
    missed: int = 0
    right: int = 0
    wrong: int = 0
    faults: int = 0  # labels taken out
    shown: list[str] = field(default_factory=list)

    def row(self) -> list[str]:
        labels, spans = self.found + self.missed, self.right + self.wrong
        return [
            str(labels),
            f"{self.right / spans:.4f}" if spans else "-",
            f"{self.found / labels:.4f}" if labels else "-",
            f"{self.missed} + {self.wrong}",
            str(self.faults),
        ]


# --- What is no fault of the detector, by kind: why, and how to tell from the labelled text


def _is_wider_phone(text: str) -> bool:
    """A number as it is dialled inside its country, or ten bare digits."""
    return not re.match(r"\+|00|\(?[2-9]\d\d\)?[ .-]?[2-9]\d\d[ .-]", text) or bool(
        re.fullmatch(r"\d[\d ]*|\d{3}-\d{7}", text)
    )


def _is_no_nanp(text: str) -> bool:
    """An area or exchange that is never given out, made of random digits."""
    found = re.search(r"(\d)(\d\d)\)?[ .-]?(\d)(\d\d)[ .-]?\d{4}(?:x\d+)?$", text)
    return bool(found and ("11" in (found[2], found[4]) or min(found[1], found[3]) < "2"))


def _has_jwt_header(text: str) -> bool:
    """Whether what stands where the header should decodes to JSON."""
    header = re.search(r"\bey[A-Za-z0-9_-]{15,}(?=\.)", text)
    if header is None:
        return False
    with contextlib.suppress(ValueError):
        json.loads(base64.urlsafe_b64decode(header[0] + "=" * (-len(header[0]) % 4)))
        return True
    return False


FAULTS: dict[str, tuple[tuple[str, Callable[[str], bool]], ...]] = {
    "phone": (
        ("dialled inside its country: neither NANP nor E.164", _is_wider_phone),
        ("random digits that are no area and exchange", _is_no_nanp),
    ),
    "credit_card": (
        ("wrong checksum", lambda text: not luhn(re.sub(r"\D", "", text))),
        ("0604 is nobody's", lambda text: text.startswith("0604")),
    ),
    "jwt": (
        ("made of random letters or damaged: no header", lambda text: not _has_jwt_header(text)),
    ),
}
# Spans that are not labelled: what gitleaks allows by its name has the form of a key all the same.
SAMPLES: dict[str, re.Pattern[str]] = {
    "aws_key": re.compile(r"AKIA[A-Z0-9]+EXAMPLE"),  # of AWS's documentation
    "api_key": re.compile(r"AIza(?!a{35}).{35}"),  # of Firebase's
}


# --- Reading


def presidio_cases(data: list[dict[str, object]]) -> Iterator[Case]:
    kinds = frozenset(PRESIDIO.values())
    for row in data:
        labels = tuple(
            (span["start_position"], span["end_position"], PRESIDIO[span["entity_type"]])
            for span in row["spans"]  # type: ignore[attr-defined]
            if span["entity_type"] in PRESIDIO
        )
        yield Case(str(row["full_text"]), labels, kinds)


def gitleaks_cases(source: str, chance: random.Random) -> Iterator[Case]:
    for rule in golang.rules(source, chance):
        kind = next((k for start, k in RULES.items() if rule.id.startswith(start)), None)
        if kind is None:
            continue
        for text in rule.true:
            yield Case(text, ((0, len(text), kind),), frozenset([kind]))
        for text in rule.false:
            yield Case(text, (), frozenset([kind]))


def read(path: Path) -> Iterator[Case]:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if file.suffix == ".go":
            yield from gitleaks_cases(file.read_text("utf-8"), random.Random(7))
        elif file.suffix == ".json":
            yield from presidio_cases(json.loads(file.read_text("utf-8")))


# --- Counting


def spans_of(kind: str, text: str) -> list[tuple[int, int]]:
    folded, places = fold(text)
    spans = list(DETECTORS[kind].spans(folded))
    return spans if places is None else [(places[a], places[b]) for a, b in spans]


def count(case: Case, scores: dict[str, Score], forgiven: bool) -> None:
    for kind in case.kinds:
        score = scores[kind]
        spans = spans_of(kind, case.text)
        labels = [(a, b) for a, b, k in case.labels if k == kind]
        for first, last in labels:
            value = case.text[first:last]
            # Found or not: a fault taken out only where it was missed would flatter the recall.
            if forgiven and any(fault(value) for _, fault in FAULTS.get(kind, ())):
                score.faults += 1
            elif any(a < last and first < b for a, b in spans):
                score.found += 1
            else:
                score.missed += 1
                score.shown.append(f"missed {kind}: {value!r}")
        for a, b in spans:
            if any(a < last and first < b for first, last in labels):
                score.right += 1
            elif forgiven and kind in SAMPLES and SAMPLES[kind].fullmatch(case.text[a:b]):
                score.faults += 1
            else:
                score.wrong += 1
                score.shown.append(f"wrong {kind}: {case.text[a:b]!r} in {case.text[:200]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--show", action="store_true", help="each miss and each false alarm")
    options = parser.parse_args()
    cases = [case for path in options.paths for case in read(path)]
    for title, forgiven in (("as labelled", False), ("without faults of the labels", True)):
        scores: dict[str, Score] = defaultdict(Score)
        for case in cases:
            count(case, scores, forgiven)
        print(f"{title}, {len(cases)} texts")
        heads = ("kind", "labels", "precision", "recall", "missed + wrong", "faults")
        for row in (heads, *([k, *scores[k].row()] for k in DETECTORS if k in scores)):
            print("  ".join(f"{cell:>17}" for cell in row))
        if options.show and forgiven:
            print(*(line for score in scores.values() for line in score.shown), sep="\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
