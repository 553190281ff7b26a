"""Trials of one loop: it is run again and again, interrupted, resumed and compared.

Strategy: an uninterrupted run is the reference; each of its increments and states is kept as a
pickle. Another run is recorded, and the directories that a crash could have left are derived from
its operations on the disk. In each of these the loop is resumed, as if by a new process, run to its
end, and compared with the reference at every step.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import logging
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from trax.calls.call import Call
from trax.comparing import freeze, frozen_difference
from trax.engine.async_driver import AsyncRun
from trax.engine.deferral import AtOnce, Deferred
from trax.engine.lifecycle import Lifecycle
from trax.engine.sync_driver import Run
from trax.errors import UsageError
from trax.storage.mutex import Mutex
from trax.storage.process import process
from trax.testing.causes import (
    ELSEWHERE,
    LATER,
    LOST,
    NOT_THE_SAME_TWICE,
    OUTPUT,
    RANDOM,
    STATE,
    causes_of,
)
from trax.testing.crashes import Disk, Image, Operation
from trax.testing.item_order import kept_order
from trax.testing.recording import Recorder, common, replaced, snapshot, write_image
from trax.tracking.rng_discovery import OuterRngs, import_for, outer_key
from trax.tracking.rng_state import TrackedRng, track

__all__ = [
    "END",
    "Checked",
    "Crash",
    "Driver",
    "Outcome",
    "Story",
    "Trials",
    "crashes",
    "kills",
    "outer_rngs",
    "temporary_directory",
    "trials_of",
]

AnyRun = Run[Any, Any, Any] | AsyncRun[Any, Any]

_in_turn = Mutex()  # a check changes the current directory, and more of the process

_STORE = ".trax"
_MEMORY = "/dev/shm"  # noqa: S108  # Linux keeps files in memory there; only we can use mkdtemp's
END: Any = object()
_NEVER = 1 << 62  # a step that no run reaches
_SYNC_EVERY = 3  # steps between two syncs of the log, and other work that threads do otherwise


class Differs(Exception):  # noqa: N818  # it becomes an AssertionError
    """A difference from the uninterrupted run, with advice about its cause, and a yield's line."""

    def __init__(self, difference: str, advice: str, line: int = 0) -> None:
        super().__init__(difference)
        self.advice = advice
        self.line = line


@dataclass(frozen=True, slots=True)
class Checked:
    """The extent of a check that found no difference.

    Attributes
    ----------
    steps : int
        The number of increments that the uninterrupted run handed out.
    crashes : int
        The number of crashes from which the loop was resumed, each different from the others.
    """

    steps: int
    crashes: int


@dataclass
class Outcome:
    """The increments and states of a run by step, its first and last step, and its end.

    Of a plain loop that is broken off for good, the variables are there instead of a result. Of the
    reference also the order of items with keys, the warnings of trax, and the time that it took.
    """

    begun: int = 0
    last: int = 0
    increments: dict[int, bytes] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    result: bytes = b""
    variables: dict[str, bytes] = field(default_factory=dict)
    files: Image = field(default_factory=dict)
    positions: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Promise(NamedTuple):
    """The number of increments handed out, and the number of those that survive a power cut."""

    handed_out: int
    durable: int


class Crash(NamedTuple):
    """The files that a crash leaves, the number of operations before it, and the promise then."""

    image: Image
    operations: int
    promise: Promise


class Story(NamedTuple):
    """The history of a run, for messages, and the steps at which it may resume."""

    text: str
    least: int = 0
    most: int = _NEVER

    def check(self, step: int) -> None:
        """Refuse any other step."""
        if not self.least <= step <= self.most:
            wanted = f"{self.least} or later" if step < self.least else f"{self.most} at most"
            raise Differs(f"the loop resumed at step {step}; expected {wanted}", LOST)


class Trials:
    """The trials of one call.

    Parameters
    ----------
    run : Run or AsyncRun
        The call, not begun.
    prepare : callable or None
        Does the work of a script before its call.
    ignore : tuple of str
        Patterns of files that need not be the same.
    seed : int
        The seed for drawing samples.
    most : int or None
        The step at which each run ends for good; None if the loop ends by itself.

    Attributes
    ----------
    call : Call
        The call.
    store : Store
        The store of the call, which is not touched.
    order : list of bytes or None
        The digests of items with keys, in the order in which a run takes them. None: in that of the
        reference.
    """

    def __init__(
        self,
        run: AnyRun,
        prepare: Callable[[], object] | None,
        ignore: tuple[str, ...],
        seed: int,
        most: int | None = None,
    ) -> None:
        if not isinstance(run, (Run, AsyncRun)):
            raise UsageError(
                f"run must be a call of the decorated function, such as walk(steps=10), not {run!r}"
            )
        lifecycle: Lifecycle = run._lifecycle  # noqa: SLF001
        if lifecycle.status != "new":
            raise UsageError(
                f"the run {run.name!r} has begun.\n"
                "Give a call from which no increment was requested yet."
            )
        self.name = run.name
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311  # nothing is secret here
        self.expected: Outcome | None = None
        self.call = lifecycle.lend()
        self.store = lifecycle.store
        self._is_async = isinstance(run, AsyncRun)
        if self._is_async:
            _check_no_event_loop(self.name)
        self._prepare = prepare or _nothing
        self._ignore = ignore
        if "numpy" in sys.modules:
            import_for("numpy.random")  # numpy imports that only when it is used
        self._rngs = [(watched, watched.parts()) for watched in outer_rngs(self.call).values()]
        self._warnings: list[str] = []  # of the present run, or the last one
        self._ticks: list[Callable[[], None]] = []
        self._begun: list[Callable[[], None]] = []  # in the background
        self._has_outputs = False
        self._most = _NEVER if most is None else most
        self.order: list[bytes] | None = None
        self._is_again = False  # whether this is the second uninterrupted run

    # -- one run after the other -----------------------------------------------------------

    def reference(self) -> Outcome:
        """Run the loop uninterrupted, as the reference for later runs."""
        order: list[bytes] = []
        with (
            temporary_directory() as directory,
            self.process(directory, "first"),
            kept_order(order, is_known=False),
        ):
            try:
                begun = time.monotonic()
                self.expected = self._play()
                self.expected.order = order
                self.expected.seconds = time.monotonic() - begun
            except FileNotFoundError as error:
                error.add_note(ELSEWHERE)
                raise
        self.expected.warnings = self._warnings
        return self.expected

    @property
    def is_logged(self) -> bool:
        """Whether increments are logged, and so survive the death of the process one by one."""
        return self.call.log_mode.is_logged

    def record(self, **options: Any) -> Recorder:
        """Run the loop uninterrupted once more, and record its operations on the disk."""
        story = Story("run a second time, uninterrupted")
        self._is_again = True
        try:
            with temporary_directory() as directory, self.process(directory, "first"):
                return self._record(story, None, directory, **options)
        finally:
            self._is_again = False

    def resume(self, crash: Crash, story: Story, boot: str) -> None:
        """Resume the loop from the files that a crash left, run it to its end, and compare it."""
        with self._left_by(crash, boot):
            self._explain(story, crash.image, lambda: self._play(None, story))

    def resume_recorded(
        self, crash: Crash, story: Story, boot: str, before: Sequence[Operation] = ()
    ) -> Recorder:
        """Do the same, and record its operations on the disk; see `Recorder` about `before`."""
        with self._left_by(crash, boot) as directory:
            return self._record(story, crash.image, directory, before)

    def close_after(self, stops: list[int]) -> None:
        """Run the loop, close it after each of these steps, and resume it."""
        with temporary_directory() as directory:
            done = 0
            for stop in [*stops, _NEVER]:
                before = snapshot(directory)
                story = Story(f"closed after step {done}" if done else "begun", done, done)
                play = partial(self._play, None, story, stop)
                with self.process(directory, "first"):
                    self._explain(story, before, play)
                done = stop

    @contextlib.contextmanager
    def _left_by(self, crash: Crash, boot: str) -> Iterator[str]:
        with temporary_directory() as directory:
            write_image(crash.image, directory)
            with self.process(directory, boot):
                yield directory

    def _record(
        self,
        story: Story,
        image: Image | None,
        directory: str,
        before: Sequence[Operation] = (),
        **options: Any,
    ) -> Recorder:
        recorder = Recorder(directory, (f"{_STORE}/locks",), before)
        try:
            with recorder.recording():
                self._explain(story, image, lambda: self._play(recorder, story, **options))
        finally:
            recorder.close()
        return recorder

    # -- one run ---------------------------------------------------------------------------

    def _play(
        self,
        recorder: Recorder | None = None,
        story: Story | None = None,
        stop: int = _NEVER,
        **options: Any,
    ) -> Outcome:
        """Run the loop in the present directory, to its end or until it is closed."""
        outcome = Outcome()
        with contextlib.closing(Driver(self.new_run(**options))) as driver:
            run, durable = driver.run, 0
            step = outcome.begun = outcome.last = run.resumed_at or 0
            if story is not None:
                story.check(step)
            outcome.states[step] = self._freeze_state(run)
            self._compare(outcome, step)
            was_done = run.done
            stop = min(stop, self._most)
            while run.step < stop and (increment := driver.next()) is not END:
                step = outcome.last = run.step
                outcome.increments[step] = freeze(increment)
                outcome.states[step] = self._freeze_state(run)
                self._compare(outcome, step, driver.line)
                if recorder is not None:
                    durable = max(durable, self._tick(run._lifecycle, durable))  # noqa: SLF001
                    recorder.mark(Promise(step, durable))
            if run.done and recorder is not None and not was_done:
                recorder.mark(Promise(step, step))
            # A loop that is resumed at its last step has not been begun.
            is_at_end = run.done or outcome.begun < run.step == self._most
            if is_at_end and not run.done and self.call.is_plain:
                outcome.variables = _freeze_variables(run.state)
        if is_at_end:
            self._end(run._lifecycle, outcome)  # noqa: SLF001
        return outcome

    def _freeze_state(self, run: AnyRun) -> bytes:
        """Return the state as bytes; of a plain loop nothing, since it may be that of a frame."""
        return b"" if self.call.is_plain else freeze(run.state)

    def _end(self, lifecycle: Lifecycle, outcome: Outcome) -> None:
        outcome.result = freeze(lifecycle.result)
        outcome.files = self._files()
        followed = outer_rngs(lifecycle._call)  # noqa: SLF001
        outcome.positions = {name: watched.parts() for name, watched in followed.items()}
        self._compare_ends(outcome)

    def new_run(self, *, keeps_first_state: bool = False, **options: Any) -> AnyRun:
        """Return a run of the call, with arguments of its own, in the present directory.

        For `keeps_first_state` see `Lifecycle`.
        """
        options = {"traxdir": _STORE, "signals": None, "time_limit": None, **options}
        options |= {"progress": None, "on_resume": None, "on_checkpoint": None, "on_stop": None}
        options |= {"replica": "", "sync": self.call.options.disk_sync}
        call = self.call.again(replace(self.call.options, **options))
        if self._is_async:
            deferred = Deferred(forces=call.forces_increments)
            lifecycle = Lifecycle(call, deferred, keeps_first_state=keeps_first_state)
            return AsyncRun(lifecycle, deferred, call.start)
        lifecycle = Lifecycle(call, AtOnce(), keeps_first_state=keeps_first_state)
        return Run(lifecycle, call.start)

    def _tick(self, lifecycle: Lifecycle, durable: int) -> int:
        """Do the work of background threads now and then; return the number of durable steps."""
        step, checkpointed = lifecycle.step, lifecycle.checkpointed_step
        while self._begun and step % _SYNC_EVERY == 0:
            self._begun.pop()()
        if checkpointed is not None:
            durable = max(durable, checkpointed)
        if not self.call.log_mode.is_logged:
            return durable
        if self.call.options.disk_sync == "always":
            return step
        if self._ticks and step % _SYNC_EVERY == 0:
            for tick in self._ticks:
                tick()
            # With output files the mark must be on the disk too: the next sync forces it.
            durable = max(durable, step - _SYNC_EVERY if self._has_outputs else step)
        return durable

    # -- a process -------------------------------------------------------------------------

    @contextlib.contextmanager
    def process(self, directory: str, boot: str) -> Iterator[None]:
        """Make a block look like a process that has just begun in a directory."""
        self._has_outputs = False
        self._ticks = []
        self._begun = []
        self._warnings = []
        order = self.order or (self.expected.order if self.expected is not None else [])
        with (
            kept_order(order, is_known=True),
            contextlib.chdir(directory),
            replaced(os, fsync=_nothing, fdatasync=_nothing),
            replaced(
                process,
                is_main=lambda: True,
                boot_id=lambda: boot,
                force=_nothing,
                repeat=partial(_Ticking, self._ticks),
                begin=self._begun.append,
                new_run_id=lambda: "0" * 32,  # so that trax.step().key is the same
                check_output=self._check_output,
                pause=math.inf,  # so that each trial has the same operations
                runs=set(),
                said=set(),
            ),
            _collected(self._warnings),
            self._global_positions(),
        ):
            self._prepare()
            yield

    def _check_output(self, path: str | os.PathLike[str]) -> None:
        self._has_outputs = True
        _check_inside(path)

    @contextlib.contextmanager
    def _global_positions(self) -> Iterator[None]:
        """Restore the first positions of the RNGs, before a block and after it."""
        for watched, parts in self._rngs:
            watched.restore(parts)
        try:
            yield
        finally:
            for watched, parts in self._rngs:
                watched.restore(parts)

    def _files(self) -> Image:
        return {
            name: content
            for name, content in snapshot(os.getcwd()).items()
            if not name.startswith(f"{_STORE}/")
            and not any(fnmatch.fnmatch(name, pattern) for pattern in self._ignore)
        }

    # -- comparisons -----------------------------------------------------------------------

    def _compare(self, outcome: Outcome, step: int, line: int = 0) -> None:
        """Compare a step with that of the reference; it ends at a yield in this line."""
        expected = self.expected
        if expected is None:
            return
        if step not in expected.states:
            raise Differs(f"step {step} exists only in the resumed run", LATER)
        for place, now, then, advice in (
            (f"increment {step}", outcome.increments, expected.increments, LATER),
            (f"the state at step {step}", outcome.states, expected.states, STATE),
        ):
            found = frozen_difference(then[step], now[step], place) if step in now else ""
            if found:
                raise Differs(found, advice if self.is_logged else LATER, line)

    def _compare_ends(self, outcome: Outcome) -> None:
        expected = self.expected
        if expected is None:
            return
        if outcome.last != expected.last:
            ends = f"live after step {expected.last}, resumed after step {outcome.last}"
            raise Differs(f"the end: {ends}", LATER)
        found = frozen_difference(expected.result, outcome.result, "the result")
        if found:
            raise Differs(found, LATER)
        self._compare_variables(expected.variables, outcome.variables)
        for name in sorted(expected.files.keys() | outcome.files.keys()):
            then, now = expected.files.get(name), outcome.files.get(name)
            if then != now:
                raise Differs(_describe_file(name, then, now), OUTPUT)
        for name, parts in expected.positions.items():
            if self.call.options.rng is not None and outcome.positions.get(name) != parts:
                raise Differs(f"the RNG {name!r} has another position at the end", RANDOM)

    def _compare_variables(self, then: dict[str, bytes], now: dict[str, bytes]) -> None:
        """Compare the variables with which plain loops are broken off for good.

        Those that differ from one uninterrupted run to the next, such as the time at which the loop
        was begun, need not be the same.
        """
        for name in sorted(then):
            found = ""
            if then[name] != now.get(name, then[name]):
                found = frozen_difference(
                    then[name], now[name], f"the variable {name!r} at the end"
                )
            if found and not self._is_again:
                raise Differs(found, LATER)
            if found or name not in now:
                del then[name]

    def _explain(self, story: Story, image: Image | None, play: Callable[[], object]) -> None:
        """Play; raise any difference with its history, its causes, and a way to repeat it."""
        try:
            play()
            return
        except Differs as error:
            reason: BaseException | None = None
            advice = NOT_THE_SAME_TWICE if image is None else error.advice
            found, causes = str(error), causes_of(self.call, advice, error.line)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001  # of the loop, or of trax
            reason, causes = error, []
            found = f"the loop ended with {type(error).__name__}: {error}"
        lines = [f"{self.name} does not resume exactly: {story.text}.", found, *causes]
        before = self.expected.warnings if self.expected is not None else []
        warnings = dict.fromkeys([*before, *self._warnings])
        lines += [f"trax warned: {line}" for line in warnings]
        if image is not None:
            kept = tempfile.mkdtemp(prefix="trax-crash-")
            write_image(image, kept)
            lines.append(f"The directory as it was then is copied to {kept}.")
        lines.append(f"To repeat this, give seed={self.seed}.")
        raise AssertionError("\n".join(lines)) from reason


@contextlib.contextmanager
def trials_of(
    run: AnyRun,
    limit: int | None,
    seed: int,
    prepare: Callable[[], object] | None,
    ignore: Iterable[str],
    steps: int | None = None,
) -> Iterator[Trials]:
    """Prepare the trials of a call for the length of a block; other checks wait meanwhile."""
    for name, number in (("steps", steps), ("limit", limit)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise UsageError(
                f"{name} must be a positive whole number, or None for all, not {number!r}"
            )
    patterns = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    with _in_turn:
        yield Trials(run, prepare, patterns, seed, steps)


class _Ticking:
    """A background thread's action, which the trial itself does now and then."""

    def __init__(self, ticks: list[Callable[[], None]], _: float, action: Callable[[], None]):
        self._ticks = ticks
        self._action = action
        ticks.append(action)

    def stop(self) -> None:
        self._ticks.remove(self._action)


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextlib.contextmanager
def _collected(lines: list[str]) -> Iterator[None]:
    """Collect the warnings of trax, instead of showing them."""
    logger = logging.getLogger("trax")
    level = logger.level
    with replaced(logger, handlers=[_Collector(lines)], propagate=False):
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.setLevel(level)


class Driver:
    """A run of either kind, driven from ordinary code."""

    def __init__(self, run: AnyRun) -> None:
        self.run = run
        self._runner = asyncio.Runner() if isinstance(run, AsyncRun) else None

    @property
    def line(self) -> int:
        """The line of the yield at which the loop is suspended; 0 if that is not known."""
        run, frame = self.run, None
        if isinstance(run, AsyncRun):
            frame = getattr(run._generator, "ag_frame", None)  # noqa: SLF001
        elif run._started:  # noqa: SLF001
            frame = run._started[0].gi_frame  # noqa: SLF001
        return frame.f_lineno or 0 if frame is not None else 0

    def next(self) -> Any:
        run = self.run
        if isinstance(run, AsyncRun):
            assert self._runner is not None
            return self._runner.run(_next(run))
        return next(run, END)

    def close(self) -> None:
        run = self.run
        if isinstance(run, AsyncRun):
            assert self._runner is not None
            with self._runner as runner:
                runner.run(run.aclose())
        else:
            run.close()


async def _next(run: AsyncRun[Any, Any]) -> Any:
    return await anext(run, END)


def kills(recorder: Recorder, limit: int | None, rng: random.Random) -> Iterator[Crash]:
    """Yield the crashes by a kill of the process, after every operation or a sample of these."""
    for disk, count, _ in _moments(recorder, limit, rng):
        yield Crash(disk.live.image(), count, _promised(recorder, count))


def crashes(recorder: Recorder, limit: int | None, rng: random.Random) -> Iterator[Crash]:
    """Yield the crashes by a power cut, no image twice, at most `limit` of them."""
    seen: set[int] = set()
    for disk, count, share in _moments(recorder, limit, rng):
        promise = _promised(recorder, count)
        for image in disk.images(share, rng):
            key = hash((tuple(sorted(image.items())), promise.durable))
            if key not in seen:
                seen.add(key)
                yield Crash(image, count, promise)


def _moments(
    recorder: Recorder, limit: int | None, rng: random.Random
) -> Iterator[tuple[Disk, int, int | None]]:
    """Yield the disk after each operation or a sample, its number, and how many images to take."""
    moments = range(recorder.begun, len(recorder.operations) + 1)
    chosen, share = set(moments), None
    if limit is not None:
        chosen = set(rng.sample(moments, min(limit, len(moments))))
        share = -(-limit // len(moments))
    disk = Disk()
    for count, operation in enumerate([None, *recorder.operations]):
        if operation is not None:
            disk.apply(operation)
        if count in chosen:
            yield disk, count, share


def _promised(recorder: Recorder, count: int) -> Promise:
    promises = [promise for mark, promise in recorder.marks if mark <= count]
    return promises[-1] if promises else Promise(0, 0)


def _freeze_variables(variables: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the variables of a loop as bytes, those that can be stored as such."""
    frozen = {}
    for name, value in variables.items():
        with contextlib.suppress(Exception):
            frozen[name] = freeze(value)
    return frozen


def _check_no_event_loop(name: str) -> None:
    """Refuse to drive an async loop in a thread in which an event loop is running."""
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError(
            f"the loop of {name!r} is async, and this thread has a running event loop.\n"
            "Check it in another thread: await asyncio.to_thread(...)."
        )


@contextlib.contextmanager
def temporary_directory() -> Iterator[str]:
    """Make a directory for the length of a block, in memory if possible; its path has no links."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) and "TMPDIR" not in os.environ else None
    path = os.path.realpath(tempfile.mkdtemp(prefix="trax-trial-", dir=memory))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def outer_rngs(call: Call) -> dict[str, TrackedRng]:
    """Return the RNGs outside of its state that a call can draw from now, tracked, by key."""
    rngs = OuterRngs(call.options.rng or (), call.arguments, call.function, call.helpers)
    tracked = [(place, track(rng)) for place, rng in rngs]
    return {outer_key(place, rng).name: rng for place, rng in tracked}


def _check_inside(path: str | os.PathLike[str]) -> None:
    """Refuse a path that leads out of the directory of a trial: trials must not share files."""
    if not os.path.realpath(path).startswith(os.getcwd() + os.sep):
        raise UsageError(
            f"the loop writes to {os.fspath(path)}, so all trials would share that file.\n"
            "Give it a relative path, which leads into the directory of each trial."
        )


def _describe_file(name: str, then: bytes | None, now: bytes | None) -> str:
    if then is None or now is None:
        return f"the file {name} exists only in the {'live' if now is None else 'resumed'} run"
    place = common(then, now)
    pieces = [repr(content[place : place + 20]) for content in (then, now)]
    return f"the file {name} at byte {place:,}: live {pieces[0]}, resumed {pieces[1]}"


def _nothing(*args: Any) -> None: ...
