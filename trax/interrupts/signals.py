"""Signals that ask a loop to stop, recorded until the loop is at a yield.

Strategy: while a run is watched, trax replaces the handlers of its signals by one of its own. That
handler records the signal and tells every run that watches for it, and does nothing else; the loop
stores its state at its next yield. The earlier handler gets the signal afterwards. It gets the
signal at once if waiting is of no use: when the signal comes a second time, when it is a Ctrl-C and
no watched loop is running, when no run is watched, and in a forked child. The earlier handler is
restored when the last run that watches for the signal ends its watch, unless other code has
replaced trax's handler meanwhile.

Handlers are installed and called in the main thread. If that is in a step of a run, the runs of
other threads are told when that run has stopped, since the step may wait for theirs. If the runs
that a signal has stopped were all in other threads, the earlier handler gets the signal there. If
there is none, the signal ends the program: `Preempted` is raised in the main thread, a moment after
the last run has stopped, since it may come there by itself, as the exception of a future.

Python calls handlers between two instructions, so a step inside C code keeps all of them waiting.
For a signal without an earlier handler, a thread then sees the second one and ends the process.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import sys
import threading
import time
import weakref
from _thread import start_new_thread
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from signal import Signals
from types import FrameType
from typing import Any

from trax.display import show
from trax.errors import UsageError
from trax.interrupts import main_thread
from trax.interrupts.frame_marks import FrameMark, mark
from trax.interrupts.wakeup import Wakeup, die
from trax.storage.process import in_child, process

__all__ = ["Arrival", "Watch", "check_signals"]

_UNCATCHABLE = {"SIGKILL", "SIGSTOP"}
_FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}  # the fault would only recur

# SLURM sends SIGTERM twice when the time is over, and launchers pass on signals that the process
# has already received; so copies that come close together are one signal. A person who presses
# Ctrl-C twice may do so within a second, so its window is shorter.
_COPIES = 1.0  # seconds
_COPIES_OF_CTRL_C = 0.25

_GRACE = 0.2  # seconds that the handler has before the process is ended without it
_GRACE_OF_MAIN = 1.0  # seconds that the main thread has to learn that runs in others have stopped


def check_signals(signals: Iterable[int | str] | int | str | None) -> tuple[Signals, ...] | None:
    """Return the signals of the option; None if trax is to install no handlers.

    Raises
    ------
    UsageError
        A signal is unknown, cannot be caught, or cannot be followed by the rest of a step; or it
        is SIGINT, which is always watched for.
    """
    if signals is None:
        return None
    several = (signals,) if isinstance(signals, (int, str)) else signals
    return tuple(dict.fromkeys(_check_signal(one) for one in several))


def _check_signal(one: Any) -> Signals:
    try:
        checked = Signals[one] if isinstance(one, str) else Signals(one)
    except (KeyError, ValueError):
        raise UsageError(
            f"signals names {show(one)}, which is not a signal on this system.\n"
            "Write it as 'SIGUSR1' or signal.SIGUSR1."
        ) from None
    if checked.name in _UNCATCHABLE:
        raise UsageError(f"signals names {checked.name}, which no process can catch")
    if checked.name in _FAULTS:
        raise UsageError(f"signals names {checked.name}, after which a step cannot be finished")
    if checked is Signals.SIGINT:
        raise UsageError("signals names SIGINT, which is always watched for.\nLeave it out.")
    return checked


@dataclass(slots=True, eq=False)
class Arrival:
    """A signal that has come.

    Attributes
    ----------
    number : signal.Signals
        The signal.
    time : float
        The time at which it first came, in seconds of a monotonic clock.
    delivered : bool
        Whether the handler before trax's has received it.
    told : bool
        Whether a line has said that it has come.
    """

    number: Signals
    time: float
    delivered: bool = False
    told: bool = False


class Watch:
    """Watches for signals on behalf of one run, in the thread that drives it.

    Ctrl-C is for the main thread, so a run in another one does not watch for it.

    `wake` is called from the handler with the first `Arrival` of each kind, and must only set a
    flag. `is_running` tells whether the run is in the middle of a step.

    Attributes
    ----------
    signals : set of signal.Signals
        The signals to watch for.
    arrivals : list of Arrival
        The signals that have come, in order.
    is_main : bool
        Whether the main thread drives the run.
    """

    def __init__(
        self,
        signals: tuple[Signals, ...],
        wake: Callable[[Arrival], object],
        is_running: Callable[[], bool],
    ) -> None:
        self.signals = self._asked = {*signals}
        self.arrivals: list[Arrival] = []
        self.is_main = True
        self._wake = wake
        self._is_running = is_running
        self._driver = FrameMark()

    def begin(self) -> None:
        """Watch from now on.

        Another call installs trax's handler again if other code has replaced it meanwhile. After
        `end` the watch is over.
        """
        is_main = self.is_main = main_thread.is_here()
        self.signals = self._asked if is_main else self._asked - {Signals.SIGINT}
        self._driver = _driver() if is_main else FrameMark()
        if is_main:  # the program goes on
            _ending.clear()
        if self not in _watches:
            _watches.append(self)
            if is_main or self in _first_told():
                for arrival in [*_undelivered(), *_ending, *([] if is_main else _pending)]:
                    self.tell(arrival)
        if is_main:
            _install_all()
        elif any(signal.getsignal(number) is not _handle for number in self.signals):
            main_thread.call(_install_all)

    def end(self) -> None:
        """Stop watching."""
        if self in _watches:
            _watches.remove(self)
            self._tell_others()
        # Without these references no cycle keeps the state of a run alive.
        self._wake, self._is_running = lambda _: None, lambda: False
        if main_thread.is_here():
            _tidy()
        elif not self.undelivered:
            main_thread.call_soon(_tidy)

    def _tell_others(self) -> None:
        """Tell the runs of other threads of signals, if none of the main thread is left."""
        others = [watch for watch in _first_told() if not watch.is_main]
        for arrival in self.arrivals if self.is_main else ():
            if not callable(_before.get(arrival.number)):
                _ending.append(arrival)
            for watch in others:
                watch.tell(arrival)

    def tell(self, arrival: Arrival) -> None:
        """Record a signal that has come, if it is watched for."""
        if arrival.number in self.signals and arrival not in self.arrivals:
            self.arrivals.append(arrival)
            self._wake(arrival)

    def has(self, kind: int) -> Arrival | None:
        """Return the signal of a kind that has come, or None."""
        return next((one for one in self.arrivals if _kind(one.number) == kind), None)

    @property
    def is_in_step(self) -> bool:
        """Whether the run is in the middle of a step."""
        return self._is_running()

    def is_live(self, frame: FrameType | None) -> bool:
        """Return whether the loop is running: in a step, or in the code that asks for the next one.

        A loop that was begun at a prompt, or in a cell that has ended, may never be asked again.
        """
        return self._is_running() or self._driver.is_on_stack(frame)

    @property
    def undelivered(self) -> list[Arrival]:
        """The signals that have come but not yet reached the handlers before trax's."""
        return [one for one in self.arrivals if not one.delivered]

    def deliver(self, error: SystemExit) -> None:
        """Pass the signals to the Python handlers before trax's, which may raise.

        In another thread than the main one, `error` is going to be raised in the main thread.
        """
        if not main_thread.is_here():
            self._deliver_to_main(error)
            return
        for arrival in self.undelivered:
            arrival.delivered = True
            _settle(arrival)
            _call_before(arrival.number, None)

    def _deliver_to_main(self, error: SystemExit) -> None:
        _preempted.add(error)
        # A run that the main thread has left at a yield may never be asked again.
        for arrival in self._take_last(
            [one for one in _watches if not one.is_main or one.is_in_step]
        ):
            if callable(_before.get(arrival.number)):
                _send(arrival.number)
            else:
                _end_main(arrival, error)
            _settle(arrival)
        self.arrivals = []

    def forget(self) -> None:
        """Mark the signals as delivered: the program is about to end anyway."""
        for arrival in self.arrivals:
            arrival.delivered = True
            _settle(arrival)

    def give_up(self, *, may_raise: bool) -> None:
        """Let the signals that no other watched run waits for have their effect without trax."""
        for arrival in self._take_last(_watches):
            _settle(arrival)
            if may_raise and main_thread.is_here():
                _act_as_before(arrival.number, None)
            else:
                _send(arrival.number)

    def _take_last(self, watches: list[Watch]) -> list[Arrival]:
        """Return the signals that no other watch waits for, and mark them as delivered."""
        others = [arrival for watch in [*watches] for arrival in watch.arrivals]
        last = [arrival for arrival in self.undelivered if arrival not in others]
        for arrival in last:
            arrival.delivered = True
        return last


_watches: list[Watch] = []
_pending: list[Arrival] = []  # those that have stopped runs, and have had no other effect yet
_ending: list[Arrival] = []  # those that end the program after all runs have stopped
_errors: dict[int, SystemExit] = {}  # by signal, what the main thread has yet to raise
_raising: set[int] = set()  # signals that this process sends itself, to raise these
_preempted: weakref.WeakSet[SystemExit] = weakref.WeakSet()  # raised in other threads

# The handlers installed in this process. Only the main thread changes these.
_before: dict[int, Any] = {}  # by signal, the handler before trax's
_installed: set[int] = set()
_calling: set[int] = set()
_to_send: list[int] = []
_sending = threading.RLock()
_process = os.getpid()
_handled: dict[int, float] = {}  # by signal, the time at which trax's handler was last called
_first: dict[int, float] = {}  # by kind, the time at which the thread first saw one


def _first_told() -> list[Watch]:
    """Return the watches that are told of a signal at once.

    Those of other threads are told later if the main thread is in a step, which may wait for them.
    """
    watches = [*_watches]
    mains = [watch for watch in watches if watch.is_main]
    return mains if any(watch.is_in_step for watch in mains) else watches


def _on_wakeup(number: int) -> None:
    """See that a signal has its effect; called in a thread."""
    if number != main_thread.NUDGE:
        # The system may have given it to another thread, and then the main one goes on waiting. It
        # does so too if it had just looked when it was nudged, so that is done until it has.
        main_thread.call(lambda: None)
        _end_if_stuck(number)


def _end_if_stuck(number: int) -> None:
    """End the process at a second signal that the handler cannot get; called in a thread."""
    now = process.monotonic()
    if now - _first.setdefault(_kind(number), now) < _window(number):
        return
    time.sleep(_GRACE)
    is_handled = _handled.get(number, -math.inf) > now - _window(number)
    if number in _installed and not callable(_before.get(number)) and not is_handled:
        die(number)


_wakeup = Wakeup(_on_wakeup)


def _begin_wakeup() -> None:
    """Let a thread be told of signals, if one could be missed or have to end the process."""
    if "trio" in sys.modules:  # it warns if any descriptor but its own is set
        _wakeup.end()
    elif any(not callable(_before.get(number)) for number in _installed) or not all(
        watch.is_main for watch in _watches
    ):
        _wakeup.begin()


def _install_all() -> None:
    for watch in [*_watches]:
        for number in watch.signals:
            _install(number)
    _begin_wakeup()


def _install(number: int) -> None:
    present = signal.getsignal(number)
    if present is _handle:
        _installed.add(number)
        return
    # An ignored signal stays ignored. A handler not written in Python cannot be called from here.
    # If Ctrl-C has the default effect of the system, somebody has chosen that.
    if present in (None, signal.SIG_IGN) or (number == signal.SIGINT and not callable(present)):
        return
    with contextlib.suppress(ValueError):  # a subinterpreter cannot install handlers
        _before[number] = present
        signal.signal(number, _handle)
        _installed.add(number)


def _tidy() -> None:
    """Restore the handlers that no watched run needs replaced, in the main thread."""
    needed = {number for watch in [*_watches] for number in watch.signals} | {*_errors}
    for number in [*_installed]:
        if number not in needed:
            _restore_handler(number)
    if not _installed:
        _wakeup.end()
        _first.clear()


def _restore_handler(number: int) -> None:
    _installed.discard(number)
    if signal.getsignal(number) is _handle:
        signal.signal(number, _before[number])


def _handle(number: int, frame: FrameType | None) -> None:
    _handled[number] = process.monotonic()
    if number in _errors:
        if not main_thread.is_ending(frame):
            raise _errors.pop(number)
        is_second = process.monotonic() - _ending[-1].time >= _window(number)
        if number not in _raising and is_second:
            _act_as_before(number, frame)
        _raising.discard(number)
        return
    watches = [
        watch
        for watch in _first_told()
        if number in watch.signals and (number != signal.SIGINT or watch.is_live(frame))
    ]
    if not watches or os.getpid() != _process:
        _tidy()  # a run in another thread may have left it to this one
        _act_as_before(number, frame)
        return
    kind, now = _kind(number), process.monotonic()
    known = [arrival for watch in watches if (arrival := watch.has(kind))]
    if len(known) < len(watches):
        arrival = Arrival(Signals(number), now)
        _pending.append(arrival)  # before a run ends that a thread could follow by another one
        for watch in watches:
            if watch.has(kind) is None:
                watch.tell(arrival)
        return
    if now - max(one.time for one in known) >= _window(number):
        for one in known:
            one.delivered = True
            _settle(one)
        _act_as_before(number, frame)


def _act_as_before(number: int, frame: FrameType | None) -> None:
    """Let a signal have the effect that it would have without trax."""
    if not _call_before(number, frame):
        _installed.discard(number)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _call_before(number: int, frame: FrameType | None) -> bool:
    """Call the handler before trax's, if it is a Python function; return whether it is."""
    before = _before.get(number)
    if not callable(before):
        return False
    if number not in _calling:  # it may call the handler that it had replaced, which is trax's
        _calling.add(number)
        try:
            before(number, frame or sys._getframe())  # noqa: SLF001  # handlers get a frame
        finally:
            _calling.discard(number)
    return True


def _send(number: int) -> None:
    """Send a signal to this process, a moment later."""
    if main_thread.is_here() and not callable(_before.get(number)):
        _act_as_before(number, None)
        return
    # The caller may be unable to raise, as while an object is collected.
    _to_send.append(number)
    if threading.main_thread().is_alive():
        start_new_thread(_send_soon, ())
    else:  # the program is ending, and starts no more threads
        _send_at_exit()


def _end_main(arrival: Arrival, error: SystemExit) -> None:
    """Raise an error in the main thread, unless the program ends by itself in a moment."""
    _ending.append(arrival)
    _errors[arrival.number] = error
    with contextlib.suppress(RuntimeError):  # the program is ending, and starts no more threads
        start_new_thread(_end_later, (arrival.number, error))


def _end_later(number: int, error: SystemExit) -> None:
    time.sleep(_GRACE_OF_MAIN)
    # If another run has stopped meanwhile, the moment begins anew.
    if _errors.get(number) is error and threading.main_thread().is_alive():
        _raising.add(number)
        os.kill(os.getpid(), number)


def _send_soon() -> None:
    # Sent at once, it would come just before the main thread blocks, and not wake it up.
    time.sleep(0.01)
    _send_now()


def _send_now() -> None:
    with _sending:  # so that the end of the program waits for it
        while _to_send:
            os.kill(os.getpid(), _to_send.pop())


def _end_at_exit() -> None:
    """End the program with the exit status of `Preempted`, if it ends as if no signal had come."""
    if _errors and not any(map(_has_ended_program, _preempted)):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(next(iter(_errors.values())).code)  # type: ignore[arg-type]
    _errors.clear()


def _has_ended_program(error: SystemExit) -> bool:
    """Return whether an error has come through the main thread, as the exception of a future."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__") == "__main__"


def _send_at_exit() -> None:
    with contextlib.suppress(SystemExit, KeyboardInterrupt):  # the program is ending anyway
        _send_now()


def _kind(number: int) -> int:
    """Return the kind of a signal: a second one of the same kind takes effect at once."""
    # SIGTERM after SIGUSR1 is not a repetition: schedulers send one to announce the other.
    return signal.SIGTERM if number == signal.SIGINT else number


def _window(number: int) -> float:
    return _COPIES_OF_CTRL_C if number == signal.SIGINT else _COPIES


def _settle(arrival: Arrival) -> None:
    with contextlib.suppress(ValueError):
        _pending.remove(arrival)


def _undelivered() -> list[Arrival]:
    return list(dict.fromkeys(one for watch in [*_watches] for one in watch.undelivered))


def _driver() -> FrameMark:
    """Return the mark of the frame that drives the loop: the first one outside of trax."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # no public function does it
    while frame is not None and frame.f_globals.get("__name__", "").startswith("trax."):
        frame = frame.f_back
    return FrameMark() if frame is None else mark(frame)


@in_child
def _forget_in_child() -> None:
    """Stop watching in a forked child: its parent, or its pool, ends it by a signal."""
    global _process, _sending  # noqa: PLW0603
    _sending = threading.RLock()
    _to_send.clear()
    for watch in _watches:
        watch.forget()  # they were sent to the parent
    _watches.clear()
    _pending.clear()
    _ending.clear()
    _errors.clear()
    _raising.clear()
    _first.clear()
    _wakeup.forget()
    _process = os.getpid()
    for number in [*_installed]:
        _restore_handler(number)


atexit.register(_send_at_exit)
atexit.register(_end_at_exit)
