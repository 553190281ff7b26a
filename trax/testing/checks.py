"""Whether a loop is resumed exactly, wherever it was broken off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trax.engine.async_driver import AsyncRun
from trax.engine.sync_driver import Run
from trax.errors import UsageError
from trax.testing.recording import Recorder
from trax.testing.trials import Crash, Story, Trials, crashes, kills

__all__ = ["Checked", "check_power_cut", "check_resume"]

_ONCE = 0.9  # of all power cuts have no other one behind them


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked, and found to be as it should be.

    Attributes
    ----------
    steps : int
        How many increments the undisturbed run has handed out.
    crashes : int
        From how many crashes the loop was resumed, each different from the others.
    """

    steps: int
    crashes: int


def check_resume(
    run: Run[Any, Any, Any] | AsyncRun[Any, Any],
    *,
    limit: int | None = 100,
    seed: int = 0,
    prepare: Callable[[], object] | None = None,
    ignore: Iterable[str] = (),
) -> Checked:
    """Check that a loop goes on exactly wherever it is killed or closed.

    The loop is run undisturbed first. Then it is killed after everything that it does to the disk,
    and so after every step: as it is, and again with a checkpoint after every step. And it
    is closed after every step. Each time it is resumed and run to its end. Every increment and
    every state must be, to the last bit, what they were in the undisturbed run; the result, the
    files that it writes and the next numbers of random generators, too.

    All of that happens in this process, in temporary directories, one of which is the current one
    while the loop runs; the store of the loop is not touched. So the loop must come to an end, and
    soon, since it is run about as often as it has steps; and it must write to relative paths.

    Parameters
    ----------
    run : Run or AsyncRun
        A call of the decorated function from which no increment was asked for, such as
        ``walk(steps=10)``. Each run has copies of its arguments.
    limit : int or None
        How many kills of each kind are tried at most, drawn at random, and how many times it is
        closed. None: all.
    seed : int
        What they are drawn with.
    prepare : callable, optional
        What a script does before the call, such as writing a file that the loop reads or
        seeding random generators; called before every run, in its directory.
    ignore : str or iterable of str
        Patterns of files that need not be the same, as in ``["*.log"]``.

    Returns
    -------
    Checked
        How much was checked.

    Raises
    ------
    UsageError
        `run` is no such call, or `limit` no such number.
    AssertionError
        It went on differently. The message says where it was broken off, what differs first, what
        it may come of, and where the directory is kept as it was then.

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

    A loop that keeps something outside of its state does not go on from where it was:

    >>> @trax.resumable(create=int)
    ... def count(n, below):
    ...     stride = 0
    ...     while n < below:
    ...         stride += 1
    ...         n = yield n + stride
    >>> check_resume(count(below=10))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: count does not go on as if nothing had happened: killed after step 1...
    increment 2: live 3, resumed 2
    ...
    """
    trials = _trials(run, limit, seed, prepare, ignore)
    steps = trials.reference().last
    done = 0
    for how, options in (
        ("killed after step {}", {}),
        ("killed after step {}, with a checkpoint after every step", {"policy": _always}),
    ):
        recorder = trials.record(**options)
        for crash in kills(recorder, limit, trials.rng):
            handed_out = crash.promise.handed_out
            least = handed_out if trials.is_logged else crash.promise.durable
            text = f"{how.format(handed_out)} ({_where(crash, recorder.begun)})"
            trials.resume(crash, Story(text, least, handed_out + 1), "first")
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
    """Check that a loop goes on exactly after a power cut, and after another one in recovery.

    What a run does to the disk is recorded. What of it was forced to the disk is there after a
    power cut; all else may be there, be missing, be torn, or have come in another order. From
    what any such power cut leaves the loop is resumed, run to its end and compared with an
    undisturbed run, as `check_resume` does. Under ``sync="always"`` no increment that was handed
    out may be lost, and otherwise none that was forced. Some of the power cuts come while the
    loop is resumed from another one, or from a kill, or later.

    Parameters
    ----------
    run : Run or AsyncRun
        A call of the decorated function from which no increment was asked for.
    limit : int or None
        How many power cuts of an undisturbed run are tried at most, drawn at random; about half
        as many more come while a run is resumed. None: all that differ, which can be very many.
    seed : int
        What they are drawn with.
    prepare : callable, optional
        What a script does before the call; see `check_resume`.
    ignore : str or iterable of str
        Patterns of files that need not be the same.

    Returns
    -------
    Checked
        How much was checked.

    Raises
    ------
    UsageError
        `run` is no such call, or `limit` no such number.
    AssertionError
        It went on differently; see `check_resume`.

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
    trials = _trials(run, limit, seed, prepare, ignore)
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


def _trials(
    run: Run[Any, Any, Any] | AsyncRun[Any, Any],
    limit: int | None,
    seed: int,
    prepare: Callable[[], object] | None,
    ignore: Iterable[str],
) -> Trials:
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UsageError(f"limit must be a positive whole number, or None for all, not {limit!r}")
    patterns = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    return Trials(run, prepare, patterns, seed)


def _cut_again(trials: Trials, recorder: Recorder, story: Story) -> int:
    """Let the power go while a run is resumed, or later; return how many cuts were tried."""
    done = 0
    for crash in crashes(recorder, 4, trials.rng):
        trials.resume(crash, _cut(crash, recorder.begun, story), "third")
        done += 1
    return done


def _always(_: object) -> bool:
    return True


def _cut(crash: Crash, begun: int, before: Story | None = None) -> Story:
    text = f"the power went after step {crash.promise.handed_out} ({_where(crash, begun)})"
    if before is None:
        return Story(text, crash.promise.durable)
    return Story(f"{before.text}, and then {text}", max(before.least, crash.promise.durable))


def _where(crash: Crash, begun: int) -> str:
    return f"after operation {crash.operations - begun} on the disk"
