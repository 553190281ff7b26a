"""The state of a plain loop."""

from __future__ import annotations

from types import CellType

import pytest

import trax
from trax.frames.state import LoopState


def state() -> LoopState:
    """Return a state with a variable, a shared one, and a shared one without a value."""
    return LoopState(0, {"a": 1}, {"b": CellType(2), "c": CellType()}, [], {}, {})


def test_variables_are_those_in_cells_too() -> None:
    """But for those without a value."""
    assert state().variables == {"a": 1, "b": 2}


def test_other_variables_go_where_the_old_ones_were() -> None:
    """Shared ones stay in their cells."""
    before = state()
    after = before.with_variables({"a": 3, "b": 4, "d": 5})
    assert after.variables == {"a": 3, "b": 4, "d": 5}
    assert after.cells["b"] is before.cells["b"]


def test_migrate_must_return_a_mapping() -> None:
    """The error shows what it has returned."""
    with pytest.raises(trax.UsageError, match=r"not \[1\]"):
        state().with_variables([1])  # type: ignore[arg-type]
