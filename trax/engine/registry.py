"""The open loops of this process, found by their run or from inside their bodies."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from trax.errors import UsageError

if TYPE_CHECKING:
    from trax.engine.session import Session

__all__ = [
    "TAKEN_OVER",
    "Active",
    "abandoned",
    "current",
    "innermost",
    "is_inside",
    "resuming_around",
]

TAKEN_OVER = "a later call took it over"

_by_run: weakref.WeakValueDictionary[str, Active] = weakref.WeakValueDictionary()
_by_frame: weakref.WeakValueDictionary[int, Active] = weakref.WeakValueDictionary()


class Active:
    """An open loop: it is running, or could be continued.

    `key` is the path of its run, and `thread` the identifier of the thread that drives it; another
    one may have opened the run. `is_continued` tells whether a step is running, or another task of
    the same thread continues the loop. `close` closes the run and takes the reason.

    Attributes
    ----------
    key : str
        As above.
    frame : FrameType or None
        The frame of the generator that is driven.
    take_over : callable or None
        Closes an async run, for which an event loop is needed; it takes the reason.
    """

    def __init__(
        self,
        key: str,
        session: Session,
        thread: int,
        is_continued: Callable[[], bool],
        close: Callable[[str], None],
    ) -> None:
        self.session = session
        self.close = close
        self.frame: FrameType | None = None
        self.take_over: Callable[[str], Awaitable[None]] | None = None
        self.key = key
        self._is_continued = is_continued
        self._stop: Callable[[], None] | None = None
        self._thread = thread
        _by_run[key] = self

    def drive(
        self,
        frame: FrameType,
        stop: Callable[[], None],
        take_over: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        """Register the generator that is driven; see `Lifecycle.drive`."""
        self.frame = frame
        self.take_over = take_over
        self._stop = stop
        self._thread = threading.get_ident()
        _by_frame[id(frame)] = self

    def end(self) -> None:
        """Forget the loop and close its generator."""
        _by_run.pop(self.key, None)
        stop, self._stop = self._stop, None
        if self.frame is not None:
            _by_frame.pop(id(self.frame), None)
            self.frame = None
        if stop is not None:
            stop()

    @property
    def is_abandoned(self) -> bool:
        """Whether this thread left the loop at a yield, so nobody can be driving it."""
        return self._thread == threading.get_ident() and not self._is_continued()


def abandoned(key: str) -> Active | None:
    """Return the loop of a run that an earlier call in this thread has left open, or None.

    A traceback or a notebook can keep an abandoned loop alive. Such a loop must not lock out the
    call that resumes its run. `key` is the path of the run.
    """
    active = _by_run.get(key)
    return active if active is not None and active.is_abandoned else None


def innermost() -> Session | None:
    """Return the open run of the loop that this is called from, directly or through functions.

    The call stack is searched for the frame of a generator that is being driven. So a loop pays
    nothing for being found.
    """
    for active in _around():
        return active.session
    return None


def current(caller: str) -> Session:
    """Return the same run as `innermost`; `caller` names the function that needs it.

    Raises
    ------
    UsageError
        No loop is found.
    """
    session = innermost()
    if session is None:
        raise UsageError(
            f"{caller} was called outside of a loop that trax runs.\n"
            "Call it in the body of a function decorated with trax.resumable, or in a function "
            "called from there in the same thread."
        )
    return session


def is_inside(key: str) -> bool:
    """Return whether this is called from the loop of a run, which has this path."""
    return any(active.key == key for active in _around())


def resuming_around() -> set[str]:
    """Return the names of the runs that this is called from in their first step of this process."""
    around = (active.session for active in _around())
    return {one.name for one in around if one.step == (one.resumed_at or 0)}


def _around() -> Iterator[Active]:
    """Yield the loops that this is called from, from the innermost outwards."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # nothing public is as cheap
    while frame is not None:
        active = _by_frame.get(id(frame))
        if active is not None and active.frame is frame:
            yield active
        frame = frame.f_back
