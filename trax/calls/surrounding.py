"""Finds plain values that a function reads from outside: constants in all but name.

If they differ from those with which a run began, it may be the run of another function, made by the
same lines, or an edited script.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from trax.calls.content import PLAIN
from trax.storage.members import closure, global_names

__all__ = ["constants", "surrounding_values"]

_REBINDS = {"STORE_DEREF", "DELETE_DEREF"}


def surrounding_values(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the plain values of variables around a function, and of constants of its module.

    Those that it sets itself, or another function around it, are left out: they are its own, as a
    counter is.
    """
    variables = closure(function)
    found = {name: value for name, value in variables.items() if type(value) in PLAIN}
    if found:
        codes = (getattr(one, "__code__", None) for one in (function, *variables.values()))
        rebound = {name for code in codes if code for name in _rebound(code)}
        found = {name: value for name, value in found.items() if name not in rebound}
    return constants(function) | found


def constants(function: Any) -> dict[str, Any]:
    """Return the plain values that a function reads from its module, and does not set."""
    used = global_names(function.__code__)
    names = (used["LOAD_GLOBAL"] - used["STORE_GLOBAL"]) & function.__globals__.keys()
    values = {name: function.__globals__[name] for name in sorted(names) if name[:2] != "__"}
    return {name: value for name, value in values.items() if type(value) in PLAIN}


def _rebound(code: CodeType) -> Iterator[str]:
    """Yield the variables of functions around code that it sets, or the code in it."""
    for one in dis.get_instructions(code):
        if one.opname in _REBINDS:
            yield one.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _rebound(constant)
