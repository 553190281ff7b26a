"""A request that a loop stop before its next step, made by a signal or by the time limit."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from signal import Signals
from typing import Literal, NoReturn, TypeVar

from trax import notices
from trax._public import public
from trax.display import same_code
from trax.errors import DurabilityError, LockedError, Preempted, TraxError
from trax.interrupts import main_thread
from trax.interrupts.deadline import Deadline, choose
from trax.interrupts.signals import Arrival, Watch
from trax.storage.process import process

__all__ = ["StopRequest", "stop", "stop_runs"]

R = TypeVar("R")
T = TypeVar("T")

_STOP = "trax.stop()"
_TIME_LIMIT = "the time limit"
_LATE = 2.0  # seconds, after which a line says that a signal has come

_open: list[StopRequest] = []
_leader: ContextVar[StopRequest | None] = ContextVar("_leader", default=None)


@public
def stop() -> None:
    """Ask all open runs of this process to stop at their next `yield`.

    Each stores a checkpoint, releases its lock, and raises `Preempted` in the thread that drives
    it; the next call resumes it. A run that one of them opens until then in its step does not
    begin. This returns at once. SIGTERM does the same, and then ends the program. Any thread may
    call it, and so may a signal handler, or the function that an engine calls when it shuts a
    worker down.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(name="stopped")
    ... def count(n):
    ...     for i in range(n):
    ...         yield i
    >>> run = count(3)
    >>> next(run)
    0
    >>> trax.stop()
    >>> try:
    ...     next(run)
    ... except trax.Preempted as stopped:
    ...     print(stopped)
    stopped was stopped at step 1 by trax.stop(); run the same script again and it resumes
    """
    for _ in range(2):  # the second time those that were opened before the others were asked
        for request in [*_open]:
            if not request.reason:
                request.ask(_STOP)


def stop_runs(names: Iterable[str], reason: str) -> None:
    """Ask the open runs of these names in this process to stop at their next `yield`."""
    wanted = {*names}
    for request in [*_open]:
        if request.run in wanted:
            request.ask(reason)


class StopRequest:
    """Tells one run whether to stop, and ends the program then.

    If `signals` is None, nothing is watched for. `ctrl_c` tells whether to watch for Ctrl-C as
    well; an event loop handles it in its own way. For `time_limit` see `choose` in `deadline`.

    Attributes
    ----------
    run : str
        The name of the run.
    reason : str
        The name of the signal, or "the time limit"; empty while nothing asks to stop.
    asked : bool
        Whether a checkpoint is requested although the loop may continue.
    """

    def __init__(
        self,
        run: str,
        signals: tuple[Signals, ...] | None,
        time_limit: float | Literal["auto"] | None,
        *,
        ctrl_c: bool,
    ) -> None:
        self.reason = ""
        self.asked = False
        self.run = run
        self._signals = signals
        if signals is not None and ctrl_c:
            self._signals = (*signals, Signals.SIGINT)
        self._time_limit = time_limit
        self._wake: Callable[[], object] = lambda: None
        self._is_running: Callable[[], bool] = lambda: False
        self._thread = 0
        self._watch: Watch | None = None
        self._deadline = Deadline(math.inf, 0.0)

    # -- signals ---------------------------------------------------------------------------

    def watch(
        self, wake: Callable[[], object], is_running: Callable[[], bool], *, restarts: bool
    ) -> None:
        """Start to watch for signals, or watch again after other code has replaced the handlers.

        `wake` is called in a signal handler. If `restarts`, a new watch starts even if there was an
        earlier one, which is over. A run that another one waits for, which was asked to stop, is
        asked at once.
        """
        self._wake, self._is_running = wake, is_running
        self._thread = threading.get_ident()
        if self not in _open:
            _open.append(self)
        if self._signals is not None and (self._watch is None or restarts):
            self._watch = Watch(self._signals, self._on_signal, is_running)
        if self._watch is not None:
            self._watch.begin()
        leader = _leader.get()
        if leader is not None and leader.reason:  # looked at after this was added to `_open`
            self.ask(leader.reason)
        elif any(one.reason == _STOP and one._is_around(self) for one in [*_open]):  # noqa: SLF001
            self.ask(_STOP)

    def _is_around(self, other: StopRequest) -> bool:
        """Return whether another run was opened within a step of this one, which waits for it."""
        return other is not self and other._thread == self._thread and self._is_running()

    def lead(self, function: Callable[[T], R], argument: T) -> R:
        """Call a function, in any thread; runs that it opens after this was asked do not begin."""
        token = _leader.set(self)
        try:
            return function(argument)
        finally:
            _leader.reset(token)

    def end_watch(self) -> None:
        """Stop watching, and restore the handlers if this is the main thread."""
        with contextlib.suppress(ValueError):  # it has ended before
            _open.remove(self)
        # A cycle would keep the state until the garbage collector runs.
        self._wake, self._is_running = lambda: None, lambda: False
        if self._watch is not None:
            self._watch.end()

    def _on_signal(self, arrival: Arrival) -> None:
        self.ask(arrival.number.name)
        # By a thread: the code that was interrupted may hold the lock of a logger or of a file.
        with contextlib.suppress(RuntimeError):  # the program is ending, and starts no more threads
            start_new_thread(self._tell_later, (arrival,))

    def _tell_later(self, arrival: Arrival) -> None:
        time.sleep(_LATE)
        self.tell_late(arrival)

    def tell_late(self, arrival: Arrival) -> None:
        """Say that a signal has come, if the step in which it came still runs; not in a handler."""
        if self._is_running() and not arrival.told:
            arrival.told = True
            name = "Ctrl-C" if arrival.number == signal.SIGINT else arrival.number.name
            notices.info(
                f"{self.run} finishes what it is computing, and then stops ({name}); another "
                f"{name} ends the program at once"
            )

    def ask(self, reason: str) -> None:
        """Ask the loop to stop at its next yield; any thread and any signal handler may do so."""
        self.reason = self.reason or reason
        self._wake()

    @property
    def stores_soon(self) -> bool:
        """Whether a checkpoint is stored at the end of this step."""
        return self.asked or bool(self.reason)

    @property
    def is_pending(self) -> bool:
        """Whether a signal has come that has not yet taken effect."""
        return self._watch is not None and bool(self._watch.undelivered)

    def ends_program(self, error: BaseException | None) -> bool:
        """Return whether `act` will let a signal end the program instead of this error."""
        return self.is_pending and (error is None or isinstance(error, Exception))

    def act(self, step: int, error: BaseException | None = None) -> None:
        """Let a signal that has come end the program, after the loop has ended in another way.

        `error` is the exception that is already being raised. One that ends the program is left as
        it is. One that the signal may have caused, such as the death of a worker, becomes the
        context of the exception raised here.
        """
        if self._watch is None or not self.is_pending:
            return
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            if main_thread.is_here():
                self._watch.forget()
            else:
                self._watch.give_up(may_raise=False)
        elif not self.ends_program(error):
            self._watch.give_up(may_raise=True)  # a cancelled task ends in its own way
        else:
            if isinstance(error, LockedError) and error.holder:
                line = f"{self.run} was ended by {self.reason}, while it waited for {error.holder}"
                notices.info(line)
            elif error is not None:
                came = f"{type(error).__name__}: {error}".partition("\n")[0]
                notices.warn(f"{self.run}: after {self.reason} came {came}")
            self.end_program(step)

    def report(self, step: int, unsaved: TraxError | None, *, is_logged: bool) -> None:
        """Say at which step the loop stopped, why, and whether that step is stored."""
        code = same_code()
        outlook = f"that step is stored, and {code} resumes there"
        if unsaved is not None:
            cause = str(unsaved).partition("\n")[0]
            kept = f"{code} resumes at the previous checkpoint"
            if isinstance(unsaved, DurabilityError):
                kept = f"{code} resumes at an earlier step, if one is still stored"
            elif is_logged:
                kept = f"the log has every increment, and {code} resumes there"
            outlook = f"the checkpoint could not be stored ({cause}); {kept}"
        notices.info(f"{self.run} stopped at step {step:,}: {self.reason}; {outlook}")

    def end_program(self, step: int) -> NoReturn:
        """Pass the signals to the earlier handlers, and raise the exception that ends the program.

        Raises
        ------
        Preempted
            Unless one of these handlers raises something else.
        KeyboardInterrupt
            After Ctrl-C, even if its handler raises nothing.
        """
        error = Preempted(self.run, step, self.reason)
        if self._watch is not None:
            self._watch.deliver(error)
            if any(arrival.number == signal.SIGINT for arrival in self._watch.arrivals):
                raise KeyboardInterrupt
        raise error

    def pass_on(self) -> None:
        """Let signals take effect where no exception can be raised."""
        if self._watch is not None and self.is_pending:
            notices.info(f"{self.run} was closed; {self.reason} takes effect now")
            self._watch.give_up(may_raise=False)

    # -- time ------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Start to count the time; `now` is that of a monotonic clock, in seconds."""
        limit = choose(self._time_limit, os.environ, process.time())
        self._deadline = Deadline(math.inf if limit is None else limit, now)

    def begin_step(self, now: float) -> None:
        """Start to measure a step at `now`."""
        self._deadline.begin_step(now)

    def look(self, now: float, checkpoint_seconds: float) -> bool:
        """Return whether to stop or to store a checkpoint, at the end of a step."""
        if self._deadline.is_near(now, checkpoint_seconds):
            self.reason = self.reason or _TIME_LIMIT
        return self.stores_soon

    @property
    def longest_step(self) -> float:
        """The duration of the longest step, in seconds."""
        return self._deadline.longest
