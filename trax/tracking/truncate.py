"""Cuts output files back to their lengths at a stored step, once their content was compared.

The output of a step may have reached the disk although the step itself did not. That step is
repeated, so its first output must be removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Mapping
from urllib.parse import quote

from trax import notices
from trax.errors import CorruptionError, LockedError, StorageError, UntrustedError
from trax.storage import filesystem
from trax.storage.context import Key, Kind, parts_of
from trax.storage.process import process
from trax.tracking.output_digest import Extent, RunningDigest

__all__ = [
    "accepts",
    "changed_error",
    "check_owner",
    "cut_back",
    "extents",
    "is_ours",
    "lock",
    "set_aside",
]


def lock(fd: int, path: str) -> None:
    """Keep other runs from writing to a file, if the file system supports that."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{path} is an output file of another run that is still open\n"
            "Give each run a file of its own, as in trax.open(f'out-{seed}.csv')."
        ) from None
    except OSError:  # the lock is a courtesy, like that of a run
        return


def cut_back(
    store: str, directory: str, context: Mapping[Key, bytes], forced: Mapping[Key, bytes]
) -> None:
    """Cut the output files back to their lengths in a context, and force them to the disk.

    Nothing is changed until every file is found to exist, to be long enough, and to have the
    content that was written since the checkpoint before the newest one. The part that is cut off
    is kept in `directory`, that of the run, until the next time. Bytes after the lengths in
    the context `forced` are not known to be on the disk, whatever the system says: they are written
    once more. Relative paths begin at the store.

    Raises
    ------
    CorruptionError
        A file is missing, too short or changed, or an entry cannot be about an output file.
    UntrustedError
        A file belongs to another user.
    LockedError
        Another run has opened a file that must be cut.
    StorageError
        A file could not be cut back or forced.
    """
    found = [
        (path, extent.length, _length(path, extent))
        for path, extent in extents(store, context).items()
    ]
    known = {path: extent.length for path, extent in extents(store, forced).items()}
    names: set[str] = set()
    for path, length, present in found:
        kept = os.path.join(directory, _name_kept(path, names))
        try:
            if present:
                _cut(path, length, known.get(path, 0), kept)
        except OSError as error:
            raise StorageError(
                f"the output file {path} could not be cut back to {length:,} bytes: {error}\n"
                "Nothing that is stored was changed.\n"
                "Correct the cause, and run it again."
            ) from error
        if present > length:
            notices.info(
                f"{path} was cut back from {present:,} to {length:,} bytes; the rest, which no "
                f"stored step has written, is kept as {kept}"
            )


def set_aside(path: str, directory: str) -> str:
    """Empty an output file, whose content is first copied to a directory; return the copy."""
    names = {name.casefold() for name in os.listdir(directory)}
    kept = os.path.join(directory, _name_kept(path, names))
    _cut(path, 0, 0, kept)
    return kept


def extents(store: str, context: Mapping[Key, bytes]) -> dict[str, Extent]:
    """Return the extents of the output files in a context, by path.

    Raises
    ------
    CorruptionError
        An entry cannot be about an output file.
    """
    found = {}
    for thing in {key.whole: None for key in context if key.kind is Kind.OUTPUT}:
        path = os.path.normpath(os.path.join(store, thing.name))
        parts = list(parts_of(context, thing))
        extent = Extent.decode(parts)
        is_path = bool(thing.name) and "\0" not in thing.name and not is_ours(store, path)
        count = sum(key.whole == thing for key in context)
        if extent is None or count != len(parts) or not is_path:
            raise CorruptionError(
                f"the run in {store} has an impossible entry for its output file {thing.name!r}: "
                "trax did not store it\n"
                "Nothing was changed.\n"
                "Put the store back from a copy.\n"
                "Or start over with the function's fresh(...).",
                path,
            )
        found[path] = extent
    return found


def is_ours(store: str, path: str) -> bool:
    """Return whether a path leads to the store's own files, which no output file may be."""
    ours = [os.path.join(store, part) for part in ("runs", "locks", "aside")]
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, part]) == part for part in ours)


def accepts(path: str, extent: Extent) -> bool:
    """Return whether the user accepts a changed file as it is; if so, say so."""
    if os.environ.get("TRAX_ACCEPT_OUTPUT") != "1":
        return False
    notices.warn(
        f"{path} was changed outside of the run before offset {extent.length}, and is accepted as "
        "it is (TRAX_ACCEPT_OUTPUT=1)"
    )
    return True


def changed_error(path: str, begin: int, end: int) -> CorruptionError:
    """Return the error for a file whose content differs somewhere between two offsets."""
    return CorruptionError(
        f"the output file {path} was changed outside of the run, between offset {begin} and {end}\n"
        "Nothing was changed by this call.\n"
        "Put the file back as it was.\n"
        "Or call trax.repair(...) with the run's name: it goes back to the newest step whose "
        "output is all there.\n"
        "Or accept it as it is: set TRAX_ACCEPT_OUTPUT=1 in the environment for one call.\n"
        "Or start over with the function's fresh(...).",
        path,
        begin,
    )


def _check_content(path: str, extent: Extent) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        is_right = RunningDigest.read(fd, extent) is not None
    finally:
        os.close(fd)
    if not is_right and not accepts(path, extent):
        raise changed_error(path, extent.since, extent.length)


def _length(path: str, extent: Extent) -> int:
    """Return the present length of a file, and refuse it if it is not as long or was changed."""
    present, needed = 0, extent.length
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
            "outside of the run\n"
            "Nothing was changed.\n"
            "Put the file back as it was.\n"
            "Or call trax.repair(...) with the run's name: it goes back to the newest step whose "
            "output is all there.\n"
            "Or start over with the function's fresh(...).",
            path,
            present,
        )
    if needed > extent.begin:
        try:
            _check_content(path, extent)
        except OSError as error:
            raise StorageError(
                f"the output file {path} could not be read: {error}\nCorrect the cause, and run it "
                "again."
            ) from error
    return present


def check_owner(found: os.stat_result, path: str) -> None:
    """Refuse a file of another user; one of root that this user may write to is accepted."""
    if found.st_uid not in (os.geteuid(), 0) and os.environ.get("TRAX_TRUST") != "1":
        raise UntrustedError(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()})\n"
            "It is not cut back.\n"
            "Give the run a file of your own.\n"
            "Or, to accept it as it is, set TRAX_TRUST=1 in the environment."
        )


def _name_kept(path: str, names: set[str]) -> str:
    """Return an unused name for the part that is cut off a file."""
    start = quote(os.fsencode(os.path.basename(path)), "")[:200]
    name, number = f"{start}.cut", 1
    while name.casefold() in names:
        number += 1
        name = f"{start}~{number}.cut"
    names.add(name.casefold())
    return name


def _cut(path: str, length: int, forced: int, kept: str) -> None:
    """Cut a file and force it to the disk; the part cut off is first stored as `kept`."""
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
        process.force(fd)  # before any log that has this length


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
