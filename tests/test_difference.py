"""How two runs differ."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

import trax
from trax import CodecError, NotFoundError
from trax.difference import compare_runs

Loop = Generator[Any, Any, Any]


@trax.resumable(create=int, name="{name}", keep="all", every_steps=5)
def count(n: int, name: str, to: int, turn: int) -> Loop:
    while n < to:
        n = yield n + (2 if n == turn else 1)


def test_the_first_step_that_differs_is_found() -> None:
    """With the arguments that do."""
    count("one", 30, turn=10).result()
    count("two", 30, turn=20).result()
    found = compare_runs("one", "two")
    assert (found.first, found.last, found.step) == (1, 11, 11)
    assert found.arguments == {"name": ("'one'", "'two'"), "turn": ("10", "20")}
    assert found.text == ""
    assert compare_runs("one", "two", objects=True).text == "increment: first 12, second 11"
    assert found.as_dict()["step"] == 11


def test_a_shorter_run_is_no_other_one() -> None:
    """It is compared as far as it goes; and a fork is like the run that it came from."""
    count("one", 30, turn=99).result()
    count("two", 12, turn=99).result()
    found = compare_runs("one", "two")
    assert (found.last, found.step) == (12, None)
    assert set(found.arguments) == {"name", "to"}
    trax.fork("one", "fork", step=17)
    found = compare_runs("fork", "one")
    assert (found.first, found.last, found.step) == (16, 17, None)
    assert found.arguments == {}
    trax.rewind("one", step=5)
    assert compare_runs("fork", "one").last < compare_runs("fork", "one").first


def test_equal_objects_in_other_bytes_are_equal_if_objects_are_compared() -> None:
    """Otherwise their bytes count."""
    text = str(12345)
    with trax.Trax() as store:
        store.log(one=[text, text], two=[str(12345), str(12345)])
        store.log(one=np.zeros(9999), two=np.zeros(9999))
        store.log(one=1.0, two=1)
    assert compare_runs("one", "two").step == 1
    found = compare_runs("one", "two", objects=True)
    assert (found.step, found.text) == (3, "increment: first 1.0, second 1")
    assert compare_runs("one", "one").step is None


def test_what_cannot_be_loaded_is_compared_in_bytes() -> None:
    """Nothing is unpickled unless it is asked for."""
    with trax.Trax(traxdir="a") as one, trax.Trax(traxdir="b") as two:
        one.log(run=Loads(1))
        two.log(run=Loads(2))
    assert compare_runs("run", "run", traxdir="a", other_traxdir="b").step == 1
    with pytest.raises(CodecError):
        compare_runs("run", "run", traxdir="a", other_traxdir="b", objects=True)


class Loads:
    """An object that cannot be loaded."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return refuse, (self.number,)


def refuse(number: int) -> None:
    raise ValueError(number)


def test_a_run_that_is_not_there_is_an_error() -> None:
    """Either of them."""
    count("one", 3, turn=9).result()
    for names in (("one", "two"), ("two", "one")):
        with pytest.raises(NotFoundError, match="nothing is stored as 'two'"):
            compare_runs(*names)
