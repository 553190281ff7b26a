"""Threads that act in the background: again and again, or once."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading

import pytest
from faults import Interrupt

from trax.storage.sync_thread import Ticker, begin


def test_a_ticker_acts_until_it_is_stopped() -> None:
    """Again and again; when `stop` returns, nothing is under way and nothing will come."""
    ticks = 0
    enough = threading.Event()

    def act() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            enough.set()

    ticker = Ticker(0, act)
    assert enough.wait(60)
    ticker.stop()
    seen = ticks
    assert seen >= 3
    assert not ticker._thread.is_alive()
    assert ticks == seen
    ticker.stop()


def test_stopping_waits_for_what_is_under_way() -> None:
    """So a file is not closed while it is being forced."""
    begun, may_end, stopped = threading.Event(), threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        assert may_end.wait(60)
        assert not stopped.is_set()

    ticker = Ticker(0, act)
    assert begun.wait(60)

    def stop() -> None:
        ticker.stop()
        stopped.set()

    thread = threading.Thread(target=stop)
    thread.start()
    assert not stopped.is_set()
    may_end.set()
    thread.join()
    assert stopped.is_set()
    assert not ticker._thread.is_alive()


def test_a_ticker_can_stop_itself() -> None:
    """It does not wait for itself."""
    ended = threading.Event()

    def act() -> None:
        ready.wait(60)
        ticker.stop()
        ended.set()

    ready = threading.Event()
    ticker = Ticker(0, act)
    ready.set()
    assert ended.wait(60)
    ticker._thread.join()


@pytest.mark.parametrize("error", [MemoryError, ValueError, SystemExit, KeyboardInterrupt])
def test_a_ticker_outlives_every_exception(error: type[BaseException]) -> None:
    """Otherwise nothing would be forced any more, and nobody would know."""
    again = threading.Event()
    errors = [error()]

    def act() -> None:
        if errors:
            raise errors.pop()
        again.set()

    ticker = Ticker(0, act)
    assert again.wait(60)
    ticker.stop()


def test_an_interrupt_at_any_place_lets_it_be_stopped_again() -> None:
    """Whoever closes a run after a Ctrl-C must not wait forever."""
    for place in itertools.count(1):
        ticker = Ticker(0.001, lambda: None)
        interrupt = Interrupt(place, KeyboardInterrupt(), f"{os.sep}sync_thread.py", "threading.py")
        with contextlib.suppress(KeyboardInterrupt), interrupt:
            ticker.stop()
        ticker.stop()
        assert not ticker._thread.is_alive()
        if interrupt.places < place:
            break
    assert place > 3


def test_an_action_is_begun_once_beside_the_caller() -> None:
    """In a daemon thread, so that it keeps no program from ending."""
    begun, may_end, threads = threading.Event(), threading.Event(), []

    def act() -> None:
        threads.append(threading.current_thread())
        begun.set()
        assert may_end.wait(60)

    begin(act)
    assert begun.wait(60)
    may_end.set()
    threads[0].join()
    assert len(threads) == 1
    assert threads[0].daemon
    assert threads[0] is not threading.current_thread()
