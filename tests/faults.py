"""Faults that come from outside: calls of the disk that fail, and interrupts between two calls."""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Any


class Interrupt:
    """Raises an exception at one of the places where the interpreter looks for signals.

    These are where a function begins, and where a call of something written in C has returned.
    What is done in ``with`` blocks is counted, all of them together.

    Parameters
    ----------
    place : int
        The number of the place; 0 only counts.
    error : BaseException
        What is raised there, once.
    where : str
        Only those modules count whose path contains it.

    Attributes
    ----------
    places : int
        How many there have been so far.
    """

    def __init__(self, place: int, error: BaseException, where: str) -> None:
        self.places = 0
        self._place = place
        self._error = error
        self._where = where

    def __enter__(self) -> None:
        sys.setprofile(self._look)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_return") or self._where not in frame.f_code.co_filename:
            return
        if not frame.f_code.co_flags & inspect.CO_GENERATOR:  # Python 3.11 crashes there
            self.places += 1
            if self.places == self._place:
                raise self._error
