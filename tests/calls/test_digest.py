"""Digests of values: what counts as equal, and what does not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import trax


def test_equal_arguments_are_the_same_however_they_are_given() -> None:
    """Defaults, keywords and equal values of other identity are no change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any, options: Any = None) -> Iterator[int]:
        yield 1

    text = "abc"[:2]
    loop([np.arange(3), text, text], {"x": 1, "y": {"p", "q"}}).result()
    assert loop(options={"y": {"q", "p"}, "x": 1}, data=[np.arange(3), "ab", "a" + "b"]).done


def cell(n: int) -> Any:
    """Return a function that differs from its siblings in its closure alone."""
    return lambda: n


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x**2, lambda x: x**3),
        (lambda x, k=1: x, lambda x, k=2: x),
        (cell(1), cell(2)),
        ({"a": 1}.get, {"a": 2}.get),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    ],
)
def test_functions_and_objects_are_told_apart_by_what_they_are(one: Any, other: Any) -> None:
    """The same call goes on; another function or another content is a change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(one).result()
    assert loop(one).done
    with pytest.raises(trax.ArgumentsChangedError):
        loop(other).result()


def test_an_argument_may_contain_itself() -> None:
    """A cycle is a structure like any other."""
    data: dict[str, Any] = {"list": [1]}
    data["self"] = data
    data["list"].append(data)

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data).result()
    assert loop(data).done


@pytest.mark.parametrize("other", [[1, 3], (1, 2), [1, 2.0], [1, np.int64(2)], {1, 2}, None])
def test_unequal_arguments_are_told_apart(other: Any) -> None:
    """Another value is a change, and so is another type."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data=[1, 2]).result()
    with pytest.raises(trax.ArgumentsChangedError, match="data"):
        loop(data=other).result()
