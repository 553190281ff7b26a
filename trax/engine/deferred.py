"""The engine for a driver that must not block: what a disk can make slow is put off.

Strategy: `DeferredEngine.accept` still pickles an increment, folds it and writes it into the page
cache, as nothing is to be gained by putting off a microsecond. A checkpoint that is due is only
noted, and under ``sync="always"`` the log is not forced. The driver sees that the engine is
`unsettled`, and has `settle` do that in a thread, before it hands the increment out. So the
increments stand in the log as for any engine, and whatever recovers them sees no difference.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

from trax.calls.call import Call
from trax.engine.lifecycle import Engine
from trax.errors import DurabilityError

__all__ = ["OPENING", "STEP", "DeferredEngine"]

STEP = "in the middle of a step of"
OPENING = "opening"


class DeferredEngine(Engine):
    """An engine that leaves what may block to `settle`.

    Attributes
    ----------
    unsettled : bool
        Whether the driver has to call `settle` before it hands the increment out.
    doing : str
        What the driver is doing with the run just now, for messages; empty where it is nothing. It
        is kept here because the engine outlives a driver that is collected in the middle of it.
    is_awaited : callable
        Whether another task than the present one goes on with the loop; the driver knows.
    """

    is_deferred = True

    def __init__(self, call: Call, *, fresh: bool = False) -> None:
        super().__init__(call, fresh=fresh)
        self.doing = ""
        self.is_running = partial(_is_in_step, weakref.ref(self))
        self.is_awaited: Callable[[], bool] = lambda: False
        self._forces = call.options.sync == "always" and call.mode != "none"
        self._due: Callable[[], None] | None = None
        self.unsettled = self._forces

    @property
    def is_suspect(self) -> bool:
        """Whether the log failed in the background; `accept` mends that, and takes its time."""
        return self._generations.suspect

    def is_elsewhere(self) -> bool:
        return self.is_awaited()

    def settle(self) -> None:
        """Do what `accept` has put off: force the log, and take the checkpoint that is due.

        Raises
        ------
        CodecError, DurabilityError
            The increment must not be handed out.
        """
        due, self._due, self.unsettled = self._due, None, self._forces
        try:
            if self._forces:
                self._generations.force()
        except DurabilityError:
            self.checkpoint()  # in new files, it takes the place of what is not on the disk
        else:
            if self._generations.suspect:
                self.checkpoint()
            elif due:
                due()

    def _do(self, store: Callable[[], None]) -> None:
        self._due = self._due or store  # one checkpoint is enough
        self.unsettled = True


def _is_in_step(reference: weakref.ref[DeferredEngine]) -> bool:
    engine = reference()
    return engine is not None and engine.doing in (STEP, OPENING)
