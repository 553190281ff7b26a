"""What is marked when the replica has it, what is copied anew, and when the end gives up."""

from __future__ import annotations

import contextlib
import os

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

from trax import LockedError
from trax.replica import attempts
from trax.replica.marker import is_behind, mark_rewound, read_marker
from trax.storage.store import Store

pytestmark = pytest.mark.usefixtures("by_hand")


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


def lacks_something(machine: Machine) -> bool:
    """Return whether the replica may lack something that a machine has, as this one knows."""
    with Store(machine.store).reading(NAME) as directory:
        return is_behind(directory, machine.objects.url)


def test_the_end_waits_a_while_for_a_store_that_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it says what is missing, and the next opening copies it."""
    monkeypatch.setattr(attempts, "_GRACE", 0.05)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    objects.before = lambda key: no_answer()
    machine.do("aa")
    machine.close()
    assert "lacks the newest steps, which are on this disk alone" in caplog.text
    assert "or by trax push if nothing of the run is left there" in caplog.text
    objects.before = lambda key: None
    assert lacks_something(machine)
    machine._open()
    machine.close()
    assert not lacks_something(machine)
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


def test_a_writer_that_is_fenced_puts_nothing_at_the_end() -> None:
    objects = Objects()
    first = Machine(objects, "one", "a")
    first.do("aat")
    second = Machine(objects, "two", "b")
    first.do("at")
    tried: list[str] = []
    objects.before = tried.append
    with pytest.raises(LockedError, match="was taken over by process"):
        first.close()
    assert not tried
    second.close()


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_an_end_that_gives_up_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the checkpoint that an image was made of."""
    monkeypatch.setattr(attempts, "_GRACE", 0.05)
    before = open_files()
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("atl")
    objects.at_put(1, lambda: setattr(objects, "before", lambda key: no_answer()))
    machine.do("t")
    assert machine.replica._begun._copier.is_making
    objects.before = lambda key: no_answer()
    machine.close()
    assert open_files() == before
