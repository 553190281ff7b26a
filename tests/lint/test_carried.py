"""Variables that a loop carries from turn to turn."""

from __future__ import annotations

import pytest
from read_loops import kinds

TURN = """
def loop(state, n, given=()):
    {before}
    for i in trax.steps(n):
        {body}
        state = yield {value}
"""


@pytest.mark.parametrize(
    ("before", "body", "value"),
    [
        ("a = 0", "a += i", "a"),
        ("a = []", "a.append(i)", "len(a)"),
        ("a = {}", "a[i % 2] = i", "sum(a.values())"),
        ("a = iter('abc')", "b = next(a)", "b"),
        ("a, b = 0, 1", "a = a + b", "a"),
        ("a = [[0], [1]]", "for row in a: row[0] += i", "a[0][0]"),
        ("a = given", "if i: a = i", "a"),
    ],
)
def test_what_is_not_in_the_state_is_lost(before: str, body: str, value: str) -> None:
    """Its first value is there again in a resumed run."""
    assert kinds(TURN.format(before=before, body=body, value=value)) == [("carried", "a")]


@pytest.mark.parametrize(
    ("before", "body", "value"),
    [
        ("a = len(state)", "a += i", "a"),
        ("a = 0", "a = i", "a"),
        ("a = 0", "a += 1; print(a)", "i"),
        ("a = trax.step()", "a += 1", "a"),
        ("a = {}", "if i not in a: a[i] = i * i", "a[i]"),
        ("a_cache = {}", "a_cache[i] = len(a_cache)", "len(a_cache)"),
        ("a = None", "if a is None: a = sorted(given)", "a"),
        ("a = [0] * 3", "a[:] = [i] * 3", "sum(a)"),
        ("a = [0] * 3", "for k in range(3): a[k] = i + k", "sum(a)"),
    ],
)
def test_what_is_made_again_is_not(before: str, body: str, value: str) -> None:
    """From the state, from the number of the step, or anew in each turn."""
    assert kinds(TURN.format(before=before, body=body, value=value)) == []


def test_an_rng_that_is_made_before_the_loop_begins_again() -> None:
    """Unless the user cares for random numbers alone."""
    text = TURN.format(before="a = random.Random(1)", body="pass", value="a.random()")
    assert kinds(text) == [("rng", "a")]
    assert kinds(text, rng=None) == []
