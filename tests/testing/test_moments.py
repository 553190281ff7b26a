"""A crash at each operation that was recorded, with what was promised until then."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from trax.testing.moments import Promise, crashes, kills
from trax.testing.recording import Recorder

STEPS = 4


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """A log to which lines are appended, of which each is forced but the last one."""
    (tmp_path / "log").touch()
    recorder = Recorder(str(tmp_path))
    with recorder.recording(), open(tmp_path / "log", "ab", buffering=0) as log:
        for step in range(1, STEPS + 1):
            log.write(b"%d" % step)
            if step < STEPS:
                os.fsync(log.fileno())
            recorder.mark(Promise(step, min(step, STEPS - 1)))
    recorder.close()
    return recorder


def test_a_kill_after_each_operation_leaves_what_was_written(recorder: Recorder) -> None:
    """All that was handed out until then is there."""
    found = list(kills(recorder, None, random.Random(1)))
    counts = [crash.operations for crash in found]
    assert counts == list(range(recorder.begun, len(recorder.operations) + 1))
    assert found[0].promise == Promise(0, 0)
    assert found[-1].promise == Promise(STEPS, STEPS - 1)
    assert found[-1].image["log"] == b"1234"
    for crash in found:
        assert len(crash.image["log"]) >= crash.promise.handed_out


def test_a_power_cut_leaves_what_was_forced(recorder: Recorder) -> None:
    """No files twice with one promise, and those without the last line are among them."""
    found = list(crashes(recorder, None, random.Random(1)))
    kinds = [(tuple(sorted(crash.image.items())), crash.promise.durable) for crash in found]
    assert len(set(kinds)) == len(kinds)
    last = [crash.image["log"] for crash in found if crash.promise.durable == STEPS - 1]
    assert {b"123", b"1234"} <= set(last)


def test_a_sample_is_drawn_by_an_rng(recorder: Recorder) -> None:
    """As many as wanted, and the same ones with the same seed."""
    every = [crash.operations for crash in kills(recorder, None, random.Random(1))]
    one, two = (
        [crash.operations for crash in kills(recorder, 3, random.Random(1))] for _ in range(2)
    )
    assert one == two
    assert len(one) == 3
    assert set(one) < set(every)
