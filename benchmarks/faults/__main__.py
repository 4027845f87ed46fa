"""Measure promises with the whole protocol: 200 requests/s without retries, ``--runs`` runs (5), the worst of each figure.

Prints a line per run and one per row, and keeps the rows in benchmarks/results/faults.json. Exit 1 when a limit is
exceeded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.faults.rows import ROWS, worst

if TYPE_CHECKING:
    from tests.support.faults import Outcome

RESULTS: Final = Path(__file__).parents[1] / "results" / "faults.json"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is a command


async def measure(name: str, runs: int) -> Outcome:
    """So many runs of one row, each with a system of its own."""
    found = []
    for number in range(1, runs + 1):
        begun = time.monotonic()
        outcome = await ROWS[name].run()
        found.append(outcome)
        say(f"  {name} run {number}: {outcome} in {time.monotonic() - begun:.0f} s, load {os.getloadavg()[0]:.1f}")
    return worst(found)


def over(name: str, figures: dict[str, float]) -> list[str]:
    """The limits that a row's figures exceed."""
    return [
        f"{figure} {figures[figure]:.4g} > {limit:g}"
        for figure, limit in ROWS[name].limits.items()
        if figures[figure] > limit
    ]


def keep(name: str, runs: int, figures: dict[str, float]) -> None:
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rounded = {figure: round(value, 4) for figure, value in figures.items()}
    known[name] = {"runs": runs, "date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), **rounded}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all when none is given")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    bad = 0
    for name in chosen.rows or ROWS:
        figures = asyncio.run(measure(name, chosen.runs)).figures
        keep(name, chosen.runs, figures)
        exceeded = over(name, figures)
        bad += bool(exceeded)
        shown = ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
        say(f"{name}: {shown}: {'over: ' + '; '.join(exceeded) if exceeded else 'kept'}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
