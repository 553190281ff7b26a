"""The cases of a sweep: what a grid is, and that each case has a run of its own."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import trax
from trax.sweeping.cases import Grid, check_names


@trax.resumable(name="walk-{seed}")
def walk(seed: int, n: int = 3, *, rate: float = 0.5) -> Generator[int, None, int]:
    for step in range(n):
        yield step
    return seed


@trax.resumable
def unnamed(seed: int) -> Iterator[int]:
    yield seed


@trax.resumable(create=int, name="rate-{rate:.1f}", varying="n")
def declared(state: int, rate: float, n: int = 1) -> Iterator[int]:
    yield n


@trax.resumable
def takes_all(**given: int) -> Iterator[int]:
    yield 1


class Holder:
    """Has a method."""

    @trax.resumable(name="method-{n}")
    def method(self, n: int) -> Iterator[int]:
        yield n


# -- grids ---------------------------------------------------------------------------------


def test_a_mapping_gives_all_combinations_in_order() -> None:
    grid = Grid({"a": range(2), "b": ["x", "y"], "c": iter([3])})
    assert len(grid) == 4
    assert [*grid] == [*grid]  # an iterator of values is taken once
    assert [(one["a"], one["b"], one["c"]) for one in grid] == [
        (0, "x", 3),
        (0, "y", 3),
        (1, "x", 3),
        (1, "y", 3),
    ]


def test_a_list_gives_the_cases_as_they_are() -> None:
    cases = [{"a": 1}, {"a": 2, "b": 3}]
    grid = Grid(iter(cases))
    assert (len(grid), [*grid]) == (2, cases)
    next(iter(grid))["a"] = 100
    assert [*grid] == cases


def test_grids_without_cases() -> None:
    assert [(len(grid), [*grid]) for grid in (Grid([]), Grid({"a": []}))] == [(0, [])] * 2
    assert [*Grid({})] == [{}]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (4, "must be a mapping of arguments to their values, not 4"),
        ("seed", "must be a mapping of arguments to their values, not 'seed'"),
        ([{"seed": 1}, 2], "case 1 of the grid is no mapping of arguments, but 2"),
        (["ab"], "case 0 of the grid is no mapping of arguments, but 'ab'"),
        ({"seed": 3}, "one value for 'seed' instead of several: 3\nPut it into a list: {'seed': ["),
        ({"mode": "fast"}, "Put it into a list: {'mode': ['fast']}"),
        ({"mode": b"fast"}, "Put it into a list: {'mode': [b'fast']}"),
    ],
)
def test_what_is_no_grid_is_refused(grid: Any, said: str) -> None:
    with pytest.raises(trax.UsageError) as caught:
        Grid(grid)
    assert said in str(caught.value)


# -- names ---------------------------------------------------------------------------------


def test_cases_with_names_of_their_own_are_fine() -> None:
    """An argument with one value need not be in the name."""
    check_names(walk, Grid({"seed": range(5), "n": [7], "rate": [0.1]}))
    check_names(walk, Grid([{"seed": 1, "n": 2}, {"seed": 2, "rate": 2.0}]))
    check_names(unnamed, Grid({"seed": [1]}))
    check_names(takes_all, Grid({"a": [1], "b": [3]}))
    check_names(Holder().method, Grid({"n": [1, 2]}))
    check_names(walk, Grid([]))


@pytest.mark.parametrize(
    ("function", "grid", "said"),
    [
        (walk, {"seed": [1], "n": [1, 2]}, ["run 'walk-1'", "n=1 and 2", "'walk-{seed}-{n}'"]),
        (unnamed, {"seed": [1, 2]}, ["run 'unnamed'", "name='unnamed-{seed}'"]),
        (
            walk,
            {"seed": [5], "n": [1, 2], "rate": [1, 2]},
            ["rate=1 and 2", "name='walk-{seed}-{rate}'"],
        ),
        (
            walk,
            [{"seed": 1, "n": 2}, {"seed": 2}, {"seed": 1, "rate": 2.0}],
            ["run 'walk-1'", "n=2 and 3, rate=0.5 and 2.0", "name='walk-{seed}-{n}-{rate}'"],
        ),
        (declared, {"rate": [0.11, 0.12]}, ["run 'rate-0.1'", "rate=0.11 and 0.12", "alike"]),
        (declared, {"rate": [1], "n": [1, 2]}, ["n=1 and 2"]),
        (walk, {"seed": [1, 2, 1]}, ["a case comes twice in the grid, that of the run 'walk-1'"]),
        (Holder().method, [{"n": 1}, {"n": 1}], ["a case comes twice"]),
        (walk, [{"seed": 1}, {"seed": 1, "n": 3}], ["a case comes twice"]),
    ],
)
def test_two_cases_never_share_a_run(function: Any, grid: Any, said: list[str]) -> None:
    """Also if the argument that tells them apart may vary."""
    with pytest.raises(trax.UsageError) as caught:
        check_names(function, Grid(grid))
    for text in said:
        assert text in str(caught.value)
    assert len(str(caught.value).splitlines()[0]) <= 100


@pytest.mark.parametrize(
    ("function", "grid", "said"),
    [
        (walk, {"sed": [1]}, "walk() has no argument 'sed'"),
        (walk, {"n": [1]}, "walk() is missing the argument 'seed'"),
        (walk, [{"seed": 1}, {"seed": 2, "m": 1}], "walk() has no argument 'm'"),
        (declared, {"rate": [1], "state": [2]}, "got the argument 'state', and that is the state"),
        (walk, {1: [2]}, "walk() has no argument 1"),
    ],
)
def test_a_key_that_is_no_argument_is_refused(function: Any, grid: Any, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_names(function, Grid(grid))
    assert said in str(caught.value)


# -- cases ---------------------------------------------------------------------------------


def test_a_case_is_a_value() -> None:
    case = trax.Case("walk-1", {"seed": 1}, 3.0)
    assert case == pickle.loads(pickle.dumps(case))
    assert case != trax.Case("walk-1", {"seed": 1}, None, KeyError(1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.result = 2.0  # type: ignore[misc]  # that is the point
