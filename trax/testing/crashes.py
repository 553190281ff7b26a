"""A model of a disk, and of the files that a power cut can leave on it.

A `Disk` is given every operation. Data that was forced is durable. `Disk.images` yields the files
that a power cut can leave, each with a choice of the operations that were not forced:

- Writes: all, none, all up to one, all but one, all of one file or all but those. The last one to
  arrive is torn at a sector, at a page or, after the end of the file, in the middle. If a write
  made a file longer, the new length may arrive without the data, which is zeros then. A sector
  that is overwritten is either the old one or the new one.
- Names: the changes in one directory arrive in order, and each directory by itself. A rename is one
  change, even from one directory to another. A name is durable only after its directory was forced,
  no matter how much of the file is.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["ROOT", "Disk", "Image", "Operation", "Tree", "crash_images"]

ROOT = -1
_SECTOR = 512
_PAGE = 4096
_MANY = 16  # the largest number of sectors or pages of one write after which it is torn

# The files by their paths; a directory has a slash at the end of its path, and no content.
Image = dict[str, bytes]


class Operation(NamedTuple):
    """One call that changes the tree: its kind, the number of the file, and the arguments.

    =================== ======================================================================
    ``create``          a new file, as `name` in `directory`
    ``mkdir``           a new directory, likewise
    ``link``            a further name for an existing file
    ``rename``          from `name` in `directory` to `other` in `target`
    ``remove``          a name of a file, or an empty directory
    ``write``           `data` at `offset`
    ``truncate``        to the length `offset`
    ``sync``            all writes to the file are durable
    ``sync directory``  the names in the directory `file` are durable
    =================== ======================================================================

    Anything else changes nothing.
    """

    kind: str
    file: int = ROOT
    offset: int = 0
    data: bytes = b""
    name: str = ""
    other: str = ""
    directory: int = ROOT
    target: int = ROOT

    @property
    def directories(self) -> set[int]:
        """The directories whose names it changes."""
        return {self.directory, self.target} if self.kind == "rename" else {self.directory}


class Tree:
    """A tree of directories and files.

    Attributes
    ----------
    contents : dict of int to bytearray
        The content of each file, by number.
    entries : dict of int to dict of str to int
        The entries of each directory: numbers of files and directories, by name.
    """

    def __init__(self) -> None:
        self.contents: dict[int, bytearray] = {}
        self.entries: dict[int, dict[str, int]] = {ROOT: {}}

    def apply(self, operation: Operation) -> None:
        """Carry out an operation."""
        if operation.kind == "write":
            _write(self.contents[operation.file], operation)
        elif operation.kind == "truncate":
            del self.contents[operation.file][operation.offset :]
        elif operation.kind == "create":
            self.contents[operation.file] = bytearray()
        elif operation.kind == "mkdir":
            self.entries[operation.file] = {}
        self.name(operation)

    def name(self, operation: Operation) -> None:
        """Carry out the changes of names in an operation, except for names that are missing."""
        entries = self.entries[operation.directory]
        if operation.kind in ("create", "mkdir", "link"):
            entries[operation.name] = operation.file
        elif operation.kind == "rename" and operation.name in entries:
            self.entries[operation.target][operation.other] = entries.pop(operation.name)
        elif operation.kind == "remove":
            entries.pop(operation.name, None)

    def image(self) -> Image:
        """Return the contents of all files, by path."""
        image: Image = {}
        self._collect(ROOT, "", image)
        return image

    def _collect(self, directory: int, prefix: str, image: Image) -> None:
        for name, number in self.entries[directory].items():
            if number in self.entries:
                image[f"{prefix}{name}/"] = b""
                self._collect(number, f"{prefix}{name}/", image)
            else:
                image[f"{prefix}{name}"] = bytes(self.contents[number])


class Disk:
    """A tree, and beside it the part that is durable and the operations that are not yet.

    Attributes
    ----------
    live : Tree
        The tree that every process sees.
    """

    def __init__(self) -> None:
        self.live = Tree()
        self._durable = Tree()
        self._writes: list[Operation] = []
        self._names: list[Operation] = []

    def apply(self, operation: Operation) -> None:
        """Carry out an operation."""
        self.live.apply(operation)
        kind, file = operation.kind, operation.file
        if kind == "sync":
            self._durable.contents[file] = self.live.contents[file].copy()
            self._writes = [write for write in self._writes if write.file != file]
        elif kind == "sync directory":
            self._sync_names(file)
        elif kind in ("write", "truncate"):
            self._writes.append(operation)
        elif kind in ("create", "mkdir", "link", "rename", "remove"):
            self._names.append(operation)
            if kind == "create":
                self._durable.contents[file] = bytearray()
            elif kind == "mkdir":
                self._durable.entries[file] = {}

    def _sync_names(self, directory: int) -> None:
        """Make the changes in a directory durable, and earlier ones where a rename links them."""
        needed = {directory}
        arrived: list[Operation] = []
        left: list[Operation] = []
        for operation in reversed(self._names):
            if operation.directories & needed:
                needed |= operation.directories
                arrived.append(operation)
            else:
                left.append(operation)
        for operation in reversed(arrived):
            self._durable.name(operation)
        self._names = left[::-1]

    def images(self, limit: int | None = None, rng: random.Random | None = None) -> Iterator[Image]:
        """Yield the images that a power cut could leave now, at most `limit` of them.

        Parameters
        ----------
        limit : int, optional
            The largest number of images. If there are more, they are drawn at random: most from
            the choices in the module's docstring, some from any mixture of writes.
        rng : random.Random, optional
            The RNG for drawing them.
        """
        names = list(self._choose_names())
        writes = list(dict.fromkeys(self._choose_writes()))
        if limit is None or len(names) * len(writes) <= limit:
            for names_arrived, arrived in itertools.product(names, writes):
                yield self._image(names_arrived, arrived)
            return
        rng = rng or random.Random(0)  # noqa: S311  # nothing is secret here
        for _ in range(limit):
            mixed = rng.random() < 0.3
            arrived = self._mix_writes(rng) if mixed else rng.choice(writes)
            yield self._image(rng.choice(names), arrived)

    def _image(self, names: Iterable[Operation], writes: Iterable[Operation]) -> Image:
        after = Tree()
        after.contents = dict(self._durable.contents)
        after.entries = {number: dict(names) for number, names in self._durable.entries.items()}
        for operation in names:
            after.name(operation)
        for file in {write.file for write in writes}:
            after.contents[file] = after.contents[file].copy()
        for write in writes:
            after.apply(write)
        return after.image()

    def _choose_names(self) -> Iterator[list[Operation]]:
        """Yield the choices of unforced changes of names that can have arrived together."""
        by_directory: dict[int, list[int]] = {}
        for number, operation in enumerate(self._names):
            for directory in operation.directories:
                by_directory.setdefault(directory, []).append(number)
        for lengths in itertools.product(*(range(len(n) + 1) for n in by_directory.values())):
            arrived = {
                directory: set(numbers[:length])
                for (directory, numbers), length in zip(by_directory.items(), lengths, strict=True)
            }
            chosen = []
            for number, operation in enumerate(self._names):
                votes = {number in arrived[directory] for directory in operation.directories}
                if len(votes) > 1:  # half of a rename
                    break
                if votes.pop():
                    chosen.append(operation)
            else:
                yield chosen

    def _choose_writes(self) -> Iterator[tuple[Operation, ...]]:
        """Yield the choices of unforced writes that can have arrived together, whole or torn."""
        pending = tuple(self._writes)
        yield pending
        files = {write.file for write in pending}
        if len(files) > 1:
            for file in files:
                yield tuple(write for write in pending if write.file == file)
                yield tuple(write for write in pending if write.file != file)
        for index, write in enumerate(pending):
            before, after = pending[:index], pending[index + 1 :]
            yield before
            yield before + after
            for piece in self._pieces(write):
                yield (*before, piece)
                yield (*before, piece, *after)

    def _mix_writes(self, rng: random.Random) -> tuple[Operation, ...]:
        """Return any mixture of the writes to each file, each of them whole or torn."""
        often = {write.file: rng.random() for write in self._writes}
        arrived: list[Operation] = []
        for write in self._writes:
            pieces = list(self._pieces(write))
            if rng.random() < often[write.file]:
                arrived.append(write)
            elif pieces and rng.random() < 0.3:
                arrived.append(rng.choice(pieces))
        return tuple(arrived)

    def _pieces(self, write: Operation) -> Iterator[Operation]:
        """Yield the parts of a write that may arrive: its beginning; its length without data."""
        length = len(self._durable.contents[write.file])
        is_appended = write.offset >= length
        size = len(write.data)
        if is_appended and size:
            yield write._replace(data=bytes(size))
        for torn in _tears(write.offset, size, is_appended=is_appended):
            yield write._replace(data=write.data[:torn])
            if is_appended:
                yield write._replace(data=write.data[:torn].ljust(size, b"\0"))


def crash_images(operations: Sequence[Operation]) -> Iterator[Image]:
    """Yield the files that a power cut right after these operations could leave."""
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
    yield from disk.images()


def _write(content: bytearray, operation: Operation) -> None:
    offset = operation.offset
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(operation.data)] = operation.data


def _tears(offset: int, size: int, *, is_appended: bool) -> list[int]:
    """Return the lengths, in bytes, at which a write can be torn."""
    tears = {size // 2} if is_appended else set()
    for unit in (_SECTOR, _PAGE):
        places = range(unit - offset % unit, size, unit)
        tears.update([*places[: _MANY // 2], *places[-_MANY // 2 :]])
    return sorted(tears - {0})
