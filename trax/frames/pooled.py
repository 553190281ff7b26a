"""Loops over the results of a pool, in the order of its tasks: those handed out are not redone.

Strategy: the tasks that are left are stored, and the new pool gets them when the loop goes on. So a
crash costs only what was being computed. The results themselves are never stored.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any, Final

from trax.errors import UsageError
from trax.frames.later import Later, present
from trax.frames.loading import end_of_loading

__all__ = ["Pooled", "pooled"]

_FIXED: Final = (range, tuple, str, bytes)
_OTHER_METHODS: Final = {"map": "submit", "imap": "apply_async"}  # by which pools are known
_JOBLIB: Final = "joblib.parallel"


def pooled(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Pooled | None:
    """Return an iterator over what a call of a pool's method returns; None for another function.

    Raises
    ------
    UsageError
        The tasks cannot be told apart from those that are done.
    """
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if type(function) is MethodType and hasattr(owner, _OTHER_METHODS.get(name, " ")):
        places = range(1, len(args) if name == "map" else 2)
        is_lazy = name == "imap" or kwargs.get("buffersize") is not None
        return _begun(owner, name, args, places, kwargs, is_lazy=is_lazy)
    if type(function).__module__ == _JOBLIB and getattr(function, "return_generator", False):
        if not function.return_ordered:
            raise UsageError(
                "generator_unordered has another order in each run, so a loop over it cannot "
                'resume.\nGive Parallel return_as="generator", which keeps the order.'
            )
        return _begun(function, "__call__", args, range(1), kwargs)
    return None


def _begun(
    pool: Any,
    name: str,
    args: tuple[Any, ...],
    places: range,
    kwargs: Mapping[str, Any],
    *,
    is_lazy: bool = False,
) -> Pooled:
    """Return an iterator whose tasks are begun; the arguments at some `places` are iterables."""
    given = [*args]
    for place in places:
        if hasattr(given[place], "__len__"):
            continue
        if is_lazy:
            raise UsageError(
                f"a loop over {name}(...) of a pool, which reads ahead in a "
                f"{type(given[place]).__qualname__}, cannot resume.\nGive it a list of the items."
            )
        given[place] = tuple(given[place])  # as the method itself does
    made = Pooled(pool, name, given, places, {**kwargs})
    made.begin()
    return made


class Pooled:
    """An iterator over the results of a pool.

    Parameters
    ----------
    pool : object
        The pool, or a stand-in for it.
    name : str
        The name of its method.
    args : list
        The arguments of the method.
    places : range
        Which of them are iterables.
    kwargs : dict
        Its keyword arguments.
    done : int, optional
        The number of results that were handed out.
    """

    def __init__(
        self,
        pool: Any,
        name: str,
        args: list[Any],
        places: range,
        kwargs: dict[str, Any],
        done: int = 0,
    ) -> None:
        self.pool = pool
        self._name = name
        self._given = args
        self._tasks = args  # as they were given, although the loop may change a list since
        self._places = places
        self._kwargs = kwargs
        self._done = done
        self._iterator: Iterator[Any] | None = None

    def begin(self) -> None:
        """Give the pool the tasks that are left."""
        if type(self.pool) is Later:
            self.pool = present(*self.pool.__reduce__()[1])
        self._tasks = [*self._given]
        for place in self._places:
            self._tasks[place] = _copied(self._given[place])
        rest = [
            _rest(one, self._done) if place in self._places else one
            for place, one in enumerate(self._tasks)
        ]
        self._iterator = iter(getattr(self.pool, self._name)(*rest, **self._kwargs))

    def __iter__(self) -> Pooled:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self.begin()
        result = next(self._iterator)  # type: ignore[arg-type]
        self._done += 1
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        args = [*map(_same, self._given, self._tasks)]
        return _again, (self.pool, self._name, args, self._places, self._kwargs, self._done)


def _again(*stored: Any) -> Pooled:
    """Return an iterator whose tasks are begun when the pool is there."""
    made = Pooled(*stored)
    end_of_loading(made.begin, is_generator=True)
    return made


def _is_array(one: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(one) is numpy.ndarray


def _copied(tasks: Any) -> Any:
    """Return tasks in a form that the loop cannot change."""
    if type(tasks) in _FIXED or (_is_array(tasks) and tasks.ndim > 1):  # whose rows are shared
        return tasks
    return tasks.copy() if _is_array(tasks) else tuple(tasks)


def _rest(tasks: Any, done: int) -> Any:
    return tasks[done:] if done else tasks


def _same(given: Any, tasks: Any) -> Any:
    """Return the object that was given, which others may share, if it still has the same tasks."""
    if type(given) is list and type(tasks) is tuple and len(given) == len(tasks):
        return given if all(map(operator.is_, given, tasks)) else tasks
    if _is_array(given) and given is not tasks:
        return given if given.tobytes() == tasks.tobytes() else tasks
    return tasks
