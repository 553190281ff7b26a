"""A thread is told of signals at once; the descriptor of somebody else stays."""

from __future__ import annotations

import os
import queue
import signal
import socket
from collections.abc import Iterator

import pytest
from support import run_script

from trax.interrupts.wakeup import Wakeup


@pytest.fixture
def told() -> queue.Queue[int]:
    return queue.Queue()


@pytest.fixture
def wakeup(told: queue.Queue[int]) -> Iterator[Wakeup]:
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    wakeup = Wakeup(told.put)
    yield wakeup
    wakeup.end()
    signal.signal(signal.SIGUSR2, before)
    assert signal.set_wakeup_fd(-1) == -1


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_thread_is_told_of_each_signal(wakeup: Wakeup, told: queue.Queue[int]) -> None:
    """From the beginning to the end, also if it begins again."""
    for _ in range(2):
        wakeup.begin()
        wakeup.begin()
        signal.raise_signal(signal.SIGUSR2)
        assert told.get(timeout=30) == signal.SIGUSR2
        wakeup.end()
        signal.raise_signal(signal.SIGUSR2)
        assert told.empty()


def test_the_descriptor_of_an_event_loop_stays(wakeup: Wakeup) -> None:
    """Whether it was there before, or came in between; and it is used again once that is gone."""
    one, other = socket.socketpair()
    with one, other:
        other.setblocking(False)
        signal.set_wakeup_fd(other.fileno())
        wakeup.begin()
        assert signal.set_wakeup_fd(-1) == other.fileno()
        wakeup.begin()
        signal.set_wakeup_fd(other.fileno())
        wakeup.end()
        assert signal.set_wakeup_fd(-1) == other.fileno()


def test_it_begins_again_if_the_descriptor_was_unset(
    wakeup: Wakeup, told: queue.Queue[int]
) -> None:
    """As by an event loop that is over."""
    wakeup.begin()
    signal.set_wakeup_fd(-1)
    wakeup.begin()
    signal.raise_signal(signal.SIGUSR2)
    assert told.get(timeout=30) == signal.SIGUSR2


def test_a_forked_child_closes_its_copies(wakeup: Wakeup, told: queue.Queue[int]) -> None:
    """Its signals are not those of its parent."""
    wakeup.begin()
    copies = [wakeup._reader, wakeup._writer]
    child = os.fork()
    if not child:  # pragma: no cover  # in another process
        try:
            wakeup.forget()
            signal.raise_signal(signal.SIGUSR2)
            os._exit(1 if any(map(is_open, copies)) else 0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert told.empty()
    assert all(map(is_open, copies))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_to_die_of_a_signal_is_seen_from_outside(name: str) -> None:
    """In any thread, and although a handler is set."""
    script = (
        "import signal, threading\n"
        "from trax.interrupts.wakeup import die\n"
        f"signal.signal(signal.{name}, lambda *_: print('not called'))\n"
        f"threading.Thread(target=die, args=(signal.{name},)).start()\n"
        "threading.Event().wait()\n"
    )
    done = run_script(script, check=False)
    assert (done.returncode, done.stdout) == (-signal.Signals[name], "")
