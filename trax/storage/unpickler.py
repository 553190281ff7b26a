"""Loads pickles, whose names of classes and functions may have changed, or lead nowhere."""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle

from trax.errors import ArgumentsChangedError
from trax.storage.definitions import Definitions, home, stored_code
from trax.storage.former_names import FORMER_NAMES

__all__ = [
    "Finder",
    "Finding",
    "Names",
    "present_name",
    "present_place",
    "present_variables",
    "ways_to_find",
]

_AT_HAND = ("trax.storage.definitions", "at_hand")


@dataclass(frozen=True, slots=True)
class Names:
    """The meaning that the names in a pickle have for the present script.

    Attributes
    ----------
    renames : mapping of str to str
        The present names of classes and functions, by their former ones; see `present_name`.
    definitions : Definitions
        The classes and functions at hand that no name leads to.
    is_copy : bool
        Whether what is loaded stands beside objects in use, whose classes must stay as they are.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    definitions: Definitions = field(default_factory=Definitions)
    is_copy: bool = False

    @property
    def are_plain(self) -> bool:
        """Whether each name means what it says, so that pickle itself finds what it leads to."""
        return not self.renames and not self.definitions.is_shadowed

    def for_copy(self) -> Names:
        """Return the names with which a copy is loaded."""
        return replace(self, is_copy=True)


_present: ContextVar[Names | None] = ContextVar("names", default=None)


def present_name(name: str, renames: Mapping[str, str]) -> str:
    """Return the present name of something.

    The whole name is looked up first, then its parents, from the inside outwards: renaming a class
    renames its methods, and renaming a module its classes. A new name is not looked up again.

    Parameters
    ----------
    name : str
        The name, with its module in front.
    renames : mapping of str to str
        New names by old ones.

    Examples
    --------
    >>> present_name("old.Body.move", {"old.Body": "new.Planet", "old": "elsewhere"})
    'new.Planet.move'
    """
    end = len(name)
    while end > 0:
        new = renames.get(name[:end])
        if new is not None:
            return new + name[end:]
        end = name.rfind(".", 0, end)
    return name


def present_place(module: str, name: str) -> tuple[str, str]:
    """Return the module and the name that a function has now, in a pickle that is being loaded."""
    old = f"{module}.{name}"
    names = _present.get()
    new = old if names is None else present_name(old, names.renames)
    if new == old:
        return module, name
    found, attributes = _imported(new)
    return found.__name__, ".".join(attributes)


def present_variables(module: str) -> dict[str, Any] | None:
    """Return the variables of a module, for the loop whose pickle is being loaded.

    None stands for no such module.
    """
    names = _present.get()
    own = None if names is None else names.definitions.variables_of(module)
    if own is not None:
        return own
    with contextlib.suppress(ImportError):
        return vars(importlib.import_module(module))
    return None


def ways_to_find(old: str) -> str:
    """Return the ways on if a class or a function is not found under its stored name."""
    script = (
        "Names in __main__ are those of the running script, and another one may have stored this: "
        "run that one.\n"
    )
    stem = old.partition(".<locals>")[0]
    return (
        f"{script * old.startswith('__main__.')}"
        "If it was moved or renamed, give "
        f"renames={{{stem!r}: 'new.module.{stem.rpartition('.')[2]}'}} "
        "to resumable(...), trax.load(...) or Trax(...).\n"
        "Or put it back under its old name."
    )


class Finding:
    """Finds the names in one pickle, with the renames that the user gives, or else those of trax.

    Parameters
    ----------
    payload : bytes-like
        The pickle.
    buffers : list
        Its buffers.
    names : Names
        The renames, and the classes and functions at hand.
    outside : mapping of str to object, optional
        The objects that the pickle refers to by their paths.

    Attributes
    ----------
    missing : tuple of str, or None
        The name that could not be imported, as it was stored and as it was looked up.
    """

    def __init__(
        self,
        payload: Any,
        buffers: list[Any],
        names: Names,
        outside: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(io.BytesIO(payload), buffers=buffers)  # type: ignore[call-arg]  # pickle's
        self.missing: tuple[str, str] | None = None
        self._names = names
        self._outside = {} if outside is None else outside
        self._in_use: list[Any] = []  # classes

    @contextlib.contextmanager
    def renaming(self) -> Iterator[None]:
        """Let functions of the pickle find others by their present names; see `present_place`."""
        token = _present.set(self._names)
        try:
            yield
        finally:
            _present.reset(token)

    def persistent_load(self, path: str) -> Any:
        """Return an object that stayed outside of the pickle."""
        try:
            return self._outside[path]
        except KeyError:
            raise ArgumentsChangedError(
                f"the stored loop refers to {path}, which is not in the arguments.\n"
                "Call the function with arguments that are made in the same way."
            ) from None

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("cloudpickle.cloudpickle", "subimport"):
            return _weak(self._find_module)
        if (module, name) == _AT_HAND:
            return _weak(self._find_definition)
        if (module, name) == ("trax.storage.reductions", "named"):
            return _weak(self.find_class)
        module = home(module)
        with self._find(f"{module}.{name}") as (old, new):
            if new != old:
                return _resolve(new)
            found = self._find_by_name(module, name)
        if self._names.is_copy and module == "cloudpickle.cloudpickle":
            return _leaving(self._in_use, name, found)
        return found

    def _find_by_name(self, module: str, name: str) -> Any:
        definitions = self._names.definitions
        own = definitions.find_own(module, name)
        if own is not None:
            return own
        try:
            return super().find_class(module, name)  # type: ignore[misc]  # pickle's
        except (AttributeError, ImportError):  # its script is not the one that runs here
            found = definitions.find(module, name)
            if found is None:
                raise
            return found

    def _find_module(self, name: str) -> Any:
        """Import a module that cloudpickle stored by its name."""
        with self._find(home(name)) as (_, new):
            return importlib.import_module(new)

    def _find_definition(
        self, module: str, name: str, token: str, values: dict[str, str], code: bytes
    ) -> Any:
        """Return a class or a function that was at hand when the pickle was written, or a copy."""
        module = home(module)
        with self._find(f"{module}.{name}") as (old, new):
            if new != old:
                return _resolve(new)
            found = self._names.definitions.load(module, name, token, values)
            if found is not None:
                return found
            stored_code(module, name, code)
        inner = Finder(code, [], self._names)
        try:
            return inner.load()
        finally:
            self.missing = self.missing or inner.missing

    @contextlib.contextmanager
    def _find(self, old: str) -> Iterator[tuple[str, str]]:
        new = present_name(old, self._names.renames)
        if new == old:
            new = present_name(old, FORMER_NAMES)
        try:
            yield old, new
        except (AttributeError, ImportError):
            self.missing = old, new
            raise


class Finder(Finding, pickle.Unpickler):
    """Loads one pickle, with names as `Finding` finds them."""


def _leaving(in_use: list[Any], name: str, function: Any) -> Any:
    """Return a function of cloudpickle that leaves classes as they are which are in use.

    cloudpickle knows such a class again, and would give it the stored methods and attributes.
    """

    def make(*args: Any) -> Any:
        is_known = args[-2] in cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID  # noqa: SLF001
        made = function(*args)
        in_use.extend([made] * is_known)
        return made

    def set_state(made: Any, state: Any) -> Any:
        return made if any(made is one for one in in_use) else function(made, state)

    replaced = {
        "_make_skeleton_class": make,
        "_make_skeleton_enum": make,
        "_class_setstate": set_state,
    }
    return replaced.get(name, function)


def _weak(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that a finder may have in its memo, and that does not keep it alive.

    It would keep all that was loaded alive, until the garbage collector runs.
    """
    reference: Callable[[], Any] = weakref.WeakMethod(method)

    def call(*args: Any) -> Any:
        return reference()(*args)

    return call


def _resolve(name: str) -> Any:
    """Import an object by its full name."""
    found, attributes = _imported(name)
    for attribute in attributes:
        found = getattr(found, attribute)
    return found


def _imported(name: str) -> tuple[Any, list[str]]:
    """Import the module of a full name; only importing tells how much of the name it is."""
    module = name
    attributes: list[str] = []
    while True:
        try:
            return importlib.import_module(module), attributes
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}.") or "." not in module:
                raise
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
