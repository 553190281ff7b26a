"""Reads the attributes of objects and the variables of closures, without properties and calls."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from functools import partial
from types import MemberDescriptorType
from typing import Any

__all__ = ["attributes", "closure", "is_routine"]


def attributes(value: Any, *, builtin: bool = True) -> list[tuple[str, Any]]:
    """Return the attributes of an object with their names.

    If not `builtin`, those that classes written in C declare are left out.
    """
    named = None
    with contextlib.suppress(Exception):  # without one this calls __getattr__
        named = getattr(value, "__dict__", None)
    found = list(named.items()) if isinstance(named, Mapping) else []
    for kind in type(value).__mro__:
        if not builtin and "__slots__" not in kind.__dict__:
            continue
        for name, member in kind.__dict__.items():
            if type(member) is MemberDescriptorType:  # of __slots__
                with contextlib.suppress(AttributeError):  # not set
                    found.append((name, member.__get__(value)))
    return found


def closure(function: Any) -> dict[str, Any]:
    """Return the variables of the functions around a function that it uses."""
    found = {}
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(function.__code__.co_freevars if cells else (), cells, strict=True):
        with contextlib.suppress(ValueError):  # not set
            found[name] = cell.cell_contents
    return found


def is_routine(value: Any) -> bool:
    """Return whether a value is a function or a method, as `inspect.isroutine` does.

    A partial function is none under any version of Python: it is an object with parts.
    """
    return inspect.isroutine(value) and not isinstance(value, partial)
