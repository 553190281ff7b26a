"""Loops as people write them: those that are right and those that are wrong are measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "lint"))

from loops_in_the_wild import LOOPS
from wild import measuring

EACH = 2  # loops


def test_the_table_has_many_loops_of_both_kinds() -> None:
    """Their names are unique, and each that is not right has a reason."""
    assert len({loop.name for loop in LOOPS}) == len(LOOPS)
    for verdict in ("right", "wrong"):
        assert sum(loop.verdict == verdict for loop in LOOPS) >= 60
    assert all(bool(loop.why) == (loop.verdict != "right") for loop in LOOPS)


@pytest.mark.proof
@pytest.mark.parametrize("first", range(0, len(LOOPS), EACH))
def test_each_loop_resumes_as_its_verdict_says(first: int) -> None:
    """A wrong loop differs after at least one kill, a right one after none."""
    loops = LOOPS[first : first + EACH]
    with measuring() as measure:
        found = {loop.name: measure(loop.source) for loop in loops}
    verdicts = {name: measured.verdict for name, measured in found.items()}
    assert verdicts == {loop.name: loop.verdict for loop in loops}, found
