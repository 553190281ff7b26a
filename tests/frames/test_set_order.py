"""A set that comes back in another order is told, if its loop goes through it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

import trax
from trax.frames.set_order import SetOrder


def sparse() -> set[int]:
    """Return a set of three numbers with the table of a large one."""
    found = set(range(0, 4000, 37))
    for one in [*found][:-3]:
        found.remove(one)
    return found


SPARSE = sparse()


class Ship:
    """It hashes by its address."""


@pytest.mark.parametrize(
    "text",
    [
        "for one in left: pass",
        "[one for one in left]",
        "left.pop()",
        "first, *others = *left,",
        "next(iter(left))",
        "sum(one.size for one in left)",
        "enumerate(left)",
        "while True:\n for one in left:\n  yield one",
        "for name in names:\n for one in left:\n  yield one",
    ],
)
def test_a_set_that_is_gone_through_is_told(text: str) -> None:
    """In whichever way, if its order is another one in a copy."""
    order = SetOrder(ast.parse(text))
    assert order.lost({"left": {1, 2, 3}, "other": SPARSE}) == ""
    assert order.lost({"left": SPARSE}) == "left"
    assert order.lost({"left": SPARSE}) == ""  # it is told once
    assert SetOrder(ast.parse(text)).lost({"left": {Ship(), Ship()}}) == "left"


@pytest.mark.parametrize(
    "text",
    [
        *("1 in left", "sorted(left)", "left.add(1)", "len(left)", "{one for one in left}"),
        *("max(one for one in left)", "any(len(one) > 2 for one in left)"),
        "for one in left:\n yield one",
    ],
)
def test_a_set_whose_order_does_not_matter_is_not_told(text: str) -> None:
    """As long as it is not gone through, or goes on where it was."""
    assert SetOrder(ast.parse(text)).lost({"left": SPARSE}) == ""


@pytest.mark.parametrize("seed", ["random", "5", None])
def test_texts_have_another_order_in_each_process(
    monkeypatch: pytest.MonkeyPatch, seed: str | None
) -> None:
    """Unless a variable of the environment fixes it."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    if seed:
        monkeypatch.setenv("PYTHONHASHSEED", seed)
    order = SetOrder(ast.parse("[one for one in left]"))
    # Two that want the same place of a small set change their order in a copy.
    pair = next(pair for pair in itertools.combinations("abcdef", 2) if _are_apart(*pair))
    assert order.lost({"left": {*pair}}) == ("" if seed == "5" else "left")


def _are_apart(one: str, other: str) -> bool:
    return hash(one) % 8 != hash(other) % 8


def test_the_copy_is_the_one_that_a_pickle_makes() -> None:
    """Also of a set that is larger than what a pickle adds at once."""
    import pickle
    import random

    rng = random.Random(1)
    for size in (3, 40, 999, 1000, 1001, 5000):
        for kind in (set, frozenset):
            drawn: Any = set(rng.sample(range(10**9), size * 2))
            for _ in range(size):
                drawn.pop()
            value = kind(drawn)
            copy = pickle.loads(pickle.dumps(value, 5))
            order = SetOrder(ast.parse("for one in value: pass"))
            assert bool(order.lost({"value": value})) is ([*copy] != [*value])


def test_a_loop_tells_of_it_once(caplog: pytest.LogCaptureFixture) -> None:
    """At the first frame that has such a set."""

    @trax.resumable(name="sinks", every_steps=1)
    def sinks() -> Iterator[int]:
        waiting = set(range(0, 4000, 37))
        while waiting:
            yield waiting.pop()

    assert len(list(sinks())) > 1
    (line,) = [line for line in caplog.messages if "order" in line]
    assert line == (
        "sinks: the set waiting iterates in another order once it is loaded. Use sorted(...), or "
        "keep a dict, if results depend on it"
    )
