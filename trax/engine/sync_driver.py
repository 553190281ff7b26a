"""Drives an ordinary loop: `Run`, returned by a call of a decorated generator function."""

from __future__ import annotations

import functools
import sys
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, overload

from trax._public import public
from trax.engine.driver import Driver
from trax.engine.explain import is_about_call, yield_from_error
from trax.interrupts.frame_marks import FrameMark, mark

if TYPE_CHECKING:
    from trax.engine.driver import Unknown
    from trax.engine.lifecycle import Lifecycle
    from trax.frames.locals import Locals

__all__ = ["Run"]

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")
X = TypeVar("X")


@public
class Run(Driver[S], Iterator[I], Generic[S, I, R]):
    """A run that is driven by iterating over its increments.

    These are the new ones: a run that is done hands out none, and `result` gives what is stored.

    The loop does not start before the first `next`. At the first `next`, or when `state`, `step`,
    `resumed_at` or `done` is used, the run is locked for writing and the stored state is recovered.
    The lock is released when the loop ends, however it ends, at `close`, and when the `Run` itself
    is dropped.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, name="halves")
    ... def halves(n):
    ...     while n < 3:
    ...         n = yield n + 1
    >>> with halves() as run:
    ...     first = next(run)
    >>> halves().step, list(halves())
    (1, [2, 3])
    """

    def __init__(self, lifecycle: Lifecycle, start: Callable[[Any], Any]) -> None:
        super().__init__(lifecycle)
        self._start = start
        self._caller = FrameMark()
        self._started: list[Any] = []  # the user's generator, once there is one
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._loop: Generator[I, None, None] = self._new_loop()

    def __iter__(self) -> Iterator[I]:  # noqa: PYI034  # the generator is cheaper than __next__
        loop = self._current_loop()
        self._watch()
        return loop

    def __next__(self) -> I:
        # Each line at a prompt and each cell of a notebook is a caller of its own.
        caller = sys._getframe(1)  # noqa: SLF001  # nothing public is as cheap
        loop = self._current_loop()
        if caller.f_trace is not self._caller:
            self._caller = mark(caller)
            self._watch()
        return next(loop)

    @overload
    def result(self: Run[Unknown, I, R]) -> Any: ...
    @overload
    def result(self: Run[S, I, Unknown]) -> Any: ...
    @overload
    def result(self: Run[Locals, I, None]) -> I: ...
    @overload
    def result(self: Run[S, I, None]) -> S: ...
    @overload
    def result(self: Run[Locals, I, X | None]) -> X | I: ...
    @overload
    def result(self: Run[S, I, X | None]) -> X | S: ...
    @overload
    def result(self) -> R: ...
    def result(self) -> Any:
        """Drive the loop to its end.

        Returns
        -------
        object
            The return value of the generator. If that is None, it is the final state, or the last
            increment where the loop's local variables are the state.
        """
        loop = iter(self)
        self._lifecycle.is_iterated = False
        deque(loop, maxlen=0)
        if self._lifecycle.status != "done":
            raise self._lifecycle.closed_error()
        return self._lifecycle.result

    def close(self) -> None:
        """End the loop here and release the lock; the next call resumes the run."""
        self._close(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(error)

    def _close(self, error: BaseException | None) -> None:
        lifecycle = self._lifecycle
        try:
            lifecycle.close()
        except BaseException as failure:
            lifecycle.stop_request.act(lifecycle.step, failure)
            raise
        lifecycle.stop_request.act(lifecycle.step, error)

    def _new_loop(self) -> Generator[I, None, None]:
        loop = _drive(self._lifecycle, self._start, self._started)
        self._lifecycle.is_running = functools.partial(_is_running, weakref.ref(loop))
        if self._finalizer is not None:
            self._finalizer.detach()
        # Of the loop, not of the run: a for statement drops the run and keeps its iterator.
        self._finalizer = weakref.finalize(loop, self._lifecycle.abandon)
        return loop

    def _current_loop(self) -> Generator[I, None, None]:
        if self._lifecycle.status == "closed":
            raise self._lifecycle.closed_error()
        loop: Any = self._loop  # typeshed hides the attributes of real generators
        if loop.gi_frame is None and self._lifecycle.status in ("new", "open"):
            # The last try to open the run failed; or a generator that had delegated to the loop
            # by ``yield from`` was closed, and the loop with it.
            self._loop = self._new_loop()
        return self._loop

    def _watch(self) -> None:
        """Watch for signals again if another part of the caller's code now drives the loop."""
        if self._lifecycle.status == "open":
            self._lifecycle.watch()


def _is_running(loop: weakref.ref[Generator[Any, None, None]]) -> bool:
    generator: Any = loop()
    return generator is not None and generator.gi_running


def _drive(
    lifecycle: Lifecycle, start: Callable[[Any], Any], started: list[Any]
) -> Generator[Any, None, None]:
    """Yield the increments of the generator that `start` makes from the state.

    The generator is kept in `started`. One that is there already is continued at its yield.
    """
    # A generator and not a method: to resume a generator is the cheapest way to run a loop. It does
    # not refer to the `Run`, so it is collected with the last reference to it.
    try:
        lifecycle.watch()
        if lifecycle.status == "new":
            lifecycle.open()
        lifecycle.tell_rest()
        if lifecycle.status == "done":
            return
        state = lifecycle.session.state if started else None
        session = lifecycle.session
        if not started:
            started.append(session.start(start))
            lifecycle.drive(started[0].gi_frame, started[0].close)
            _catch_up(lifecycle, started[0])
        send, accept = started[0].send, session.accept
        stop_request = lifecycle.stop_request
        while True:
            if stop_request.reason:
                _stop(lifecycle)
            try:
                increment = send(state)
            except StopIteration as stop:
                if lifecycle.status != "open":  # the run was closed, and its generator with it
                    raise lifecycle.closed_error() from None
                lifecycle.finish(stop.value)
                break
            state = accept(increment)
            yield increment
    except GeneratorExit:  # left at a yield: the code that drops the loop closes the run
        raise
    except BaseException as error:
        explained = yield_from_error(error)
        _abort(lifecycle, explained or error)
        if explained is not None:
            raise explained from error
        if is_about_call(error):
            raise error.with_traceback(None) from error.__cause__
        raise
    lifecycle.stop_request.act(lifecycle.step)


def _stop(lifecycle: Lifecycle) -> NoReturn:
    """Stop between two steps; an interrupt has no traceback from inside of trax."""
    try:
        lifecycle.stop()
    except KeyboardInterrupt as error:
        raise error.with_traceback(None) from None


def _catch_up(lifecycle: Lifecycle, loop: Generator[Any, None, None]) -> None:
    """Run the steps of a plain loop again that are stored after its newest frame."""
    session = lifecycle.session
    if session.is_reentered:
        with session.reentering():
            next(loop)
    while session.is_behind:
        if lifecycle.stop_request.reason:
            lifecycle.stop()
        try:
            increment = next(loop)
        except StopIteration:
            raise session.ended_early() from None
        session.compare(increment)
    session.end_catch_up()


def _abort(lifecycle: Lifecycle, error: BaseException) -> None:
    """Close after an exception, and let signals that have come take effect."""
    try:
        lifecycle.abort(error)
    except BaseException as failure:  # from the generator, which was closed at its yield
        lifecycle.stop_request.act(lifecycle.step, failure)
        raise
    lifecycle.stop_request.act(lifecycle.step, error)
