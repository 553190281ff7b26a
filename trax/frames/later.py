"""Stand-ins for objects that are made again after the frame was loaded that refers to them.

The iterator of a loop over ``connection.execute(...)`` keeps that method, to begin anew with it.
In its pickle the connection is a reference. When it is loaded, a stand-in takes the connection's
place until the statements before the loop have made the new one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MethodType
from typing import Any

from trax.frames.marks import mark_without_variable

__all__ = ["Later", "StandIns", "WhenMade", "path_of", "present", "reduce_method", "when_made"]


def path_of(name: str) -> str:
    """Return the path under which a pickle refers to a variable that is made again."""
    return f".again.{name}"


class Later:
    """Stands for an object that is made later, or for an attribute of it.

    Parameters
    ----------
    find : callable, optional
        Returns the object that has the attribute.
    attribute : str
        Its name.

    Attributes
    ----------
    attribute : str
        As above; empty if it stands for the object itself.
    """

    def __init__(self, find: Callable[[], Any] | None = None, attribute: str = "") -> None:
        self.attribute = attribute
        self._find = find
        self._made: list[Any] = []

    def make(self, made: Any) -> None:
        """Give it the object for which it stands."""
        self._made[:] = [made]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._present(), name) if self._made else Later(self._present, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._present()(*args, **kwargs)

    def __iter__(self) -> Any:
        return iter(self._present())

    def __reduce__(self) -> tuple[Any, ...]:
        return present, (self._present(),)

    def _present(self) -> Any:
        return getattr(self._find(), self.attribute) if self._find else self._made[0]


class WhenMade:
    """An iterator over an object that is made later; it is made when its first item is asked for.

    Parameters
    ----------
    make : callable
        Makes the iterator.
    args : tuple
        Its arguments; some are stand-ins.
    """

    def __init__(self, make: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
        self._make = make
        self._args = args
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> WhenMade:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            made = [
                present(*one.__reduce__()[1]) if type(one) is Later else one for one in self._args
            ]
            self._iterator = self._make(*made)
        return next(self._iterator)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._iterator is None:
            return self._make, self._args
        return present, (self._iterator,)


def when_made(make: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Let a function that makes iterators wait for those of its arguments that are made later."""

    @functools.wraps(make)
    def wait(*args: Any) -> Iterator[Any]:
        return WhenMade(wait, args) if Later in map(type, args) else make(*args)

    return wait


class StandIns(dict[str, Any]):
    """Objects outside of a pickle by their paths, with a stand-in for each that is made later."""

    def __missing__(self, path: str) -> Any:
        if not path.startswith(path_of("")):
            return mark_without_variable(path)
        later = self[path] = Later()
        return later

    def make(self, values: Mapping[str, Any]) -> None:
        """Give the stand-ins the values of the variables for which they stand."""
        for path, later in self.items():
            if type(later) is Later:
                later.make(values[path.removeprefix(path_of(""))])


def present(one: Any) -> Any:
    """Return an object itself; pickles refer to this by name."""
    return one


def reduce_method(method: MethodType) -> tuple[Any, ...]:
    """Take a method apart so that it is looked up when it is loaded, as plain pickle does."""
    return getattr, (method.__self__, method.__func__.__name__)
