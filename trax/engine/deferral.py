"""Decides when blocking work is done: at once, or later, when the driver asks for it.

This is all that differs between ordinary and async loops. Under `Deferred` an increment is still
pickled, folded and written into the page cache at once, since nothing is gained by putting off a
microsecond. A checkpoint that is due is only noted, and under ``sync="always"`` the log is not
forced; the driver sees that something is `pending` and has a thread do it before it hands the
increment out. So the log is the same for both, and recovery sees no difference.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["AtOnce", "Deferral", "Deferred"]

_Work = Callable[[], object]


class AtOnce:
    """Does blocking work at once.

    Attributes
    ----------
    is_deferred : bool
        Whether work is put off at all.
    forces : bool
        Whether `Session.settle` has to force the log before each increment is handed out.
    pending : bool
        Whether there is anything for `Session.settle` to do.
    """

    is_deferred = False
    forces = False
    pending = False

    def do(self, work: _Work) -> None:
        """Do the work now."""
        work()

    def take(self) -> _Work | None:
        """Return the work that was put off: there is none."""


class Deferred:
    """Puts work off until it is taken; the attributes are those of `AtOnce`."""

    is_deferred = True

    def __init__(self, *, forces: bool) -> None:
        self.forces = forces
        self.pending = forces
        self._work: _Work | None = None

    def do(self, work: _Work) -> None:
        """Keep the work; where there is some already, one checkpoint is enough."""
        self._work = self._work or work
        self.pending = True

    def take(self) -> _Work | None:
        """Return the work that was put off, and forget it."""
        work, self._work, self.pending = self._work, None, self.forces
        return work


Deferral = AtOnce | Deferred
