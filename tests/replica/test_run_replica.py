"""A run goes on from its replica after any crash, and of two machines one has it."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
from replicas import (
    NAME,
    Machine,
    Objects,
    at_call,
    by_hand,  # noqa: F401
    no_answer,
    read_replica,
)

from trax import CorruptionError, LockedError, StorageError, notices
from trax.notices import warn
from trax.replica import run_replica
from trax.replica.marker import is_behind, mark_rewound, read_marker
from trax.replica.seam import Objects as AnyObjects
from trax.storage.process import process
from trax.storage.store import Store
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


# -- a disk that is newer, older, or another one's -----------------------------------------


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


def test_a_run_that_was_rewound_stays_so_until_its_replica_is() -> None:
    """Also if the process is killed before that."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    machine.close()
    with Store(machine.store).reading(NAME) as directory:
        mark_rewound(directory)
        machine.do("|")
        assert read_marker(directory).rewound
        machine.do("t")
        assert not read_marker(directory).rewound
    machine.close()


# -- a store that is away ------------------------------------------------------------------


def test_a_store_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The loop goes on, and the journal says how far the replica is behind."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    objects.before = lambda key: no_answer()
    machine.do("atatat")
    said = [line for line in caplog.messages if "goes on, but is not copied" in line]
    assert said == ["magnet goes on, but is not copied for now to memory://test: no answer"]
    assert machine.replica.status()["lag"] >= 0
    objects.before = lambda key: None
    machine.do("tat")
    assert caplog.messages.count("magnet is copied to memory://test again") == 1
    assert read_replica(objects, "other") == machine.values
    machine.close()


def test_the_next_try_comes_later_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And at once when one has succeeded."""
    now = [0.0]
    monkeypatch.setattr(process, "monotonic", lambda: now[0])
    monkeypatch.setattr(run_replica, "_PAUSE", 0.5)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    tried: list[float] = []

    def fail(_: str) -> None:
        tried.append(now[0])
        no_answer()

    objects.before = fail
    machine.do("a")
    for now[0] in range(1, 300):
        machine.replica._tick()
    assert [b - a for a, b in itertools.pairwise(tried)][:6] == [1, 1, 2, 4, 8, 16]
    assert max(b - a for a, b in itertools.pairwise(tried)) == 60
    assert machine.replica.status()["lag"] == 299
    objects.before = lambda key: None
    now[0] += 60
    machine.replica._tick()
    assert machine.replica.status()["lag"] == 0
    machine.close()


def lacks_something(machine: Machine) -> bool:
    """Return whether the replica may lack something that a machine has, as this one knows."""
    with Store(machine.store).reading(NAME) as directory:
        return is_behind(directory, machine.objects.url)


def test_the_end_waits_a_while_for_a_store_that_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it says what is missing, and the next opening copies it."""
    monkeypatch.setattr(run_replica, "_GRACE", 0.05)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    objects.before = lambda key: no_answer()
    machine.do("aa")
    machine.close()
    assert "lacks the newest steps, which are on this disk alone" in caplog.text
    objects.before = lambda key: None
    assert lacks_something(machine)
    machine._open()
    machine.close()
    assert not lacks_something(machine)
    assert read_replica(objects, "other") == machine.values


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
    assert line.startswith("magnet waits for memory://test to take its newest steps, for up to a")


def test_a_store_that_is_away_at_the_beginning_is_an_error() -> None:
    objects = Objects()
    objects.before = lambda key: no_answer()
    with pytest.raises(StorageError, match="the replica of 'magnet' cannot be reached: no answer"):
        Machine(objects, "one")
    objects.before = lambda key: None
    Machine(objects, "one").close()


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
    monkeypatch.setattr(run_replica, "_GRACE", 0.05)
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


# -- other places --------------------------------------------------------------------------


def test_a_place_that_lost_everything_is_refused() -> None:
    """It may be the mount point of a disk that is not mounted; the disk itself is no other one."""
    objects, empty = Objects(), Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    machine.close()
    machine.objects = empty
    with pytest.raises(StorageError, match="has nothing of 'magnet', which was copied there"):
        machine._open()
    assert not empty.contents
    machine.objects = objects
    machine._open()
    machine.do("a")
    machine.close()
    assert len(machine.values) == 3
    assert read_replica(objects, "other") == machine.values


@pytest.mark.parametrize("scene", ["aat", "aalat", "oatlat", "OatAat"])
@pytest.mark.parametrize("rest", ["", "at", "latlat", "otoe"])
@pytest.mark.parametrize("lost", ["", "1", "2", "piece"])
def test_what_was_lost_while_a_run_goes_on_is_copied_anew(
    scene: str, rest: str, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As where somebody has emptied the bucket: at an image, or at the end, and it is told."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do(scene)
    gone = [key for key in objects.contents if lost in key.rpartition("/")[2].split("-")[0][-5:]]
    for key in gone:
        del objects.contents[key]
    machine.do(rest)
    machine.close()
    assert read_replica(objects, "other") == machine.values
    assert caplog.text.count("had lost objects of 'magnet', as if somebody") <= 1
    if not lost:
        assert "memory://test had lost objects of 'magnet'" in caplog.text


def test_an_image_after_a_loss_uses_no_piece_of_before(caplog: pytest.LogCaptureFixture) -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("OOOat")
    objects.contents.clear()
    machine.do("latt")
    assert read_replica(objects, "other") == machine.values
    assert "had lost objects" in caplog.text
    machine.close()


def test_a_former_writer_that_ends_does_not_take_deletions_for_a_loss(
    caplog: pytest.LogCaptureFixture,
) -> None:
    objects = Objects()
    first = Machine(objects, "one", "a")
    first.do("aat")
    second = Machine(objects, "two", "b")
    second.do("latlat")
    with contextlib.suppress(LockedError):
        first.close()
    second.close()
    assert "had lost" not in caplog.text
    assert read_replica(objects, "other") == second.values


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
