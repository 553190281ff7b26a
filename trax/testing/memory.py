"""A directory in memory that remembers every operation, so that crashes can be enumerated.

`MemoryDirectory` behaves as the local disk does. `crash_images` replays any number of its
operations and yields the directories that a power cut at that instant could leave behind:
what was synced is there; what was not may be there, be missing, or be torn.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trax.storage.signing import Key

__all__ = ["MemoryDirectory", "Operation", "crash_images"]


class Operation(NamedTuple):
    """One call that changes the directory: what, which file (by number), and with what."""

    kind: str
    file: int = -1
    offset: int = 0
    data: bytes = b""
    name: str = ""
    other: str = ""


class _Output:
    def __init__(self, directory: MemoryDirectory, file: int) -> None:
        self._directory = directory
        self._file = file
        self._end = 0

    def write(self, data: Any, /) -> int:
        data = bytes(data)
        self._directory.apply(Operation("write", self._file, self._end, data))
        self._end += len(data)
        return len(data)

    def truncate(self, length: int) -> None:
        self._directory.apply(Operation("truncate", self._file, length))
        self._end = length

    def overwrite(self, offset: int, data: bytes) -> None:
        self._directory.apply(Operation("write", self._file, offset, data))

    def sync(self) -> None:
        self._directory.apply(Operation("sync", self._file))

    def close(self) -> None: ...


class _Input:
    def __init__(self, content: bytearray) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, size: int) -> bytearray:
        return self._content[offset : offset + size]

    def close(self) -> None: ...


class MemoryDirectory:
    """The files of one run, in memory.

    Parameters
    ----------
    files : dict of str to bytes, optional
        What is there, and durable, to begin with.
    boot : str, optional
        The boot that this directory pretends to live in.
    key : Key, optional
        What its files are signed with.

    Attributes
    ----------
    operations : list of Operation
        Everything that changed it, in order.
    """

    path = "<memory>"

    def __init__(
        self,
        files: dict[str, bytes] | None = None,
        boot: str = "boot-1",
        key: Key | None = None,
    ) -> None:
        self.boot = boot
        self.key = key
        self.operations: list[Operation] = []
        self.contents: dict[int, bytearray] = {}
        self.names: dict[str, int] = {}
        for name, content in (files or {}).items():
            self.names[name] = len(self.contents)
            self.contents[len(self.contents)] = bytearray(content)

    def apply(self, operation: Operation) -> None:
        """Carry out an operation and remember it."""
        self.operations.append(operation)
        kind, file, offset, data, name, other = operation
        if kind == "create":
            self.contents[file] = bytearray()
            self.names[name] = file
        elif kind == "write":
            content = self.contents[file]
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        elif kind == "truncate":
            del self.contents[file][offset:]
        elif kind == "rename":
            self.names[other] = self.names.pop(name)
        elif kind == "remove":
            del self.names[name]

    def list(self) -> list[str]:
        return list(self.names)

    def create(self, name: str) -> _Output:
        if name in self.names:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        file = len(self.contents)
        self.apply(Operation("create", file, name=name))
        return _Output(self, file)

    def open(self, name: str) -> _Input:
        return _Input(self.contents[self._find(name)])

    def cut(self, name: str, length: int, forced: int = 0) -> None:
        file = self._find(name)
        if len(self.contents[file]) > length:
            self.apply(Operation("truncate", file, length))
        if len(self.contents[file]) > forced:
            self.apply(Operation("write", file, forced, bytes(self.contents[file][forced:])))
        self.apply(Operation("sync", file))

    def rename(self, old: str, new: str) -> None:
        self.apply(Operation("rename", self._find(old), name=old, other=new))

    def remove(self, name: str) -> None:
        self.apply(Operation("remove", self._find(name), name=name))

    def sync(self) -> None:
        self.apply(Operation("sync directory"))

    def files(self) -> dict[str, bytes]:
        """Return the content of every file, by name."""
        return {name: bytes(self.contents[file]) for name, file in self.names.items()}

    def _find(self, name: str) -> int:
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return self.names[name]


class _Disk(MemoryDirectory):
    """A directory together with what of it is durable, and what is not yet."""

    def __init__(self, boot: str) -> None:
        super().__init__(boot=boot)
        self.durable_contents: dict[int, bytearray] = {}
        self.durable_names: dict[str, int] = {}
        self.pending_writes: dict[int, list[Operation]] = {}
        self.pending_names: list[Operation] = []

    def apply(self, operation: Operation) -> None:
        super().apply(operation)
        if operation.kind == "sync":
            self.durable_contents[operation.file] = bytearray(self.contents[operation.file])
            self.pending_writes.pop(operation.file, None)
        elif operation.kind == "sync directory":
            self.durable_names = dict(self.names)
            self.pending_names.clear()
        elif operation.kind in ("write", "truncate"):
            self.pending_writes.setdefault(operation.file, []).append(operation)
        else:
            self.pending_names.append(operation)

    def image(
        self, writes: dict[int, list[Operation]], names: Sequence[Operation]
    ) -> dict[str, bytes]:
        """Return the files as they are when of all that is pending just these arrived."""
        after = MemoryDirectory()
        after.contents = {
            file: bytearray(self.durable_contents.get(file, b"")) for file in self.contents
        }
        after.names = dict(self.durable_names)
        for operation in names:
            if operation.kind == "create":
                after.names[operation.name] = operation.file
            elif operation.name in after.names:
                after.apply(operation)
        for operations in writes.values():
            for operation in operations:
                after.apply(operation)
        return after.files()


def crash_images(
    operations: Sequence[Operation], boot: str = "boot-1"
) -> Iterator[dict[str, bytes]]:
    """Yield the files that a power cut right after these operations could leave.

    Of the writes that were not synced: all arrive, none does, all but one do, all up to one do,
    the last one is torn at every 512 bytes and in the middle. Of the changes of names that were
    not synced: all, none, or those up to one.
    """
    disk = _Disk(boot)
    for operation in operations:
        disk.apply(operation)
    pending = [write for writes in disk.pending_writes.values() for write in writes]
    for names in [disk.pending_names[:count] for count in range(len(disk.pending_names) + 1)]:
        for arrived in _subsets(pending):
            by_file: dict[int, list[Operation]] = {}
            for write in arrived:
                by_file.setdefault(write.file, []).append(write)
            yield disk.image(by_file, names)


def _subsets(pending: list[Operation]) -> Iterator[list[Operation]]:
    yield pending
    for index, write in enumerate(pending):
        yield pending[:index]
        yield pending[:index] + pending[index + 1 :]
        for size in sorted({len(write.data) // 2, *range(512, len(write.data), 512)}):
            torn = write._replace(data=write.data[:size])
            yield [*pending[:index], torn]
            yield [*pending[:index], torn, *pending[index + 1 :]]
