"""A disk that is newer, older or another one's, and a place that has lost what was there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

from trax import CorruptionError, StorageError

pytestmark = pytest.mark.usefixtures("by_hand")


def test_a_disk_that_is_newer_goes_on() -> None:
    """If nobody else has written to the replica since."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aatact")
    objects.before = lambda key: no_answer()
    machine.do("aaocactt")
    machine.kill()
    objects.before = lambda key: None
    machine.do("|")
    assert len(machine.values) == 7
    machine.close()
    assert read_replica(objects, "other") == machine.values


def test_an_opening_that_is_killed_once_it_has_claimed_loses_no_step() -> None:
    """Its claim is known here as the claim of a writer from this disk, which is newer."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    objects.before = lambda key: no_answer()
    machine.do("aat")
    objects.before = lambda key: None

    def kill() -> None:
        raise KeyboardInterrupt

    objects.after_put(0, kill)
    with pytest.raises(KeyboardInterrupt):
        machine.do("|")
    objects.after = lambda key: None
    machine._open()
    assert len(machine.values) == 4
    assert not Path(machine.store, "aside").exists()
    machine.close()
    assert read_replica(objects, "other") == machine.values


def test_a_disk_that_is_newer_is_set_aside_if_another_machine_has_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects = Objects()
    first = Machine(objects, "one", "a")
    first.do("aataa")
    first.kill()
    second = Machine(objects, "two", "b")
    second.do("at")
    second.close()
    first._open()
    assert first.values == second.values == ["a0", "a1", "b2"]
    assert "the files here were not the last to write there, so it goes on from" in caplog.text
    (aside,) = Path("one/.trax/aside").iterdir()
    assert (aside / "log-00000001").exists()
    first.close()


def test_a_disk_that_is_older_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    """Such as one that was copied back, although it was the last to write to the replica."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    shutil.copytree("one", "copy")
    machine.do("aacat")
    machine.kill()
    shutil.rmtree("one")
    Path("copy").rename("one")
    machine._open()
    assert machine.values == ["0", "1", "2", "3", "4"]
    assert "the files here lack steps that it has, so it goes on from" in caplog.text
    machine.close()


def test_a_run_that_is_older_than_its_replica_is_copied_whole() -> None:
    """It was begun without one."""
    machine = Machine(Objects(), "one")
    machine.do("aocaooa")
    machine.kill()
    Path("one/.trax/runs/magnet/replica").unlink()
    machine.objects = objects = Objects()
    machine._open()
    machine.close()
    assert read_replica(objects, "other") == machine.values


def test_a_disk_that_was_copied_elsewhere_meanwhile_goes_on() -> None:
    first, second = Objects(), Objects()
    second.url = "memory://second"
    machine = Machine(first, "one")
    machine.do("aat")
    machine.close()
    machine.objects = second
    machine._open()
    machine.do("aat")
    machine.close()
    machine.objects = first
    machine._open()
    machine.do("at")
    machine.close()
    assert len(machine.values) == 5
    assert not Path(machine.store, "aside").exists()
    assert read_replica(first, "other") == machine.values


def test_a_place_that_lost_everything_is_refused() -> None:
    """It may be the mount point of a disk that is not mounted; the disk itself is no other one."""
    objects, empty = Objects(), Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    machine.close()
    machine.objects = empty
    with pytest.raises(StorageError, match="has nothing of 'magnet', which was copied") as caught:
        machine._open()
    assert "Is its disk not mounted, or was the bucket emptied?" in str(caught.value)
    assert not empty.contents
    machine.objects = objects
    machine._open()
    machine.do("a")
    machine.close()
    assert len(machine.values) == 3
    assert read_replica(objects, "other") == machine.values


def test_claims_without_the_data_between_them_are_damage() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat|at|at")
    machine.close()
    for key, content in [*objects.contents.items()]:
        if b'"kind":"data"' in content:
            del objects.contents[key]
    with pytest.raises(CorruptionError, match="all data before it is missing"):
        Machine(objects, "other")


def test_a_damaged_claim_between_data_does_no_harm() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat|at")
    machine.close()
    (claim,) = [key for key in claims_of(objects) if not key.endswith("1")]
    objects.contents[claim] = b"?"
    assert read_replica(objects, "other") == machine.values


def claims_of(objects: Objects) -> list[str]:
    return [key for key, content in objects.contents.items() if b'"kind":"claim"' in content]


def test_a_writer_inherits_what_the_replica_has() -> None:
    """The files come from there only where they are not here."""
    objects = Objects()
    machine = Machine(objects, "one")
    first = machine.replica._inherited
    assert (first.head, first.brought) == (None, None)
    machine.do("oat|")
    again = machine.replica._inherited
    assert again.head is not None
    assert again.head.run == machine.held.writer.run
    assert (again.outputs, again.rewound, again.brought) == ({}, False, None)
    machine.do("x")
    brought = machine.replica._inherited.brought
    assert brought is not None
    assert [*map(os.path.basename, brought)] == ["out.txt"]
    machine.close()
