"""A run that nobody writes is copied whole, and once it was begun, copying goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

import trax
from trax.replica import attempts
from trax.replica.entry import decode, number_of
from trax.replica.marker import read_marker
from trax.replica.push import objection, push
from trax.storage.store import Store

pytestmark = pytest.mark.usefixtures("by_hand")

SCENES = ["aaaa", "aacaca", "aalaa", "oocoaoo", "OcoAlo"]


def local(scene: str, place: str = "one") -> list[str]:
    """Make a run without a replica that is kept; return its increments."""
    machine = Machine(Objects(), place)
    machine.do(scene)
    machine.close()
    Path(place, ".trax", "runs", NAME, "replica").unlink()
    return machine.values


@pytest.mark.parametrize("scene", SCENES)
def test_a_push_that_is_cut_short_goes_on(
    scene: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After whichever put the store went away; then there is nothing, or all of it."""
    monkeypatch.setattr(attempts, "_GRACE", 0.0)
    values, store, objects = local(scene), Store("one/.trax"), Objects()
    for number in range(30):
        left = [number]

        def fail(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                no_answer()

        objects.before = fail
        try:
            done = push(objects, store, NAME)
            break
        except trax.StorageError:
            assert read_replica(objects, f"other-{number}") in ([], values)
    assert 0 < number < 29
    assert not caplog.messages  # it is an error, and no notice
    assert (done.status, done.step) == ("pushed", len(values))
    assert push(objects, store, NAME).status == "up to date"
    assert read_replica(objects, "last") == values


def test_a_push_elsewhere_leaves_the_run_its_own_replica() -> None:
    """And notes the last writer there alone."""
    machine = Machine(Objects(), "one")
    machine.do("oat")
    other, store = Objects(), Store("one/.trax")
    other.url = "memory://other"
    for things in ("a", "at"):
        machine.do(things)
        machine.close()
        with store.reading(NAME) as directory:
            before = read_marker(directory)
            push(other, store, NAME)
            writer = newest_writer(other)
            assert read_marker(directory) == replace(before, pushed={other.url: [writer]})
        machine._open()
    machine.close()
    assert not Path("one/.trax/aside").exists()
    assert read_replica(machine.objects, "last") == machine.values


def newest_writer(objects: Objects) -> str:
    """Return the identity of the writer of the newest object."""
    key = max(filter(number_of, objects.contents))
    return decode(objects.contents[key], None, NAME, number_of(key))[0].writer


def test_another_machine_that_has_only_claimed_the_run_is_not_fenced() -> None:
    local("aa")
    objects = Objects()
    machine = Machine(objects, "two", "b")
    store = Store("one/.trax")
    assert "it is claimed by process" in objection(objects, store, NAME)
    with pytest.raises(trax.UsageError, match="was not copied to memory://test: it is claimed"):
        push(objects, store, NAME)
    machine.do("at")
    assert "or is another run" in objection(objects, store, NAME)
    machine.close()
    assert push(objects, store, NAME, replaces=True).step == 2
    assert read_replica(objects, "last") == ["0", "1"]


def test_a_run_that_is_not_here_is_an_error() -> None:
    with pytest.raises(trax.NotFoundError):
        push(Objects(), Store("one/.trax"), NAME)
