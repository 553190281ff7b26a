"""The log is replayed on top of a checkpoint, as its increments were folded live."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import flipped, run_script, start_script
from test_decorator import total

import trax
from trax.engine import replay
from trax.storage.store import Store


@pytest.fixture(autouse=True)
def nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory may have the name of one that a former test had."""
    monkeypatch.setattr(replay, "_told", set())


def test_a_log_is_not_replayed_in_another_sense() -> None:
    """Increments that were states are not folded, and the other way round."""

    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(9):
            yield i

    with trax.resumable(create=int)(loop)() as run:
        next(run), next(run)
    with pytest.raises(trax.UsageError, match="replay_log left out, and now it is a function"):
        trax.resumable(create=int, replay_log=total)(loop)().result()
    assert trax.load("loop") == 1


def test_by_default_the_increment_replaces_the_state() -> None:
    """In the log of each name in the call."""
    with trax.Trax() as store:
        store.checkpoint(one=1, two=2)
        store.log(one=10, two=20)
        store.log(two=200)
        assert (store.recover("one"), store.recover("two")) == (10, 200)


def test_a_replay_log_that_raises_says_at_which_step() -> None:
    """Its own exception, with a note; the store is as it was."""
    with trax.Trax() as store:
        store.checkpoint(number=0)
        for number in (1, 2, 0, 4, 5, 6):
            store.log(number=number)
        with pytest.raises(ZeroDivisionError) as caught:
            store.recover("number", replay_log=lambda state, increment: 1 // increment)
        assert caught.value.__notes__ == ["trax: raised by replay_log at step 3 of 'number'"]
        assert store.recover("number") == 6


class Fragile:
    """An object that is loaded only if nothing is broken."""

    broken = False

    def __init__(self) -> None:
        self.number = 4

    def __setstate__(self, state: dict[str, int]) -> None:
        if Fragile.broken:
            raise ValueError("it is broken")


@dataclass
class Old:
    """A class that has a successor, and still exists."""

    number: int


@dataclass
class New:
    """The successor."""

    number: int


def test_an_increment_that_cannot_be_loaded_is_named_by_its_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among many others, and with the way to the step before it."""
    loaded: list[Any] = []
    with trax.Trax() as store:
        store.checkpoint(x=0)
        for number in range(9):
            store.log(x=Fragile() if number == 4 else number)
        monkeypatch.setattr(Fragile, "broken", True)
        with pytest.raises(trax.CodecError, match="increment of step 5 of the run 'x'") as caught:
            store.recover("x", replay_log=lambda state, increment: loaded.append(increment))
        assert "Or go back to step 4 with trax.repair" in str(caught.value)
    assert loaded == [0, 1, 2, 3]


def test_renames_count_for_increments_whose_old_name_is_still_there() -> None:
    """The name leads to the class that was given, not to the one of before."""
    with trax.Trax() as store:
        store.checkpoint(x=[])
        for number in range(5):
            store.log(x=Old(number))
    renames = {f"{__name__}.Old": f"{__name__}.New"}
    with trax.Trax(renames=renames) as store:
        found = store.recover("x", replay_log=lambda state, increment: [*state, increment])
    assert found == [New(number) for number in range(5)]


def test_a_replay_log_of_another_script_can_be_given() -> None:
    """The message offers that; and it was not raised by a function that could not be loaded."""
    run_script(
        "import trax\n"
        "def fold(state, increment):\n"
        "    return state + increment\n"
        "@trax.resumable(create=int, replay_log=fold)\n"
        "def count(state):\n"
        "    for i in trax.steps(5):\n"
        "        yield i\n"
        "with count() as run:\n"
        "    next(run), next(run), next(run)\n"
    )
    with pytest.raises(trax.CodecError, match="Or give replay_log=") as caught:
        trax.load("count")
    assert not hasattr(caught.value, "__notes__")
    assert trax.load("count", replay_log=lambda state, increment: state + increment) == 3


# -- an end that is not read ---------------------------------------------------------------

KILLED = """
import os, signal
import trax

@trax.resumable(create=list, replay_log=lambda state, i: [*state, i], every_steps=5)
def job(state):
    for i in trax.steps(20):
        yield i

for i in (run := job()):
    if run.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def add(state: list[int], increment: int) -> list[int]:
    return [*state, increment]


def recover() -> Any:
    with trax.Trax() as store:
        return store.recover("job", replay_log=add)


def killed() -> Path:
    """Kill a run at step 9; return its newest log."""
    assert run_script(KILLED, check=False).returncode == -signal.SIGKILL
    return max(Path(".trax/runs/job").glob("log-*")).resolve()


@pytest.mark.parametrize("read", [lambda: trax.load("job"), recover], ids=["load", "recover"])
@pytest.mark.parametrize("back", [3, 21])
def test_a_damaged_end_is_said(
    read: Callable[[], Any], back: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the place and the step; it is no writer at work, whoever holds the run."""
    log = killed()
    content = log.read_bytes()
    log.write_bytes(flipped(content, len(content) - back, 127))
    for _ in range(2):
        assert read() == list(range(8))
    [line] = caplog.messages
    assert line.startswith(
        f"{log}: the last 21 bytes, from offset {len(content) - 21}, are damaged"
    )
    assert line.endswith("the state is that of step 8")


@pytest.mark.parametrize("read", [lambda: trax.load("job"), recover], ids=["load", "recover"])
@pytest.mark.parametrize("left", [1, 7, 20])
def test_an_end_that_is_cut_short_is_said_if_nobody_writes(
    read: Callable[[], Any], left: int, caplog: pytest.LogCaptureFixture
) -> None:
    """While the run is held it may be a writer at work."""
    log = killed()
    content = log.read_bytes()
    os.truncate(log, len(content) - 21 + left)
    lock = Path(".trax/locks/job")
    note = lock.read_text()
    with trax.Trax() as store:
        store.log(other=1)
        lock.write_text(Path(".trax/locks/other").read_text())
        assert read() == list(range(8))
    assert caplog.messages == []
    lock.write_text(note)
    for _ in range(2):
        assert read() == list(range(8))
    [line] = caplog.messages
    assert f"{log}: the last {left} bytes" in line
    assert "are not a whole increment" in line
    assert line.endswith("the state is that of step 8")


def test_an_end_that_the_writer_completes_meanwhile_is_not_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read once more before anything is said."""
    log = killed()
    content = log.read_bytes()
    log.write_bytes(content[:-3])
    seen = []

    def is_held(store: Store, name: str) -> bool:
        log.write_bytes(content)
        seen.append(name)
        return False

    monkeypatch.setattr(Store, "is_held", is_held)
    assert trax.load("job") == list(range(8))
    assert seen == ["job"]
    assert caplog.messages == []
    assert trax.load("job") == list(range(9))


WRITING = """
import sys, threading
import trax

asked = threading.Thread(target=sys.stdin.read)
asked.start()
with trax.Trax() as store:
    store.checkpoint(busy=0)
    print("running", flush=True)
    number = 0
    while asked.is_alive():
        number += 1
        store.log(busy=bytes(number % 300_000))
        if number % 50 == 0:
            store.checkpoint(busy=number)
"""


def test_of_a_run_that_is_being_written_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A reader often sees a part of a large increment."""
    with start_script(WRITING) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        for _ in range(100):
            trax.load("busy", replay_log=lambda state, increment: state)
        process.stdin.close()
        assert process.wait() == 0
    assert caplog.messages == []
