"""Checks that a loop resumes exactly, wherever it was interrupted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from trax.engine.async_driver import AsyncRun
from trax.engine.sync_driver import Run
from trax.testing.fresh import FreshProcesses
from trax.testing.moments import Crash, crashes, kills
from trax.testing.outcome import Outcome
from trax.testing.recording import Recorder
from trax.testing.trials import Checked, Story, Trials, trials_of

__all__ = ["Checked", "check_power_cut", "check_resume"]

_LEAST_SECONDS = 60  # that one may take, and
_TIMES = 20  # as many times as long as an uninterrupted run more
_ONCE = 0.9  # the fraction of power cuts that are not followed by another one


def check_resume(
    run: Run[Any, Any, Any] | AsyncRun[Any, Any],
    *,
    steps: int | None = None,
    limit: int | None = 100,
    seed: int = 0,
    prepare: Callable[[], object] | None = None,
    ignore: Iterable[str] = (),
) -> Checked:
    """Check that a loop resumes exactly, wherever it is killed or closed.

    The loop is run without interruption first. Then it is killed after each of its operations on
    the disk, and so after every step: once with its own options, and once with a checkpoint after
    every step. It is also closed after every step. Each time it is resumed and run to its end.
    Every increment and every state must be the same as in the uninterrupted run, to the last bit.
    So must the result, the files that it writes and the next numbers of its RNGs.

    After a few of the steps it is also killed in one new process and resumed in another, both
    forked from this one before its first run: there classes and modules have the variables that
    they have now, and hashes of texts the same seed: a loop that depends on these is not found.
    Items of `trax.remaining` with a key come in the order of the first run in all others. All other
    runs are in this process. All runs are in temporary directories, and
    one of these is the current directory while the loop runs; so checks in several threads take
    turns. The store of the loop is not touched. So the loop must end soon, or `steps` must end it,
    since it is run about as often as it has steps. And it must write to relative paths.

    Parameters
    ----------
    run : Run or AsyncRun
        A call of the decorated function, such as ``walk(steps=10)``, from which no increment was
        requested yet. Each run has copies of its arguments.
    steps : int or None
        The step at which each run is closed for good, for a loop that is long or has no end; then
        a plain loop's variables are compared instead of the result. None: the loop ends by itself.
    limit : int or None
        The largest number of kills of each kind, drawn at random, and of closings. None: all.
    seed : int
        The seed for drawing them.
    prepare : callable, optional
        A function that does the work of a script before the call, such as writing a file that the
        loop reads or seeding RNGs. It is called before every run, in the directory of that run.
    ignore : str or iterable of str
        Patterns of files that need not be the same, as in ``["*.log"]``.

    Returns
    -------
    Checked
        The number of steps and of crashes.

    Raises
    ------
    UsageError
        `run` is no such call, or `steps` or `limit` no such number.
    AssertionError
        The resumed loop differed. The message gives the place of the interruption, the first
        difference, its likely causes with their lines, and the path of a copy of the directory as
        it was then.

    Examples
    --------
    >>> import random
    >>> import trax
    >>> from trax.testing import check_resume
    >>> @trax.resumable(create=list, replay_log=lambda path, step: [*path, step])
    ... def walk(path, steps):
    ...     for _ in trax.steps(steps):
    ...         path = yield random.choice((-1, 1))
    >>> check_resume(walk(steps=5)).steps
    5

    A loop with data outside of its state does not resume exactly:

    >>> @trax.resumable(create=int, check=False)
    ... def count(n, below):
    ...     stride = 0
    ...     while n < below:
    ...         stride += 1
    ...         n = yield n + stride
    >>> check_resume(count(below=10))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: count does not resume exactly: killed after step 1 (after operation ...
    increment 2: live 3, resumed 2
    ...
    """
    with trials_of(run, limit, seed, prepare, ignore, steps) as trials:
        return _check_resume(trials, limit)


def _check_resume(trials: Trials, limit: int | None) -> Checked:
    with _fresh_processes(trials) as fresh:
        steps = trials.reference().last
        if fresh is not None and steps > 1:
            _check_in_fresh_processes(trials, fresh)
    done = 0
    for how, options in (
        ("killed after step {}", {}),
        ("killed after step {}, with a checkpoint after every step", {"policy": _always}),
    ):
        recorder = trials.record(**options)
        for crash in kills(recorder, limit, trials.rng):
            handed_out = crash.promise.handed_out
            text = f"{how.format(handed_out)} ({_where(crash, recorder.begun)})"
            trials.resume(crash, _killed(trials, crash, text), "first")
            done += 1
    stops = list(range(1, steps + 1))
    if limit is not None and limit < steps:
        stops = sorted(trials.rng.sample(stops, limit))
    trials.close_after(stops)
    return Checked(steps, done + len(stops))


def check_power_cut(
    run: Run[Any, Any, Any] | AsyncRun[Any, Any],
    *,
    limit: int | None = 200,
    seed: int = 0,
    prepare: Callable[[], object] | None = None,
    ignore: Iterable[str] = (),
) -> Checked:
    """Check that a loop resumes exactly after a power cut, and after another one in recovery.

    The operations of a run on the disk are recorded. Data that was forced to the disk survives a
    power cut; all other data may survive, be missing, be torn, or have arrived in another order.
    The loop is resumed from the files that such a power cut can leave, run to its end and compared
    with an uninterrupted run, as `check_resume` does. Under ``sync="always"`` no increment that was
    handed out may be lost, and otherwise none that was forced. Some of the power cuts come while
    the loop is resumed from another one, or from a kill, or later.

    Parameters
    ----------
    run : Run or AsyncRun
        A call of the decorated function from which no increment was requested yet.
    limit : int or None
        The largest number of power cuts of an uninterrupted run, drawn at random; about half as
        many more come while a run is resumed. None: all that differ, which can be very many.
    seed : int
        The seed for drawing them.
    prepare : callable, optional
        A function that does the work of a script before the call; see `check_resume`.
    ignore : str or iterable of str
        Patterns of files that need not be the same.

    Returns
    -------
    Checked
        The number of steps and of crashes.

    Raises
    ------
    UsageError
        `run` is no such call, or `limit` no such number.
    AssertionError
        The resumed loop differed; see `check_resume`.

    Examples
    --------
    >>> import trax
    >>> from trax.testing import check_power_cut
    >>> @trax.resumable(create=int, sync="always")
    ... def squares(n, below):
    ...     with trax.open("squares.txt") as file:
    ...         while n < below:
    ...             print(n * n, file=file)
    ...             n = yield n + 1
    >>> check_power_cut(squares(below=3), limit=20).steps
    3
    """
    with trials_of(run, limit, seed, prepare, ignore) as trials:
        return _check_power_cut(trials, limit)


def _check_power_cut(trials: Trials, limit: int | None) -> Checked:
    steps = trials.reference().last
    recorder = trials.record()
    done = 0
    for crash in crashes(recorder, limit, trials.rng):
        story = _cut(crash, recorder.begun)
        done += 1
        if trials.rng.random() < _ONCE:
            trials.resume(crash, story, "second")
        else:
            again = trials.resume_recorded(crash, story, "second")
            done += _cut_again(trials, again, story)
    for crash in kills(recorder, None if limit is None else 1 + limit // 20, trials.rng):
        where = _where(crash, recorder.begun)
        story = Story(f"killed after step {crash.promise.handed_out} ({where})")
        before = recorder.operations[: crash.operations]
        again = trials.resume_recorded(crash, story, "first", before)
        done += _cut_again(trials, again, story._replace(least=crash.promise.durable))
    return Checked(steps, done)


def _fresh_processes(trials: Trials) -> contextlib.AbstractContextManager[FreshProcesses | None]:
    if not hasattr(os, "fork"):
        return contextlib.nullcontext()

    def work(
        expected: Outcome, killed: tuple[Crash, Story] | None
    ) -> tuple[Outcome, list[tuple[Crash, Story]]]:
        trials.expected = expected
        if killed is None:
            return expected, [*_kills_at_a_few_steps(trials, trials.record())]
        trials.resume(*killed, "first")
        return expected, []

    return FreshProcesses(work)


def _check_in_fresh_processes(trials: Trials, fresh: FreshProcesses) -> None:
    """Kill the loop in one new process, and resume it in others.

    A loop that cannot run in a forked process, as on a GPU, or differs from run to run, is left to
    the trials in this one.
    """
    assert trials.expected is not None
    seconds = _LEAST_SECONDS + int(_TIMES * trials.expected.seconds)
    recorded = fresh.ask(seconds, trials.expected, None)
    if recorded is None or recorded.value is None:
        return
    expected, kills_there = recorded.value
    for killed in kills_there:
        answer = fresh.ask(seconds, expected, killed)
        if answer is not None and answer.error:
            raise AssertionError(answer.error)


def _kills_at_a_few_steps(trials: Trials, recorder: Recorder) -> Iterator[tuple[Crash, Story]]:
    assert trials.expected is not None
    last = trials.expected.last
    by_step = {crash.promise.handed_out: crash for crash in kills(recorder, None, trials.rng)}
    for step in sorted({1, last // 2, last - 1}):
        crash = by_step[step]
        where = _where(crash, recorder.begun)
        text = f"killed after step {step} ({where}), and resumed in a new process"
        yield crash, _killed(trials, crash, text)


def _killed(trials: Trials, crash: Crash, text: str) -> Story:
    handed_out = crash.promise.handed_out
    least = handed_out if trials.is_logged else crash.promise.durable
    return Story(text, least, handed_out + 1)


def _cut_again(trials: Trials, recorder: Recorder, story: Story) -> int:
    """Cut the power while a run is resumed, or later; return the number of cuts."""
    done = 0
    for crash in crashes(recorder, 4, trials.rng):
        trials.resume(crash, _cut(crash, recorder.begun, story), "third")
        done += 1
    return done


def _always(_: object) -> bool:
    return True


def _cut(crash: Crash, begun: int, before: Story | None = None) -> Story:
    text = f"power cut after step {crash.promise.handed_out} ({_where(crash, begun)})"
    if before is None:
        return Story(text, crash.promise.durable)
    return Story(f"{before.text}, and then {text}", max(before.least, crash.promise.durable))


def _where(crash: Crash, begun: int) -> str:
    return f"after operation {crash.operations - begun} on the disk"
