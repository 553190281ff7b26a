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
from trax.frames.generators import Place, function_at, name_of, place_of
from trax.storage.definitions import is_sent

__all__ = ["complete", "inner", "reduce_function"]


def reduce_function(function: FunctionType) -> Any:
    """Reduce a function to the place of its code; NotImplemented if it is not found there."""
    code, variables = function.__code__, function.__globals__
    if "<" not in code.co_qualname or not _are_of_module(variables):
        return NotImplemented
    try:
        place = place_of(code, variables)
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


def _are_of_module(variables: dict[str, Any]) -> bool:
    """Whether these are the variables of a module, as far as this process has it."""
    name = variables.get("__name__")
    here = vars(sys.modules.get(name_of(variables), sys))
    # multiprocessing copies the variables of the script to its module.
    return here is variables or name == "__mp_main__" or is_sent(variables)


def inner(place: Place, outer: dict[str, CellType]) -> FunctionType:
    """Return the function at a place, with the variables that it shares with others."""
    return function_at(place.present, outer)


def complete(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function its attributes, which may lead back to it."""
    own, others = state
    for name, value in own.items():
        setattr(function, name, value)
    vars(function).update(others)
