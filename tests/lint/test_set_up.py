"""What create sets up for its own process."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_off import warnings_of

LOOP = """
import os, trax
UNITS, CALLS, NAMES_CACHE, COUNT = {{}}, [], {{}}, 0
def scaled(x): return x * UNITS["scale"] + COUNT
def start():
    {line}
    return 1
@trax.resumable(create=start)
def loop(state, n):
    for i in trax.steps(n):
        state = yield scaled(i) + len(NAMES_CACHE)
"""


@pytest.mark.parametrize(
    ("line", "subjects"),
    [
        ("UNITS['scale'] = 2", ["UNITS"]),
        ("UNITS.update(scale=2)", ["UNITS"]),
        ("global COUNT; COUNT = 2", ["COUNT"]),
        ("os.environ['SCALE'] = '2'", ["os"]),
        ("CALLS.append(1)", []),
        ("NAMES_CACHE[1] = 1", []),
        ("own = {}; own['scale'] = 2", []),
    ],
)
def test_what_is_lost_in_other_processes(line: str, subjects: list[str]) -> None:
    """Variables that the loop reads, also by way of a helper, and settings."""
    told = warnings_of(LOOP.format(line=line), Path("script.py"))
    causes = [f"loop: create changes {name!r}" for name in subjects]
    assert [str(one).partition(" for ")[0] for one in told] == causes
