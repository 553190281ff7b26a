"""Stand-ins for the blocks that a generator is in when it goes on in the middle of them.

The function that goes on has a parameter for each block around the yield: a list with one object,
which the block takes out of it. So that object lives no longer than it would have.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from trax.frames.directories import StoredDirectory

__all__ = ["Begun", "Delegate", "Handled", "Held", "Turn", "begun", "fill", "slot_name"]


def slot_name(number: int) -> str:
    """Return the name of the parameter for what the block with this number keeps.

    Names with a dot cannot be written, so they are no variables of the user's.
    """
    return f".slot{number}"


def fill(kind: str, kept: Any) -> list[Any]:
    """Return the slot of a block, for what a generator kept for it."""
    slot: list[Any] = []
    if kind in ("for", "while"):
        slot.append(Turn(slot, begun(kept)))
    elif kind == "handler":
        slot.append(Handled(kept))
    elif kind == "from":
        return Delegate([begun(kept)])
    elif kept is not None:
        slot.append(kept if isinstance(kept, StoredDirectory) else Held(kept))
    return slot


class Begun:
    """An iterator that a loop has begun to go through, so that its `__iter__` is not called again.

    Parameters
    ----------
    iterator : iterator
        One of a class that is written in Python: its `__iter__` may begin anew, or be missing.
    """

    __slots__ = ("iterator",)

    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def __iter__(self) -> Begun:
        return self

    def __next__(self) -> Any:
        return next(self.iterator)

    def __reduce__(self) -> tuple[Any, ...]:
        return Begun, (self.iterator,)

    def __getattr__(self, name: str) -> Any:  # `yield from` looks for `send` and `throw`
        return getattr(self.iterator, name)


def begun(iterator: Any) -> Any:
    """Return an iterator in such a form that it stays where it is when it is gone through."""
    own = getattr(type(iterator), "__iter__", None)
    is_unstable = isinstance(own, FunctionType) or (own is None and hasattr(iterator, "__next__"))
    return Begun(iterator) if is_unstable and type(iterator) is not Begun else iterator


class Delegate(list[Any]):
    """The slot of a ``yield from``: the iterator to which it delegates."""

    def leave(self) -> None:
        """Let an exception that is being handled come to the iterator first, as Python does."""
        error = sys.exception()
        end = "close" if isinstance(error, GeneratorExit) else "throw"
        if method := getattr(self.pop(), end, None):
            method(*[error] * (end == "throw"))


class Turn:
    """An iterator of one item, for the turn of a loop that was begun; then it returns the loop's.

    Parameters
    ----------
    slot : list
        Gets the loop's iterator when the turn is over. If the turn leaves the loop, that iterator
        is released at once, as Python does.
    rest : iterator
        The loop's iterator.
    """

    __slots__ = ("_is_begun", "_slot", "rest")

    def __init__(self, slot: list[Any], rest: Any) -> None:
        self._slot = slot
        self.rest = rest
        self._is_begun = False

    def __iter__(self) -> Turn:
        return self

    def __next__(self) -> None:
        if self._is_begun:
            self._slot.append(self.rest)
            raise StopIteration
        self._is_begun = True


class Held:
    """A context manager that was entered in another process: only its end is left to it."""

    __slots__ = ("manager",)

    def __init__(self, manager: Any) -> None:
        self.manager = manager

    def __enter__(self) -> Any:
        return self.manager

    def __exit__(self, *error: object) -> Any:
        return type(self.manager).__exit__(self.manager, *error)

    async def __aenter__(self) -> Any:
        return self.manager

    async def __aexit__(self, *error: object) -> Any:
        return await type(self.manager).__aexit__(self.manager, *error)


class Handled:
    """An exception that a handler has caught in another process, to be caught by it again."""

    __slots__ = ("_error", "_links")

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._links: tuple[Any, ...] = ()

    def throw(self) -> None:
        """Raise the exception, which gets another context and traceback by that."""
        error = self._error
        self._links = (
            error.__cause__,
            error.__context__,
            error.__suppress_context__,
            error.__traceback__,
        )
        raise error

    def caught(self) -> None:
        """Put back what raising it has changed."""
        error = self._error
        cause, context, is_suppressed, traceback = self._links
        error.__cause__, error.__context__ = cause, context
        error.__suppress_context__, error.__traceback__ = is_suppressed, traceback
