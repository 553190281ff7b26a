"""Loads pickles, whose names of classes and functions may have changed, or lead nowhere."""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trax.errors import ArgumentsChangedError
from trax.storage.definitions import Definitions, stored_code
from trax.storage.former_names import FORMER_NAMES

__all__ = ["Finder", "Finding", "Names", "present_name"]

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
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    definitions: Definitions = field(default_factory=Definitions)


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
        with self._find(f"{module}.{name}") as (old, new):
            if new == old:
                return super().find_class(module, name)  # type: ignore[misc]  # pickle's
            return _resolve(new)

    def _find_module(self, name: str) -> Any:
        """Import a module that cloudpickle stored by its name."""
        with self._find(name) as (_, new):
            return importlib.import_module(new)

    def _find_definition(
        self, module: str, name: str, token: str, values: dict[str, str], code: bytes
    ) -> Any:
        """Return a class or a function that was at hand when the pickle was written, or a copy."""
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


def _weak(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that a finder may have in its memo, and that does not keep it alive.

    It would keep all that was loaded alive, until the garbage collector runs.
    """
    reference: Callable[[], Any] = weakref.WeakMethod(method)

    def call(*args: Any) -> Any:
        return reference()(*args)

    return call


def _resolve(name: str) -> Any:
    """Import an object by its full name; only importing tells how much of it is the module."""
    module = name
    attributes: list[str] = []
    while True:
        try:
            found: Any = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}.") or "." not in module:
                raise
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
    for attribute in attributes:
        found = getattr(found, attribute)
    return found
