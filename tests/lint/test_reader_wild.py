"""The loops in the wild, written without the rules in mind, and what is found in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broken_off import define, warnings_of
from loops_in_the_wild import LOOPS
from wild import Measure, Measured, measuring

from trax.testing import check_resume

# Wrong loops that no tree shows without false alarms, and that the first run tells of.
TOLD_BY_THE_RUN = {
    "chunks_of_what_remains",
    "frontier_grows_while_it_remains",
    "history_in_a_class_variable",
    "ids_from_a_class_counter",
    "increment_is_a_part_of_the_state",
    "initial_guess_shared_with_the_module",
    "list_as_a_default_argument",
    "module_counter_sets_the_penalty",
    "nonlocal_velocity_in_a_factory",
    "pickling_leaves_the_momentum_out",
}
# Those that only a check finds, since it compares to the last bit.
FOUND_BY_A_CHECK = {"mean_summed_in_another_order"}
# A loop that is right for its own prompt by accident: the range ends where the answer is given.
RIGHT_BY_ACCIDENT = "agent_loop_with_tools_and_a_summary"
PROMPT, OTHER_PROMPT = "What is the size?", "Hi"


@pytest.fixture(scope="module")
def measure() -> Iterator[Measure]:
    with measuring() as given:
        yield given  # type: ignore[misc]


def _names(verdict: str, *, is_told: bool) -> set[str]:
    return {
        loop.name
        for loop in LOOPS
        if loop.verdict == verdict
        and any(True for _ in warnings_of(loop.source, Path("script.py"))) == is_told
    }


def _source(name: str) -> str:
    return next(loop.source for loop in LOOPS if loop.name == name)


def test_no_right_loop_is_warned_of() -> None:
    """But for one whose verdict is that of its prompt alone."""
    assert _names("right", is_told=True) == {RIGHT_BY_ACCIDENT}


def test_the_loop_that_is_right_by_accident_is_wrong_for_another_prompt(
    measure: Callable[[str], Measured],
) -> None:
    """So that the warning is right."""
    source = _source(RIGHT_BY_ACCIDENT)
    assert PROMPT in source
    found = measure(source.replace(PROMPT, OTHER_PROMPT))
    assert found.verdict == "wrong", found


def test_all_wrong_loops_are_warned_of_that_a_tree_shows() -> None:
    """The others are known by name, with the net that catches them."""
    assert _names("wrong", is_told=False) == TOLD_BY_THE_RUN | FOUND_BY_A_CHECK


@pytest.mark.parametrize("name", sorted(TOLD_BY_THE_RUN))
def test_the_first_run_tells_of_what_no_tree_shows(name: str, measure: Measure) -> None:
    """Before any crash."""
    said = measure.trial(_source(name)).said
    assert any(line.startswith("trax: ") for line in said.splitlines()), said


@pytest.mark.parametrize("name", sorted(FOUND_BY_A_CHECK))
def test_a_check_finds_what_no_run_shows(name: str) -> None:
    """In the user's own test."""
    made = define(_source(name), Path("script.py"))
    with pytest.raises(AssertionError, match="does not resume exactly"):
        check_resume(made["call"]())
