"""A directory in memory that records every operation, so that crashes can be enumerated.

`MemoryDirectory` behaves like the local disk. `crash_images` takes any number of its operations and
yields the files that a power cut right after them could leave.
"""

from __future__ import annotations

import errno
from typing import Any

from trax.storage.signing import Key
from trax.testing.crashes import ROOT, Operation, Tree, crash_images

__all__ = ["MemoryDirectory", "Operation", "crash_images"]


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

    def is_in_place(self) -> bool:
        return self._file in self._directory.names.values()

    def close(self) -> None: ...


class _Update(_Output):
    def read_at(self, offset: int, size: int) -> bytearray:
        return self._directory.contents[self._file][offset : offset + size]


class _Input:
    def __init__(self, content: bytearray) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, size: int) -> bytearray:
        return self._content[offset : offset + size]

    def read_into(self, offset: int, memory: memoryview) -> int:
        data = self.read_at(offset, len(memory))
        memory[: len(data)] = data
        return len(data)

    def close(self) -> None: ...


class MemoryDirectory:
    """The files of one run, in memory.

    Parameters
    ----------
    files : dict of str to bytes, optional
        The files at first, all durable.
    boot : str, optional
        The boot id of the machine that the directory appears to be on.
    key : Key, optional
        The key that its files are signed with.

    Attributes
    ----------
    operations : list of Operation
        All operations that changed it, in order.
    """

    path = "<memory>"

    def __init__(
        self, files: dict[str, bytes] | None = None, boot: str = "boot-1", key: Key | None = None
    ) -> None:
        self.boot = boot
        self.key = key
        self.operations: list[Operation] = []
        self._tree = Tree()
        self.contents = self._tree.contents
        self.names = self._tree.entries[ROOT]
        for name, content in (files or {}).items():
            self.names[name] = len(self.contents)
            self.contents[len(self.contents)] = bytearray(content)

    def apply(self, operation: Operation) -> None:
        """Carry out an operation and record it."""
        self.operations.append(operation)
        self._tree.apply(operation)

    def list(self) -> list[str]:
        return list(self.names)

    def create(self, name: str) -> _Output:
        if name in self.names:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        file = len(self.contents)
        self.apply(Operation("create", file, name=name))
        return _Output(self, file)

    def update(self, name: str) -> _Update:
        if name not in self.names:
            self.create(name)
        return _Update(self, self.names[name])

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

    def is_in_place(self) -> bool:
        return True

    def close(self) -> None: ...

    def files(self) -> dict[str, bytes]:
        """Return the content of every file, by name."""
        return self._tree.image()

    def _find(self, name: str) -> int:
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return self.names[name]
