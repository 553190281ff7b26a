"""The lock of a run, which admits one writer at a time.

Strategy: the lock is ``flock``. Unlike a POSIX record lock, it is not lost when the process closes
another descriptor of the file. The kernel releases it when the holder dies, in any way. A forked
child would inherit it, so it closes its copy. Two packages do not fit: filelock empties the file
when it opens it, and so deletes the note about the holder; portalocker leaves the descriptor to
forked children.

The lock only makes the error early and clear. On a file system without locks it is skipped: in the
end, two writers are kept apart because each must create its own next generation; see
``run_writer``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from trax import notices
from trax.errors import LockedError, UntrustedError, one_line
from trax.ranks import find_rank
from trax.storage.filesystem import check_alone, leads_to, open_trusted
from trax.storage.process import in_child, is_being_spawned, process

__all__ = ["ALIVE", "SUSPENDED", "Lock", "Patience", "holder_state"]

ALIVE, SUSPENDED = "alive", "suspended"  # of a holder
_NO_LOCKS_HERE = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
_LONGEST_NOTE = 4096
_PAUSE = 0.05  # seconds between two tries
_QUIET = 1.0  # seconds before a wait is told

T = TypeVar("T")


class Lock:
    """An exclusive lock on a file, until it is released or the process ends.

    The file is created if it does not exist. `subject` names the run, for messages. `thread` is the
    identifier of the thread that uses the run, by default the present one.

    Raises
    ------
    LockedError
        The lock is held already; the message names the holder and the time.
    """

    def __init__(self, path: str, subject: str, thread: int | None = None) -> None:
        self.path = path
        self._thread = threading.get_ident() if thread is None else thread
        self.fd = open_trusted(path, os.O_RDWR | os.O_CREAT)
        try:
            check_alone(self.fd, path)
            # Before it is locked, so that an interrupt at any place closes the descriptor.
            _open.add(self)
            self._lock(subject)
            self._write_note()
            _users[path] = self._thread
        except BaseException:
            self._close()
            raise

    def release(self) -> None:
        """Release the lock; calling it again does nothing."""
        if self in _open:
            _users.pop(self.path, None)
            try:
                with contextlib.suppress(OSError):
                    os.ftruncate(self.fd, 0)
            finally:
                self._close()

    def is_in_place(self) -> bool:
        """Return whether other processes still find this lock."""
        return leads_to(self.path, self.fd)

    def _lock(self, subject: str) -> None:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._error(subject) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise

    def _error(self, subject: str) -> LockedError:
        holder = _read_note(self.fd)
        # It would wait for itself, or for a process that waits for it.
        is_in_vain = _users.get(self.path) == self._thread or is_being_spawned()
        return LockedError(_describe(subject, holder), "" if is_in_vain else _name(holder))

    def _close(self) -> None:
        _open.discard(self)
        with contextlib.suppress(OSError):  # even then it is closed, and nothing is lost
            os.close(self.fd)

    def _write_note(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk, messages cannot name the holder
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, json.dumps(_note()).encode(), 0)


class Patience:
    """Waits for the holder of a lock, for a limited time.

    `name` is the run's. `is_over` tells whether to give up before the time is over.
    """

    def __init__(
        self, name: str, seconds: float, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._is_over = is_over
        self._begun = 0.0
        self._has_said = False

    def pause(self, error: LockedError) -> float:
        """Return the seconds after which to try again, or raise the error.

        After a second it says for whom it waits.
        """
        now = time.monotonic()
        self._begun = self._begun or now
        left = self._begun + self._seconds - now
        if left <= 0 or not error.holder or self._is_over():
            self._begun = 0.0
            raise error
        if not self._has_said and now - self._begun >= _QUIET:
            self._has_said = True
            limit = f", at most {self._seconds:g} s" if self._seconds < math.inf else ""
            notices.info(f"{self._name} waits for {error.holder}{limit}")
        return min(_PAUSE, left)

    def until(self, take: Callable[[], T]) -> T:
        """Return what a function returns as soon as it finds no lock held."""
        while True:
            try:
                return take()
            except LockedError as error:
                pause = self.pause(error)
            time.sleep(pause)


def holder_state(path: str) -> str:
    """Return how the process is that holds the lock of a file, as far as the note in it tells.

    Trying to lock it would disturb a process that does so at the same moment. A holder on another
    machine cannot be asked: it counts as alive.

    Returns
    -------
    str
        `ALIVE`, or `SUSPENDED` if it is stopped as by Ctrl-Z; empty if there is none.
    """
    try:
        fd = open_trusted(path, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    except (OSError, UntrustedError):
        return ALIVE
    try:
        holder = _read_note(fd)
    finally:
        os.close(fd)
    if not holder or holder.get("host") != socket.gethostname():
        return ALIVE if holder else ""
    pid, started = holder.get("pid"), holder.get("started")
    if holder.get("boot") != process.boot_id() or not isinstance(pid, int) or not _is_alive(pid):
        return ""
    state, start = _process_stat(pid)
    if started != start:
        return ""
    return SUSPENDED if state == "T" else ALIVE


_open: weakref.WeakSet[Lock] = weakref.WeakSet()
_users: dict[str, int] = {}  # by path, the threads that use the runs held by this process


@in_child
def _close_in_child() -> None:
    _users.clear()
    for lock in list(_open):
        lock._close()  # noqa: SLF001  # of this module


def _note() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": process.boot_id(),
        "pid": os.getpid(),
        "started": _process_stat(os.getpid())[1],
        "command": " ".join([os.path.basename(sys.executable), *sys.argv])[:1000],
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _process_stat(pid: int) -> tuple[str, str]:
    """Return the state of a process and its start, in clock ticks since the boot, where known.

    A process that has ended and that its parent has not waited for has no start.
    """
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        state, *fields = file.read().rpartition(b")")[2].decode().split()
        return state, "" if state == "Z" else fields[18]
    return "", ""


def _read_note(fd: int) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        note = json.loads(os.pread(fd, _LONGEST_NOTE, 0))
        if isinstance(note, dict):
            return {
                key: one_line(value) if isinstance(value, str) else value
                for key, value in note.items()
                if isinstance(value, (str, int))
            }
    return {}


def _is_here(holder: dict[str, Any]) -> bool:
    return holder.get("boot") == process.boot_id() and isinstance(holder.get("pid"), int)


def _name(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    if _is_here(holder) and holder["pid"] == os.getpid():
        return "this very process"
    return f"process {holder.get('pid')} on {holder.get('host')}"


def _describe(subject: str, holder: dict[str, Any]) -> str:
    if not holder:
        return f"{subject} is held by another process.\nWait until it ends, or end it."
    who, advice = _name(holder), "Wait until it ends, or end it"
    if who == "this very process":
        advice = (
            "Close the other one first; another task or thread may be driving it.\n"
            "Or give each a name of its own, as in name='run-{seed}'"
        )
    elif is_being_spawned():
        advice = (
            "multiprocessing is starting this process, and runs the script in it once more.\n"
            "Put the code that begins the run under if __name__ == '__main__'"
        )
    elif _is_here(holder) and _process_stat(holder["pid"])[0] == "T":
        pid = holder["pid"]
        advice = f"It is stopped: let it continue (kill -CONT {pid}), or end it (kill -KILL {pid})"
    elif rank := find_rank():
        advice = (
            f"This process is rank {rank.rank} of {rank.size} ({rank.variable}). If another rank "
            "holds it, give each a run of its own:\n"
            "name='train-{rank}' for a function of rank, called with rank=trax.rank()"
        )
    return (
        f"{subject} is held by {who} (since {holder.get('since')}).\n"
        f"Its command: {holder.get('command')}\n"
        f"{advice}.\n"
        "You can read the run with trax.load() at any time."
    )
