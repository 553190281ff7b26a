"""The replay of a log by a method of the state, such as ``append``, which changes it in place."""

from __future__ import annotations

from typing import Any

from trax.errors import UsageError

__all__ = ["InPlace", "note_stored"]


class InPlace:
    """A ``replay_log`` that calls a method of the state with the increment.

    Parameters
    ----------
    method : str
        The name of the method.

    Examples
    --------
    >>> InPlace("append")([2, 3], 5)
    [2, 3, 5]
    """

    __slots__ = ("method",)

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(self, state: Any, increment: Any) -> Any:
        """Change the state, and return it."""
        method = getattr(state, self.method, None)
        if method is None:
            raise UsageError(
                f"replay_log={self.method!r} calls that method of the state; "
                f"{type(state).__name__!r} has none.\n"
                "Let create make an object that has it.\n"
                "Or give a function of both, such as replay_log=operator.add for a sum."
            )
        made = method(increment)
        if made is not None and made is not state:
            raise UsageError(self._refusal(state, made))
        return state

    def _refusal(self, state: Any, made: Any) -> str:
        first = f"replay_log={self.method!r} must change the state, and returned another object"
        if isinstance(made, type(state)):
            kind = type(state).__name__
            return f"{first}.\nGive the method itself: replay_log={kind}.{self.method}."
        return (
            f"{first}, of type {type(made).__name__!r}.\n"
            f"Give a function that calls {self.method} and returns the state."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return InPlace, (self.method,)

    def __repr__(self) -> str:
        return repr(self.method)


def note_stored(error: Exception) -> None:
    """Add a note to the error of a replay on a stored state: `create` has not made that now."""
    if isinstance(error, UsageError):
        error.add_note(
            "trax: the state is the stored one. Put replay_log back as it was.\n"
            "Or start over with fresh(...), and create makes another."
        )
