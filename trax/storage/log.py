"""The log file of one generation: writer and reader.

Strategy: an increment is appended with one ``write``, or a few if it has buffers, so a crash of the
process tears at most the end of the file. If a ``write`` fails, the file is cut back to its last
whole increment. If a sync fails, the file is never trusted again, since the kernel may drop data
that it could not write and call the rest clean. The durable mark in the header block tells recovery
how many bytes were on the disk: a flaw before it is damage, and no torn end.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from xxhash import xxh3_64_intdigest

from trax.errors import DurabilityError
from trax.storage.codec import Encoded
from trax.storage.filesystem import (
    Directory,
    Input,
    Output,
    closing_quietly,
    write_all,
)
from trax.storage.process import forked_error, in_child
from trax.storage.records import (
    BEGINS,
    BUFFER,
    CONTEXT,
    DURABLE_OFFSET,
    HEADER_SIZE,
    NOTE,
    PICKLE,
    READONLY_BUFFER,
    VALUES,
    WHOLE,
    Damage,
    Framing,
    Heads,
    Records,
    _pack_word,
    decode_durable,
    decode_header,
    encode_durable,
    encode_header,
    follows,
    header_signer,
    seal,
)
from trax.storage.signing import Key

_LARGE = 1 << 16  # bytes
_FIRST = BEGINS | CONTEXT
_WHOLE_HEADS, _CONTEXT_HEADS, _PICKLE_HEADS = Heads(WHOLE), Heads(_FIRST), Heads(PICKLE)
_FIRSTS = (CONTEXT, NOTE)
_OBJECT = {*VALUES, BUFFER, READONLY_BUFFER, CONTEXT, NOTE}

__all__ = ["LogReader", "LogWriter", "as_os_error", "open_log"]


class LogWriter:
    """Appends increments to a new log file, which is made durable first.

    Parameters
    ----------
    directory : Directory
        The directory of the run.
    name : str
        The name of the file, which must not exist.
    fields : dict
        The fields of its header block.
    always : bool
        Whether each increment is forced to the disk before `append` returns.
    failure : Exception or None
        A reason to refuse increments until `trust` is called.

    Attributes
    ----------
    chain : int
        The checksum of the last record, or of the header block.
    end : int
        The size of the file, in bytes.
    durable : int
        The number of bytes that were forced to the disk.
    count : int
        The number of increments in it.
    append : callable
        Appends one increment: `_append`, or `_append_always`.
    failure : Exception or None
        The reason to refuse more increments, such as a failed sync; None if there is none.

    Raises
    ------
    OSError
        The file could not be made durable; it is removed again if the file system allows that.
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
        self.durable = self._marked = HEADER_SIZE
        self._is_mark_pending = False  # the mark was written, but is not on the disk yet
        self._write: Callable[[Any], int] = self._refuse if failure else self.file.write
        _open_writers.add(self)

    def _append(self, increment: bytes | Encoded, context: bytes = b"") -> int:
        """Append one increment; return the size of the log in bytes.

        When this returns, the increment survives the death of the process; under
        ``sync="always"`` that of the machine, too. Bytes are a plain pickle.

        Raises
        ------
        DurabilityError
            The increment is not acknowledged; all before it are stored. It has left no trace,
            unless only the sync failed: then `count` includes it.
        """
        if type(increment) is not bytes:
            return self._append_in_pieces(increment._replace(context=context))  # type: ignore[union-attr]
        length = len(increment)
        if length >= _LARGE:  # too large to be joined with what surrounds it
            return self._append_in_pieces(Encoded(PICKLE, increment, [], context))
        before, chain, heads = b"", self.chain, _WHOLE_HEADS
        if context:
            before = _CONTEXT_HEADS[len(context)] + context
            chain = xxh3_64_intdigest(before, chain)
            before += _pack_word(chain)
            heads = _PICKLE_HEADS
        body = heads[length] + increment
        chain = xxh3_64_intdigest(body, chain)
        data = body + _pack_word(chain)
        if before:
            data = before + data
        signer = self._signer
        if signer is not None:
            signer = signer.sign(data)
            sealed, chain = seal(signer, chain)
            data += sealed
        size, write = len(data), self._write
        try:
            done = write(data)
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
            The context may not be stored; the increments before it are.
        """
        self.copy_note(context)
        try:
            self.sync()
            self.sync()
        except OSError as error:
            raise self._durability_error(error) from error

    def copy_note(self, context: bytes) -> None:
        """Store a context that belongs to no increment, without forcing it."""
        self._write_records([(NOTE | BEGINS, context)])

    def note_unforced(self, context: bytes) -> None:
        """Store a context that belongs to no increment; it is no error if the disk refuses."""
        with contextlib.suppress(OSError, DurabilityError):
            if self.failure is None:
                self._write_records([(NOTE | BEGINS, context)])

    def attest(self, context: bytes = b"") -> None:
        """Mark the log, since the checkpoint of its generation counts now; note a context, if any.

        The durable mark of a log that is empty proves that there was a checkpoint, if it is ever
        missing. Both are evidence: nothing is forced, and it is no error if the disk refuses.
        """
        with contextlib.suppress(OSError, DurabilityError):
            if context:
                self._write_records([(NOTE | BEGINS, context)])
            elif self._marked == HEADER_SIZE:
                self.file.overwrite(DURABLE_OFFSET, encode_durable(HEADER_SIZE))

    def _append_in_pieces(self, increment: Encoded) -> int:
        """Append an object, writing its buffers directly from memory."""
        self._write_records(increment.records())
        self.count += 1
        return self.end

    def _write_records(self, records: Iterable[tuple[int, Any]]) -> None:
        framing = Framing(self.chain, self._signer, self.end)
        try:
            for chunk in framing.chunks(records):
                done = self._write(chunk)
                if done != len(chunk):
                    write_all(self.file, chunk[done:])
        except BaseException as error:
            self._cut_back(error)
            raise
        # No call between these: an interrupt comes before all of them or after.
        self.chain = framing.chain
        self._signer = framing.signer
        self.end = framing.end

    def _append_always(self, increment: bytes | Encoded, context: bytes = b"") -> int:
        """Append one increment and force it to the disk."""
        end = self._append(increment, context)
        self.force()
        return end

    def force(self) -> None:
        """Force the appended increments to the disk, before they are acknowledged.

        Raises
        ------
        DurabilityError
            The disk refused; `count` includes the appended increments.
        """
        try:
            self.sync(mark=False)
        except OSError as error:
            raise self._durability_error(error) from error

    def _cut_back(self, error: BaseException) -> None:
        """Cut off the bytes written of an increment that failed."""
        if self.failure is None:
            try:
                self.file.truncate(self.end)
            except OSError as failure:
                self.fail(failure)
        if isinstance(error, OSError):
            raise self._durability_error(error) from error

    def _durability_error(self, error: OSError) -> DurabilityError:
        return DurabilityError(
            f"an increment could not be stored in {self._path}: {error}\n"
            "Everything acknowledged before it is stored.\n"
            "Make room or fix the disk, then run it again: a new checkpoint begins a new log."
        )

    def fail(self, failure: Exception) -> None:
        """Refuse increments from now on: every later append raises `failure`."""
        self.failure = failure
        self._write = self._refuse

    def trust(self) -> None:
        """Accept increments again: the reason to refuse them is gone."""
        self.failure = None
        self._write = self.file.write

    def _refuse(self, data: Any) -> NoReturn:  # noqa: ARG002  # stands in for write
        assert self.failure is not None
        raise self.failure

    def sync(self, end: int | None = None, *, mark: bool = True) -> None:
        """Force everything appended before the call to the disk, and write the durable mark.

        `end` is the length to force and to mark, in bytes; by default that of the log. The mark
        itself is on the disk after the next sync. That is early enough, since it is only evidence.

        Raises
        ------
        OSError
            The disk refused; every later append raises the same error.
        Exception
            `failure`, if increments are refused already.
        """
        if self.failure is not None:
            raise self.failure
        if end is None:
            end = self.end
        try:
            if end != self.durable or self._is_mark_pending:
                self.file.sync()
                self._is_mark_pending = False
            if mark and end != self._marked:
                self._is_mark_pending = True
                self.file.overwrite(DURABLE_OFFSET, encode_durable(end))
                self._marked = end
        except OSError as error:
            # No call here: an interrupt during one could lose the failure.
            self.failure, self._write = error, self._refuse
            raise
        except Exception as error:  # such as a MemoryError: nobody knows what was forced
            self.fail(failure := as_os_error(error))
            raise failure from error
        self.durable = end

    def close(self) -> None:
        """Close the file, without forcing anything to the disk."""
        if self in _open_writers:
            _open_writers.discard(self)
            self.file.close()


def as_os_error(error: BaseException) -> OSError:
    """Return the error of a sync as one of the disk, since its effect is the same."""
    return error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")


class LogReader:
    """Reads the increments of a log file.

    Parameters
    ----------
    source : Input
        The file.
    key : Key or None
        The key of the store.

    Attributes
    ----------
    fields : dict
        The fields of the header block.
    durable : int
        The length in the durable mark, in bytes.
    chain : int
        The checksum of the last increment or note read, or of the header block.
    size : int
        The size of the file when reading began, in bytes; the file may be growing.
    count : int
        The number of increments read.
    offset : int
        The end of the last increment or note read, in bytes.
    flaw : str or None
        After the last increment, the flaw at `flaw_offset`; None at the end of the file.
    flaw_offset : int
        The end of the last valid record, in bytes.
    is_cut_short : bool
        Whether bytes are missing at the flaw; see `Records`.

    Raises
    ------
    Damage, NewerVersion, Forged
        The header block cannot be used; see `decode_header`.
    """

    def __init__(self, source: Input, key: Key | None = None) -> None:
        self._source = source
        block = source.read_at(0, HEADER_SIZE)
        self.fields, self.chain = decode_header("log", block, key)
        self.durable = decode_durable(block)
        self._records = Records(source, self.chain, header_signer(block, key))
        self.size = self._records.size
        self.count = 0
        self.offset = HEADER_SIZE
        self.flaw: str | None = None
        self.flaw_offset = HEADER_SIZE
        self.is_cut_short = True

    def __iter__(self) -> Iterator[Encoded]:
        """Yield the increments, and the notes between them, whose kind is `NOTE`.

        Raises
        ------
        Damage
            A valid record is in a place where no trax would have written it.
        Forged
            A signature is invalid.
        """
        records = self._records
        context: bytes | bytearray = b""
        buffers: list[Any] = []
        for kind, begins, payload, offset in records:
            is_first = not (buffers or context)
            if begins != is_first or kind not in _OBJECT or (kind in _FIRSTS and not begins):
                # The checksum is valid, so this is no torn end.
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
        self.is_cut_short = records.is_cut_short

    def plain(self, most: int) -> list[bytes]:
        """Return the next increments, at most so many, that are plain pickles and nothing else.

        Those that are at hand are returned, which may be none; iterating reads on.
        """
        found = self._records.whole(most)
        self.count += len(found)
        self.chain, self.offset = self._records.chain, self._records.offset
        return found

    @property
    def has_content(self) -> bool:
        """Whether there is, or was, anything after the header block; see `LogWriter.attest`."""
        is_attested = self.durable == HEADER_SIZE and self.fields["derived"] is False
        return is_attested or max(self.size, self.durable) > HEADER_SIZE

    def valid_after(self, *, beginning: bool) -> int | None:
        """Return the offset of a valid record after the flaw, or None; see `follows`."""
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
        writer.fail(forked_error())
        writer.close()
