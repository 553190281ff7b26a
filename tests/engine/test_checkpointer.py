"""Checkpoints are stored when the policy says so, and again where the disk refused."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from test_sync_driver import squares, take

import trax
from trax.storage.process import process


def test_a_custom_policy_sees_what_was_measured() -> None:
    """A policy is asked after every step, with the numbers since the last checkpoint."""
    asked: list[tuple[int, int]] = []

    def policy(since: trax.Since) -> bool:
        asked.append((since.step, since.steps))
        assert since.log_bytes > 0
        assert since.seconds >= 0
        assert since.checkpoint_bytes > 0
        return since.steps == 2

    @trax.resumable(create=int, policy=policy)
    def loop(n: int) -> Generator[int, int, None]:
        while n < 5:
            n = yield n + 1

    loop().result()
    assert asked == [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)]


def test_steps_before_a_crash_count_towards_the_next_checkpoint(store_here: Path) -> None:
    """A run that is interrupted more often than its interval is checkpointed all the same."""
    for _ in range(5):
        with squares(n=40) as run:
            take(run, 3)
    checkpoint = max(store_here.glob("runs/squares/checkpoint-*"))
    assert b'"step":12' in checkpoint.read_bytes()


def test_time_before_a_crash_counts_towards_the_next_checkpoint(store_here: Path) -> None:
    """The age of the checkpoint is what `every_seconds` means, whoever stored it."""

    @trax.resumable(create=int, every_seconds=timedelta(days=1))
    def loop(n: int) -> Generator[int, int, None]:
        while True:
            n = yield n + 1

    with loop() as run:
        take(run, 3)
    checkpoints = list(store_here.glob("runs/loop/checkpoint-*"))
    with pytest.MonkeyPatch.context() as patch:
        now = time.time()
        patch.setattr(process, "time", lambda: now + 86_400)
        with loop() as run:
            take(run, 1)
    assert len(list(store_here.glob("runs/loop/checkpoint-*"))) == len(checkpoints) + 1


def test_every_steps_checkpoints_and_keeps_two(store_here: Path) -> None:
    """Older checkpoints and logs are pruned."""
    with squares(n=40) as run:
        take(run, 30)
        kinds = sorted(path.name.partition("-")[0] for path in store_here.glob("runs/squares/*"))
    assert kinds == ["checkpoint", "checkpoint", "log", "log"]


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
