"""Migrates the state of an older version of a script to the present one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trax.errors import UsageError

__all__ = ["Migration", "note_new_attribute"]

_EXAMPLE = ", as migrate=lambda variables, version: {**variables, 'rate': 0.1}."


@dataclass(frozen=True, slots=True)
class Migration:
    """The migration of a run's state to the present version.

    Attributes
    ----------
    name : str
        The run, for messages.
    function : str
        The decorated function, for messages.
    version : int
        The present version.
    migrate : callable or None
        ``migrate(state, from_version) -> state``.
    is_plain : bool
        Whether the loop's variables are the state.
    """

    name: str
    function: str
    version: int
    migrate: Callable[[Any, int], Any] | None
    is_plain: bool = False

    def since(self, stored: int) -> Callable[[Any], Any] | None:
        """Return the function that migrates a state of a stored version; None if it is present.

        Raises
        ------
        UsageError
            The stored version is newer than the present one, or it is older and there is no
            `migrate`.
        """
        if stored == self.version:
            return None
        written = f"the run {self.name!r} was written by version {stored} of {self.function}"
        if stored > self.version:
            raise UsageError(f"{written}; this is version {self.version}.\nRun the newer script.")
        migrate = self.migrate
        if migrate is None:
            raise UsageError(
                f"{written}; this is version {self.version}, without migrate.\n"
                f"To migrate the state, give migrate=, a function of it and its version ({stored}) "
                f"that returns the state of version {self.version}"
                f"{_EXAMPLE if self.is_plain else '.'}\n"
                f"If the state is still the same, give version={stored}.\n"
                f"To start over, call {self.function}.fresh(...)."
            )
        return lambda state: self._apply(migrate, state, stored)

    def _apply(self, migrate: Callable[[Any, int], Any], state: Any, stored: int) -> Any:
        try:
            new = migrate(state, stored)
        except Exception as error:
            error.add_note(
                f"trax: raised by migrate, from version {stored} to {self.version} of "
                f"{self.name!r}; nothing was changed"
            )
            raise
        if new is None and state is not None:
            raise UsageError(
                f"migrate returned None instead of the state of {self.name!r}.\n"
                "Return it even if it was changed in place: 'state.spin = 0.0; return state'."
            )
        return new


def note_new_attribute(error: BaseException) -> None:
    """Add a note to an `AttributeError` if a stored object lacks what its class now has."""
    name, kind = getattr(error, "name", None), type(getattr(error, "obj", None))
    if isinstance(error, AttributeError) and any(_sets(one, name) for one in kind.__mro__):
        error.add_note(
            f"trax: the stored {kind.__qualname__} has no {name!r}, which the class has by now.\n"
            "Increase version= of resumable(), and give migrate=, a function that adds it to the "
            "state.\n"
            "Or start over with the function's fresh(...)."
        )


def _sets(kind: type, name: str | None) -> bool:
    """Return whether each new object of a class has an attribute, as far as the class shows it."""
    code = getattr(kind.__dict__.get("__init__"), "__code__", None)
    places = (getattr(kind, "__dataclass_fields__", ()), kind.__dict__.get("__slots__", ()))
    return any(name in names for names in (*places, getattr(code, "co_names", ())))
