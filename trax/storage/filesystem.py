"""Opens, syncs and renames files on the local disk; no other module of the storage does.

`Directory`, `Output` and `Input` are everything that a run needs from a file system.
`LocalDirectory` is the real one, and ``trax.testing.memory`` has another; `Store` chooses. Names
are plain file names. Every error is an `OSError`, or an `UntrustedError` if somebody else could
have written the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Protocol

from trax.errors import StorageError, UntrustedError
from trax.storage.filenames import temporary
from trax.storage.process import in_child, process
from trax.storage.signing import Key

__all__ = [
    "Directory",
    "Input",
    "LocalDirectory",
    "Output",
    "Update",
    "add_file",
    "check_alone",
    "check_trust",
    "closing_quietly",
    "copy",
    "copy_directory",
    "copy_file",
    "exists",
    "is_begun",
    "is_empty",
    "leads_to",
    "make_directory",
    "make_private",
    "move",
    "new_file",
    "new_private",
    "open_trusted",
    "storage_errors",
    "sync_directory",
    "write_again",
    "write_all",
    "write_private",
]


_SMALL = 1 << 16
_AS_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK = 1 << 20  # bytes copied at a time
_EMPTY = 2  # links of a directory, and where they are counted, one more for each inside


class Output(Protocol):
    """A new file that is being written, from its first byte on."""

    def write(self, data: Any, /) -> int:
        """Write at the end; return the number of bytes written, which may be fewer than given."""

    def truncate(self, length: int) -> None:
        """Cut to `length` and continue writing there."""

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes in place."""

    def sync(self) -> None:
        """Return once everything written is on the disk."""

    def is_in_place(self) -> bool:
        """Return whether the file is still found under its name."""

    def close(self) -> None: ...


class Update(Protocol):
    """A file that is read and changed in place."""

    def read_at(self, offset: int, size: int) -> bytearray:
        """Return up to `size` bytes; fewer only at the end of the file."""

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes in place, or append them at the end."""

    def close(self) -> None: ...


class Input(Protocol):
    """A file that is open for reading."""

    @property
    def size(self) -> int:
        """The present length in bytes; the log of a live writer grows."""

    def read_at(self, offset: int, size: int) -> bytearray:
        """Return up to `size` bytes; fewer only at the end of the file."""

    def read_into(self, offset: int, memory: memoryview) -> int:
        """Fill `memory`, and return the number of bytes; fewer only at the end of the file."""

    def close(self) -> None: ...


class Directory(Protocol):
    """The files of one run."""

    @property
    def path(self) -> str:
        """The path, for messages."""

    @property
    def boot(self) -> str:
        """The identity of the machine's current boot; empty if it is not known."""

    @property
    def key(self) -> Key | None:
        """The key that the files are signed with, if they are."""

    def list(self) -> list[str]: ...

    def create(self, name: str) -> Output:
        """Open a new file; `FileExistsError` if it exists."""

    def update(self, name: str) -> Update:
        """Open a file to read and change it; it is created if it does not exist."""

    def open(self, name: str) -> Input: ...

    def cut(self, name: str, length: int, forced: int = 0) -> None:
        """Make the file no longer than `length`, and make the rest durable.

        The bytes after `forced` are written once more first; see `write_again`.
        """

    def rename(self, old: str, new: str) -> None: ...
    def remove(self, name: str) -> None: ...

    def sync(self) -> None:
        """Make the names durable."""

    def is_in_place(self) -> bool:
        """Return whether the directory is still found under its path."""

    def close(self) -> None:
        """Release the directory; it can still be used."""


def write_all(output: Output, data: Any) -> None:
    """Write all of `data`, in as many calls as that takes."""
    with memoryview(data) as view, view.cast("B") as left:
        done = 0
        while done < len(left):
            done += output.write(left[done:])


def copy(source: Input, output: Output, begin: int, end: int) -> None:
    """Copy the bytes from `begin` to `end` of one file to another one."""
    for offset in range(begin, end, _CHUNK):
        write_all(output, source.read_at(offset, min(_CHUNK, end - offset)))


class _LocalOutput:
    def __init__(self, fd: int, path: str) -> None:
        self._path = path
        self._file = process.raw(fd)
        # The file's own method: one call less for every increment.
        self.write: Callable[[Any], int] = self._file.write
        _open.add(self)

    def truncate(self, length: int) -> None:
        self._file.truncate(length)
        self._file.seek(length)

    def overwrite(self, offset: int, data: bytes) -> None:
        os.pwrite(self._file.fileno(), data, offset)

    def sync(self) -> None:
        process.force(self._file.fileno())

    def is_in_place(self) -> bool:
        return leads_to(self._path, self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _LocalUpdate(_LocalOutput):
    def read_at(self, offset: int, size: int) -> bytearray:
        return bytearray(os.pread(self._file.fileno(), size, offset))


class _LocalInput:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read_at(self, offset: int, size: int) -> bytearray:
        data = bytearray(max(0, min(size, self.size - offset)))
        with memoryview(data) as view:
            done = self.read_into(offset, view)
        del data[done:]
        return data

    def read_into(self, offset: int, memory: memoryview) -> int:
        done = 0
        while done < len(memory) and (got := os.preadv(self._fd, [memory[done:]], offset + done)):
            done += got
        return done

    def close(self) -> None:
        os.close(self._fd)


class LocalDirectory:
    """A directory that exists, on the local disk or on any file system that is mounted.

    Each call opens it and checks that the path still leads there, and that nobody else can write to
    it. A writer `holds` it open until it is closed; then only `create` and `list` check that.
    """

    def __init__(self, path: str, key: Key | None = None, *, holds: bool = False) -> None:
        self.path = path
        self.key = key
        self._found = os.stat(path)
        self._held = _Held(_open_directory(path, self._found)) if holds else None

    @property
    def boot(self) -> str:
        return process.boot_id()

    def list(self) -> list[str]:
        # Two listings through one descriptor, by two threads, would share their position.
        with _Opened(self.path, self._found) as here:
            return os.listdir(here)

    def create(self, name: str) -> _LocalOutput:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        if self._held is not None:
            _check_same(os.stat(self.path, follow_symlinks=False), self.path, self._found)
        with self._opened() as here:
            return _LocalOutput(os.open(name, flags, 0o600, dir_fd=here), self._at(name))

    def update(self, name: str) -> _LocalUpdate:
        path = self._at(name)
        with self._opened() as here:
            fd = open_trusted(path, os.O_RDWR | os.O_CREAT, here)
        try:
            check_alone(fd, path)
            return _LocalUpdate(fd, path)
        except BaseException:
            os.close(fd)
            raise

    def open(self, name: str) -> _LocalInput:
        with self._opened() as here:
            return _LocalInput(open_trusted(self._at(name), os.O_RDONLY, here))

    def cut(self, name: str, length: int, forced: int = 0) -> None:
        with self._opened() as here:
            fd = open_trusted(self._at(name), os.O_RDWR, here)
        try:
            if os.fstat(fd).st_size > length:
                check_alone(fd, self._at(name))
                os.ftruncate(fd, length)
            write_again(fd, forced)
            process.force(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        with self._opened() as here:
            os.rename(old, new, src_dir_fd=here, dst_dir_fd=here)

    def link(self, old: str, new: str) -> bool:
        """Give a file a second name; return False if another file has that name."""
        with self._opened() as here:
            try:
                os.link(old, new, src_dir_fd=here, dst_dir_fd=here)
            except FileExistsError:
                # A file server may have done it, and its answer was lost: then the next try fails.
                there = os.stat(new, dir_fd=here, follow_symlinks=False)
                return os.path.samestat(there, os.stat(old, dir_fd=here, follow_symlinks=False))
            return True

    def remove(self, name: str) -> None:
        with self._opened() as here:
            os.remove(name, dir_fd=here)

    def sync(self) -> None:
        with self._opened() as here:
            os.fsync(here)

    def is_in_place(self) -> bool:
        return leads_to(self.path, self._found)

    def close(self) -> None:
        self._held = None

    def _opened(self) -> _Held | _Opened:
        held = self._held
        if held is not None and held.fd >= 0:
            return held
        return _Opened(self.path, self._found)

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}"


class _Held:
    """The descriptor of a directory, which is closed when no thread uses it any more.

    A ``with`` block uses it, and does not close it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        _open.add(self)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # even then it is closed, and nothing is lost
                os.close(fd)

    __del__ = close


class _Opened:
    """Opens a directory for the length of a ``with`` block, and refuses one that has replaced it.

    Everything uses its descriptor and not the path: the path may lead elsewhere at any moment if
    others can write to a directory above.
    """

    def __init__(self, path: str, expected: os.stat_result) -> None:
        self._path = path
        self._expected = expected
        self._fd = -1

    def __enter__(self) -> int:
        self._fd = _open_directory(self._path, self._expected)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _open_directory(path: str, expected: os.stat_result) -> int:
    try:
        fd = os.open(path, _AS_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        with contextlib.suppress(OSError):
            check_trust(os.lstat(path), path, stat.S_ISDIR)
        raise
    try:
        _check_same(os.fstat(fd), path, expected)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_same(found: os.stat_result, path: str, expected: os.stat_result) -> None:
    check_trust(found, path, stat.S_ISDIR)
    if not os.path.samestat(found, expected):
        reason = "the directory was moved or replaced while it was in use"
        raise OSError(errno.ESTALE, reason, path)


# A forked child would keep their descriptors. It must not use them, and no thread in it does.
_open: weakref.WeakSet[_LocalOutput | _Held] = weakref.WeakSet()


@in_child
def _release() -> None:
    for one in list(_open):
        with contextlib.suppress(OSError):
            one.close()


def leads_to(path: str, file: os.stat_result | int) -> bool:
    """Return whether a path still leads to a file, open or not; True if the disk does not tell."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file
        return os.path.samestat(os.stat(path), found)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        return error.errno != errno.ESTALE


def write_again(fd: int, offset: int) -> None:
    """Write the bytes after `offset` once more, in the same place.

    After a failed sync, a system may regard bytes as written that never reached the disk: reading
    does not show it, and the next sync succeeds.
    """
    while data := os.pread(fd, _CHUNK, offset):
        offset += os.pwrite(fd, data, offset)


def make_directory(path: str, likely: str = "") -> None:
    """Create a private directory and its parents, durably; an existing one must be trustworthy.

    Its parents are private as well: whoever can write to one could exchange the directory. `likely`
    is the name of an entry that it may have, since listing many entries takes long.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        check_trust(found := os.stat(path, follow_symlinks=False), path, stat.S_ISDIR)
        has_likely = likely and exists(os.path.join(path, likely))
        if has_likely or found.st_nlink > _EMPTY or not is_empty(path):
            return
        # The process that made it may have been killed before its name was on the disk.
    except FileNotFoundError:
        try:
            make_private(os.path.dirname(path))
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        except FileNotFoundError as error:  # as in /proc, although the parent exists
            raise StorageError(
                f"the directory {path} cannot be made: its file system takes none\n"
                "Choose another place for the store, with traxdir= or TRAX_DIR."
            ) from error
        check_trust(os.stat(path, follow_symlinks=False), path, stat.S_ISDIR)
    sync_directory(os.path.dirname(path))


def is_empty(path: str) -> bool:
    """Return whether a directory has no entry, without reading all of many."""
    with os.scandir(path) as entries:
        return next(entries, None) is None


def make_private(path: str) -> None:
    """Create a directory and its parents for the user alone; existing ones stay as they are."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_private(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        sync_directory(parent)


def exists(path: str) -> bool:
    """Return whether a path exists; an error of the disk is raised and does not mean no."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def move(old: str, new: str) -> None:
    """Move a file or a directory to another path on the same disk, durably."""
    os.rename(old, new)
    sync_directory(os.path.dirname(new))
    sync_directory(os.path.dirname(old))


def copy_directory(old: str, new: str) -> None:
    """Copy the files of a directory to a new one, which appears as a whole or not at all."""
    directory = LocalDirectory(old)
    make_directory(begun := temporary(new))
    copied = LocalDirectory(begun)
    for name in copied.list():  # left by a copy that was interrupted
        copied.remove(name)
    for name in directory.list():
        if stat.S_ISREG(os.lstat(os.path.join(old, name)).st_mode):
            copy_file(directory, name, copied, name)
    copied.sync()
    os.rename(begun, new)
    sync_directory(os.path.dirname(new))


def new_private(path: str) -> IO[str]:
    """Create a file that only the user can read and write; `FileExistsError` if it exists."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return open(fd, "w", encoding="ascii")


def write_private(path: str, text: str) -> None:
    """Store a text in a new private file, durably; if that fails, no file is left."""
    file = new_private(path)
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.remove(path)
        raise
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Return once the names in a directory are on the disk."""
    fd = os.open(path, _AS_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_trusted(path: str, flags: int, here: int | None = None, *, accept: bool = True) -> int:
    """Open a regular file that nobody else can have written; return the descriptor.

    If `here` is given, a descriptor of the file's directory, it is used instead of the path.
    `accept` tells whether ``TRAX_TRUST=1`` accepts any owner and mode.

    Raises
    ------
    UntrustedError
        Somebody else can have written the file, or it is not a regular file.
    """
    name = path if here is None else os.path.basename(path)
    try:
        # O_NONBLOCK: a FIFO under this name must not make the open wait.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=here)
    except OSError:
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                check_trust(found, path, stat.S_ISREG)
        raise
    try:
        check_trust(os.fstat(fd), path, stat.S_ISREG, accept=accept)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_trust(
    found: os.stat_result, path: str, is_kind: Callable[[int], bool], *, accept: bool = True
) -> None:
    """Raise `UntrustedError` if anybody but the user and root can write the file."""
    if not is_kind(found.st_mode):
        wanted = "directory" if is_kind is stat.S_ISDIR else "regular file"
        raise UntrustedError(f"{path} is not a {wanted}.\nMove it away, or choose another place.")
    is_foreign = found.st_uid not in (os.geteuid(), 0)
    if not is_foreign and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    if accept and os.environ.get("TRAX_TRUST") == "1":
        return
    other = "\nOr accept it as it is: set TRAX_TRUST=1 in the environment." if accept else ""
    if is_foreign:
        raise UntrustedError(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}).\n"
            "Loading it would run any code that this user put there.\n"
            f"Make it yours with chown, or make a copy of your own.{other}"
        )
    raise UntrustedError(
        f"{path} can be written by other users (mode {stat.S_IMODE(found.st_mode):o}).\n"
        "Loading it would run any code that they put there.\n"
        f"Run chmod -R go-w on it.{other}"
    )


def check_alone(fd: int, path: str) -> None:
    """Refuse a file that has another name as well, before it is cut."""
    if os.fstat(fd).st_nlink > 1:
        raise UntrustedError(
            f"{path} has another name somewhere (a hard link), and a change would show there too.\n"
            "Replace it with a copy, or remove this name."
        )


class closing_quietly:  # noqa: N801  # as a context manager is named
    """Close `file` at the end; an error of the body takes precedence over one of the closing."""

    def __init__(self, file: Input | Output) -> None:
        self._file = file

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._file.close()
        except OSError:
            if error is None:
                raise


def copy_file(directory: Directory, name: str, other: Directory, new: str, begin: int = 0) -> None:
    """Copy a file from `begin` to its end to a new file in another directory, durably."""
    source = directory.open(name)
    with closing_quietly(source):
        output = other.create(new)
        with closing_quietly(output):
            copy(source, output, begin, source.size)
            output.sync()


def _create_again(directory: Directory, name: str) -> Output:
    try:
        return directory.create(name)
    except FileExistsError:  # left by a process that was killed
        directory.remove(name)
        return directory.create(name)


@contextlib.contextmanager
def new_file(directory: Directory, name: str) -> Iterator[Output]:
    """Write a file that appears as a whole or not at all; it may replace an older one.

    It exists, and is durable, once the block has ended. If the block fails, the partial file is
    removed, if the file system allows that.
    """
    begun = temporary(name)
    try:
        output = _create_again(directory, begun)
        with closing_quietly(output):
            yield output
            output.sync()
        directory.rename(begun, name)
    except BaseException:
        with contextlib.suppress(OSError):
            directory.remove(begun)
        raise
    directory.sync()


def add_file(directory: LocalDirectory, name: str, parts: Iterable[Any]) -> bool:
    """Write a file that appears as a whole, or return False if there is one of this name.

    Either is durable then. A process that is killed may leave a file whose name `is_begun`.
    """
    begun = f".{temporary(uuid.uuid4().hex)}"
    output = directory.create(begun)
    try:
        with closing_quietly(output):
            for part in parts:
                write_all(output, part)
            output.sync()
        is_new = directory.link(begun, name)
    finally:
        with contextlib.suppress(OSError):
            directory.remove(begun)
    directory.sync()
    return is_new


def is_begun(name: str) -> bool:
    """Return whether a file of this name is one that `add_file` has not finished."""
    return name.startswith(".")


@contextlib.contextmanager
def storage_errors(doing: str, path: str) -> Iterator[None]:
    """Turn an `OSError` of a ``with`` block into a `StorageError`, except `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:  # pruned while it was read: the reader starts over
        raise
    except OSError as error:
        raise StorageError(
            f"{doing} {path} failed: {error}\n"
            "Check that you may read and write this directory.\n"
            "Check that the disk is there and has room, then run it again."
        ) from error
