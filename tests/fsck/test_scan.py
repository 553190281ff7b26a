"""Scanning a run: each file for itself, and what is missing between them."""

from __future__ import annotations

import pytest
from harm import SHAPES, Truth, store
from support import NAME, changed, flipped, of_version, write

from trax import FormatVersionError
from trax.fsck.scan import Scan
from trax.storage.filenames import REPAIR
from trax.storage.records import HEADER_SIZE
from trax.testing.memory import MemoryDirectory


def scan(files: dict[str, bytes]) -> Scan:
    """Scan a store; nothing is changed by that."""
    directory = MemoryDirectory(files)
    found = Scan(directory, NAME)
    assert not directory.operations
    return found


@pytest.mark.parametrize("text", SHAPES)
def test_every_file_is_found_with_its_steps(text: str) -> None:
    """In order, and without a flaw, a gap or a stranger."""
    files = store(text)
    found, truth = scan(files), Truth(files)
    assert [one.name for one in found.files] == sorted(
        files, key=lambda name: (name.rpartition("-")[2], name)
    )
    assert not any(one.flaw for one in found.files)
    assert {number: one.step for number, one in found.checkpoints.items()} == truth.checkpoints
    for number, log in found.logs.items():
        right = truth.logs[number]
        assert (log.begins, log.count, log.salvaged) == (right.begins, len(right.ends), 0)
        assert log.is_exact
    assert not [*found.gaps(), *found.misplaced, *found.others]
    assert found.newest == max(found.logs)


def test_a_flaw_in_one_file_says_nothing_of_another() -> None:
    """Both are read as far as they are valid, and what is after the flaw is counted."""
    files = store("aacaaca|aasaa")
    files = changed(files, "log-00000002", flipped(files["log-00000002"], HEADER_SIZE + 9))
    files = changed(files, "checkpoint-00000003", flipped(files["checkpoint-00000003"], 3))
    found = scan(files)
    assert [one.name for one in found.files if one.flaw] == ["log-00000002", "checkpoint-00000003"]
    log = found.logs[2]
    assert (log.offset, log.count, log.salvaged, log.is_exact) == (HEADER_SIZE, 0, 2, True)
    checkpoint = found.checkpoints[3]
    assert (checkpoint.offset, checkpoint.step, checkpoint.fields) == (0, None, {})


def test_a_log_without_a_valid_header_still_has_records() -> None:
    """The checksum that the first one is seeded with may be there; a torn header has nothing."""
    files = store("caaaae")
    log = files["log-00000001"]
    found = scan(changed(files, "log-00000001", flipped(log, 40))).logs[1]
    assert (found.begins, found.count, found.salvaged, found.is_exact) == (None, 0, 4, True)
    assert found.durable == len(log)
    found = scan(changed(files, "log-00000001", log[:100])).logs[1]
    assert (found.size, found.durable, found.salvaged, found.is_exact) == (100, 0, 0, False)


def test_what_is_missing_between_files_is_a_gap() -> None:
    """The log of a checkpoint, a log that another continues, and the end of one."""
    files = store("caa|aa|aacaa")
    without_log = {name: files[name] for name in files if name != "log-00000004"}
    assert [*scan(without_log).gaps()] == [
        "log-00000004, which continues checkpoint-00000004, is missing"
    ]
    between = {name: files[name] for name in files if name != "log-00000002"}
    assert [*scan(between).gaps()] == ["log-00000002, which log-00000003 continues, is missing"]
    short = changed(files, "log-00000002", files["log-00000002"][:HEADER_SIZE])
    assert [*scan(short).gaps()] == ["log-00000002 ends before log-00000003 begins"]


def test_files_that_belong_elsewhere_and_other_files_are_named() -> None:
    """A log of another run of that name, a copy under another number, and what is neither."""
    files = store("aacaaca|aasaa")
    other = MemoryDirectory()
    write(other, "aacaaca|aasaa")
    files = changed(files, "log-00000002", other.files()["log-00000002"])
    files = changed(files, "log-00000005", files["log-00000004"])
    found = scan({**files, REPAIR: b"", "log-00000001.torn-7": b""})
    assert found.misplaced == {
        "log-00000002": "another run of the same name",
        "log-00000005": "generation 4",
    }
    assert found.others == ["log-00000001.torn-7", REPAIR]


@pytest.mark.parametrize("name", ["log-00000002", "checkpoint-00000002"])
def test_what_a_newer_trax_wrote_is_not_judged(name: str) -> None:
    """It is an error, whatever else is there."""
    files = store("aacaaca|aasaa")
    with pytest.raises(FormatVersionError, match=f"{name} is of format version 2"):
        scan(changed(files, name, of_version(files[name], 2)))
