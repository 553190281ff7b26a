"""Who holds a run for writing.

``flock`` is the lock: unlike POSIX record locks it is not lost when the process closes some
other descriptor of the file, and the kernel releases it when the holder dies, however it
dies. What ``flock`` would pass on, forked children, is undone: a child closes its copy.
filelock empties the file when it opens it, and with it the note that says who holds the run;
portalocker leaves the descriptor to forked children; hence the few lines here.

The lock is a courtesy that gives a clear error early. Where a file system has no locks at all
it is skipped: what keeps two writers apart in the end is that each must create its own next
generation, see ``run_writer``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
import weakref
from typing import Any

from trax.errors import LockedError
from trax.storage.filesystem import check_alone, open_trusted
from trax.storage.process import in_child, process

__all__ = ["Lock"]

_NO_LOCKS_HERE = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
_LONGEST_NOTE = 4096


class Lock:
    """Holds the lock file at `path` until it is released or the process ends.

    Raises
    ------
    LockedError
        Where it is held already; the message says by whom and since when.
    """

    def __init__(self, path: str, what: str) -> None:
        self.fd = open_trusted(path, os.O_RDWR | os.O_CREAT)
        try:
            check_alone(self.fd, path)
            # Before it is locked, so that wherever an interrupt comes the descriptor is closed.
            _open.add(self)
            self._lock(what)
            self._write_note()
        except BaseException:
            self._close()
            raise

    def release(self) -> None:
        """Let others hold the run; calling it again does nothing."""
        if self in _open:
            try:
                with contextlib.suppress(OSError):
                    os.ftruncate(self.fd, 0)
            finally:
                self._close()

    def _lock(self, what: str) -> None:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(_describe(what, _read_note(self.fd))) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise

    def _close(self) -> None:
        _open.discard(self)
        with contextlib.suppress(OSError):  # whatever it says, it is closed, and nothing is lost
            os.close(self.fd)

    def _write_note(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk nobody is told who it is
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, json.dumps(_note()).encode(), 0)


_open: weakref.WeakSet[Lock] = weakref.WeakSet()


@in_child
def _close_in_child() -> None:
    for lock in list(_open):
        lock._close()  # noqa: SLF001  # of this module


def _note() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": process.boot_id(),
        "pid": os.getpid(),
        "started": _process_start(os.getpid()),
        "command": " ".join([os.path.basename(sys.executable), *sys.argv])[:1000],
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _process_start(pid: int) -> str:
    """Return when a process began, in clock ticks since the boot; empty where nothing says so."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[19].decode()
    return ""


def _read_note(fd: int) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        note = json.loads(os.pread(fd, _LONGEST_NOTE, 0))
        if isinstance(note, dict):
            return {key: value for key, value in note.items() if isinstance(value, (str, int))}
    return {}


def _describe(what: str, holder: dict[str, Any]) -> str:
    if not holder:
        return f"{what} is held by another process. Wait until it ends, or end it."
    mine = holder.get("pid") == os.getpid() and holder.get("boot") == process.boot_id()
    who = "this very process" if mine else f"process {holder.get('pid')} on {holder.get('host')}"
    advice = "close() the other one first" if mine else "Wait until it ends, or end it"
    return (
        f"{what} is held by {who} since {holder.get('since')} (command: {holder.get('command')}). "
        f"{advice}; reading with trax.load() is possible at any time."
    )
