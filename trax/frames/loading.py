"""Completes objects that are loaded from a pickle, when all of them are there.

A pickle makes objects from the inside to the outside, and objects that refer to each other are not
whole when an iterator among them is made. So iterators are put to their places, and generators
enter their ``with`` blocks, only at the end of a `loading` block, the outermost generator first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import IO, Any

__all__ = [
    "Loading",
    "NoRngs",
    "end_of_loading",
    "loading",
    "loading_into",
    "note_file",
    "present_rngs",
]


class Loading:
    """Objects that are being loaded, and what is left to do to them when all of them are whole.

    Parameters
    ----------
    enters : bool
        Whether generators enter their ``with`` blocks at the end. If not, they must not be used.
    rngs : Rngs, optional
        The RNGs of the run; see `trax.frames.iterables`.

    Attributes
    ----------
    rngs : Rngs
        As above.
    files : list
        The files that were opened for what was loaded.
    """

    def __init__(self, *, enters: bool, rngs: Any = None) -> None:
        self.rngs = rngs or NoRngs()
        self.files: list[IO[bytes]] = []
        self._enters = enters
        self._actions: list[Callable[[], object]] = []
        self._generators: list[Callable[[], object]] = []

    def add(self, action: Callable[[], object], *, is_generator: bool) -> None:
        """Do something when all objects are whole."""
        (self._generators if is_generator else self._actions).append(action)

    def complete(self) -> None:
        """Do what is left, but for generators."""
        while self._actions:
            self._actions.pop(0)()

    def enter(self) -> None:
        """Let all generators enter their blocks; those that were made last are around others."""
        self.complete()
        while self._generators and self._enters:
            self._generators.pop()()


class NoRngs:
    """The RNGs of no run."""

    def snapshot(self) -> None:
        return None

    def restore(self, snapshot: None) -> None:
        pass


def note_file(file: IO[bytes]) -> None:
    """Note that a file was opened for what is being loaded."""
    present = _loading.get()
    if present is not None:
        present.files.append(file)


def present_rngs() -> Any:
    """Return the RNGs of the run that is being loaded."""
    present = _loading.get()
    return NoRngs() if present is None else present.rngs


_loading: ContextVar[Loading | None] = ContextVar("loading", default=None)


@contextlib.contextmanager
def loading(*, enters: bool = True, rngs: Any = None) -> Iterator[Loading]:
    """Complete the objects that are loaded in this block at its end.

    Parameters
    ----------
    enters : bool
        Whether generators are to be used, and therefore enter their ``with`` blocks.
    rngs : Rngs, optional
        The RNGs of the run, for iterables that are gone through once more.
    """
    with loading_into(enters=enters, rngs=rngs) as present:
        yield present
        present.enter()


@contextlib.contextmanager
def loading_into(*, enters: bool = True, rngs: Any = None) -> Iterator[Loading]:
    """Collect what is left to do to the objects that are loaded in this block; do it later."""
    present = Loading(enters=enters, rngs=rngs)
    token = _loading.set(present)
    try:
        yield present
    finally:
        _loading.reset(token)


def end_of_loading(action: Callable[[], object], *, is_generator: bool = False) -> None:
    """Do something when all objects are whole that are being loaded: now, if none are."""
    present = _loading.get()
    if present is None:
        action()
    else:
        present.add(action, is_generator=is_generator)
