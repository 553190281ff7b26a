"""The loops that this process is running: found by their run, or from inside their bodies."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from types import FrameType

from trax.engine.session import Session
from trax.errors import UsageError

__all__ = ["TAKEN_OVER", "Active", "abandoned", "current"]

TAKEN_OVER = "a later call took it over"

_by_run: dict[str, weakref.ref[Active]] = {}
_by_frame: weakref.WeakValueDictionary[int, Active] = weakref.WeakValueDictionary()


class Active:
    """A loop that is running, or could be continued.

    Parameters
    ----------
    key : str
        The path of its run.
    session : Session
        Its open run.
    thread : int
        The identifier of the thread that drives it; another one may have opened the run.
    is_going_on : callable
        Whether a step is running, or another task of the same thread continues the loop.
    close : callable
        Closes the run; it takes the reason.

    Attributes
    ----------
    frame : FrameType or None
        The frame of the generator that is driven.
    take_over : callable or None
        Closes the run of an async loop, for which an event loop is needed; it takes the reason.
    """

    def __init__(
        self,
        key: str,
        session: Session,
        thread: int,
        is_going_on: Callable[[], bool],
        close: Callable[[str], None],
    ) -> None:
        self.session = session
        self.close = close
        self.frame: FrameType | None = None
        self.take_over: Callable[[str], Awaitable[None]] | None = None
        self._key = key
        self._is_going_on = is_going_on
        self._stop: Callable[[], None] | None = None
        self._thread = thread
        _by_run[key] = weakref.ref(self)

    def drive(
        self,
        frame: FrameType,
        stop: Callable[[], None],
        take_over: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        """Remember the frame of the generator that is driven, and how to close it."""
        self.frame = frame
        self.take_over = take_over
        self._stop = stop
        self._thread = threading.get_ident()
        _by_frame[id(frame)] = self

    def end(self) -> None:
        """Forget the loop and close its generator."""
        _by_run.pop(self._key, None)
        stop, self._stop = self._stop, None
        if self.frame is not None:
            _by_frame.pop(id(self.frame), None)
            self.frame = None
        if stop is not None:
            stop()

    @property
    def is_abandoned(self) -> bool:
        """Whether this thread left the loop at a yield, so that nobody else can be driving it."""
        return self._thread == threading.get_ident() and not self._is_going_on()


def abandoned(key: str) -> Active | None:
    """Return the loop that an earlier call in this thread has left open of a run.

    A traceback, or a notebook, can keep an abandoned loop alive; it must not lock out the call
    that resumes its run.
    """
    reference = _by_run.get(key)
    active = reference() if reference else None
    return active if active is not None and active.is_abandoned else None


def current(what: str) -> Session:
    """Return the open run of the loop that this is called from, however deep below it.

    The call stack is searched for the frame of a generator that is being driven, so that the
    loop itself pays nothing for being found.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # nothing public is as cheap
    while frame is not None:
        active = _by_frame.get(id(frame))
        if active is not None and active.frame is frame:
            return active.session
        frame = frame.f_back
    raise UsageError(
        f"{what} was called outside of a loop that trax runs.\n"
        "Call it in the body of a function decorated with trax.resumable, or in a function that "
        "this calls in the same thread."
    )
