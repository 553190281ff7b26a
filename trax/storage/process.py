"""The seam between trax and its process: clocks, boot, sync, threads, forks.

`process` is the one object that trax asks. Its fields are functions, so a test can replace them for
a while; ``trax.testing`` does so to make a block look like a process of its own. Code that runs at
every step takes its function once, when a run is opened.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol

from trax.errors import LockedError
from trax.storage.sync_thread import Ticker, begin

__all__ = [
    "Process",
    "Repeated",
    "Sync",
    "forked_error",
    "in_child",
    "is_being_spawned",
    "process",
]

Sync = Literal["always", "interval", "os"]  # when increments are forced to the disk


@cache
def _boot_id() -> str:
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


if sys.platform == "darwin":
    import fcntl

    def _force(fd: int) -> None:
        # On macOS fsync only hands the data to the drive, which may keep it in its cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:
    _force = getattr(os, "fdatasync", os.fsync)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


class Repeated(Protocol):
    """An action that is repeated in the background."""

    def stop(self) -> None:
        """Return once no call is running and none will come."""


@dataclass(slots=True, eq=False)
class Process:
    """The functions through which trax uses its process and its machine.

    Attributes
    ----------
    monotonic : callable
        Returns the seconds on a clock that is never set.
    time : callable
        Returns the seconds since the epoch.
    boot_id : callable
        Returns a text that changes whenever this machine boots; empty if it is not known.
    force : callable
        Takes a descriptor and returns once the written data is on the disk; raises `OSError`.
    raw : callable
        Takes the descriptor of a new file of a run, and returns the unbuffered file that writes
        to it.
    repeat : callable
        Takes a pause in seconds and an action, and repeats the action in the background with that
        pause, until the `Repeated` that it returns is stopped.
    begin : callable
        Takes an action, and begins it in the background.
    new_run_id : callable
        Returns the identity of a new run, 32 hexadecimal digits.
    is_main : callable
        Returns whether this thread may take the default RNGs of libraries for its own, as the main
        thread does.
    check_output : callable
        Takes the path of an output file before it is opened, and may refuse it.
    pause : float
        The seconds between two statuses in the journal of a run, and between two times in its log;
        the first ones come after a tenth of that.
    runs : set of str
        The identities of the runs that this process takes part in.
    said : set of tuple
        The notices that are given once for a run: its identity, and the kind of the notice.
    """

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    boot_id: Callable[[], str] = _boot_id
    force: Callable[[int], Any] = _force
    raw: Callable[[int], io.FileIO] = lambda fd: io.FileIO(fd, "r+")
    repeat: Callable[[float, Callable[[], None]], Repeated] = Ticker
    begin: Callable[[Callable[[], None]], object] = begin
    new_run_id: Callable[[], str] = lambda: uuid.uuid4().hex
    is_main: Callable[[], bool] = _is_main
    check_output: Callable[[str | os.PathLike[str]], None] = lambda _: None
    pause: float = 1.0
    runs: set[str] = field(default_factory=set)
    said: set[tuple[str, str]] = field(default_factory=set)


process = Process()


def is_being_spawned() -> bool:
    """Return whether multiprocessing is starting this process, and runs the script in it again."""
    module: Any = sys.modules.get("multiprocessing.process")
    return bool(module and getattr(module.current_process(), "_inheriting", False))


_in_child: list[Callable[[], None]] = []


def in_child(action: Callable[[], None]) -> Callable[[], None]:
    """Call the decorated action in each forked child, to give up resources of its parent."""
    _in_child.append(action)
    return action


def forked_error() -> LockedError:
    """Return the error for the use of a parent's open run in this process, which is a fork."""
    return LockedError(
        f"this run is held by the parent process {os.getppid()}, and process {os.getpid()} is a "
        "fork of it.\n"
        "Let the parent log, or let the child open a run of its own."
    )


def _give_up() -> None:
    with contextlib.ExitStack() as stack:  # all of them, even if one raises
        for action in reversed(_in_child):
            stack.callback(action)


os.register_at_fork(after_in_child=_give_up)
