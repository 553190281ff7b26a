"""The identity of a mapped function: its name, the values that it is bound to, and its code.

A function is bound to the arguments of a `partial`, to the object of a method, to the variables of
its closure, and to the defaults of a lambda. Another name or other values make another function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from trax.calls.arguments import describe_where_possible
from trax.calls.fingerprint import fingerprint
from trax.calls.script import script_of
from trax.calls.shape import is_data
from trax.calls.surrounding import constants
from trax.storage.members import attributes, closure, is_routine
from trax.tracking.references import is_own

__all__ = ["Identity"]

_FUNCTION = "function"  # no value has this name, since the function itself has it


class Identity:
    """The identity of a function, as it is now.

    Parameters
    ----------
    function : callable
        The function.
    renames : mapping of str to str
        New names of classes and functions by their old ones.

    Attributes
    ----------
    name : str
        Its name, with the classes and functions that it is in.
    script : str
        The script or module that it is written in; empty if nobody knows.
    function : callable
        The function that is bound.
    owner : object
        The object that a method is bound to, or else the function.
    """

    def __init__(self, function: Callable[..., Any], renames: Mapping[str, str]) -> None:
        self.owner = getattr(function, "__self__", function)
        self._names = {new: old for old, new in renames.items()}
        self._bound: dict[str, Any] = {}
        self._functions: dict[str, FunctionType] = {}
        self._met: set[int] = set()
        self.function = inner = self._take(function)
        self.name = _name_of(inner)
        self.script = script_of(inner)

    @property
    def values(self) -> dict[str, Any]:
        """The values that the function is bound to."""
        return self._bound

    @property
    def bound(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of the values that the function is bound to.

        Of an object that cannot be described as a whole, the attributes are that are data.
        """
        found = {}
        for name, value in self._bound.items():
            described = self._describe({name: value})
            parts = {} if described else attributes(value)
            data = {f"{name}.{part}": inner for part, inner in parts if is_data(inner)}
            found.update(described or self._describe({name: type(value), **data}))
        return found

    @property
    def constants(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of numbers and texts that it reads from its module."""
        found: dict[str, Any] = {}
        for function in filter(lambda one: is_own(one.__module__), self._functions.values()):
            found |= constants(function)
        return self._describe(found)

    @property
    def code(self) -> dict[str, str]:
        """Digests of the code of the function, and of those that it is bound to."""
        return fingerprint(self._functions)

    def _describe(self, values: dict[str, Any]) -> dict[str, dict[str, str]]:
        return describe_where_possible(values, self._names)

    def _take(self, function: Any) -> Any:
        """Note what a function is bound to, and return the function that is bound."""
        self._met.add(id(function))
        if isinstance(function, partial):
            if function.args:
                self._bind("args", function.args)
            for name, value in function.keywords.items():
                self._bind(name, value)
            return self._take(function.func)
        owner = getattr(function, "__self__", None)
        if is_routine(function) and owner is not None and not isinstance(owner, ModuleType):
            self._bind("self", owner)
            return self._take(function.__func__) if isinstance(function, MethodType) else function
        if isinstance(function, FunctionType):
            self._take_function(function)
        elif hasattr(function, "__wrapped__"):
            return self._take(function.__wrapped__)
        elif not isinstance(function, type) and not is_routine(function):
            self._bind("self", function)
            self._take(type(function).__call__)
        return function

    def _take_function(self, function: FunctionType) -> None:
        self._functions[function.__qualname__] = function
        for name, value in closure(function).items():
            self._bind(name, value)
        if "<" in function.__qualname__:  # of others the defaults are a part of the code
            names = function.__code__.co_varnames[: function.__code__.co_argcount]
            defaults = function.__defaults__ or ()
            for name, value in zip(names[len(names) - len(defaults) :], defaults, strict=True):
                self._bind(name, value)
            for name, value in (function.__kwdefaults__ or {}).items():
                self._bind(name, value)

    def _bind(self, name: str, value: Any) -> None:
        """Note a value; of a function its name, and what it is bound to itself."""
        while name == _FUNCTION or name in self._bound:
            name += "'"
        self._bound[name] = value
        if isinstance(value, partial) or is_routine(value):
            inner = value if id(value) in self._met else self._take(value)
            self._bound[name] = f"{script_of(inner)}.{_name_of(inner)}".lstrip(".")


def _name_of(function: Any) -> str:
    named = getattr(function, "__qualname__", None)
    return named if isinstance(named, str) else type(function).__qualname__
