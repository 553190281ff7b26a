"""The message of a difference names the line that is the cause, if the source shows it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from test_checks import keep_here  # noqa: F401  # a fixture of every test here

import trax

seen: list[int] = []


class Agent:
    """Counts its objects."""

    made = 0


@trax.resumable
def fills_a_module(n: int) -> Iterator[int]:
    own: list[int] = []
    for i in range(n):
        own.append(i)
        seen.append(i)  # the cause
        yield len(seen) % 100


@trax.resumable
def counts_on_a_class(n: int) -> Iterator[int]:
    for _ in range(n):
        Agent.made = Agent.made + 1  # the cause
        yield Agent.made


@trax.resumable
def yields_the_time(n: int) -> Iterator[float]:
    for _ in range(n):
        yield time.perf_counter()  # the cause


@trax.resumable(create=int, check=False)
def keeps_a_variable(state: int, n: int) -> Generator[int, int, None]:
    stride = 0
    while state < n:
        stride += 1  # the cause
        state = yield state + stride


SAID = {
    fills_a_module: "'seen' is outside of the loop's variables",
    counts_on_a_class: "'Agent.made' is outside of the loop's variables",
    yields_the_time: "the increment depends on the clock",
    keeps_a_variable: "'stride' changes from step to step",
}


@pytest.mark.parametrize("loop", SAID, ids=lambda loop: loop.__name__)
def test_the_line_that_is_the_cause_is_told(loop: Any) -> None:
    """And the line of the yield at which the step ends."""
    with pytest.raises(AssertionError) as caught:
        loop.check(9)
    text = str(caught.value)
    found = [*re.finditer(r"Likely cause: (.*):(\d+): (.*)", text)]
    assert [one[3] for one in found if one[3].startswith(SAID[loop])] == [found[0][3]]
    with open(found[0][1]) as file:
        lines = file.read().splitlines()
    assert lines[int(found[0][2]) - 1].endswith("# the cause")
    ends = re.search(r"The step ends at (.*):(\d+)\.", text)
    assert ends is not None
    assert "yield" in lines[int(ends[2]) - 1]


class Forgetful:
    """Leaves out what matters."""

    def __init__(self) -> None:
        self.speed = 0

    def __getstate__(self) -> dict[str, int]:
        return {"speed": 0}


@trax.resumable
def leaves_something_out(n: int) -> Iterator[float]:
    one = Forgetful()
    for _ in range(n):
        one.speed += 1
        random.random()
        yield one.speed


def test_if_the_source_shows_nothing_all_causes_are_told() -> None:
    """Those that the kind of loop can have."""
    with pytest.raises(AssertionError, match=r"\n.*Possible causes: .*__getstate__") as caught:
        leaves_something_out.check(9)
    assert "Likely cause" not in str(caught.value)
    assert "is kept from one step to the next" not in str(caught.value)
