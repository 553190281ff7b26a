"""A store of objects that is away is asked later each time, and the user is told once."""

from __future__ import annotations

import itertools

import pytest
from replicas import Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

from trax import LockedError, StorageError
from trax.replica import attempts
from trax.replica.attempts import WAITS, Attempts, Notices
from trax.replica.seam import Away
from trax.storage.process import process

pytestmark = pytest.mark.usefixtures("by_hand")


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


def test_the_store_that_is_away_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Although the error of the store begins with its URL as well."""
    machine = Machine(objects := Objects(), "one")
    machine.do("at")

    def refuse(key: str) -> None:
        raise Away(f"memory://test cannot be used: no {key[:4]}\nCheck the network.")

    objects.before = refuse
    machine.do("at")
    said = [line for line in caplog.messages if "goes on, but is not copied" in line]
    assert said == ["magnet goes on, but is not copied for now to memory://test: no runs"]
    objects.before = lambda key: None
    machine.close()


def test_the_next_try_comes_later_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And at once when one has succeeded."""
    now = [0.0]
    monkeypatch.setattr(process, "monotonic", lambda: now[0])
    monkeypatch.setattr(attempts, "_PAUSE", 0.5)
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


def test_a_store_that_is_away_at_the_beginning_is_an_error() -> None:
    objects = Objects()
    objects.before = lambda key: no_answer()
    with pytest.raises(StorageError, match="the replica of 'magnet' cannot be reached: no answer"):
        Machine(objects, "one")
    objects.before = lambda key: None
    Machine(objects, "one").close()


def test_what_a_claim_of_another_writer_ends_is_refused_for_good() -> None:
    """And every other failure is only a reason to try again."""
    tried = Attempts(Notices("run", "memory://test", how=""))
    refused: list[LockedError] = []
    tried.refuse = refused.append

    def fail(error: Exception) -> bool:
        raise error

    assert not tried.make(lambda: fail(ValueError("first line\nsecond")))
    assert tried.cause == "first line"
    assert tried.pause
    tried.check()
    assert tried.make(lambda: True)
    assert not tried.pause
    assert tried.is_due
    error = LockedError("taken over")
    assert not tried.make(lambda: fail(error))
    assert refused == [error]
    assert not tried.is_due
    for _ in range(2):  # without the frames of before
        with pytest.raises(LockedError, match="taken over") as caught:
            tried.check()
        assert len(caught.traceback) == 2


def test_a_run_that_says_for_what_it_waits_does_not_say_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Notices("run", "memory://test", how="goes on, but is not copied for now to")
    told.away("full")
    told.waiting()
    assert len(caplog.messages) == 2
    told = Notices("run", "memory://test", how=WAITS)
    told.away("full")
    told.waiting()
    assert caplog.messages[2:] == ["run waits for memory://test: full"]
