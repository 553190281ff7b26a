"""Processes that work is done in as if this one had not gone on."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from trax.testing.fresh import Answer, FreshProcesses

present: list[int] = []


def work(what: str) -> Any:
    present.append(1)
    if what == "raise":
        raise LookupError("not here")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        while True:
            signal.pause()
    return os.getpid(), len(present)


def test_each_piece_of_work_finds_the_process_as_it_was() -> None:
    """In a process of its own, and whatever this one or an earlier piece of work did."""
    with FreshProcesses(work) as fresh:
        present.append(0)
        try:
            answers = [fresh.ask(60, "work") for _ in range(3)]
        finally:
            present.clear()
    values = [answer.value for answer in answers if answer is not None]
    assert [value[1] for value in values] == [1, 1, 1]
    assert len({os.getpid(), *(value[0] for value in values)}) == 4


@pytest.mark.parametrize("what", ["die", "hang"])
def test_a_process_that_dies_or_hangs_has_no_answer(what: str) -> None:
    """The next one has; an error is told."""
    with FreshProcesses(work) as fresh:
        assert fresh.ask(1, what) is None
        assert fresh.ask(60, "raise") == Answer(error="not here")
        assert fresh.ask(60, "work") is not None


def test_no_process_is_left_behind() -> None:
    """Nor is any output of this one written again by another."""
    with FreshProcesses(work) as fresh:
        pid = fresh._pid
        fresh.ask(60, "work")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
