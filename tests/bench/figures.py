"""The figures of a measurement, and the table they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cases import Case


@dataclass(frozen=True, slots=True)
class Side:
    """One way to the upstream: its latency in µs, its rate, and the CPU a proxy spent on it."""

    p50: float
    p99: float
    rate: float
    cpu_us: float = 0.0  # per request
    busy: float = 0.0  # the part of a core that a proxy used
    queued: float = 0.0  # the part of the time that a proxy waited for its core

    def best(self, other: Side) -> Side:
        """The better of each figure."""
        return Side(
            min(self.p50, other.p50),
            min(self.p99, other.p99),
            max(self.rate, other.rate),
            min(self.cpu_us, other.cpu_us),
            max(self.busy, other.busy),
            min(self.queued, other.queued),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table; `nginx` is None where there is none."""

    case: Case
    direct: Side
    through: Side
    nginx: Side | None

    def row(self, others: dict[str, Result]) -> list[str]:
        """Its cells."""
        direct, through = self.direct, self.through
        pairs = [
            (direct.p50, direct.p99),
            (through.p50, through.p99),
            (through.p50 - direct.p50, through.p99 - direct.p99),
        ]
        rates = ["paced"] * 2 if self.case.paced else [f"{direct.rate:.0f}", f"{through.rate:.0f}"]
        latency = [f"{p50:.0f} / {p99:.0f}" for p50, p99 in pairs]
        cpu = [f"{through.busy:.0%}", f"{through.queued:.0%}", f"{through.cpu_us:.0f}"]
        if self.nginx:
            cpu += [f"{self.nginx.cpu_us:.1f}", f"{through.cpu_us / self.nginx.cpu_us:.1f}"]
        return [self.case.name, *latency, *rates, *cpu, self._also(others)]

    def _also(self, others: dict[str, Result]) -> str:
        if self.case.events:
            cells = [f"{side.cpu_us / self.case.events:.1f}" for side in self._proxies()]
            return _of_both(cells) + " µs/event"
        over = others.get(self.case.over)
        if over is None:
            return ""
        pairs = zip(self._proxies(), over._proxies(), strict=True)
        cells = [f"{side.cpu_us - base.cpu_us:+.0f}" for side, base in pairs]
        return _of_both(cells) + f" to {self.case.over}"

    def _proxies(self) -> list[Side]:
        return [self.through, *([self.nginx] if self.nginx else [])]

    def as_json(self, others: dict[str, Result]) -> dict[str, Any]:
        """The same for programs."""
        over = others.get(self.case.over)
        sides = {"direct": self.direct, "through": self.through, "nginx": self.nginx}
        out: dict[str, Any] = {name: side and asdict(side) for name, side in sides.items()}
        out["added"] = {
            "p50": self.through.p50 - self.direct.p50,
            "p99": self.through.p99 - self.direct.p99,
        }
        out["cpu_to_nginx"] = self.nginx and self.through.cpu_us / self.nginx.cpu_us
        for name in ("through", "nginx"):
            side, base = sides[name], over and getattr(over, name)
            if side and self.case.events:
                out[name]["cpu_us_per_event"] = side.cpu_us / self.case.events
            if side and base:
                out[name][f"cpu_us_over_{self.case.over}"] = side.cpu_us - base.cpu_us
        return out


def _of_both(cells: list[str]) -> str:
    return cells[0] + "".join(f" (nginx {cell})" for cell in cells[1:])


COLUMNS = [
    "case",
    "direct p50/p99",
    "through p50/p99",
    "added p50/p99 µs",
    "direct req/s",
    "through req/s",
    "busy",
    "queued",
    "CPU µs/req",
]
NGINX_COLUMNS = ["nginx CPU", "ratio"]


def report(results: Sequence[Result]) -> str:
    """The table of some cases."""
    by_name = {result.case.name: result for result in results}
    nginx = NGINX_COLUMNS if all(result.nginx for result in results) else []
    return table([[*COLUMNS, *nginx, "CPU also"], *(result.row(by_name) for result in results)])


def table(rows: list[list[str]]) -> str:
    """Rows under each other, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return "\n".join(lines)
