"""Says of a call that it did nothing, if nobody drives what it returned."""

from __future__ import annotations

from trax import notices

__all__ = ["Undriven"]


class Undriven:
    """Whether what a call returned was driven, or is still to be.

    Parameters
    ----------
    call : str
        The call, for the notice.
    kind : str
        The word for what it returned.
    has_result : bool
        Whether that has a method ``result``.
    is_async : bool
        Whether an event loop drives it.
    """

    def __init__(
        self, call: str, kind: str, *, has_result: bool = True, is_async: bool = False
    ) -> None:
        ways = f"iterate over the {kind} that the call returns"
        if is_async:
            ways += " with async for, or await its result()"
        elif has_result:
            ways += ", or ask for its result()"
        self._line = f"{call} was called and did nothing: {ways}"
        self._is_used = False

    def use(self) -> None:
        """Note that it need not be driven any more."""
        self._is_used = True

    def end(self) -> None:
        """Give the notice, unless it was used; it was dropped."""
        if not self._is_used:
            self._is_used = True
            notices.warn(self._line)
