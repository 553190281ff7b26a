"""Reads attributes, and the variables that functions use, without properties and calls."""

from __future__ import annotations

import contextlib
import dis
import inspect
from collections.abc import Mapping
from functools import partial
from types import CellType, CodeType, MemberDescriptorType
from typing import Any

__all__ = ["attributes", "closure", "contents", "global_names", "is_routine", "slots"]

_EXTENDED = dis.opmap["EXTENDED_ARG"]
# Not all of these are in each version of Python.
_GLOBAL = {
    dis.opmap[name]: name
    for name in (
        "LOAD_GLOBAL",
        "STORE_GLOBAL",
        "DELETE_GLOBAL",
        "LOAD_NAME",
        "LOAD_FROM_DICT_OR_GLOBALS",
        "IMPORT_NAME",
    )
    if name in dis.opmap
}


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


def global_names(code: CodeType) -> dict[str, set[str]]:
    """Return the variables of its module that code and the code in it use, by the instruction.

    `dis` would take 100 times as long.
    """
    found: dict[str, set[str]] = {name: set() for name in _GLOBAL.values()}
    waiting = [code]
    while waiting:
        one = waiting.pop()
        waiting += (constant for constant in one.co_consts if isinstance(constant, CodeType))
        extended = 0
        for operation, low in zip(one.co_code[::2], one.co_code[1::2], strict=True):
            argument = extended | low
            extended = argument << 8 if operation == _EXTENDED else 0
            if name := _GLOBAL.get(operation):
                found[name].add(one.co_names[argument >> (name == "LOAD_GLOBAL")])
    return found


def is_routine(value: Any) -> bool:
    """Return whether a value is a function or a method, as `inspect.isroutine` does.

    A partial function is none under any version of Python: it is an object with parts.
    """
    return inspect.isroutine(value) and not isinstance(value, partial)
