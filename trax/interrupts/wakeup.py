"""Tells a thread of signals at once, while the handlers in Python wait for C code to return.

Python's own handler in C writes the number of each signal to a descriptor. There is one for the
process, and event loops use it too: if another is set, it stays, and nothing is told.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from _thread import start_new_thread
from collections.abc import Callable

__all__ = ["Wakeup", "die"]


class Wakeup:
    """Calls `tell` with the number of each signal, in a thread, from `begin` to `end`.

    All methods are called in the main thread.
    """

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._reader = self._writer = -1

    def begin(self) -> None:
        """Start the thread; another call sets the descriptor again if it was replaced meanwhile."""
        if self._writer < 0:
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            with contextlib.suppress(RuntimeError):  # the program is ending
                start_new_thread(self._attend, (self._reader,))
        with contextlib.suppress(ValueError):  # a subinterpreter has no signals
            before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            if before not in (-1, self._writer):
                signal.set_wakeup_fd(before)

    def end(self) -> None:
        """End the thread, and unset the descriptor if it is still this one."""
        self._close(with_reader=False)  # the thread reads to the end, and closes the other one

    def forget(self) -> None:
        """Close everything in a forked child, which does not have the thread."""
        self._close(with_reader=True)

    def _close(self, *, with_reader: bool) -> None:
        # A handler may come here in the middle.
        reader, writer, self._reader, self._writer = self._reader, self._writer, -1, -1
        if writer < 0:
            return
        with contextlib.suppress(ValueError):
            present = signal.set_wakeup_fd(-1)
            if present not in (-1, writer):
                signal.set_wakeup_fd(present)
        for fd in [writer] + [reader] * with_reader:
            os.close(fd)

    def _attend(self, reader: int) -> None:
        while number := os.read(reader, 1):
            self._tell(number[0])
        os.close(reader)


def die(number: int) -> None:
    """End the process as a signal without any handler does; any thread may call this."""
    with contextlib.suppress(AttributeError):  # a Python that is not written in C
        # signal.signal() is for the main thread alone, and that one is stuck.
        ctypes.pythonapi.PyOS_setsig(ctypes.c_int(number), ctypes.c_void_p(signal.SIG_DFL))
        # Sent to the process, it could come to another thread later than the exit below.
        signal.raise_signal(number)
    os._exit(128 + number)
