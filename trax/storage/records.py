"""The byte format: header blocks and records, encoded and decoded without I/O.

Strategy: to this module a log and a checkpoint are the same, a header block of fixed size followed
by records. Every record's checksum is seeded with the one before it, and the first with that of the
header block. So a record is valid only in its own place in its own file, and the last checksum
vouches for everything before it. ``docs/format.md`` draws the same format in boxes; the two change
together.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Iterable, Iterator
from hmac import compare_digest
from typing import Any, NamedTuple, Protocol

from xxhash import xxh3_64, xxh3_64_intdigest

from trax.storage.fresh_memory import fresh_memory
from trax.storage.signing import SIGNATURE_SIZE, UNSIGNED, Key, Signer

__all__ = [
    "BEGINS",
    "BUFFER",
    "CLOUDPICKLE",
    "CONTEXT",
    "DURABLE_OFFSET",
    "END",
    "FORMAT_VERSION",
    "HEADER_SIZE",
    "META",
    "NOTE",
    "OVERHEAD",
    "PICKLE",
    "READONLY_BUFFER",
    "SIGNATURE",
    "SIGNATURE_OFFSET",
    "VALUES",
    "WHOLE",
    "Damage",
    "Forged",
    "Framing",
    "Header",
    "Heads",
    "NewerVersion",
    "Record",
    "Records",
    "Source",
    "decode_durable",
    "decode_header",
    "decode_text",
    "encode_durable",
    "encode_header",
    "follows",
    "header_signer",
    "seal",
]

FORMAT_VERSION = 1

# Kinds of records. An object is at most one context, any number of buffers, then its pickle; a
# flag marks its first record. A note is a context on its own. In a signed file a signature follows
# each object, and covers all records since the signature before it.
BEGINS = 0x80
PICKLE = 1
CLOUDPICKLE = 2
BUFFER = 3
READONLY_BUFFER = 4
META = 5
END = 6
CONTEXT = 7
NOTE = 8
SIGNATURE = 9
_KINDS = frozenset(range(PICKLE, SIGNATURE + 1))
VALUES = frozenset({PICKLE, CLOUDPICKLE})  # an increment or a part of a checkpoint ends with one
WHOLE = BEGINS | PICKLE  # an object of one record

_WORD = struct.Struct("<Q")
_pack_word = _WORD.pack
_unpack_word = _WORD.unpack_from
_SIGNATURE_HEAD = _pack_word(SIGNATURE_SIZE << 8 | SIGNATURE)
OVERHEAD = 16  # bytes of a record beside its payload: the word before it, the checksum after it
assert _WORD.size * 2 == OVERHEAD

_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_PREFIX = struct.Struct("<8sII")  # magic, format version, length of the JSON text
_PAIR = struct.Struct("<QQ")
_unpack_pair = _PAIR.unpack_from
HEADER_SIZE = 1024
DURABLE_OFFSET = HEADER_SIZE - 24  # the durable mark, then the block's own checksum
_CHECK_OFFSET = HEADER_SIZE - 8
SIGNATURE_OFFSET = DURABLE_OFFSET - SIGNATURE_SIZE
assert DURABLE_OFFSET + _PAIR.size == _CHECK_OFFSET
_MAGIC = {"log": b"\x89traxL\r\n", "checkpoint": b"\x89traxC\r\n"}

_WINDOW = 1 << 18  # bytes read at a time
_PIECE = 1 << 18  # bytes of a payload hashed and written at a time
_SMALL = 1 << 16  # bytes; a smaller payload is written together with what surrounds it
_LARGEST = _WINDOW - OVERHEAD  # bytes of a payload that fits into a window
_MOST_HEADS = 1024  # of one kind that are kept
_CHUNK = 1 << 24  # bytes searched at a time for a valid record after a bad one

# A remedy has no period at its end, and its further lines are indented.
_GIVE_KEY = "Give the key that the run was begun with, in TRAX_KEY or TRAX_KEY_FILE"
_GIVE_NONE = (
    "If the run was begun without a key and nobody else could write to it, resume it with "
    "TRAX_KEY= (empty)"
)
_PUT_BACK = "Put the file back from a copy of the store"
_GIVE_OTHER = (
    f"{_GIVE_KEY}.\n  If this is that key, somebody else has changed the file. {_PUT_BACK}"
)


class _Finding(Exception):  # noqa: N818  # the user gets an error made of it
    """A flaw in the bytes at `offset`."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Damage(_Finding):
    """The bytes at `offset` are not those that were written.

    Attributes
    ----------
    reason : str
        A description of the flaw, without the path.
    offset : int
        The offset of the flaw in the file, in bytes.
    """


class NewerVersion(Exception):  # noqa: N818  # likewise
    """The header block is valid, but a newer trax wrote it, in a newer format version."""


class Forged(_Finding):
    """The checksums are valid, but nothing proves that the writer had the key.

    The signature is missing or invalid, or there is no key to check it with.

    Attributes
    ----------
    reason : str
        A description to be read after the path, as in "is not signed".
    offset : int
        The offset of the unproven bytes in the file, in bytes.
    remedy : str
        Advice for the person: one line or more, without the last period.
    """

    def __init__(self, reason: str, offset: int, remedy: str) -> None:
        super().__init__(reason, offset)
        self.remedy = remedy


class Source(Protocol):
    """A file of known size, from which records are read."""

    @property
    def size(self) -> int: ...
    def read_at(self, offset: int, size: int) -> bytearray: ...
    def read_into(self, offset: int, memory: memoryview) -> int: ...


class Record(NamedTuple):
    """One valid record.

    Attributes
    ----------
    kind : int
        Its kind, without the flag `BEGINS`.
    begins : bool
        Whether it is the first record of an object.
    payload : bytes or bytearray
        Its contents; those of a `BUFFER` can be changed.
    offset : int
        Its offset in the file, in bytes.
    """

    kind: int
    begins: bool
    payload: bytes | bytearray
    offset: int


class Header(NamedTuple):
    """A header block, with the checksum and the signer that its first record needs.

    Attributes
    ----------
    block : bytes
        The encoded block, `HEADER_SIZE` bytes.
    chain : int
        The block's checksum, which seeds that of the first record.
    signer : Signer or None
        The signer of the first records; None in a file that is not signed.
    """

    block: bytes
    chain: int
    signer: Signer | None


def encode_header(kind: str, fields: dict[str, Any], key: Key | None = None) -> Header:
    """Return the header of a new file.

    Parameters
    ----------
    kind : {"log", "checkpoint"}
        The kind of file.
    fields : dict
        The fields of the block, stored as JSON.
    key : Key or None
        The key to sign the block with; without one it is not signed.

    Raises
    ------
    ValueError
        The fields do not fit into the block.
    """
    text = _to_json(fields).encode()
    block = _PREFIX.pack(_MAGIC[kind], FORMAT_VERSION, len(text)) + text
    if len(block) > SIGNATURE_OFFSET:
        raise ValueError(f"header fields take {len(text)} bytes; there is no room for them")
    block = block.ljust(SIGNATURE_OFFSET, b"\0")
    signature = key.sign(block) if key else UNSIGNED
    block += signature
    chain = xxh3_64_intdigest(block)
    signer = Signer(key, signature) if key else None
    return Header(block + encode_durable(0) + _pack_word(chain), chain, signer)


def decode_header(
    kind: str, block: bytes | bytearray, key: Key | None = None
) -> tuple[dict[str, Any], int]:
    """Return the fields of a header block, and the checksum that seeds its first record.

    Parameters
    ----------
    kind : {"log", "checkpoint"}
        The kind of file that is expected.
    block : bytes or bytearray
        The first `HEADER_SIZE` bytes of the file.
    key : Key or None
        The key of the store.

    Returns
    -------
    fields : dict
        The fields; their types are not checked yet.
    chain : int
        The checksum.

    Raises
    ------
    Damage
        The block is not the one that was written.
    NewerVersion
        A newer trax wrote it.
    Forged
        It is not signed with `key`; or it is signed, and there is no key.
    """
    if len(block) < HEADER_SIZE:
        raise Damage("the header block is cut short", len(block))
    magic, version, length = _PREFIX.unpack_from(block)
    (check,) = _unpack_word(block, _CHECK_OFFSET)
    if check != xxh3_64_intdigest(block[:DURABLE_OFFSET]):
        raise Damage("the header block's checksum is invalid", 0)
    if magic != _MAGIC[kind]:
        raise Damage(f"this is not a {kind}", 0)
    if version > FORMAT_VERSION:
        raise NewerVersion(f"format version {version}; this trax reads up to {FORMAT_VERSION}")
    _check_signature(block, key)
    if length > SIGNATURE_OFFSET - _PREFIX.size:
        raise Damage("the header block's text does not fit into it", 12)
    text = block[_PREFIX.size : _PREFIX.size + length]
    return decode_text(text, _PREFIX.size), check


def decode_text(text: bytes | bytearray, offset: int) -> dict[str, Any]:
    """Return a JSON object; `offset` is that of its text in the file.

    Raises
    ------
    Damage
        The text is not JSON, or not an object.
    """
    try:
        found = json.loads(str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise Damage(f"its JSON text cannot be read: {error}", offset) from None
    if not isinstance(found, dict):
        raise Damage("its JSON text is not an object", offset)
    return found


def _check_signature(block: bytes | bytearray, key: Key | None) -> None:
    signature = block[SIGNATURE_OFFSET:DURABLE_OFFSET]
    if key is None:
        if signature != UNSIGNED:
            raise Forged("is signed, but no key is given to check it with", 0, _GIVE_KEY)
    elif signature == UNSIGNED:
        raise Forged(f"is not signed, but {key.source} gives a key", 0, _GIVE_NONE)
    elif not compare_digest(key.sign(block[:SIGNATURE_OFFSET]), signature):
        raise Forged(f"is not signed with the key {key.id} from {key.source}", 0, _GIVE_OTHER)


def header_signer(block: bytes | bytearray, key: Key | None) -> Signer | None:
    """Return the signer of the first records after a header block; None without a key."""
    return Signer(key, bytes(block[SIGNATURE_OFFSET:DURABLE_OFFSET])) if key else None


def encode_durable(length: int) -> bytes:
    """Return the durable mark: `length` bytes of the file were forced to the disk."""
    word = _pack_word(length)
    return word + _pack_word(xxh3_64_intdigest(word))


def decode_durable(block: bytes | bytearray) -> int:
    """Return the length in the durable mark, in bytes; 0 if the mark itself is torn."""
    length, check = _PAIR.unpack_from(block, DURABLE_OFFSET)
    return length if check == xxh3_64_intdigest(_pack_word(length)) else 0


class Heads(dict[int, bytes]):
    """The words before the payloads of one kind, by their size: to pack one takes longer."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, size: int) -> bytes:
        head = _pack_word(size << 8 | self._kind)
        if len(self) < _MOST_HEADS:
            self[size] = head
        return head


def pieces(kind: int, payload: Any, chain: int) -> tuple[bytes, bytes, int]:
    """Return the bytes before and after a payload of any size, and the chained checksum."""
    view = memoryview(payload)
    head = _pack_word(view.nbytes << 8 | kind)
    digest = xxh3_64(head, chain)
    digest.update(view)
    chain = digest.intdigest()
    return head, _pack_word(chain), chain


class Framing:
    """Encodes records for a file; each depends on the one before it.

    What is written is what was hashed, even if a thread or another process changes a payload
    meanwhile: one that may change is copied, piece by piece.

    Parameters
    ----------
    chain : int
        The checksum of the record before, or of the header block.
    signer : Signer or None
        The signer of the next records; None if the file is not signed.
    end : int
        The size of the file so far, in bytes.

    Attributes
    ----------
    chain, signer, end
        The same after all records.
    """

    def __init__(self, chain: int, signer: Signer | None, end: int) -> None:
        self.chain = chain
        self.signer = signer
        self.end = end

    def chunks(self, records: Iterable[tuple[int, Any]]) -> Iterator[Any]:
        """Yield the bytes of an object's records in order, to be written one after the other.

        A large payload is yielded in pieces, each while the processor has it in its cache. A piece
        is valid until the next one is asked for.
        """
        if self.signer is None:
            yield from self._chunks(records)
            return
        signing = self.signer.begin()
        for chunk in self._chunks(records):
            signing.update(chunk)
            yield chunk
        self.signer = self.signer.after(signing)
        sealed, self.chain = seal(self.signer, self.chain)
        self.end += len(sealed)
        yield sealed

    def _chunks(self, records: Iterable[tuple[int, Any]]) -> Iterator[Any]:
        small: list[Any] = []
        scratch = None
        for kind, payload in records:
            view = memoryview(payload)
            head = _pack_word(view.nbytes << 8 | kind)
            digest = xxh3_64(head, self.chain)
            small.append(head)
            if view.nbytes < _SMALL:
                fixed = bytes(view)
                digest.update(fixed)
                small.append(fixed)
            else:
                yield b"".join(small)
                small.clear()
                may_change = type(payload) is not bytes
                if may_change and scratch is None:
                    scratch = memoryview(bytearray(_PIECE))
                for piece in self._pieces(view.cast("B"), scratch if may_change else None):
                    digest.update(piece)
                    yield piece
            self.chain = digest.intdigest()
            self.end += view.nbytes + OVERHEAD
            small.append(_pack_word(self.chain))
        yield b"".join(small)

    def _pieces(self, payload: memoryview, scratch: memoryview | None) -> Iterator[memoryview]:
        """Yield pieces that end at multiples of `_PIECE` in the file, where pages end.

        They are copied into `scratch`, if that is given.
        """
        offset = self.end + _WORD.size
        begin = 0
        while begin < len(payload):
            end = begin + _PIECE - (offset + begin) % _PIECE
            piece = payload[begin:end]
            if scratch:
                copy = scratch[: len(piece)]
                copy[:] = piece
                piece = copy
            yield piece
            begin = end


def seal(signer: Signer, chain: int) -> tuple[bytes, int]:
    """Return the record of the last signature, with its checksum, and this checksum.

    `chain` is the checksum of the record before.
    """
    record = _SIGNATURE_HEAD + signer.last
    chain = xxh3_64_intdigest(record, chain)
    return record + _pack_word(chain), chain


class Records:
    """The valid records of a file, in order, starting after its header block.

    Iteration ends at the end of the file, or at the first byte that is not part of a valid record.
    The file may be growing; its end is the one that it had at first. The records of a signed file
    are yielded once the signature after them has been checked: `offset` is already after that
    signature, which is not yielded itself.

    Parameters
    ----------
    source : Source
        The file.
    chain : int
        The checksum of its header block.
    signer : Signer or None
        The signer of its first records; None if the file is not signed.

    Attributes
    ----------
    offset : int
        The end of the last valid record, in bytes.
    chain : int
        The checksum of the last valid record, or of the header block.
    size : int
        The size of the file when reading began, in bytes.
    flaw : str or None
        After the iteration, the flaw at `offset`; None at the end of the file.
    is_cut_short : bool
        Whether bytes are missing at the flaw, as while a writer is at work or after its death.
        Otherwise the bytes are there, and they are not those that were written.

    Raises
    ------
    Forged
        While iterating: a signature is invalid.
    """

    def __init__(self, source: Source, chain: int, signer: Signer | None = None) -> None:
        self.offset = HEADER_SIZE
        self.chain = chain
        self.flaw: str | None = None
        self.is_cut_short = True
        self._source = source
        self.size = source.size
        self._window = b""
        self._start = 0
        self._signer = signer
        self._signing = signer.begin() if signer else None

    def __iter__(self) -> Iterator[Record]:
        return self._each() if self._signer is None else self._each_signed()

    def _each(self) -> Iterator[Record]:
        while self.flaw is None and self.offset < self.size:
            record = self._next()
            if record is not None:
                yield record

    def _each_signed(self) -> Iterator[Record]:
        unsigned = []
        for record in self._each():
            if record.kind != SIGNATURE:
                unsigned.append(record)
                continue
            self._check_signature(record)
            yield from unsigned
            unsigned.clear()
        if unsigned and self.flaw is None:
            self.flaw = "a signature is missing"

    def _check_signature(self, record: Record) -> None:
        assert self._signer is not None
        assert self._signing is not None
        signer = self._signer.check(self._signing, record.payload)
        if signer is None or record.begins:  # it does not cover its own head
            raise Forged(
                "was partly written without the key: a signature is invalid",
                record.offset,
                _PUT_BACK,
            )
        self._signer = signer
        self._signing = signer.begin()

    def _next(self) -> Record | None:
        offset, start = self.offset, self.offset - self._start
        if start + OVERHEAD > len(self._window):
            start = self._read_window()
        room = min(self.size - offset, len(self._window) - start) - OVERHEAD
        if room < 0:
            return self._stop("a record is cut short")
        (word,) = _unpack_word(self._window, start)
        kind, length = word & 0x7F, word >> 8
        if kind not in _KINDS:
            return self._stop(f"{kind} is not a kind of record", is_cut_short=False)
        if length > room and length > self.size - offset - OVERHEAD:
            return self._stop(f"a record of {length} bytes does not fit into the file")
        payload: bytes | bytearray
        check: bytes | bytearray
        if length > _LARGEST:
            payload, chain = self._load(offset, kind, length)
            check = self._source.read_at(offset + 8 + length, 8)
        else:
            if length > room:
                start = self._read_window()
            end = start + 8 + length
            body, check = self._window[start:end], self._window[end : end + 8]
            chain = xxh3_64_intdigest(body, self.chain)
            payload = body[8:] if kind != BUFFER else bytearray(body[8:])
        if len(check) < 8:
            return self._stop("a record is cut short")
        if chain != _unpack_word(check)[0]:
            return self._stop("a record's checksum is invalid", is_cut_short=False)
        if self._signing is not None and kind != SIGNATURE:
            for piece in (_pack_word(word), payload, check):
                self._signing.update(piece)
        self.chain = chain
        self.offset = offset + length + OVERHEAD
        # As Record(...), but twice as quick.
        return tuple.__new__(Record, (kind, bool(word & BEGINS), payload, offset))

    def _stop(self, flaw: str, *, is_cut_short: bool = True) -> Record | None:
        self.flaw, self.is_cut_short = flaw, is_cut_short
        return None

    def _read_window(self) -> int:
        """Read on from `offset`; return where that is in the window."""
        self._window, self._start = bytes(self._source.read_at(self.offset, _WINDOW)), self.offset
        return 0

    def _load(self, offset: int, kind: int, length: int) -> tuple[bytes | bytearray, int]:
        """Read a payload that is larger than a window; return it with the record's checksum.

        Each piece is hashed while it is in the processor's cache. There is no second copy, also if
        the memory is to be read only.
        """
        digest = xxh3_64(self._source.read_at(offset, 8), self.chain)
        is_fixed, file = kind == READONLY_BUFFER, io.BytesIO()
        payload = fresh_memory(_WINDOW if is_fixed else length)
        with memoryview(payload) as view:
            for begin in range(0, length, _WINDOW):
                end = min(begin + _WINDOW, length)
                piece = view[: end - begin] if is_fixed else view[begin:end]
                self._source.read_into(offset + 8 + begin, piece)
                digest.update(piece)
                if is_fixed:
                    file.write(piece)
        return file.getvalue() if is_fixed else payload, digest.intdigest()

    def whole(self, most: int) -> list[bytes]:
        """Return the payloads of the next records, at most so many, that are `WHOLE` objects.

        Only those in the window are found, which may be none; iterating reads on. They need not be
        yielded one by one then, which takes several times as long.
        """
        found: list[bytes] = []
        window = self._window[: self.size - self._start]
        begin, chain = self.offset - self._start, self.chain
        if self._signer is not None or begin + 8 > len(window):
            return found
        (word,) = _unpack_word(window, begin)
        known = size = -1
        try:
            for _ in range(most):
                if word != known:
                    if word & 0xFF != WHOLE:
                        break
                    known, size = word, 8 + (word >> 8)
                end = begin + size
                check, word = _unpack_pair(window, end)  # and the head of the next record
                body = window[begin:end]
                if xxh3_64_intdigest(body, chain) != check:
                    break
                found.append(body[8:])
                begin, chain = end + 8, check
        except struct.error:
            word = 0  # the window ends
        self.offset, self.chain = begin + self._start, chain
        return found


def follows(source: Source, offset: int, size: int, *, beginning: bool) -> int | None:
    """Search for a valid record after a bad one.

    A record is seeded with the checksum just before it, so it can be recognised anywhere. Writing
    never leaves a gap. So a valid record after a bad one means that the disk reordered unforced
    writes, or that bytes changed after they were written.

    Parameters
    ----------
    source : Source
        The file.
    offset : int
        The offset of the bad record, in bytes.
    size : int
        The size of the file, in bytes.
    beginning : bool
        Whether only the first record of an object counts.

    Returns
    -------
    int or None
        The offset of a valid record, in bytes. None if there is none, or if the search is given up
        because too many bytes had to be hashed.
    """
    significant = max(1, ((size - offset).bit_length() + 7) // 8)
    words = [kind | BEGINS for kind in sorted(_KINDS)] + ([] if beginning else sorted(_KINDS))
    heads = re.compile(
        b"(?=[%b].{%d}\0{%d})" % (re.escape(bytes(words)), significant, 7 - significant), re.DOTALL
    )
    budget = 64 * _CHUNK + 4 * (size - offset)  # bytes hashed: even hostile files cost little
    for start in range(offset, size, _CHUNK):
        # A chunk overlaps the next by the checksum and the head of a record at the border.
        chunk = source.read_at(start, min(_CHUNK + OVERHEAD, size - start))
        for match in heads.finditer(chunk, 8):
            at = start + match.start()
            length = _unpack_word(chunk, match.start())[0] >> 8
            if length > size - at - OVERHEAD:
                continue
            budget -= length + OVERHEAD
            if budget < 0:
                return None
            framed = source.read_at(at - 8, length + 8 + OVERHEAD)
            with memoryview(framed) as view:
                chain = xxh3_64_intdigest(view[8 : 16 + length], _unpack_word(framed)[0])
            if chain == _unpack_word(framed, 16 + length)[0]:
                return at
    return None
