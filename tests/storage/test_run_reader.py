"""Reading a run: the right state, the right state of an earlier step, or an error by name.

The damage of this file is done to one store: two checkpoints, of steps 2 and 4, a log behind
each, and the log of a second process that was alive at the end. Of its four increments the first
two were forced to the disk.
"""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import FaultyDirectory
from hypothesis import given
from hypothesis import strategies as st
from support import NAME, Writer, changed, flipped, read, with_next_boot, write

from trax import CorruptionError, StorageError, TraxError
from trax.storage.codec import encode
from trax.storage.context import Key, encode_context
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory, LocalDirectory
from trax.storage.log import open_log
from trax.storage.records import (
    BEGINS,
    BUFFER,
    CONTEXT,
    DURABLE_OFFSET,
    HEADER_SIZE,
    NOTE,
    PICKLE,
    Damage,
    pieces,
)
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter
from trax.testing.memory import MemoryDirectory

TEXT = "aacaaca|aasaa"
OLD_CHECKPOINT, OLD_LOG = "checkpoint-00000002", "log-00000002"
NEW_CHECKPOINT, NEW_LOG = "checkpoint-00000003", "log-00000003"
LAST_LOG = "log-00000004"
LAST_BEGINS, FORCED, END = 5, 7, 9

FLIPS = (0x01, 0x80, 0xFF)
BOOTS = ("boot-1", "the next boot")


@cache
def store(sync: str, arrays: bool, *, marked: bool = True) -> dict[str, bytes]:
    """Return the files of the store; where nothing was forced, nothing is marked so."""
    directory = MemoryDirectory()
    write(directory, TEXT if marked else TEXT.replace("s", ""), sync=sync, arrays=arrays)
    files = directory.files()
    assert sorted(files) == [OLD_CHECKPOINT, NEW_CHECKPOINT, OLD_LOG, NEW_LOG, LAST_LOG]
    return files


def outcome(directory: MemoryDirectory) -> int | str:
    """Return the step whose state is found, or the name of the error; nothing may be changed."""
    try:
        return read(directory)
    except TraxError as error:
        return type(error).__name__
    finally:
        assert directory.operations == []


def damages(content: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Yield everything that is done to a file: every cut, and three changes of every byte."""
    for length in range(len(content)):
        tried["files cut short"] += 1
        yield "cut", length, content[:length]
    for offset, bits in itertools.product(range(len(content)), FLIPS):
        tried["bytes flipped"] += 1
        yield "flip", offset, flipped(content, offset, bits)


tried: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def counted(count: Callable[[str, int], None]) -> Iterator[None]:
    """Say how much of that a test has done."""
    tried.clear()
    yield
    for kind, number in tried.items():
        count(kind, number)


def outcomes(
    name: str,
    *,
    sync: str = "interval",
    arrays: bool = False,
    marked: bool = True,
    boot: str = "boot-1",
) -> Iterator[tuple[str, int, int | str]]:
    """Yield what comes of every damage of one file."""
    files = store(sync, arrays, marked=marked)
    for kind, offset, damaged in damages(files[name]):
        directory = MemoryDirectory(changed(files, name, damaged), boot=boot)
        yield kind, offset, outcome(directory)


def is_mark(kind: str, offset: int) -> bool:
    """Whether it is only the durable mark that was changed."""
    return kind == "flip" and DURABLE_OFFSET <= offset < DURABLE_OFFSET + 16


def with_record(content: bytes, kind: int, payload: bytes) -> bytes:
    """Return a file with one more record, whose checksum holds."""
    head, check, _ = pieces(kind, payload, int.from_bytes(content[-8:], "little"))
    return content + head + payload + check


# -- every byte ----------------------------------------------------------------------------


@pytest.mark.parametrize("boot", BOOTS)
@pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
@pytest.mark.parametrize("sync", ["interval", "always"])
def test_the_undamaged_store_gives_the_last_step(sync: str, arrays: bool, boot: str) -> None:
    """On the same boot and on the next one."""
    assert outcome(MemoryDirectory(store(sync, arrays), boot=boot)) == END


@pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
@pytest.mark.parametrize("name", [OLD_CHECKPOINT, OLD_LOG])
def test_damage_of_what_is_not_needed_changes_nothing(name: str, arrays: bool) -> None:
    """The older checkpoint and its log are there for the case that the newer one is bad."""
    assert {found for _, _, found in outcomes(name, arrays=arrays)} == {END}


@pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
def test_damage_of_the_newest_checkpoint_changes_nothing(arrays: bool) -> None:
    """The one before it and the logs of both give the identical state, whatever was damaged."""
    assert {found for _, _, found in outcomes(NEW_CHECKPOINT, arrays=arrays)} == {END}


@pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
def test_damage_of_a_log_that_is_not_the_last_is_always_noticed(arrays: bool) -> None:
    """Another log continues it, so nothing of it can have been torn: it is an error by name."""
    for kind, offset, found in outcomes(NEW_LOG, arrays=arrays):
        expected = END if is_mark(kind, offset) else "CorruptionError"
        assert found == expected, (kind, offset)


@pytest.mark.parametrize("boot", BOOTS)
@pytest.mark.parametrize("sync", ["interval", "always"])
def test_a_second_damage_behind_a_bad_checkpoint_is_noticed(sync: str, boot: str) -> None:
    """With the newest checkpoint gone everything that stands in for it is needed, to the byte."""
    directory = MemoryDirectory()
    write(directory, "aacaac", sync=sync)
    files = changed(directory.files(), NEW_CHECKPOINT, b"?")
    assert outcome(MemoryDirectory(files, boot=boot)) == 4
    for name in (OLD_CHECKPOINT, OLD_LOG):
        for kind, offset, damaged in damages(files[name]):
            found = outcome(MemoryDirectory(changed(files, name, damaged), boot=boot))
            expected = 4 if is_mark(kind, offset) else "CorruptionError"
            assert found == expected, (name, kind, offset)


@pytest.mark.parametrize("boot", BOOTS)
@pytest.mark.parametrize(
    ("sync", "arrays", "marked"),
    [
        ("interval", False, True),
        ("interval", True, True),
        ("always", False, False),
        ("always", True, False),
        ("os", False, False),
    ],
)
def test_damage_of_the_last_log_costs_its_tail_at_most(
    sync: str, arrays: bool, marked: bool, boot: str
) -> None:
    """What is found is the state of an earlier step of this very log, or an error by name."""
    ends = record_ends(store(sync, arrays, marked=marked)[LAST_LOG])
    in_order = sync == "always" or boot == "boot-1"
    for kind, offset, found in outcomes(
        LAST_LOG, sync=sync, arrays=arrays, marked=marked, boot=boot
    ):
        assert found in expected(kind, offset, ends, marked, in_order), (kind, offset)


def expected(
    kind: str, offset: int, ends: list[int], marked: bool, in_order: bool
) -> set[int | str]:
    """Return what may come of damage in the last log, whose increments end at `ends`."""
    whole = LAST_BEGINS + sum(end <= offset for end in ends[1:])
    if is_mark(kind, offset):
        return {END}
    if offset < HEADER_SIZE:  # cut there, it looks as if it had never been born
        return {LAST_BEGINS if kind == "cut" else "CorruptionError"}
    if marked and whole < FORCED:
        return {"CorruptionError"}
    if kind == "cut" or not in_order:
        return {whole}
    # Where writes were not reordered, valid data behind the damage proves that it is damage. The
    # last eight bytes of a record seed the next one: then only the one after that is recognised.
    if whole < END - 2 or (whole == END - 2 and offset < ends[-2] - 8):
        return {"CorruptionError"}
    return {whole, "CorruptionError"}


def record_ends(log: bytes) -> list[int]:
    """Return where the header block and each increment end."""
    with open_log(MemoryDirectory({LAST_LOG: log}), LAST_LOG) as reader:
        return [HEADER_SIZE, *(reader.offset for _ in reader)]


@pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
@pytest.mark.parametrize("name", [NEW_CHECKPOINT, LAST_LOG])
def test_what_could_be_read_can_be_gone_on_with(name: str, arrays: bool) -> None:
    """A writer puts it right, appends, and stores a checkpoint; then everything is found again."""
    files = store("interval", arrays)
    content = files[name]
    for _, _, damaged in itertools.islice(damages(content), 0, None, 17):
        directory = with_next_boot(changed(files, name, damaged))
        try:
            writer = Writer(directory, arrays=arrays)
        except CorruptionError:
            continue
        step = writer.step
        writer.play("aa")
        assert read(directory) == step + 2
        writer.play("ca")
        assert read(directory) == step + 3
        assert write(directory, "a", arrays=arrays).step == step + 4


@given(
    st.text("aacCs|e", min_size=1, max_size=20),
    st.sampled_from(["always", "interval", "os"]),
    st.booleans(),
    st.sampled_from(BOOTS),
    st.data(),
)
def test_any_history_can_be_damaged_anywhere(
    text: str, sync: str, arrays: bool, boot: str, data: st.DataObject
) -> None:
    """One damaged byte, or one file cut short: never a wrong state, and only a tail is lost."""
    directory = MemoryDirectory()
    step = write(directory, text, sync=sync, arrays=arrays).step
    files = directory.files()
    if not files:
        return
    name = data.draw(st.sampled_from(sorted(files)))
    offset = data.draw(st.integers(0, len(files[name]) - 1))
    bits = data.draw(st.integers(0, 255))
    damaged = flipped(files[name], offset, bits) if bits else files[name][:offset]
    found = outcome(MemoryDirectory(changed(files, name, damaged), boot=boot))
    last = max(other for other in files if other.startswith("log"))
    assert found in (step, "CorruptionError") or (name == last and isinstance(found, int))


def test_a_store_on_the_disk_is_read_as_carefully(tmp_path: Path) -> None:
    """The same damage on the real file system; a few places in every file."""
    files = store("interval", False)
    for number, (name, content) in enumerate(files.items()):
        for kind, offset, damaged in itertools.islice(damages(content), number, None, 61):
            path = tmp_path / f"{name}-{kind}-{offset}-{damaged[offset:][:1].hex()}"
            path.mkdir(0o700)
            for other, whole in changed(files, name, damaged).items():
                (path / other).write_bytes(whole)
                (path / other).chmod(0o600)
            memory = MemoryDirectory(changed(files, name, damaged), boot="the next boot")
            try:
                found: int | str = read(LocalDirectory(str(path)))
            except TraxError as error:
                found = type(error).__name__
            assert found == outcome(memory), (name, kind, offset)


def test_a_length_is_believed_only_as_far_as_the_file_goes(tmp_path: Path) -> None:
    """No length in any record makes the reader take memory that the file does not fill."""
    files = store("interval", True)
    for name, length in itertools.product(files, (1 << 16, 1 << 31, 1 << 40, (1 << 56) - 1)):
        damaged = bytearray(files[name])
        struct.pack_into("<Q", damaged, HEADER_SIZE, length << 8 | BUFFER)
        path = tmp_path / f"{name}-{length}"
        path.mkdir(0o700)
        for other, content in changed(files, name, bytes(damaged)).items():
            (path / other).write_bytes(content)
            (path / other).chmod(0o600)
        directory: Directory
        for directory in (
            MemoryDirectory(changed(files, name, bytes(damaged))),
            LocalDirectory(str(path)),
        ):
            tracemalloc.start()
            try:
                read(directory)
            except CorruptionError:
                pass
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert peak < 1_000_000, (name, length)


# -- torn or damaged: the evidence ---------------------------------------------------------


def test_zeros_behind_the_end_are_torn_off() -> None:
    """A file system may have made the file longer before the bytes arrived."""
    files = store("interval", False)
    longer = files[LAST_LOG] + bytes(5000)
    recovery = RunReader(MemoryDirectory(changed(files, LAST_LOG, longer)), NAME)
    list(recovery.increments())
    assert recovery.torn is not None
    assert recovery.torn[:3] == (FileName("log", 4), len(files[LAST_LOG]), 5000)
    assert recovery.position.step == END


@pytest.mark.parametrize("sync", ["interval", "os"])
def test_without_a_reboot_a_bad_record_before_a_good_one_is_damage(sync: str) -> None:
    """A process that is killed leaves its writes in order; only a power cut reorders them."""
    directory = MemoryDirectory()
    write(directory, "caaa", sync=sync)
    name = "log-00000001"
    ends = record_ends(directory.files()[name])
    files = changed(directory.files(), name, flipped(directory.files()[name], ends[1] + 10))
    with pytest.raises(
        CorruptionError, match=rf"{name} is damaged at offset {ends[1]}: "
    ) as caught:
        read(MemoryDirectory(files))
    assert f"with valid data at offset {ends[2]}" in str(caught.value)
    assert (caught.value.path, caught.value.offset) == (f"<memory>/{name}", ends[1])
    assert read(with_next_boot(files)) == 1


def test_under_always_a_bad_record_before_a_good_one_is_damage_after_a_reboot_too() -> None:
    """Each record was on the disk before the next one was written."""
    directory = MemoryDirectory()
    write(directory, "caaa", sync="always")
    name = "log-00000001"
    ends = record_ends(directory.files()[name])
    files = changed(directory.files(), name, flipped(directory.files()[name], ends[1] + 10))
    with pytest.raises(CorruptionError, match="with valid data at offset"):
        read(with_next_boot(files))


@pytest.mark.parametrize("megabytes", [1, 17])
@pytest.mark.parametrize("part", ["payload", "length"])
def test_large_increments_are_not_given_up_where_one_is_damaged(megabytes: int, part: str) -> None:
    """However far behind the bad record the next good one stands, it is not a torn tail."""
    directory = MemoryDirectory()
    generations = RunWriter(directory, NAME, sync="always", keep=2, report=print)
    generations.checkpoint({"step": 0}, {"state": encode([], "state")}, derived=True)
    large = np.zeros(megabytes << 20, dtype="u1")
    for _ in range(3):
        generations.append(encode(large, "increment"))
    files = directory.files()
    offset = HEADER_SIZE + (5000 if part == "payload" else 1)
    files["log-00000001"] = flipped(files["log-00000001"], offset)
    with pytest.raises(CorruptionError, match="log-00000001 is damaged at offset 1024"):
        list(RunReader(MemoryDirectory(files), NAME).increments())


def test_what_was_forced_to_the_disk_is_never_a_torn_tail() -> None:
    """A cut below the mark is an error that says how much there was."""
    files = store("interval", False)
    ends = record_ends(files[LAST_LOG])
    files = changed(files, LAST_LOG, files[LAST_LOG][: ends[1]])
    with pytest.raises(CorruptionError, match=f"{ends[2]} bytes of it were forced to the disk"):
        read(with_next_boot(files))


def test_a_record_that_is_written_while_it_is_read_is_not_damage(tmp_path: Path) -> None:
    """A reader sees half of it, and then all of it and one more: there is nothing wrong."""
    directory = LocalDirectory(str(tmp_path))
    writer = write(directory, "caaaa", sync="os")
    name = tmp_path / "log-00000001"
    whole = name.read_bytes()
    ends = record_ends(whole)
    writer.generations.close()
    for cut in range(ends[2], ends[3]):
        os.truncate(name, cut)
        increments = RunReader(directory, NAME).increments()
        assert len(list(itertools.islice(increments, 2))) == 2
        name.write_bytes(whole)  # the writer goes on, between two looks of the reader
        assert len(list(increments)) <= 2


# -- the error -----------------------------------------------------------------------------


def test_without_any_checkpoint_that_holds_there_is_no_state() -> None:
    """trax never begins afresh over a run that it cannot read."""
    files = store("interval", False)
    for name in (OLD_CHECKPOINT, NEW_CHECKPOINT):
        files = changed(files, name, flipped(files[name], HEADER_SIZE + 20))
    with pytest.raises(
        CorruptionError, match=r"checkpoint-0000000. is damaged.*no older checkpoint"
    ):
        read(MemoryDirectory(files))


def test_a_first_checkpoint_that_is_damaged_is_an_error() -> None:
    """Also where nothing was logged behind it."""
    directory = MemoryDirectory()
    write(directory, "c")
    name = "checkpoint-00000001"
    for damaged in (b"", flipped(directory.files()[name], 5)):
        with pytest.raises(CorruptionError, match=f"{name} is damaged"):
            read(MemoryDirectory(changed(directory.files(), name, damaged)))


# -- files that are missing, moved or of somebody else -------------------------------------


def without(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files except one."""
    return {other: content for other, content in files.items() if other != name}


def test_a_missing_log_is_an_error() -> None:
    """One of the middle, or the one of the checkpoint; the message names it."""
    files = store("interval", False)
    with pytest.raises(CorruptionError, match=f"{NEW_LOG} is damaged.*missing"):
        read(MemoryDirectory(without(NEW_LOG, files)))
    only_old = without(NEW_CHECKPOINT, files)
    with pytest.raises(CorruptionError, match=f"{OLD_LOG} is damaged.*missing"):
        read(MemoryDirectory(without(OLD_LOG, only_old)))
    with pytest.raises(CorruptionError, match=f"{NEW_LOG} is damaged.*missing"):
        read(MemoryDirectory(without(NEW_LOG, only_old)))


def test_a_missing_checkpoint_is_made_up_for_by_the_one_before_it() -> None:
    """And where there is none, it is an error."""
    files = without(NEW_CHECKPOINT, store("interval", False))
    assert read(MemoryDirectory(files)) == END
    with pytest.raises(CorruptionError, match="missing"):
        read(MemoryDirectory(without(OLD_CHECKPOINT, files)))


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.permutations([OLD_LOG, NEW_LOG, LAST_LOG], 2))
)
def test_a_log_under_the_name_of_another_is_an_error(one: str, other: str) -> None:
    """A header block says of which generation a file is."""
    files = store("interval", False)
    moved = {**files, other: files[one]}
    if other == OLD_LOG:
        assert read(MemoryDirectory(moved)) == END  # not needed
        moved = without(NEW_CHECKPOINT, moved)
    with pytest.raises(CorruptionError, match=rf"{other} .*generation {one[-1]}"):
        read(MemoryDirectory(moved))


def test_a_checkpoint_under_the_name_of_another_is_an_error() -> None:
    """An old state under a new name would be a wrong state."""
    files = store("interval", False)
    for name in (NEW_CHECKPOINT, "checkpoint-00000004", "checkpoint-00000009"):
        with pytest.raises(CorruptionError, match=rf"{name} .*generation 2"):
            read(MemoryDirectory({**files, name: files[OLD_CHECKPOINT]}))


def test_a_log_and_a_checkpoint_are_not_mixed_up() -> None:
    """Each kind has its own magic bytes."""
    files = store("interval", False)
    assert read(MemoryDirectory({**files, NEW_CHECKPOINT: files[NEW_LOG]})) == END
    with pytest.raises(CorruptionError, match="this is not a log"):
        read(MemoryDirectory({**files, NEW_LOG: files[NEW_CHECKPOINT]}))


@pytest.mark.parametrize("name", [NEW_CHECKPOINT, NEW_LOG, LAST_LOG])
def test_a_file_of_another_run_of_the_same_name_is_an_error(name: str) -> None:
    """Such as one from another store, or from before a fresh start."""
    files = store("interval", False)
    other = MemoryDirectory()
    write(other, TEXT)
    with pytest.raises(CorruptionError, match="belongs to another run of the same name"):
        read(MemoryDirectory(changed(files, name, other.files()[name])))


@pytest.mark.parametrize("name", [NEW_CHECKPOINT, NEW_LOG, LAST_LOG])
def test_a_file_of_a_run_of_another_name_is_an_error(name: str) -> None:
    """A directory that was renamed, or a file that was moved: never somebody else's state."""
    files = store("interval", False)
    with pytest.raises(CorruptionError, match="belongs to the run 'run', not to 'walk'"):
        RunReader(MemoryDirectory({name: files[name]}), "walk")


def test_files_that_do_not_count_are_not_looked_at() -> None:
    """Temporary ones, those set aside, and whatever else is there."""
    files = store("interval", False)
    others = ("checkpoint-00000009.tmp", "log-00000009.torn-5", "log-00000002.broken", "notes.txt")
    assert read(MemoryDirectory({**files, **dict.fromkeys(others, b"?")})) == END
    assert not RunReader(MemoryDirectory(dict.fromkeys(others, b"?")), NAME).found


# -- nothing is unpickled before its checksum holds ----------------------------------------

SPRUNG: list[str] = []


class Trap:
    """Whoever unpickles it leaves a trace."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return spring, ("sprung",)


def spring(trace: str) -> None:
    SPRUNG.append(trace)


def test_nothing_is_unpickled_before_its_checksum_holds() -> None:
    """Neither an increment nor a state; where the checksum holds, the trap works."""
    trap = pickle.dumps(Trap(), 5)
    directory = MemoryDirectory()
    writer = write(directory, "aacaac")
    writer.generations.append(trap)
    writer.append()
    files = directory.files()

    SPRUNG.clear()
    with pytest.raises(AssertionError):  # what it leaves is not the increment of that step
        read(MemoryDirectory(files))
    assert SPRUNG == ["sprung"]

    SPRUNG.clear()
    files[NEW_LOG] = flipped(files[NEW_LOG], files[NEW_LOG].index(b"sprung"))
    state = encode([0, 1, 2, 3], "state").payload
    before, _, behind = files[NEW_CHECKPOINT].partition(state)
    planted = before[:-7] + len(trap).to_bytes(7, "little") + trap + behind
    for boot in BOOTS:
        outcome(MemoryDirectory(files, boot=boot))
        outcome(MemoryDirectory(changed(files, NEW_CHECKPOINT, planted), boot=boot))
    assert SPRUNG == []


# -- what a recovery notes -----------------------------------------------------------------


def test_an_empty_directory_holds_nothing() -> None:
    """And is no error."""
    recovery = RunReader(MemoryDirectory(), NAME)
    assert not recovery.found
    assert list(recovery.increments()) == []
    assert (recovery.position, recovery.last, recovery.highest, recovery.run) == ((0, 0), 0, 0, "")


def test_a_run_that_died_before_its_first_checkpoint_never_began() -> None:
    """Its log promised a checkpoint that did not come, and holds nothing."""
    directory = MemoryDirectory()
    write(directory, "c")
    files = without("checkpoint-00000001", directory.files())
    recovery = RunReader(MemoryDirectory(files), NAME)
    assert not recovery.found
    assert recovery.unborn == [FileName("log", 1)]


def test_a_log_that_was_not_born_holds_nothing() -> None:
    """A header block that never reached the disk behind the last log is noted and read past."""
    files = store("interval", False)
    for block in (b"", b"\x89traxL", bytes(HEADER_SIZE)):
        recovery = RunReader(MemoryDirectory({**files, "log-00000005": block}), NAME)
        assert sum(1 for _ in recovery.increments()) == END - 4
        assert recovery.unborn == [FileName("log", 5)]
        assert (recovery.last, recovery.highest) == (4, 5)


def test_how_much_there_is_to_replay_is_known_before_it_is_read() -> None:
    """In bytes, without the header blocks."""
    files = store("interval", False)
    recovery = RunReader(MemoryDirectory(files), NAME)
    assert recovery.log_bytes == len(files[NEW_LOG]) + len(files[LAST_LOG]) - 2 * HEADER_SIZE
    directory = MemoryDirectory()
    write(directory, "aac")
    assert RunReader(directory, NAME).log_bytes == 0


@pytest.mark.parametrize(
    "look", [lambda recovery: recovery.log_bytes, lambda recovery: list(recovery.increments())]
)
def test_a_disk_that_refuses_while_a_log_is_read_is_a_named_error(
    look: Callable[[RunReader], Any],
) -> None:
    """It says which file, and is no traceback of the operating system."""
    directory = FaultyDirectory()
    write(directory, "caa")
    recovery = RunReader(directory, NAME)
    directory.fail("open", errno.EIO)
    with pytest.raises(StorageError, match=r"reading .*Input/output error") as caught:
        look(recovery)
    assert isinstance(caught.value.__cause__, OSError)


def test_reading_alone_holds_no_file_open(tmp_path: Path) -> None:
    """Also where it is given up in the middle, or ends with an error."""
    directory = LocalDirectory(str(tmp_path))
    write(directory, TEXT).generations.close()
    before = {*os.listdir("/dev/fd")}
    increments = RunReader(directory, NAME).increments()
    next(increments)
    increments.close()  # type: ignore[attr-defined]
    (tmp_path / LAST_LOG).write_bytes(bytes(2000))
    with pytest.raises(CorruptionError):
        read(directory)
    (tmp_path / NEW_CHECKPOINT).write_bytes(bytes(2000))
    with pytest.raises(CorruptionError):
        read(directory)
    assert {*os.listdir("/dev/fd")} <= before


def test_damage_is_a_finding_and_never_reaches_the_user() -> None:
    """What is raised is a trax error in every case; the finding is not one."""
    assert not issubclass(Damage, TraxError)
    assert PICKLE != BUFFER
    increments: list[Any] = []
    with pytest.raises(CorruptionError):
        increments += RunReader(MemoryDirectory({NEW_LOG: bytes(3000)}), NAME).increments()


# -- records that hold, and make no sense --------------------------------------------------


@pytest.mark.parametrize("boot", BOOTS)
@pytest.mark.parametrize("kind", [BEGINS | NOTE, BEGINS | CONTEXT])
def test_a_context_that_is_cut_short_is_damage(kind: int, boot: str) -> None:
    """Its checksum holds, so no crash has torn it; and what it says is not taken for less."""
    files = store("interval", arrays=False)
    context = encode_context([(Key.parse("one"), b"1"), (Key.parse("two"), b"2")])[:-1]
    content = with_record(files[LAST_LOG], kind, context)
    if kind == BEGINS | CONTEXT:
        content = with_record(content, PICKLE, b"\x80\x05K\x01.")
    directory = MemoryDirectory(changed(files, LAST_LOG, content), boot=boot)
    with pytest.raises(CorruptionError, match="cut short") as caught:
        read(directory)
    entry = len(encode_context([(Key.parse("one"), b"1")]))
    assert caught.value.offset == len(files[LAST_LOG]) + 8 + entry


@pytest.mark.parametrize("boot", BOOTS)
def test_a_record_that_holds_was_not_torn(boot: str) -> None:
    """Where no trax would have written it, it is not cut off: somebody meant it."""
    files = store("interval", arrays=False)
    content = with_record(files[LAST_LOG], PICKLE, b"\x80\x05K\x01.")
    directory = MemoryDirectory(changed(files, LAST_LOG, content), boot=boot)
    with pytest.raises(CorruptionError, match="does not belong here") as caught:
        read(directory)
    assert caught.value.offset == len(files[LAST_LOG])
