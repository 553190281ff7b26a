"""An open run: accepts one increment after another, and stores checkpoints when they are due.

Strategy: an increment is accepted in an order that must not change. It is pickled first, since
folding may change it. Then it is folded into the state; if that raises, it leaves no trace. Then it
is appended to the log, and only then handed to the caller.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from trax.engine.checkpointer import Checkpointer
from trax.engine.explain import note_fold, note_state
from trax.engine.items import Items, Remaining, SizedRemaining
from trax.engine.keyed_items import KeyedItems, check_has_no_keys
from trax.engine.load_proof import GLOBAL, LoadProof
from trax.engine.outer_objects import OuterObjects
from trax.engine.preflight import Preflight
from trax.engine.pulse import CHECKPOINT, SAVE, WRITTEN, Pulse
from trax.errors import CodecError, DurabilityError, StorageError, TraxError, UsageError
from trax.storage.codec import PROTOCOL, Encoded, ReusedMemory, best_dumps, decode, encode
from trax.storage.process import process
from trax.tracking.output_files import OutputFiles

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.deferral import Deferral
    from trax.engine.replay import Replayed
    from trax.engine.resume import Opened
    from trax.hooks import Hooks
    from trax.storage.held_run import HeldRun
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Session"]


class Session:
    """A run that is locked for writing, from its first step in this call to its last.

    Attributes
    ----------
    name : str
        The run's name.
    state : object
        The state, with every increment so far folded in.
    resumed_at : int or None
        The step at which this call resumed a stored run; None if it began one.
    run_id : str
        The run's identity, which is on the disk before its first step.
    is_counted : bool
        Whether `trax.steps` or `trax.remaining` was called, which is allowed once.
    unsaved : TraxError or None
        The error of the checkpoint before a stop, if it could not be stored.
    is_reentered : bool
        Whether the generator that `start` made first comes to a yield of before, and not to a new
        one.
    is_plain : bool
        Whether the loop's local variables are the state.
    """

    is_plain = False

    @property
    def is_behind(self) -> bool:
        """Whether the generator has to run stored steps again, each of which `compare` takes."""
        return False

    def __init__(
        self,
        call: Call,
        opened: Opened,
        hold: HeldRun,
        tracking: RngTracking,
        outputs: OutputFiles,
        pulse: Pulse,
        deferral: Deferral,
        hooks: Hooks,
    ) -> None:
        self.name = call.name
        self.state = opened.state
        self.resumed_at = opened.resumed_at
        self.run_id = hold.writer.run
        self.is_counted = False
        self.unsaved: TraxError | None = None
        self.is_reentered = False
        self._first_type = type(opened.state)
        self._names = call.names
        self._proof = LoadProof(call.name, call.names)
        self._mode = call.log_mode
        self._fold = self._mode.fold
        self._clock = process.monotonic
        self._hold = hold
        hold.notes_time = self._mode.is_logged
        self._writer = hold.writer
        self._tracking = tracking
        self._watched = tracking.watched
        self._outputs = outputs
        self._memory = ReusedMemory()
        self._dumps: Callable[[Any, int], bytes] = pickle.dumps
        self._items: Items | KeyedItems | None = None  # of `trax.remaining`, once it was called
        self._pulse = pulse
        self._since = pulse.since
        self._deferral = deferral
        self._hooks = hooks
        hooks.resumed_at = opened.resumed_at
        self._loaded = opened.load_seconds, self._since.checkpoint_bytes + opened.log_bytes
        self._outer_objects = OuterObjects(call)
        tracking.reduce_also(self._outer_objects.reductions)
        self._checkpointer = Checkpointer(call, self._writer, tracking, pulse, self._proof, hooks)
        from trax.engine.surroundings import Surroundings  # importing trax is faster without it

        self._surroundings = Surroundings(call, tracking)
        self._preflight = Preflight(
            call,
            self.run_id,
            tracking,
            self._checkpointer,
            self._surroundings,
            self._outer_objects,
        )
        # The step in the logs minus the run's: a run may count steps that no log has.
        self._log_offset = self._writer.position.step - self.step

    @property
    def step(self) -> int:
        """Increments since the run began."""
        return self._since.step

    @property
    def total(self) -> int | None:
        """The total number of steps, if it is known."""
        return self._pulse.total

    @property
    def loop_step(self) -> int:
        """The increments before the loop's present step; fewer if it runs stored steps again."""
        return self.step

    @property
    def shown_state(self) -> Any:
        """The state as the caller gets it."""
        return self.state

    @property
    def result(self) -> Any:
        """The result of a loop that returns none."""
        return self.state

    @property
    def checkpointed_step(self) -> int | None:
        """The step of the newest checkpoint; None if the last one failed, or is not yet stored."""
        if self._checkpointer.has_failed or self._pulse.background.job is not None:
            return None
        return self.step - self._since.steps

    @property
    def is_suspect(self) -> bool:
        """Whether the log failed in the background; `accept` then stores a checkpoint first."""
        return self._writer.suspect

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one that holds the run."""
        return os.getpid() != self._hold.pid

    @property
    def is_checking(self) -> bool:
        """Whether the next steps are checked more closely, so that `accept` may block."""
        return bool(self._preflight.checks_left)

    def begin(self, opened: Opened) -> None:
        """Store the checkpoint that a new run begins with, or one that a resumed run needs.

        The loop's body has not run yet.
        """
        opened.tell()
        if opened.stored is None:
            self.checkpoint()
        else:
            self._begin_resumed(opened.stored, replays=bool(opened.log_bytes))
        is_new = opened.stored is None
        self._preflight.begin(self.state, self._since.checkpoint_bytes, is_new=is_new)

    def _begin_resumed(self, stored: Replayed[Any], *, replays: bool) -> None:
        base = stored.recovery.checkpoint
        if base is not None:
            self._proof.trust(base.parts["state"])
        is_migrated = stored.migrated_from is not None
        has_new = self._tracking.check_resumed(self.state, replays, is_migrated)
        if is_migrated:
            decode(self._checkpointer.encode_for_proof(self.state).copied(), "state", self._names)
            # No log mixes versions, and an older checkpoint cannot replace this one.
            self.checkpoint(derived=False)
        elif has_new:
            self.checkpoint()

    def drive(self, frame: FrameType) -> None:
        """Register the frame of the generator that is driven."""
        self._preflight.frame = frame

    def start(self, start: Callable[[Any], Any]) -> Any:
        """Return the generator to drive; `start` makes it from the state."""
        return start(self.state)

    def wake(self) -> None:
        """Make `Pulse.look` due at the next step; a signal handler may call this."""
        self._pulse.wake()

    def expect(self, total: int) -> None:
        """Set the total number of steps, and show it before the first one."""
        self._pulse.total = self._hold.journal.total = total
        if not self.is_behind:
            self._pulse.show()

    def expect_items(self, source: Iterable[Any]) -> None:
        """Set the total to the number of items, if it is known."""
        with contextlib.suppress(TypeError, NotImplementedError):
            self.expect(len(source))  # type: ignore[arg-type]  # most iterables have a length

    def remaining(
        self, source: Iterable[Any], key: Callable[[Any], Any] | None = None
    ) -> Iterable[Any]:
        """Return the items of the source that are not yet done; see `trax.remaining`."""
        if self.step and self.resumed_at is None:
            raise UsageError(
                f"trax.remaining() was called after step {self.step:,} of {self.name!r}.\n"
                "Call it before the first yield: it counts an item for each increment."
            )
        if key is not None:
            return self._keyed(source, key)
        check_has_no_keys(self.name, self._tracking)
        items = Items(self.name, self._tracking)
        self._items, self._tracking.item_entries = items, items.entries
        try:
            length = len(source)  # type: ignore[arg-type]  # most iterables have a length
        except (TypeError, NotImplementedError):
            return Remaining(items, source, self.step)
        self.expect(length)
        return SizedRemaining(items, source, self.step, length)

    def _keyed(self, source: Iterable[Any], key: Callable[[Any], Any]) -> Iterable[Any]:
        items = KeyedItems(self.name, self._tracking, key, self.step)
        self._items, self._tracking.item_entries = items, items.entries
        self.expect_items(source)
        return Remaining(items, source, self.step)

    def open_output(self, path: str | os.PathLike[str], mode: str, **options: Any) -> IO[Any]:
        """Open an output file; see `trax.open`."""
        return self._outputs.open(path, mode, **options)

    # -- steps -----------------------------------------------------------------------------

    @property
    def accept(self) -> Callable[[Any], Any]:
        """The function that takes an increment and returns the state to send to the generator.

        After it returns, the increment may be handed out: it survives the death of the process.
        """
        return self._accept_logged if self._mode.is_logged else self._accept_unlogged

    def _accept_logged(self, increment: Any) -> Any:
        """Log one increment, fold it into the state, and return the new state."""
        # Python 3.11 calls what is in a local variable faster than an attribute.
        pulse, clock, fold = self._pulse, self._clock, self._fold
        begun, step = clock(), self._since.step + 1
        is_due = begun >= pulse.at or step >= pulse.at_step
        # In one piece: folding may change the memory that separate buffers refer to.
        try:
            encoded: bytes | Encoded = self._dumps(increment, PROTOCOL)
            has_names = GLOBAL in encoded
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; see `_encode`
            encoded, has_names = b"", True
        if has_names:
            encoded = self._encode(increment, encoded)
        if is_due:
            proving = self._check_increment(increment, encoded, begun)
        context = b""
        for item in self._watched:
            if item.seen != item.known:
                context += item.delta()
        if self._items is not None:
            context += self._items.step()
        try:
            state = fold(self.state, increment)
        except Exception as error:
            note_fold(error, self.state, increment, is_resumed=self.resumed_at is not None)
            raise
        for item in self._tracking.inner:
            if item.seen != item.known:
                context += self._tracking.folded()
                break
        if is_due:
            context += self._check_fold(state, begun, proving)
        append = self._writer.append  # not before: folding may open a file, which begins a log
        try:
            append(encoded, context)
        except DurabilityError as error:
            self._handle_failure(state, context, error)
        self.state = state
        self._since.step = step
        if is_due:
            self._look(begun)
        return state

    def _check_increment(self, increment: Any, encoded: bytes | Encoded, begun: float) -> float:
        """Do what is due before an increment is folded; return how long its proof took."""
        is_state = self._mode.replaces_state
        self._dumps = best_dumps(encoded, self._dumps, is_state=is_state)
        self._tracking.notice_imports()  # now and then suffices: an import takes longer than that
        if begun >= self._hold.check_at:
            self._check_place()
        return self._preflight.check_increment(increment, encoded, self.state)

    def _check_fold(self, state: Any, begun: float, proving: float) -> bytes:
        """Do what is due after an increment was folded; return what else its record stores."""
        # Replaying an increment takes about as long as storing it.
        self._pulse.sample(self._clock() - begun - proving)
        if self._preflight.checks_left:
            self._preflight.check_fold(self.state, state)
        return b""

    def _look(self, begun: float) -> None:
        """Do what is due after a step."""
        due = self._pulse.look(begun)
        if due or self._preflight.checks_left:
            self._do(due)
        if begun >= self._surroundings.due:
            self._surroundings.check(None, self._variables)

    @property
    def _variables(self) -> Any:
        """What is stored of the loop: its state, or its variables."""
        return self.state

    def _encode(self, increment: Any, plain: bytes | Encoded) -> bytes | Encoded:
        """Encode an increment with objects of classes; `plain` is its plain pickle, if any.

        Buffers beside a pickle are copied, since folding may change them before they are written.
        """
        encoded = plain
        if self._mode.replaces_state:  # it is not folded, and its identities are the state's
            encoded = self._tracking.encode_state(increment)
        elif not plain or (not self.is_plain and self._outer_objects.may_be_in(plain)):
            shared = self._outer_objects.reductions
            encoded = self._memory.copy(encode(increment, "increment", self._names, shared))
        self._proof.prove(increment, encoded, "increment", self._since.step + 1)
        return encoded

    def _accept_unlogged(self, increment: Any) -> Any:  # noqa: ARG002  # it is not stored
        """Count one increment; the loop changes the state itself, in the same object."""
        pulse, since, clock = self._pulse, self._since, self._clock
        begun, step = clock(), since.step + 1
        is_due = begun >= pulse.at or step >= pulse.at_step
        if is_due and self._preflight.checks_left:
            self._preflight.check_state(self.state)
        if self._items is not None:
            self._items.step()
        since.step = step
        if is_due:
            since.replay_seconds = begun - since.started
            if begun >= self._hold.check_at:
                self._check_place()
            self._look(begun)
        return self.state

    def _check_place(self) -> None:
        """Refuse to continue if the run's files or its output files are no longer in place."""
        self._hold.check_place(self.step)
        self._outputs.check_place()

    def _do(self, due: str) -> None:
        """Do what is due, now or deferred, and check the first steps."""
        if due == WRITTEN:
            self._checkpointer.wait_if_possible()
        if due == SAVE:
            self._deferral.do(self.save)
        elif due == CHECKPOINT or (self._preflight.checks_left and self._tracking.newborn):
            self._deferral.do(self._checkpoint_if_possible)
        if self._preflight.checks_left:
            self._pulse.wake()
            self._preflight.check_step(self.state)
        self._pulse.end_due()
        self._hooks.tell()

    def _handle_failure(self, state: Any, context: bytes, error: DurabilityError) -> None:
        """Refuse an increment that was not logged, or replace a log that is suspect."""
        appended = self._writer.position.step - self._log_offset - self.step
        if not appended and not self._writer.suspect:
            self._tracking.undo(context)
            raise error  # it leaves no trace
        # The log cannot be trusted: a checkpoint in new files replaces it, with the increment.
        before, self.state = self.state, state
        self._log_offset += appended - 1
        self._since.step += 1
        try:
            self.checkpoint()
        except BaseException:
            self.state = before
            raise
        finally:
            self._since.step -= 1

    def settle(self) -> None:
        """Do the work that `accept` has deferred: force the log, store the checkpoint that is due.

        Raises
        ------
        CodecError, DurabilityError
            The increment must not be handed out.
        """
        due = self._deferral.take()
        try:
            if self._deferral.forces:
                self._writer.force()
        except DurabilityError:
            self.checkpoint()  # in new files: it replaces the log that could not be forced
        else:
            if self._writer.suspect:
                self.checkpoint()
            elif due:
                due()

    def compare(self, increment: Any) -> None:  # noqa: ARG002  # see `PlainSession`
        """Compare the increment of a step that was run again with the stored one."""
        raise AssertionError("only plain loops run steps again")

    def ended_early(self) -> TraxError:
        """Return the error for a loop that ended before it had run all stored steps again."""
        raise AssertionError("only plain loops run steps again")

    def reentering(self) -> AbstractContextManager[None]:
        """Return the block in which the generator comes to its yield of before."""
        raise AssertionError("only plain loops come to a yield of before")

    def end_catch_up(self) -> None:
        """Go on with new steps: the stored ones have been run again."""
        self._pulse.show()

    # -- checkpoints -----------------------------------------------------------------------

    def checkpoint(self, *, result: Any = None, done: bool = False, derived: bool = True) -> None:
        """Store the state as it is now; see `Checkpointer.store`."""
        self._checkpointer.store(self._stored_state, result=result, done=done, derived=derived)
        self._mark_checkpoint()

    def _checkpoint_if_possible(self) -> None:
        self._checkpointer.store_if_possible(self._stored_state)
        if not self._checkpointer.has_failed:
            self._mark_checkpoint()
        self._preflight.check_again(self.state, self._since.checkpoint_bytes)

    def _mark_checkpoint(self) -> None:
        """Note that a checkpoint was stored, or is being written."""
        self._outputs.mark_checkpoint()

    def _stored_state(self) -> Any:
        """Return the state as a checkpoint stores it."""
        return self.state

    @property
    def _cuts_outputs(self) -> bool:
        """Whether output files are cut back, when they are closed, to the last stored step."""
        # A failed checkpoint may be on the disk all the same, and refer to more output than the
        # previous one. The next call cuts off the rest.
        return not self._checkpointer.has_failed

    @property
    def _has_uncheckpointed(self) -> bool:
        return bool(self._since.steps) or self._checkpointer.has_failed

    def save(self) -> None:
        """Store a checkpoint before the loop stops, unless the newest one is of this step.

        A failure does not prevent the stop; it is stored in `unsaved`.
        """
        self._pulse.end_request()
        if self._surroundings.due < math.inf:  # the last chance to tell
            self._surroundings.check(None, self._variables)
        self._checkpointer.wait_silently()
        if self._has_uncheckpointed or self._writer.suspect:
            self.unsaved = None
            try:
                self.checkpoint()
            except (CodecError, StorageError) as error:
                self.unsaved = error

    def keep(self) -> None:
        """Store a checkpoint at a yield, if no log has the state; closing begins with this."""
        if self.is_forked:
            return
        is_lost = not self._mode.is_logged and self._has_uncheckpointed
        if is_lost or self._writer.suspect:
            self.checkpoint()

    # -- hooks -----------------------------------------------------------------------------

    def note_resume(self) -> None:
        """Have the hooks told that a stored run resumes, before its loop goes on."""
        if self.resumed_at is not None:
            self._hooks.note("resume", self.step, *self._loaded, loop_step=self.loop_step)

    def note_stop(self, reason: str) -> None:
        """Have the hooks told that the run was released, and why."""
        if not self.is_forked:
            seconds, size = self._clock() - self._since.begun, self._since.checkpoint_bytes
            self._hooks.note("stop", self.step, seconds, size, reason=reason)

    # -- the end ---------------------------------------------------------------------------

    def explain(self, error: BaseException) -> None:
        """Add a note to an exception of the loop, if the state explains it."""
        note_state(error, self.state, self._first_type, is_resumed=self.resumed_at is not None)

    def leave(self) -> None:
        """Leave the loop where it is, and the progress bar at its last step."""
        self._pulse.close()

    def end_as(self, state: str, **facts: Any) -> None:
        """Take down for the journal how the loop has ended in this process."""
        self._hold.ending = {"state": state, **facts}

    def close(self) -> None:
        """Close the files and release the lock; in a fork of the process, leave them alone."""
        self._preflight.end()
        self._writer.on_suspect = lambda: None
        try:
            self._checkpointer.end()
            self._tracking.end()
            if not self.is_forked:
                self._outputs.end(self._tracking.last if self._cuts_outputs else None)
        finally:
            try:
                self._hold.close(self.step)
            finally:
                self._outputs.close()
