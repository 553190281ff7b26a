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
    """

    def __init__(self, call: str, kind: str, *, has_result: bool = True) -> None:
        self._line = (
            f"{call} was called and did nothing: iterate over the {kind} that the call returns"
            + ", or ask for its result()" * has_result
        )
        self._is_used = False

    def use(self) -> None:
        """Note that it need not be driven any more."""
        self._is_used = True

    def end(self) -> None:
        """Give the notice, unless it was used; it was dropped."""
        if not self._is_used:
            self._is_used = True
            notices.warn(self._line)
