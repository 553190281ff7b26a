"""No exception of a signal handler leaves a mutex locked, wherever it comes."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from typing import Any

import pytest
from faults import Interrupt

from trax.storage.mutex import Mutex


def is_free(mutex: Mutex) -> bool:
    """Return whether another thread can have it at once."""
    got: list[bool] = []

    def take() -> None:
        got.append(mutex.acquire(blocking=False))
        if got[0]:
            mutex.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got[0]


def test_it_is_held_in_its_block_and_reentrant() -> None:
    """Other threads wait until the outermost block has ended."""
    mutex = Mutex()
    assert not mutex.is_owned()
    with mutex:
        with mutex:
            assert mutex.is_owned()
        assert mutex.is_owned()
        assert not is_free(mutex)
    assert is_free(mutex)


def test_an_exception_passes_and_releases_it() -> None:
    """As with every lock."""
    mutex = Mutex()
    with pytest.raises(ValueError, match="in the block"), mutex:
        raise ValueError("in the block")
    assert is_free(mutex)


@pytest.mark.parametrize("depth", [1, 2])
def test_an_interrupt_at_any_place_releases_it(depth: int) -> None:
    """Before the block, in it and after it; and in an inner block only what that one took."""
    mutex = Mutex()
    places = f"storage{os.sep}mutex.py", os.path.basename(__file__)

    def use() -> None:
        with mutex:
            len("in the block")

    for place in itertools.count(1):
        interrupt = Interrupt(place, KeyboardInterrupt(), *places)
        with contextlib.ExitStack() as outer:
            for _ in range(depth - 1):
                outer.enter_context(mutex)
            with contextlib.suppress(KeyboardInterrupt), interrupt:
                use()
            assert mutex.is_owned() == (depth > 1)
        assert is_free(mutex)
        if interrupt.places < place:
            break
    assert place > 3


def test_an_interrupt_of_the_wait_leaves_it_to_its_holder() -> None:
    """What was not acquired is not released."""
    mutex = Mutex()
    locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with mutex:
            locked.set()
            assert may_end.wait(60)

    def handler(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(60)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with pytest.raises(KeyboardInterrupt), mutex:
            pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not is_free(mutex)
    may_end.set()
    thread.join()
    assert is_free(mutex)
