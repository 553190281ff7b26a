"""Reads the machine words of an object, for positions that it shows in no other way."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any, Final

from trax.storage.refusals import RefusedError

__all__ = ["MINUS_ONE", "Memory"]

MINUS_ONE: Final = (1 << 8 * ctypes.sizeof(ctypes.c_size_t)) - 1
"""The word for -1."""

_NEWEST: Final = (3, 14)  # the newest version of Python whose objects are known
_ADVICE: Final = "Loop over a list of its items, or update trax."


class Memory:
    """The objects and numbers that an object consists of.

    Parameters
    ----------
    one : object
        An object of a type that is written in C.

    Attributes
    ----------
    words : list of int
        Its machine words, after the head that all objects have.
    objects : list
        The objects that it refers to.
    """

    def __init__(self, one: Any) -> None:
        if sys.version_info[:2] > _NEWEST or sys.implementation.name != "cpython":
            raise RefusedError(one, _ADVICE, "trax does not know it in this version of Python")
        head = object.__basicsize__
        count = (type(one).__basicsize__ - head) // ctypes.sizeof(ctypes.c_size_t)
        self.words: list[int] = [*(ctypes.c_size_t * count).from_address(id(one) + head)]
        self.objects: list[Any] = gc.get_referents(one)
        self._by_address = {id(each): each for each in self.objects}

    def has(self, number: int) -> bool:
        """Return whether a word is an address, and not zero."""
        return self.words[number] != 0

    def get(self, number: int) -> Any:
        """Return the object at the address that a word is."""
        return self._by_address[self.words[number]]

    def array(self, number: int, count: int) -> list[int]:
        """Return the numbers at the address that a word is."""
        return [*(ctypes.c_ssize_t * count).from_address(self.words[number])]
