"""The loop engine: everything that happens to a run except calling the generator.

Strategy: the engine knows neither ``send`` nor ``await``. A driver opens it, hands it every
increment that the generator yields, and tells it how the loop ended; between these calls it
does nothing. So the same engine serves whatever drives the loop.

An increment goes through `Engine.accept` in an order that must not change: it is pickled
first (folding may change it), then folded into the state (if that raises, it leaves no
trace), then appended to the log, and only then handed to the caller.

What asks the loop to stop, a signal or the time limit, sets `Engine.stopping`; the driver looks at
it before each step, and calls `Engine.stop`.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from trax import report
from trax.active import Active, take_over
from trax.call import Call
from trax.deadline import Deadline, choose
from trax.errors import (
    CodecError,
    DurabilityError,
    Preempted,
    StorageError,
    TraxError,
    UsageError,
)
from trax.opening import Opened, load_finished, open_held
from trax.policies import Since
from trax.signals import Arrival, Watch
from trax.storage.codec import PROTOCOL, Encoded, decode, encode
from trax.storage.frames import CLOUDPICKLE
from trax.storage.store import Hold, Store

if TYPE_CHECKING:
    from trax.integrations.tqdm import Bar

__all__ = ["Engine"]

_clock = time.monotonic
_dumps = pickle.dumps
_LARGE_FUNCTION = 1 << 16  # bytes; a lambda takes the globals that it uses along
_PAUSE = 0.001  # seconds; where steps are fast, the rest is looked after no more often
_TIME_LIMIT = "the time limit"


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
    stopping : str
        What has asked the loop to stop before its next step; empty where nothing has.
    """

    def __init__(self, call: Call, *, fresh: bool = False) -> None:
        self.name = call.name
        self.state: Any = None
        self.resumed_at: int | None = None
        self.status = "new"
        self.result: Any = None
        self.total: int | None = None
        self.counted = False
        self.is_running: Callable[[], bool] = lambda: False
        self.stopping = ""
        self._call = call
        self._fresh = fresh
        self._store = Store(call.options.traxdir)
        self._hold: Hold | None = None
        self._active: Active | None = None
        self._since = Since(0, _clock())
        self._why_closed = "it was closed"
        self._look_at = -math.inf
        self._watch: Watch | None = None
        self._deadline: Deadline | None = None
        self._behind = False  # the last checkpoint failed
        self._unsaved: TraxError | None = None
        call.described  # noqa: B018  # what cannot be compared is said at the call

    @property
    def step(self) -> int:
        """Increments since the run began."""
        return self._since.step

    def watch(self) -> None:
        """Begin to watch for signals, or go on where somebody else has taken them over.

        The driver calls it in the thread of the loop: before the run is opened, and whenever
        another part of the caller's code begins to ask for increments.
        """
        signals = self._call.options.signals
        if signals is not None and (self._watch is None or self.status == "new"):
            self._watch = Watch(signals, self._heed, self.is_running)
        if self._watch is not None:
            self._watch.begin()

    def open(self) -> None:
        """Hold the run and bring its state back, or create it; or find that it is done."""
        now = _clock()
        limit = choose(self._call.options.time_limit, os.environ, time.time())
        self._deadline = None if limit is None else Deadline(limit, now)
        try:
            self._open()
        finally:
            if self.status != "open":
                self._end_watch()

    def _open(self) -> None:
        key = self._store.run_path(self.name)
        take_over(key)
        finished = None if self._fresh else load_finished(self._call, self._store)
        if finished is not None:
            self._take(finished)
            return
        options = self._call.options
        self._hold = self._store.hold(
            self.name,
            sync=options.sync,
            keep=options.keep,
            report=report.warn,
            fresh=self._fresh,
        )
        try:
            self._take(open_held(self._call, self._store, self._hold))
            if self.status == "done":
                self._release()
            else:
                self._prepare(self._hold)
                self._active = Active(key, self)
                self.status = "open"
        except BaseException:
            self._release()
            raise

    def _take(self, opened: Opened) -> None:
        self.state = opened.state
        self._replayed_bytes = 0
        stored = opened.stored
        if stored is not None:
            self._since = Since(stored.step, _clock())
            self._since.resume(stored.replayed, stored.seconds, stored.age)
            self._replayed_bytes = stored.recovery.log_bytes
            self.resumed_at = stored.step
        if opened.done:
            self.result = opened.result
            self.status = "done"

    def _prepare(self, hold: Hold) -> None:
        """Make ready for increments; the first checkpoint of a run is stored here."""
        options = self._call.options
        self._generations = hold.generations
        self._generations.on_suspect = self._look_at_once
        self._replay_log: Any = options.replay_log
        self._policy = getattr(options.policy, "due", options.policy)
        self._pause = -math.inf if getattr(options.policy, "exact", True) else _PAUSE
        self._sampled = self.step - 1
        self._ahead = self._generations.position.step - self.step
        self._parts: dict[str, Encoded] = {}
        if self._call.mode == "function":
            with contextlib.suppress(CodecError):  # only trax.load(name) would miss it
                encoded = encode(self._replay_log, "replay_log")
                if encoded.nbytes < _LARGE_FUNCTION:
                    self._parts["replay_log"] = encoded
        self._warned = False
        self._bar: Bar | None = None
        if options.progress:
            from trax.integrations.tqdm import Bar

            self._bar = Bar(self.name, self.step)
        self._proven = self.resumed_at is not None
        if not self._proven:
            self.checkpoint()
        if self._deadline is not None:
            self._deadline.begin_step(_clock())

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
        if look and self._generations.suspect:
            self.checkpoint()
        # In one piece: folding may change the memory that a buffer would only refer to.
        try:
            encoded: bytes | Encoded = _dumps(increment, PROTOCOL)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; encode() says what
            encoded = encode(increment, "increment")
        state = self._replay_log(self.state, increment)
        if look:
            self._sample(encoded, state, begun)
        try:
            self._generations.append(encoded)
        except DurabilityError as error:
            self._reconsider(state, error)
        self.state = state
        self._since.step += 1
        if look:
            self._look(begun)
        return state

    def _accept_unlogged(self, increment: Any) -> Any:  # noqa: ARG002  # it only reports
        """Count one increment; the state is the loop's own, and the same object as ever."""
        if not self._proven:
            self._prove(self.state)
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
            self._prove(state)

    def _look_at_once(self) -> None:
        self._look_at = -math.inf

    def _look(self, now: float) -> None:
        """Do what need not be done after every one of many fast steps."""
        since = self._since
        since.now = now
        since.log_bytes = self._replayed_bytes + self._generations.log_bytes
        self._look_at = now + self._pause
        deadline = self._deadline
        if deadline is not None and deadline.is_near(now, since.checkpoint_seconds):
            self.stopping = self.stopping or _TIME_LIMIT
        if self.stopping:
            self.save()
        elif self._policy(since):
            self._checkpoint_if_possible()
        if deadline is not None:
            deadline.begin_step(_clock())
        if self._bar is not None:
            self._bar.update(self.step, self.total)

    def _reconsider(self, state: Any, error: DurabilityError) -> None:
        """Decide about an increment that the disk did not take, or would not vouch for."""
        if self._generations.position.step - self._ahead == self.step:
            raise error  # it was not appended, and leaves no trace
        # Appended, but not known to be on the disk: a checkpoint in new files takes its place.
        self.state = state
        self._since.step += 1
        try:
            self.checkpoint()
        finally:
            self._since.step -= 1

    def _prove(self, state: Any) -> None:
        """Store and load the state once in memory: better to fail now than at a checkpoint."""
        encoded = encode(state, "state")
        decode(encoded, "state")
        self._proven = True
        if encoded.kind == CLOUDPICKLE:
            report.note(
                f"{self.name}: the state holds a function or a class that no name leads to; it is "
                "stored with its code, and keeps that when the script changes"
            )

    def checkpoint(self, result: Any = None, *, done: bool = False) -> None:
        """Store the state as it is now.

        Raises
        ------
        CodecError
            The state cannot be pickled; the log still has everything.
        StorageError
            The disk refused; the checkpoint before and the logs are still the truth.
        """
        begun = _clock()
        parts = {"state": encode(self.state, "state"), **self._parts}
        if result is not None:
            parts["result"] = encode(result, "result")
        meta = {
            "step": self.step,
            "done": done,
            "replay_log": self._call.mode,
            "arguments": self._call.described,
            "varying": self._call.varying,
            "code": self._call.code,
            "function": self._call.function.__qualname__,
        }
        self._behind = True
        try:
            self._since.checkpoint_bytes = self._generations.checkpoint(meta, parts, derived=True)
            self._behind = False
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
                report.warn(f"{self.name} goes on without a checkpoint for now: {error}")
            self._warned = True
        else:
            self._warned = False

    # -- stopping --------------------------------------------------------------------------

    def _heed(self, arrival: Arrival) -> None:
        """Note that a signal has come; it is called in a handler, wherever the loop is."""
        self.stopping = self.stopping or arrival.number.name
        self._look_at = -math.inf

    def save(self) -> None:
        """Store what is not yet in a checkpoint, because the loop is about to stop.

        A failure does not keep it from stopping.
        """
        if self._since.steps or self._behind or self._generations.suspect:
            self._unsaved = None
            try:
                self.checkpoint()
            except (CodecError, StorageError) as error:
                self._unsaved = error

    def stop(self) -> NoReturn:
        """Save, close, and raise what ends the program.

        The driver calls it at a yield when `stopping` says so, in the thread that drives the loop.
        Where that thread must not wait for the disk, `save` can be called in another one before.

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
        self._why_closed = f"{self.stopping} stopped it"
        self._release()
        report.note(f"{self.name} stopped at step {self.step:,}: {self.stopping}; {self._outlook}")
        self._yield_to_signals()
        raise Preempted(self.name, self.step, self.stopping)

    @property
    def _outlook(self) -> str:
        if self._unsaved is None:
            return "it is stored, and the same script goes on from there"
        kept = (
            "the same script goes on from the checkpoint before"
            if self._call.mode == "none"
            else "the log has every increment, and the same script goes on from there"
        )
        return f"the checkpoint could not be stored ({self._unsaved}); {kept}"

    def settle(self, error: BaseException | None = None) -> None:
        """Let a signal that has come end the program, where the loop has ended otherwise.

        Parameters
        ----------
        error : BaseException, optional
            What is being raised already. What is on its way to the end of the program stays as
            it is; an exception that may have come of the signal, as where a worker died of it,
            becomes the context of what is raised here.
        """
        watch = self._watch
        if watch is None or not watch.undelivered:
            return
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            watch.forget()
        if error is not None and not isinstance(error, Exception):
            return
        if error is not None:
            report.warn(f"{self.name}: after {self.stopping} came {type(error).__name__}: {error}")
        self._yield_to_signals()
        raise Preempted(self.name, self.step, self.stopping)

    def _yield_to_signals(self) -> None:
        """Give the signals to the handlers before; after Ctrl-C they leave no other way on."""
        if self._watch is not None:
            self._watch.deliver()
            if any(arrival.number == signal.SIGINT for arrival in self._watch.arrivals):
                raise KeyboardInterrupt

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()

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
        self.settle()

    def abort(self, error: BaseException) -> None:
        """Close after an exception: what is stored is what was handed out, and stays so."""
        if self.status == "open":
            if isinstance(error, TraxError):
                error.add_note(f"trax: in the run {self.name!r}, after step {self.step:,}")
            self._why_closed = "it ended with an exception"
            self._release()
        self.settle(error)

    def close(self, why: str = "it was closed") -> None:
        """Close at a yield boundary; what has been handed out is kept.

        Where increments are not logged, or the log has failed, that takes a checkpoint.
        """
        if self.status != "open" or self._hold is None:
            if self.status == "new":
                self.status = "closed"
            return
        if self.is_running():
            raise UsageError(
                f"{self.name!r} is in the middle of a step and cannot be closed there. Close it "
                "in the body of the loop that drives it, or let it raise."
            )
        self._why_closed = why
        unlogged = self._call.mode == "none" and (self._since.steps or self._behind)
        if os.getpid() == self._hold.pid and (unlogged or self._generations.suspect):
            try:
                self.checkpoint()
            except BaseException as error:
                self.abort(error)
                raise
        self._release()

    def let_go(self) -> None:
        """Close what nobody can go on with any more; in the middle of a step, without saving it."""
        if self.status == "open" and self.is_running():
            self._active = None
            self._release()
        elif self.status == "open":
            self.close()
        if self._watch is not None and self._watch.undelivered:
            report.note(f"{self.name} was closed; {self.stopping} takes effect now")
            self._watch.pass_on()

    def _release(self) -> None:
        hold, self._hold = self._hold, None
        active, self._active = self._active, None
        if self.status == "open":
            self.status = "closed"
            if self._bar is not None:
                self._bar.close(self.step)
        self._end_watch()
        try:
            if active is not None:
                active.end()
        finally:
            if hold is not None:
                hold.generations.on_suspect = _do_nothing
                hold.close()

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
