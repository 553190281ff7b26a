"""What happens between the calls of the core: interrupts, handlers, stores that vanish."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trax
from trax.storage.codec import Encoded
from trax.storage.filesystem import LocalDirectory
from trax.storage.held_run import HeldRun


def append(state: list[Any], increment: Any) -> list[Any]:
    """Fold an increment into a list."""
    return [*state, increment]


@pytest.mark.filterwarnings("ignore:.*unclosed file.*")  # the interrupt comes before it is kept
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", ["create", "sync", "rename"])
@pytest.mark.parametrize("skipped", [0, 1])
def test_a_checkpoint_that_is_interrupted_harms_no_later_increment(
    call: str, skipped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook cell is interrupted, the next one goes on logging."""
    done = getattr(LocalDirectory, call)
    calls = 0

    def interrupted(self: LocalDirectory, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        result = done(self, *args)
        if calls == skipped + 1:
            raise KeyboardInterrupt
        return result

    with trax.Trax() as store:
        store.checkpoint(x=["a"])
        store.log(x="b")
        with monkeypatch.context() as patch:
            patch.setattr(LocalDirectory, call, interrupted)
            with contextlib.suppress(KeyboardInterrupt):
                store.checkpoint(x=["a", "b"])
        store.log(x="c")
        store.log(x="d")
        assert store.recover("x", replay_log=append) == ["a", "b", "c", "d"]
        store.checkpoint(x=["new"])
        store.log(x="e")
    assert trax.load("x", replay_log=append) == ["new", "e"]


def test_a_first_checkpoint_that_fails_harms_no_later_increment(store_here: Path) -> None:
    """What is logged then is replayed on what create gives, as for any name without checkpoint."""
    with trax.Trax() as store:
        store.log(x=0)  # makes the directories
        store.close()
    shutil.rmtree(store_here / "runs" / "x")
    run = store_here / "runs" / "x"
    run.mkdir(mode=0o700)
    (run / "checkpoint-00000001.tmp").mkdir()
    with trax.Trax() as store:
        (run / "checkpoint-00000001.tmp" / "in the way").touch()
        with pytest.raises(trax.StorageError):
            store.checkpoint(x=["lost"])
        shutil.rmtree(run / "checkpoint-00000001.tmp")
        store.log(x=1)
        store.log(x=2)
    assert trax.Trax().recover("x", create=list, replay_log=append) == [1, 2]


def test_reading_with_create_stores_nothing_of_what_it_folded() -> None:
    """A replay_log that was forgotten once must not spoil the log."""
    with trax.Trax() as store:
        for increment in (1, 2, 3):
            store.log(x=increment)
        newest: Any = store.recover("x", create=list)
        assert newest == 3
        assert store.recover("x", create=list, replay_log=append) == [1, 2, 3]


def test_a_signal_handler_that_logs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two records must not be woven into each other."""
    refused: list[BaseException] = []
    done = HeldRun.append

    def interrupted(held: HeldRun, increment: Encoded) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        done(held, increment)

    with trax.Trax() as store:
        store.checkpoint(x=0)

        def handler(number: int, frame: Any) -> None:
            try:
                store.log(x="from the handler")
            except trax.UsageError as error:
                refused.append(error)

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(HeldRun, "append", interrupted)
                store.log(x=0)
        finally:
            signal.signal(signal.SIGUSR1, before)
        store.log(x=1)
    assert len(refused) == 1
    assert trax.load("x", replay_log=lambda state, increment: increment) == 1


def test_a_store_that_was_replaced_is_not_written_into(store_here: Path) -> None:
    """An old process must not spoil the run that has taken the place of its own."""

    @trax.resumable(create=list, replay_log=append, every_steps=2)
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(20):
            yield i

    old = loop()
    for _ in range(5):
        next(old)
    store_here.rename(store_here.with_name("elsewhere"))
    with trax.Trax() as store:
        for increment in range(3):
            store.log(loop=increment)
    before = {path: path.read_bytes() for path in store_here.glob("runs/loop/*")}
    with pytest.raises(trax.DurabilityError, match="runs/loop is gone at step"):
        old.result()
    assert {path: path.read_bytes() for path in store_here.glob("runs/loop/*")} == before


def test_what_always_forced_is_known_to_be_forced_once_the_run_is_closed(store_here: Path) -> None:
    """So the last record is not taken for a torn one when it is damaged later."""
    with trax.Trax(sync="always") as store:
        store.checkpoint(x=[])
        store.log(x=1)
        store.log(x=2)
    (log,) = store_here.glob("runs/x/log-*")
    damaged = bytearray(log.read_bytes())
    damaged[-1] ^= 1
    log.write_bytes(damaged)
    with pytest.raises(trax.CorruptionError, match="forced to the disk"):
        trax.load("x", replay_log=append)


@pytest.mark.parametrize("place", ["sync_thread.Ticker.stop", "lock.os.ftruncate"])
def test_a_run_whose_closing_is_interrupted_is_let_go(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long there waits for the disk, and then somebody presses Ctrl-C again."""

    @trax.resumable(create=int)
    def loop(n: int) -> Any:
        with trax.open("out.txt") as file:
            while n < 3:
                file.write(f"{n}\n")
                n = yield n + 1

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    run = loop()
    next(run)
    with monkeypatch.context() as patch:
        patch.setattr(f"trax.storage.{place}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.close()
    assert loop().step == 1
    loop().result()
    assert Path("out.txt").read_text() == "0\n1\n2\n"


def test_a_run_whose_opening_is_interrupted_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lock has been taken, and nobody else knows of it yet."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    store = trax.Trax()
    with monkeypatch.context() as patch:
        patch.setattr("trax.storage.lock._note", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.checkpoint(n=1)
    store.checkpoint(n=2)
    store.close()
    assert trax.load("n") == 2
