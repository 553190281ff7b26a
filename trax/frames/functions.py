"""Takes functions apart that no name leads to, such as those inside of a loop.

A function inside shares variables with the loop and with other functions, and reads those of its
module. A copy of its code would have copies of all of these. So only the place of its code is
stored, with the shared variables as cells; it is made again in its module, from the present code.

Pickles refer to the public functions of this module by name.
"""

from __future__ import annotations

import sys
from types import CellType, FunctionType
from typing import Any

from trax.errors import UsageError
from trax.frames.generators import Place, find_code, function_at, place_of

__all__ = ["complete", "inner", "reduce_function"]


def reduce_function(function: FunctionType) -> Any:
    """Reduce a function to the place of its code; NotImplemented if it is not found there."""
    code, variables = function.__code__, function.__globals__
    module = variables.get("__name__")
    if "<" not in code.co_qualname or vars(sys.modules.get(module, sys)) is not variables:  # type: ignore[arg-type]
        return NotImplemented
    try:
        place = place_of(code, str(module))
    except UsageError:
        place = None
    if place is None:
        return NotImplemented
    outer = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    names = ("__name__", "__qualname__", "__defaults__", "__kwdefaults__", "__doc__", "__module__")
    state = {name: getattr(function, name) for name in names}
    if sys.version_info < (3, 14) and function.__annotations__:
        state["__annotations__"] = function.__annotations__
    return inner, (place, outer), (state, vars(function)), None, None, complete


def inner(place: Place, outer: dict[str, CellType]) -> FunctionType:
    """Return the function at a place, with the variables that it shares with others."""
    place = place.present
    return function_at(find_code(place), place, outer)


def complete(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function its attributes, which may lead back to it."""
    own, others = state
    for name, value in own.items():
        setattr(function, name, value)
    vars(function).update(others)
