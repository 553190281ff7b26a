"""One run, held for writing: what is acknowledged is kept, whatever machine and disk do."""

from __future__ import annotations

import contextlib
import errno
import itertools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import FaultyDirectory
from hypothesis import given
from hypothesis import strategies as st
from support import (
    NAME,
    Writer,
    as_operations,
    changed,
    flipped,
    read,
    run_script,
    states_of,
    with_next_boot,
    write,
)

from trax import CorruptionError, DurabilityError, LockedError, StorageError
from trax.fsck.verify import examine
from trax.storage.checkpoint import read_checkpoint
from trax.storage.codec import decode, encode
from trax.storage.context import Key, Kind, encode_context
from trax.storage.filenames import FileName
from trax.storage.filesystem import LocalDirectory
from trax.storage.log import open_log
from trax.storage.records import HEADER_SIZE
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter
from trax.testing.memory import MemoryDirectory, crash_images

ARRAYS = pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])
SYNCS = pytest.mark.parametrize("sync", ["always", "interval", "os"])


# -- writing and reading -------------------------------------------------------------------


@ARRAYS
@SYNCS
@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("", 0),
        ("a", 1),
        ("c", 0),
        ("aaa", 3),
        ("caaa", 3),
        ("aacaa", 4),
        ("ccc", 0),
        ("acacac", 3),
        ("aa|aa|aa", 6),
        ("aca|cac|a|a", 5),
        ("a|||a", 2),
        ("aceae|e|ca", 3),
        ("asacsas", 3),
        ("abawa", 3),
        ("cabawa", 3),
        ("cabaabwae", 4),
        ("cabaca|bawba|", 5),
    ],
)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_every_step_comes_back(
    where: str, text: str, step: int, sync: str, arrays: bool, tmp_path: Path
) -> None:
    """Whatever the order of increments, checkpoints, syncs and processes."""
    directory = MemoryDirectory() if where == "memory" else LocalDirectory(str(tmp_path))
    writer = write(directory, text, sync=sync, arrays=arrays)
    assert writer.step == writer.acknowledged == read(directory) == step
    assert writer.said == []
    writer.generations.close()
    assert read(directory) == step


def test_the_first_log_is_begun_by_the_first_increment() -> None:
    """Holding a run alone writes nothing."""
    directory = MemoryDirectory()
    writer = write(directory, "")
    assert directory.list() == []
    assert writer.generations.log_bytes == 0
    writer.append()
    assert directory.list() == ["log-00000001"]
    assert writer.generations.log_bytes == len(directory.files()["log-00000001"])


def test_a_writer_never_adds_to_a_file_of_another() -> None:
    """Each process begins the next generation; the files before it stay as they were."""
    directory = MemoryDirectory()
    write(directory, "aca").generations.close()
    before = directory.files()
    write(directory, "aa").generations.close()
    after = directory.files()
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["log-00000003"]


def test_each_log_declares_where_the_one_before_it_ends() -> None:
    """The generation, the step, and the checksum of the last record."""
    directory = MemoryDirectory()
    write(directory, "aaca|aa")
    fields = {}
    ends = {}
    for generation in (1, 2, 3):
        name = FileName("log", generation)
        with open_log(directory, str(name)) as reader:
            list(reader)
            fields[generation], ends[generation] = reader.fields, reader.chain
    assert [fields[number]["after"] for number in (1, 2, 3)] == [
        [0, 0, f"{0:016x}"],
        [1, 2, f"{ends[1]:016x}"],
        [2, 3, f"{ends[2]:016x}"],
    ]
    assert [fields[number]["origin"] for number in (1, 2, 3)] == ["create"] * 3
    assert len({fields[number]["run"] for number in (1, 2, 3)}) == 1


def test_behind_the_last_generation_that_can_be_there_is_no_other() -> None:
    """What would be written there could not be found again, so nothing is."""
    directory = MemoryDirectory({"log-999999999999999999": b""})
    writer = Writer(directory)
    for go_on in (writer.append, writer.checkpoint):
        with pytest.raises(StorageError, match="there can be no later one"):
            go_on()
    assert directory.list() == ["log-999999999999999999.torn-0"]
    directory.remove("log-999999999999999999.torn-0")
    assert write(directory, "a").step == 1


def test_a_file_says_who_wrote_it() -> None:
    """The run, its name, and the versions, in the header block."""
    directory = MemoryDirectory()
    write(directory, "aca", sync="os")
    log = {
        "run",
        "name",
        "generation",
        "trax",
        "python",
        "after",
        "origin",
        "derived",
        "sync",
        "boot",
        "written",
        "nonce",
    }
    with open_log(directory, "log-00000002") as reader:
        assert set(reader.fields) == log
        assert (reader.fields["sync"], reader.fields["boot"]) == ("os", "boot-1")
    fields = read_checkpoint(directory, FileName("checkpoint", 2)).fields
    assert set(fields) >= {"run", "generation", "python", "cloudpickle", "step", "log"}


# -- a run without a step ------------------------------------------------------------------


def store_first(writer: RunWriter, state: Any) -> None:
    parts = {"state": encode(state, "state")}
    writer.checkpoint({"step": 0}, parts, derived=True, note=b"")


def first_state(reader: RunReader) -> Any:
    assert reader.checkpoint is not None
    assert not reader.has_increments
    reader.read()
    return decode(reader.checkpoint.parts["state"], "state")


def test_a_run_without_a_step_can_begin_anew() -> None:
    """Whenever the power fails meanwhile, one of both states is the first, and the run goes on."""
    directory = MemoryDirectory()
    store_first(RunWriter(directory, NAME, sync="interval", keep=2, report=print), "before")
    begun = len(directory.operations)

    def begin_anew(place: MemoryDirectory, state: str) -> RunWriter:
        reader = RunReader(place, NAME)
        assert first_state(reader) in ("before", "after")
        writer = RunWriter(place, NAME, sync="interval", keep=2, report=print)
        writer.adopt(reader)
        writer.begin_again()
        store_first(writer, state)
        assert writer.run == reader.run
        return writer

    begin_anew(directory, "after").append(encode(1, "increment"))
    assert sorted(directory.list()) == ["checkpoint-00000002", "log-00000002"]
    found = set()
    for done in range(begun, len(directory.operations)):
        for files in crash_images(directory.operations[:done]):
            found.add(first_state(RunReader(with_next_boot(files), NAME)))
            assert examine(with_next_boot(files), NAME, "store").good
            image = with_next_boot(files)
            begin_anew(image, "after")
            assert first_state(RunReader(image, NAME)) == "after"
    assert found == {"before", "after"}
    assert RunReader(directory, NAME).has_increments


# -- a power cut ---------------------------------------------------------------------------

# Two checkpoints and more, increments before the first, several logs, two takeovers.
SCENARIO = "aacaaca|aasaacsa|sacaa|abasaw|aba|abawbawa"


class Witness(Writer):
    """Remembers at which operation how many increments could not be lost any more."""

    def __init__(self, directory: MemoryDirectory, **options: Any) -> None:
        self.memory = directory
        self.promises = [(0, 0)]
        super().__init__(directory, **options)
        self.promise()

    def promise(self) -> None:
        self.promises.append((len(self.memory.operations), self.step))


def scenario(sync: str, arrays: bool) -> tuple[MemoryDirectory, list[int]]:
    """Play the scenario; return the directory, and for every prefix what must survive it."""
    directory = MemoryDirectory()
    promises = [(0, 0)]
    writer = Witness(directory, sync=sync, arrays=arrays)
    for letter in SCENARIO:
        if letter == "|":
            promises += writer.promises
            writer = Witness(directory, sync=sync, arrays=arrays)
        else:
            writer.play(letter)
            if sync == "always" or letter in "bcs":
                writer.promise()
    promises += writer.promises
    promised = [
        max(step for operation, step in promises if operation <= count)
        for count in range(len(directory.operations) + 1)
    ]
    assert promised[-1] >= 10
    return directory, promised


def go_on(directory: MemoryDirectory, found: int, *, arrays: bool) -> None:
    """Go on with a run as the next process would, and read it again after each thing done."""
    writer = Writer(directory, sync="always", arrays=arrays)
    assert writer.step == found
    assert read(directory) == found
    writer.play("a")
    assert read(directory) == found + 1
    writer.play("ca")
    assert read(directory) == found + 2


@pytest.mark.parametrize(
    ("sync", "arrays", "least"),
    [
        ("always", False, 300),
        ("always", True, 300),
        ("interval", False, 300),
        ("interval", True, 300),
        ("os", False, 300),
    ],
)
def test_after_a_power_cut_nothing_is_lost_that_was_promised(
    sync: str, arrays: bool, least: int, count: Callable[[str, int], None]
) -> None:
    """At every operation, whatever of the unforced writes and names has arrived on the disk."""
    directory, promised = scenario(sync, arrays)
    images = set()
    for done, floor in enumerate(promised):
        for files in crash_images(directory.operations[:done]):
            image = tuple(sorted(files.items())), floor
            if image in images:
                continue
            images.add(image)
            after = with_next_boot(files)
            found = read(after)
            assert found >= floor, f"after {done} operations, {found} of {floor} steps"
            if not arrays or len(images) % 10 == 0:
                go_on(after, found, arrays=arrays)
    assert len(images) >= least
    count("crash images recovered", len(images))


@pytest.mark.parametrize(("sync", "arrays"), [("always", False), ("interval", True), ("os", False)])
def test_after_a_kill_nothing_is_lost_at_all(
    sync: str, arrays: bool, count: Callable[[str, int], None]
) -> None:
    """Everything that was written is there, in order, and the last write may be cut anywhere."""
    directory = MemoryDirectory()
    writer = Witness(directory, sync=sync, arrays=arrays)
    for letter in SCENARIO.replace("|", ""):
        writer.play(letter)
        writer.promise()
    images = 0
    for number, operation in enumerate(directory.operations):
        floor = max(step for done, step in writer.promises if done <= number)
        for size in range(len(operation.data)) if operation.kind == "write" else [0]:
            killed = MemoryDirectory()
            for done in directory.operations[:number]:
                killed.apply(done)
            if size:
                killed.apply(operation._replace(data=operation.data[:size]))
            assert floor <= read(killed) <= floor + 1
            if size < 2:
                go_on(killed, read(killed), arrays=arrays)
            images += 1
    assert images > 5_000
    count("writes cut short by a kill, at every byte", images)


@given(
    st.text("aabwcCs|", max_size=20),
    st.sampled_from(["always", "interval", "os"]),
    st.integers(1, 3),
    st.booleans(),
    st.data(),
)
def test_any_history_can_be_cut_off_anywhere(
    text: str, sync: str, keep: int, arrays: bool, data: st.DataObject
) -> None:
    """Whatever a run has been through, what was promised at the power cut is there behind it."""
    directory = MemoryDirectory()
    promises = [(0, 0)]
    for part in text.split("|"):
        writer = Witness(directory, sync=sync, keep=keep, arrays=arrays)
        for letter in part:
            writer.play(letter)
            if sync == "always" or letter in "bcCs":
                writer.promise()
        promises += writer.promises
    assert read(directory) == writer.step
    count = data.draw(st.integers(0, len(directory.operations)))
    promised = max(step for operation, step in promises if operation <= count)
    for files in itertools.islice(crash_images(directory.operations[:count]), 0, None, 3):
        after = with_next_boot(files)
        found = read(after)
        assert promised <= found <= writer.step
        go_on(after, found, arrays=arrays)


@ARRAYS
def test_a_power_cut_while_another_one_is_recovered_from_loses_nothing(
    arrays: bool, count: Callable[[str, int], None]
) -> None:
    """What the first one left is put right, gone on with, and cut off again at every operation."""
    directory, promised = scenario("interval", arrays)
    images = 0
    for number in range(0, len(promised), 5):
        for files in itertools.islice(crash_images(directory.operations[:number]), 1, None, 7):
            second = with_next_boot(files)
            writer = Writer(second, sync="always", arrays=arrays)
            recovered = writer.step
            writer.play("aca")
            operations = [*as_operations(files), *second.operations]
            for later in range(len(operations) - len(second.operations), len(operations) + 1):
                for again in itertools.islice(crash_images(operations[:later]), later % 7, None, 7):
                    found = read(MemoryDirectory(again, boot="the boot after that"))
                    assert promised[number] <= found <= recovered + 2
                    images += 1
    assert images > 500
    count("crash images recovered", images)


# -- a disk that is full or broken ---------------------------------------------------------


@ARRAYS
@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_full_disk_costs_only_the_increment_that_does_not_fit(sync: str, arrays: bool) -> None:
    """What was acknowledged stays, and with room again it goes on in the same log."""
    for room in range(0, 120, 7):
        directory = FaultyDirectory()
        writer = write(directory, "caa", sync=sync, arrays=arrays)
        directory.room = room
        with pytest.raises(DurabilityError, match="No space left"):
            writer.play("a" * 10)
        directory.heal()
        assert read(directory) == writer.acknowledged == writer.step
        writer.append()
        assert read(directory) == writer.acknowledged == writer.step
        assert sorted(directory.inner.files()) == ["checkpoint-00000001", "log-00000001"]


@ARRAYS
def test_a_disk_too_full_for_a_checkpoint_keeps_the_old_one(arrays: bool) -> None:
    """The temporary file is dropped, it goes on on the old checkpoint and the logs."""
    directory = FaultyDirectory()
    writer = write(directory, "aaca", arrays=arrays)
    size = len(directory.inner.files()["checkpoint-00000002"])
    for room in (0, HEADER_SIZE, HEADER_SIZE + 50, HEADER_SIZE + size - 1):
        directory.room = room
        with pytest.raises(StorageError, match="No space left") as caught:
            writer.checkpoint()
        assert not isinstance(caught.value, DurabilityError)
        assert "Make room" in str(caught.value)
        assert not [name for name in directory.inner.list() if name.endswith(".tmp")]
        assert max(name for name in directory.inner.list() if "checkpoint" in name)[-1] == "2"
        directory.heal()
        writer.append()
        assert read(directory) == writer.step
    writer.play("ca")
    assert read(directory) == writer.step == 8
    assert read(with_next_boot(directory.inner.files())) == writer.step


def test_a_log_that_cannot_be_begun_is_an_error_and_can_be_tried_again() -> None:
    """The first increment says so; with room it is appended."""
    directory = FaultyDirectory()
    writer = Writer(directory)
    directory.room = 100
    with pytest.raises(DurabilityError, match="a log could not be created"):
        writer.append()
    directory.heal()
    writer.play("aa")
    assert read(directory) == 2


def test_a_failing_sync_in_the_background_calls_for_a_checkpoint_in_new_files() -> None:
    """The log is suspect; the new checkpoint and the new log are what counts from then on."""
    directory = FaultyDirectory()
    writer = write(directory, "caasaa")
    assert not writer.generations.suspect
    directory.fail("sync", errno.EIO, times=1)
    writer.generations.sync()
    assert writer.generations.suspect
    writer.checkpoint()
    assert not writer.generations.suspect
    assert "syncing the log failed" in writer.said[0]
    assert "take its place" in writer.said[0]
    writer.play("as")
    assert read(directory) == 5
    # What the failed sync should have forced has never arrived on the disk.
    for files in crash_images(directory.on_disk()):
        assert read(with_next_boot(files)) == 5


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_sync_that_succeeds_after_one_that_failed_is_not_trusted(sync: str) -> None:
    """Linux calls the pages clean: nothing more is acknowledged in that file."""
    directory = FaultyDirectory()
    writer = write(directory, "caa", sync=sync)
    directory.fail("sync", errno.EIO, times=1)
    if sync == "always":
        with pytest.raises(DurabilityError):
            writer.append()
    else:
        writer.generations.sync()
    writer.generations.sync()
    for _ in range(2):
        with pytest.raises(DurabilityError, match="a new checkpoint begins a new log"):
            writer.append()
    writer.play("ca")
    assert read(directory) == writer.step
    for files in crash_images(directory.on_disk()):
        assert read(with_next_boot(files)) >= (writer.step if sync == "always" else writer.step - 1)


def test_a_failing_sync_at_a_checkpoint_does_not_keep_it_from_being_stored() -> None:
    """The state is complete in itself and needs nothing of the bad log."""
    directory = FaultyDirectory()
    writer = write(directory, "caa")
    directory.fail("sync", errno.EIO, times=1)
    writer.play("ca")
    assert "syncing the log failed" in writer.said[0]
    assert read(directory) == 3


def with_a_failed_sync(directory: FaultyDirectory, sync: str) -> Writer:
    """Return a writer whose log of two increments could not be forced to the disk."""
    writer = write(directory, "casa", sync=sync)
    directory.fail("sync", errno.EIO, times=1)
    if sync == "always":
        with pytest.raises(DurabilityError):
            writer.append()
    else:
        writer.generations.sync()
    directory.heal()
    return writer


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_power_cut_while_a_failed_sync_is_made_up_for_loses_nothing_that_was_forced(
    sync: str,
) -> None:
    """Between the failure and the new checkpoint the forced part of the bad log is the truth."""
    directory = FaultyDirectory()
    writer = with_a_failed_sync(directory, sync)
    failed = len(directory.inner.operations)
    writer.checkpoint()
    for count in range(failed, len(directory.inner.operations) + 1):
        for files in crash_images(directory.on_disk(count)):
            assert read(with_next_boot(files)) >= (2 if sync == "always" else 1)


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize(
    ("kind", "after"),
    [("create", 1), ("write", 1), ("sync", 1), ("rename", 0), ("sync directory", 1)],
)
def test_where_the_checkpoint_fails_too_durability_is_lost_and_said(
    kind: str, after: int, sync: str
) -> None:
    """Nothing more is acknowledged until a checkpoint in new files has succeeded."""
    directory = FaultyDirectory()
    writer = with_a_failed_sync(directory, sync)
    directory.fail(kind, errno.EIO, after=after)
    with pytest.raises(DurabilityError, match="a checkpoint could not be stored"):
        writer.checkpoint()
    directory.heal()
    with pytest.raises(DurabilityError):
        writer.append()
    assert read(directory) >= 2
    for files in crash_images(directory.on_disk()):
        assert read(with_next_boot(files)) >= (2 if sync == "always" else 1)
    writer.play("ca")
    assert read(directory) == writer.acknowledged
    for files in crash_images(directory.on_disk()):
        assert read(with_next_boot(files)) >= writer.acknowledged - (sync == "interval")


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("begun", [False, True])
def test_what_a_failed_sync_has_lost_is_written_again_by_the_next_process(
    begun: bool, sync: str
) -> None:
    """It reads it all the same, and the next sync says that all is well."""
    directory = FaultyDirectory()
    writer = with_a_failed_sync(directory, sync)
    if begun:  # and the next log says where the bad one ends
        directory.fail("rename", errno.EIO)
        with pytest.raises(DurabilityError, match="a checkpoint could not be stored"):
            writer.checkpoint()
        directory.heal()
    writer = Writer(directory, sync=sync)
    writer.play("as")
    for files in crash_images(directory.on_disk()):
        assert read(with_next_boot(files)) == writer.acknowledged == writer.step


def test_closing_says_that_the_disk_refused() -> None:
    """The last chance to say so, whether the sync failed now or in the background before."""
    directory = FaultyDirectory()
    writer = write(directory, "caa")
    directory.fail("sync", errno.EIO, times=1)
    with pytest.raises(DurabilityError, match="could not be forced to the disk"):
        writer.generations.close()
    writer.generations.close()

    directory = FaultyDirectory()
    writer = write(directory, "caa")
    directory.fail("sync", errno.EIO, times=1)
    writer.generations.sync()
    with pytest.raises(DurabilityError, match="could not be forced to the disk"):
        writer.generations.close()


def test_closing_forces_what_was_appended() -> None:
    """Except where the person asked for nothing to be forced."""
    for sync in ("always", "interval", "os"):
        directory = MemoryDirectory()
        write(directory, "caa", sync=sync).generations.close()
        found = {read(with_next_boot(files)) for files in crash_images(directory.operations)}
        assert found == ({0, 1, 2} if sync == "os" else {2})


def length_of_output(length: int) -> bytes:
    """Return the context of a step after which an output file has this length."""
    return encode_context([(Key(Kind.OUTPUT, "../out.txt", 0), struct.pack("<Q", length))])


@pytest.mark.parametrize("closed", [False, True])
def test_what_was_forced_with_its_output_survives_a_power_cut_though_nothing_follows(
    closed: bool,
) -> None:
    """The mark that says so is on the disk by the second sync, and when the run is closed."""
    directory = MemoryDirectory()
    generations = write(directory, "c").generations
    generations.note(length_of_output(0))
    generations.append(encode(0, "increment"), length_of_output(10))
    if closed:
        generations.close()
    else:
        generations.sync()
        generations.sync()
    for files in crash_images(directory.operations):
        assert read(with_next_boot(files)) == 1


def test_a_step_that_comes_while_output_files_are_forced_is_not_marked_as_forced() -> None:
    """What it wrote to them may not be on the disk."""
    directory = MemoryDirectory()
    generations = write(directory, "c").generations
    generations.note(length_of_output(0))
    generations.append(encode(0, "increment"), length_of_output(10))

    def force_outputs() -> None:
        if generations.position.step == 1:
            generations.append(encode(1, "increment"), length_of_output(20))

    generations.before_sync = force_outputs
    generations.sync()
    assert read(MemoryDirectory(directory.files())) == 2
    assert read(with_next_boot(directory.files())) == 1


def test_after_a_power_cut_steps_that_wrote_nothing_end_where_the_log_was_forced() -> None:
    """Those after it are on the disk by chance, and so may be what they wrote before."""
    directory = MemoryDirectory()
    generations = write(directory, "c").generations
    generations.note(length_of_output(10))
    for number in range(8):
        if number == 4:
            generations.sync()
            generations.sync()
        generations.append(encode(number, "increment"))
    assert read(MemoryDirectory(directory.files())) == 8
    assert read(with_next_boot(directory.files())) == 4


def test_what_a_process_went_on_from_is_found_however_often_it_is_read_after_a_power_cut() -> None:
    """It was forced with its output before the process began a log, which may have no step."""
    directory = MemoryDirectory()
    generations = write(directory, "c").generations
    generations.note(length_of_output(0))
    generations.append(encode(0, "increment"), length_of_output(10))
    generations.append(encode(1, "increment"), length_of_output(20))
    Writer(directory).generations.append(encode(2, "increment"), length_of_output(30))
    for files in crash_images(directory.operations):
        image = with_next_boot(files)
        assert read(image) == 2
        assert Writer(image).step == read(image) == 2


# -- damaged and torn files ----------------------------------------------------------------


def test_a_damaged_newest_checkpoint_is_made_up_for_and_set_aside() -> None:
    """The one before it and both logs give the state; the bad file is kept, and it is said."""
    directory = MemoryDirectory()
    write(directory, "aacaacaa")
    files = directory.files()
    name = "checkpoint-00000003"
    bad = flipped(files[name], len(files[name]) // 2)
    directory = MemoryDirectory(changed(files, name, bad))
    writer = Writer(directory)
    assert writer.step == 6
    assert directory.files()[f"{name}.broken"] == bad
    assert name not in directory.list()
    assert len(writer.said) == 1
    assert f"<memory>/{name} is damaged: " in writer.said[0]
    assert f"kept as {name}.broken" in writer.said[0]
    assert "\n" not in writer.said[0]
    writer.play("acaca")
    assert read(directory) == writer.step == 9
    assert directory.files()[f"{name}.broken"] == bad
    assert Writer(directory).said == []


def test_reading_alone_sets_nothing_aside() -> None:
    """Only who holds the run puts it right."""
    directory = MemoryDirectory()
    write(directory, "aacaacaa")
    name = "checkpoint-00000003"
    directory = MemoryDirectory(changed(directory.files(), name, b"?"))
    assert read(directory) == 6
    assert directory.operations == []


@ARRAYS
def test_a_torn_tail_is_kept_aside_and_cut_and_said(arrays: bool) -> None:
    """At every length: the bytes are saved, the log ends with its last whole increment."""
    directory = MemoryDirectory()
    write(directory, "caa", arrays=arrays)
    whole = directory.files()
    name = "log-00000001"
    longer = MemoryDirectory()
    write(longer, "caaa", arrays=arrays)
    end = len(whole[name])
    size = len(longer.files()[name]) - end
    for length in range(1, size):
        torn = longer.files()[name][: end + length]
        directory = MemoryDirectory(changed(longer.files(), name, torn))
        writer = Writer(directory, arrays=arrays)
        assert writer.step == 2
        assert directory.files()[f"{name}.torn-{end}"] == torn[end:]
        assert len(directory.files()[name]) == end
        (said,) = writer.said
        assert f"<memory>/{name} was torn at offset {end} (" in said
        assert f" {length} bytes" in said
        assert f"kept as {name}.torn-{end}" in said
        assert "\n" not in said
        writer.play("aa")
        assert read(directory) == 4
        assert Writer(directory, arrays=arrays).said == []


def test_what_was_torn_is_on_the_disk_before_it_is_cut() -> None:
    """First the copy is forced, then the log is cut and forced, then the names."""
    directory = MemoryDirectory()
    write(directory, "caa")
    name = "log-00000001"
    files = changed(directory.files(), name, directory.files()[name] + b"torn")
    directory = MemoryDirectory(files)
    Writer(directory)
    kinds = [operation.kind for operation in directory.operations]
    assert kinds == ["create", "write", "sync", "truncate", "write", "sync", "sync directory"]


def test_the_last_log_is_forced_before_the_next_one_continues_it() -> None:
    """What the next log declares as its beginning must be on the disk before it is."""
    directory = MemoryDirectory()
    write(directory, "caa", sync="os")
    done = len(directory.operations)
    writer = Writer(directory, sync="os")
    assert [operation.kind for operation in directory.operations[done:]] == [
        "write",
        "sync",
        "sync directory",
    ]
    for files in crash_images(directory.operations):
        assert read(with_next_boot(files)) == 2
    writer.append()


def test_a_log_that_was_not_born_is_put_aside() -> None:
    """Its name is not used again, and the run goes on behind it."""
    directory = MemoryDirectory()
    write(directory, "caa")
    directory = MemoryDirectory({**directory.files(), "log-00000002": b"\x89tra"})
    writer = Writer(directory)
    assert writer.step == 2
    assert directory.files()["log-00000002.torn-0"] == b"\x89tra"
    assert "log-00000002" not in directory.list()
    writer.play("aca")
    assert read(directory) == 4


@pytest.mark.parametrize("left", [0, 100])
def test_a_log_that_could_not_be_begun_keeps_no_older_checkpoint_from_standing_in(
    left: int,
) -> None:
    """A disk that fails at every call leaves it behind, and later it does not matter."""
    directory = FaultyDirectory()
    writer = write(directory, "caa")
    directory.fault = lambda number, kind: errno.EIO if kind in ("write", "remove") else 0
    with pytest.raises(StorageError):
        writer.checkpoint()
    directory.heal()
    writer.play("aca")
    files = directory.inner.files()
    assert len(files["log-00000002"]) < HEADER_SIZE
    files["log-00000002"] = files["log-00000002"][:left]
    name = "checkpoint-00000003"
    damaged = MemoryDirectory(changed(files, name, flipped(files[name], 1100)))
    assert read(damaged) == 4
    assert write(damaged, "aca").step == 6
    assert read(damaged) == 6


def test_a_checkpoint_that_was_being_written_does_not_stay_forever() -> None:
    """Each kill could leave a file of the size of the state; who takes over clears it away."""
    directory = MemoryDirectory()
    write(directory, "caac")
    names = [operation.name for operation in directory.operations]
    begun = names.index("checkpoint-00000002.tmp")  # where it is created
    for operations in (begun + 1, begun + 3):
        killed = MemoryDirectory()
        for operation in directory.operations[:operations]:
            killed.apply(operation)
        assert "checkpoint-00000002.tmp" in killed.list()
        write(killed, "aca")
        assert not [name for name in killed.list() if name.endswith(".tmp")]
        assert read(killed) == 4


def test_nothing_older_stands_in_for_a_checkpoint_that_does_not_follow_from_it() -> None:
    """Damaged, it is an error by name for readers and writers, and nothing is changed."""
    directory = MemoryDirectory()
    writer = write(directory, "aacaaCaa")
    assert read(directory) == 6
    name = "checkpoint-00000003"
    damaged = MemoryDirectory(changed(directory.files(), name, b"?"))
    for begin in (read, Writer):
        with pytest.raises(CorruptionError, match=rf"{name} .*does not lead to the same state"):
            begin(damaged)
    assert damaged.operations == []
    # With another one behind it that follows from it, it is not needed any more.
    writer.play("ca")
    assert read(MemoryDirectory(changed(directory.files(), "checkpoint-00000004", b"?"))) == 7
    assert read(MemoryDirectory(changed(directory.files(), name, b"?"))) == 7


def test_such_a_checkpoint_that_could_not_be_stored_changes_nothing() -> None:
    """The one before it and the logs are the state, also with increments behind the attempt."""
    directory = FaultyDirectory()
    writer = write(directory, "aaca")
    directory.fail("rename", errno.EIO, times=1)
    with pytest.raises(StorageError):
        writer.play("C")
    assert read(directory) == 3
    writer.play("aa")
    assert read(directory) == 5
    assert write(directory, "aca").step == 7
    assert read(directory) == 7


@pytest.mark.parametrize("behind", ["aa", "a|a", "|a", "|ca", "|a|a"])
def test_such_a_checkpoint_that_is_missing_is_missed(behind: str) -> None:
    """What follows it does not follow what is older, in whichever log it is."""
    directory = MemoryDirectory()
    step = write(directory, f"aacaaC{behind}", keep=9).step
    files = directory.files()
    del files["checkpoint-00000003"]
    if "checkpoint-00000004" in files:  # it holds all of the state
        assert read(MemoryDirectory(files)) == step
        del files["checkpoint-00000004"]
    damaged = MemoryDirectory(files)
    for begin in (read, Writer):
        with pytest.raises(CorruptionError, match=r"log-00000003 .* checkpoint .* is missing"):
            begin(damaged)
    assert damaged.operations == []


@pytest.mark.parametrize("kind", ["create", "write", "sync", "rename", "sync directory"])
def test_such_a_checkpoint_fails_or_counts_and_what_follows_is_kept(kind: str) -> None:
    """Whichever call fails, for once; a process that goes on later finds the same."""
    for after in range(4):
        directory = FaultyDirectory()
        writer = write(directory, "aacaa")
        directory.fail(kind, errno.EIO, after=after, times=1)
        with contextlib.suppress(StorageError):
            writer.play("C")
        directory.heal()
        with contextlib.suppress(StorageError):
            writer.play("a")
        assert read(directory) == writer.acknowledged
        assert write(directory, "a|a").step == writer.acknowledged + 2


def test_a_run_that_cannot_be_read_is_not_begun_anew() -> None:
    """A writer is refused as a reader is, and everything stays as it is."""
    directory = MemoryDirectory()
    write(directory, "aacaacaa")
    files = directory.files()
    for name in ("log-00000003", "log-00000002"):
        damaged = {**files, name: b"?", "checkpoint-00000003": b"?"}
        directory = MemoryDirectory(damaged)
        with pytest.raises(CorruptionError):
            Writer(directory)
        assert directory.operations == []


# -- pruning -------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 2, 3, 5])
def test_the_newest_checkpoints_and_their_logs_are_kept(keep: int) -> None:
    """`keep` of them, and every log from the oldest of these on; what is older is removed."""
    directory = MemoryDirectory()
    writer = write(directory, "ca" * 9, keep=keep)
    kept = range(9 - keep + 1, 10)
    assert sorted(map(str, directory.list())) == sorted(
        str(FileName(kind, generation)) for kind in ("checkpoint", "log") for generation in kept
    )
    assert read(directory) == writer.step


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_with_all_but_the_oldest_kept_checkpoint_damaged_the_state_is_the_same(keep: int) -> None:
    """That is what they are kept for; logs without a checkpoint between them are kept too."""
    directory = MemoryDirectory()
    writer = write(directory, "acaaca|aca|a|acaca", keep=keep)
    files = directory.files()
    checkpoints = sorted(name for name in files if name.startswith("checkpoint"))
    assert len(checkpoints) >= keep
    for name in checkpoints[len(checkpoints) - keep + 1 :]:
        files = changed(files, name, flipped(files[name], 1100))
    assert read(MemoryDirectory(files)) == writer.step
    assert write(MemoryDirectory(files), "aca").step == writer.step + 2


def test_a_checkpoint_that_was_found_damaged_is_not_counted() -> None:
    """Only good ones are; so the one that made up for it stays until there are enough others."""
    directory = MemoryDirectory()
    write(directory, "cacaca", keep=2)
    newest = "checkpoint-00000003"
    directory = MemoryDirectory(changed(directory.files(), newest, b"?"))
    write(directory, "ca", keep=2)
    kept = [name for name in directory.list() if name.startswith("checkpoint")]
    assert sorted(kept) == [
        "checkpoint-00000002",
        "checkpoint-00000003.broken",
        "checkpoint-00000004",
    ]
    files = directory.files()
    assert read(MemoryDirectory(changed(files, "checkpoint-00000004", b"?"))) == 4


def test_nothing_is_removed_before_the_new_checkpoint_counts() -> None:
    """Its name is on the disk before the first file goes, and the oldest goes first."""
    directory = MemoryDirectory()
    write(directory, "cacaca", keep=1)
    kinds = [operation.kind for operation in directory.operations]
    for index, kind in enumerate(kinds):
        if kind == "remove" and kinds[index - 1] != "remove":
            assert kinds[index - 2 : index] == ["rename", "sync directory"]
    removed = [operation.name for operation in directory.operations if operation.kind == "remove"]
    assert removed == [
        "checkpoint-00000001",
        "log-00000001",
        "checkpoint-00000002",
        "log-00000002",
    ]


def test_a_file_that_cannot_be_removed_is_no_reason_to_fail() -> None:
    """The checkpoint counts all the same, and the next one tries again."""
    directory = FaultyDirectory()
    writer = write(directory, "caca")
    directory.fail("remove", errno.EACCES)
    writer.play("ca")
    assert read(directory) == 3
    assert len(directory.inner.list()) == 6
    directory.heal()
    writer.play("ca")
    assert len(directory.inner.list()) == 4


def test_what_was_set_aside_is_never_removed() -> None:
    """Pruning removes only what it could have made good use of."""
    others = ("log-00000001.torn-1024", "checkpoint-00000001.broken", "notes.txt")
    directory = MemoryDirectory(dict.fromkeys(others, b"precious"))
    write(directory, "caacaacaacaa", keep=1)
    assert set(others) < set(directory.list())


# -- two writers ---------------------------------------------------------------------------


@SYNCS
def test_of_two_writers_only_one_goes_on(sync: str) -> None:
    """Without any lock: who begins the next generation has the run, the other is told."""
    directory = MemoryDirectory()
    first = write(directory, "caa", sync=sync)
    second = Writer(directory, sync=sync)
    second.append()
    for _ in range(2):
        with pytest.raises(LockedError, match=r"was taken over by another process.*log-00000002"):
            first.checkpoint()
    second.play("aca")
    assert read(directory) == second.step == 5


@pytest.mark.parametrize("attempt", [Writer.checkpoint, Writer.append])
def test_a_writer_that_was_left_far_behind_has_lost_the_run(
    attempt: Callable[[Writer], None],
) -> None:
    """Also where what the other one has begun is pruned, and no file is in the way any more."""
    directory = MemoryDirectory()
    late = write(directory, "aca")
    if attempt is Writer.append:
        late = Writer(directory)  # it has not begun a log of its own
    other = write(directory, "acacacac", keep=1)
    assert "log-00000003" not in directory.list()
    before = directory.list()
    for _ in range(2):
        with pytest.raises(LockedError, match=r"was taken over by another process.*000000"):
            attempt(late)
        assert directory.list() == before
    other.append()
    assert read(directory) == other.step


def test_a_writer_that_is_overtaken_while_it_takes_a_checkpoint_has_lost_the_run() -> None:
    """The other one has begun and pruned all that could be in its way, in that time."""
    directory = MemoryDirectory()
    late = write(directory, "aca")
    others: list[Writer] = []

    def overtake() -> None:
        if not others:
            others.append(write(directory, "acacacac", keep=1))

    late.generations.before_sync = overtake
    for _ in range(2):
        with pytest.raises(LockedError, match=r"was taken over by another process.*000000"):
            late.checkpoint()
    others[0].append()
    assert read(directory) == others[0].step


def test_a_writer_whose_disk_refused_a_log_sees_that_another_one_has_taken_its_number() -> None:
    """It never uses the number again, so nothing of its own is in the other one's way."""
    directory = FaultyDirectory()
    first = write(directory, "aca")
    directory.fail("create", errno.EIO, times=1)
    with pytest.raises(StorageError, match="a checkpoint could not be stored"):
        first.checkpoint()
    second = write(directory.inner, "a")
    for _ in range(2):
        with pytest.raises(LockedError, match=r"was taken over by another process.*log-00000003"):
            first.checkpoint()
    second.play("aca")
    assert read(directory.inner) == second.step == 5


def test_logs_of_its_own_that_failed_are_in_no_writers_way() -> None:
    """Neither one that was abandoned, nor one of which the disk kept a piece."""
    directory = FaultyDirectory()
    writer = write(directory, "aca")
    directory.fault = lambda number, kind: errno.EIO * (kind in ("sync directory", "remove"))
    with pytest.raises(StorageError, match="a checkpoint could not be stored"):
        writer.checkpoint()
    assert "log-00000003" in directory.inner.list()
    directory.heal()
    writer.play("acca")
    assert read(directory.inner) == 4


def test_two_writers_are_kept_apart_where_the_first_log_was_set_aside() -> None:
    """The one that has not seen it does not take its name while the other one goes on behind it."""
    directory = MemoryDirectory()
    write(directory, "c")
    begun = MemoryDirectory({"log-00000001": directory.files()["log-00000001"]})
    first, second = Writer(begun), Writer(begun)
    assert begun.list() == ["log-00000001.torn-0"]
    second.append()
    with pytest.raises(LockedError, match="log-00000002"):
        first.append()
    assert read(begun) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_first_checkpoints_that_fail_again_and_again_are_no_run(count: int) -> None:
    """Each leaves an empty log, and the run of the next process has another identity."""
    directory = FaultyDirectory()
    writer = Writer(directory)
    directory.fail("rename", errno.EIO, times=count)
    for _ in range(count):
        with pytest.raises(StorageError):
            writer.checkpoint()
    directory.heal()
    writer.kill()
    assert not RunReader(directory, NAME).found
    write(directory, "aa").kill()
    assert read(directory) == 2
    write(directory, "ca").kill()
    assert read(directory) == 3


def test_a_power_cut_while_the_logs_of_a_run_that_never_began_are_set_aside() -> None:
    """Nothing is left that only continues what is gone."""
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.generations._origin = "checkpoint"
    for _ in range(3):  # where not even the directory could be listed when the checkpoint failed
        writer.generations._open_log()
    writer.kill()
    begun = len(directory.operations)
    Writer(directory)
    for number in range(begun, len(directory.operations) + 1):
        for files in crash_images(directory.operations[:number]):
            image = MemoryDirectory(files)
            assert read(image) == 0
            write(image, "aca").kill()
            assert read(image) == 2


def test_an_empty_log_beside_the_newest_that_holds_something_takes_nothing_away() -> None:
    """It belongs to a writer of an earlier version, which had lost the run and could not tell."""
    directory = FaultyDirectory()
    lost = write(directory, "ca")
    directory.fail("create", errno.ENOSPC)
    with pytest.raises(StorageError):
        lost.checkpoint()  # and will not try for that name again
    directory.heal()
    write(directory, "aa").kill()
    lost.generations._begun = 2
    directory.fail("rename", errno.EIO)
    with pytest.raises(StorageError):
        lost.checkpoint()
    directory.heal()
    lost.kill()
    assert [str(name) for name in map(FileName.parse, sorted(directory.list())) if name] == [
        "checkpoint-00000001",
        "log-00000001",
        "log-00000002",
        "log-00000003",
    ]
    assert read(directory) == 3
    write(directory, "aca").kill()
    assert read(directory) == 5


def test_two_writers_that_begin_at_once_are_told_apart_by_the_first_file() -> None:
    """Also where there was nothing before."""
    directory = MemoryDirectory()
    first, second = Writer(directory), Writer(directory)
    second.append()
    with pytest.raises(LockedError):
        first.append()
    with pytest.raises(LockedError):
        first.checkpoint()
    assert read(directory) == 1


@ARRAYS
def test_what_a_writer_appends_after_it_lost_the_run_is_not_part_of_it(arrays: bool) -> None:
    """The chain that the headers declare leaves its log where the other one took over."""
    directory = MemoryDirectory()
    zombie = write(directory, "caa", arrays=arrays)
    second = Writer(directory, arrays=arrays)
    second.append()
    zombie.generations.append(encode("from beyond", "increment"))
    zombie.generations.append(encode("from beyond", "increment"))
    assert read(directory) == 3
    second.play("a")
    zombie.generations.append(encode("from beyond", "increment"))
    second.play("ca")
    assert read(directory) == second.step == 5
    files = directory.files()
    newest = max(name for name in files if name.startswith("checkpoint"))
    assert read(MemoryDirectory(changed(files, newest, b"?"))) == 5
    assert write(directory, "aca", arrays=arrays).step == 7


def torn_at_the_beginning(log: bytes) -> Iterator[bytes]:
    """Yield what a crash can leave of a log of one increment, and of that no whole one."""
    for length in range(HEADER_SIZE, len(log)):
        yield log[:length]
        padded = log[:length].ljust(len(log), b"\0")
        yield padded if padded != log else log[:length]  # a checksum can end in zeros


@pytest.mark.parametrize("boot", ["boot-1", "the next boot"])
@SYNCS
def test_a_log_whose_first_increment_is_torn_takes_nothing_away(sync: str, boot: str) -> None:
    """It took the run over from one that went on, and what that one was told is stored, is."""
    directory = MemoryDirectory()
    zombie = write(directory, "caa", sync=sync)
    second = Writer(directory, sync=sync)
    second.append()
    zombie.play("aa")
    assert read(directory) == 3
    files = directory.files()
    for torn in torn_at_the_beginning(files["log-00000002"]):
        image = MemoryDirectory(changed(files, "log-00000002", torn), boot=boot)
        assert read(image) == 4
        assert Writer(image, sync=sync).step == read(image) == 4
        assert write(image, "a|aca|", sync=sync).step == 7


def test_of_two_logs_that_are_torn_whole_neither_takes_anything_away() -> None:
    """The second process had begun its log, and not yet written to it, when the third one came."""
    directory = MemoryDirectory()
    first = write(directory, "ca")
    second = Writer(directory)
    second.generations.begin_log()
    third = Writer(directory)
    for writer, text in ((third, "a"), (second, "a"), (first, "aa")):
        writer.play(text)
    files = directory.files()
    second_torn = torn_at_the_beginning(files["log-00000002"])
    third_torn = torn_at_the_beginning(files["log-00000003"])
    for one, other in zip(second_torn, third_torn, strict=True):
        image = MemoryDirectory(changed(files, "log-00000003", other))
        assert Writer(image).step == read(image) == 2
        image = MemoryDirectory(changed(image.files(), "log-00000002", one))
        assert Writer(image).step == read(image) == 3


def test_a_log_that_is_damaged_at_its_beginning_is_not_passed_over() -> None:
    """Also where another writer went on beside it: what it held was the run."""
    directory = MemoryDirectory()
    zombie = write(directory, "caa")
    write(directory, "aas")
    zombie.append()
    files = directory.files()
    damaged = flipped(files["log-00000002"], HEADER_SIZE + 9)
    for boot in ("boot-1", "the next boot"):
        image = MemoryDirectory(changed(files, "log-00000002", damaged), boot=boot)
        with pytest.raises(CorruptionError, match="log-00000002"):
            read(image)


def test_a_checkpoint_of_a_zombie_that_arrives_late_harms_nobody() -> None:
    """It is of a step that both agree on, so it may as well count."""
    directory = MemoryDirectory()
    write(directory, "caaca")
    kinds = [operation.kind for operation in directory.operations]
    late = MemoryDirectory()
    for operation in directory.operations[: len(kinds) - 1 - kinds[::-1].index("rename")]:
        late.apply(operation)
    second = RunWriter(late, NAME, sync="interval", keep=2, report=print)
    recovery = RunReader(late, NAME)
    assert len(states_of(recovery)) == 2
    late.rename("checkpoint-00000002.tmp", "checkpoint-00000002")
    second.adopt(recovery)
    second.append(encode(2, "increment"))
    assert read(late) == 3
    assert write(late, "aca").step == 5
    assert read(late) == 5


def test_a_log_beside_the_chain_is_not_read() -> None:
    """The header of the next log says which one it continues; another one has lost."""
    directory = MemoryDirectory()
    write(directory, "caa")
    mine = MemoryDirectory(directory.files())
    theirs = MemoryDirectory(directory.files())
    write(theirs, "aaa")
    write(mine, "")
    # A directory that is copied while it is written can have both.
    beside = theirs.files()["log-00000002"]
    other = RunWriter(mine, NAME, sync="os", keep=2, report=print)
    recovery = RunReader(mine, NAME)
    list(recovery.increments())
    other.adopt(recovery)
    mine.names["log-00000002"] = len(mine.contents)
    mine.contents[len(mine.contents)] = bytearray(beside)
    other._highest = other._begun = 2
    other.append(encode(2, "increment"))
    assert "log-00000003" in mine.list()
    assert read(mine) == 3


# -- forks ---------------------------------------------------------------------------------


def test_a_forked_child_can_neither_append_nor_store_a_checkpoint() -> None:
    """It is told who holds the run; the parent goes on undisturbed."""
    script = """
import os
from trax import LockedError
from trax.storage.codec import decode, encode
from trax.storage.filesystem import LocalDirectory
from trax.storage.run_writer import RunWriter

generations = RunWriter(LocalDirectory(os.getcwd()), "run", sync="os", keep=2, report=print)
for begun in (False, True):
    if begun:
        generations.append(encode(0, "increment"))
    child = os.fork()
    if not child:
        for act in (
            lambda: generations.append(encode(7, "increment")),
            lambda: generations.checkpoint({}, {}, derived=True),
        ):
            try:
                act()
            except LockedError as error:
                assert str(os.getppid()) in str(error)
            else:
                os._exit(1)
        generations.sync()
        generations.close()
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
generations.append(encode(1, "increment"))
generations.close()
"""
    assert run_script(script).stdout == "7\n7\n"
    assert read(LocalDirectory(str(Path.cwd()))) == 2


def test_a_child_that_was_forked_during_a_sync_is_refused_and_does_not_wait() -> None:
    """The thread that syncs is not in the child and will never be done there."""
    script = """
import os, signal, threading
from trax import LockedError
from trax.storage.codec import decode, encode
from trax.storage.run_writer import RunWriter
from trax.testing.memory import MemoryDirectory

begun, done = threading.Event(), threading.Event()

class Slow(MemoryDirectory):
    slow = False
    def apply(self, operation):
        if self.slow and operation.kind == "sync":
            begun.set()
            done.wait()
        super().apply(operation)

directory = Slow()
generations = RunWriter(directory, "run", sync="interval", keep=2, report=print)
generations.append(encode(0, "increment"))
directory.slow = True
thread = threading.Thread(target=generations.sync)
thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # ends a child that waits forever
    try:
        generations.checkpoint({}, {}, derived=True)
    except LockedError:
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
thread.join()
"""
    assert run_script(script).stdout == "7\n"
