"""Stores files that are open for reading as their path and position, and opens them again.

Strategy: the position of a text file is that of the text which it has handed out, not that up to
which it has read ahead; while a loop goes over its lines, it does not tell that, so it is found in
its memory. What was read is digested, piece by piece as the loop proceeds, and compared when the
file is opened again: a file that only becomes longer, or whose later lines are corrected, will do.

Pickles refer to the public functions of this module by name.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import os
import stat
import weakref
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from xxhash import xxh3_128

from trax.errors import CodecError
from trax.frames.itertools_state import skip
from trax.frames.loading import note_file
from trax.frames.object_memory import Memory
from trax.frames.slots import begun
from trax.storage.refusals import RefusedError

__all__ = [
    "COMPRESSED",
    "FILES",
    "Opened",
    "closed_file",
    "compressed_file",
    "csv_reader",
    "open_bytes",
    "open_text",
    "progress",
    "reduce_compressed",
    "text_over",
]

_WRITING: Final = "Open a file for output with trax.open, or inside of the step."
_READING: Final = "Read it before the loop, or open it inside of the step."
_PIPE: Final = "Read it into a list before the loop: `lines = [*file]`."
_PIECE: Final = 1 << 20


class Opened(NamedTuple):
    """A file that is open for reading.

    Attributes
    ----------
    name : str
        The path as it was given.
    path : str
        The absolute path.
    position : int
        The byte that comes next.
    digest : bytes
        The digest of the bytes before it.
    size, changed : int
        The size of the file, and the time at which it was changed, in nanoseconds.
    """

    name: str
    path: str
    position: int
    digest: bytes
    size: int
    changed: int


_digests: weakref.WeakKeyDictionary[Any, tuple[Any, int]] = weakref.WeakKeyDictionary()


def _describe(file: Any, raw: Any, position: int) -> Opened:
    """Describe an open file; `raw` is the one that it reads from."""
    name = raw.name
    if isinstance(name, os.PathLike | bytes):
        name = os.fsdecode(name)
    if not isinstance(name, str):
        raise RefusedError(file, _READING, "it was opened without a path")
    path = os.path.abspath(name)
    about = os.fstat(raw.fileno())
    try:
        is_there = os.path.samestat(os.stat(path), about)
    except OSError:
        is_there = False
    if not is_there or not stat.S_ISREG(about.st_mode):
        raise RefusedError(file, _READING, f"there is no such regular file as {name!r} any more")
    digest = _digest(raw, position)
    return Opened(name, path, position, digest, about.st_size, about.st_mtime_ns)


def _digest(raw: Any, position: int) -> bytes:
    """Return the digest of the bytes before a position; none is read twice for this."""
    digest, end = _digests.get(raw, (None, 0))
    if digest is None or end > position:
        digest, end = xxh3_128(), 0
    while end < position:
        piece = os.pread(raw.fileno(), min(_PIECE, position - end), end)
        if not piece:
            break
        digest.update(piece)
        end += len(piece)
    _digests[raw] = digest, end
    return bytes(digest.digest())


def _open(opened: Opened) -> Any:
    """Open a file again, at its position."""
    is_here = os.path.abspath(opened.name) == opened.path or not os.path.exists(opened.path)
    name = opened.name if is_here else opened.path
    try:
        file = open(name, "rb")  # noqa: SIM115
    except OSError as error:
        raise CodecError(
            f"{opened.name!r}, which the loop reads, cannot be opened: {error.strerror}.\n"
            "Put the file back, or start over with the function's fresh(...)."
        ) from error
    about = os.fstat(file.fileno())
    is_same = (about.st_size, about.st_mtime_ns) == (opened.size, opened.changed)
    if not is_same and _digest(file.raw, opened.position) != opened.digest:
        file.close()
        raise CodecError(
            f"the part of {opened.name!r} that the loop has read was changed.\n"
            "Put the file back as it was, or start over with the function's fresh(...)."
        )
    file.seek(opened.position)
    return file


def _noted(file: Any) -> Any:
    note_file(file)
    return file


def closed_file() -> Any:
    """Return a file that is closed."""
    file = io.BytesIO()
    file.close()
    return file


# -- bytes ---------------------------------------------------------------------------------


def _bytes(file: Any) -> Any:
    """Reduce a file of bytes."""
    if file.closed:
        return closed_file, ()
    raw = getattr(file, "raw", file)
    _check_reading(file)
    if not isinstance(raw, io.FileIO):
        raise RefusedError(file, _READING, "it reads from something else than a file")
    return open_bytes, (_describe(file, raw, file.tell()), file is raw)


def _check_reading(file: Any) -> None:
    if file.writable() or not file.readable():
        raise RefusedError(file, _WRITING, "it is open for writing")
    if not file.seekable():
        name = getattr(file, "name", "it")
        raise RefusedError(file, _PIPE, f"{name} is no file, and can be read only once")


def open_bytes(opened: Opened, is_raw: bool) -> Any:
    """Return a file of bytes."""
    file = _open(opened)
    return _noted(file.detach() if is_raw else file)


def reduce_compressed(file: Any) -> Any:
    """Reduce a file of gzip, bz2 or lzma, at its position in the data."""
    if file.closed:
        return closed_file, ()
    _check_reading(file)
    raw: Any = file
    for _ in range(3):  # a compressed file, a buffer, a file
        for name in ("fileobj", "_fp", "raw"):
            raw = getattr(raw, name, None) or raw
    if not isinstance(raw, io.FileIO):
        raise RefusedError(file, _READING, "it reads from something else than a file")
    position = file.tell()
    return compressed_file, (type(file), _describe(file, raw, raw.tell()), position)


def compressed_file(kind: Any, opened: Opened, position: int) -> Any:
    """Return a file of gzip, bz2 or lzma."""
    _open(opened).close()  # it is the same
    is_here = os.path.abspath(opened.name) == opened.path
    file = kind(opened.name if is_here else opened.path)
    file.seek(position)
    return _noted(file)


# -- text ----------------------------------------------------------------------------------


@functools.cache
def _layout() -> tuple[int, int]:
    """Return which words of a text file are its present piece, and the argument `newline`.

    The word after the piece is the number of its characters that were handed out.
    """
    probe = io.TextIOWrapper(io.BytesIO(b"ab\ncd\n"), "utf-8")
    next(probe)
    memory = Memory(probe)
    piece = next(one for one in memory.objects if one == "ab\ncd\n")
    place = memory.words.index(id(piece))
    assert memory.words[place + 1] == len("ab\n")
    newline = "\r\n"
    memory = Memory(io.TextIOWrapper(io.BytesIO(), "utf-8", newline=newline))
    found = next(one for one in memory.objects if one == newline)
    return place, memory.words.index(id(found))


def _text(file: Any) -> Any:
    """Reduce a text file."""
    if file.closed:
        return closed_file, ()
    _check_reading(file)
    memory = Memory(file)
    place, newline_place = _layout()
    newline = memory.get(newline_place) if memory.has(newline_place) else None
    pending = memory.get(place)[memory.words[place + 1] :] if memory.has(place) else ""
    position = _position(file, pending, newline)
    how = file.encoding, file.errors, newline
    raw = getattr(file.buffer, "raw", None)
    if isinstance(raw, io.FileIO):
        return open_text, (_describe(file, raw, position), *how)
    return text_over, (file.buffer, position, *how)


def progress(file: Any) -> Any:
    r"""Return what changes whenever something is read from a file; None if it tells nothing.

    Examples
    --------
    >>> text = io.TextIOWrapper(io.BytesIO(b"one\ntwo\n"))
    >>> before = progress(text)
    >>> next(text)
    'one\n'
    >>> progress(text) == before
    False
    """
    try:
        if not isinstance(file, io.TextIOWrapper):
            return file.tell()
        memory, (place, _) = Memory(file), _layout()
        handed_out = memory.words[place + 1] if memory.has(place) else 0
        return file.buffer.tell(), handed_out
    except (OSError, ValueError, RefusedError):
        return None


def _position(file: Any, pending: str, newline: str | None) -> int:
    """Return the byte at which the text begins that is read and not yet handed out."""
    buffer = file.buffer
    present = buffer.tell()
    end: int = present - _undecoded(file)
    if not pending:
        return end
    encoding = "utf-8" if file.encoding.lower() == "utf-8-sig" else file.encoding
    least = len(pending.encode(encoding, "replace"))
    most = min(end, least + pending.count("\n"))  # the end of a line may be two bytes
    buffer.seek(end - most)
    read = buffer.read(most)
    buffer.seek(present)
    for size in range(least, most + 1):
        if _decoded(read[most - size :], file, newline) == pending:
            return end - size
    raise RefusedError(file, _READING, f"its position is not known in the encoding {file.encoding}")


def _decoded(read: bytes, file: Any, newline: str | None) -> str | None:
    try:
        text: str = read.decode(file.encoding, file.errors)
    except UnicodeError:
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n") if newline is None else text


def _undecoded(file: Any) -> int:
    """Return the number of bytes that were read and are not yet text."""
    decoder = next((one for one in Memory(file).objects if hasattr(one, "decode")), None)
    if decoder is None or isinstance(decoder, str | bytes):
        return 0
    undecoded, flags = decoder.getstate()
    return len(undecoded) + (flags & 1 if isinstance(decoder, io.IncrementalNewlineDecoder) else 0)


def open_text(opened: Opened, encoding: str, errors: str, newline: str | None) -> Any:
    """Return a text file."""
    file = _noted(io.TextIOWrapper(_open(opened), encoding, errors, newline))
    file.mode = "r"  # as `open` sets it
    if opened.position:
        file.seek(opened.position)
    return file


def text_over(buffer: Any, position: int, encoding: str, errors: str, newline: str | None) -> Any:
    """Return a text file that reads from another file, such as a compressed one."""
    file = io.TextIOWrapper(buffer, encoding, errors, newline)
    file.seek(position)
    return file


# -- csv -----------------------------------------------------------------------------------

_FORMAT: Final = (
    *("delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting"),
    *("skipinitialspace", "strict"),
)


def _csv(reader: Any) -> Any:
    """Reduce a `csv.reader` to the lines that it goes over."""
    lines = next(one for one in Memory(reader).objects if hasattr(type(one), "__next__"))
    form = {name: getattr(reader.dialect, name) for name in _FORMAT}
    return csv_reader, (begun(lines), reader.line_num, form)


def csv_reader(lines: Iterator[str], count: int, form: dict[str, Any]) -> Any:
    """Return a `csv.reader` that has read some lines."""
    blank = itertools.repeat("", count)  # its number of lines cannot be set
    reader: Any = csv.reader(itertools.chain(blank, lines), **form)
    skip(reader, count)
    return reader


FILES: Final = {
    io.FileIO: _bytes,
    io.BufferedReader: _bytes,
    io.TextIOWrapper: _text,
    type(csv.reader(())): _csv,
}
COMPRESSED: Final = (("gzip", "GzipFile"), ("bz2", "BZ2File"), ("lzma", "LZMAFile"))
