"""The words of objects that are written in C."""

from __future__ import annotations

import itertools
import sys

import pytest

from trax.frames.object_memory import MINUS_ONE, Memory
from trax.storage.refusals import RefusedError


def test_objects_and_numbers() -> None:
    source = iter([1, 2, 3])
    memory = Memory(itertools.islice(source, 1, None, 7))
    assert memory.get(0) is source
    assert memory.words[1:5] == [1, MINUS_ONE, 7, 0]
    assert not memory.has(4)


def test_arrays() -> None:
    pairs = itertools.combinations("abcd", 2)
    for _ in range(3):
        next(pairs)
    assert Memory(pairs).array(1, 2) == [0, 3]


def test_a_later_python_is_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    with pytest.raises(RefusedError, match="this version of Python"):
        Memory(itertools.chain())
