"""The life of one call's run: new, then open, then closed or done.

Strategy: a `Lifecycle` and its `Session` never drive the generator. A driver opens the `Lifecycle`,
passes every increment that the generator yields to `Session.accept`, and reports how the loop
ended. So the same engine serves ordinary and async loops. A `Deferral` decides when blocking work
is done.

A signal or the time limit gives `Lifecycle.stop_request` a reason. The driver checks it before each
step, and then calls `Lifecycle.stop`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from trax import notices
from trax.engine.endings import outcome, source_of
from trax.engine.opening import open_session
from trax.engine.registry import (
    TAKEN_OVER,
    Active,
    abandoned,
    innermost,
    is_inside,
    resuming_around,
)
from trax.engine.replicas import copying_of, lacks_steps
from trax.engine.resume import (
    Opened,
    check_stored,
    is_superseded,
    load_finished,
    new_tracking,
    open_held,
)
from trax.engine.session import Session
from trax.engine.undriven import Undriven
from trax.errors import (
    ArgumentsChangedError,
    CodecError,
    LockedError,
    Preempted,
    StorageError,
    TraxError,
    UsageError,
)
from trax.hooks import Hooks
from trax.interrupts.stop_request import StopRequest
from trax.storage.lock import Patience
from trax.storage.process import process
from trax.storage.store import Store

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.deferral import Deferral
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Lifecycle"]


class Lifecycle:
    """Opens, stops and finishes the run of one call.

    Parameters
    ----------
    call : Call
        The call.
    deferral : AtOnce or Deferred
        Decides when blocking work is done.
    fresh : bool
        Whether to move the stored run aside and start over.
    keeps_first_state : bool
        Whether a stored run without a step resumes from its first state, instead of beginning anew.

    Attributes
    ----------
    name : str
        The run's name.
    status : {"new", "open", "closed", "done"}
        The stage of the run in this call.
    store : Store
        The store of the run.
    result : object
        The loop's return value or, if that is None, the final state; None until the run is done.
    stop_request : StopRequest
        Whether the loop is to stop before its next step.
    is_iterated : bool
        Whether somebody may use the increments, and not the result alone. The driver sets it.
    is_running, is_elsewhere : callable
        Return whether a step is running, and whether another task of this thread continues the
        loop. The driver sets them.
    """

    def __init__(
        self,
        call: Call,
        deferral: Deferral,
        *,
        fresh: bool = False,
        keeps_first_state: bool = False,
    ) -> None:
        self.name = call.name
        self.status = "new"
        self.result: Any = None
        self.is_running: Callable[[], bool] = lambda: False
        self.is_elsewhere: Callable[[], bool] = lambda: False
        self._call = call
        self._deferral = deferral
        self._fresh = fresh
        self._keeps_first_state = keeps_first_state
        self.store = Store(call.options.traxdir)
        self._key = self.store.run_path(self.name)
        self._opened: Opened | None = None  # the end of a run that was done before
        self._session: Session | None = None
        self._active: Active | None = None
        self._thread = 0
        self._undriven = Undriven(self.name, "run", is_async=deferral.is_deferred)
        self._why_closed = "it was closed"
        self.is_iterated = True
        self._within: set[str] = set()  # runs whose steps are done again and wait for this one
        options = call.options
        self._hooks = Hooks(
            self.name,
            {
                "resume": options.on_resume,
                "checkpoint": options.on_checkpoint,
                "stop": options.on_stop,
            },
        )
        self._reason = "closed"  # why it stops, for the hooks
        self.stop_request = request = StopRequest(
            self.name, options.signals, options.time_limit, ctrl_c=not deferral.is_deferred
        )
        self._patience = Patience(self.name, options.wait, lambda: bool(request.reason))
        call.described  # noqa: B018  # an argument that cannot be compared is an error now

    @property
    def state(self) -> Any:
        """The state; None before the run is open."""
        if self._session is not None:
            return self._session.shown_state
        return self._opened.state if self._opened is not None else None

    @property
    def step(self) -> int:
        """Increments since the run began."""
        if self._session is not None:
            return self._session.step
        return (self.resumed_at or 0) if self._opened is not None else 0

    @property
    def total(self) -> int | None:
        """The total number of steps, if it is known."""
        return self._session.total if self._session is not None else self._call.total

    @property
    def resumed_at(self) -> int | None:
        """The step at which this call resumed a stored run; None if it began one."""
        if self._session is not None:
            return self._session.resumed_at
        return self._opened.resumed_at if self._opened is not None else None

    @property
    def checkpointed_step(self) -> int | None:
        """The step of the newest checkpoint; None if the last one failed."""
        return self._session.checkpointed_step if self._session is not None else self.step

    @property
    def session(self) -> Session:
        """The open run."""
        assert self._session is not None
        return self._session

    def lend(self) -> Call:
        """Return the call to somebody who makes runs of it, so that this one need not be driven."""
        self._undriven.use()
        return self._call

    # -- opening ---------------------------------------------------------------------------

    def open(self) -> None:
        """Lock the run and recover its state, or create it; or find that the run is done.

        Raises
        ------
        Preempted
            The program is ending; a pool may still have thousands of runs to begin.
        """
        left = self.claim()
        if self.stop_request.reason:
            self.stop_request.end_watch()
            self.stop_request.end_program(0)
        if left is not None:
            left.close(TAKEN_OVER)
        while pause := self.bring_back():
            time.sleep(pause)

    def claim(self) -> Active | None:
        """Start to open the run, in the thread that will drive the loop.

        Returns
        -------
        Active or None
            A loop of this run that this thread has left open; close it before `bring_back`.
        """
        self._thread = threading.get_ident()
        if self._call.outer_rngs is not None:
            self._call.outer_rngs.follows_defaults = process.is_main()
        if self._deferral.is_deferred:
            self._hooks.thread = self._thread
        self._undriven.use()
        if is_inside(self._key):
            self.stop_request.end_watch()
            raise self._inner_error()
        self._within = set() if self.is_iterated else resuming_around()
        return abandoned(self._key)

    def tell_rest(self) -> None:
        """Warn if a step of another run gets only what is left of this one, which is open.

        After a crash that step runs again from its beginning, but this run hands out no increment
        twice.
        """
        outer = innermost() if self.is_iterated and self.resumed_at else None
        if outer is not None:
            notices.warn(
                f"{self.name} hands out only what comes after its step {self.resumed_at:,}, to a "
                f"step of {outer.name} that may need all: use its result() there"
            )

    def watch(self) -> None:
        """Start to watch for signals, or watch again after other code has replaced the handlers.

        The driver calls this in the thread of the loop: before the run is opened, and whenever
        another part of the caller's code starts to ask for increments. For a run that is done
        it does nothing.
        """
        if self.status != "done":
            self.stop_request.watch(self._wake, self.is_running, restarts=self.status == "new")

    def _wake(self) -> None:
        if self._session is not None:
            self._session.wake()

    def bring_back(self) -> float:
        """Open the run; this reads and writes, and can be called in any thread.

        Returns
        -------
        float
            The seconds after which to try again, since it is held elsewhere; 0 if it is open.

        Raises
        ------
        Preempted
            It is held elsewhere, and was asked to stop meanwhile.
        """
        self.stop_request.begin(process.monotonic())
        pause = 0.0
        try:
            skips = self._fresh or lacks_steps(self.store, self.name, self._call.options.replica)
            finished = None if skips else load_finished(self._call, self.store)
            if finished is None:
                self._hold()
            else:
                self._track(finished, finished.run_id)
                self._set_result(finished)
        except LockedError as error:
            pause = self._pause(error)
        finally:
            if self.status != "open" and not pause:
                self.stop_request.end_watch()
        return pause

    def _pause(self, error: LockedError) -> float:
        try:
            return self._patience.pause(error)
        except LockedError:
            if self.stop_request.reason and not self.stop_request.is_pending:
                raise Preempted(self.name, 0, self.stop_request.reason) from None
            raise  # a signal that has come ends the program later

    def _hold(self) -> None:
        options = self._call.options
        copying = copying_of(
            self.store,
            self.name,
            options.replica,
            seconds=options.replica_seconds,
            sync=options.sync,
        )
        if copying is not None:
            copying.is_stopping = lambda: bool(self.stop_request.reason)
            if not self._fresh:
                copying.admit = partial(check_stored, self._call, self.store)
        hold = self.store.hold(
            self.name,
            sync=options.disk_sync,
            keep=options.keep,
            report=notices.warn,
            fresh=self._fresh,
            is_superseded=lambda: is_superseded(self._call, self.store),
            deferred=self._deferral.is_deferred,
            thread=self._thread,
            copying=copying,
        )
        try:
            opened = open_held(
                self._call,
                self.store,
                hold,
                fresh=self._fresh,
                keeps_first_state=self._keeps_first_state,
            )
            tracking = self._track(opened, hold.writer.run)
            if opened.done:
                hold.copy(opened.resumed_at or 0)
                hold.close()
                self._set_result(opened)
                return
            path, stop_request = self.store.path, self.stop_request
            session = open_session(
                self._call, opened, hold, path, tracking, stop_request, self._deferral, self._hooks
            )
        except BaseException:
            hold.close()
            raise
        try:
            session.begin(opened)
            resumed = opened.stored is not None
            hold.begin(session.step, resumed=resumed, **source_of(self._call.function))
            stop_request.begin_step(process.monotonic())
        except BaseException:
            session.close()
            raise
        self._session = session
        self._active = Active(self._key, session, self._thread, self._is_continued, self.close)
        self.status = "open"

    def _track(self, opened: Opened, run_id: str) -> RngTracking:
        """Set the RNGs to their stored positions, and track them from then on."""
        tracking = new_tracking(self._call, opened)
        tracking.begin(run_id, done=opened.done, within=self._within)
        return tracking

    def _set_result(self, opened: Opened) -> None:
        self._opened = opened
        self.result = opened.result
        self.status = "done"
        opened.tell()

    def _is_continued(self) -> bool:
        return self.is_running() or self.is_elsewhere()

    def drive(
        self,
        frame: FrameType,
        stop: Callable[[], None],
        take_over: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """Register the generator that is driven; `stop` closes it.

        An async run needs an event loop for that: `take_over` closes it, and takes the reason.
        """
        assert self._active is not None
        self._active.drive(frame, stop, take_over)
        self.session.drive(frame)
        self.session.note_resume()
        self.tell()

    def tell(self, error: BaseException | None = None) -> None:
        """Call the hooks for what has happened, if this is the loop's thread.

        An `error` that is being raised is not replaced by that of a hook.
        """
        self._hooks.tell(error)

    # -- stopping --------------------------------------------------------------------------

    def save(self) -> None:
        """Store a checkpoint before the loop stops."""
        self.session.save()

    def save_soon(self) -> None:
        """Ask for a checkpoint at the next yield, if increments are not logged."""
        if not self._call.log_mode.is_logged:
            self.stop_request.asked = True
            self._wake()

    def stop(self) -> NoReturn:
        """Save, close, and raise the exception that ends the program.

        The driver calls it at a yield, in the thread that drives the loop, when `stop_request` has
        a reason. If that thread must not wait for the disk, call `save` and `release_stopped` in
        another thread, and then `leave` in this one.

        Raises
        ------
        Preempted
            Unless the signal's earlier handler raises something else.
        KeyboardInterrupt
            After Ctrl-C.
        """
        if self.status != "open":
            raise self.closed_error()
        self.save()
        self.release_stopped()
        self.leave()

    def leave(self) -> NoReturn:
        """Raise the exception that ends the program, after the run was released."""
        self.stop_request.end_watch()
        self.tell(SystemExit())
        is_logged = self._call.log_mode.is_logged
        self.stop_request.report(self.step, self.session.unsaved, is_logged=is_logged)
        self.stop_request.end_program(self.step)

    def release_stopped(self) -> None:
        """Release a run that was saved in order to stop."""
        self._why_closed = f"{self.stop_request.reason} stopped it"
        self._end_as("stopped", reason=self.stop_request.reason)
        self._release()

    # -- the end ---------------------------------------------------------------------------

    def finish(self, value: Any) -> None:
        """Store the last checkpoint, with the loop's return value: the loop has ended by itself."""
        try:
            self.session.checkpoint(result=value, done=True)
        except BaseException as error:
            if isinstance(error, CodecError) and self._call.log_mode.is_logged:
                error.add_note("trax: all steps are stored: corrected code resumes at the end")
            self.abort(error)
            raise
        self.result = self.session.result if value is None else value
        self._end_as("done")
        self._release()
        self.status = "done"
        self.tell()

    def abort(self, error: BaseException) -> None:
        """Close after an exception; every increment that was handed out is stored."""
        if self.status == "open":
            if isinstance(error, TraxError):
                error.add_note(f"trax: in the run {self.name!r}, after step {self.step:,}")
            else:
                self.session.explain(error)
            self._why_closed = "it ended with an exception"
            ends = self.stop_request.ends_program(error)
            signal = self.stop_request.reason if ends else ""
            self._end_as(**outcome(error, signal, is_refused=self._is_refusal(error)))
            traceback = error.__traceback__
            try:
                self._release()
            except (StorageError, LockedError) as failure:
                if failure is error:
                    error.__traceback__ = traceback
                else:
                    error.add_note(f"trax: and then {failure}")
        self.tell(error)

    def _is_refusal(self, error: BaseException) -> bool:
        """Return whether an error refuses the call, of which no step has run."""
        is_first = self.session.step == (self.session.resumed_at or 0)
        return is_first and isinstance(error, (ArgumentsChangedError, UsageError))

    def close(self, why: str = "it was closed") -> None:
        """Close at a yield; every increment that was handed out stays stored.

        If increments are not logged, or the log has failed, a checkpoint is stored for that.
        """
        if self.status == "new":
            self.status = "closed"
        if self.status != "open":
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
        self.tell()

    def keep(self) -> None:
        """Store a checkpoint at a yield, if no log has the state; closing begins with this."""
        if self.status == "open":
            self.session.keep()

    def abandon(self) -> None:
        """Close a run that nobody can continue; in the middle of a step nothing is saved."""
        if self._session is not None and self._session.is_forked:
            return  # a child of the process ends, and the run goes on in its parent
        self._hooks.thread = None  # nobody will drive it any more
        if self.status == "open" and self.is_running():
            self._active = None
            self._release()
            self.tell()
        elif self.status == "open":
            self.close()
        elif self.status == "new":
            self._undriven.end()
        self.stop_request.pass_on()

    def _end_as(self, state: str, **facts: Any) -> None:
        """Take note of how this call leaves the run, for its journal and the hooks."""
        self.session.end_as(state, **facts)
        error = facts.get("error")
        self._reason = "{type}: {message}".format(**error) if error else facts.get("reason", state)

    def _release(self) -> None:
        active, self._active = self._active, None
        self.status = "closed"
        with ExitStack() as ends:  # each of these is done, whatever the others raise
            ends.callback(self.session.note_stop, self._reason)
            ends.callback(self.session.close)
            if active is not None:
                ends.callback(active.end)
            ends.callback(self.stop_request.end_watch)
            self.session.leave()

    def _inner_error(self) -> LockedError:
        function = self._call.function.__name__
        return LockedError(
            f"{function} calls itself: its loop holds the run {self.name!r}.\n"
            f"Call {function}.__wrapped__(...) there, which is the function without trax.\n"
            "Or keep a run for each call: give name=, a template over the arguments."
        )

    def running_error(self) -> UsageError:
        """Return the error for closing a run in a step, while its state may be half-changed."""
        return UsageError(
            f"{self.name!r} is in the middle of a step and cannot be closed there.\n"
            "Close it in the body of the loop that drives it, or let it raise."
        )

    def closed_error(self) -> UsageError:
        """Return the error for continuing a run that is closed."""
        return UsageError(
            f"this call of {self.name!r} ended at step {self.step:,}: {self._why_closed}.\n"
            "Call the function again: it resumes there."
        )
