"""Checkpoints are stored when the policy says so, and again where the disk refused."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_sync_driver import squares, take

import trax
from trax.storage.process import Sync


@pytest.mark.parametrize("sync", ["always", "interval", "os"])
def test_every_steps_checkpoints_and_keeps_two(sync: Sync, store_here: Path) -> None:
    """Older checkpoints and logs are pruned: at the latest when the run is closed."""
    run: Any = trax.resumable(create=int, every_steps=4, sync=sync)(counting)()
    with run:
        take(run, 30)
        during = kinds_in(store_here / "runs/counting")
    two = ["checkpoint", "checkpoint", "journal", "log", "log"]
    assert kinds_in(store_here / "runs/counting") == two
    assert during == two or sync == "interval"


def counting(state: int) -> Generator[int, int, None]:
    while True:
        state = yield state + 1


def kinds_in(directory: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in directory.iterdir())


def test_a_checkpoint_that_the_disk_refuses_is_tried_again_later(
    store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop goes on with the old checkpoint and the log, and says so once."""
    directory = store_here / "runs" / "squares"
    with squares(n=40) as run:
        take(run, 3)
        # A directory in the way of each next temporary file: a real refusal, also for root.
        blockers = [directory / f"checkpoint-{number:08d}.tmp" for number in (2, 3)]
        for blocker in blockers:
            blocker.mkdir()
        take(run, 8)
        assert caplog.text.count("continues without a checkpoint for now") == 1
        assert squares.load() == [i * i for i in range(11)]
        for blocker in blockers:
            blocker.rmdir()
        take(run, 2)
    assert squares.load() == [i * i for i in range(13)]
    assert squares(n=40).result() == [i * i for i in range(40)]


class World:
    """A state that gets a rule."""

    def __init__(self) -> None:
        self.rules: list[Any] = []

    def advance(self, number: int) -> World:
        """Take a rule without a name at step 4, and another one at step 8."""
        if number == 4:
            self.rules.append(lambda: number)
        if number == 8:
            self.rules.append(lambda: -number)
        return self


def test_a_function_by_value_is_said_once_with_its_path(caplog: pytest.LogCaptureFixture) -> None:
    """At the first checkpoint that has it: until then plain pickle was enough."""

    @trax.resumable(create=World, replay_log=World.advance, every_steps=2)
    def loop(world: World, n: int) -> Iterator[int]:
        for i in trax.steps(n):
            yield i

    caplog.set_level(logging.INFO)
    run = loop(n=20)
    for number in range(16):
        next(run)
        found = [one.message for one in caplog.records if "a copy of its code" in one.message]
        assert len(found) == (number > 4)  # the same code is no news at step 9
    assert found[0].startswith("loop: state.rules[0] (test_checkpointer.World.advance.<locals>.")
    run.close()
