"""Shows the figures: as a table in Markdown, in the docs, and as a plot."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of the figures -->\n"
UNITS: dict[str, dict[str, float]] = {
    "s": {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9},
    "B": {"MiB": 1 << 20, "KiB": 1 << 10, "B": 1},
    "": {"": 1},
}
HEAD = "| row | beside | trax | that | ratio | limit | CPU | met |\n" + "| --- " * 2 + "| ---: " * 5

Result = dict[str, Any]


def machine() -> str:
    """Return what the figures were made with."""
    names = [line for line in cpu_info().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    python = platform.python_version()
    return f"Python {python}, {platform.system()}, {os.cpu_count()} CPUs, {model}"


def cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def amount(value: float, unit: str) -> str:
    """Return seconds or bytes with three digits, in a unit that suits them."""
    names = UNITS[unit]
    name = next((name for name, size in names.items() if value >= size), [*names][-1])
    return f"{value / names[name]:.3g} {name}".rstrip()


def ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def line(found: Result) -> str:
    """Return the line of a row in the table."""
    met = {None: "", True: "yes", False: "**no**"}[found["met"]]
    sides = (amount(found[side], found["unit"]) for side in ("trax", "bare"))
    ratios = (ratio(found[name]) for name in ("ratio", "limit", "cpu_ratio"))
    return "| " + " | ".join([found["row"], found["beside"], *sides, *ratios, met]) + " |"


def table(results: list[Result]) -> str:
    return "\n".join([f"{HEAD}| --- |", *map(line, results)]) + "\n"


def in_page(text: str, report: dict[str, Any]) -> str:
    """Return the text of the docs' page with the table of a report."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE} has no {BEGIN}"
    assert end, f"{PAGE} has no {END}"
    figures = f"{table(report['rows'])}\nMeasured with {report['machine']}."
    if report["left_out"]:
        figures += f" Not installed: {', '.join(report['left_out'])}."
    return f"{before}{begin}{figures}\n{end}{after}"


def plot(results: list[Result], path: Path) -> None:
    """Draw each row's ratio, and its limit."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    shown = [one for one in results[::-1] if one["ratio"] > 0]
    figure, axes = plt.subplots(figsize=(9, 0.27 * len(shown) + 1), layout="constrained")
    colours = {True: "tab:green", False: "tab:red", None: "tab:gray"}
    for height, one in enumerate(shown):
        axes.plot(one["ratio"], height, "o", color=colours[one["met"]])
        if one["limit"] is not None:
            axes.plot(one["limit"], height, "|", color="black", markersize=11)
    axes.axvline(1, color="lightgray", zorder=0)
    axes.set(xscale="log", yticks=range(len(shown)), yticklabels=[one["row"] for one in shown])
    axes.set_xlabel("dot: trax, as a multiple of the bare counterpart; bar: the limit")
    axes.margins(y=0.01)
    axes.grid(axis="y", color="whitesmoke")
    figure.savefig(path, dpi=110, metadata={"Software": None})
