"""The byte format: header blocks, durable marks, and records that are chained to each other."""

from __future__ import annotations

import array
import contextlib
import json
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import flipped, of_version, peak_memory
from xxhash import xxh3_64_intdigest

from trax.storage.records import (
    BEGINS,
    BUFFER,
    CLOUDPICKLE,
    CONTEXT,
    DURABLE_OFFSET,
    END,
    FORMAT_VERSION,
    HEADER_SIZE,
    META,
    NOTE,
    OVERHEAD,
    PICKLE,
    READONLY_BUFFER,
    SIGNATURE_OFFSET,
    WHOLE,
    Damage,
    Forged,
    Framing,
    Heads,
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
from trax.storage.signing import SIGNATURE_SIZE, Key

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

    def read_into(self, offset: int, memory: memoryview) -> int:
        found = self.read_at(offset, len(memory))
        memory[: len(found)] = found
        return len(found)


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


def test_the_heads_that_are_kept_are_few() -> None:
    """They are those of their records, kept or not."""
    heads = Heads(WHOLE)
    for size in (*range(2000), 65535, 7, 1999):
        assert heads[size] == pieces(WHOLE, bytes(size), SEED)[0]
    assert len(heads) < 2000


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
    **{f"{kind}, longer": [(kind, bytes(range(256)) * 3000), (META, b"z")] for kind in KINDS},
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


SIZES = st.sampled_from([0, 1, 9, (1 << 16) - 1, 1 << 16, (1 << 18) - 8, 1 << 18, 700_000])


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), SIZES), max_size=4),
    SIZES,
    st.sampled_from([bytes, bytearray]),
)
def test_chunks_are_the_records_one_after_the_other(
    records: list[tuple[int, int]], begin: int, kind: type
) -> None:
    """However large they are, and wherever in the file they begin."""
    payloads = [(number, kind(os.urandom(16)) * (size // 16)) for number, size in records]
    framing = Framing(SEED, None, begin)
    content = b"".join([bytes(chunk) for chunk in framing.chunks(payloads)])
    assert content == framed(payloads)[HEADER_SIZE:]
    assert framing.end == begin + len(content)
    assert parse(framed(payloads))[1].size == HEADER_SIZE + len(content)
    if content:
        assert framing.chain == int.from_bytes(content[-8:], "little")


def test_large_payloads_are_yielded_in_pieces_that_end_where_pages_do() -> None:
    """All but the last: writing in the middle of a page takes longer."""
    payload = np.arange(1 << 17, dtype=float)
    end, sizes = 12_345, []
    for chunk in Framing(SEED, None, end).chunks([(BUFFER, payload), (PICKLE, b"x")]):
        end += memoryview(chunk).nbytes
        sizes.append(end)
    assert all(size % (1 << 18) == 0 for size in sizes[1:-2])
    assert len(sizes) == 1 + 5 + 1


@pytest.mark.parametrize("size", [1 << 20, 10_000])
def test_a_payload_that_changes_meanwhile_is_hashed_as_it_is_written(size: int) -> None:
    """A large one piece by piece; a small one is written as it was when it came."""
    payload = bytearray(size)

    def records() -> Iterator[tuple[int, Any]]:
        yield BUFFER, payload
        payload[:] = b"1" * size
        yield PICKLE, b"x"

    content = bytes(HEADER_SIZE)
    for chunk in Framing(SEED, None, HEADER_SIZE).chunks(records()):
        if len(chunk) > 8:
            payload[:] = b"1" * size
        content += chunk
    found, reader = parse(content)
    assert reader.flaw is None
    assert [one[0] for _, one in found] == [0, ord("x")]
    assert found[0][1][-1] == (ord("1") if size > 1 << 16 else 0)


@pytest.mark.parametrize("key", [None, Key(bytes(32), "here")])
def test_a_signature_follows_an_object(key: Key | None) -> None:
    """It covers the records, whatever their size, and the signature before."""
    block, chain, signer = encode_header("log", FIELDS, key)
    framing = Framing(chain, signer, HEADER_SIZE)
    content = block
    for payload in b"small", bytearray(os.urandom(300_000)):
        content += b"".join(map(bytes, framing.chunks([(BUFFER, payload), (PICKLE, b"")])))
    records = Records(Bytes(content), chain, signer)
    assert [len(record.payload) for record in records] == [5, 0, 300_000, 0]
    assert records.flaw is None
    assert framing.end == records.offset == len(content)


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

        def read(content: bytes = content) -> None:
            source = Bytes(content)
            assert list(Records(source, SEED)) == []
            assert source.asked <= 1 << 18

        assert peak_memory(read) < 100_000, length


def test_a_large_file_is_read_a_window_at_a_time() -> None:
    """Memory is needed for the window and one record, not for the file."""
    source = Bytes(framed([(PICKLE, b"p" * 1000)] * 3000))
    assert sum(1 for _ in Records(source, SEED)) == 3000
    assert source.largest == 1 << 18


# -- many at once ---------------------------------------------------------------------------


PLAIN = [(WHOLE, b"%d" % number) for number in range(5)]


def begun(records: list[tuple[int, Any]]) -> Records:
    """Return the records of a file of which the first was yielded."""
    found = Records(Bytes(framed(records)), SEED)
    assert next(iter(found)).payload == records[0][1]
    return found


def test_whole_objects_are_found_at_once() -> None:
    """All but the last of the file, whose end is looked at more closely; then iterating goes on."""
    records = begun(PLAIN)
    assert records.whole(100) == [b"1", b"2", b"3"]
    assert records.whole(100) == []
    assert [record.payload for record in records] == [b"4"]
    assert records.flaw is None
    assert records.chain == parse(framed(PLAIN))[1].chain


@pytest.mark.parametrize("most", range(4))
def test_no_more_are_found_than_are_wanted(most: int) -> None:
    """The next file may begin after that record."""
    records = begun(PLAIN)
    assert records.whole(most) == [b"%d" % number for number in range(1, 1 + most)]
    assert [int(record.payload) for record in records] == [*range(1 + most, 5)]


def test_nothing_is_read_for_that() -> None:
    """Before the first record is yielded, nothing is at hand."""
    assert Records(Bytes(framed(PLAIN)), SEED).whole(100) == []


@pytest.mark.parametrize("kind", [*KINDS, CONTEXT | BEGINS, NOTE | BEGINS, PICKLE, 0, 0x7F])
def test_another_kind_of_record_ends_them(kind: int) -> None:
    """Only the first of these is found."""
    records = begun([*PLAIN[:2], (kind, b"2"), *PLAIN[3:]])
    assert records.whole(100) == [b"1"]
    assert records.offset == HEADER_SIZE + 2 * (OVERHEAD + 1)


def test_any_changed_byte_ends_them() -> None:
    """As it ends the records that are yielded one by one, with the same flaw."""
    content = framed(PLAIN)
    for offset in range(HEADER_SIZE + OVERHEAD + 1, len(content)):
        for bits in (0x01, 0x80, 0xFF):
            damaged = flipped(content, offset, bits)
            found, reader = parse(damaged)
            records = Records(Bytes(damaged), SEED)
            payloads = [next(iter(records)).payload, *records.whole(100)]
            payloads += [record.payload for record in records]
            assert payloads == [payload for _, payload in found]
            assert (reader.flaw, reader.offset, reader.chain, reader.is_cut_short) == (
                records.flaw,
                records.offset,
                records.chain,
                records.is_cut_short,
            )


def test_a_file_that_grows_ends_where_it_ended() -> None:
    """What a writer adds while it is read is not at hand, even if it is in the window."""
    source = Bytes(framed(PLAIN))
    records = Records(source, SEED)
    records.size -= OVERHEAD + 1  # as if the last had come later
    next(iter(records))
    assert records.whole(100) == [b"1", b"2"]
    assert [record.payload for record in records] == [b"3"]


def signed(objects: list[list[tuple[int, Any]]], key: Key) -> bytes:
    """Return a log that is signed after each object."""
    content, chain, signer = encode_header("log", FIELDS, key)
    framing = Framing(chain, signer, HEADER_SIZE)
    for records in objects:
        content += b"".join(framing.chunks(records))
    return content


def read_signed(content: bytes, key: Key) -> Records:
    """Return the records of a log, whose signatures are checked with a key."""
    _, seed, signer = encode_header("log", FIELDS, key)
    return Records(Bytes(content), seed, signer)


def test_signed_records_are_yielded_one_by_one() -> None:
    """Their signatures are checked between them."""
    key = Key(b"k" * 32, "a test")
    records = read_signed(signed([[record] for record in PLAIN], key), key)
    each = iter(records)
    assert next(each).payload == b"0"
    assert records.whole(100) == []
    assert [record.payload for record in each] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("kind", [BUFFER, READONLY_BUFFER])
def test_the_signature_covers_payloads_that_are_larger_than_the_window(kind: int) -> None:
    """They are read in pieces; whoever changes one, and all checksums, has not the key."""
    key, large = Key(b"k" * 32, "a test"), bytes(range(256)) * 3000
    right = signed([[(kind | BEGINS, large), (PICKLE, b"x")]], key)
    assert [record.payload for record in read_signed(right, key)] == [large, b"x"]
    other = signed([[(kind | BEGINS, flipped(large, 500_000)), (PICKLE, b"x")]], key)
    forged = other[: -SIGNATURE_SIZE - 8] + right[-SIGNATURE_SIZE - 8 :]
    with pytest.raises(Forged, match="a signature is invalid"):
        list(read_signed(with_its_checksum(forged), key))


def with_its_checksum(content: bytes) -> bytes:
    """Return a log whose last record is a signature, with the checksum of that made again."""
    begin = len(content) - SIGNATURE_SIZE - 16
    chain = xxh3_64_intdigest(content[begin:-8], *struct.unpack_from("<Q", content, begin - 8))
    return content[:-8] + struct.pack("<Q", chain)


def test_no_bit_of_a_signed_log_can_be_changed_without_the_key() -> None:
    """Not even in the head of a signature, which no signature covers."""
    key = Key(b"k" * 32, "a test")
    right = signed([[PLAIN[0]]], key)
    for offset in range(len(right) - SIGNATURE_SIZE - 16, len(right) - 8):
        for bit in range(8):
            changed = bytearray(right)
            changed[offset] ^= 1 << bit
            records = read_signed(with_its_checksum(bytes(changed)), key)
            with contextlib.suppress(Forged):
                assert not list(records)
                assert records.flaw is not None


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
