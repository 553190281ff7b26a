"""Two outcomes are compared, and the first difference is told with advice about its cause."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from trax.comparing import freeze
from trax.testing.causes import LATER, OUTPUT, RANDOM, STATE
from trax.testing.outcome import Differs, Outcome, compare_ends, compare_step


def outcome() -> Outcome:
    """Return the outcome of a run of two steps."""
    return Outcome(
        last=2,
        increments={1: freeze(10), 2: freeze(20)},
        states={0: freeze(0), 1: freeze(10), 2: freeze(30)},
        result=freeze(30),
        variables={"total": freeze(30), "begun": freeze(0.5)},
        files={"out.txt": b"10\n20\n"},
        positions={"random": (b"words", b"place")},
    )


def ends(expected: Outcome, found: Outcome, *, rngs: bool = True, again: bool = False) -> None:
    compare_ends(expected, found, has_rngs=rngs, is_again=again)


def test_what_is_the_same_passes() -> None:
    """At every step, and at the end."""
    for step in (0, 1, 2):
        compare_step(outcome(), outcome(), step, 7, is_logged=True)
    ends(outcome(), outcome())


def test_a_step_that_differs_is_told_with_the_line_of_its_yield() -> None:
    """First the increment, then the state; without a log, a state comes from the loop alone."""
    found = outcome()
    found.states[2] = freeze(31)
    for is_logged, advice in ((True, STATE), (False, LATER)):
        with pytest.raises(Differs, match="the state at step 2: live 30, resumed 31") as caught:
            compare_step(outcome(), found, 2, 7, is_logged=is_logged)
        assert (caught.value.advice, caught.value.line) == (advice, 7)
    found.increments[2] = freeze(21)
    with pytest.raises(Differs, match="increment 2: live 20, resumed 21"):
        compare_step(outcome(), found, 2, 7, is_logged=True)
    with pytest.raises(Differs, match="step 3 exists only in the resumed run"):
        compare_step(outcome(), found, 3, 7, is_logged=True)


def other_last(found: Outcome) -> None:
    found.last = 3


def other_result(found: Outcome) -> None:
    found.result = freeze(31)


def other_variable(found: Outcome) -> None:
    found.variables["total"] = freeze(31)


def other_file(found: Outcome) -> None:
    found.files["out.txt"] = b"10\n21\n"


def no_file(found: Outcome) -> None:
    del found.files["out.txt"]


def other_position(found: Outcome) -> None:
    found.positions["random"] = (b"words", b"other")


@pytest.mark.parametrize(
    ("change", "message", "advice"),
    [
        (other_last, "the end: live after step 2, resumed after step 3", LATER),
        (other_result, "the result: live 30, resumed 31", LATER),
        (other_variable, "the variable 'total' at the end: live 30, resumed 31", LATER),
        (other_file, "the file out.txt at byte 4: live b'0.n', resumed b'1.n'", OUTPUT),
        (no_file, "the file out.txt exists only in the live run", OUTPUT),
        (other_position, "the RNG 'random' has another position at the end", RANDOM),
    ],
)
def test_an_end_that_differs_is_told(
    change: Callable[[Outcome], None], message: str, advice: str
) -> None:
    """Whatever of it differs."""
    found = outcome()
    change(found)
    with pytest.raises(Differs, match=message) as caught:
        ends(outcome(), found)
    assert caught.value.advice == advice


def test_positions_do_not_count_where_rngs_are_left_alone() -> None:
    """As the option ``rng=None`` has it."""
    found = outcome()
    other_position(found)
    ends(outcome(), found, rngs=False)


def test_a_variable_that_differs_without_interruptions_does_not_count() -> None:
    """The second uninterrupted run shows which those are."""
    expected, again = outcome(), outcome()
    again.variables["begun"] = freeze(0.75)
    with pytest.raises(Differs, match="'begun'"):
        ends(copy.deepcopy(expected), again)
    ends(expected, again, again=True)
    ends(expected, again)
