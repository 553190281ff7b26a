"""One checkpoint file: whole under its final name, or not there."""

from __future__ import annotations

import errno
import struct
import threading
from typing import Any

import numpy as np
import pytest
from faults import FaultyDirectory
from support import flipped, of_version

from trax.storage.checkpoint import Checkpoint, read_checkpoint, read_meta, write_checkpoint
from trax.storage.codec import decode, encode
from trax.storage.context import Key, encode_context
from trax.storage.filenames import FileName, temporary
from trax.storage.filesystem import Directory
from trax.storage.records import (
    BEGINS,
    BUFFER,
    CONTEXT,
    END,
    HEADER_SIZE,
    META,
    NOTE,
    PICKLE,
    Damage,
    NewerVersion,
    encode_header,
    pieces,
)
from trax.testing.memory import MemoryDirectory

FILE = FileName("checkpoint", 1)
FIELDS = {"name": "run", "generation": 1}
SAID = {"step": 3, "note": "naïve"}


def write(directory: Directory, **parts: Any) -> int:
    """Write a checkpoint of these parts."""
    encoded = {name: encode(part, name) for name, part in parts.items()}
    return write_checkpoint(directory, FILE, FIELDS, SAID, encoded)


def parts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the parts, unpickled."""
    return {name: decode(part, name) for name, part in checkpoint.parts.items()}


def content(**parts: Any) -> bytes:
    """Return the bytes of a checkpoint."""
    directory = MemoryDirectory()
    write(directory, **parts)
    return directory.files()[str(FILE)]


def reread(damaged: bytes) -> Checkpoint:
    """Read a checkpoint that has these bytes."""
    return read_checkpoint(MemoryDirectory({str(FILE): damaged}), FILE)


# -- whole ---------------------------------------------------------------------------------


def test_what_is_written_is_read() -> None:
    """The header fields, the meta record, and every part under its name, in order."""
    directory = MemoryDirectory()
    size = write(directory, state=[1, "two"], result=None, replay_log=len)
    checkpoint = read_checkpoint(directory, FILE)
    assert checkpoint.fields == FIELDS
    assert checkpoint.meta == SAID
    assert parts(checkpoint) == {"state": [1, "two"], "result": None, "replay_log": len}
    assert size == len(directory.files()[str(FILE)])


def test_arrays_come_back_as_they_were() -> None:
    """Buffers go with the part that they are of; read-only ones come back read-only."""
    fixed = np.arange(3)
    fixed.flags.writeable = False
    found = parts(reread(content(one=[np.arange(4.0), fixed], two=np.zeros((2, 3)), three=3)))
    assert [array.tolist() for array in found["one"]] == [[0, 1, 2, 3], [0, 1, 2]]
    assert [array.flags.writeable for array in found["one"]] == [True, False]
    assert found["two"].shape == (2, 3)
    assert found["two"].flags.writeable
    assert found["three"] == 3


def test_an_array_that_a_thread_changes_meanwhile_is_stored_without_damage() -> None:
    """With some values that it had: the thread itself says when they change."""
    directory, array, has_begun = MemoryDirectory(), np.zeros(4_000_000), threading.Event()
    is_over = False

    def change() -> None:
        while not is_over:
            array[::512] += 1
            has_begun.set()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        has_begun.wait()
        for _ in range(3):
            write(directory, state=array)
            found = decode(read_checkpoint(directory, FILE).parts["state"], "state")
            assert found[::512].all()
            assert not found[1::512].any()
    finally:
        is_over = True
        thread.join()


def test_a_checkpoint_can_be_without_parts() -> None:
    """Then it is a header block, a meta record and an end."""
    assert parts(reread(content())) == {}


def test_the_meta_record_can_be_read_alone() -> None:
    """What a run is can be told without reading, or unpickling, its state."""
    whole = content(state=bytes(100_000))
    directory = MemoryDirectory({str(FILE): whole[:2000]})
    assert read_meta(directory, FILE) == {**FIELDS, **SAID, "parts": ["state"]}


# -- the order of operations ---------------------------------------------------------------


def test_it_is_forced_to_the_disk_before_it_has_its_name() -> None:
    """Written, forced, closed, renamed, and the name forced: only then does it count."""
    directory = FaultyDirectory()
    write(directory, state=1)
    order = [kind for kind in directory.calls if kind not in ("write", "remove")]
    assert order == ["create", "sync", "close", "rename", "sync directory"]
    assert directory.calls.index("sync") > max(
        index for index, kind in enumerate(directory.calls) if kind == "write"
    )


@pytest.mark.parametrize("kind", ["create", "write", "sync", "close", "rename"])
def test_one_that_could_not_be_written_is_not_there(kind: str) -> None:
    """The temporary file is gone, the room it took is free, and another attempt succeeds."""
    directory = FaultyDirectory()
    directory.fail(kind, errno.ENOSPC, times=1)
    with pytest.raises(OSError, match="No space left"):
        write(directory, state=1)
    assert directory.inner.list() == []
    write(directory, state=2)
    assert parts(read_checkpoint(directory, FILE)) == {"state": 2}


def test_every_write_may_be_the_one_that_fails() -> None:
    """None of them leaves a file under either name."""
    directory = FaultyDirectory()
    write(directory, one=1, two=np.arange(3))
    for number in range(1, directory.calls.count("write") + 1):
        directory = FaultyDirectory()
        countdown = iter([0] * (number - 1))
        directory.fault = lambda _, kind, countdown=countdown: (  # type: ignore[misc]
            next(countdown, errno.EIO) if kind == "write" else 0
        )
        with pytest.raises(OSError, match="Input/output"):
            write(directory, one=1, two=np.arange(3))
        assert directory.inner.list() == []


def test_a_disk_that_is_full_anywhere_leaves_nothing() -> None:
    """Whatever room there is, it is the same again behind the failure."""
    size = len(content(state=np.arange(20)))
    for room in [*range(0, size, 37), size - 1]:
        directory = FaultyDirectory()
        directory.room = room
        with pytest.raises(OSError, match="No space left"):
            write(directory, state=np.arange(20))
        assert directory.inner.list() == []


@pytest.mark.parametrize("mouthful", [1, 7, 1000])
def test_a_disk_that_takes_little_at_once_gets_everything(mouthful: int) -> None:
    """Short writes are gone on with."""
    directory = FaultyDirectory()
    directory.mouthful = mouthful
    size = write(directory, state=np.arange(30))
    assert len(directory.inner.files()[str(FILE)]) == size
    assert parts(read_checkpoint(directory, FILE))["state"].tolist() == list(range(30))


def test_an_exception_from_nowhere_leaves_nothing() -> None:
    """Ctrl-C in the middle of a checkpoint is not an error of the disk."""
    directory = FaultyDirectory()

    def interrupt(number: int, kind: str) -> int:
        if kind == "sync":
            raise KeyboardInterrupt
        return 0

    directory.fault = interrupt
    with pytest.raises(KeyboardInterrupt):
        write(directory, state=1)
    assert directory.inner.list() == []


def test_a_temporary_file_that_was_left_is_replaced() -> None:
    """A crash may have left one of this very name."""
    directory = MemoryDirectory({temporary(str(FILE)): b"half of an old one"})
    write(directory, state=1)
    assert directory.list() == [str(FILE)]
    assert parts(read_checkpoint(directory, FILE)) == {"state": 1}


# -- damaged -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_a_single_changed_byte_is_noticed(bits: int) -> None:
    """Anywhere but in the durable mark, of which a checkpoint makes no use."""
    whole = content(state=[1, 2], array=np.arange(5))
    for offset in range(len(whole)):
        if HEADER_SIZE - 24 <= offset < HEADER_SIZE - 8:
            continue
        with pytest.raises(Damage) as caught:
            reread(flipped(whole, offset, bits))
        assert caught.value.offset <= offset


def test_every_cut_is_noticed() -> None:
    """Also one between two records, or before the end record."""
    whole = content(state=[1, 2], array=np.arange(5))
    for length in range(len(whole)):
        with pytest.raises(Damage) as caught:
            reread(whole[:length])
        assert caught.value.offset <= length


def test_anything_behind_the_end_is_noticed() -> None:
    """Whatever it is: a byte, zeros, or a record whose checksum holds."""
    whole = content(state=1)
    chain = int.from_bytes(whole[-8:], "little")
    head, check, _ = pieces(PICKLE, b"\x80\x05K\x01.", chain)
    for more in (b"\0", bytes(100), head + b"\x80\x05K\x01." + check):
        with pytest.raises(Damage):
            reread(whole + more)


def test_an_end_record_says_how_long_the_file_is() -> None:
    """One that was written for another length is damage, even with a checksum that holds."""
    whole = content(state=1)
    cut = whole[:-24]
    chain = int.from_bytes(cut[-8:], "little")
    for length in (0, len(whole) - 1, len(whole) + 1):
        payload = struct.pack("<Q", length)
        head, check, _ = pieces(END, payload, chain)
        with pytest.raises(Damage, match="after the end"):
            reread(cut + head + payload + check)


def test_a_newer_version_is_told_from_damage() -> None:
    """It is whole, but nothing that this trax can read."""
    with pytest.raises(NewerVersion):
        reread(of_version(content(state=1), 2))


def test_a_log_under_the_name_of_a_checkpoint_is_damage() -> None:
    """The magic bytes say what a file is."""
    with pytest.raises(Damage, match="this is not a checkpoint"):
        reread(encode_header("log", FIELDS).block)


def test_the_meta_record_is_not_believed_without_its_checksum() -> None:
    """Neither the header block nor the record."""
    whole = content(state=1)
    for offset in (20, HEADER_SIZE, HEADER_SIZE + 20):
        with pytest.raises(Damage):
            read_meta(MemoryDirectory({str(FILE): flipped(whole, offset)}), FILE)
    with pytest.raises(Damage, match="meta record"):
        read_meta(MemoryDirectory({str(FILE): whole[:HEADER_SIZE]}), FILE)


# -- whole, and without sense --------------------------------------------------------------


@pytest.mark.parametrize(
    "meta",
    [
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"parts": null}',
        b'{"parts": []}',
        b'{"parts": ["state", "more"]}',
        b'{"parts": [[]]}',
        b'{"parts": ["context"]}',
        b'{"parts": ["state"], "step": -1}',
        b'{"parts": ["state"], "step": true}',
        b'{"parts": ["state"], "step": NaN}',
        b'{"parts": ["state"], "done": 0}',
        b'{"parts": ["state"], "replay_log": "?"}',
        b'{"parts": ["state"], "arguments": {"n": "3"}}',
        b'{"parts": ["state"], "varying": {"n": {"text": "3"}}}',
        b'{"parts": ["state"], "code": {"loop": null}}',
        b'{"parts": ["state"], "function": []}',
        b'{"parts": ["state"], "version": 0}',
        b'{"parts": ["state"], "drawn": {}}',
        b'{"parts": ["state"], "generators": {"x": 1}}',
        b'{"parts": ["state"], "generators": {"1": -1}}',
    ],
)
def test_a_meta_record_must_make_sense(meta: bytes) -> None:
    """Also if its checksum holds: what the layers above would fall over is damage."""
    with pytest.raises(Damage):
        reread(built((META, meta), (BEGINS | PICKLE, b"\x80\x05K\x01.")))


def test_a_meta_record_that_is_read_alone_must_make_sense() -> None:
    """It is the same check."""
    for meta in (b"{", b"[]", b'{"parts": ["state"], "step": "3"}', b'{"step": 3}'):
        with pytest.raises(Damage):
            read_meta(MemoryDirectory({str(FILE): built((META, meta))}), FILE)


@pytest.mark.parametrize(
    "records",
    [
        [(BEGINS | PICKLE, b"x"), (META, b'{"parts": ["state"]}')],
        [(META, b'{"parts": ["state"]}'), (META, b'{"parts": ["state"]}'), (PICKLE, b"x")],
        [(META, b'{"parts": ["state"]}'), (NOTE, b""), (PICKLE, b"x")],
        [(META, b'{"parts": ["state"]}'), (BUFFER, b"x"), (CONTEXT, b"")],
        [(META, b'{"parts": ["state"]}'), (CONTEXT, b"")],
        [(META, b'{"parts": ["context"]}'), (CONTEXT, b"x")],
        [(META, b'{"parts": ["state"]}'), (PICKLE, b"x"), (PICKLE, b"y")],
        [(META, b'{"parts": ["state"]}'), (PICKLE, b"x"), (END, b"")],
    ],
)
def test_a_record_out_of_place_is_noticed(records: list[tuple[int, bytes]]) -> None:
    """Each holds, and no trax has ever written them so."""
    with pytest.raises(Damage):
        reread(built(*records))


def test_a_context_that_is_cut_short_says_where() -> None:
    """Damage is found when it is read, not when it is needed."""
    meta = b'{"parts": ["state", "context"]}'
    whole = encode_context([(Key.parse("one"), b"1"), (Key.parse("two"), b"2")])
    with pytest.raises(Damage, match="cut short") as caught:
        reread(built((META, meta), (PICKLE, b"x"), (CONTEXT, whole[:-1])))
    assert caught.value.offset == HEADER_SIZE + (16 + len(meta)) + 17 + 8 + len(whole) // 2


def built(*records: tuple[int, bytes]) -> bytes:
    """Return a checkpoint of any records, whose checksums and whose end record hold."""
    data = encode_header("checkpoint", FIELDS).block
    chain = int.from_bytes(data[-8:], "little")
    for kind, payload in records:
        head, check, chain = pieces(kind, payload, chain)
        data += head + payload + check
    payload = struct.pack("<Q", len(data) + 24)
    head, check, _ = pieces(END, payload, chain)
    return data + head + payload + check
