"""A run is brought from a replica without a claim, at any moment of its writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read  # noqa: F401

import trax
from trax.replica.marker import read_marker
from trax.replica.pull import look, pull
from trax.storage.store import Store

pytestmark = pytest.mark.usefixtures("by_hand")

SCENES = ["aataat", "atcatacat", "aalataat", "otootcotaot", "otwt|ootwx|owta|otx"]


@pytest.mark.parametrize("scene", SCENES)
def test_every_prefix_of_what_was_done_can_be_brought(scene: str) -> None:
    """To one place, in turn; each is a continuation of the one before, and no copy is kept."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do(scene)
    machine.close()
    found: list[str] = []
    for image in objects.images():
        if look(image, Store("two/.trax"), NAME):
            done = pull(image, Store("two/.trax"), NAME)
            before, found = found, read("two/.trax")
            assert found == machine.values[: done.step]
            assert before == found[: len(before)]
    assert found == machine.values
    aside = Path("two/.trax/aside")
    assert [*aside.iterdir()] == []


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_that_was_brought_goes_on(scene: str) -> None:
    """Without one more copy of it, and the replica is right."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do(scene)
    machine.kill()
    done = pull(objects, Store("two/.trax"), NAME)
    values = read("two/.trax")
    assert len(values) == done.step
    again = Machine(objects, "two", "c")
    again.do("ot")
    again.close()
    assert not [*Path("two/.trax/aside").iterdir()]
    last = Machine(objects, "three")
    assert last.values == again.values
    last.kill()


def test_a_writer_that_replaces_what_is_read_is_met_again() -> None:
    """It makes one image after the other, and is not disturbed."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aalt")
    get, reads = objects.get, []

    def get_late(key: str) -> bytes:
        reads.append(key)
        if len(reads) in (2, 5, 9):
            machine.do("alt")
        return get(key)

    objects.get = get_late  # type: ignore[method-assign]
    done = pull(objects, Store("two/.trax"), NAME)
    assert read("two/.trax") == machine.values[: done.step]
    machine.do("at")
    machine.close()


def test_what_the_replica_lacks_is_replaced_only_if_it_is_said() -> None:
    objects, others = Objects(), Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    machine.close()
    other = Machine(others, "two", "b")
    other.do("aaat")
    other.close()
    store = Store("two/.trax")
    with pytest.raises(trax.UsageError, match="has steps that memory://test lacks"):
        pull(objects, store, NAME)
    assert read("two/.trax") == other.values
    assert pull(objects, store, NAME, replaces=True).aside
    assert read("two/.trax") == machine.values
    assert len([*Path("two/.trax/aside").iterdir()]) == 1


def test_a_copy_of_the_files_goes_on_once_it_was_compared() -> None:
    """Files that came in another way, such as from a backup, get their marker."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aacat")
    machine.close()
    os.remove(f"one/.trax/runs/{NAME}/replica")
    store = Store("one/.trax")
    assert pull(objects, store, NAME).status == "up to date"
    with store.reading(NAME) as directory:
        assert read_marker(directory).url == "memory://test"
    machine.do("|at")
    machine.close()
    assert not Path("one/.trax/aside").exists()


def test_a_run_that_is_not_there_is_an_error() -> None:
    with pytest.raises(trax.NotFoundError, match="no run 'magnet' is in memory://test"):
        pull(Objects(), Store("one/.trax"), NAME)
