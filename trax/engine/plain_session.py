"""An open run of a plain loop, whose frame is the state.

Strategy: an increment is logged as in any run. The frame of the loop goes into the record of a step
whenever that costs at most 1 % of the time since the last one; a large one only into checkpoints.
A resumed loop begins at the yield of the newest frame and runs the few steps after it again. Each
increment is compared with the one in the log, and neither logged nor handed out a second time.
"""

from __future__ import annotations

import contextlib
import gc
import math
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.comparing import difference
from trax.engine.frame_proofs import FrameProofs, name_variable
from trax.engine.frozen_values import CACHED
from trax.engine.load_proof import GLOBAL
from trax.engine.pulse import CHECKPOINT
from trax.engine.session import Session
from trax.engine.stored_loop import StoredLoop, load_frame, load_locals, show_locals
from trax.errors import CodecError, DivergedError, UsageError
from trax.frames.iterables import Iterables, RunRngs
from trax.frames.iterators import reductions
from trax.frames.loading import Loading, loading, loading_into
from trax.frames.locals import Locals
from trax.frames.loop import PlainLoop
from trax.frames.packed import pack
from trax.frames.state import LoopState
from trax.storage.codec import PROTOCOL, Encoded, decode
from trax.storage.context import EDITION, FRAME, encode_context
from trax.storage.outside import Outside
from trax.storage.process import process
from trax.storage.records import PICKLE
from trax.tracking.shared_rngs import at_hand

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.resume import Opened

__all__ = ["PlainSession"]

_SHARE = 0.01  # of the time, for frames
_LARGE = 1 << 20  # bytes; larger frames are stored in checkpoints only
_MOST = 64_000_000  # bytes of frames between two checkpoints, or twice the checkpoint
_SETTLED = 3  # frames: the first two are taken at once, this one when it is due
_AGAIN = 1.0  # seconds, until a frame is tried again that could not be stored

_EDITED = "If code that it calls was changed"
_LATER = "In later runs leave that out, or hand it in as an argument."
_USED_UP = (
    "If it has used up what it needs, such as a file, give that back. Let steps use it up after "
    "their yield, and give every_steps=1."
)
_VARYING = (
    "the time, uuid4(), id(), hash() of a text, the order of a set, a file, a cache, "
    "or an RNG without a seed"
)


class PlainSession(Session):
    """A run of a plain loop that is locked for writing; for the rest see `Session`."""

    is_plain = True

    def __init__(self, call: Call, opened: Opened, *others: Any) -> None:
        super().__init__(call, opened, *others)
        stored = opened.stored.state if opened.stored else StoredLoop(None, 0, {})
        self._rngs = RunRngs(self._tracking)
        self._loop = PlainLoop(call, Iterables(self._rngs), self._encode_state)
        self._stored: StoredLoop = stored
        self._outer_rngs = call.outer_rngs or ()
        self._behind = deque(stored.behind)
        self._recovery = opened.stored.recovery if opened.stored else None
        self._varied = opened.varied
        self._tell = opened.tell
        self._generator: Any = None
        self._loading = Loading(enters=True, rngs=self._rngs)
        self._entering: LoopState | None = None
        self._left: Locals | None = None  # its variables, if it was left at a yield
        self._is_done = False
        self._last: Any = None  # the newest increment
        self._edit = ""  # the first line of the function that was changed since
        self._edition = self._loop.edition.encode()
        self._frame_at = -math.inf  # the time from which on a frame is due
        self._frames = 0
        self._frame_step = 0  # the step of the newest
        self._frame_bytes = 0  # since the last checkpoint
        self._frame_time = process.monotonic()
        self._has_warned = False
        self._has_sought_clock = False
        self._proofs = FrameProofs(call, self.run_id, self._copy, self._surroundings)
        self._preflight.checks_left = 0
        self._fold = self._remember
        self._outputs.diverged = self._output_diverged
        self._tracking.reduce_also(self._outputs.reductions(reductions()))
        self.state = None  # what is sent to the generator

    def begin(self, opened: Opened) -> None:
        """Store the checkpoint that a new run begins with; see `Session.begin`."""
        if opened.stored is None:
            self._tracking.recovered[EDITION] = self._edition
            self.checkpoint()
            self._surroundings.begin()

    # -- the loop --------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether the loop still has to run steps again that are logged."""
        return bool(self._behind)

    @property
    def loop_step(self) -> int:
        """The increments before the loop's present step."""
        return self.step - len(self._behind)

    def start(self, start: Callable[[Any], Any]) -> Any:  # noqa: ARG002  # a declared state needs it
        """Return the loop's generator, at its beginning or where the newest frame has it.

        If `is_reentered`, it comes to that frame's yield first.
        """
        with (
            self._outputs.loading(),
            at_hand(self._outer_rngs),
            self._outer_objects.at_hand(),
            loading_into(rngs=self._rngs) as self._loading,
        ):
            state = load_frame(self._stored, self._names, self._loop.outside)
        if self._stored.last is not None:
            self._last = self._decode(self._stored.last, self.step)
        elif state is not None:
            self._last = state.increment
        self.is_reentered = state is not None
        if state is None:
            self._tell()
            self._generator = self._loop.begin()
        else:
            edition = self._stored.edition
            state = self._loop.moved(state, edition)
            self._entering = state = self._loop.following(state, self._varied)
            if edition is not None:
                self._edit = edition.first_change(self._loop.edition)
            self._tell()
            self._generator = self._loop.resume(state, self._loading)
            self._loop.tell_resumed(state)
            self._forget_stored()
        return self._generator

    def _forget_stored(self) -> None:
        """Forget the stored frame, since the loop may replace the arrays whose memory it is."""
        self._stored.encoded = None
        if self._recovery is not None and self._recovery.checkpoint is not None:
            self._recovery.checkpoint.parts.pop("state", None)

    @contextlib.contextmanager
    def _copy(self, encoded: Encoded) -> Iterator[LoopState]:
        """Load a state into a copy for the length of a block, in which nothing of it is used."""
        with (
            self._tracking.kept({}),
            self._outputs.loading(opens=False),
            loading(enters=False, rngs=self._rngs) as present,
            contextlib.ExitStack() as files,
        ):
            stored = decode(encoded.copied(), "frame", self._names.for_copy(), self._loop.outside)
            for file in present.files:
                files.callback(file.close)
            yield LoopState(*stored)

    @contextlib.contextmanager
    def reentering(self) -> Iterator[None]:
        """Let the generators inside of the loop's enter their blocks, after its own has.

        RNGs and stored objects stay as they were at that yield, although what is made again may
        draw from them, or write into them.
        """
        state, self._entering = self._entering, None
        assert state is not None
        with self._tracking.kept(state.variables) as drawn:
            yield
            self._loop.enter(self._generator, state, self._loading)
        self._loop.put_back(state)
        if drawn and state.remade:
            self._loop.tell_drawn(state, drawn)

    def compare(self, increment: Any) -> None:
        """Compare the increment of a step that was run again with the one in the log.

        Raises
        ------
        DivergedError
            It is another one.
        """
        encoded = self._behind[0]
        if not _has_pickle(increment, encoded):
            step = self.loop_step + 1
            stored = self._decode(encoded, step)
            found = difference(stored, increment, "increment", sides=("stored", "now"))
            if found:
                raise self._diverged(step, found, stored, increment)
        for item in self._watched:
            if item.seen != item.known:
                item.delta()  # what the step has written is compared
        self._behind.popleft()

    def ended_early(self) -> DivergedError:
        """Return the error for a loop that has ended before the logged steps were run again."""
        step = self.loop_step + 1
        stored = self._decode(self._behind[0], step)
        return self._diverged(step, "the loop has ended there", stored, None)

    def _output_diverged(self, found: str) -> DivergedError:
        return self._diverged(self.loop_step + 1, found, None, None)

    def _diverged(self, step: int, found: str, stored: Any, present: Any) -> DivergedError:
        error = DivergedError(
            f"{self.name!r} went another way when step {step:,} was run again: {found}\n"
            "Nothing stored was changed.\n"
            "The steps after the newest stored variables are run again, and must do the same.\n"
            f"{self._ways_on()}",
            step,
            stored,
            present,
        )
        self._outputs.refuse(error)
        return error

    def _ways_on(self) -> str:
        edited = f"The code was changed ({self._edit})" if self._edit else _EDITED
        lines = [f"{edited}: put it back for these steps."]
        if self._varied:
            names = " and ".join(self._varied)
            first = f"call it with that until it is past step {self.step:,}, and stop it there"
            lines = [f"They were made with another value of {names}: {first}."]
        if self._recovery is not None and self._stored.step:
            lines.append(self._recovery.way_back(self._stored.step))
        lines.append("Or start over with fresh(...).")
        if line := self._loop.clock_line:  # no other way helps for long
            lines.insert(0, f"Line {line} yields the time, or what is unique. {_LATER}")
        elif not (self._edit or self._varied):
            lines.append(f"A step may depend on {_VARYING}. {_LATER}")
        return "\n".join(lines)

    def _decode(self, encoded: Encoded, step: int) -> Any:
        label = f"the increment of step {step:,} of {self.name!r}"
        return decode(encoded, label, self._names.for_copy())

    def end_catch_up(self) -> None:
        """Compare RNGs and output files with their stored positions, and go on from there."""
        super().end_catch_up()
        if self._recovery is None:
            return
        step, recovered = self.step, self._recovery.context
        if other := self._tracking.end_catch_up(recovered):
            raise self._diverged(step, f"{other} has drawn other numbers", None, None)
        if path := self._outputs.end_catch_up():
            raise self._diverged(step, f"less was written to {path}", None, None)
        if recovered.get(EDITION) != self._edition or self._stored.migrate is not None:
            # Later frames refer to the yields of the present text.
            self._tracking.recovered[EDITION] = self._edition
            self.checkpoint(derived=self._stored.migrate is None)
        self._pulse.end_due()

    def explain(self, error: BaseException) -> None:
        """Say of an exception that its step was done before; see `Session.explain`."""
        super().explain(error)
        if self.is_reentered and self.loop_step == self._stored.step:
            for text in self._loop.unused:
                error.add_note(f"trax: {text}")
        if self._behind:
            advice = f"It runs the changed code ({self._edit})." if self._edit else _USED_UP
            error.add_note(
                f"trax: step {self.loop_step + 1:,} was done before the crash and is run again, "
                f"since the newest stored variables are those of step {self._stored.step:,}.\n"
                f"{advice}"
            )

    # -- steps -----------------------------------------------------------------------------

    def _remember(self, state: None, increment: Any) -> None:  # noqa: ARG002  # it has no state
        """Take an increment as the newest one, instead of folding it."""
        self._last = increment

    def _check_fold(self, state: Any, begun: float, proving: float) -> bytes:
        super()._check_fold(state, begun, proving)
        if begun >= self._frame_at:
            return self._take_frame(begun)
        if not self._has_sought_clock:  # after a crash this step is run again
            self._tell_clock()
        return b""

    def _look(self, begun: float) -> None:
        pulse = self._pulse
        self._since.replay_seconds = begun - self._frame_time
        due = pulse.look(begun)
        if self._frame_bytes > self._most_bytes and pulse.background.job is None:
            due = due or CHECKPOINT
        pulse.at = min(pulse.at, self._frame_at)
        if due:
            self._do(due)
        if begun >= self._surroundings.due:
            self._surroundings.check(None, self._variables)

    @property
    def _variables(self) -> Any:
        return self._caches | self._loop.take(self._generator).variables

    @property
    def _caches(self) -> dict[str, Any]:
        """The functions with a cache in variables, also those that cannot be stored."""
        found = (one for one in gc.get_referents(self._generator) if type(one) is CACHED)
        return {getattr(one, "__name__", "cache"): one for one in found}

    def _take_frame(self, begun: float) -> bytes:
        """Return the loop's frame as a context; nothing if it is large, or cannot be stored now."""
        try:
            encoded = self._loop.encode(self._generator)
        except CodecError as error:
            if not (self._frames or self.is_reentered):  # of the run: nothing was stored
                raise
            if not self._has_warned:
                cause = str(error).partition("\n")[0]
                notices.warn(f"{self.name} continues without storing its variables: {cause}")
            self._has_warned = True
            self._frame_at = begun + _AGAIN
            return b""
        if not self._frames and self.total is None:
            left = self._loop.steps_left(self._generator)
            if left is not None:
                self.expect(self.step + 1 + left)
        spent = self._clock() - begun  # without the proofs, which only the first frames have
        self._frames += 1
        is_apart, self._frame_step = self.step > self._frame_step + 1, self.step
        if self._proofs.checks_left:
            self._prove(encoded)
        self._since.is_logged = encoded.nbytes <= _LARGE
        if not self._since.is_logged:
            self._frame_at = math.inf  # until a checkpoint shows another size
            self._tell_clock()
            return b""
        if self._frames >= _SETTLED and is_apart and not self._has_sought_clock:
            self._tell_clock()
        context = encode_context([(FRAME, pack(encoded))])
        self._frame_bytes += len(context)
        now = self._frame_time = self._clock()
        if self._frames > 1:  # the first takes longer
            self._frame_at = now + spent / _SHARE
        return context

    def _prove(self, encoded: Encoded) -> None:
        live = self._loop.take(self._generator)
        try:
            self._proofs.check(encoded, live, self._caches)
        except CodecError as error:
            found = self._proof.refusal(live.variables, error, "variables", self._since.step + 1)
            raise CodecError(name_variable(str(found))) from error.__cause__

    def _tell_clock(self) -> None:
        """Say of an increment that comes from a clock that its step may be run again."""
        self._has_sought_clock = True
        said, line = (self.run_id, "clock"), self._loop.clock_line
        if line and said not in process.said:
            process.said.add(said)
            notices.warn(
                f"{self.name}: line {line} yields the time, or what is unique; after a crash a few "
                "steps are run again, and must yield the same. Leave it out, or give every_steps=1"
            )

    @property
    def _most_bytes(self) -> int:
        return max(_MOST, 2 * self._since.checkpoint_bytes)

    def _encode_state(
        self, state: Any, *, outside: Outside, also: Callable[[], Mapping[type, Any]]
    ) -> Encoded:
        """Pickle a state; plain data without the names of classes in the quickest way."""
        if outside.is_empty:
            try:
                payload = pickle.dumps(state, PROTOCOL)
            except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
                payload = b"\x93"
            if GLOBAL not in payload:
                return Encoded(PICKLE, payload, [])
        try:
            return self._tracking.encode_state(state, outside=outside, also=also())
        except CodecError as error:
            raise CodecError(name_variable(str(error))) from error.__cause__

    # -- checkpoints -----------------------------------------------------------------------

    def checkpoint(self, *, result: Any = None, done: bool = False, derived: bool = True) -> None:
        """Store the frame as it is now; see `Session.checkpoint`.

        The result is in the last frame: it may be one of the arguments, or share objects with them.
        """
        if result is not None:
            self._last = result
        self._is_done = done
        super().checkpoint(done=done, derived=derived)

    def _mark_checkpoint(self) -> None:
        super()._mark_checkpoint()
        self._frame_bytes = 0
        self._frame_time = self._clock()
        self._since.is_logged = self._since.checkpoint_bytes <= _LARGE
        self._frame_at = self._frame_time if self._since.is_logged else math.inf

    @property
    def _cuts_outputs(self) -> bool:
        return super()._cuts_outputs and not self._behind

    def _stored_state(self) -> Encoded | None:
        if self._generator is None:
            return self._stored.encoded
        return self._loop.encode(self._generator, self._last)

    @property
    def result(self) -> Any:
        """The result of a loop that returns none: its last increment."""
        return self._last

    @property
    def shown_state(self) -> Locals:
        """The loop's variables, for the caller."""
        if self._left is not None:
            return self._left
        if self._generator is None:
            return load_locals(self._stored, self._names)
        state = self._loop.take(self._generator, increment=self._last)
        return show_locals(state, self.loop_step, is_done=self._is_done)

    def leave(self) -> None:
        """Keep the variables of a loop that is left at a yield; see `Session.leave`."""
        super().leave()
        with contextlib.suppress(CodecError, UsageError):  # it is in the middle of a step
            self._left = self.shown_state

    def save(self) -> None:
        """Store a checkpoint before the loop stops; see `Session.save`."""
        if self._generator is None or self._behind:
            self._pulse.end_request()  # the log has everything
        else:
            super().save()

    def keep(self) -> None:
        """Store a checkpoint if the log has failed; see `Session.keep`.

        A loop that is behind has not come to the step of the run, and the log has everything.
        """
        if not self._behind:
            super().keep()


def _has_pickle(increment: Any, encoded: Encoded) -> bool:
    """Return whether an increment has the pickle of a stored one; to compare them takes longer."""
    try:
        return bool(pickle.dumps(increment, PROTOCOL) == encoded.payload) and not encoded.buffers
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return False
