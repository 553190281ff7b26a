"""Records the operations of a process on a tree of directories on the real disk.

Strategy: the tree is compared with its last known form before and after every call that changes
names or forces anything, and around every write to a log or a checkpoint. Its names are compared,
the files that they refer to, and the contents of these. The operations are derived from the
differences, no matter which code caused them: so the real code runs, and the record shows its
actual effects, not its intentions. Nothing is forced while it is recorded, since the disk is a
model.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trax.storage.mutex import Mutex
from trax.storage.process import process
from trax.testing.crashes import ROOT, Image, Operation, Tree

__all__ = ["Recorder", "common", "replaced", "snapshot", "write_image"]

# The clock of a file system is coarse: two writes can get the same time. But if that time is older
# than this when a file is read, a later write gets another one.
_RACY = 50_000_000  # nanoseconds

_CALLS = (
    "mkdir",
    "rename",
    "replace",
    "remove",
    "unlink",
    "rmdir",
    "truncate",
    "ftruncate",
    "pwrite",
)

_File = tuple[int, int]  # its identity to the operating system: device and inode


class Recorder:
    """Records the operations on a tree.

    Parameters
    ----------
    root : str
        The directory.
    ignored : tuple of str
        Paths in it that are left out.
    before : sequence of Operation
        The operations that led to its present content, which may be durable in part. If they are
        left out, all of the content is durable.

    Attributes
    ----------
    operations : list of Operation
        The operations, in order; the first `begun` of them make the content at the beginning.
    marks : list
        The values that were given to `mark`, each with the number of operations until then.
    """

    def __init__(
        self, root: str, ignored: tuple[str, ...] = (), before: Sequence[Operation] = ()
    ) -> None:
        self.operations: list[Operation] = []
        self.marks: list[tuple[int, Any]] = []
        self._root = root
        self._ignored = {os.path.join(root, path) for path in ignored}
        self._tree = Tree()
        self._numbers: dict[_File, int] = {}
        self._open: dict[int, int] = {}  # by number: while a file is open, its inode is not reused
        self._seen: dict[int, tuple[int, int]] = {}
        self._next = 0
        self._guard = Mutex()
        if before:
            for operation in before:
                self._emit(operation)
            self._next = 1 + max(operation.file for operation in before)
            self._recognise(root, ROOT)
        self.observe()
        if not before:
            for file in self._tree.contents:
                self._emit(Operation("sync", file))
            for directory in self._tree.entries:
                self._emit(Operation("sync directory", directory))
        self.begun = len(self.operations)

    def mark(self, value: Any) -> None:
        """Record a value that applies from this operation on."""
        with self._guard:
            self.observe()
            self.marks.append((len(self.operations), value))

    def observe(self) -> None:
        """Record the changes since the last time."""
        with self._guard:
            while True:
                found: dict[int, dict[str, int]] = {}
                present: dict[int, os.stat_result] = {}
                try:
                    self._scan(self._root, ROOT, found, present)
                    break
                except FileNotFoundError:  # another thread has just removed it
                    continue
            self._compare_names(found)
            for file, status in present.items():
                self._compare_contents(file, status)
            self._forget(present.keys() | found.keys())

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Watch the calls of this process during a block."""
        watch = self._watched
        open_raw = process.raw

        def raw(fd: int) -> io.FileIO:
            file: Any = open_raw(fd)
            file.write, file.truncate = watch(file.write), watch(file.truncate)
            self.observe()
            opened: io.FileIO = file
            return opened

        calls = {name: watch(getattr(os, name)) for name in _CALLS}
        with (
            replaced(os, **calls, fsync=self._force, fdatasync=self._force),
            replaced(process, force=self._force, raw=raw),
        ):
            try:
                yield
            finally:
                self.observe()

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.observe()
            try:
                return call(*args, **kwargs)
            finally:
                self.observe()

        return watched

    def _force(self, file: Any) -> None:
        with self._guard:
            self.observe()
            fd = file if isinstance(file, int) else file.fileno()
            status = os.fstat(fd)
            number = self._numbers.get((status.st_dev, status.st_ino))
            if number is not None:
                is_directory = stat.S_ISDIR(status.st_mode)
                self._emit(Operation("sync directory" if is_directory else "sync", number))

    def _emit(self, operation: Operation) -> None:
        self.operations.append(operation)
        self._tree.apply(operation)

    def _scan(
        self,
        path: str,
        directory: int,
        found: dict[int, dict[str, int]],
        present: dict[int, os.stat_result],
    ) -> None:
        """Find all directories with their entries, and all files."""
        if directory == ROOT:
            status = os.stat(path)
            self._numbers[status.st_dev, status.st_ino] = ROOT
        names = found[directory] = {}
        with os.scandir(path) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
        for entry in inside:
            if entry.path in self._ignored:
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                names[entry.name] = number = self._number(status)
                self._scan(entry.path, number, found, present)
            elif stat.S_ISREG(status.st_mode):
                names[entry.name] = number = self._number(status, entry.path)
                present[number] = status

    def _recognise(self, path: str, directory: int) -> None:
        """Find the files on the disk that the recorded operations refer to by number."""
        for name, number in self._tree.entries[directory].items():
            inner = os.path.join(path, name)
            status = os.stat(inner)
            self._numbers[status.st_dev, status.st_ino] = number
            if number in self._tree.entries:
                self._recognise(inner, number)
            else:
                self._open[number] = os.open(inner, os.O_RDONLY | os.O_CLOEXEC)

    def _number(self, status: os.stat_result, path: str = "") -> int:
        key = status.st_dev, status.st_ino
        if key not in self._numbers:
            if path:
                self._open[self._next] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._numbers[key] = self._next
            self._next += 1
        return self._numbers[key]

    def _compare_names(self, found: dict[int, dict[str, int]]) -> None:
        before = self._tree.entries
        gone = [
            (directory, name, number)
            for directory, names in before.items()
            for name, number in names.items()
            if found.get(directory, {}).get(name) != number
        ]
        come = [
            (directory, name, number)
            for directory, names in found.items()
            for name, number in names.items()
            if before.get(directory, {}).get(name) != number
        ]
        moved = {number: (directory, name) for directory, name, number in gone}
        left = {number for _, _, number in come}
        for directory, name, number in reversed(gone):
            if number not in left and (directory, name) not in {place[:2] for place in come}:
                self._emit(Operation("remove", number, name=name, directory=directory))
        for directory, name, number in come:
            if number in moved:
                source, old = moved.pop(number)
                rename = Operation("rename", number, name=old, other=name)
                self._emit(rename._replace(directory=source, target=directory))
                continue
            kind = "mkdir" if number in found else "create"
            if number in self._tree.contents:
                kind = "link"
            self._emit(Operation(kind, number, name=name, directory=directory))

    def _compare_contents(self, file: int, status: os.stat_result) -> None:
        signature = status.st_size, status.st_mtime_ns
        if self._seen.get(file) == signature:
            return
        self._seen.pop(file, None)
        if time.time_ns() - status.st_mtime_ns > _RACY:
            self._seen[file] = signature
        old, new = self._tree.contents[file], _read(self._open[file])
        if old == new:
            return
        if len(new) < len(old):
            self._emit(Operation("truncate", file, len(new)))
        begin, end = _difference(old, new)
        if begin < end:
            self._emit(Operation("write", file, begin, new[begin:end]))

    def _forget(self, present: set[int]) -> None:
        """Close files that have no name any more; another file may get their inodes from now on."""
        for key, number in list(self._numbers.items()):
            if number not in present:
                del self._numbers[key]
                if number in self._open:
                    os.close(self._open.pop(number))


def _read(fd: int) -> bytes:
    pieces = []
    offset = 0
    while piece := os.pread(fd, 1 << 20, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _difference(old: bytes | bytearray, new: bytes) -> tuple[int, int]:
    """Return the begin and the end of the bytes that have changed."""
    begin = common(old, new)
    if len(new) > len(old):
        return begin, len(new)
    return begin, len(new) - common(old[begin : len(new)][::-1], new[begin:][::-1])


def common(one: bytes | bytearray, two: bytes | bytearray) -> int:
    """Return the length of the common beginning of both, in bytes."""
    begin, end = 0, min(len(one), len(two))
    while begin < end:
        middle = (begin + end + 1) // 2
        if one[begin:middle] == two[begin:middle]:
            begin = middle
        else:
            end = middle - 1
    return begin


@contextlib.contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Replace attributes during a block."""
    before = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def snapshot(root: str) -> Image:
    """Return the content of a directory, as an image."""
    image: Image = {}
    for path, directories, names in os.walk(root):
        directories.sort()
        prefix = "" if path == root else f"{os.path.relpath(path, root)}/"
        image.update((f"{prefix}{name}/", b"") for name in directories)
        for name in sorted(names):
            with open(os.path.join(path, name), "rb") as file:
                image[f"{prefix}{name}"] = file.read()
    return image


def write_image(image: Image, root: str) -> None:
    """Write the files of an image into an empty directory, accessible to the owner only."""
    for name, content in image.items():
        path = os.path.join(root, name)
        if name.endswith("/"):
            os.mkdir(path, 0o700)
        else:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(content)
