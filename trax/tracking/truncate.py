"""Output files, cut back to where a stored step left them.

What a step wrote to them may have reached the disk though the step has not: it is done again, and
must not find there what it wrote the first time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import struct
from collections.abc import Mapping
from urllib.parse import quote

from trax import notices
from trax.errors import CorruptionError, LockedError, StorageError, UntrustedError
from trax.storage import filesystem
from trax.storage.context import Key, Kind
from trax.storage.process import process

__all__ = ["LENGTH", "check_owner", "cut_back", "is_ours", "lengths", "lock"]

LENGTH = struct.Struct("<Q")  # how a file's length is stored


def lock(fd: int, path: str) -> None:
    """Keep other runs from writing to a file, where the file system can."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{path} is an output file of another run that is going on. Give each run a file of "
            "its own, as in trax.open(f'out-{seed}.csv')."
        ) from None
    except OSError:  # a courtesy, as the lock of a run
        return


def cut_back(
    store: str, directory: str, context: Mapping[Key, bytes], forced: Mapping[Key, bytes]
) -> None:
    """Make the output files end where a context says that they did, and durable.

    Nothing is changed before all of them are found to be there and long enough. What is cut off
    is kept in `directory`, until the next time. What stands behind the lengths in `forced` is not
    known to be on the disk, whatever the system says: it is written once more.

    Raises
    ------
    CorruptionError
        One is missing or too short, or what is stored cannot be about an output file.
    UntrustedError
        One belongs to somebody else.
    """
    found = [
        (path, length, _length(path, length)) for path, length in lengths(store, context).items()
    ]
    known = lengths(store, forced)
    names: set[str] = set()
    for path, length, present in found:
        kept = os.path.join(directory, _name_kept(path, names))
        try:
            if present:
                _cut(path, length, known.get(path, 0), kept)
        except OSError as error:
            raise StorageError(
                f"the output file {path} could not be cut back to {length:,} bytes: {error}. "
                "Nothing that is stored was changed: mend that, and run it again."
            ) from error
        if present > length:
            notices.info(
                f"{path} was cut back from {present:,} to {length:,} bytes: what was behind, of a "
                f"step that is done again, is kept as {kept}"
            )


def lengths(store: str, context: Mapping[Key, bytes]) -> dict[str, int]:
    """Return how long each output file was, by its path, where a context says that it stood.

    Raises
    ------
    CorruptionError
        What is stored cannot be about an output file.
    """
    found = {}
    for key, value in context.items():
        if key.kind is Kind.OUTPUT:
            name = key.name
            path = os.path.normpath(os.path.join(store, name))
            is_path = bool(name) and "\0" not in name and not is_ours(store, path)
            if key.part != 0 or len(value) != LENGTH.size or not is_path:
                raise CorruptionError(
                    f"the run in {store} says of its output file {name!r} what cannot be: it was "
                    "not stored by trax. Nothing was changed. Put the store back from a copy; or "
                    "start over, with the function's fresh(...).",
                    path,
                )
            (found[path],) = LENGTH.unpack(value)
    return found


def is_ours(store: str, path: str) -> bool:
    """Return whether a path leads to the store's own files, which no output may be."""
    ours = [os.path.join(store, part) for part in ("runs", "locks", "aside")]
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, part]) == part for part in ours)


def _length(path: str, needed: int) -> int:
    present = 0
    try:
        found = os.stat(path)
    except FileNotFoundError:
        reason = "it is missing"
    except OSError as error:
        reason = f"it cannot be read ({error.strerror})"
    else:
        reason = "it is not a regular file"
        if stat.S_ISREG(found.st_mode):
            check_owner(found, path)
            present = found.st_size
            reason = f"it has {present:,} bytes"
    if present < needed:
        raise CorruptionError(
            f"the output file {path} should have {needed:,} bytes, and {reason}: it was changed "
            "behind the run's back. Nothing was changed. Put the file back as it was; or let "
            "trax.repair(...), with the run's name, go back to the newest step whose output is all "
            "there; or start over, with the function's fresh(...).",
            path,
            present,
        )
    return present


def check_owner(found: os.stat_result, path: str) -> None:
    """Refuse a file that is not the user's to cut; one of root that the user may write to is."""
    if found.st_uid not in (os.geteuid(), 0) and os.environ.get("TRAX_TRUST") != "1":
        raise UntrustedError(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}): it is not cut "
            "back. Give the run a file of your own; or, to accept it as it is, set TRAX_TRUST=1 in "
            "the environment."
        )


def _name_kept(path: str, names: set[str]) -> str:
    """Return what that is called which is cut off a file; each file has another name."""
    start = quote(os.fsencode(os.path.basename(path)), "")[:200]
    name, number = f"{start}.cut", 1
    while name.casefold() in names:
        number += 1
        name = f"{start}~{number}.cut"
    names.add(name.casefold())
    return name


def _cut(path: str, length: int, forced: int, kept: str) -> None:
    """Cut a file and force it to the disk; what is cut off is stored as `kept` before."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "r+b") as file:
        found = os.fstat(fd)
        check_owner(found, path)
        if found.st_size > length:
            lock(fd, path)
            file.seek(length)
            with contextlib.suppress(FileNotFoundError):
                os.remove(kept)
            with open(kept, "xb", opener=_private) as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                process.force(copy.fileno())
            file.truncate(length)
        filesystem.write_again(fd, forced)
        process.force(fd)  # before a log is that says so


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
