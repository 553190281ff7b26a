"""A run that nobody writes is copied whole, and once it was begun, copying goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

import trax
from trax.replica import run_replica
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
def test_a_push_that_is_cut_short_goes_on(scene: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After whichever put the store went away; then there is nothing, or all of it."""
    monkeypatch.setattr(run_replica, "_GRACE", 0.0)
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
    assert (done.status, done.step) == ("pushed", len(values))
    assert push(objects, store, NAME).status == "up to date"
    assert read_replica(objects, "last") == values


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
