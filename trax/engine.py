"""The loop engine: everything that happens to a run except calling the generator.

Strategy: the engine knows neither ``send`` nor ``await``. A driver opens it, hands it every
increment that the generator yields, and tells it how the loop ended; between these calls it
does nothing. So the same engine serves whatever drives the loop.

An increment goes through `Engine.accept` in an order that must not change: it is pickled
first (folding may change it), then folded into the state (if that raises, it leaves no
trace), then appended to the log, and only then handed to the caller.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from trax import report
from trax.arguments import call_with, changed_error, describe, differences
from trax.code import fingerprint
from trax.errors import CodecError, DurabilityError, StorageError, UsageError
from trax.options import Options
from trax.policies import Since
from trax.replay import Replayed, load, replay, replay_mode
from trax.storage.codec import LARGE, PROTOCOL, Encoded, Encoder, decode, encode
from trax.storage.recovery import Recovery
from trax.storage.store import Hold, Store

if TYPE_CHECKING:
    from trax.integrations.tqdm import Bar

__all__ = ["Engine", "current"]

_clock = time.monotonic
_PAUSE = 0.001  # seconds; between two looks at the clock's hands, where steps are fast


class Engine:
    """One call of a decorated function, from recovery to its end.

    Parameters
    ----------
    options : Options
        What the decorator was told.
    name : str
        The run's name.
    function : callable
        The generator function, for its code and its name.
    arguments : dict
        The call's arguments, by parameter.
    fresh : bool
        Whether to move what is stored aside and begin anew.

    Attributes
    ----------
    state : object
        The state; right once the engine is open.
    resumed_at : int or None
        The step at which this call took up what was stored.
    status : {"new", "open", "closed", "done"}
    result : object
        What the loop returned, or the final state, when it is done.
    total : int or None
        How many steps the loop says it has.
    frame : FrameType or None
        The frame of the generator that is driven, by which `current` finds the engine.
    """

    def __init__(
        self,
        options: Options,
        name: str,
        function: Callable[..., Any],
        arguments: dict[str, Any],
        *,
        fresh: bool,
    ) -> None:
        self.name = name
        self.state: Any = None
        self.resumed_at: int | None = None
        self.status = "new"
        self.result: Any = None
        self.total: int | None = None
        self.frame: FrameType | None = None
        self._options = options
        self._function = function
        self._arguments = arguments
        self._described = describe(
            {key: value for key, value in arguments.items() if key not in options.varying}
        )
        self._varying = describe_where_possible(arguments, options.varying)
        self._fresh = fresh
        self._store = Store(options.traxdir)
        self._mode = replay_mode(options.replay_log)
        self._hold: Hold | None = None
        self._replayed_bytes = 0
        self._since = Since(0, _clock())
        self._why_closed = "it was closed"
        self.thread = 0

    @property
    def step(self) -> int:
        """Increments since the run began."""
        return self._since.step

    # -- opening ---------------------------------------------------------------------------

    def open(self) -> None:
        """Hold the run and bring its state back, or create it; or find that it is done."""
        self._take_over()
        if not self._fresh and self._load_finished():
            return
        options = self._options
        self._hold = self._store.hold(
            self.name, sync=options.sync, keep=options.keep, report=report.warn
        )
        try:
            self._recover()
            if self.status != "done":
                self._prepare()
        except BaseException:
            self._release()
            raise

    def _take_over(self) -> None:
        """Close what an earlier call in this thread has left open.

        A traceback, or a notebook, can keep an abandoned run alive; it must not lock out the
        call that goes on with it.
        """
        key = self._store.run_path(self.name)
        reference = _open_engines.get(key)
        other = reference() if reference else None
        if (
            other is not None
            and other.status == "open"
            and other.thread == threading.get_ident()
            and not (other.frame and _is_running(other.frame))
        ):
            other.close(why="a later call took it over")

    def _load_finished(self) -> bool:
        """Take the result of a run that is done; nothing needs to be held for that."""
        meta = self._store.peek(self.name)
        if not meta.get("done") or not self._is_same_call(meta):
            return False
        replayed = load(self._store, self.name, None, self._options.replay_log)
        if replayed is None or replayed.replayed or not replayed.meta.get("done"):
            return False
        self._take_result(replayed)
        return True

    def _is_same_call(self, meta: dict[str, Any]) -> bool:
        self._check_arguments(meta)
        return not differences(meta.get("varying", {}), self._varying, ())

    def _check_arguments(self, meta: dict[str, Any]) -> None:
        stored = meta.get("arguments")
        if stored is None:
            return
        lines = differences(stored, self._described, self._options.varying)
        if lines:
            function = self._function.__name__
            raise changed_error(self.name, function, meta.get("step", 0), lines)

    def _take_result(self, replayed: Replayed[Any]) -> None:
        self.state, self._since = replayed.state, Since(replayed.step, _clock())
        self.resumed_at = self.step
        checkpoint = replayed.recovery.checkpoint
        result = checkpoint.parts.get("result") if checkpoint else None
        self.result = decode(result, f"the result of {self.name!r}") if result else self.state
        self.status = "done"
        report.note(
            f"{self.name} is done, at step {self.step:,}; its stored result is returned "
            f"({self._store.path})"
        )

    def _recover(self) -> None:
        assert self._hold is not None
        if self._fresh:
            aside = self._store.move_aside(self.name)
            if aside:
                report.note(f"{self.name} begins anew; what was stored is kept in {aside}")
        recovery = self._store.recover(self.name)
        if recovery is not None and recovery.found:
            self._resume(self._hold, recovery)
        else:
            if recovery is not None:
                self._hold.generations.adopt(recovery)
            self.state = self._create()

    def _resume(self, hold: Hold, recovery: Recovery) -> None:
        options = self._options
        meta = recovery.checkpoint.meta if recovery.checkpoint else {}
        self._check_arguments(meta)
        self._check_mode(meta, recovery)
        replayed = replay(recovery, self.name, self._create, options.replay_log)
        hold.generations.adopt(recovery)
        self._replayed_bytes = recovery.log_bytes
        if meta.get("done") and not replayed.replayed and self._is_same_call(meta):
            self._take_result(replayed)
            self._release()
            return
        self.state, self._since = replayed.state, Since(replayed.step, _clock())
        self._since.resume(replayed.replayed, replayed.seconds, replayed.age)
        self.resumed_at = self.step
        how = f", {replayed.replayed:,} increments replayed" if replayed.replayed else ""
        report.note(
            f"{self.name} resumed at step {self.step:,} (checkpoint of step "
            f"{self.step - replayed.replayed:,}{how}, {replayed.seconds:.2f} s, {self._store.path})"
        )
        self._tell_changed_code(meta.get("code", {}))

    def _check_mode(self, meta: dict[str, Any], recovery: Recovery) -> None:
        """Refuse to replay increments in another sense than they were logged in."""
        mode = meta.get("replay_log", "unknown")
        if mode not in ("unknown", self._mode) and recovery.log_bytes:
            words = {"none": "None", "replace": "left out", "function": "a function"}
            raise UsageError(
                f"the log of {self.name!r} was written with replay_log {words[mode]}, and now it "
                f"is {words[self._mode]}: it cannot be replayed in that sense. Put replay_log "
                f"back, or start over with {self._function.__name__}.fresh(...)."
            )

    def _tell_changed_code(self, stored: dict[str, str]) -> None:
        for what, digest in self._code().items():
            if stored.get(what, digest) != digest:
                report.note(
                    f"{self.name}: the code of {what.partition(' under ')[0]} is not what it was "
                    "when the checkpoint was stored; the present code runs"
                )

    def _code(self) -> dict[str, str]:
        replay_log = self._options.replay_log if self._mode == "function" else None
        return fingerprint({self._function.__name__: self._function, "replay_log": replay_log})

    def _create(self) -> Any:
        create = self._options.create
        return call_with(create, self._arguments) if create else None

    def _prepare(self) -> None:
        """Make ready for increments; the first checkpoint of a run is stored here."""
        assert self._hold is not None
        self._encoder = Encoder()
        self._generations = self._hold.generations
        self._append = self._generations.append
        self._replay_log: Any = self._options.replay_log
        self._policy = getattr(self._options.policy, "due", self._options.policy)
        self._ahead = self._generations.position.step - self.step
        self._parts: dict[str, Encoded] = {}
        if self._mode == "function":
            with contextlib.suppress(CodecError):  # only trax.load(name) would miss it
                self._parts["replay_log"] = encode(self._replay_log, "replay_log")
        self._warned = False
        self._bar: Bar | None = None
        if self._options.progress:
            from trax.integrations.tqdm import Bar

            self._bar = Bar()
        self._proven = self.resumed_at is not None
        self._pause = -math.inf if getattr(self._options.policy, "exact", True) else _PAUSE
        self._look_at = -math.inf
        self._sampled = self.step - 1
        if not self._proven:
            self.checkpoint()
        self.thread = threading.get_ident()
        self.status = "open"
        _open_engines[self._store.run_path(self.name)] = weakref.ref(self)

    # -- the loop --------------------------------------------------------------------------

    @property
    def accept(self) -> Callable[[Any], Any]:
        """What takes one increment and returns the state that the generator goes on with.

        When it returns, the increment may be handed out: it survives the death of the process.
        """
        return self._accept_unlogged if self._mode == "none" else self._accept_logged

    def _accept_logged(self, increment: Any) -> Any:
        """Log one increment, fold it into the state, and return the new state."""
        begun = _clock()
        generations = self._generations
        if generations.suspect:
            self.checkpoint()
        try:
            encoded = self._encoder.dumps(increment, PROTOCOL)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; encode() says what
            encoded = self._encoder.encode(increment)
        if len(encoded) >= LARGE:
            encoded = self._encoder.encode(increment)
        self.state = state = self._replay_log(self.state, increment)
        look = begun >= self._look_at
        if look:
            self._sample(encoded, begun)
        try:
            generations.append(encoded)
        except DurabilityError as error:
            self._reconsider(error)
        self._since.step += 1
        if look:
            self._look(begun)
        return state

    def _accept_unlogged(self, increment: Any) -> Any:  # noqa: ARG002  # it only reports
        """Count one increment; the state is the loop's own, and the same object as ever."""
        self._prove()
        begun = _clock()
        self._since.step += 1
        if begun >= self._look_at:
            self._since.replay_seconds = begun - self._since.started
            self._look(begun)
        return self.state

    def _sample(self, encoded: bytes | Encoded, begun: float) -> None:
        """Measure what replaying increments costs, which is about what storing this one did."""
        cost = _clock() - begun
        since = self._since
        since.replay_seconds += cost * (since.step - self._sampled)
        self._sampled = since.step
        if not self._proven:
            decode(encoded, "increment")
            self._prove()

    def _look(self, now: float) -> None:
        """Do what need not be done after every one of many fast steps."""
        since = self._since
        since.now = now
        since.log_bytes = self._replayed_bytes + self._generations.log_bytes
        self._look_at = now + self._pause
        if self._policy(since):
            self._checkpoint_if_possible()
        if self._bar is not None:
            self._bar.update(self)

    def _reconsider(self, error: DurabilityError) -> None:
        """Decide about an increment that the disk did not take, or would not vouch for."""
        if self._generations.position.step - self._ahead == self.step:
            raise error  # it was not appended, and leaves no trace
        # Appended, but not known to be on the disk: a checkpoint in new files takes its place.
        self._since.step += 1
        try:
            self.checkpoint()
        finally:
            self._since.step -= 1

    def _prove(self) -> None:
        """Store and load the state once in memory: better to fail now than at a checkpoint."""
        if not self._proven:
            decode(encode(self.state, "state"), "state")
            self._proven = True

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
            "replay_log": self._mode,
            "arguments": self._described,
            "varying": self._varying,
            "code": self._code(),
        }
        try:
            self._since.checkpoint_bytes = self._generations.checkpoint(meta, parts)
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

    # -- the end ---------------------------------------------------------------------------

    def finish(self, value: Any) -> None:
        """Store that the loop has ended by itself, and what it returned."""
        try:
            self.checkpoint(value, done=True)
        except BaseException:
            self.abort()
            raise
        self.result = self.state if value is None else value
        self.close()
        self.status = "done"

    def abort(self) -> None:
        """Close after an exception: what is stored is what was handed out, and stays so."""
        if self.status == "open":
            self._why_closed = "it ended with an exception"
            self._release()

    def close(self, why: str = "it was closed") -> None:
        """Close at a yield boundary; what has been handed out is kept.

        Where increments are not logged that takes a checkpoint.
        """
        if self.status != "open" or self._hold is None:
            if self.status == "new":
                self.status = "closed"
            return
        self._why_closed = why
        if os.getpid() == self._hold.pid and self._mode == "none" and self._since.steps:
            try:
                self.checkpoint()
            except BaseException:
                self.abort()
                raise
        self._release()

    def _release(self) -> None:
        hold, self._hold = self._hold, None
        if self.status == "open":
            self.status = "closed"
            _open_engines.pop(self._store.run_path(self.name), None)
            if self._bar is not None:
                self._bar.close(self)
        try:
            if self.frame is not None:
                _frames.pop(id(self.frame), None)
                self.frame = None
                self._stop()
        finally:
            if hold is not None:
                hold.close()

    def closed_error(self) -> UsageError:
        """Return the error for going on with a run that is closed."""
        return UsageError(
            f"this call of {self.name!r} is over at step {self.step:,}: {self._why_closed}. Call "
            "the function again: it resumes from there."
        )

    def drive(self, frame: FrameType, stop: Callable[[], None]) -> None:
        """Remember the generator's frame, by which `current` finds this engine, and its end."""
        self.frame = frame
        self._stop = stop
        _frames[id(frame)] = self


def describe_where_possible(
    arguments: dict[str, Any], names: tuple[str, ...]
) -> dict[str, dict[str, str]]:
    """Describe arguments that may vary, leaving out those that cannot be taken apart."""
    described = {}
    for name in names:
        try:
            described.update(describe({name: arguments[name]} if name in arguments else {}))
        except CodecError:
            continue
    return described


_open_engines: dict[str, weakref.ref[Engine]] = {}
_frames: weakref.WeakValueDictionary[int, Engine] = weakref.WeakValueDictionary()


def _is_running(frame: FrameType) -> bool:
    found: FrameType | None = sys._getframe(1)  # noqa: SLF001  # nothing public walks the stack as cheaply
    while found is not None and found is not frame:
        found = found.f_back
    return found is not None


def current(what: str) -> Engine:
    """Return the engine of the loop that this is called from, however deep below it.

    The call stack is searched for the frame of a generator that is being driven, so that the
    loop itself pays nothing for being found.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # nothing public walks the stack as cheaply
    while frame is not None:
        engine = _frames.get(id(frame))
        if engine is not None and engine.frame is frame:
            return engine
        frame = frame.f_back
    raise UsageError(
        f"{what} was called outside of a loop that trax runs. Call it in the body of a function "
        "decorated with trax.resumable, or in what that calls in the same thread."
    )
