"""A call's life: opening, driving, leaving, resuming, holding and letting go."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import trax


@trax.resumable(
    create=list, replay_log=lambda state, increment: [*state, increment], every_steps=4, wait=0
)
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
            env={
                **os.environ,
                "PYTHONPATH": f"{Path(__file__).parent}:{Path(trax.__file__).parents[1]}",
            },
        )
    assert other.stdout == "[0, 1]\n", other.stderr
    assert "\ntrax.LockedError: the run" in other.stderr
    assert f"process {os.getpid()} on" in other.stderr


def test_a_closed_run_says_so() -> None:
    """Going on with it is an error and not a silent end."""
    run = squares(n=6)
    take(run, 2)
    run.close()
    run.close()
    with pytest.raises(trax.UsageError, match="ended at step 2: it was closed"):
        next(run)
    with pytest.raises(trax.UsageError):
        run.result()


def test_a_run_continues_after_a_generator_that_delegated_to_it_is_closed() -> None:
    """It is at its yield, and must not look as if it were at its end."""

    def watched(run: Iterator[int]) -> Iterator[int]:
        yield from run

    with squares(n=8) as run:
        for number in (0, 1, 4):
            for square in watched(run):
                assert square == number
                break
        assert (run.step, run.done) == (3, False)
        assert next(run) == 9
        assert list(watched(run)) == [16, 25, 36, 49]
        assert run.done
    assert squares(n=8).result() == [i * i for i in range(8)]


def test_a_run_that_is_delegated_to_and_dropped_is_released() -> None:
    """As one that a for loop was left of; what was handed out is stored."""

    def watched() -> Iterator[int]:
        yield from squares(n=8)

    for square in watched():
        if square == 4:
            break
    gc.collect()
    assert list(watched()) == [9, 16, 25, 36, 49]


def test_the_iterator_of_a_run_may_be_closed_at_any_time() -> None:
    """Before its first step, after `state` has opened the run, and again and again."""
    run = squares(n=4)
    iter(run).close()  # type: ignore[attr-defined]
    assert run.state == []
    iter(run).close()  # type: ignore[attr-defined]
    assert next(run) == 0
    iter(run).close()  # type: ignore[attr-defined]
    iter(run).close()  # type: ignore[attr-defined]
    assert run.result() == [0, 1, 4, 9]


def test_the_loop_is_not_told_of_a_generator_that_delegated_to_it() -> None:
    """Its own finally blocks are run when the run is closed."""
    ended = []

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        try:
            while n < 9:
                n = yield n + 1
        finally:
            ended.append(n)

    with loop() as run:
        next(run)
        iter(run).close()  # type: ignore[attr-defined]
        assert not ended
        assert take(run, 2) == [2, 3]
        assert run.state == 3
        iter(run).close()  # type: ignore[attr-defined]
    assert ended == [2]
    with pytest.raises(trax.UsageError, match="ended at step 3: it was closed"):
        next(run)


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


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps, copy.copy])
def test_a_run_is_not_pickled(dumps: Callable[[object], object]) -> None:
    """Whether it is open or not: it is driven where it was called."""
    run = squares(n=3)
    for _ in range(2):
        with pytest.raises(trax.UsageError, match=r"(?s)'squares' cannot be pickled.*function and"):
            dumps(run)
        next(run)
    with trax.Trax() as store, pytest.raises(trax.UsageError, match=r"trax'\) cannot be pickled"):
        dumps(store)
    with pytest.raises(trax.UsageError, match="the map 'abs' cannot be pickled"):
        dumps(trax.map(abs, [1]))
    assert list(run) == [4]


@pytest.mark.parametrize("done", [2, 4])
def test_a_step_of_another_run_that_gets_only_the_rest(
    done: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, also of a run that is done; where the step asks for the result, nothing is."""
    for increment in squares(n=4):
        if increment == 1 and done == 2:
            break

    @trax.resumable
    def outer() -> Iterator[int]:
        yield sum(squares(n=4))

    assert outer().result() == sum(i * i for i in range(done, 4))
    line = f"squares hands out only what comes after its step {done}, to a step of outer"
    assert caplog.text.count(line) == 1
    caplog.clear()

    @trax.resumable
    def whole() -> Iterator[int]:
        yield sum(squares(n=4).result())

    assert whole().result() == 14
    assert list(squares(n=4)) == []  # in no step
    assert "hands out only" not in caplog.text


def test_a_step_of_another_run_that_gets_all_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The inner run has begun in it."""

    @trax.resumable
    def outer() -> Iterator[int]:
        yield sum(squares(n=4))

    assert outer().result() == 14
    assert "hands out only" not in caplog.text
