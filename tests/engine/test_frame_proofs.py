"""Proofs of the first frames of a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trax
from trax.engine.frame_proofs import name_variable

counts = [0]


def test_places_in_a_state_become_names() -> None:
    """In errors and in notices."""
    assert name_variable("state[1]['a'].b[0] (T) cannot be stored") == "a.b[0] (T) cannot be stored"
    assert name_variable("state[2]['a'].cell_contents.b: x") == "a.b: x"
    assert name_variable("variables['a'] and variables['b'].c") == "a and b.c"


def test_a_variable_of_the_module_that_the_loop_changes_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A resumed run finds it as it was."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            counts[0] += 1
            yield i

    list(loop(3))
    (line,) = [line for line in caplog.messages if "changes counts" in line]
    assert "outside of its variables" in line


def test_files_and_iterators_are_no_flaws(caplog: pytest.LogCaptureFixture) -> None:
    """Nor are arguments that the loop changes."""
    Path("in.txt").write_text("a\nb\nc\n")

    @trax.resumable
    def loop(found: list[str], holder: dict[str, Any]) -> Iterator[str]:
        letters = iter("xyz")
        with open("in.txt") as lines, trax.open("out.txt") as out:
            holder["out"] = 1
            for line in lines:
                found.append(line)
                out.write(line)
                yield line + next(letters)

    assert list(loop([], {})) == ["a\nx", "b\ny", "c\nz"]
    assert caplog.messages == []
