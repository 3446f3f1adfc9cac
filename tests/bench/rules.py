"""What the content rules cost: CPU in ms per text, under the contractor's policy and others.

  .venv/bin/python -m tests.bench.rules
  .venv/bin/python -m tests.bench.rules --repeats 20 --json

`input` and `output` are one inspection of the whole text in each direction; the sum is what a
request and an answer of that size cost. `tokens` is the output fed to a screen four characters at a
time, in µs per piece; `piece` the same text as one piece, in ms. The best of some repeats is shown:
what else the machine does can only make it slower. `gil` is the longest time for which a scan in
a thread kept another thread from running, in ms.

The texts: `mixed` prose, code and JSON in equal parts, without a match; `dirty` the same with an
address, a number and a key in each 10 KB; `turns` the same in messages of 200 characters; `wide`
the same with a letter outside of ASCII in each line; `numbers` dotted numbers; `base64` a long
picture.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenomics.policy.detectors import KINDS
from tokenomics.policy.model import parse_policy
from tokenomics.policy.regexes import compile_pattern
from tokenomics.policy.rules import Rule
from tokenomics.policy.scan import inspect
from tokenomics.policy.screen import Screen

ROOT = Path(__file__).parent.parent.parent
CONTRACTOR = ROOT / "examples/distributed-team/policies/contractor.json"
KB = 1000
TOKEN = 4  # characters
TOKENS = 25_000  # pieces of one repeat, at most
SLOW = 1_000_000  # characters; longer texts are measured once


@dataclass(frozen=True, slots=True)
class Row:
    """One text under one policy; ms, save where the name says µs."""

    policy: str
    text: str
    size: int
    input: float
    output: float
    tokens_us: float
    piece: float
    gil: float

    def cells(self) -> list[str]:
        """As they are printed."""
        times = [self.input, self.output, self.input + self.output]
        rest = [f"{self.tokens_us:.1f}", f"{self.piece:.2f}", f"{self.gil:.1f}"]
        return [
            self.policy,
            self.text,
            f"{self.size // KB} KB",
            *(f"{t:.2f}" for t in times),
            *rest,
        ]


HEAD = ["policy", "text", "size", "input", "output", "sum", "tokens µs", "piece", "gil"]


def mixed(size: int) -> str:
    """Prose, code and JSON."""
    prose = (ROOT / "README.md").read_text(encoding="utf-8")
    code = Path(__file__).read_text(encoding="utf-8")
    data = [
        {"id": n * 7919, "name": f"item {n}", "price": n / 8, "ok": n % 2 > 0} for n in range(60)
    ]
    parts = [prose[:3000], code[:3000], json.dumps(data)[:3000]]
    plain = "\n".join(parts).encode("ascii", "ignore").decode()
    return (plain * (size // len(plain) + 1))[:size]


def texts(size: int) -> dict[str, list[str]]:
    """The cases, by name."""
    whole = mixed(size)
    address, number, key = "jo@mail.example", "415-555-2671", "sk-" + "a1B2" * 12
    found = f" {address}, {number}: {key}\n"
    each = 10 * KB
    dirty = "".join(whole[i : i + each] + found for i in range(0, size, each))
    rand = random.Random(7)
    numbers = ".".join(str(rand.randrange(1000)) for _ in range(size // 3))[:size]
    return {
        "mixed": [whole],
        "dirty": [dirty],
        "turns": [whole[i : i + 200] for i in range(0, size, 200)],
        "wide": [whole.replace("\n", "é\n")],
        "numbers": [numbers],
        "base64": [base64.b64encode(rand.randbytes(size * 3 // 4)).decode()],
    }


def policies() -> dict[str, tuple[Rule, ...]]:
    """The rules of each policy, by its name."""
    contractor = parse_policy(CONTRACTOR.read_text(encoding="utf-8")).rules
    return {
        "contractor": contractor,
        "kinds": (Rule("kinds", "pii", "mask", "both", None, KINDS),),
        "warn": (Rule("kinds", "pii", "warn", "both", None, KINDS),),
        "lines": (Rule("line", "regex", "mask", "both", compile_pattern("key=.*")),),
    }


def best(work: Callable[[], object], repeats: int) -> float:
    """ms of CPU."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found) * 1000


def feed(rules: Sequence[Rule], pieces: Sequence[str]) -> None:
    """All of them through a new screen."""
    screen = Screen(rules)
    for piece in pieces:
        screen.feed(piece)
    screen.end()


def longest_hold(work: Callable[[], object]) -> float:
    """ms for which another thread could not run while `work` did."""
    thread = threading.Thread(target=work)
    longest, last = 0.0, time.perf_counter()
    thread.start()
    while thread.is_alive():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest * 1000


def measure(policy: str, rules: tuple[Rule, ...], size: int, repeats: int) -> list[Row]:
    """One row for each text."""
    rows = []
    for name, parts in texts(size).items():
        whole = "".join(parts)
        count = repeats if size <= SLOW else 1
        tokens = [whole[i : i + TOKEN] for i in range(0, min(size, TOKENS * TOKEN), TOKEN)]
        inspect(parts[:1], rules, "input"), inspect(parts[:1], rules, "output")  # makes the plans
        rows.append(
            Row(
                policy,
                name,
                size,
                best(lambda: inspect(parts, rules, "input"), count),  # noqa: B023
                best(lambda: inspect(parts, rules, "output"), count),  # noqa: B023
                best(lambda: feed(rules, tokens), min(count, 3)) * 1000 / len(tokens),  # noqa: B023
                best(lambda: feed(rules, [whole]), count),  # noqa: B023
                longest_hold(lambda: inspect(parts, rules, "input")),  # noqa: B023
            )
        )
    return rows


def table(rows: list[list[str]]) -> str:
    """Rows under each other, the names to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust, str.ljust, *[str.rjust] * (len(widths) - 2)]
    return "\n".join(
        "  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True))
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the content rules.")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--sizes", default="100,10000", help="KB, with commas (default: %(default)s)"
    )
    parser.add_argument("--policies", default="contractor", help="of contractor,kinds,warn,lines")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    known = policies()
    rows = [
        row
        for name in args.policies.split(",")
        for size in args.sizes.split(",")
        for row in measure(name, known[name], int(size) * KB, args.repeats)
    ]
    if args.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(table([HEAD, *(row.cells() for row in rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
