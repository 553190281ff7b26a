"""Finds the variables that functions refer to, in their modules, classes and closures.

Strategy: the code of a function names the variables of its module that it uses, so these can be
listed without running it. Functions and classes among them that are the user's own are searched as
well, and those that objects among them refer to; those of the standard library and of installed
packages are not.

An object's class is read by `type`: ``isinstance`` would ask the object, which may answer for
another one that it stands for, or raise.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from trax.storage.definitions import home
from trax.storage.members import closure, global_names
from trax.tracking.object_parts import parts

__all__ = ["References", "is_of_trax", "is_own", "is_own_file", "references"]

_FUNCTIONS = 300  # functions and classes that are searched at most
_OBJECTS = 5_000  # in which functions and classes are searched for at most
# Since Python 3.14 a partial function is a descriptor, too.
_WRAPPERS = (functools.partial, type(functools.cache(len)))
_TRAX = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib")})


class References(NamedTuple):
    """The variables, names and modules that functions refer to.

    Attributes
    ----------
    variables : dict of str to object
        Values by their places: ``"count"`` for a variable of the first function's module,
        ``"settings.count"`` for one of another module, ``"Order.count"`` for an attribute of a
        class or of a function. Modules, functions and classes are left out.
    names : set of str
        The names of variables and attributes in the code.
    libraries : set of str
        The top-level names of the packages that modules, functions and objects in use come from.
    searched : list
        The functions and classes that were searched: those given, and the user's own in them.
    """

    variables: dict[str, Any]
    names: set[str]
    libraries: set[str]
    searched: list[Any]


def references(roots: Iterable[Any]) -> References:
    """Return the variables that functions and classes refer to, and those of the functions in them.

    Parameters
    ----------
    roots : iterable
        Functions and classes; the first function's module is the one that needs no name.

    Examples
    --------
    >>> limit = 3
    >>> def below(n):
    ...     return n < limit
    >>> references([below]).variables
    {'limit': 3}
    """
    return _Search(list(roots)).run()


class _Search:
    """One search: what is left, what was met, and the variables."""

    def __init__(self, roots: list[Any]) -> None:
        self._left = roots
        self._objects: list[Any] = []  # which are searched when no function or class is left
        self._modules: dict[str, set[str]] = {}  # those in objects, with the names looked up there
        self._met: dict[int, Any] = {}
        self._found = References({}, set(), set(), [])
        plain = map(_unwrapped, roots)
        self._home = next((f.__module__ for f in plain if type(f) is FunctionType), "")

    def run(self) -> References:
        while len(self._found.searched) < _FUNCTIONS and len(self._met) < _OBJECTS:
            if not self._left and not self._objects:
                self._search_late()
            if not self._left and not self._objects:
                break
            root = (self._left or self._objects).pop(0)
            if id(root) in self._met:
                continue
            self._met[id(root)] = root
            if type(root) is FunctionType:
                self._search_function(root)
            elif issubclass(type(root), type):
                if is_own(root.__module__):
                    self._search_class(root)
            else:
                if _declares(type(root), "__wrapped__"):  # a decorator has put it around a function
                    self._left.append(_unwrapped(root))
                if not _is_of_trax(root):
                    self._search_object(root)
        return self._found

    def _search_function(self, function: FunctionType) -> None:
        wrapped = vars(function).get("__wrapped__")
        if wrapped is not None:
            self._left.append(wrapped)
            if not is_own_file(function.__code__.co_filename):
                # It is of the library that has the decorator, which may keep functions there.
                self._objects += closure(function).values()
                return
        self._found.searched.append(function)
        variables, names = function.__globals__, set(_names(function.__code__))
        self._found.names.update(names)
        prefix = self._prefix(function.__module__)
        used = global_names(function.__code__)
        imported = used.pop("IMPORT_NAME")
        for name in sorted(set().union(*used.values()) & variables.keys()):
            self._add(f"{prefix}{name}", variables[name], names)
        for name in sorted(_imported(imported, variables) & sys.modules.keys()):
            self._add(name, sys.modules[name], names)
        for name, value in closure(function).items():
            self._add(name, value, names)
        for name, value in vars(function).items():
            if name != "__wrapped__":
                self._add(f"{function.__qualname__}.{name}", value, names)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._add(f"a default of {function.__qualname__}", value, names)

    def _search_class(self, kind: type) -> None:
        self._found.searched.append(kind)
        prefix = f"{self._prefix(kind.__module__)}{kind.__qualname__}"
        for name, value in list(vars(kind).items()):
            if issubclass(type(value), property):
                self._left += filter(None, (value.fget, value.fset))
            elif not (name.startswith("__") and name.endswith("__")) or callable(value):
                self._add(f"{prefix}.{name}", value, ())
        self._left += (type(kind), *kind.__bases__)

    def _search_object(self, value: Any) -> None:
        """Search its class, and the functions, classes and objects that it refers to."""
        self._left.append(type(value))
        for _, part in parts("", value):
            if type(part) is FunctionType:
                self._left += [part] * is_own(part.__module__)
            elif issubclass(type(part), ModuleType):
                self._add("", part, ())
            else:
                (self._left if issubclass(type(part), type) else self._objects).append(part)

    def _search_late(self) -> None:
        """Search what depends on the names in all code: modules in objects, and subclasses."""
        names = self._found.names
        for place, before in list(self._modules.items()):
            new = names - before
            before.update(new)
            if new and place in sys.modules:
                self._add(place, sys.modules[place], new)
        if "__subclasses__" in names:
            kinds = [one for one in self._found.searched if type(one) is not FunctionType]
            below = [one for kind in kinds for one in type.__subclasses__(kind)]
            self._left += [one for one in below if id(one) not in self._met]

    def _add(self, place: str, value: Any, names: Iterable[str]) -> None:
        """Add a variable, or search it if it is a function, a class or a module.

        Of a module only the `names` are searched; if there are none, all names in any code later.
        """
        if issubclass(type(value), (classmethod, staticmethod)):
            value = value.__func__
        kind = type(value)
        is_module, is_code = issubclass(kind, ModuleType), issubclass(kind, (FunctionType, type))
        home = value.__name__ if is_module else _home(value if is_code else kind)
        if (is_module or is_code) and not is_own(home):
            self._found.libraries.add(home.partition(".")[0])
        elif is_module and not names:
            self._modules.setdefault(home, set())
        elif is_module:
            for name in sorted({*names} & vars(value).keys()):
                part = vars(value)[name]
                is_below = issubclass(type(part), ModuleType) and part.__name__ == f"{home}.{name}"
                self._add(f"{home}.{name}", part, names if is_below else ())
        elif is_code:
            self._left.append(value)
        else:
            self._objects.append(value)
            if _is_of_trax(value):
                return
            self._found.libraries.add(home.partition(".")[0])
            if kind is MethodType:
                place, value = f"{place}.__self__", value.__self__
            # Not a property, nor a built-in method.
            kind = type(value)
            if kind in _WRAPPERS or is_own(kind.__module__) or not _declares(kind, "__get__"):
                self._found.variables.setdefault(place, value)

    def _prefix(self, module: str) -> str:
        return "" if module == self._home else f"{module}."


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def is_own(module: str | None) -> bool:
    """Return whether a module is the user's, and not trax's or an installed one."""
    if not isinstance(module, str) or module.partition(".")[0] in ("", "trax"):
        return False
    if home(module) == "__main__" or module not in sys.modules:  # it came from another process
        return True
    here = sys.modules[module]
    # A package without __init__.py has no file.
    file = getattr(here, "__file__", None) or next(iter(getattr(here, "__path__", ())), None)
    return file is not None and not _is_installed(file)


def is_own_file(path: str) -> bool:
    """Return whether a file of code is the user's, and not trax's or an installed one."""
    return not (path.startswith((_TRAX, "<frozen ")) or _is_installed(path))


def is_of_trax(path: str) -> bool:
    """Return whether a file of code belongs to trax."""
    return path.startswith(_TRAX)


def _is_installed(path: str) -> bool:
    return path.startswith(_INSTALLED) or "site-packages" in path or "dist-packages" in path


def _imported(names: set[str], variables: dict[str, Any]) -> set[str]:
    """Return the modules that imports in a function may mean, relative ones included."""
    package = str(variables.get("__package__") or "").split(".")
    above = [".".join(package[:end]) for end in range(1, len(package) + 1)]
    return names | {f"{one}.{name}".strip(".") for one in above for name in names}


def _unwrapped(root: Any) -> Any:
    with contextlib.suppress(Exception):  # an object may raise anything when it is asked
        return inspect.unwrap(root)
    return root


def _declares(kind: type, name: str) -> bool:
    """Return whether a class has an attribute, without asking its metaclass."""
    return any(name in vars(base) for base in kind.__mro__)


def _home(definition: Any) -> str:
    """Return the name of a class's or function's module; empty if it says something else."""
    module = getattr(definition, "__module__", None)
    return module if isinstance(module, str) else ""


def _is_of_trax(value: Any) -> bool:
    return _home(type(value)).partition(".")[0] == "trax"
