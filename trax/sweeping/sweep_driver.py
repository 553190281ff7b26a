"""Drives a sweep: has its cases run, a few at a time, and hands out each as it ends."""

from __future__ import annotations

import contextlib
import os
import uuid
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from signal import Signals
from types import TracebackType
from typing import Any, Generic, Literal, NoReturn, Self, SupportsIndex, TypeVar

from trax import notices
from trax._public import public
from trax.calls.fingerprint import changed_names
from trax.display import count, same_code, short_error, shorten, text_of
from trax.engine.resume import is_finished, load_finished
from trax.engine.undriven import Undriven
from trax.errors import UsageError
from trax.hooks import Display
from trax.interrupts.stop_request import StopRequest, stop_runs
from trax.mapping.remote import outlook
from trax.storage.process import process
from trax.storage.store import Store
from trax.sweeping.cases import Case, Grid
from trax.sweeping.flights import Flights
from trax.sweeping.worker import Task, identity, received, result_of, run_case
from trax.wrapper import call_of

__all__ = ["Plan", "Replaced", "Sweep"]

R = TypeVar("R")

_Loop = Generator[Case[Any], None, None]

_COUNTED = 10.0  # seconds, which it may take to count what is stored
_SHOWN = 100  # characters of an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A call of `sweep` after the checks; `trax.sweep` documents each of the values.

    `name` is that of the function. `store` is where the sweep was made, whatever the working
    directory of a worker is. `replaced` has the runs that start over.
    """

    function: Any
    name: str
    grid: Grid
    executor: Any
    in_flight: int
    store: Store
    progress: Callable[[str, int], Display] | None
    signals: tuple[Signals, ...] | None
    time_limit: Literal["auto"] | None
    replaced: Replaced


@public
class Sweep(Generic[R]):
    """The cases of a sweep, each as it ends; `trax.sweep` returns it.

    Nothing runs before the first case is asked for. When the ``for`` is left, and at `close`, runs
    that have not begun are cancelled; those that have go on in their workers.

    Iterating over it again gives all cases again; runs that are done are not run a second time.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(name="sum-{n}")
    ... def total(n):
    ...     found = 0
    ...     for i in range(n):
    ...         found += i
    ...         yield found
    >>> with trax.sweep(total, {"n": [3, 4]}) as cases:
    ...     first = next(cases)
    >>> first.name, first.result, len(cases)
    ('sum-3', 3, 2)
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._undriven = Undriven(f"trax.sweep() of {plan.name}", "sweep", has_result=False)
        weakref.finalize(self, self._undriven.end)
        self._own: _Loop | None = None  # what `next` continues
        self._last: Callable[[], _Loop | None] = lambda: None

    def __len__(self) -> int:
        return len(self._plan.grid)

    def __iter__(self) -> Iterator[Case[R]]:
        own: Any = self._own  # typeshed hides the attributes of real generators
        if own is not None and own.gi_frame is not None:
            begun: Iterator[Case[R]] = own
            return begun
        # Nothing else refers to it, so that a for that is left ends it.
        loop = self._begin()
        self._last = weakref.ref(loop)
        return loop

    def __next__(self) -> Case[R]:
        if self._own is None:
            self._own = self._begin()
        return next(self._own)

    def close(self) -> None:
        """End here: runs that have not begun are cancelled."""
        self._undriven.use()
        for loop in (self._own, self._last()):
            if loop is not None:
                loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise UsageError(
            f"the sweep of {self._plan.name} cannot be pickled: it is driven where it was called.\n"
            "Send the function and the grid instead, and call trax.sweep() there."
        )

    def __repr__(self) -> str:
        return f"<Sweep of {self._plan.name}, {count(len(self), 'case')}>"

    def _begin(self) -> _Loop:
        self._undriven.use()
        one_pass = _Pass(self._plan)
        loop = _drive(one_pass)
        one_pass.is_running = partial(_is_running, weakref.ref(loop))
        return loop


def _is_running(reference: weakref.ref[_Loop]) -> bool:
    loop: Any = reference()
    return loop is not None and loop.gi_running


def _drive(one_pass: _Pass) -> _Loop:
    """Yield the cases; nothing that it refers to refers to it."""
    try:
        one_pass.begin()
        yield from one_pass.cases()
    except GeneratorExit:
        one_pass.end()
        one_pass.stop_request.pass_on()
        raise
    except BaseException as error:
        one_pass.end()
        one_pass.stop_request.act(one_pass.ended, error)
        raise
    one_pass.end()
    one_pass.tell_failed()
    one_pass.stop_request.act(one_pass.ended)


class Replaced:
    """The runs that start over in a sweep, each once, however often a case of it is begun.

    Parameters
    ----------
    store : Store
        The store.
    is_all : bool
        Whether those of all cases start over, or none.
    """

    def __init__(self, store: Store, *, is_all: bool) -> None:
        self._store = store
        self._is_all = is_all
        self._seen: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Return whether a run is to start over the next time that it begins."""
        return self._is_all and self._seen.get(name) in (None, identity(self._store, name))

    def of(self, name: str) -> str | None:
        """Return the identity of a run that is to start over, empty if there is none yet.

        None if the stored run is to go on.
        """
        if not self._is_all:
            return None
        present = identity(self._store, name)
        return present if self._seen.setdefault(name, present) == present else None


class _Pass:
    """One pass through the cases.

    Attributes
    ----------
    ended : int
        The number of cases that were handed out.
    stop_request : StopRequest
        Whether a signal or the end of the job's time asks to stop.
    is_running : callable
        Returns whether the next case is being waited for.
    """

    def __init__(self, plan: Plan) -> None:
        self.ended = 0
        self.is_running: Callable[[], bool] = lambda: False
        self._subject = f"the sweep of {plan.name}"
        self.stop_request = StopRequest(self._subject, plan.signals, plan.time_limit, ctrl_c=True)
        self._plan = plan
        self._flights: Flights[dict[str, Any]] = Flights()
        self._display: Display | None = None
        self._failed = 0
        self._first_failure = ""
        self._outlook = ""  # after that failure
        self._is_broken = False

    def begin(self) -> None:
        """Watch for signals, and show how far it is."""
        plan = self._plan
        self.stop_request.watch(self._flights.wake, self.is_running, restarts=True)
        self.stop_request.begin(process.monotonic())
        if plan.progress is not None:
            self._display = plan.progress(plan.name, 0)
            self._display.update(0, len(plan.grid))
        self._tell_stored()

    def cases(self) -> Iterator[Case[Any]]:
        """Begin one case for each that is handed out, and as many as may be in flight at first."""
        flights, arguments, is_over = self._flights, iter(self._plan.grid), False
        while not is_over or flights:
            begun = 0
            while (
                not is_over
                and len(flights) < self._plan.in_flight
                and not (begun and flights.has_landed)
            ):
                self._stop_if_asked()
                begun += 1
                given = next(arguments, None)
                if given is None:
                    is_over = True
                elif case := self._begin_case(given):
                    yield self._counted(case)
            landed = flights.wait() if flights else None
            self._stop_if_asked()
            if landed is not None:
                yield self._counted(self._received(*landed))

    def end(self) -> None:
        """Cancel what has not begun, and leave the display as it is."""
        self._flights.cancel()
        self.stop_request.end_watch()
        display, self._display = self._display, None
        if display is not None:
            display.close(self.ended)

    # -- one case --------------------------------------------------------------------------

    def _begin_case(self, arguments: dict[str, Any]) -> Case[Any] | None:
        """Have a case run; return it if it is at its end already."""
        plan = self._plan
        call = call_of(plan.function, arguments)
        try:
            replaced = plan.replaced.of(call.name)
            finished = None if replaced is not None else load_finished(call, plan.store)
            if finished is not None:
                return Case(call.name, arguments, finished.result)
            if plan.executor is None:
                return Case(call.name, arguments, result_of(call, plan.store.path, replaced))
            path, key = plan.store.path, uuid.uuid4().hex
            task = Task(plan.function, arguments, path, replaced, os.getpid(), key)
            future = self._submit(task)
        except Exception as error:  # noqa: BLE001  # it is that of the case
            return self._failure(call.name, arguments, error)
        self._flights.add(future, arguments)
        return None

    def _submit(self, task: Task) -> Any:
        if isinstance(self._plan.executor, ThreadPoolExecutor):
            return self._plan.executor.submit(self.stop_request.lead, run_case, task)
        return self._plan.executor.submit(run_case, task)

    def _received(self, future: Any, arguments: dict[str, Any]) -> Case[Any]:
        call = call_of(self._plan.function, arguments)
        try:
            result, error = received(future.result(), call.names)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as failure:  # noqa: BLE001  # of the engine, such as a CancelledError
            return self._failure(call.name, arguments, failure)
        return Case(call.name, arguments, result, error)

    def _failure(self, name: str, arguments: dict[str, Any], error: BaseException) -> Case[Any]:
        if isinstance(error, BrokenExecutor) and not self._is_broken:
            self._is_broken = True
            notices.warn(
                f"{self._subject}: the executor is broken ({_reason(error)}); "
                f"run {same_code()} again, and it goes on with a new one"
            )
        return Case(name, arguments, None, error)

    # -- what is said ----------------------------------------------------------------------

    def _counted(self, case: Case[Any]) -> Case[Any]:
        self.ended += 1
        if case.error is not None:
            self._failed += 1
        if case.error is not None and not isinstance(case.error, BrokenExecutor):
            self._first_failure = self._first_failure or f"{case.name}: {_reason(case.error)}"
            self._outlook = self._outlook or outlook(case.error, "the next call goes on with them")
        if self._display is not None:
            note_failed = getattr(self._display, "note_failed", None)
            if case.error is not None and note_failed is not None:
                note_failed(self._failed)
            self._display.update(self.ended, len(self._plan.grid))
        return case

    def _tell_stored(self) -> None:
        """Say before the first case how many runs are done or have begun, and which code did it."""
        done, begun = list[bool](), list[bool]()  # whether it was other code
        until, least = process.monotonic() + _COUNTED, ""
        for arguments in self._plan.grid:
            if process.monotonic() > until:
                least = "at least "
                break
            with contextlib.suppress(Exception):  # its case has the error
                call = call_of(self._plan.function, arguments)
                meta = self._plan.store.peek(call.name)
                if meta and not self._plan.replaced.has(call.name):
                    is_old = bool(changed_names(meta.get("code", {}), call.code))
                    (done if is_finished(call, meta) else begun).append(is_old)
        total, parts = count(len(self._plan.grid), "run"), list[str]()
        if done:
            line = "were done before; their stored results are returned"
            parts.append(f"{least}{len(done):,} of {total} {line}")
        if begun:
            changed = f", {sum(begun):,} of them with changed code" * any(begun)
            parts.append(
                f"{least}{len(begun):,} of {total} had begun before, and will go on{changed}"
            )
        old = f"; {count(sum(done), 'result')} came from old code" * any(done)
        way = ": fresh=True computes all cases again" * any(done)
        if parts:
            (notices.warn if any(done) else notices.info)(
                f"{self._subject}: {'; '.join(parts)} ({self._plan.store.path}){old}{way}"
            )

    def tell_failed(self) -> None:
        """Say how many runs have failed, after the last case."""
        if self._first_failure:
            notices.warn(
                f"{self._subject}: {self._failed:,} of {count(self.ended, 'run')} failed (first "
                f"{self._first_failure}); {self._outlook}"
            )

    def _stop_if_asked(self) -> None:
        if self.ended:  # as a run does one step in any case
            now = process.monotonic()
            self.stop_request.begin_step(now)  # the time of a case does not count
            self.stop_request.look(now, 0.0)
        if self.stop_request.reason:
            self._stop()

    def _stop(self) -> NoReturn:
        notices.info(
            f"{self._subject} stopped after {self.ended:,} of "
            f"{count(len(self._plan.grid), 'run')}: {self.stop_request.reason}; {same_code()} goes "
            "on with the others"
        )
        self.end()
        # Ctrl-C is for the main thread alone, and an executor of threads waits for its runs.
        names = [call_of(self._plan.function, one).name for one in self._flights.purposes]
        stop_runs(names, self.stop_request.reason)
        try:
            self.stop_request.end_program(self.ended)
        except KeyboardInterrupt as error:
            raise error.with_traceback(None) from None


def _reason(error: BaseException) -> str:
    """Return an error in short: the one in another process, if an executor tells that as its cause.

    Its own text is then as general as "a task could not be pickled".
    """
    cause = error.__cause__
    if cause is not None and type(cause).__name__ == "_RemoteTraceback":  # also joblib's
        return shorten(text_of(cause).strip('"\n').rpartition("\n")[2], _SHOWN)
    return short_error(error, _SHOWN)
