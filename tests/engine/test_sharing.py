"""A state that shares objects with arguments and variables is reported once these change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import trax
from trax.engine.sharing import overlap

BASE: dict[str, list[int]] = {"row": [0]}
LINE = "itself, and the loop changes it"


class World:
    """A state with parts."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.steps = 0


def run_with(create: Callable[..., Any], change: Callable[[Any], Any], **arguments: Any) -> None:
    """Run three steps of a loop that changes its state by a function."""

    def fold(state: Any, increment: int) -> Any:
        change(state)
        return state

    @trax.resumable(create=create, replay_log=fold)
    def loop(state: Any, start: Any = None, steps: int = 3) -> Iterator[int]:
        assert BASE
        for i in trax.steps(steps):
            yield i

    loop(**arguments).result()


def test_a_state_that_is_an_argument_is_reported_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A resumed call is given another object."""
    run_with(lambda start: start, lambda state: state.append(1), start=[5])
    assert caplog.text.count(LINE) == 1
    assert "state is the argument start itself" in caplog.text


def test_a_part_of_an_argument_in_a_part_of_the_state_has_both_paths(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However deep they are."""
    given = {"grid": World([np.zeros(2)])}
    run_with(
        lambda start: {"mine": World(start["grid"].parts[0])},
        lambda state: state["mine"].parts[0].append(1),
        start=given,
    )
    assert "state['mine'].parts[0] is the argument start['grid'].parts[0] itself" in caplog.text


def test_a_variable_of_the_module_is_reported_as_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A later process begins with its first value."""
    monkeypatch.setitem(BASE, "row", [0])
    run_with(lambda: [BASE["row"]], lambda state: state[0].append(1))
    assert "state[0] is the variable BASE['row'] itself" in caplog.text


def test_a_variable_around_create_is_reported_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """It need not be one of the loop."""
    mine = [0]
    run_with(lambda: [mine], lambda state: mine.append(1))
    assert "state[0] is the variable mine itself" in caplog.text


@pytest.mark.parametrize(
    ("create", "change"),
    [
        (lambda start: start, lambda state: None),
        (list, lambda state: state.append(1)),
        (World, lambda state: setattr(state, "steps", state.steps + 1)),
        (lambda start: {"label": start[0], "n": []}, lambda state: state["n"].append(1)),
    ],
    ids=["unchanged", "copied", "beside it", "a text in it"],
)
def test_a_shared_object_that_does_not_change_is_not_reported(
    create: Any, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A constant may be shared with anything."""
    run_with(create, change, start=["a", 1.5, (1, 2)])
    assert not caplog.text


def test_a_resumed_run_shares_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its state comes from the disk, so no object of it is anywhere else."""

    @trax.resumable(create=lambda start: start, replay_log=None)
    def loop(state: list[int], start: list[int]) -> Iterator[int]:
        for i in trax.steps(5):
            state.append(i)
            yield i

    with loop(start=[0]) as run:
        next(run)
    assert LINE in caplog.text
    caplog.clear()
    assert loop(start=[0]).result() == [0, 0, 1, 2, 3, 4]
    assert LINE not in caplog.text


# -- an increment that is a part of the state ----------------------------------------------


def test_the_overlap_of_an_increment_and_a_state_has_both_paths() -> None:
    """Arrays overlap if they are of one memory."""
    grid = np.zeros((3, 3))
    state = World([1], grid)
    assert overlap(state.parts[0], state) == "the increment is state.parts[0] itself"
    assert overlap({"a": state.parts[0]}, state) == "the increment['a'] is state.parts[0] itself"
    assert overlap(grid[1], state) == "the increment is state.parts[1] itself"
    assert overlap(state, state) == "the increment is state itself"


def test_what_cannot_change_is_no_overlap() -> None:
    """Nor are RNGs, of which trax stores the positions."""
    rng, text, pair = random.Random(1), "text", (1, 2)
    assert overlap([rng, text, pair, 1], [rng, text, pair, 1]) == ""


def test_the_search_ends_in_large_objects_and_in_cycles() -> None:
    """It looks at some thousands of objects at most."""
    loop: list[Any] = [[] for _ in range(100_000)]
    loop.append(loop)
    assert overlap(loop, [loop[-2]]) == ""
