"""The increments of a run as they are stored, whatever its logs are like."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from support import NAME, Writer, changed, flipped, write
from test_retention import SCENARIO

from trax import CorruptionError, NotFoundError
from trax.keep import ALL, Keep, keep_bytes, keep_every
from trax.storage.codec import decode
from trax.storage.context import TIME, encode_context
from trax.storage.history_reader import HistoryReader, Past
from trax.storage.process import process
from trax.storage.signing import Key
from trax.testing.memory import MemoryDirectory


def each(reader: HistoryReader, start: int, stop: int | None = None) -> Iterator[Past]:
    """Return the increments one by one."""
    return chain.from_iterable(batch.pasts() for batch in reader.read(start, stop))


def steps(
    directory: MemoryDirectory, start: int | None = None, stop: int | None = None
) -> list[int]:
    """Return the steps of a history, having checked that each has its increment."""
    reader = HistoryReader(directory, NAME)
    found = []
    for step, _, encoded in each(reader, reader.first if start is None else start, stop):
        assert decode(encoded, "increment") == step - 1
        found.append(step)
    return found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("c", []),
        ("aaa", [1, 2, 3]),
        ("caaa", [1, 2, 3]),
        ("aacaa", [1, 2, 3, 4]),
        ("cacacaca", [3, 4]),
        ("caa|aa|aca|a", [1, 2, 3, 4, 5, 6, 7]),
        ("caaCaaCCaa", [5, 6]),
        ("ca|||ace|a", [1, 2, 3]),
        ("cabaawa", [1, 2, 3, 4]),
    ],
)
def test_they_begin_with_the_oldest_log(text: str, found: list[int]) -> None:
    """Whichever process wrote it, and whatever the checkpoints between are."""
    directory = MemoryDirectory()
    write(directory, text)
    assert steps(directory) == found
    for start in found:
        assert steps(directory, start) == [*range(start, found[-1] + 1)]
        assert steps(directory, start, start + 2) == [*range(start, min(start + 2, found[-1] + 1))]
    assert steps(directory, 7, 7) == []


@pytest.mark.parametrize("keep", [ALL, keep_every(steps=4), keep_bytes(9000)], ids=repr)
@pytest.mark.parametrize("key", [None, Key(b"k" * 32, "a test")], ids=["unsigned", "signed"])
def test_no_step_is_missing_whatever_was_removed(keep: Keep, key: Key | None) -> None:
    """At every moment of a run."""
    directory = MemoryDirectory(key=key)
    writer = Writer(directory, keep=keep)
    for letter in SCENARIO:
        if letter == "|":
            writer.kill()
            writer = Writer(directory, keep=keep)
        else:
            writer.play(letter)
        found = steps(directory)
        assert found == [*range(writer.step - len(found) + 1, writer.step + 1)]
        if keep is ALL:
            assert len(found) == writer.step


def test_steps_that_are_not_logged_count() -> None:
    """The number of a step is that of the run, not that in the logs."""
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.generations.checkpoint({"step": 70}, writer.parts(), derived=False)
    writer.play("aaa")
    reader = HistoryReader(directory, NAME)
    assert reader.first == 71
    assert [past.step for past in each(reader, 72)] == [72, 73]


# -- damage --------------------------------------------------------------------------------


def test_every_byte_flipped_is_found_or_makes_no_difference(
    count: Callable[[str, int], None],
) -> None:
    """No step is left out silently, but for the end of the newest log, as a crash would tear it."""
    directory = MemoryDirectory()
    write(directory, "caaca|aacaa", keep=9)
    files = directory.files()
    found = steps(directory)
    newest = max(name for name in files if name.startswith("log"))
    tried = 0
    for name, content in files.items():
        for offset in range(0, len(content), 1 if len(content) > 1024 else 7):
            damaged = MemoryDirectory(changed(files, name, flipped(content, offset)))
            tried += 1
            try:
                left = steps(damaged)
            except CorruptionError:
                continue
            assert left == found or (name == newest and left == found[: len(left)])
    count("bytes flipped under a history", tried)


def test_a_torn_end_is_the_end() -> None:
    """A writer may be at it."""
    directory = MemoryDirectory()
    write(directory, "caaca")
    files = directory.files()
    newest = max(name for name in files if name.startswith("log"))
    for cut in range(1, len(files[newest]) - 1024):
        torn = MemoryDirectory(changed(files, newest, files[newest][:-cut]))
        assert steps(torn) == [1, 2]


def test_a_missing_log_is_where_it_begins() -> None:
    """Unless a repair has put another one there: then the gap is told."""
    directory = MemoryDirectory()
    write(directory, "caacaacaa", keep=9)
    files = directory.files()
    del files["log-00000002"]
    assert steps(MemoryDirectory(files)) == [5, 6]


def test_a_gap_is_told() -> None:
    """With the step from which on all is there."""
    directory = MemoryDirectory()
    writer = Writer(directory, keep=ALL)
    writer.play("caaaCaa")
    files = directory.files()
    log = files["log-00000001"]
    short = MemoryDirectory(changed(files, "log-00000001", log[: 1024 + (len(log) - 1024) // 3]))
    with pytest.raises(NotFoundError, match=r"steps 2 to 3 of 'run'.*\nGive start=4 "):
        steps(short)
    assert steps(short, 4) == [4, 5]


# -- times ---------------------------------------------------------------------------------


def note(writer: Writer, time: float) -> None:
    writer.generations.note(encode_context([(TIME, struct.pack("<d", time))]))


def times(directory: MemoryDirectory, start: int = 1) -> list[Any]:
    return [past.time for past in each(HistoryReader(directory, NAME), start)]


def test_times_lie_between_those_that_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most a second after the one before: later, it would have been noted again."""
    monkeypatch.setattr(process, "time", lambda: 101.5)  # at which the second log is begun
    directory = MemoryDirectory()
    writer = Writer(directory, keep=ALL)
    writer.play("ca")
    note(writer, 100.0)
    writer.play("aaaa")
    note(writer, 101.0)
    writer.play("acaa")
    note(writer, 5000.0)
    writer.play("aa")
    expected = [None, 100, 100.25, 100.5, 100.75, 101, 101.5, 102, 5000, 5000]
    assert times(directory) == [one if one is None else pytest.approx(one) for one in expected]
    assert times(directory, 4) == pytest.approx([100, 100.5, 101, 101.5, 102, 5000, 5000])


def test_a_log_that_goes_on_tells_when_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a short one has times, too; the first does not, since a fork writes that one later."""
    monkeypatch.setattr(process, "time", lambda: 300.0)
    directory = MemoryDirectory()
    write(directory, "caacaa", keep=ALL)
    assert times(directory) == [None, None, 300, 300]
    assert times(directory, 4) == [300]


def test_times_never_go_back_even_if_the_clock_does() -> None:
    """Within what is noted."""
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.play("c")
    note(writer, 100.0)
    writer.play("aa")
    note(writer, 50.0)
    writer.play("a")
    assert times(directory) == [100, 100, 50]
    assert Writer(directory).said == []


def test_what_waits_for_a_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that notes no more times is read in flat memory."""
    monkeypatch.setattr("trax.storage.history_reader._WAITING", 200)
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.play("c")
    note(writer, 7.0)
    writer.play("a" * 8)
    batches = [*HistoryReader(directory, NAME).read(1)]
    assert [past.time for batch in batches for past in batch.pasts()] == [7.0] * 8
    assert len(batches) > 1


def test_what_waits_for_a_time_is_given_before_an_error() -> None:
    """All increments before damage are."""
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.play("c")
    note(writer, 7.0)
    writer.play("aaaa")
    files = directory.files()
    log = files["log-00000001"]
    size = (len(log) - log.index(encode_context([(TIME, struct.pack("<d", 7.0))]))) // 5
    damaged = MemoryDirectory(changed(files, "log-00000001", flipped(log, len(log) - size - 9)))
    found: list[int] = []
    with pytest.raises(CorruptionError):
        found.extend(past.step for past in each(HistoryReader(damaged, NAME), 1))
    assert found == [1, 2]
