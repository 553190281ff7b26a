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
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from trax.calls.call import Call
from trax.comparing import freeze
from trax.display import show
from trax.engine.async_driver import AsyncRun
from trax.engine.deferral import AtOnce, Deferred
from trax.engine.lifecycle import Lifecycle
from trax.engine.sync_driver import Run
from trax.errors import UsageError
from trax.storage.mutex import Mutex
from trax.storage.process import process
from trax.testing.causes import ELSEWHERE, LOST, NOT_THE_SAME_TWICE, causes_of
from trax.testing.crashes import Image, Operation
from trax.testing.item_order import kept_order
from trax.testing.moments import Crash, Promise
from trax.testing.outcome import Differs, Outcome, compare_ends, compare_step
from trax.testing.recording import Recorder, replaced, snapshot, write_image
from trax.tracking.rng_discovery import OuterRngs, import_for, outer_key
from trax.tracking.rng_state import TrackedRng, track
from trax.whole_numbers import as_whole

__all__ = [
    "END",
    "Checked",
    "Driver",
    "Story",
    "Trials",
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
        if self.expected is not None:
            has_rngs = self.call.options.rng is not None
            compare_ends(self.expected, outcome, has_rngs=has_rngs, is_again=self._is_again)

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

    def _compare(self, outcome: Outcome, step: int, line: int = 0) -> None:
        """Compare a step with that of the reference; it ends at a yield in this line."""
        if self.expected is not None:
            compare_step(self.expected, outcome, step, line, is_logged=self.is_logged)

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
        if number is not None and as_whole(number, 1) is None:
            raise UsageError(
                f"{name} must be a whole number of at least 1, or None for all, not {show(number)}"
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


def _nothing(*args: Any) -> None: ...
