"""Outlines of arguments, by which the place of a difference is found."""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from trax.calls.arguments import describe, differences

Namespace = argparse.Namespace
SAME = "the same items in another order"


@dataclass
class Optimiser:
    """Has groups of parameters, as those of PyTorch have."""

    groups: list[dict[str, Any]]
    step: int = 0


def shown(old: Any, new: Any) -> list[str]:
    """Return the lines for a change of an argument, after storage."""
    stored = json.loads(json.dumps(describe({"x": old})))
    found = differences(stored, describe({"x": new}))
    assert found == {} or list(found) == ["x"]
    return [line for lines in found.values() for line in lines]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (1, 1.0, ["x: 1 (int) -> 1.0 (float)"]),
        (1, 2, ["x: 1 -> 2"]),
        (None, 3, ["x: None -> 3"]),
        ({"a": 1}, {"a": 1.0}, ["x['a']: 1 (int) -> 1.0 (float)"]),
        ([1, 2], (1, 2), ["x: [1, 2] -> (1, 2)"]),
        ({"a": 1}, OrderedDict(a=1), ["x: {'a': 1} -> OrderedDict({'a': 1})"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["x['a']['b'][1]: 2 -> 3"]),
        (Namespace(n=1, v=False), Namespace(v=True, n=1), ["x.v: False -> True"]),
        (Namespace(n=1), Namespace(n=1, device="cpu"), ["x.device: (not there) -> 'cpu'"]),
        (Namespace(n=1, old=2), Namespace(n=1), ["x.old: 2 -> (not there)"]),
        (
            Optimiser([{"lr": 0.1, "params": [np.zeros(2)]}]),
            Optimiser([{"lr": 0.2, "params": [np.ones(2)]}]),
            [
                "x.groups[0]['lr']: 0.1 -> 0.2",
                "x.groups[0]['params'][0]: array([0., 0.]) -> array([1., 1.])",
            ],
        ),
        (partial(int, base=2), partial(int, base=3), ["x.base: 2 -> 3"]),
        ({"a": {"p": 1, "q": 2}}, {"a": {"q": 2, "p": 1}}, [f"x['a']: {SAME}"]),
        (
            {"p": 1, "q": 2},
            {"q": 2, "p": 1},
            [f"x: {{'p': 1, 'q': 2}} -> {{'q': 2, 'p': 1}} ({SAME})"],
        ),
        ([[], {}], [[], {}], []),
    ],
)
def test_a_difference_is_shown_where_it_is(old: Any, new: Any, lines: list[str]) -> None:
    """With its types if the texts do not tell."""
    assert shown(old, new) == [
        line.replace("OrderedDict({'a': 1})", repr(OrderedDict(a=1))) for line in lines
    ]


def test_an_order_is_known_even_of_many_items() -> None:
    """Though the outline does not have them."""
    many = {number: number for number in range(1000)}
    (line,) = shown(many, dict(reversed(many.items())))
    assert SAME in line
    (line,) = shown({"jobs": many}, {"jobs": dict(reversed(many.items()))})
    assert line.startswith("x['jobs']: ")
    assert SAME in line
    (line,) = shown(many, {**many, 5: 6})
    assert SAME not in line


def test_an_outline_is_small_whatever_the_value() -> None:
    """It is stored with every checkpoint."""
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep, "x" * 1000]
    for value in (
        [0] * 10**5,
        [[i] * 50 for i in range(90)],
        deep,
        Namespace(**{f"a{i}": i for i in range(99)}),
    ):
        assert len(describe({"x": value})["x"].get("outline", "")) < 10_000


def test_a_part_that_only_one_outline_has_room_for_is_no_difference() -> None:
    """Another part has grown, and that is the difference."""
    before = Namespace(rest=[1] * 60, few=[0] * 20, one=1)
    after = Namespace(rest=[1] * 60, few=[0] * 60, one=2)
    assert "x.one: 1 -> 2" in shown(before, after)
    assert not [line for line in shown(before, after) if "rest" in line]


def test_many_differences_are_counted() -> None:
    """A message can be read."""
    lines = shown(list(range(20)), list(range(1, 21)))
    assert lines[0] == "x[0]: 0 -> 1"
    assert lines[5:] == ["x: and 15 more"]


def test_a_value_that_contains_itself_has_an_outline() -> None:
    """A cycle ends it."""
    old: dict[str, Any] = {"n": 1}
    new: dict[str, Any] = {"n": 2}
    old["self"], new["self"] = old, new
    assert "x['n']: 1 -> 2" in shown(old, new)


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"": 1}', '{"": ["", ""]}', "null"])
def test_an_outline_that_cannot_be_read_is_none(damaged: str) -> None:
    """A file may have anything."""
    stored = describe({"x": [1]})
    stored["x"]["outline"] = damaged
    assert differences(stored, describe({"x": [2]})) == {"x": ["x: [1] -> [2]"]}
