"""Threads for work in the background, such as forcing a log to the disk again and again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

__all__ = ["Ticker", "begin"]


class Ticker:
    """Calls `action` in a daemon thread until it is stopped.

    `seconds` pass between the end of one call and the beginning of the next. The action reports its
    own failures: the thread outlives every exception, and calls it again.

    Raises
    ------
    RuntimeError, MemoryError
        The system starts no more threads.
    """

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        # Held until `stop` releases it. No exception of a signal handler can divide that one call;
        # an event has a lock of its own, which such a one could leave locked.
        self._running = threading.Lock()
        self._running.acquire()
        self._thread = threading.Thread(target=self._work, name="trax-sync", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with contextlib.suppress(BaseException):
                if self._running.acquire(timeout=self._seconds):
                    return
                self._action()

    def stop(self) -> None:
        """Return once no call is running and none will come."""
        with contextlib.suppress(RuntimeError):  # it was stopped before
            self._running.release()
        if self._thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # no thread runs once the interpreter has ended
                self._thread.join()


def begin(action: Callable[[], None]) -> None:
    """Call `action` once in a daemon thread.

    Raises
    ------
    RuntimeError, MemoryError
        The system starts no more threads.
    """
    threading.Thread(target=action, name="trax-write", daemon=True).start()
