"""Values of the first state, and of the first call."""

from __future__ import annotations

import pytest
from read_loops import kinds

LOOP = """
import copy, functools
class Gauge:
    def __init__(self, zero): self.zero = zero
    def above(self, x): return x - self.zero
class Grid:
    def __init__(self, points): self.size = len(points)
    def mean(self, points): return sum(points) / self.size
def energy(x): return x * x
def loop(state, n):
    {before}
    for i in trax.steps(n):
        {body}
        state = yield {value}
    {after}
"""


@pytest.mark.parametrize(
    ("before", "value", "subject"),
    [
        ("zero = state", "state - zero", "zero"),
        ("zero = copy.copy(state)", "state - zero", "zero"),
        ("zero = state + 5", "min(state, zero)", "zero"),
        ("zero = [state]", "state - zero[0]", "zero"),
        ("zero = {'a': state}", "state - zero['a']", "zero"),
        ("zero, one = 1, state", "state - zero", ""),
        ("zero = i = state", "zero * i", ""),
        ("above = functools.partial(max, state)", "above(state)", "above"),
        ("above = lambda x: x - state", "above(i)", ""),
        ("gauge = Gauge(state)", "gauge.above(state)", "gauge"),
        ("gauge = Gauge(n)", "gauge.above(state)", ""),
        ("grid = Grid(state)", "[grid.mean(state)]", ""),
        ("before = energy(state)", "energy(state) - before", "before"),
        ("before = energy(state)", "state[before]", ""),
        ("before = energy(state)", "energy(i) - before", ""),
        ("size = len(state)", "[sum(state) / size]", ""),
        ("goal = len(state) + 5", "len(state) < goal", "goal"),
        ("names = sorted(state)", "{name: state[name] + i for name in names}", ""),
        ("first = copy.copy(state)", "[x - a for x, a in zip(state, first)]", "first"),
        ("begun = len(state); rest = items[begun:]", "rest[len(state) - begun]", ""),
    ],
)
def test_what_is_compared_with_the_present_state(before: str, value: str, subject: str) -> None:
    """By what it is made of, and not by its name; what is only read is right."""
    text = LOOP.format(before=before, body="pass", value=value, after="pass")
    assert kinds(text) == ([("reference", subject)] if subject else [])


def test_a_message_may_tell_of_the_first_state() -> None:
    """Nothing depends on it."""
    text = LOOP.format(
        before="zero = state", body="print(state - zero)", value="i", after="print(state - zero)"
    )
    assert kinds(text) == []


def test_a_comparison_after_the_loop() -> None:
    """The result of a resumed run is another one."""
    text = LOOP.format(before="zero = state", body="pass", value="i", after="return state - zero")
    assert kinds(text) == [("reference", "zero")]


@pytest.mark.parametrize("replay_log", ["append", None])
def test_the_same_object_is_never_an_early_one(replay_log: str | None) -> None:
    """A state that changes in place is the present one under each of its names; a copy is none."""
    for before, is_told in (("seen = state", False), ("seen = list(state)", True)):
        text = LOOP.format(before=before, body="pass", value="max(state, seen)", after="pass")
        found = kinds(text, create=list, replay_log=replay_log)
        assert [kind for kind, _ in found if kind == "reference"] == ["reference"] * is_told


@pytest.mark.parametrize(
    ("test", "is_told"),
    [
        *(("not state", True), ("trax.step() == 0", True), ("len(state) < 0", True)),
        *(("state is None", True), ("n", False), ("state.started", False)),
    ],
)
def test_what_the_first_call_sets(test: str, is_told: bool) -> None:
    """No later call sets it again, or has it from the state."""
    text = LOOP.format(
        before=f"scale = 1\n    if {test}: scale = 2", body="pass", value="i * scale", after="pass"
    )
    assert kinds(text) == [("reference", "scale")] * is_told


def test_what_later_calls_make_of_the_state() -> None:
    """Both branches are right."""
    text = LOOP.format(
        before="if not state: base = 2\n    else: base = state[0]",
        body="pass",
        value="i * base",
        after="pass",
    )
    assert kinds(text) == []
