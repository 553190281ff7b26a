"""What a source was before a loop went through it is put back for going through it again."""

from __future__ import annotations

import io
import random
from collections import deque
from typing import Any

import numpy as np
import pytest

from trax.frames.source_state import SourceState, positions, rewound


class Loader:
    def __init__(self) -> None:
        self.epoch = 0
        self.name = "a"
        self.order = [*range(9)]
        self.array = np.arange(9)
        self.seen: set[int] = set()
        self.queue = deque([1, 2])
        self.table = {"a": 1}
        self.rng = random.Random(1)
        self.numbers = np.random.default_rng(1)
        self.sampler: Any = None


def spoil(loader: Loader) -> None:
    loader.epoch += 1
    loader.rng.shuffle(loader.order)
    loader.numbers.shuffle(loader.array)
    loader.seen.add(3)
    loader.queue.append(3)
    loader.table["b"] = 2


def content(loader: Loader) -> Any:
    rngs = loader.rng.getstate(), loader.numbers.bit_generator.state
    shown = [loader.epoch, loader.order, loader.array.tolist(), loader.seen, loader.queue]
    return repr((rngs, shown, loader.table))


@pytest.mark.parametrize("inner", [False, True])
def test_everything_is_put_back_and_then_as_it_was(inner: bool) -> None:
    """In the same containers, which others may refer to."""
    loader = outer = Loader()
    if inner:
        outer = Loader()
        outer.sampler = [loader]
    before, state, order = content(loader), SourceState(outer), loader.order
    spoil(loader)
    after, changes = content(loader), state.changes()
    with rewound(changes):
        assert content(loader) == before
        assert loader.order is order
        spoil(loader)
        assert content(loader) == after
    assert content(loader) == after
    assert loader.order is order


def test_only_changes_are_stored() -> None:
    loader = Loader()
    state = SourceState(loader)
    assert state.changes() == ([], [], [])
    loader.epoch = 1
    assert state.changes() == ([], [(loader, {"epoch": 0})], [])


def test_files_are_read_from_where_they_were() -> None:
    file = io.StringIO("abc")
    file.read(1)
    state = SourceState([file], positions([file, 5]))
    file.read()
    with rewound(state.changes()):
        assert file.read() == "bc"
    file.close()
    assert state.changes() == ([], [], [])


def test_large_sources_are_not_searched_to_their_end() -> None:
    class Slow(Loader):
        @property
        def never(self) -> None:
            raise AssertionError

    assert SourceState([Slow() for _ in range(1000)]).changes() == ([], [], [])
