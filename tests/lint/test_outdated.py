"""Values of an early state."""

from __future__ import annotations

import pytest
from read_loops import kinds

LOOP = """
def loop(state, n):
    {before}
    for i in {source}:
        {body}
        state = yield {value}
"""


@pytest.mark.parametrize(
    ("before", "value", "found"),
    [
        ("a = state.a", "replace(state, a=a + state.a)", [("stale", "a")]),
        ("a = state['a']", "{**state, 'a': a + i}", [("stale", "a")]),
        ("a, b = state", "(a + i, b)", [("stale", "a")]),
        ("a = state.a", "replace(state, b=a + i)", []),
        ("a = state.a", "replace(state, a=a)", []),
        ("a = state.a", "replace(state, a=state.a + a.size)", []),
        ("a = state.a", "replace(state, a=state.a + len(a))", []),
        ("a = state.a + 1", "replace(state, a=a + i)", []),
    ],
)
def test_a_part_that_is_taken_once(before: str, value: str, found: list[tuple[str, str]]) -> None:
    """It is a later one in a resumed run, if the steps replace it."""
    text = LOOP.format(before=before, source="trax.steps(n)", body="pass", value=value)
    assert kinds(text) == found


def test_a_part_that_the_loop_takes_again_is_none() -> None:
    """It is that of the newest state."""
    text = LOOP.format(
        before="a = state.a", source="trax.steps(n)", body="a += 1", value="replace(state, a=a + 1)"
    )
    assert kinds(text) == []


def test_parts_that_replay_log_replaces() -> None:
    """Its text tells which they are."""
    text = LOOP.format(before="a = state[0]", source="trax.steps(n)", body="pass", value="a + i")
    assert kinds(text, replay_log=_moved) == [("stale", "a")]
    assert kinds(text, replay_log=_kept) == []


def _moved(state: tuple[int, int], increment: int) -> tuple[int, int]:
    return state[0] + increment, state[1]


def _kept(state: tuple[int, int], increment: int) -> tuple[int, int]:
    return state[0], state[1] + increment


@pytest.mark.parametrize(
    ("before", "start", "value", "found"),
    [
        ("pass", "state", "i", [("twice", "i")]),
        ("pass", "state.i", "State(i=i, x=2)", [("twice", "i")]),
        ("last = state['i']", "last", "{'i': i}", [("twice", "i")]),
        ("last = state['i']", "last + 1", "{'i': i}", []),
        ("pass", "state", "i + 1", []),
        ("pass", "state.i", "State(j=i, i=i + 1)", []),
    ],
)
def test_a_range_that_begins_with_the_last_step(
    before: str, start: str, value: str, found: list[tuple[str, str]]
) -> None:
    """It is done twice."""
    source = f"range({start}, n)"
    assert kinds(LOOP.format(before=before, source=source, body="pass", value=value)) == found
