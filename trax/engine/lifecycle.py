"""The loop engine: everything that happens to a run except calling the generator.

Strategy: the engine knows neither ``send`` nor ``await``. A driver opens it, hands it every
increment that the generator yields, and tells it how the loop ended; between these calls it
does nothing. So the same engine serves whatever drives the loop; for a driver that must not
block there is one in ``deferred`` that puts off what a disk can make slow.

An increment goes through `Engine.accept` in an order that must not change: it is pickled
first (folding may change it), then folded into the state (if that raises, it leaves no
trace), then appended to the log, and only then handed to the caller.

What asks the loop to stop, a signal or the time limit, gives `Engine.stopping` a reason; the driver
looks at it before each step, and calls `Engine.stop`.
"""

from __future__ import annotations

import math
import os
import pickle
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, NoReturn

from trax import notices
from trax.calls.call import Call
from trax.engine.checkpointer import Checkpoints
from trax.engine.registry import Active, abandoned
from trax.engine.replay import Replayed
from trax.engine.resume import Opened, load_finished, open_held
from trax.errors import CodecError, DurabilityError, StorageError, TraxError, UsageError
from trax.interrupts.stop_request import Stopping
from trax.policies import Since
from trax.storage.codec import PROTOCOL, Encoded, decode, encode
from trax.storage.store import Hold, Store
from trax.tracking.output_files import OutputFiles
from trax.tracking.rng_discovery import InnerRngs
from trax.tracking.rng_tracking import RngTracking

if TYPE_CHECKING:
    from trax.integrations.tqdm import Bar

__all__ = ["TAKEN_OVER", "Engine"]

TAKEN_OVER = "a later call took it over"

_clock = time.monotonic
_dumps = pickle.dumps
_PAUSE = 0.001  # seconds; where steps are fast, the rest is looked after no more often


class Engine:
    """What happens to the run of one call, from its opening to its end.

    Parameters
    ----------
    call : Call
        The call.
    fresh : bool
        Whether to move what is stored aside and begin anew.

    Attributes
    ----------
    name : str
        The run's name.
    state : object
        The state; right once the engine is open.
    resumed_at : int or None
        The step at which this call took up what was stored.
    status : {"new", "open", "closed", "done"}
    result : object
        What the loop returned, or the final state, when it is done.
    total : int or None
        How many steps the loop says it has.
    counted : bool
        Whether the loop has asked for the steps that remain.
    is_running : callable
        Whether a step is being done just now; the driver knows.
    stopping : Stopping
        Whether the loop is to stop before its next step.
    """

    is_deferred = False

    def __init__(self, call: Call, *, fresh: bool = False) -> None:
        self.name = call.name
        self.state: Any = None
        self.resumed_at: int | None = None
        self.status = "new"
        self.result: Any = None
        self.total: int | None = None
        self.counted = False
        self.is_running: Callable[[], bool] = lambda: False
        self._call = call
        self._fresh = fresh
        self._store = Store(call.options.traxdir)
        self._hold: Hold | None = None
        self._active: Active | None = None
        self._outputs: OutputFiles | None = None
        self._since = Since(0, _clock())
        self._why_closed = "it was closed"
        self._look_at = -math.inf
        self._unsaved: TraxError | None = None
        options = call.options
        self.stopping = Stopping(
            self.name, options.signals, options.time_limit, ctrl_c=not self.is_deferred
        )
        call.described  # noqa: B018  # what cannot be compared is said at the call

    @property
    def step(self) -> int:
        """Increments since the run began."""
        return self._since.step

    @property
    def run_id(self) -> str:
        """The run's identity, which is on the disk before its first step."""
        return self._generations.run

    def is_elsewhere(self) -> bool:
        """Whether somebody else in this thread goes on with the loop."""
        return False

    def open(self) -> None:
        """Hold the run and bring its state back, or create it; or find that it is done."""
        left = self.claim()
        if left is not None:
            left.engine.close(TAKEN_OVER)
        self.bring_back()

    def claim(self) -> Active | None:
        """Begin to open, in the thread that will drive the loop.

        Returns
        -------
        Active or None
            What this thread has left open of the run, and must be closed before `bring_back`.
        """
        self._thread = threading.get_ident()
        return abandoned(self._store.run_path(self.name))

    def watch(self) -> None:
        """Begin to watch for signals, or go on where somebody else has taken them over.

        The driver calls it in the thread of the loop: before the run is opened, and whenever
        another part of the caller's code begins to ask for increments. A run that is done has
        nothing to finish.
        """
        if self.status != "done":
            self.stopping.watch(self._look_at_once, self.is_running, anew=self.status == "new")

    def bring_back(self) -> None:
        """Go on to open, in any thread: all that reads and writes."""
        self.stopping.begin(_clock())
        try:
            self._bring_back()
        finally:
            if self.status != "open":
                self.stopping.end_watch()

    def _bring_back(self) -> None:
        finished = None if self._fresh else load_finished(self._call, self._store)
        if finished is not None:
            self._take(finished)
            return
        options = self._call.options
        self._hold = self._store.hold(
            self.name,
            sync=options.sync,
            keep=options.keep,
            report=notices.warn,
            fresh=self._fresh,
            deferred=self.is_deferred,
        )
        try:
            self._take(open_held(self._call, self._store, self._hold))
            if self.status == "done":
                self._release()
            else:
                self._prepare(self._hold)
                self._active = Active(self._store.run_path(self.name), self, self._thread)
                self.status = "open"
        except BaseException:
            self._release()
            raise

    def _take(self, opened: Opened) -> None:
        self.state = opened.state
        self._replayed_bytes = 0
        self._migrated = False
        stored = opened.stored
        if stored is not None:
            self._since = Since(stored.step, _clock())
            self._since.resume(stored.replayed, stored.seconds, stored.age)
            self._replayed_bytes = stored.recovery.log_bytes
            self.resumed_at = stored.step
            self._migrated = stored.migrated_from is not None
        self._positions = RngTracking(
            self.name,
            self._call.outer_rngs,
            stored.inner if stored else InnerRngs({}),
            stored.recovery if stored else None,
            tracks_inner=self._call.mode == "function",
        )
        self._positions.begin(self._identity(stored), done=opened.done)
        if opened.done:
            self.result = opened.result
            self.status = "done"

    def _identity(self, stored: Replayed[Any] | None) -> str:
        if self._hold is not None:
            return self._hold.generations.run
        assert stored is not None  # only a run that is done is not held
        return stored.recovery.run

    def _prepare(self, hold: Hold) -> None:
        """Make ready for increments."""
        options = self._call.options
        self._generations = hold.generations
        self._generations.on_suspect = self._look_at_once
        self._checkpoints = Checkpoints(self._call, self._positions, self._generations)
        self._outputs = OutputFiles(
            self._store.path,
            self._positions.recovered,
            always=options.sync == "always" and not self.is_deferred,
            note=hold.generations.note,
            follow=self._positions.add,
            unfollow=self._positions.drop,
        )
        self._generations.before_sync = self._outputs.sync
        self._watched = self._positions.watched
        self._replay_log: Any = options.replay_log
        self._policy = getattr(options.policy, "due", options.policy)
        self._pause = -math.inf if getattr(options.policy, "exact", True) else _PAUSE
        self._sampled = self.step - 1
        self._ahead = self._generations.position.step - self.step
        self._warned = False
        self._bar: Bar | None = None
        if options.progress:
            from trax.integrations.tqdm import Bar

            self._bar = Bar(self.name, self.step)
        self._unsettled = 2
        self._proven = self.resumed_at is not None
        self._store_first()
        self.stopping.begin_step(_clock())

    def _store_first(self) -> None:
        """Store the checkpoint that a run begins with, or one that the next step needs."""
        if self.resumed_at is None:
            self.checkpoint()
            self._positions.check_shared()
        else:
            replays = bool(self._replayed_bytes)
            is_new = self._positions.check_resumed(self.state, replays, self._migrated)
            if self._migrated:
                self._checkpoints.prove(self.state)
                # No log mixes versions, and an older checkpoint cannot stand in for this one.
                self.checkpoint(derived=False)
            elif is_new:
                self.checkpoint()

    # -- the loop --------------------------------------------------------------------------

    @property
    def accept(self) -> Callable[[Any], Any]:
        """What takes one increment and returns the state that the generator goes on with.

        When it returns, the increment may be handed out: it survives the death of the process.
        """
        return self._accept_unlogged if self._call.mode == "none" else self._accept_logged

    def _accept_logged(self, increment: Any) -> Any:
        """Log one increment, fold it into the state, and return the new state."""
        begun = _clock()
        look = begun >= self._look_at
        # In one piece: folding may change the memory that a buffer would only refer to.
        try:
            encoded: bytes | Encoded = _dumps(increment, PROTOCOL)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; encode() says what
            encoded = encode(increment, "increment")
        if look:  # an import takes longer than the pause
            self._positions.notice_imports()
        context = b""
        for seen, word in self._watched:
            if seen[0] != word:
                context = self._positions.delta()
                break
        state = self._replay_log(self.state, increment)
        if self._positions.inner:
            context += self._positions.folded()
        if look:
            self._sample(encoded, state, begun)
        try:
            self._generations.append(encoded, context)
        except DurabilityError as error:
            self._reconsider(state, context, error)
        self.state = state
        self._since.step += 1
        if look:
            self._look(begun)
        return state

    def _accept_unlogged(self, increment: Any) -> Any:  # noqa: ARG002  # it only reports
        """Count one increment; the state is the loop's own, and the same object as ever."""
        if not self._proven:
            self._checkpoints.prove(self.state)
            self._proven = True
        begun = _clock()
        self._since.step += 1
        if begun >= self._look_at:
            self._since.replay_seconds = begun - self._since.started
            self._look(begun)
        return self.state

    def _sample(self, encoded: bytes | Encoded, state: Any, begun: float) -> None:
        """Measure what replaying increments costs, which is about what storing this one did."""
        cost = _clock() - begun
        since = self._since
        since.replay_seconds += cost * (since.step - self._sampled)
        self._sampled = since.step
        if not self._proven:
            if state is None and self.state is not None:
                raise UsageError(
                    "replay_log returned None: it must return the state, also where it changes it "
                    "in place, as in 'state.append(increment); return state'"
                )
            decode(encoded, "increment")
            drawn = self._positions.drawn_outside()
            if drawn:
                raise UsageError(
                    f"replay_log drew random numbers from {', '.join(drawn)}: in a recovery they "
                    "would be others. Draw them in the loop and yield them; or draw from a "
                    "generator in the state."
                )
            self._checkpoints.prove(state)
            self._proven = True

    def _look_at_once(self) -> None:
        self._look_at = -math.inf

    def _look(self, now: float) -> None:
        """Do what need not be done after every one of many fast steps."""
        since = self._since
        since.now = now
        since.log_bytes = self._replayed_bytes + self._generations.log_bytes
        self._look_at = now + self._pause
        if self.stopping.look(now, since.checkpoint_seconds):
            self._do(self.save)
        elif self._policy(since):
            self._do(self._checkpoint_if_possible)
        if self._unsettled:
            self._settle_in()
        if self._outputs is not None:
            self._outputs.tidy()
        self.stopping.begin_step(_clock())
        if self._bar is not None:
            self._bar.update(self.step, self.total)

    def _do(self, store: Callable[[], None]) -> None:
        """Store a checkpoint that is due; where that must not block, later."""
        store()

    def _settle_in(self) -> None:
        """In the first two steps, look for random numbers that could not be drawn again."""
        self._unsettled -= 1
        self._look_at = -math.inf
        if self._positions.newborn:
            self._do(self._checkpoint_if_possible)
        assert self._active is not None
        self._positions.check_locals(self._active.frame, self.state)

    def _reconsider(self, state: Any, context: bytes, error: DurabilityError) -> None:
        """Decide about an increment that the disk did not take, or would not vouch for."""
        appended = self._generations.position.step - self._ahead - self.step
        if not appended and not self._generations.suspect:
            self._positions.undo(context)
            raise error  # it leaves no trace
        # The log is not to be trusted: a checkpoint in new files takes the increment's place.
        before, self.state = self.state, state
        self._ahead += appended - 1
        self._since.step += 1
        try:
            self.checkpoint()
        except BaseException:
            self.state = before
            raise
        finally:
            self._since.step -= 1

    def checkpoint(self, result: Any = None, *, done: bool = False, derived: bool = True) -> None:
        """Store the state as it is now.

        Raises
        ------
        CodecError
            The state cannot be pickled; the log still has everything.
        StorageError
            The disk refused; the checkpoint before and the logs are still the truth.
        """
        begun = _clock()
        prepared = self._checkpoints.prepare(self.state, self.step, result, done=done)
        try:
            self._since.checkpoint_bytes = self._checkpoints.store(prepared, derived=derived)
        finally:
            now = _clock()
            self._since.checkpoint_seconds = now - begun
            self._since.restart(now)
            self._replayed_bytes = 0
            self._look_at = -math.inf

    def _checkpoint_if_possible(self) -> None:
        """Store a checkpoint that can wait: what stands in the logs is not in danger."""
        try:
            self.checkpoint()
        except DurabilityError:
            raise
        except StorageError as error:
            if not self._warned:
                notices.warn(f"{self.name} goes on without a checkpoint for now: {error}")
            self._warned = True
        else:
            self._warned = False

    # -- stopping --------------------------------------------------------------------------

    def save(self) -> None:
        """Store what is not yet in a checkpoint, because the loop is about to stop.

        A failure does not keep it from stopping.
        """
        self.stopping.asked = False
        if self._since.steps or self._checkpoints.behind or self._generations.suspect:
            self._unsaved = None
            try:
                self.checkpoint()
            except (CodecError, StorageError) as error:
                self._unsaved = error

    def save_soon(self) -> None:
        """Store at the next yield what only a checkpoint can keep."""
        if self._call.mode == "none":
            self.stopping.asked = True
            self._look_at_once()

    def stop(self) -> NoReturn:
        """Save, close, and raise what ends the program.

        The driver calls it at a yield when `stopping` has a reason, in the thread that drives the
        loop. Where that thread must not wait for the disk, `save` and `release` can be called in
        another one, and then `leave`.

        Raises
        ------
        Preempted
            Unless the handler that had the signal before raises something else.
        KeyboardInterrupt
            After Ctrl-C.
        """
        if self.status != "open":
            raise self.closed_error()
        self.save()
        self.release()
        self.leave()

    def leave(self) -> NoReturn:
        """Raise what ends the program, once the run is let go."""
        self.stopping.end_watch()
        self.stopping.report(self.step, self._unsaved, is_logged=self._call.mode != "none")
        self.stopping.end_program(self.step)

    def release(self) -> None:
        """Let go of a run that was saved because it is about to stop."""
        self._why_closed = f"{self.stopping.reason} stopped it"
        self._release()

    # -- the end ---------------------------------------------------------------------------

    def finish(self, value: Any) -> None:
        """Store that the loop has ended by itself, and what it returned."""
        try:
            self.checkpoint(value, done=True)
        except BaseException as error:
            self.abort(error)
            raise
        self.result = self.state if value is None else value
        self._release()
        self.status = "done"

    def abort(self, error: BaseException) -> None:
        """Close after an exception: what is stored is what was handed out, and stays so."""
        if self.status == "open":
            if isinstance(error, TraxError):
                error.add_note(f"trax: in the run {self.name!r}, after step {self.step:,}")
            self._why_closed = "it ended with an exception"
            try:
                self._release()
            except StorageError as failure:
                error.add_note(f"trax: and then {failure}")

    def close(self, why: str = "it was closed") -> None:
        """Close at a yield boundary; what has been handed out is kept.

        Where increments are not logged, or the log has failed, that takes a checkpoint.
        """
        if self.status != "open" or self._hold is None:
            if self.status == "new":
                self.status = "closed"
            return
        if self.is_running():
            raise self.running_error()
        self._why_closed = why
        try:
            self.keep()
        except BaseException as error:
            self.abort(error)
            raise
        self._release()

    def keep(self) -> None:
        """Store at a yield boundary what only a checkpoint can keep; closing begins with it."""
        if self.status != "open" or self._hold is None or os.getpid() != self._hold.pid:
            return
        unlogged = self._call.mode == "none" and (self._since.steps or self._checkpoints.behind)
        if unlogged or self._generations.suspect:
            self.checkpoint()

    def let_go(self) -> None:
        """Close what nobody can go on with any more; in the middle of a step, without saving it."""
        if self.status == "open" and self.is_running():
            self._active = None
            self._release()
        elif self.status == "open":
            self.close()
        self.stopping.pass_on()

    def _release(self) -> None:
        hold, self._hold = self._hold, None
        active, self._active = self._active, None
        if self.status == "open":
            self.status = "closed"
            if self._bar is not None:
                self._bar.close(self.step)
        self.stopping.end_watch()
        try:
            if active is not None:
                active.end()
        finally:
            if hold is not None:
                hold.generations.on_suspect = _do_nothing
                self._end(hold)

    def _end(self, hold: Hold) -> None:
        """Close the files; a fork of the process that holds the run leaves them alone."""
        outputs = self._outputs
        try:
            if outputs is not None:
                self._positions.end()
                if hold.pid == os.getpid():
                    # A checkpoint that failed may be there all the same, and count on more output
                    # than the one before it: what is too much then is for the next call to cut off.
                    outputs.end(None if self._checkpoints.behind else self._positions.last)
        finally:
            try:
                hold.close()
            finally:
                if outputs is not None:
                    outputs.close()

    def open_output(self, path: str | os.PathLike[str], mode: str, **options: Any) -> IO[Any]:
        """Open an output file; see `trax.open`."""
        assert self._outputs is not None
        return self._outputs.open(path, mode, **options)

    def running_error(self) -> UsageError:
        """Return the error for closing a run where its state may be half-changed."""
        return UsageError(
            f"{self.name!r} is in the middle of a step and cannot be closed there. Close it "
            "in the body of the loop that drives it, or let it raise."
        )

    def closed_error(self) -> UsageError:
        """Return the error for going on with a run that is closed."""
        return UsageError(
            f"this call of {self.name!r} is over at step {self.step:,}: {self._why_closed}. Call "
            "the function again: it resumes from there."
        )

    def drive(self, frame: FrameType, stop: Callable[[], None]) -> None:
        """Say which generator is driven: its frame, and what closes it."""
        assert self._active is not None
        self._active.drive(frame, stop)


def _do_nothing() -> None: ...
