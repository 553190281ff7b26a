"""Loaders that tell where they are go on there; others are gone through once more."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from looping import check

from trax.frames.loaders import tell, told, way_of


class Stateful:
    """A loader that tells its state, and can be put there."""

    def __init__(self, *, tells: bool = True) -> None:
        self.place = 0
        self.tells = tells
        self.begun = 0

    def __iter__(self) -> Iterator[int]:
        self.begun += 1
        return StatefulIterator(self)

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place} if self.tells else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state.get("place", self.place)


class StatefulIterator:
    def __init__(self, loader: Stateful) -> None:
        self.loader = loader
        self.lock = threading.Lock()
        if not loader.tells:
            loader.place = 0

    def __iter__(self) -> StatefulIterator:
        return self

    def __next__(self) -> int:
        if self.loader.place == 4:
            self.loader.place = 0
            raise StopIteration
        self.loader.place += 1
        return self.loader.place


@pytest.mark.parametrize("tells", [True, False])
def test_loaders_that_tell_their_state(tells: bool) -> None:
    """If it does tell the place of the loop; else it is gone through again."""
    check(epochs, lambda: (Stateful(tells=tells),))
    check(numbered, lambda: (Stateful(tells=tells),))


class Seekable:
    def __init__(self) -> None:
        self.place, self.lock = 0, threading.Lock()

    def __iter__(self) -> Seekable:
        return self

    def __next__(self) -> int:
        if self.place == 5:
            raise StopIteration
        self.place += 1
        return self.place * 10

    def tell(self) -> int:
        return self.place

    def seek(self, place: int) -> None:
        self.place = place


def sought(make: Any) -> Iterator[Any]:
    for item in make():
        yield item


def test_iterators_that_can_be_put_to_a_position() -> None:
    check(sought, lambda: (Seekable,))


def epochs(loader: Any) -> Iterator[Any]:
    for epoch in range(2):
        for item in loader:
            yield epoch, item, random.random()


def numbered(loader: Any) -> Iterator[Any]:
    for number, item in enumerate(loader, 3):
        yield number, item


def test_the_way_of_a_loader() -> None:
    """The loader comes before its iterator, and a state before a position."""
    loader, iterator = Stateful(), Seekable()
    way = way_of(loader, iterator)
    assert way == ("loader", "state_dict", "load_state_dict")
    assert tell(loader, iterator, way) == {"place": 0}
    assert way_of([], iterator) == ("iterator", "tell", "seek")
    assert way_of([], iter([])) is None
    assert told([], None) == told([], iter([])) == ""
    before = told([], iterator)
    next(iterator)
    assert told([], iterator) != before
