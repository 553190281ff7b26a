"""A whole number is known by its index, whichever library it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trax
from trax.whole_numbers import as_whole, check_whole


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_a_whole_number_is_one_of_python_afterwards(value: Any) -> None:
    """So it can be stored as such."""
    assert type(check_whole(value, "it")) is int
    assert check_whole(value, "it", least=3) == 3


@pytest.mark.parametrize("value", [2.0, True, np.True_, "3", None, 0, -1, np.int64(0)])
def test_anything_else_is_refused_by_name(value: Any) -> None:
    """Also what equals a number and is none, and what is too small."""
    assert as_whole(value, 1) is None
    with pytest.raises(trax.UsageError, match="it must be a whole number of at least 1, not "):
        check_whole(value, "it")


def test_the_least_can_be_another() -> None:
    """Such as 0 for a step."""
    assert as_whole(0, 0) == 0
    with pytest.raises(trax.UsageError, match="step must be a whole number of at least 0, not -1"):
        check_whole(-1, "step", least=0)


def test_numbers_of_numpy_are_taken_wherever_one_is_wanted(tmp_path: Any) -> None:
    """A sweep over an array has no others."""
    three: Any = np.int64(3)
    policy, keep = trax.every_steps(three), trax.keep_every(steps=three)

    @trax.resumable(every_steps=three, keep=three, version=three, total=three, traxdir=tmp_path)
    def loop() -> Any:
        for i in trax.steps(three):
            yield i

    assert policy.steps == 3
    assert repr(keep) == "keep_every(steps=3)"
    assert loop().result() == 2
    assert trax.load("loop", traxdir=tmp_path, step=three).step == 3
