"""Loads pickles for show, although objects outside of them are not at hand."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

from trax.storage.codec import Encoded, Names, load_with
from trax.storage.unpickler import Finding

__all__ = ["Absent", "PartialFinder", "decode_partly"]

_Unpickler: Any = pickle._Unpickler  # noqa: SLF001  # in Python


def decode_partly(
    encoded: Encoded, label: str, names: Names | None, outside: Mapping[str, Any]
) -> Any:
    """Load an object as `decode` does; an `Absent` may stand for objects outside of it."""
    finder = PartialFinder(encoded.payload, encoded.buffers, names or Names(), outside)
    return load_with(finder, label)


class Absent:
    """Stands for an object outside of a pickle that is not at hand, or for what is made of it.

    Parameters
    ----------
    text : str
        The words for it.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def made(self) -> Absent:
        """Return the stand-in for what is made of it."""
        return self if self.text.startswith("made of ") else Absent(f"made of {self.text}")

    def __repr__(self) -> str:
        return f"<{self.text}>"


class PartialFinder(Finding, _Unpickler):  # type: ignore[misc]  # typeshed knows only its name
    """Loads one pickle although objects outside of it are not at hand.

    An `Absent` stands for each of them, and for all that is made of it, as a view is of an array.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def load_reduce(self) -> None:
        """Call a function, unless it needs what is not there."""
        args = self.stack.pop()
        function = self.stack[-1]
        absent = next((one for one in args if type(one) is Absent), None)
        if absent is None:
            try:
                self.stack[-1] = function(*args)
                return
            except Exception:  # of a class of the user's, because of what is not there
                absent = _absent_in((function, args))
                if absent is None:
                    raise
        self.stack[-1] = absent.made()

    def load_build(self) -> None:
        """Set the state of an object, unless that needs what is not there."""
        state = self.stack[-1]
        try:
            super().load_build()
        except Exception:  # of a class of the user's, because of what is not there
            absent = _absent_in((self.stack[-1], state))
            if absent is None:
                raise
            self.stack[-1] = absent.made()

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build


def _absent_in(obj: Any, depth: int = 4) -> Absent | None:
    """Find an object that is not there in nested tuples, lists and dicts."""
    if type(obj) is Absent:
        return obj
    if type(obj) not in (tuple, list, dict) or not depth:
        return None
    parts = obj.values() if type(obj) is dict else obj
    return next(filter(None, (_absent_in(one, depth - 1) for one in parts)), None)
