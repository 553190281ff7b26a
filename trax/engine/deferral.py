"""Decides when blocking work is done: at once, or later, when the driver asks for it.

Ordinary and async loops share the engine but for this. Under `Deferred`, an increment is
still pickled, folded and written into the page cache at once, since deferring a microsecond gains
nothing. But a checkpoint that is due is only recorded, and under ``sync="always"`` the log is not
forced. The driver sees that work is `pending`, and has a thread do it before it hands out the
increment. So the log is the same for both, and recovery sees no difference.
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
        Whether work is ever deferred.
    forces : bool
        Whether `Session.settle` has to force the log before each increment is handed out.
    pending : bool
        Whether `Session.settle` has work to do.
    """

    is_deferred = False
    forces = False
    pending = False

    def do(self, work: _Work) -> None:
        """Do the work now."""
        work()

    def take(self) -> _Work | None:
        """Return the deferred work: there is none."""


class Deferred:
    """Defers work until `take` is called; the attributes are those of `AtOnce`."""

    is_deferred = True

    def __init__(self, *, forces: bool) -> None:
        self.forces = forces
        self.pending = forces
        self._work: _Work | None = None

    def do(self, work: _Work) -> None:
        """Defer the work; if some is deferred already, one checkpoint is enough."""
        self._work = self._work or work
        self.pending = True

    def take(self) -> _Work | None:
        """Return the deferred work, and forget it."""
        work, self._work, self.pending = self._work, None, self.forces
        return work


Deferral = AtOnce | Deferred
