"""Checkpoints are stored when the policy says so, and again where the disk refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_sync_driver import squares, take


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
