"""A run that fails, or that the disk fails, is closed and can be opened again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script
from test_sync_driver import squares, take

import trax


def test_an_error_lets_go_of_the_run_at_once() -> None:
    """Also where the Run itself is kept, as a traceback does."""

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def loop(state: list[Any]) -> Iterator[Any]:
        yield 1
        yield (part for part in "unpicklable")

    run = loop()
    with pytest.raises(trax.CodecError):
        run.result()
    with trax.Trax() as store:
        store.log(loop=2)
    with pytest.raises(trax.UsageError, match="ended at step 1: it ended with an exception"):
        next(run)
    assert loop.load() == [1, 2]


def test_a_run_that_was_locked_can_be_asked_again() -> None:
    """The natural loop that waits until the other one is done."""
    run = squares(n=4)
    with trax.Trax() as store:
        store.checkpoint(squares=[])
        with pytest.raises(trax.LockedError):
            run.result()
        with pytest.raises(trax.LockedError):
            list(run)
    assert run.result() == [0, 1, 4, 9]


@pytest.mark.parametrize("mode", ["close", "other thread"])
def test_a_step_that_is_half_done_is_not_stored(mode: str) -> None:
    """Where the state is the loop's own, only between two steps is it whole."""

    @trax.resumable(create=lambda: {"a": 0, "b": 0}, replay_log=None)
    def loop(state: dict[str, int]) -> Iterator[int]:
        for i in trax.steps(5):
            state["a"] += 1
            if i == 3 and mode == "close":
                run.close()
            elif i == 3:
                thread = threading.Thread(target=try_to_close)
                thread.start()
                thread.join()
                raise KeyError
            state["b"] += 1
            yield i

    refused: list[BaseException] = []

    def try_to_close() -> None:
        try:
            run.close()
        except trax.UsageError as error:
            refused.append(error)

    run = loop()
    with pytest.raises((trax.UsageError, KeyError)):
        run.result()
    stored = loop.load()
    assert stored["a"] == stored["b"]
    assert mode == "close" or len(refused) == 1


def test_a_damaged_newest_checkpoint_changes_nothing(
    store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one before it and both logs give the identical state; the bad file is kept, and said."""
    with squares(n=20) as run:
        take(run, 11)
    newest = max(store_here.glob("runs/squares/checkpoint-*"))
    damaged = bytearray(newest.read_bytes())
    damaged[-20] ^= 0x40
    newest.write_bytes(damaged)
    with squares(n=20) as run:
        assert run.state == [i * i for i in range(11)]
    assert newest.with_name(f"{newest.name}.broken").read_bytes() == damaged
    assert "is damaged" in caplog.text
    assert squares(n=20).result() == [i * i for i in range(20)]


def test_unfinished_files_of_a_killed_process_are_cleared_away(store_here: Path) -> None:
    """A checkpoint that was being written when the process died is of no use to anybody."""
    with squares(n=20) as run:
        take(run, 3)
    left = store_here / "runs/squares/checkpoint-00000009.tmp"
    left.write_bytes(b"half a checkpoint")
    with squares(n=20) as run:
        take(run, 1)
    assert not left.exists()


FORGETFUL = """
import asyncio
import trax

@trax.resumable
def forgotten(n):
    yield n

@trax.resumable
async def forgotten_too(n):
    yield n

@trax.resumable
def used(n):
    yield n

forgotten(3)
forgotten_too(3)
used(3).result()
used(3).close()
left = used.fresh(3)
with left:
    pass
kept = forgotten(4)
"""


def test_a_run_that_is_never_driven_is_told() -> None:
    """When it is dropped, or at the end of the program."""
    lines = run_script(FORGETFUL).stderr.splitlines()
    told = [line.removeprefix("trax: ").split(" ")[0] for line in lines if "did nothing" in line]
    assert told == ["forgotten", "forgotten_too", "forgotten"]


def test_an_error_that_the_end_raises_again_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As that of a run that another machine has taken over: the frames of the end say nothing."""
    run = squares(n=4)
    next(run)
    lifecycle = run._lifecycle
    release = lifecycle._release
    with pytest.raises(trax.LockedError) as caught:
        raise trax.LockedError("taken over")
    before = caught.value.__traceback__

    def fail() -> None:
        release()
        raise caught.value

    monkeypatch.setattr(lifecycle, "_release", fail)
    lifecycle.abort(caught.value)
    assert caught.value.__traceback__ is before
