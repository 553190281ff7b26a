"""Which loops this process is running: found by their run, or from inside them."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import IO, Any, Protocol

from trax.errors import UsageError

__all__ = ["Active", "Engine", "abandoned", "current"]


class Engine(Protocol):
    """As much of a loop's engine as its helpers need; see `trax.engine.lifecycle.Engine`."""

    name: str
    total: int | None
    counted: bool
    is_running: Callable[[], bool]

    @property
    def step(self) -> int: ...
    @property
    def run_id(self) -> str: ...
    def open_output(self, path: str | os.PathLike[str], mode: str, **options: Any) -> IO[Any]: ...
    def is_elsewhere(self) -> bool: ...
    def close(self, why: str) -> None: ...


_by_run: dict[str, weakref.ref[Active]] = {}
_by_frame: weakref.WeakValueDictionary[int, Active] = weakref.WeakValueDictionary()


class Active:
    """A loop that is running, or would go on if it were asked to.

    Parameters
    ----------
    key : str
        The path of its run.
    engine : Engine
        Its engine.
    thread : int
        The identifier of the thread that drives it; another one may have opened the run.
    """

    def __init__(self, key: str, engine: Engine, thread: int) -> None:
        self.engine = engine
        self.frame: FrameType | None = None
        self._key = key
        self._stop: Callable[[], None] | None = None
        self._thread = thread
        _by_run[key] = weakref.ref(self)

    def drive(self, frame: FrameType, stop: Callable[[], None]) -> None:
        """Remember the frame of the generator that is driven, and what closes it."""
        self.frame = frame
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
        """Whether this thread left the loop at a yield: it cannot be going on elsewhere."""
        if self._thread != threading.get_ident():
            return False
        return not self.engine.is_running() and not self.engine.is_elsewhere()


def abandoned(key: str) -> Active | None:
    """Return the loop that an earlier call in this thread has left open of a run.

    A traceback, or a notebook, can keep an abandoned loop alive; it must not lock out the call
    that goes on with it.
    """
    reference = _by_run.get(key)
    active = reference() if reference else None
    return active if active is not None and active.is_abandoned else None


def current(what: str) -> Engine:
    """Return the engine of the loop that this is called from, however deep below it.

    The call stack is searched for the frame of a generator that is being driven, so that the
    loop itself pays nothing for being found.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # nothing public is as cheap
    while frame is not None:
        active = _by_frame.get(id(frame))
        if active is not None and active.frame is frame:
            return active.engine
        frame = frame.f_back
    raise UsageError(
        f"{what} was called outside of a loop that trax runs. Call it in the body of a function "
        "decorated with trax.resumable, or in what that calls in the same thread."
    )
