"""A call's life: opening, driving, leaving, resuming, holding and letting go."""

from __future__ import annotations

import errno
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import trax
from trax.storage.process import process


@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment], every_steps=4)
def squares(state: list[int], n: int) -> Iterator[int]:
    """Yield the squares below n * n."""
    for i in trax.steps(n):
        yield i * i


def take(run: Iterator[Any], number: int) -> list[Any]:
    """Return so many increments."""
    return [next(run) for _ in range(number)]


def test_nothing_runs_before_the_first_next(store_here: Path) -> None:
    """A call alone stores and holds nothing."""
    squares(n=3)
    assert not store_here.exists()


def test_asking_for_the_state_brings_it_back() -> None:
    """The properties open the run; the loop itself has not begun."""
    with squares(n=9) as run:
        assert (run.state, run.step, run.resumed_at, run.done) == ([], 0, None, False)
        assert take(run, 3) == [0, 1, 4]
    with squares(n=9) as run:
        assert (run.state, run.step, run.resumed_at, run.name) == ([0, 1, 4], 3, 3, "squares")


@pytest.mark.parametrize("done", range(10))
def test_a_run_resumes_behind_every_increment_that_was_handed_out(done: int) -> None:
    """Wherever the loop is left, before or behind a checkpoint, the next call goes on there."""
    for increment in squares(n=10):
        if increment == done * done:
            break
    run = squares(n=10)
    assert run.resumed_at == done + 1
    assert list(run) == [i * i for i in range(done + 1, 10)]


def test_leaving_a_for_loop_lets_go_of_the_run() -> None:
    """Another process can go on at once."""
    for _ in squares(n=3):
        break
    gc.collect()
    with trax.Trax() as store:
        store.log(squares=100)


def test_an_exception_in_the_loop_keeps_what_was_handed_out() -> None:
    """Whether it is raised in the generator or in the body of the for."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        while True:
            if n == 2 and fail:
                raise KeyError("in the generator")
            n = yield n + 1

    fail = True
    with pytest.raises(KeyError):
        loop().result()
    fail = False
    assert loop.load() == 2
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the body of the for is what raises
        for n in loop():
            1 / (n - 4)
    assert loop.load() == 4


def test_a_run_that_a_traceback_keeps_alive_does_not_lock_out_the_next_call() -> None:
    """In a notebook the traceback of the last cell holds the run; the next cell goes on with it."""
    old = squares(n=6)
    take(old, 2)
    new = squares(n=6)
    assert take(new, 1) == [4]
    with pytest.raises(trax.UsageError, match="a later call took it over"):
        next(old)
    assert list(new) == [9, 16, 25]


def test_another_thread_does_not_take_over() -> None:
    """What is being driven elsewhere in the process is locked."""
    errors: list[BaseException] = []

    def other() -> None:
        try:
            squares(n=6).result()
        except trax.LockedError as error:
            errors.append(error)

    with squares(n=6) as run:
        take(run, 2)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert take(run, 1) == [4]
    assert len(errors) == 1
    assert "this very process" in str(errors[0])


def test_a_second_process_is_told_who_holds_the_run() -> None:
    """The error names the process, and reading is possible all the same."""
    script = (
        "import trax, sys\n"
        "from test_sync_driver import squares\n"
        "print(trax.load('squares'))\n"
        "squares(n=6).result()\n"
    )
    with squares(n=6) as run:
        take(run, 2)
        other = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
    assert other.stdout == "[0, 1]\n", other.stderr
    assert other.stderr.splitlines()[-1].startswith("trax.errors.LockedError")
    assert f"process {os.getpid()} on" in other.stderr


def test_a_closed_run_says_so() -> None:
    """Going on with it is an error and not a silent end."""
    run = squares(n=6)
    take(run, 2)
    run.close()
    run.close()
    with pytest.raises(trax.UsageError, match="over at step 2: it was closed"):
        next(run)
    with pytest.raises(trax.UsageError):
        run.result()


def test_a_run_that_is_closed_in_its_own_loop_does_not_look_finished() -> None:
    """The for statement is told; a silent end would pass for the real one."""
    run = squares(n=6)
    with pytest.raises(trax.UsageError, match="over at step 1: it was closed"):  # noqa: PT012
        for _ in run:
            run.close()


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
    with pytest.raises(trax.UsageError, match="over at step 1: it ended with an exception"):
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


def test_closing_runs_the_finally_blocks_of_the_loop() -> None:
    """As closing any generator does."""
    ended = []

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        try:
            while True:
                n = yield n + 1
        finally:
            ended.append(n)

    with loop() as run:
        take(run, 3)
    assert len(ended) == 1


def test_the_person_sees_that_it_resumed() -> None:
    """With nothing configured, one line on standard error says it; standard output is theirs."""
    script = (
        "from test_sync_driver import squares\nfor x in squares(n=9):\n    if x == {stop}: break\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    said = [
        subprocess.run(
            [sys.executable, "-c", script.format(stop=stop)],
            capture_output=True,
            text=True,
            check=True,
            env=env,
        )
        for stop in (25, -1, -1)
    ]
    assert [done.stdout for done in said] == ["", "", ""]
    assert said[0].stderr == ""
    assert (
        "squares resumed at step 6 (checkpoint of step 4, 2 increments replayed" in said[1].stderr
    )
    assert "squares is done, at step 9" in said[2].stderr


def test_configured_logging_gets_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Then they go through the logger `trax`, and nowhere else."""
    with squares(n=6) as run:
        take(run, 1)
    with caplog.at_level(logging.INFO, "trax"), squares(n=6) as run:
        take(run, 1)
    assert [record.name for record in caplog.records] == ["trax"]


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
        patch.setattr(time, "time", lambda: now + 86_400)
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
        assert caplog.text.count("goes on without a checkpoint for now") == 1
        assert squares.load() == [i * i for i in range(11)]
        for blocker in blockers:
            blocker.rmdir()
        take(run, 2)
    assert squares.load() == [i * i for i in range(13)]
    assert squares(n=40).result() == [i * i for i in range(40)]


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


def test_an_increment_that_the_disk_refuses_leaves_no_trace(store_here: Path) -> None:
    """Not in the store, and where folding makes a new state, not in memory either."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + 1)
    def loop(state: int) -> Iterator[int]:
        while True:
            yield 1

    run = loop()
    take(run, 3)
    # Closed under its hands: every write fails from here on.
    run._engine._generations._log.file.close()  # type: ignore[union-attr]
    with pytest.raises((trax.DurabilityError, ValueError)):
        next(run)
    assert (run.state, run.step, loop.load()) == (3, 3, 3)


def test_a_background_sync_that_fails_is_made_up_for(
    store_here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A complete new checkpoint and a new log take the place of what cannot be trusted any more."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(9):
            yield i

    with loop() as run:
        take(run, 3)
        logs = set(store_here.glob("runs/loop/log-*"))
        with monkeypatch.context() as patch:
            patch.setattr(process, "force", fail)
            run._engine._generations.sync()
        assert take(run, 2) == [3, 4]
        assert set(store_here.glob("runs/loop/log-*")) > logs
    assert "a new checkpoint and a new log take its place" in caplog.text
    assert loop.load() == [0, 1, 2, 3, 4]
    assert loop().result() == list(range(9))


def test_a_fork_of_the_process_cannot_write_to_its_parents_run() -> None:
    """The child is refused; the parent goes on undisturbed, and keeps its lock."""
    with squares(n=9) as run:
        take(run, 2)
        child = os.fork()
        if child == 0:
            try:
                next(run)
            except trax.LockedError:
                os._exit(42)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        assert take(run, 7) == [i * i for i in range(2, 9)]
    assert squares.load() == [i * i for i in range(9)]


def test_a_stop_iteration_out_of_replay_log_does_not_look_like_the_end() -> None:
    """It becomes a RuntimeError, as it does inside a generator."""

    def fold(state: int, increment: int) -> int:
        raise StopIteration

    @trax.resumable(create=int, replay_log=fold)
    def loop(state: int) -> Iterator[int]:
        yield 1

    with pytest.raises(RuntimeError, match="StopIteration"):
        loop().result()
    assert loop.load() == 0


def test_one_run_inside_another() -> None:
    """The helpers find the innermost loop."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + increment)
    def outer(state: int) -> Iterator[int]:
        for i in trax.steps(3):
            yield len(squares.fresh(n=i + 1).result())

    assert outer().result() == 6


def test_the_repr_says_where_it_stands() -> None:
    """For a person at a prompt."""
    run = squares(n=3)
    assert repr(run) == "<Run 'squares', new, step 0>"
    run.result()
    assert repr(run) == "<Run 'squares', done, step 3>"
