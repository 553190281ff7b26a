"""A lock between threads that no exception of a signal handler leaves locked."""

from __future__ import annotations

import sys
from _thread import RLock
from collections.abc import Callable

__all__ = ["Mutex"]


class Mutex(RLock):  # type: ignore[misc]  # it is final for type checkers alone
    """A reentrant lock for ``with`` statements.

    Python calls signal handlers, which may raise, when a call of C code has returned. From Python
    3.14 on that is so for the call of ``__enter__`` as well, before the block is protected: a lock
    of `threading` would stay locked forever.
    """

    # Whether this thread holds it. Python's own condition variables ask the same.
    is_owned: Callable[[], bool] = RLock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001

    if sys.version_info >= (3, 14):
        # No handler is called when a function in Python returns, but when one begins. So
        # ``__enter__`` is in Python, and ``__exit__`` stays in C.
        def __enter__(self) -> bool:  # type: ignore[override]  # it takes no arguments
            try:
                return self.acquire()
            except BaseException:
                try:  # noqa: SIM105  # a call before the release may raise again
                    self.release()
                except RuntimeError:  # it was interrupted while it waited
                    pass
                raise
