"""Futures of any library: those that tell of their end, and those that must be asked."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from trax.sweeping.flights import Flights


class Job:
    """A future as submitit has it: it only answers."""

    def __init__(self, asks: int, state: str = "RUNNING") -> None:
        self.left = asks
        self.asked = 0
        self.state = state
        self.is_cancelled = False

    def done(self) -> bool:
        self.asked += 1
        return self.asked > self.left

    def cancel(self) -> None:
        self.is_cancelled = True


def test_futures_that_tell_come_in_the_order_in_which_they_end() -> None:
    flights: Flights[str] = Flights()
    futures = {name: Future[int]() for name in "abc"}
    for name, future in futures.items():
        flights.add(future, name)
    assert (len(flights), flights.has_landed) == (3, False)
    for name in "bca":
        futures[name].set_result(1)
    assert flights.has_landed
    assert [flights.wait() for _ in range(3)] == [(futures[name], name) for name in "bca"]
    assert (len(flights), flights.has_landed) == (0, False)


def test_one_that_is_done_already_comes_at_once() -> None:
    flights: Flights[int] = Flights()
    future: Future[int] = Future()
    future.set_exception(KeyError(1))
    flights.add(future, 7)
    assert flights.wait() == (future, 7)


def test_a_wait_ends_in_another_thread_too() -> None:
    flights: Flights[int] = Flights()
    future: Future[int] = Future()
    flights.add(future, 7)
    thread = threading.Thread(target=future.set_result, args=(1,))
    thread.start()
    assert flights.wait() == (future, 7)
    thread.join()


def test_futures_that_do_not_tell_are_asked_in_pauses_that_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pause starts small again when one has come."""
    flights: Flights[str] = Flights()
    pauses = list[float]()
    get = flights._landed.get

    class Landed:
        def get(self, timeout: float) -> Any:
            pauses.append(timeout)
            return get(timeout=0)

    monkeypatch.setattr(flights, "_landed", Landed())
    slow, slower = Job(9), Job(12)
    flights.add(slow, "slow")
    flights.add(slower, "slower")
    assert flights.wait() == (slow, "slow")
    assert flights.wait() == (slower, "slower")
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 0.01, 0.02, 0.04]
    assert len(flights) == 0


def test_both_kinds_fly_together() -> None:
    flights: Flights[str] = Flights()
    future, job = Future[int](), Job(2)
    flights.add(job, "job")
    flights.add(future, "future")
    future.set_result(1)
    assert {flights.wait(), flights.wait()} == {(future, "future"), (job, "job")}


@pytest.mark.parametrize("with_job", [False, True])
def test_a_wait_can_be_ended(with_job: bool) -> None:
    """By a signal handler."""
    flights: Flights[str] = Flights()
    future = Future[int]()
    flights.add(future, "future")
    if with_job:
        flights.add(Job(10**9), "job")
    flights.wake()
    assert flights.wait() is None
    future.set_result(1)
    assert flights.wait() == (future, "future")


def test_only_what_has_not_begun_is_cancelled() -> None:
    """A job of submitit that is running would be ended by that."""
    flights: Flights[str] = Flights()
    waiting, running = Future[int](), Future[int]()
    running.set_running_or_notify_cancel()
    jobs = {state: Job(1, state) for state in ("PENDING", "RUNNING")}
    flights.add(object(), "cannot be cancelled")
    for future in (waiting, running, *jobs.values()):
        flights.add(future, "")
    flights.cancel()
    assert (waiting.cancelled(), running.cancelled()) == (True, False)
    assert [job.is_cancelled for job in jobs.values()] == [True, False]
