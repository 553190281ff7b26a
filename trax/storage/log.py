"""One log file: a header block, then the increments of one generation."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from xxhash import xxh3_64_intdigest

from trax.errors import DurabilityError, LockedError
from trax.storage.codec import Encoded
from trax.storage.filesystem import (
    Directory,
    Input,
    Output,
    closing_quietly,
    write_all,
    write_pieces,
)
from trax.storage.process import in_child
from trax.storage.records import (
    BEGINS,
    BUFFER,
    CLOUDPICKLE,
    CONTEXT,
    DURABLE_OFFSET,
    HEADER_SIZE,
    NOTE,
    PICKLE,
    READONLY_BUFFER,
    Damage,
    Records,
    _pack_word,
    decode_durable,
    decode_header,
    encode_durable,
    encode_header,
    follows,
    frame,
    header_signer,
    seal,
)
from trax.storage.signing import Key

_WHOLE = BEGINS | PICKLE
_FIRST = BEGINS | CONTEXT
_FIRSTS = (CONTEXT, NOTE)
_OBJECT = (PICKLE, CLOUDPICKLE, BUFFER, READONLY_BUFFER, CONTEXT, NOTE)

__all__ = ["LogReader", "LogWriter", "open_log"]


class LogWriter:
    """Appends increments to a new log file, which it makes durable first.

    Attributes
    ----------
    chain : int
        The checksum of the last record, or of the header block.
    end : int
        The length of the file, in bytes.
    count : int
        How many increments it holds.
    append : callable
        Appends one increment: `_append`, or `_append_always`.
    failure : Exception or None
        Why nothing more may be appended: after a failed sync the kernel may have dropped what
        it could not write and calls the rest clean, so the file is never trusted again.
    """

    def __init__(
        self,
        directory: Directory,
        name: str,
        fields: dict[str, Any],
        *,
        always: bool,
        failure: Exception | None = None,
    ) -> None:
        header = encode_header("log", fields, directory.key)
        self.file: Output = directory.create(name)
        try:
            write_all(self.file, header.block)
            self.file.sync()
            directory.sync()
        except BaseException:
            with contextlib.suppress(OSError):
                self.file.close()
            with contextlib.suppress(OSError):
                directory.remove(name)
            raise
        self.chain = header.chain
        self._signer = header.signer
        self.end = HEADER_SIZE
        self.count = 0
        self.failure = failure
        self.append = self._append_always if always else self._append
        self._path = f"{directory.path}/{name}"
        self._durable = self._marked = HEADER_SIZE
        self._is_mark_pending = False  # written, and not on the disk
        self._write: Callable[[Any], int] = self._refuse if failure else self.file.write
        _open_writers.add(self)

    def _append(self, increment: bytes | Encoded, context: bytes = b"") -> int:
        """Append one increment, as a plain pickle or as an `Encoded`, with its context.

        When this returns, it survives the death of the process; under ``sync="always"`` that of
        the machine too.

        Returns
        -------
        int
            The length of the log, in bytes.

        Raises
        ------
        DurabilityError
            The increment is not acknowledged; all before it are stored. It has left no trace,
            unless it was only the sync that failed: then `count` includes it.
        """
        if type(increment) is not bytes:
            return self._append_in_pieces(increment._replace(context=context))  # type: ignore[union-attr]
        before, chain, kind = b"", self.chain, _WHOLE
        if context:
            before = _pack_word(len(context) << 8 | _FIRST) + context
            chain = xxh3_64_intdigest(before, chain)
            before += _pack_word(chain)
            kind = PICKLE
        body = _pack_word(len(increment) << 8 | kind) + increment
        chain = xxh3_64_intdigest(body, chain)
        data = before + body + _pack_word(chain)
        signer = self._signer
        if signer is not None:
            sealed, chain, signer = seal((data,), chain, signer)
            data += sealed
        size = len(data)
        try:
            done = self._write(data)
            if done != size:
                write_all(self.file, data[done:])
        except BaseException as error:
            self._cut_back(error)
            raise
        self.chain = chain
        self._signer = signer
        self.count += 1
        self.end = end = self.end + size
        return end

    def note(self, context: bytes) -> None:
        """Store a context that belongs to no increment, and force it and its mark to the disk.

        Raises
        ------
        DurabilityError
            It may not be stored; the increments before are.
        """
        self._write_records([(NOTE | BEGINS, context)])
        try:
            self.sync()
            self.sync()
        except OSError as error:
            raise self._durability_error(error) from error

    def _append_in_pieces(self, increment: Encoded) -> int:
        """Append an object with its memory from where it lies."""
        self._write_records(increment.records())
        self.count += 1
        return self.end

    def _write_records(self, records: Iterable[tuple[int, Any]]) -> None:
        pieces, chain, signer = frame(records, self.chain, self._signer)
        end = self.end + sum(memoryview(piece).nbytes for piece in pieces)
        try:
            if self.failure is not None:
                raise self.failure
            write_pieces(self.file, pieces)
        except BaseException as error:
            self._cut_back(error)
            raise
        # No call between these: an interrupt comes before all of them or after.
        self.chain = chain
        self._signer = signer
        self.end = end

    def _append_always(self, increment: bytes | Encoded, context: bytes = b"") -> int:
        """Append one increment and force it to the disk."""
        end = self._append(increment, context)
        self.force()
        return end

    def force(self) -> None:
        """Force what was appended to the disk, before it is acknowledged.

        Raises
        ------
        DurabilityError
            Where the disk refused; `count` includes what was appended.
        """
        try:
            self.sync(mark=False)
        except OSError as error:
            raise self._durability_error(error) from error

    def _cut_back(self, error: BaseException) -> None:
        """Undo what was written of an increment that failed."""
        if self.failure is None:
            try:
                self.file.truncate(self.end)
            except OSError as failure:
                self.fail(failure)
        if isinstance(error, OSError):
            raise self._durability_error(error) from error

    def _durability_error(self, error: OSError) -> DurabilityError:
        return DurabilityError(
            f"an increment could not be stored in {self._path}: {error}. What was acknowledged "
            "before is stored. Make room or mend the disk, and run it again; a new checkpoint "
            "begins a new log."
        )

    def fail(self, failure: Exception) -> None:
        """Take nothing more; every later append raises `failure`."""
        self.failure = failure
        self._write = self._refuse

    def trust(self) -> None:
        """Take increments: what the log was to wait for has come."""
        self.failure = None
        self._write = self.file.write

    def _refuse(self, data: Any) -> NoReturn:  # noqa: ARG002  # stands in for write
        assert self.failure is not None
        raise self.failure

    def sync(self, end: int | None = None, *, mark: bool = True) -> None:
        """Return when everything appended before the call, or up to `end`, is on the disk.

        The mark in the header block says so to whoever reads the file; it is on the disk itself
        after the next sync, which is early enough for evidence.
        """
        if self.failure is not None:
            raise self.failure
        if end is None:
            end = self.end
        try:
            if end != self._durable or self._is_mark_pending:
                self.file.sync()
                self._is_mark_pending = False
            if mark and end != self._marked:
                self._is_mark_pending = True
                self.file.overwrite(DURABLE_OFFSET, encode_durable(end))
                self._marked = end
        except OSError as error:
            # Without a call, at which an interrupt could come: it must not be forgotten.
            self.failure, self._write = error, self._refuse
            raise
        self._durable = end

    def close(self) -> None:
        """Close the file; what was appended is not forced to the disk by this."""
        if self in _open_writers:
            _open_writers.discard(self)
            self.file.close()


class LogReader:
    """Reads the increments of a log file.

    Attributes
    ----------
    fields : dict
        What the header block says.
    chain : int
        The checksum of the last increment read, or of the header block.
    size : int
        The length of the file; it may be growing.
    count : int
        How many increments were read.
    offset : int
        Where the last increment, or note, that was read ends.
    flaw : str or None
        After the last increment: what is wrong at `flaw_offset`; None at the end of the file.
    """

    def __init__(self, source: Input, key: Key | None = None) -> None:
        self._source = source
        block = source.read_at(0, HEADER_SIZE)
        self.fields, self.chain = decode_header("log", block, key)
        self._signer = header_signer(block, key)
        self.durable = decode_durable(block)
        self.size = source.size
        self.count = 0
        self.offset = HEADER_SIZE
        self.flaw: str | None = None
        self.flaw_offset = HEADER_SIZE

    def __iter__(self) -> Iterator[Encoded]:
        """Yield the increments, and the notes between them, whose kind is `NOTE`.

        Raises
        ------
        Damage
            At a record that holds where no trax would have written it.
        Forged
            At a signature that does not hold.
        """
        records = Records(self._source, self.chain, self._signer)
        self.size = records.size
        context: bytes | bytearray = b""
        buffers: list[Any] = []
        for kind, begins, payload, offset in records:
            is_first = not (buffers or context)
            if begins != is_first or kind not in _OBJECT or (kind in _FIRSTS and not begins):
                # Nothing tears a log so that its checksums hold.
                raise Damage("a record does not belong here", offset)
            if kind == CONTEXT:
                context = payload
            elif kind == BUFFER:
                buffers.append(payload)
            elif kind == READONLY_BUFFER:
                buffers.append(bytes(payload))
            else:
                self.count += kind != NOTE
                self.chain, self.offset = records.chain, records.offset
                yield Encoded(kind, payload, buffers, context)
                context, buffers = b"", []
        whole = not (buffers or context)
        self.flaw = records.flaw or (None if whole else "an increment is cut short")
        self.flaw_offset = records.offset

    def valid_behind(self, *, beginning: bool) -> int | None:
        """Return where something valid stands behind the flaw, or None; see `follows`."""
        return follows(self._source, self.flaw_offset, self.size, beginning=beginning)


@contextlib.contextmanager
def open_log(directory: Directory, name: str) -> Iterator[LogReader]:
    """Open a log for reading, for the length of a ``with`` block."""
    source = directory.open(name)
    with closing_quietly(source):
        yield LogReader(source, directory.key)


# A forked child shares its parent's descriptors; it must never append to the parent's log.
_open_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()


@in_child
def _disown() -> None:
    for writer in list(_open_writers):
        writer.fail(
            LockedError(
                f"this run is held by the parent process {os.getppid()}, and process {os.getpid()} "
                "is a fork of it. Let the parent log, or let the child open a run of its own."
            )
        )
        writer.close()
