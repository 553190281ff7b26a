"""One log file: appended increment by increment, read up to the first byte that is wrong."""

from __future__ import annotations

import errno
import gc
import os
import pickle
from typing import Any

import numpy as np
import pytest
from faults import FaultyDirectory
from hypothesis import given
from hypothesis import strategies as st
from support import flipped, run_script

from trax import DurabilityError
from trax.storage.codec import decode, encode
from trax.storage.filesystem import Directory, LocalDirectory
from trax.storage.log import LogReader, LogWriter, open_log
from trax.storage.records import (
    BEGINS,
    BUFFER,
    CONTEXT,
    END,
    HEADER_SIZE,
    META,
    NOTE,
    OVERHEAD,
    PICKLE,
    Damage,
    pieces,
)
from trax.testing.memory import MemoryDirectory

FIELDS = {"name": "run", "generation": 1}


@pytest.fixture
def directory() -> FaultyDirectory:
    return FaultyDirectory()


def begin(directory: Directory, *, always: bool = False) -> LogWriter:
    """Begin a log."""
    return LogWriter(directory, "log", FIELDS, always=always)


def increments(directory: Directory) -> list[Any]:
    """Return what a log holds; nothing may be wrong with it."""
    with open_log(directory, "log") as reader:
        found = [decode(encoded, "increment") for encoded in reader]
        assert reader.flaw is None
        assert reader.offset == reader.flaw_offset == reader.size
        assert reader.count == len(found)
    return found


def last_sync(directory: FaultyDirectory) -> int:
    """Return the number of the last call that forced a file to the disk."""
    return max(index for index, kind in enumerate(directory.calls) if kind == "sync")


# -- appending and reading -----------------------------------------------------------------


def test_a_new_log_is_on_the_disk_before_anything_is_appended(directory: FaultyDirectory) -> None:
    """Its header block and then its name: who opens the next log may depend on them."""
    begin(directory)
    assert directory.calls == ["create", "write", "sync", "sync directory"]
    with open_log(directory, "log") as reader:
        assert (reader.fields, list(reader), reader.flaw) == (FIELDS, [], None)


OBJECTS = st.lists(
    st.binary(max_size=50) | st.integers() | st.lists(st.binary(max_size=9), max_size=3), max_size=9
)


@given(OBJECTS, st.booleans())
def test_increments_come_back_in_order(objects: list[Any], always: bool) -> None:
    """Appended as plain pickles or in pieces, in any mixture."""
    directory = MemoryDirectory()
    writer = begin(directory, always=always)
    for index, obj in enumerate(objects):
        encoded = encode(obj, "increment")
        end = writer.append(bytes(encoded.payload) if index % 2 else encoded)
        assert end == writer.end == len(directory.files()["log"])
        assert writer.count == index + 1
    assert increments(directory) == objects


def test_arrays_come_back_as_they_were(directory: FaultyDirectory) -> None:
    """Written from their own memory, they are writable again, and read-only where they were."""
    writer = begin(directory)
    fixed = np.arange(4)
    fixed.flags.writeable = False
    for increment in (np.arange(3.0), fixed, {"two": [np.zeros((2, 2)), np.ones(5)]}):
        writer.append(encode(increment, "increment"))
    first, second, third = increments(directory)
    assert (first.tolist(), first.flags.writeable) == ([0, 1, 2], True)
    assert (second.tolist(), second.flags.writeable) == ([0, 1, 2, 3], False)
    assert third["two"][0].shape == (2, 2)
    assert third["two"][1].tolist() == [1] * 5


@pytest.mark.parametrize(
    ("increment", "writes"),
    [(1, 1), (b"x" * 60_000, 1), (b"x" * 200_000, 3), (np.zeros(1 << 17), 7)],
    ids=["small", "fairly small", "bytes", "1 MB"],
)
def test_an_increment_takes_few_writes(
    increment: Any, writes: int, directory: FaultyDirectory
) -> None:
    """A small one takes a single write, and a large one another one for each 256 KB."""
    writer = begin(directory)
    plain = pickle.dumps(increment, 5) if isinstance(increment, bytes) else None
    directory.calls.clear()
    writer.append(plain or encode(increment, "increment"))
    assert directory.calls == ["write"] * writes


def test_an_array_that_changes_while_it_is_written_damages_nothing(
    directory: FaultyDirectory,
) -> None:
    """Another thread may do that: the increment is a mixture, and the log is valid."""
    array = np.zeros(1 << 17)
    writer = begin(directory)

    def change(number: int, kind: str) -> int:
        array[:] = number
        return 0

    directory.fault = change
    writer.append(encode(array, "increment"))
    writer.append(encode("the next", "increment"))
    directory.heal()
    found, after = increments(directory)
    assert found[0] != found[-1]
    assert after == "the next"


def test_an_increment_is_in_the_file_when_append_returns(directory: FaultyDirectory) -> None:
    """No buffer stands between, so it survives the death of the process."""
    writer = begin(directory)
    for number in range(5):
        writer.append(encode(number, "increment"))
        assert increments(directory) == list(range(number + 1))


def test_an_increment_is_on_the_disk_when_append_returns_under_always(
    directory: FaultyDirectory,
) -> None:
    """Every append forces the file, and nothing is written behind that."""
    writer = begin(directory, always=True)
    for number in range(3):
        writer.append(encode(number, "increment"))
        assert last_sync(directory) == len(directory.calls) - 1
        assert directory.calls.count("sync") == number + 2


def test_the_reader_and_the_writer_agree_where_the_log_ends(directory: FaultyDirectory) -> None:
    """The checksum of the last increment is what the next log declares as its beginning."""
    writer = begin(directory)
    for number in range(3):
        writer.append(encode([np.arange(number)], "increment"))
    with open_log(directory, "log") as reader:
        for _ in reader:
            pass
        assert (reader.chain, reader.offset) == (writer.chain, writer.end)


# -- syncing -------------------------------------------------------------------------------


def test_what_was_forced_to_the_disk_is_marked(directory: FaultyDirectory) -> None:
    """The mark is the evidence that tells damage from a torn end; it is set behind the sync."""
    writer = begin(directory)
    writer.append(b"\x80\x05K\x01.")
    with open_log(directory, "log") as reader:
        assert reader.durable == 0
    writer.sync()
    assert directory.calls[-2:] == ["sync", "overwrite"]
    writer.append(b"\x80\x05K\x02.")
    with open_log(directory, "log") as reader:
        assert HEADER_SIZE < reader.durable < writer.end
    assert increments(directory) == [1, 2]


def test_a_sync_with_nothing_new_does_nothing(directory: FaultyDirectory) -> None:
    """A loop that waits costs the disk nothing, once the mark is on it, too."""
    writer = begin(directory)
    writer.append(encode(1, "increment"))
    writer.sync()
    writer.sync()
    assert directory.calls[-3:] == ["sync", "overwrite", "sync"]
    calls = len(directory.calls)
    writer.sync()
    assert len(directory.calls) == calls


# -- a disk that refuses -------------------------------------------------------------------


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("plain", [False, True], ids=["in pieces", "plain"])
def test_what_does_not_fit_leaves_no_trace(plain: bool, always: bool) -> None:
    """Wherever the disk is full: cut back to the last whole record, and room helps."""
    encoded = encode(list(range(20)) if plain else np.arange(5.0), "increment")
    increment = bytes(encoded.payload) if plain else encoded
    needed = encoded.nbytes + OVERHEAD * (1 + len(encoded.buffers))
    for room in range(needed):
        directory = FaultyDirectory()
        writer = begin(directory, always=always)
        end = writer.append(encode("before", "increment"))
        directory.room = room
        with pytest.raises(DurabilityError, match=r"<faulty>/log: .*No space left") as caught:
            writer.append(increment)
        assert isinstance(caught.value.__cause__, OSError)
        assert (writer.end, writer.count, directory.room) == (end, 1, room)
        assert len(directory.inner.files()["log"]) == end
        directory.room = needed
        assert writer.append(increment) == end + needed
        assert len(increments(directory)) == 2


@pytest.mark.parametrize("mouthful", [1, 2, 5, 13])
def test_a_disk_that_takes_little_at_once_gets_everything(
    directory: FaultyDirectory, mouthful: int
) -> None:
    """Short writes are gone on with."""
    directory.mouthful = mouthful
    writer = begin(directory)
    writer.append(b"\x80\x05K\x01.")
    writer.append(encode([np.arange(3)], "increment"))
    assert increments(directory)[0] == 1
    assert len(directory.inner.files()["log"]) == writer.end


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_a_failing_write_leaves_no_trace(directory: FaultyDirectory, error: int) -> None:
    """Half a record is cut away; the next one can be appended."""
    writer = begin(directory)
    writer.append(encode(1, "increment"))
    directory.fail("write", error, times=1)
    with pytest.raises(DurabilityError, match="could not be stored"):
        writer.append(encode(2, "increment"))
    assert increments(directory) == [1]
    writer.append(encode(3, "increment"))
    assert increments(directory) == [1, 3]


def test_where_cutting_back_fails_too_nothing_more_is_appended(directory: FaultyDirectory) -> None:
    """Never behind garbage; what was acknowledged can still be read."""
    writer = begin(directory)
    writer.append(encode(1, "increment"))
    directory.fault = lambda number, kind: errno.EIO if kind in ("write", "truncate") else 0
    with pytest.raises(DurabilityError):
        writer.append(encode(2, "increment"))
    directory.heal()
    size = len(directory.inner.files()["log"])
    for increment in (encode(3, "increment"), b"\x80\x05K\x03."):
        with pytest.raises(DurabilityError):
            writer.append(increment)
    assert len(directory.inner.files()["log"]) == size
    with open_log(directory, "log") as reader:
        assert [decode(encoded, "increment") for encoded in reader] == [1]
        assert reader.flaw is not None


@pytest.mark.parametrize("always", [False, True])
def test_a_file_is_not_trusted_after_a_failed_sync(
    directory: FaultyDirectory, always: bool
) -> None:
    """The kernel calls its pages clean: the next sync would say that all is well."""
    writer = begin(directory, always=always)
    writer.append(encode(1, "increment"))
    directory.fail("sync", errno.EIO, times=1)
    if always:
        with pytest.raises(DurabilityError, match="Input/output error"):
            writer.append(encode(2, "increment"))
        assert writer.count == 2
    else:
        writer.append(encode(2, "increment"))
        with pytest.raises(OSError, match="Input/output error"):
            writer.sync()
    calls = len(directory.calls)
    for increment in (encode(3, "increment"), b"\x80\x05K\x03."):
        with pytest.raises(DurabilityError):
            writer.append(increment)
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()
    assert directory.calls[calls:] == []
    with open_log(directory, "log") as reader:
        assert reader.durable <= HEADER_SIZE


def test_a_failing_mark_is_a_failing_sync(directory: FaultyDirectory) -> None:
    """It is a write to the same file."""
    writer = begin(directory)
    writer.append(encode(1, "increment"))
    directory.fail("overwrite", errno.EIO, times=1)
    with pytest.raises(OSError, match="Input/output error"):
        writer.sync()
    with pytest.raises(DurabilityError):
        writer.append(encode(2, "increment"))


@pytest.mark.parametrize("kind", ["create", "write", "sync", "sync directory"])
def test_a_log_that_cannot_be_begun_leaves_nothing(directory: FaultyDirectory, kind: str) -> None:
    """Its name is free for another attempt."""
    directory.fail(kind, errno.ENOSPC, times=1)
    with pytest.raises(OSError, match="No space left"):
        begin(directory)
    assert directory.inner.list() == []
    begin(directory).append(encode(1, "increment"))
    assert increments(directory) == [1]


def test_an_increment_that_breaks_while_it_is_written_leaves_no_trace(
    directory: FaultyDirectory,
) -> None:
    """An exception out of nowhere, such as Ctrl-C, is not an error of the disk."""
    writer = begin(directory)
    writer.append(encode(1, "increment"))

    def interrupt(number: int, kind: str) -> int:
        if kind == "write":
            raise KeyboardInterrupt
        return 0

    for increment in (encode([np.arange(3)], "increment"), b"\x80\x05K\x02."):
        directory.fault = interrupt
        with pytest.raises(KeyboardInterrupt):
            writer.append(increment)
        directory.heal()
        assert increments(directory) == [1]
    writer.append(encode(3, "increment"))
    assert increments(directory) == [1, 3]


# -- reading what is not whole -------------------------------------------------------------


def written(objects: list[Any]) -> bytes:
    """Return the bytes of a log."""
    directory = MemoryDirectory()
    writer = begin(directory)
    for obj in objects:
        writer.append(encode(obj, "increment"))
    return directory.files()["log"]


def test_an_increment_without_its_pickle_is_cut_short() -> None:
    """Whole buffers at the end of a log are a part of something, and nothing in themselves."""
    content = written([1])
    whole = len(content)
    content = written([1, np.arange(3)])
    cut = whole + OVERHEAD + 24  # behind the record of the buffer
    with open_log(MemoryDirectory({"log": content[:cut]}), "log") as reader:
        assert [decode(encoded, "increment") for encoded in reader] == [1]
        assert reader.flaw == "an increment is cut short"
        assert (reader.offset, reader.flaw_offset) == (whole, cut)


def test_reading_stops_before_the_first_wrong_byte() -> None:
    """The increments before it are right, and it is said where and why."""
    content = written([1, 2, 3])
    record = (len(content) - HEADER_SIZE) // 3
    second = HEADER_SIZE + record
    source = MemoryDirectory({"log": flipped(content, second + 9)}).open("log")
    reader = LogReader(source)
    assert [decode(encoded, "increment") for encoded in reader] == [1]
    assert (reader.offset, reader.flaw_offset, reader.count) == (second, second, 1)
    assert reader.flaw == "a record's checksum is invalid"
    # The checksum of the second seeds the third, so that is recognised all the same.
    assert reader.valid_after(beginning=True) == second + record


@pytest.mark.parametrize("kind", [META, END])
def test_a_record_of_a_checkpoint_does_not_belong_into_a_log(kind: int) -> None:
    """Also where its checksum holds."""
    content = written([1])
    chain = int.from_bytes(content[-8:], "little")
    head, check, _ = pieces(kind, b"{}", chain)
    source = MemoryDirectory({"log": content + head + b"{}" + check}).open("log")
    records = iter(LogReader(source))
    next(records)
    with pytest.raises(Damage, match="does not belong here") as caught:
        next(records)
    assert caught.value.offset == len(content)


@pytest.mark.parametrize(
    "kinds",
    [
        [PICKLE],
        [BEGINS | BUFFER, BEGINS | PICKLE],
        [BEGINS | BUFFER, CONTEXT],
        [BEGINS | CONTEXT, CONTEXT],
        [BEGINS | BUFFER, NOTE],
        [CONTEXT],
        [NOTE],
    ],
)
def test_an_object_is_a_context_then_buffers_then_a_pickle(kinds: list[int]) -> None:
    """In any other order nothing is read, whether the checksums hold or not."""
    content = written([1])
    chain = int.from_bytes(content[-8:], "little")
    begins = []
    for kind in kinds:
        begins.append(len(content))
        head, check, chain = pieces(kind, b"x", chain)
        content += head + b"x" + check
    records = iter(LogReader(MemoryDirectory({"log": content}).open("log")))
    next(records)
    with pytest.raises(Damage, match="does not belong here") as caught:
        next(records)
    assert caught.value.offset == begins[-1]


def test_a_log_without_a_whole_header_block_is_damaged() -> None:
    """There is nothing that can be read of it."""
    content = written([1, 2])
    for damaged in (b"", content[:100], flipped(content, 50)):
        with pytest.raises(Damage), open_log(MemoryDirectory({"log": damaged}), "log"):
            pass


# -- processes -----------------------------------------------------------------------------


def test_a_forked_child_cannot_append_to_the_log_of_its_parent() -> None:
    """It is told so, and the file is as the parent wrote it."""
    script = """
import os
from trax import LockedError
from trax.storage.filesystem import LocalDirectory
from trax.storage.log import LogWriter
writer = LogWriter(LocalDirectory(os.getcwd()), "log", {}, always=False)
writer.append(b"\\x80\\x05K\\x01.")
child = os.fork()
if not child:
    try:
        writer.append(b"\\x80\\x05K\\x02.")
    except LockedError as error:
        os._exit(7 if f"held by the parent process {os.getppid()}" in str(error) else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
writer.append(b"\\x80\\x05K\\x03.")
writer.sync()
"""
    assert run_script(script).stdout == "7\n"
    assert increments(LocalDirectory(os.getcwd())) == [1, 3]


def test_a_writer_that_is_forgotten_does_not_stay_in_memory(directory: FaultyDirectory) -> None:
    """What is kept for the sake of forks keeps nothing alive."""
    from trax.storage.log import _open_writers

    gc.collect()
    before = len(_open_writers)
    writer = begin(directory)
    assert len(_open_writers) == before + 1
    del writer
    gc.collect()
    assert len(_open_writers) == before
