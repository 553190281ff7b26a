"""Calls functions in the main thread, on behalf of others, as Python calls signal handlers there.

Python installs handlers in the main thread alone, and a loop may run in any. A pending call is made
when the main thread comes to its next instruction. If it waits for something instead, a signal
without another effect makes it look.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from trax.storage.process import in_child

__all__ = ["NUDGE", "call", "call_soon", "is_ending", "is_here", "listen", "nudge"]

NUDGE = signal.SIGURG  # by default it is ignored, and hardly anybody uses it
_PAUSES = 0.001, 0.01, 0.01, 0.01, 0.01  # seconds, each before another try
_SHUTDOWN = getattr(getattr(threading, "_shutdown", None), "__code__", None)

_waiting: deque[Callable[[], object]] = deque()
_busy: list[bool] = []  # not empty while they are called


def is_here() -> bool:
    """Return whether this is the main thread."""
    return threading.current_thread() is threading.main_thread()


def is_ending(frame: FrameType | None) -> bool:
    """Return whether this thread, which is in a frame, has done its work and waits for the others.

    An exception would end this wait, and take from them what they need to end well.
    """
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is not None and frame.f_code is _SHUTDOWN


def listen() -> None:
    """Let other threads interrupt this one, if it is the main thread."""
    if is_here() and signal.getsignal(NUDGE) is signal.SIG_DFL:
        with contextlib.suppress(ValueError):  # a subinterpreter cannot install handlers
            signal.signal(NUDGE, _on_signal)


def call_soon(action: Callable[[], object]) -> None:
    """Call a function in the main thread when it comes to its next instruction."""
    _waiting.append(action)
    with contextlib.suppress(AttributeError):  # a Python that is not written in C
        ctypes.pythonapi.Py_AddPendingCall(_on_pending_call, None)


def call(action: Callable[[], object]) -> None:
    """Call a function in the main thread, and return when it was called.

    If that thread is busy in C code, return in a moment; it is called later.
    """
    called = threading.Event()

    def act() -> None:
        try:
            action()
        finally:
            called.set()

    call_soon(act)
    for pause in _PAUSES:
        if called.wait(pause):
            return
        nudge()


def nudge() -> None:
    """Let the main thread look, if it waits, for signals and pending calls."""
    if signal.getsignal(NUDGE) is _on_signal:
        signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)


def _call_waiting() -> None:
    while _waiting and not _busy:  # a signal may come in the middle of a call
        _busy.append(True)
        try:
            with contextlib.suppress(IndexError):
                while True:
                    _waiting.popleft()()
        finally:
            _busy.clear()


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # as handlers do
    _call_waiting()


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)  # type: ignore[untyped-decorator]
def _on_pending_call(_: Any) -> int:
    _call_waiting()
    return 0


in_child(_waiting.clear)
in_child(_busy.clear)
