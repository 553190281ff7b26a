"""Steps are counted by the heads of records, and recovery comes to the same."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NAME, flipped, write

from trax.errors import CorruptionError
from trax.storage.journal import Place
from trax.storage.records import HEADER_SIZE, Damage
from trax.storage.run_reader import RunReader
from trax.storage.signing import Key
from trax.survey.steps import count_steps
from trax.testing.memory import MemoryDirectory, crash_images

TEXTS = ["", "a", "c", "caa", "caacaa", "caCaa", "aa", "caa|a|aa", "caa|ca", "caab|a", "caabaw|aa"]


def recovered(directory: MemoryDirectory) -> int | None:
    """Return the step that recovery comes to; None if there is none."""
    with contextlib.suppress(CorruptionError):
        reader = RunReader(directory, NAME)
        reader.read()
        if reader.found:
            return reader.step
    return None


def counted(directory: MemoryDirectory, known: tuple[int, Place] | None = None) -> int | None:
    with contextlib.suppress(Damage):
        return count_steps(directory, directory.list(), known).step
    return None


@given(st.text("aaacCbws|e", max_size=25), st.booleans(), st.booleans())
def test_it_counts_what_recovery_finds(text: str, signed: bool, arrays: bool) -> None:
    """From the beginning, and from every place that a journal may have named before."""
    key = Key(bytes(range(32)), "the test") if signed else None
    directory = MemoryDirectory(key=key)
    places: list[tuple[int, Place]] = []
    writer = None
    for length in range(len(text) + 1):
        directory = MemoryDirectory(key=key)
        writer = write(directory, text[:length], arrays=arrays)
        places.append((writer.step, writer.generations.place))
    step = recovered(directory)
    assert counted(directory) == step or step is None
    assert step == writer.acknowledged if step is not None and writer else True


@pytest.mark.parametrize("text", TEXTS)
def test_it_goes_on_from_a_place_in_a_log(text: str) -> None:
    """The place of any step so far, though the log may be gone, or cut since."""
    directory = MemoryDirectory()
    writer = write(directory, text)
    known = writer.step, writer.generations.place
    for more in ("", "a", "aca", "aCa", "acacaca"):
        writer.play(more)
        assert counted(directory, known) == counted(directory) == (recovered(directory) or 0) or (
            recovered(directory) is None
        )


@pytest.mark.parametrize("text", TEXTS)
def test_a_crash_leaves_what_it_counts(text: str) -> None:
    """A torn end counts as missing, as it does in recovery."""
    directory = MemoryDirectory()
    write(directory, text)
    images = itertools.islice(crash_images(directory.operations), 400)
    for image in images:
        after = MemoryDirectory(dict(image), boot="the next boot")
        step = recovered(after)
        if step is not None:
            found = counted(after)
            # Zeros and torn sectors are found by their checksums alone, which are not read.
            assert found is None or found >= step


def test_a_place_that_the_log_no_longer_has_is_not_used() -> None:
    directory = MemoryDirectory()
    writer = write(directory, "caaa")
    generation, offset, chain = writer.generations.place
    for place in (
        Place(generation, offset, chain ^ 1),
        Place(generation, offset + 5, chain),
        Place(generation + 1, offset, chain),
        Place(generation, 4, chain),
        Place(generation, 0, chain),
    ):
        assert counted(directory, (77, place)) == 3
    assert counted(directory, (77, Place(generation, offset, chain))) == 77


def test_damage_is_told_with_the_file() -> None:
    directory = MemoryDirectory()
    write(directory, "caa")
    files = directory.files()
    for name in ("log-00000001", "checkpoint-00000001"):
        changed = MemoryDirectory({**files, name: flipped(files[name], 100)})
        with pytest.raises(Damage, match=f"{name}: the header block's checksum is invalid"):
            count_steps(changed, changed.list())
    without = MemoryDirectory({"checkpoint-00000001": files["checkpoint-00000001"]})
    with pytest.raises(Damage, match="log-00000001, which continues it, is missing"):
        count_steps(without, without.list())
    assert len(files["log-00000001"]) > HEADER_SIZE
