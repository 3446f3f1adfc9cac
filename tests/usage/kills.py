"""Processes that count, killed at random points: what the next one knows.

`python -m tests.usage.kills 200` kills so many, and says what they lost at most.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.store.stores import child, hash_of, line_of
from tokenomics.policy.counts import Account
from tokenomics.store.journal import Journal

LOST_SECONDS = 1.0  # what a killed process may lose (contract 4.3)
MOST_SECONDS = 0.9  # of counting before a process is killed

# Counts one token at a time, and says how many are settled, and when.
SPENDER = """
import sys, time
from pathlib import Path
import trio
from tokenomics.policy.limits import Bill, Want
from tokenomics.policy.meters import TOKENS, Limit, Limits
from tokenomics.usage.process import ProcessUsage

async def main():
    path, account = sys.argv[1:]
    limits = Limits(each=[
        Limit("all", "all", TOKENS, 10**9),
        Limit("also", "also", TOKENS, 10**9),
        Limit("window", "window", TOKENS, 10**9, 3600.0),
    ])
    usage = ProcessUsage(Path(path), print)
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            while True:
                lease = await usage.admit(account, limits, Want(1, 50))
                await trio.lowlevel.checkpoint()  # what is held may be written
                await usage.settle(account, lease, Bill(1))
                print(usage.account(account).budgets["all"].total, time.monotonic(), flush=True)
                await trio.sleep(0.001)

trio.run(main)
"""
ACCOUNT = hash_of(1)


def on_disk(path: Path) -> tuple[int, int]:
    """What a process that starts now reads of the account: tokens settled, and in the window."""
    rows = dict(Journal(path, print).read()[1])
    if ACCOUNT not in rows:
        return 0, 0
    account = Account.load(rows[ACCOUNT], time.time())
    whole, also = (account.budgets[key] for key in ("all", "also"))
    assert whole.total == also.total, "written in one piece, or not at all"
    assert whole.held == also.held == 0
    return int(whole.total), int(account.windows["window"].total)


def kill_one(path: Path, after: float) -> float:
    """Kill a process so many seconds after it began to count. Of what it said, all that is older
    than a second is on disk, and nothing that it did not count; how old the oldest loss is."""
    begun, reserved = on_disk(path) if path.exists() else (0, 0)
    counted: list[tuple[int, float]] = []
    with child(SPENDER, path, ACCOUNT) as process:
        while not counted or counted[-1][1] - counted[0][1] < after:
            tokens, at = line_of(process).split()
            counted.append((int(tokens), float(at)))
        process.kill()
        killed = time.monotonic()
        while line := line_of(process):  # what it said before it died
            tokens, at = line.split()
            counted.append((int(tokens), float(at)))
    known, window = on_disk(path)
    assert begun <= known <= counted[-1][0] + 1, "more than was counted"
    assert 0 <= window - known <= reserved - begun + 51, "what was held stays in a window"
    lost = [at for tokens, at in counted if tokens > known]
    oldest = killed - lost[0] if lost else 0.0
    assert oldest < LOST_SECONDS
    return oldest


def kill_many(folder: Path, times: int, seed: int, most_seconds: float = MOST_SECONDS) -> float:
    """Kill so many processes, one after the other on one file; the age of the oldest loss."""
    points = random.Random(seed)
    path = folder / "usage"
    return max(kill_one(path, points.random() * most_seconds) for _ in range(times))


def main(times: int) -> None:
    """Kill so many, and say how it went."""
    seed = random.randrange(1 << 30)
    with tempfile.TemporaryDirectory() as folder:
        oldest = kill_many(Path(folder), times, seed)
        whole = on_disk(Path(folder) / "usage")[0]
    print(
        f"seed {seed}: {times} killed, {whole} tokens known at the end, lost at most {oldest:.3f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
