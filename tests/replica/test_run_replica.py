"""A run goes on from its replica after any crash, and of two machines one has it."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from functools import partial

import pytest
from replicas import (
    Machine,
    Objects,
    at_call,
    by_hand,  # noqa: F401
    no_answer,
    read_replica,
)

from trax import LockedError, StorageError, notices
from trax.notices import warn
from trax.replica import attempts, run_replica
from trax.replica.seam import Objects as AnyObjects
from trax.storage.process import process
from trax.storage.sync_thread import Ticker

pytestmark = pytest.mark.usefixtures("by_hand")

SCENES = [
    "aataat",
    "atcatacat",
    "aalataat",
    "otootcotaot",
    "ataxatax",
    "at|aat|cat",
    "cateatx",
    "oatxoato",
    "catalatcataat",
    "aacalltlact",
    "otwt|ootwx|owta|otx",
    "AaAtcAAtAactlAt|AatA",
    "uuatutuuxt",
    "atuta|uaux",
]


def test_an_empty_disk() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aaatacat")
    machine.kill()
    assert read_replica(objects, "two") == machine.values


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("key", ["", "ab" * 32], ids=["unsigned", "signed"])
def test_every_prefix_of_what_was_done_is_a_state_that_the_run_had(
    scene: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a later prefix is no earlier state; at the end everything is there."""
    monkeypatch.setenv("TRAX_KEY", key)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do(scene)
    machine.close()
    lengths = []
    for number, image in enumerate(objects.images()):
        found = read_replica(image, f"other-{number}")
        assert found == machine.values[: len(found)]
        lengths.append(len(found))
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(machine.values)


def puts_of(scene: str) -> int:
    """Return the number of puts in a scene that is ended."""
    objects = Objects()
    tried: list[str] = []
    objects.before = tried.append
    machine = Machine(objects, "count")
    machine.do(scene)
    machine.close()
    return len(tried)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("is_done", [True, False], ids=["answer lost", "put lost"])
def test_any_put_may_fail(scene: str, is_done: bool) -> None:
    """Whether it has arrived or not."""
    for number in range(puts_of(scene)):
        objects = Objects()
        (objects.after_put if is_done else objects.at_put)(number, no_answer)
        machine = Machine(objects, f"one-{number}-")
        machine.do(scene)
        machine.close()
        assert read_replica(objects, f"other-{number}") == machine.values


@pytest.mark.parametrize("scene", ["aatact", "oatlaot", "aAtlaAt|aat"])
@pytest.mark.parametrize("how", ["|", "x"])
def test_any_request_may_fail(scene: str, how: str) -> None:
    """Of those that open the run as well, on the same disk or on an empty one."""
    for number in itertools.count():
        objects = Objects()
        machine = Machine(objects, f"one-{number}-")
        machine.do(f"{scene}a")
        failed: list[bool] = []

        def fail(failed: list[bool] = failed) -> None:
            failed.append(True)
            no_answer()

        objects.asked = at_call(number, fail)
        machine.do(f"{how}at")
        machine.close()
        objects.asked = lambda key: None
        assert read_replica(objects, f"other-{number}") == machine.values
        if not failed:
            break
    assert number >= 4


def open_second(
    second: list[Machine], objects: Objects, place: str, things: str, when: str
) -> None:
    """Open the run on a second machine, and do things there."""
    second.append(Machine(objects, place, "b"))
    second[0].do(things)
    if when == "answer lost":
        no_answer()


def run_until_fenced(machine: Machine, scene: str) -> None:
    """Do what a scene says; a machine that was fenced cannot go on for long, nor end well."""

    def run() -> None:
        machine.do(f"{scene}atat")
        machine.close()

    with pytest.raises(LockedError, match="was taken over by process"):
        run()
    machine.kill()


FIRST = ["aataat", "atcatacat", "aalataat", "otootcotaot", "aatcatlat", "AatcAtlAt"]


@pytest.mark.parametrize("scene", FIRST)
@pytest.mark.parametrize("other", ["", "t", "at", "atcatct", "latlatct"])
@pytest.mark.parametrize("when", ["before", "after", "answer lost"])
def test_of_two_machines_the_later_one_has_the_run(scene: str, other: str, when: str) -> None:
    """At whichever put it opens it, and whatever it has deleted when the first one wakes up.

    The first put is the claim of the first machine, which is the later one if it must put another.
    """
    for number in range(1, puts_of(scene)):
        objects = Objects()
        second: list[Machine] = []
        take_over = partial(open_second, second, objects, f"b-{number}", other, when)
        (objects.at_put if when == "before" else objects.after_put)(number, take_over)
        first = Machine(objects, f"a-{number}", "a")
        run_until_fenced(first, scene)
        (machine,) = second
        machine.do("at")
        machine.close()
        assert read_replica(objects, f"c-{number}") == machine.values
        common = [value for value in machine.values if value.startswith("a")]
        assert common == first.values[: len(common)] == machine.values[: len(common)]


@pytest.mark.parametrize("scene", ["", "at", "atcat"])
@pytest.mark.parametrize("meanwhile", ["at", "atlt", "atltaatlt"])
def test_a_number_that_was_used_and_deleted_is_no_claim(scene: str, meanwhile: str) -> None:
    """A machine sleeps after it has looked for the next number, and another one makes images."""
    objects = Objects()
    first = Machine(objects, "a", "a")
    first.do(scene)
    objects.at_put(0, lambda: first.do(meanwhile))
    second = Machine(objects, "b", "b")
    assert second.values == first.values
    run_until_fenced(first, "")
    second.do("at")
    second.close()
    assert read_replica(objects, "c") == second.values


def test_one_that_writes_without_a_pause_cannot_keep_others_out() -> None:
    """It puts an object in the time of any other request but one."""
    objects = Objects()
    first = Machine(objects, "a", "a")
    first.do("at")
    asked: list[str] = []

    def go_on(key: str) -> None:
        asked.append(key)
        assert len(asked) < 50
        objects.asked = lambda key: None
        with contextlib.suppress(LockedError):
            first.do("at")
        objects.asked = go_on

    objects.asked = go_on
    second = Machine(objects, "b", "b")
    assert second.values == first.values[: len(second.values)]
    assert len(second.values) > 1
    objects.asked = lambda key: None
    second.close()
    run_until_fenced(first, "")


@pytest.mark.parametrize("when", ["before", "after", "answer lost"])
def test_of_two_that_open_it_at_once_one_has_it(when: str) -> None:
    """Whoever claims it last, even if it had looked first."""
    objects = Objects()
    second: list[Machine] = []
    take_over = partial(open_second, second, objects, "b", "ata", when)
    (objects.at_put if when == "before" else objects.after_put)(0, take_over)
    if when == "after":
        with pytest.raises(LockedError, match="was taken over by"):
            Machine(objects, "a", "a")
        (winner,) = second
    else:
        winner = Machine(objects, "a", "a")
        run_until_fenced(second[0], "")
    winner.do("at")
    winner.close()
    assert read_replica(objects, "c") == winner.values


@pytest.mark.parametrize("seed", range(300))
@pytest.mark.proof
def test_whatever_is_done(seed: int) -> None:
    """Any things, in any order, with answers that are lost: no step is, but with a disk."""
    rng = random.Random(seed)
    objects = Objects()
    machine = Machine(objects, "one")
    for _ in range(40):
        if rng.random() < 0.2:
            (objects.after_put if rng.random() < 0.5 else objects.at_put)(
                rng.randrange(3), no_answer
            )
        thing = rng.choice(["a", "a", "a", "A", "o", "O", "c", "t", "t", "l", "|", "wt|", "e", "x"])
        known = machine.values
        machine.do(thing)
        assert machine.values[: len(known)] == known[: len(machine.values)]
        assert thing == "x" or len(machine.values) >= len(known)
    machine.close()
    for number, image in enumerate([*objects.images()][:: rng.randrange(3, 9)]):
        found = read_replica(image, f"other-{number}")
        assert found == machine.values[: len(found)]
    assert read_replica(objects, "last") == machine.values


def test_an_end_that_takes_long_says_that_it_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a request hangs; the end of one that is quick says nothing."""
    machine = Machine(objects := Objects(), "one")
    machine.do("at")
    machine.do("ae")
    assert not caplog.messages
    machine.do("a")
    told = threading.Event()
    monkeypatch.setattr(process, "repeat", Ticker)
    monkeypatch.setattr(run_replica, "_QUIET", 0.001)

    def tell(line: str) -> None:
        warn(line)
        told.set()

    monkeypatch.setattr(notices, "warn", tell)
    objects.at_put(0, lambda: told.wait(60))
    machine.close()
    (line,) = caplog.messages
    assert line == (
        "magnet waits for memory://test to take its newest steps, for up to a minute without an "
        "answer; they are on this disk"
    )  # what will copy them depends on why it does not answer


# -- waiting for each step -----------------------------------------------------------------


def test_an_increment_waits_until_it_is_in_the_replica() -> None:
    """However long the store is away."""
    objects = Objects()
    machine = Machine(objects, "one", waits=True)
    for number in range(5):
        objects.at_put(0, no_answer)
        machine.do("a")
        assert read_replica(objects, f"other-{number}") == machine.values
    machine.do("la")
    assert read_replica(objects, "other") == machine.values
    machine.close()


def test_the_next_step_of_a_former_writer_fails() -> None:
    objects = Objects()
    first = Machine(objects, "one", "a", waits=True)
    first.do("a")
    second = Machine(objects, "two", "b", waits=True)
    with pytest.raises(LockedError):
        first.do("a")
    first.kill()
    second.do("a")
    second.close()


def test_a_run_that_stops_waits_no_longer_for_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "_GRACE", 0.05)
    objects = Objects()
    machine = Machine(objects, "one", waits=True)
    machine.do("a")
    machine.replica.is_stopping = lambda: True
    objects.before = lambda key: no_answer()
    with pytest.raises(StorageError, match="its last step is not in memory://test"):
        machine.do("a")
    objects.before = lambda key: None
    machine.do("|")
    assert len(machine.values) == 2
    machine.close()


# -- on real stores ------------------------------------------------------------------------


def test_every_store_of_objects_will_do(objects: AnyObjects) -> None:
    """As one on this disk, or one in the cloud."""
    first = Machine(objects, "one", "a")
    first.do("oatolatAat")
    second = Machine(objects, "two", "b")
    run_until_fenced(first, "")
    second.do("aolatxoat|at")
    second.close()
    last = Machine(objects, "three")
    assert last.values == second.values
    last.close()
