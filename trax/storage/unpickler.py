"""Finds the classes and functions that a pickle refers to by a name that they no longer have."""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from trax.storage.former_names import FORMER_NAMES

__all__ = ["Finder", "present_name"]


def present_name(name: str, renames: Mapping[str, str]) -> str:
    """Return the name under which something is found now.

    The whole name is looked up first, then what it is part of, from the inside outwards: a class
    takes its methods along, and a module its classes. Renames are not followed further.

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


class Finder(pickle.Unpickler):
    """Loads one pickle, and finds what was renamed, be it by the user or in trax.

    Parameters
    ----------
    payload : bytes-like
        The pickle.
    buffers : list
        Its buffers.
    renames : mapping of str to str
        New names by old ones, each with its module in front.

    Attributes
    ----------
    missing : tuple of str, or None
        The name that could not be found, as it was stored and as it was looked up.
    """

    def __init__(self, payload: Any, buffers: list[Any], renames: Mapping[str, str]) -> None:
        super().__init__(io.BytesIO(payload), buffers=buffers)
        self.missing: tuple[str, str] | None = None
        self._renames = renames

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("cloudpickle.cloudpickle", "subimport"):
            return self._find_module
        with self._find(f"{module}.{name}") as (old, new):
            if new == old:
                return super().find_class(module, name)
            return _resolve(new)

    def _find_module(self, name: str) -> Any:
        """Import a module that cloudpickle has stored by its name."""
        with self._find(name) as (_, new):
            return importlib.import_module(new)

    @contextlib.contextmanager
    def _find(self, old: str) -> Iterator[tuple[str, str]]:
        new = present_name(old, self._renames)
        if new == old:
            new = present_name(old, FORMER_NAMES)
        try:
            yield old, new
        except (AttributeError, ImportError):
            self.missing = old, new
            raise


def _resolve(name: str) -> Any:
    """Return what a full name leads to; how much of it is the module, only importing tells."""
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
