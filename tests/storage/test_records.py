"""The byte format: header blocks, durable marks, and records that are chained to each other."""

from __future__ import annotations

import array
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import flipped, of_version
from xxhash import xxh3_64_intdigest

from trax.storage.records import (
    BEGINS,
    BUFFER,
    CLOUDPICKLE,
    DURABLE_OFFSET,
    END,
    FORMAT_VERSION,
    HEADER_SIZE,
    META,
    OVERHEAD,
    PICKLE,
    READONLY_BUFFER,
    SIGNATURE_OFFSET,
    Damage,
    NewerVersion,
    Records,
    decode_durable,
    decode_header,
    encode_durable,
    encode_header,
    follows,
    header_signer,
    pieces,
)
from trax.storage.signing import Key

SEED = 2026
KINDS = (PICKLE, CLOUDPICKLE, BUFFER, READONLY_BUFFER, META, END)
FIELDS = {"name": "Erdős", "generation": 3}


class Bytes:
    """A file in memory that knows the largest piece that was asked of it, and that it gave."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.asked = self.largest = 0

    def read_at(self, offset: int, size: int) -> bytearray:
        found = bytearray(self.content[offset : offset + size])
        self.asked = max(self.asked, size)
        self.largest = max(self.largest, len(found))
        return found


def framed(records: list[tuple[int, Any]], chain: int = SEED) -> bytes:
    """Return a file: what stands for its header block, and the records behind that."""
    content = bytes(HEADER_SIZE)
    for kind, payload in records:
        head, check, chain = pieces(kind, payload, chain)
        content += head + bytes(memoryview(payload)) + check
    return content


def parse(content: bytes, chain: int = SEED) -> tuple[list[tuple[int, bytes]], Records]:
    """Return the valid records of a file, and the reader that has come to their end."""
    records = Records(Bytes(content), chain)
    return [(record.kind, bytes(record.payload)) for record in records], records


# -- header blocks -------------------------------------------------------------------------


def test_a_header_block_to_the_byte() -> None:
    """Magic, version, length of the text, the text, zeros, the durable mark, the checksum."""
    text = '{"name":"Erdős","generation":3}'.encode()
    block = b"\x89traxL\r\n" + struct.pack("<II", 1, len(text)) + text
    block += bytes(1000 - len(block))
    mark = struct.pack("<QQ", 0, xxh3_64_intdigest(bytes(8)))
    expected = block + mark + struct.pack("<Q", xxh3_64_intdigest(block))
    assert encode_header("log", FIELDS).block == expected
    assert len(expected) == HEADER_SIZE == 1024
    assert FORMAT_VERSION == 1


def test_the_text_of_a_header_block_can_be_read_without_trax() -> None:
    """Who wrote a file, and with which versions, is plain JSON behind the first 16 bytes."""
    block = encode_header("checkpoint", FIELDS).block
    assert json.loads(block[16:].partition(b"\0")[0]) == FIELDS


@given(
    st.sampled_from(["log", "checkpoint"]),
    st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=50), max_size=5),
)
def test_header_fields_come_back(kind: str, fields: dict[str, Any]) -> None:
    """What is written is read, and the seed of the first record is the block's checksum."""
    for key in None, Key(bytes(32), "here"):
        block, chain, signer = encode_header(kind, fields, key)
        assert chain == struct.unpack("<Q", block[-8:])[0]
        assert decode_header(kind, block, key) == (fields, chain)
        assert header_signer(block, key) == signer


def test_fields_that_do_not_fit_are_refused() -> None:
    """A header block has a fixed size; it is never written in part."""
    encode_header("log", {"name": "x" * (SIGNATURE_OFFSET - 16 - len('{"name":""}'))})
    with pytest.raises(ValueError, match="no room"):
        encode_header("log", {"name": "x" * (SIGNATURE_OFFSET - 15 - len('{"name":""}'))})


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_every_changed_byte_of_a_header_block_is_noticed(bits: int) -> None:
    """Except in the durable mark, which changes in place and has a checksum of its own."""
    block = encode_header("log", FIELDS).block
    for offset in range(HEADER_SIZE):
        if DURABLE_OFFSET <= offset < DURABLE_OFFSET + 16:
            assert decode_header("log", flipped(block, offset, bits)) == decode_header("log", block)
        else:
            with pytest.raises(Damage, match="checksum is invalid"):
                decode_header("log", flipped(block, offset, bits))


def test_a_header_block_that_is_cut_short_says_where() -> None:
    """Whatever its length."""
    block = encode_header("log", FIELDS).block
    for length in range(HEADER_SIZE):
        with pytest.raises(Damage, match="cut short") as caught:
            decode_header("log", block[:length])
        assert caught.value.offset == length


def test_a_log_is_not_a_checkpoint() -> None:
    """A whole header block of the wrong kind of file is damage too."""
    with pytest.raises(Damage, match="this is not a checkpoint"):
        decode_header("checkpoint", encode_header("log", FIELDS).block)


def test_a_newer_version_is_told_from_damage() -> None:
    """Only a block that is whole can be from the future."""
    newer = of_version(encode_header("log", FIELDS).block, FORMAT_VERSION + 1)
    with pytest.raises(NewerVersion, match="format version 2"):
        decode_header("log", newer)
    with pytest.raises(Damage):
        decode_header("log", flipped(newer, 500))


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"\xff", b"[" * 900, b"9" * 900, b'{"a":' * 100, b"nul", b""]
)
def test_a_header_block_that_holds_must_make_sense(text: bytes) -> None:
    """Whoever wrote it: a checksum only says that these bytes were meant."""
    with pytest.raises(Damage, match="its JSON text") as caught:
        decode_header("log", with_text(text))
    assert caught.value.offset == 16


def test_the_text_of_a_header_block_lies_within_it() -> None:
    """The durable mark is no part of it: it is not covered by the block's checksum."""
    with pytest.raises(Damage, match="does not fit"):
        decode_header("log", with_text(b"{}", length=DURABLE_OFFSET - 15))


def with_text(text: bytes, length: int | None = None) -> bytes:
    """Return a header block whose checksum holds, with any text in it."""
    block = bytearray(encode_header("log", {}).block)
    struct.pack_into("<I", block, 12, len(text) if length is None else length)
    block[16 : 16 + len(text)] = text
    struct.pack_into("<Q", block, HEADER_SIZE - 8, xxh3_64_intdigest(block[:DURABLE_OFFSET]))
    return bytes(block)


# -- durable marks -------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
def test_a_durable_mark_comes_back(length: int) -> None:
    """It is put into the block without touching the rest."""
    block = encode_header("log", FIELDS).block
    assert decode_durable(block) == 0
    mark = encode_durable(length)
    marked = block[:DURABLE_OFFSET] + mark + block[DURABLE_OFFSET + len(mark) :]
    assert decode_durable(marked) == length
    assert decode_header("log", marked) == decode_header("log", block)


def test_a_torn_durable_mark_claims_nothing() -> None:
    """Half of an old mark and half of a new one is no evidence."""
    block = encode_header("log", FIELDS).block
    old, new = encode_durable(1234), encode_durable(987654321)
    for cut in range(1, 16):
        mark = new[:cut] + old[cut:]
        marked = block[:DURABLE_OFFSET] + mark + block[DURABLE_OFFSET + 16 :]
        assert decode_durable(marked) in (0, 1234, 987654321)
        assert decode_durable(marked) == 0 or mark in (old, new)


# -- records -------------------------------------------------------------------------------


def test_a_record_to_the_byte() -> None:
    """Kind, length in seven bytes, payload, and a checksum seeded with the one before."""
    head = bytes([PICKLE]) + (3).to_bytes(7, "little")
    check = xxh3_64_intdigest(head + b"abc", SEED)
    assert pieces(PICKLE, b"abc", SEED) == (head, struct.pack("<Q", check), check)
    assert len(head) + 8 == OVERHEAD == 16
    assert KINDS == (1, 2, 3, 4, 5, 6)


CASES: dict[str, list[tuple[int, bytes]]] = {
    "no record": [],
    "an empty payload": [(META, b"")],
    "a byte": [(PICKLE, b"\x80")],
    "every kind": [(kind, bytes([kind]) * kind) for kind in KINDS],
    "many small ones": [(PICKLE, b"%d" % number) for number in range(20_000)],
    "zeros": [(BUFFER, bytes(4096)), (PICKLE, bytes(1))],
    "as long as the window": [(BUFFER, b"w" * ((1 << 18) - OVERHEAD)), (PICKLE, b"x")],
    "longer than the window": [(PICKLE, b"x"), (BUFFER, b"y" * (1 << 19)), (PICKLE, b"z")],
}


@pytest.mark.parametrize("records", CASES.values(), ids=CASES)
def test_records_come_back(records: list[tuple[int, bytes]]) -> None:
    """Encoder and decoder agree; at the end nothing is wrong."""
    content = framed(records)
    found, reader = parse(content)
    assert found == records
    assert (reader.offset, reader.flaw) == (len(content), None)


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=300)), max_size=12))
def test_any_records_come_back(records: list[tuple[int, bytes]]) -> None:
    """Whatever the payloads, and each is said to begin where it does."""
    content = framed(records)
    reader = Records(Bytes(content), SEED)
    offset = HEADER_SIZE
    for (kind, payload), record in zip(records, reader, strict=True):
        assert record == (kind, False, payload, offset)
        offset += len(payload) + OVERHEAD


@pytest.mark.parametrize(
    "payload",
    [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"memoryview"),
        array.array("d", [1.5, 2.5]),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)).T,
    ],
    ids=lambda payload: type(payload).__name__,
)
def test_a_payload_can_be_any_memory(payload: Any) -> None:
    """Its length is counted in bytes, whatever its items are."""
    view = memoryview(payload)
    head, check, chain = pieces(BUFFER, payload, SEED)
    assert (head, check, chain) == pieces(BUFFER, view.tobytes(), SEED)
    assert int.from_bytes(head[1:], "little") == view.nbytes


def test_a_payload_is_memory_of_its_own() -> None:
    """It can be written to, and neither its neighbour nor the next reading changes."""
    content = framed([(BUFFER, b"aaa"), (BUFFER, b"bbb")])
    first, second = Records(Bytes(content), SEED)
    assert isinstance(first.payload, bytearray)
    first.payload[:] = b"xxx"
    assert second.payload == b"bbb"
    assert parse(content)[0] == [(BUFFER, b"aaa"), (BUFFER, b"bbb")]


def test_every_cut_leaves_the_whole_records_before_it() -> None:
    """Reading ends at the end of the last whole record, and says that the next is cut short."""
    records = [(PICKLE, b"p" * size) for size in (0, 5, 40)]
    content = framed(records)
    ends = [len(framed(records[:count])) for count in range(len(records) + 1)]
    for length in range(HEADER_SIZE, len(content)):
        whole = max(count for count, end in enumerate(ends) if end <= length)
        found, reader = parse(content[:length])
        assert found == records[:whole]
        assert reader.offset == ends[whole]
        assert (reader.flaw is None) == (length == ends[whole])


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_every_changed_byte_ends_the_reading_where_its_record_begins(bits: int) -> None:
    """No record at or behind a changed byte is ever handed out."""
    records = [(PICKLE, b"p" * size) for size in (3, 5, 7)]
    content = framed(records)
    ends = [len(framed(records[:count])) for count in range(len(records) + 1)]
    for offset in range(HEADER_SIZE, len(content)):
        whole = max(count for count, end in enumerate(ends) if end <= offset)
        found, reader = parse(flipped(content, offset, bits))
        assert found == records[:whole]
        assert reader.offset == ends[whole]
        assert reader.flaw is not None


def test_a_record_is_valid_only_in_its_place() -> None:
    """Swapped, repeated, left out, or behind another header block: the chain does not hold."""
    first, second = (PICKLE, b"one"), (PICKLE, b"two")
    content = framed([first, second])
    one, two = content[1024:1043], content[1043:1062]
    for wrong in (two + one, one + one + two, two):
        found, reader = parse(bytes(HEADER_SIZE) + wrong)
        assert found == ([first] if wrong.startswith(one) else [])
        assert reader.flaw == "a record's checksum is invalid"
    assert parse(content, chain=SEED + 1)[0] == []


def test_a_record_says_whether_an_object_begins_with_it() -> None:
    """A flag beside its kind."""
    records = Records(Bytes(framed([(BUFFER | BEGINS, b"x"), (PICKLE, b"y")])), SEED)
    assert [(record.kind, record.begins) for record in records] == [(BUFFER, True), (PICKLE, False)]


def test_an_unknown_kind_is_no_record() -> None:
    """Even where its checksum holds."""
    found, reader = parse(framed([(10, b"from nowhere")]))
    assert found == []
    assert reader.flaw == "10 is not a kind of record"


def test_a_length_is_believed_only_as_far_as_the_file_goes() -> None:
    """A length of any size allocates nothing that the file does not hold."""
    for length in (1, 2, 1 << 20, 1 << 40, (1 << 56) - 1):
        content = bytes(HEADER_SIZE) + struct.pack("<Q", length << 8 | BUFFER) + bytes(8)
        source = Bytes(content)
        tracemalloc.start()
        try:
            assert list(Records(source, SEED)) == []
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 100_000, length
        assert source.asked <= 1 << 18, length


def test_a_large_file_is_read_a_window_at_a_time() -> None:
    """Memory is needed for the window and one record, not for the file."""
    source = Bytes(framed([(PICKLE, b"p" * 1000)] * 3000))
    assert sum(1 for _ in Records(source, SEED)) == 3000
    assert source.largest == 1 << 18


# -- what stands behind a bad record -------------------------------------------------------


def behind(content: bytes, offset: int, *, beginning: bool = False) -> int | None:
    """Return where something valid stands behind the bad record at `offset`."""
    return follows(Bytes(content), offset, len(content), beginning=beginning)


def test_a_valid_record_behind_a_bad_one_is_found() -> None:
    """Whatever is wrong with the bad one: its kind, its length, its payload, its checksum."""
    records = [(PICKLE, b"first"), (PICKLE, b"bad one"), (BUFFER, b"x" * 300), (PICKLE, b"end")]
    content = framed(records)
    begin, next_one, last = (len(framed(records[:count])) for count in (1, 2, 3))
    for offset in range(begin, next_one - 8):
        assert behind(flipped(content, offset, 0xFF), begin) == next_one
    # Its checksum seeds the next record, so with that changed it is the one after that is found.
    for offset in range(next_one - 8, next_one):
        assert behind(flipped(content, offset), begin) == last


def test_where_it_matters_only_the_beginning_of_an_object_counts() -> None:
    """The records of one object may arrive in any order, those of two do not."""
    one = [(BUFFER | BEGINS, b"x" * 100), (BUFFER, b"y" * 100), (PICKLE, b"one")]
    content = framed([*one, (PICKLE | BEGINS, b"two")])
    torn = flipped(content, HEADER_SIZE + 50)
    assert behind(torn, HEADER_SIZE) == len(framed(one[:1]))
    assert behind(torn, HEADER_SIZE, beginning=True) == len(framed(one))
    assert behind(torn[: len(framed(one))], HEADER_SIZE, beginning=True) is None


def test_behind_the_last_record_nothing_is_found() -> None:
    """A torn end has nothing valid behind it."""
    content = framed([(PICKLE, b"first"), (PICKLE, b"the last one")])
    begin = len(framed([(PICKLE, b"first")]))
    for length in range(begin, len(content)):
        assert behind(content[:length], begin) is None
    for offset in range(begin, len(content)):
        assert behind(flipped(content, offset), begin) is None


@pytest.mark.parametrize("size", [(1 << 24) - 100, (1 << 24) + 5, 1 << 25])
def test_it_is_found_however_far_behind_it_stands(size: int) -> None:
    """The file is searched a chunk at a time, and nothing falls between two of them."""
    records = [(BUFFER, bytes(size)), (PICKLE, b"x" * 100), (PICKLE, b"end")]
    content = framed(records)
    place = len(framed(records[:1]))
    assert behind(flipped(content, HEADER_SIZE + 1000), HEADER_SIZE) == place


@pytest.mark.parametrize("shift", range(-24, 25))
def test_nothing_falls_between_two_chunks(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a chunk ends: before, in or behind the head of the record."""
    monkeypatch.setattr("trax.storage.records._CHUNK", 200)
    records = [(BUFFER, bytes(200 - OVERHEAD + shift)), (PICKLE, b"p" * 70)]
    content = framed(records)
    place = len(framed(records[:1]))
    assert behind(flipped(content, HEADER_SIZE + 50), HEADER_SIZE) == place


@given(st.binary(max_size=2000))
def test_noise_is_not_taken_for_a_record(noise: bytes) -> None:
    """A record is recognised by a checksum of 64 bits and by nothing less."""
    assert behind(bytes(HEADER_SIZE) + noise, HEADER_SIZE) is None


@pytest.mark.parametrize("pattern", [b"\0", b"\1", b"\1\0\0\0\0\0\0\0", b"\1\0\0\1\0\0\0\0"])
def test_looking_behind_a_bad_record_ends(pattern: bytes) -> None:
    """Zeros, and bytes that look like the heads of records everywhere, cost a bounded effort."""
    tail = pattern * ((1 << 20) // len(pattern))
    assert behind(bytes(HEADER_SIZE) + tail, HEADER_SIZE) is None
