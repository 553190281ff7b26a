"""Finds collections that hold the addresses of objects beside them, by which ``id`` knows them.

After a crash these objects have other addresses. So a set of what was seen, or a dict that
remembers results, finds none of them again, or another object that has such an address now.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["Addresses", "first_held"]

_LEAST: Final = 1 << 40  # smaller numbers may be equal to an address by chance
_SHOWN: Final = re.compile(r" at 0x([0-9a-f]+)>")  # as `repr` shows them


class Addresses:
    """The addresses that collections hold, and those of the objects, as they are met."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._objects: dict[int, type] = {}

    def meet(self, one: Any) -> None:
        """Note an object, which must live until all are met."""
        for number in (id(one), object.__hash__(one)):
            self._objects[number] = type(one)
        self._held.update(_held(one))

    def found(self) -> dict[int, type]:
        """Return the addresses that are held, with the types of their objects."""
        return {number: self._objects[number] for number in self._held & self._objects.keys()}


def first_held(one: Any, found: dict[int, type]) -> type | None:
    """Return the type of the first object whose address a collection holds."""
    return next((found[number] for number in _held(one) if number in found), None)


def _held(one: Any) -> Iterator[int]:
    """Yield the numbers in a collection that may be addresses."""
    if not isinstance(one, dict | set | frozenset | list | tuple | deque):
        return
    for item in one:
        if type(item) is int and item >= _LEAST:
            yield item
        elif type(item) is str and isinstance(one, dict | set) and " at 0x" in item:
            yield from (int(digits, 16) for digits in _SHOWN.findall(item))
