"""What of a run is copied, and whether a disk has all that a replica has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand  # noqa: F401

from trax.replica.local_files import LocalFiles, contains
from trax.storage.filesystem import LocalDirectory

pytestmark = pytest.mark.usefixtures("by_hand")


def files_of(machine: Machine) -> LocalFiles:
    """Return the files of a run that a machine holds."""
    directory = LocalDirectory(f"{machine.store}/runs/{NAME}")
    return LocalFiles(machine.held.writer, directory, machine.store)


def test_a_look_forces_what_it_returns() -> None:
    """Of the log that is written; the others are final."""
    machine = Machine(Objects(), "one")
    machine.do("aa")
    log = Path(machine.store, "runs", NAME, "log-00000001")
    assert files_of(machine).look().files == {"log-00000001": log.stat().st_size}
    assert machine.held.writer.forced() == (1, log.stat().st_size)
    machine.do("ca")
    look = files_of(machine).look()
    assert list(look.files) == ["log-00000001", "log-00000002"]
    assert (look.generation, str(look.checkpoint)) == (2, "checkpoint-00000002")
    machine.close()
    assert machine.held.writer.forced() == (2, None)


def test_output_files_come_before_the_logs() -> None:
    """A log is never there without what it refers to."""
    machine = Machine(Objects(), "one")
    machine.do("aoo")
    assert list(files_of(machine).look().files) == ["output ../out.txt", "log-00000001"]
    machine.close()


def test_a_file_that_became_shorter_is_not_copied() -> None:
    machine = Machine(Objects(), "one")
    machine.do("oo")
    files = files_of(machine)
    assert files.read("output ../out.txt", 3, 3) == b"1o\n"
    with pytest.raises(OSError, match="became shorter while it was copied"):
        files.read("output ../out.txt", 3, 4)
    machine.close()
    Path("one/out.txt").unlink()
    assert files.size_of("output ../out.txt") == 0


def test_a_pruned_checkpoint_can_be_read_to_its_end() -> None:
    machine = Machine(Objects(), "one")
    machine.do("ac")
    files = files_of(machine)
    name = files.look().checkpoint
    assert name is not None
    files.keep(name)
    os.remove(f"{machine.store}/runs/{NAME}/{name}")
    assert files.read(str(name), 0, 8) == b"\x89traxC\r\n"
    files.release()
    with pytest.raises(FileNotFoundError):
        files.read(str(name), 0, 8)
    machine.close()


def test_a_disk_has_what_the_replica_has_or_not() -> None:
    """A copy from before is older; one in which all was superseded is not."""
    machine = Machine(Objects(), "one")
    machine.do("aacaat")
    shutil.copytree("one", "early")
    machine.do("at")
    head = machine.replica._begun.head
    assert head is not None

    def has(place: str) -> bool:
        return contains(LocalDirectory(f"{place}/.trax/runs/{NAME}"), head)

    assert has("one")
    assert not has("early")
    machine.do("acac")
    machine.held.writer.may_remove = lambda name: True
    machine.held.writer.prune()
    assert has("one")
    log = max(Path("one/.trax/runs", NAME).glob("log-*"))
    machine.kill()
    for path in Path("one/.trax/runs", NAME).glob("checkpoint-*"):
        path.unlink()
    assert log.exists()
    assert not has("one")
