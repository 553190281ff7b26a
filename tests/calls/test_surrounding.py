"""Plain values that a function reads from outside are found, but for those that are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trax.calls.surrounding import constants, surrounding_values

RATE = 0.1
NAMES = ["a list is no plain value"]
calls = 0


def read() -> Any:
    global calls  # noqa: PLW0603  # that is what it is about
    calls += 1
    return RATE, NAMES, __name__, [lambda: LATER]


LATER = b"read by the function inside"


def make(power: int, *, seed: int | None = None) -> Callable[..., Any]:
    total = count = 0
    box = [1]

    def bump() -> None:
        nonlocal count
        count += 1

    def loop(n: int) -> Iterator[Any]:
        nonlocal total
        total += n
        bump()
        yield [power, seed, count, box, total]

    return loop


def test_constants_of_the_module_are_found() -> None:
    """But for what the function sets, what is no plain value, and what Python sets."""
    assert constants(read) == {"RATE": 0.1, "LATER": LATER}
    assert surrounding_values(read) == constants(read)


def test_plain_values_of_variables_around_a_function_are_found() -> None:
    """Counters are left out, whether the function counts or one that it calls."""
    assert surrounding_values(make(3)) == {"power": 3, "seed": None}
    assert surrounding_values(make(2, seed=5)) == {"power": 2, "seed": 5}
