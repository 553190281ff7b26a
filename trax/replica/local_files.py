"""The files of a held run as a replica copies them: those that are forced, and output files."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from trax.replica.entry import Data, output_name
from trax.storage.filenames import JOURNAL, FileName
from trax.storage.filesystem import Directory, Input
from trax.storage.journal import RUNNING, STATUS_SIZE, read_status
from trax.storage.records import HEADER_SIZE

__all__ = ["LocalFiles", "Look", "Source", "contains", "is_part", "newest_log", "output_path"]

_CHECK = slice(HEADER_SIZE - 8, HEADER_SIZE)  # the checksum of a header block


class Source(Protocol):
    """What is known of a run whose files nobody else changes, as `RunWriter` has it."""

    run: str
    outputs: set[str]

    def sync(self) -> None:
        """Force the output files and the log."""

    def forced(self) -> tuple[int, int | None]:
        """Return the newest log of the run, and its forced length; None if all of it is final."""


class Look(NamedTuple):
    """The files at one moment.

    Attributes
    ----------
    files : dict of str to int
        The output files and then the logs, oldest first, with the lengths that are forced.
    checkpoint : FileName or None
        The newest checkpoint, if its log is among them.
    size : int
        Its length.
    status : dict
        The status in the journal before; no place in it lies beyond these lengths.
    """

    files: dict[str, int]
    checkpoint: FileName | None
    size: int
    status: dict[str, Any]

    @property
    def generation(self) -> int:
        """The generation of the newest checkpoint; 0 if there is none."""
        return self.checkpoint.generation if self.checkpoint else 0


class LocalFiles:
    """The files of a run that is held; paths of output files begin at `store`."""

    def __init__(self, writer: Source, directory: Directory, store: str) -> None:
        self.directory = directory
        self._writer = writer
        self._store = store
        self._kept: dict[str, Input] = {}

    @property
    def run(self) -> str:
        """The run's identity."""
        return self._writer.run

    def look(self) -> Look:
        """Force the log and the output files; return the lengths that are forced.

        The order matters. What a log refers to is in the output files before, and is still there
        when their lengths are taken after that of the log. A log is final once there is a later
        one.
        """
        status = self._status()
        outputs = sorted(self._writer.outputs)  # the log has the notes of these
        self._writer.sync()
        last, length = self._writer.forced()
        names = sorted(filter(None, map(FileName.parse, self.directory.list())))
        logs: dict[str, int] = {}
        for name in names:
            if name.kind == "log" and name.generation <= last:
                with contextlib.suppress(FileNotFoundError):  # it was pruned just now
                    logs[str(name)] = self._size(str(name))
                if name.generation == last and length is not None:
                    logs[str(name)] = length
        files = {f"output {name}": self._output_size(name) for name in outputs}
        stored = [n for n in names if n.kind == "checkpoint" and f"log-{n.generation:08d}" in logs]
        for name in reversed(stored):
            with contextlib.suppress(FileNotFoundError):
                return Look({**files, **logs}, name, self._size(str(name)), status)
        return Look({**files, **logs}, None, 0, status)

    def _status(self) -> dict[str, Any]:
        """Return the status in the journal; nothing if there is none, or no valid one."""
        with contextlib.suppress(OSError), _opened(self.directory, JOURNAL) as source:
            status = read_status(bytes(source.read_at(0, STATUS_SIZE)), self.directory.key)
            if status and source.size > status["length"]:  # this process has just begun
                status |= {"state": RUNNING, "resumes": status["resumes"] + 1}
                status |= {"host": socket.gethostname(), "pid": os.getpid()}
            return status
        return {}

    def size_of(self, file: str) -> int:
        """Return the present length of an output file; 0 if it is missing."""
        return self._output_size(output_name(file) or "")

    def read(self, file: str, offset: int, length: int) -> bytes | bytearray:
        """Return bytes of a file, all of them.

        Raises
        ------
        OSError
            They cannot be read, or are not there any more.
        """
        name = output_name(file)
        if name is None:
            data: bytes | bytearray = self._read(file, offset, length)
        else:
            fd = os.open(output_path(self._store, name), os.O_RDONLY | os.O_CLOEXEC)
            with open(fd, "rb") as source:
                source.seek(offset)
                data = source.read(length)
        if len(data) != length:
            raise OSError(f"{file} became shorter while it was copied")
        return data

    def check_of(self, log: str) -> str:
        """Return the checksum of the header block of a log."""
        return self._read(log, 0, HEADER_SIZE)[_CHECK].hex()

    def keep(self, name: FileName) -> None:
        """Keep a file open, so that it can be read even if it is pruned."""
        self._kept[str(name)] = self.directory.open(str(name))

    def release(self) -> None:
        """Release the files that were kept open."""
        while self._kept:
            self._kept.popitem()[1].close()

    def _read(self, file: str, offset: int, length: int) -> bytearray:
        if file in self._kept:
            return self._kept[file].read_at(offset, length)
        with _opened(self.directory, file) as source:
            return source.read_at(offset, length)

    def _size(self, file: str) -> int:
        with _opened(self.directory, file) as source:
            return source.size

    def _output_size(self, name: str) -> int:
        try:
            return os.stat(output_path(self._store, name)).st_size
        except FileNotFoundError:
            return 0


@contextlib.contextmanager
def _opened(directory: Directory, file: str) -> Iterator[Input]:
    source = directory.open(file)
    try:
        yield source
    finally:
        source.close()


def output_path(store: str, name: str) -> str:
    """Return the path of an output file, whose name begins at the store unless it is absolute."""
    return os.path.normpath(os.path.join(store, name))


def contains(directory: Directory, data: Data, *, pruned: bool = True) -> bool:
    """Return whether the files of a run have all that a replica has.

    If `pruned`, a file may be missing if there is a later checkpoint: it was pruned. The header
    block of a log tells it from any other one, and logs only grow.
    """
    names = directory.list()
    stored = [name for name in map(FileName.parse, names) if name and name.kind == "checkpoint"]
    newest = max((name.generation for name in stored), default=0) if pruned else 0
    for file, length in data.whole.items():
        name = FileName.parse(file)
        if name is None:  # an output file: it is compared when the run is opened
            continue
        if file not in names:
            if name.generation >= newest:
                return False
            continue
        size, check = _identity(directory, file)
        if size < length or data.checks.get(file, check) != check:
            return False
    return True


def newest_log(directory: Directory) -> FileName | None:
    """Return the newest log of a run; None if there is none."""
    names = filter(None, map(FileName.parse, directory.list()))
    return max((name for name in names if name.kind == "log"), default=None)


def is_part(directory: Directory, data: Data) -> bool:
    """Return whether a replica goes on from the files of a run: it has the newest ones."""
    names = filter(None, map(FileName.parse, directory.list()))
    stored = [name.generation for name in names if name.kind == "checkpoint"]
    log = str(newest_log(directory))
    if log not in data.whole or max(stored, default=0) > data.base:
        return False
    size, check = _identity(directory, log)
    return size <= data.whole[log] and data.checks.get(log) == check


def _identity(directory: Directory, file: str) -> tuple[int, str]:
    """Return the size of a file, and the checksum of its header block."""
    with _opened(directory, file) as source:
        return source.size, source.read_at(0, HEADER_SIZE)[_CHECK].hex()
