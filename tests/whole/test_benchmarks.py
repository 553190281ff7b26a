"""The benchmarks run, and the page about performance shows their figures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import report, table

ROOT = Path(__file__).parents[2]
UNLIMITED = ("a plain loop", "not trax", "trax.map", "recovery of 1,024 MB of arrays, beside warm")


def run(*arguments: object) -> str:
    """Run the command on the given arguments; return what it prints."""
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.check_output(command, text=True, env=environment)


def is_finite(row: dict[str, Any]) -> bool:
    """Whether the figures of a row are numbers."""
    return all(math.isfinite(row[name]) and row[name] >= 0 for name in ("trax", "bare", "ratio"))


def test_rows_are_measured(tmp_path: Path) -> None:
    """Those that are asked for, in finite figures; the file has all, and can be shown again."""
    path = tmp_path / "found.json"
    words = ("a step, fold", "a recall", "memory of a recovery")
    printed = run("--quick", "--json", path, *words)
    rows = json.loads(path.read_text())["rows"]
    assert [row["row"] for row in rows] == [
        "a step, fold",
        "memory of a recovery beyond the state",
        "a recall of a finished run",
    ]
    assert all(map(is_finite, rows))
    assert printed.startswith(report.table(rows))
    assert run("--load", path).startswith(report.table(rows))


def test_every_row_has_a_limit() -> None:
    """But those of which no more is asked than that they are known; all names differ."""
    rows = [row for group in table.groups() for row in group.rows]
    assert len({row.name for row in rows}) == len(rows) > 35
    for row in rows:
        assert row.bare.label
        assert (row.limit is None) == row.name.startswith(UNLIMITED), row.name


def test_the_page_shows_the_figures_of_its_file() -> None:
    """Nobody types them."""
    text = report.PAGE.read_text()
    found = json.loads(report.PAGE.with_suffix(".json").read_text())
    assert text == report.in_page(text, found), "python -m benchmarks --load FILE --docs"
    assert all(map(is_finite, found["rows"]))
    assert report.PAGE.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
