"""Restores a run from its replica: the files of the run, and its output files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from trax import notices
from trax.replica.ahead import ahead
from trax.replica.chain import Chain
from trax.replica.entry import Data, Part, Piece, output_name
from trax.replica.local_files import output_path
from trax.replica.marker import Marker, write_marker
from trax.storage.filenames import temporary
from trax.storage.filesystem import Directory, Output, make_private, move, write_all
from trax.storage.process import process
from trax.storage.records import DURABLE_OFFSET, encode_durable
from trax.storage.store import Store
from trax.tracking.truncate import is_ours

__all__ = ["bring", "bring_output", "restore"]

_UNFORCED = 64 << 20  # bytes that are written before the disk is told to begin


class _RunFile:
    """A file of the run, whose bytes come in order."""

    def __init__(self, output: Output, durable: int | None) -> None:
        self._output = output
        self._durable = durable
        self._end = 0

    def put(self, offset: int, data: bytes | memoryview) -> bool:
        """Write bytes; return False if they are not the next ones."""
        if offset != self._end:
            return False
        write_all(self._output, data)
        self._end += len(data)
        return True

    def force(self) -> None:
        """Force what was written."""
        self._output.sync()

    def finish(self, length: int) -> bool:
        """Force the file, with its durable mark; return False if bytes are missing."""
        if self._durable is not None:
            self._output.overwrite(DURABLE_OFFSET, encode_durable(self._durable))
        self.force()
        return length == self._end

    def close(self) -> None:
        self._output.close()


class _OutputFile:
    """An output file that is written beside its place, until it is whole.

    Attributes
    ----------
    path : str
        Its place.
    is_brought : bool
        Whether it was put there, since there was none, or a shorter one, or another one.
    """

    def __init__(self, path: str) -> None:
        make_private(os.path.dirname(path))
        self.path = path
        self.is_brought = False
        self._begun = temporary(f"{path}.replica")
        with contextlib.suppress(FileNotFoundError):  # left by a process that was killed
            os.remove(self._begun)
        self._fd = os.open(self._begun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def put(self, offset: int, data: bytes | memoryview) -> bool:
        """Write bytes; they may replace some that were cut off the file."""
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], offset + done)
        return True

    def force(self) -> None:
        """Force what was written."""
        process.force(self._fd)

    def finish(self, length: int) -> bool:
        """Put the file into its place, unless it is there; one with other bytes is kept beside."""
        if os.fstat(self._fd).st_size < length:
            return False
        os.ftruncate(self._fd, length)
        self.force()
        if os.path.lexists(self.path):
            present = os.stat(self.path).st_size
            if not self._is_same(min(present, length)):
                kept = _free(self.path)
                move(self.path, kept)
                notices.warn(
                    f"{self.path} had other content than in the replica; it is kept as {kept}"
                )
            elif present >= length:
                return True
        move(self._begun, self.path)
        self.is_brought = True
        return True

    def _is_same(self, length: int) -> bool:
        """Return whether the file that is in its place begins with the same bytes."""
        with open(self.path, "rb") as one, open(self._begun, "rb") as other:
            while length:
                expected = other.read(min(length, 1 << 20))
                if one.read(len(expected)) != expected:
                    return False
                length -= len(expected)
        return True

    def close(self) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._begun)


def _free(path: str) -> str:
    number = 1
    while os.path.lexists(found := f"{path}~{number}"):
        number += 1
    return found


def bring(chain: Chain, last: str, data: Data, store: Store, *, keeps: bool) -> dict[str, int]:
    """Replace the files of a run that is locked by those of its replica; it may be claimed or not.

    `last` and `data` are those of `Chain.look_back`. If `keeps`, the present files stay in aside.

    Returns
    -------
    dict of str to int
        The paths of output files that were brought, and their lengths.

    Raises
    ------
    CorruptionError
        The replica is damaged.
    LockedError, Moved
        Another writer has claimed the run meanwhile, or goes on.
    """
    with store.replacing(chain.name, keeps=keeps) as directory:
        outputs = restore(chain, data, directory, store.path)
        marker = Marker(chain.objects.url, [chain.writer], copied=data.newest, history=data.lineage)
        write_marker(directory, marker.seeing(last, data))
    return outputs


def bring_output(chain: Chain, data: Data, file: str, store: str) -> str:
    """Bring an output file that is missing or too short here, and return its path.

    One that is there with other content is kept beside.
    """
    name, length = output_name(file), data.whole[file]
    assert name is not None
    output = _OutputFile(_checked(chain, store, name))
    with contextlib.closing(output):
        for part, content in _contents(chain, replace(data, files={file: length}, cut={})):
            output.put(part.offset, content)
        if not output.finish(length):
            raise chain.damaged(file, f"it has not {length:,} bytes")
    return output.path


def restore(chain: Chain, data: Data, directory: Directory, store: str) -> dict[str, int]:
    """Write the files that a replica has after `data` to a new directory, and its output files.

    Returns the paths of output files that were brought, and their lengths.
    """
    with contextlib.ExitStack() as closing:
        files: dict[str, _RunFile | _OutputFile] = {}
        for file in data.whole:
            name = output_name(file)
            if name is not None:
                files[file] = _OutputFile(_checked(chain, store, name))
            else:
                files[file] = _RunFile(directory.create(file), data.durable(file))
            closing.callback(files[file].close)
        _write(chain, data, files)
        for file, length in data.whole.items():
            if not files[file].finish(length):
                raise chain.damaged(file, f"it has not {length:,} bytes")
    outputs = ((file, files[file]) for file in data.whole)
    return {
        output.path: data.whole[file]
        for file, output in outputs
        if isinstance(output, _OutputFile) and output.is_brought
    }


def _write(chain: Chain, data: Data, files: Mapping[str, _RunFile | _OutputFile]) -> None:
    """Write the bytes of the files, and force them meanwhile: the disk may be the slowest."""
    forcing: Future[None] | None = None
    unforced = 0
    with ThreadPoolExecutor(1) as pool:
        for part, content in _contents(chain, data):
            file = files[part.file]
            if not file.put(part.offset, content):
                raise chain.damaged(part.file, f"its bytes before {part.offset:,} are missing")
            unforced += len(content)
            if unforced >= _UNFORCED:
                if forcing is not None:
                    forcing.result()  # the disk tells of an error once, and not at the end
                forcing, unforced = pool.submit(file.force), 0
    if forcing is not None:
        forcing.result()


def _contents(chain: Chain, data: Data) -> Iterator[tuple[Part, memoryview]]:
    """Yield the bytes of the files from the image on, in the order in which they were put."""
    lengths = data.whole
    for entry, content in ahead(chain.read, data.needed):
        if isinstance(entry, Data):
            pieces = [piece for piece in entry.pieces if piece.file in lengths]
            for part, body in ahead(partial(_fetched, chain), pieces):
                yield from _clipped(part, body, lengths)
            begin = 0
            for part in entry.parts:
                yield from _clipped(part, content[begin : begin + part.length], lengths)
                begin += part.length


def _fetched(chain: Chain, piece: Piece) -> tuple[Part, memoryview]:
    body = memoryview(chain.fetch(piece.key))
    if hashlib.sha256(body).hexdigest() != piece.sha256:
        raise chain.damaged(piece.key, "it has other bytes than were written")
    return Part(*piece[:3]), body


def _clipped(
    part: Part, content: memoryview, lengths: Mapping[str, int]
) -> Iterator[tuple[Part, memoryview]]:
    """Yield the bytes that are in the file now: it may be shorter, or not be there."""
    left = lengths.get(part.file, 0) - part.offset
    if left > 0:
        yield part, content[:left]


def _checked(chain: Chain, store: str, name: str) -> str:
    path = output_path(store, name)
    if "\0" in name or is_ours(store, path):
        raise chain.damaged(chain.name, f"impossible output file {name!r}")
    return path
