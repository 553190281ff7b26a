"""Planning a repair: what is removed, what is cut, what is written, and what is said of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import pytest
from harm import has, mend, store, unmarked, with_outputs
from support import NAME, changed, flipped, read, with_next_boot, write

from trax import CorruptionError
from trax.storage.checkpoint import read_checkpoint, write_checkpoint
from trax.storage.filenames import FileName
from trax.storage.records import HEADER_SIZE, decode_header
from trax.storage.run_reader import RunReader
from trax.testing.memory import MemoryDirectory


def test_a_state_that_was_stored_by_hand_is_not_passed_over_without_a_word() -> None:
    """What is before it may be kept, what is behind it may not; and it is said."""
    files = store("caaaCaasa")
    damaged = changed(files, "checkpoint-00000002", flipped(files["checkpoint-00000002"], 1100))
    plan = mend(MemoryDirectory(damaged))
    assert (plan.step, plan.lost, plan.is_exact) == (3, 3, True)
    assert "stored by hand, or migrated, and no log leads to it" in plan.actions[-1]


def test_a_checkpoint_whose_log_is_gone_gets_an_empty_one() -> None:
    """The state is worth more than the log that continues it."""
    files = store("aacaaca|aasaa")
    damaged = {name: files[name] for name in files if not name.startswith("log-")}
    directory = MemoryDirectory(damaged)
    plan = mend(directory)
    assert (plan.step, plan.lost, plan.is_exact) == (4, 0, False)
    assert "wrote an empty log-00000003" in "".join(plan.actions)
    assert read(directory) == 4
    assert RunReader(directory, NAME).checkpoint is not None


def test_the_log_that_is_cut_keeps_its_header_and_is_marked_as_forced() -> None:
    """So the same damage is found if it happens again."""
    files = store("caaaae")
    (name, log), *_ = ((name, files[name]) for name in files if name.startswith("log-"))
    directory = MemoryDirectory(changed(files, name, flipped(log, len(log) - 10)))
    assert mend(directory).step == 3
    cut = directory.files()[name]
    assert unmarked(cut[:HEADER_SIZE]) == unmarked(log[:HEADER_SIZE])
    with pytest.raises(CorruptionError, match="were forced to the disk"):
        read(MemoryDirectory({**directory.files(), name: cut[:-1]}))


def test_what_was_not_forced_is_not_marked_as_forced_where_there_is_output() -> None:
    """The log that is written anew is forced, but the output files may not be."""
    files = with_outputs("caasaa", "aasaa")
    directory = MemoryDirectory(dict(files))
    assert mend(directory, has(79)).step == read(directory) == 7
    assert read(with_next_boot(directory.files())) == 6


# -- headers that lack something -----------------------------------------------------------


def without(files: Mapping[str, bytes], name: str, field: str) -> dict[str, bytes]:
    """Return a store in which the header block of a checkpoint lacks a field."""
    directory = MemoryDirectory(dict(files))
    found = FileName.parse(name)
    assert found
    checkpoint = read_checkpoint(directory, found)
    fields = {key: value for key, value in checkpoint.fields.items() if key != field}
    directory.remove(name)
    write_checkpoint(directory, found, fields, checkpoint.meta, checkpoint.parts)
    return directory.files()


def test_a_checkpoint_that_does_not_say_who_wrote_it_gets_a_log_all_the_same() -> None:
    """RunReader does not ask for it; and the log says who has written that."""
    damaged = without(store("aacaaca|aasaa"), "checkpoint-00000003", "python")
    damaged = {name: damaged[name] for name in damaged if not name.startswith("log-")}
    directory = MemoryDirectory(damaged)
    assert mend(directory).step == 4
    assert read(directory) == 4
    fields, _ = decode_header("log", directory.files()["log-00000003"][:HEADER_SIZE])
    assert fields["python"] == platform.python_version()


@pytest.mark.parametrize("field", ["written", "step", "name"])
def test_a_checkpoint_whose_header_block_makes_no_sense_is_as_good_as_none(field: str) -> None:
    """Though its meta record holds."""
    damaged = without(store("aacaaca|aasaa"), "checkpoint-00000003", field)
    damaged = changed(damaged, "log-00000003", flipped(damaged["log-00000003"], 500))
    directory = MemoryDirectory(damaged)
    assert mend(directory).step == 4
    assert read(directory) == 4


def test_a_log_that_its_checkpoint_was_not_taken_with_is_replaced() -> None:
    """It is whole, and continues another checkpoint of this run; that is said."""
    directory = MemoryDirectory()
    write(directory, "caaCa")
    files = directory.files()
    other = MemoryDirectory({name: files[name] for name in files if not name.endswith("2")})
    write(other, "Ca")
    name = "log-00000002"
    mixed = MemoryDirectory(changed(files, name, other.files()[name]))
    with pytest.raises(CorruptionError):
        read(mixed)
    plan = mend(mixed)
    assert (plan.step, read(mixed)) == (2, 2)
    assert f"wrote an empty {name} to continue checkpoint-00000002: the old one does not" in (
        "".join(plan.actions)
    )
