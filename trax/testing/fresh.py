"""Processes that have not yet run a loop, forked before the first trial of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

__all__ = ["Answer", "FreshProcesses"]


class Answer(NamedTuple):
    """The answer of a process: its value, or the first error that it raised, as text."""

    value: Any = None
    error: str = ""


class FreshProcesses:
    """A copy of this process that forks one more process for each piece of work.

    So in each of these the modules, classes and objects of the program are as they are now,
    whatever this process does meanwhile. `work` is called there with what is given to `ask`.
    Both arguments and answers are pickled.
    """

    def __init__(self, work: Callable[..., Any]) -> None:
        self._ours, theirs = Pipe()
        for stream in (sys.stdout, sys.stderr):  # so that no copy writes it a second time
            with contextlib.suppress(AttributeError, ValueError):
                stream.flush()
        self._pid = _fork()
        if not self._pid:
            self._ours.close()
            _serve(theirs, work)
        theirs.close()

    def ask(self, seconds: int, *arguments: Any) -> Answer | None:
        """Do the work in a new process; None if it died, or took longer than these seconds."""
        self._ours.send((seconds, arguments))
        answer: Answer | None = self._ours.recv()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        with contextlib.suppress(ChildProcessError):  # the program may wait for all of its children
            os.waitpid(self._pid, 0)


def _fork() -> int:
    with warnings.catch_warnings():
        # A lock that another thread holds stays locked in the child: then the time runs out.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _serve(connection: Connection, work: Callable[..., Any]) -> None:
    """Fork a process for each piece of work, until the other side closes the connection."""
    try:
        while True:
            seconds, arguments = connection.recv()
            pid = _fork()
            if not pid:
                # Its default effect ends a process even where C code waits for ever.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(seconds)
                connection.send(_answer(work, arguments))
                return
            if os.waitpid(pid, 0)[1]:
                connection.send(None)
    finally:
        os._exit(sys.exc_info()[0] not in (None, EOFError))  # nothing of the program's runs here


def _answer(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Answer:
    try:
        return Answer(work(*arguments))
    except Exception as error:  # noqa: BLE001  # of the loop, or of trax
        return Answer(error=str(error) or type(error).__name__)
