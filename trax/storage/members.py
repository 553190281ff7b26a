"""Reads the attributes of objects and the variables of closures, without properties and calls."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from functools import partial
from types import CellType, MemberDescriptorType
from typing import Any

__all__ = ["attributes", "closure", "contents", "is_routine", "slots"]


def attributes(value: Any, *, builtin: bool = True) -> list[tuple[str, Any]]:
    """Return the attributes of an object with their names.

    If not `builtin`, those that classes written in C declare are left out.
    """
    named = None
    with contextlib.suppress(Exception):  # without one this calls __getattr__
        named = getattr(value, "__dict__", None)
    found = list(named.items()) if isinstance(named, Mapping) else []
    for name, member in slots(type(value), builtin=builtin):
        with contextlib.suppress(AttributeError):  # not set
            found.append((name, member.__get__(value)))
    return found


def slots(kind: type, *, builtin: bool = False) -> list[tuple[str, Any]]:
    """Return the slots that a class and those above it declare, with their names.

    If `builtin`, so are the attributes that classes written in C declare.
    """
    return [
        (name, member)
        for base in kind.__mro__
        if builtin or "__slots__" in base.__dict__
        for name, member in base.__dict__.items()
        if type(member) is MemberDescriptorType
    ]


def closure(function: Any) -> dict[str, Any]:
    """Return the variables of the functions around a function that it uses."""
    cells = getattr(function, "__closure__", None)
    return contents(dict(zip(function.__code__.co_freevars, cells, strict=True))) if cells else {}


def contents(cells: Mapping[str, CellType]) -> dict[str, Any]:
    """Return the variables in cells that have a value."""
    found = {}
    for name, cell in cells.items():
        with contextlib.suppress(ValueError):  # not set
            found[name] = cell.cell_contents
    return found


def is_routine(value: Any) -> bool:
    """Return whether a value is a function or a method, as `inspect.isroutine` does.

    A partial function is none under any version of Python: it is an object with parts.
    """
    return inspect.isroutine(value) and not isinstance(value, partial)
