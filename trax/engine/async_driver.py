"""Drives an async loop: `AsyncRun`, returned by a call of a decorated async generator function.

Strategy: everything that may block (opening, forcing, checkpoints, closing) is done in a worker
thread. On the event loop's thread an increment is only pickled, folded and written into the page
cache. While the worker thread is busy, the generator waits at its ``yield``. So the state is
complete, and if the task is cancelled meanwhile, the run can be closed as by any caller.

A signal that ends the program interrupts every task of the event loop. So a run that stops first
lets the other runs finish their steps, and store the states that no log has.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Self, TypeVar, overload

from trax._public import public
from trax.engine.async_threads import (
    asking_for_task,
    cancellable_in_thread,
    current_task,
    in_thread,
    is_cancellation,
    is_over,
    pause,
)
from trax.engine.driver import Driver
from trax.engine.registry import TAKEN_OVER
from trax.errors import CallError, UsageError
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.engine.deferral import Deferred
    from trax.engine.driver import Unknown
    from trax.engine.lifecycle import Lifecycle
    from trax.engine.session import Session
    from trax.frames.locals import Locals

__all__ = ["AsyncRun"]

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate)
T = TypeVar("T")

_STEP: Final = "in the middle of a step of"
_OPENING: Final = "opening"
_CLOSING: Final = "closing"
_CANCELLED: Final = "it was cancelled"
_END: Any = object()
_PATIENCE = 5.0  # seconds, in addition to twice the longest step
_PAUSE = 0.01

# The runs in whose steps this code runs; a task passes them on to the tasks that it starts.
_around: ContextVar[tuple[object, ...]] = ContextVar("trax: around", default=())
_runs: weakref.WeakSet[AsyncRun[Any, Any]] = weakref.WeakSet()


# A separate object, because the lifecycle outlives a driver that is collected midway.
class _Activity:
    """The driver's present activity, in words for messages; empty while it does nothing."""

    def __init__(self) -> None:
        self.now = ""

    def is_step(self) -> bool:
        """Return whether the loop may be anywhere but at a yield."""
        return self.now in (_STEP, _OPENING)


@public
class AsyncRun(Driver[S], AsyncIterator[I], Generic[S, I]):
    """A run that is driven by iterating over its increments with ``async for``.

    These are the new ones: a run that is done hands out none, and `result` gives what is stored.

    The loop does not start before the first increment is asked for. At that time, or when an
    ``async with`` is entered, the run is locked for writing and the stored state is recovered. The
    lock is released when the loop ends, however it ends, at `aclose`, and when the ``async with``
    is left. All of that happens in a worker thread. If the task is cancelled, every increment that
    was handed out stays stored, and the lock is released before the cancellation is passed on.

    `state`, `step`, `resumed_at` and `done` do not wait. If the run is not yet open, they open it
    at once, which blocks the event loop. Inside an ``async with`` it is always open.

    An `AsyncRun` that is dropped without `aclose` releases its lock as well, but blocks while it
    does so, and the event loop closes the generator at a time of its own choosing.

    Only one task can drive it at a time.

    Examples
    --------
    >>> import asyncio
    >>> import trax
    >>> @trax.resumable(create=int, name="async halves")
    ... async def halves(n):
    ...     while n < 3:
    ...         n = yield n + 1
    >>> async def main():
    ...     async with halves() as run:
    ...         first = await anext(run)
    ...     return [n async for n in halves()]
    >>> asyncio.run(main())
    [2, 3]
    """

    def __init__(
        self, lifecycle: Lifecycle, deferred: Deferred, start: Callable[[Any], Any]
    ) -> None:
        super().__init__(lifecycle)
        self._deferred = deferred
        self._activity = _Activity()
        self._start = start
        self._session: Session | None = None
        self._generator: Any = None  # typeshed hides the attributes of real async generators
        self._accept: Callable[[Any], Any] | None = None  # None until the first steps were accepted
        self._sent: Any = None
        self._mark = (object(),)  # to be added to those of `_around`
        self._task: Callable[[], Any] = lambda: None
        self._ask = current_task
        self._thread = 0
        lifecycle.is_running = self._activity.is_step
        lifecycle.is_elsewhere = partial(_is_awaited, weakref.ref(self))
        _runs.add(self)
        weakref.finalize(self, lifecycle.abandon)

    def __aiter__(self) -> Self:
        return self

    def __iter__(self) -> NoReturn:
        # Without it the message would be that the object is not iterable.
        raise CallError(
            f"the loop of {self.name!r} is async, and an ordinary for cannot drive it.\n"
            "Write 'async for increment in run', or 'await run.result()'."
        )

    async def __anext__(self) -> I:
        self._begin(_STEP)
        lifecycle, generator = self._lifecycle, self._generator
        increment: I = _END
        try:  # a step awaits no further coroutine, which would take half as long as to pickle
            if (
                generator is None
                or generator.ag_frame is None
                or lifecycle.status != "open"
                or lifecycle.stop_request.reason
            ):
                generator = await self._prepare()
            if generator is not None:
                token = _around.set(_around.get() + self._mark)
                try:
                    increment = await generator.asend(self._sent)
                except StopAsyncIteration:
                    await cancellable_in_thread(partial(lifecycle.finish, None))
                    lifecycle.tell()
                finally:
                    try:  # noqa: SIM105  # it runs at every step, and costs nothing
                        _around.reset(token)
                    except ValueError:  # a lost task is collected in another context
                        pass
            if increment is not _END:
                session: Any = self._session
                if self._accept is None or session.is_suspect:
                    await self._accept_in_thread(session, increment)
                else:
                    self._sent = self._accept(increment)
                if self._deferred.pending:
                    await self._wait_at_yield(session.settle)
                    lifecycle.tell()
        except BaseException as error:
            await self._give_up(error)
            raise
        finally:
            self._activity.now = ""
        if increment is _END:
            await self._act_on_signals(None)
            raise StopAsyncIteration
        return increment

    @overload
    async def result(self: AsyncRun[Unknown, I]) -> Any: ...
    @overload
    async def result(self: AsyncRun[Locals, I]) -> I: ...
    @overload
    async def result(self) -> S: ...
    async def result(self) -> Any:
        """Drive the loop to its end.

        Returns
        -------
        object
            The final state, or the last increment where the loop's local variables are the state;
            async generators have no return value.
        """
        self._lifecycle.is_iterated = False
        async for _ in self:
            pass
        return self._lifecycle.result

    async def aclose(self) -> None:
        """End the loop here and release the lock; the next call resumes the run."""
        await self._end(None)

    async def _end(self, error: BaseException | None) -> None:
        if self._activity.now == _STEP:
            raise self._lifecycle.running_error()
        self._begin(_CLOSING)
        try:
            await self._close("it was closed")
        except BaseException as failure:
            await self._act_on_signals(failure)
            raise
        finally:
            self._activity.now = ""
        await self._act_on_signals(error)

    async def __aenter__(self) -> Self:
        self._begin(_OPENING)
        try:
            await self._open()
        except BaseException as error:
            await self._give_up(error)
            raise
        finally:
            self._activity.now = ""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end(error)

    def _opened(self) -> Lifecycle:
        if self._lifecycle.status == "new" and self._activity.now:
            raise UsageError(f"{self.name!r} is just being opened.\nWait until it is open.")
        return super()._opened()

    def _begin(self, doing: str) -> None:
        """Lock out other tasks, and remember the one that drives."""
        if self._activity.now:
            raise UsageError(
                f"another task is {self._activity.now} {self.name!r}: "
                "a run is driven by one task at a time.\n"
                "Give each task a run of its own, or pass the increments on in a queue."
            )
        task = self._ask()
        if task is None or task is not self._task() or threading.get_ident() != self._thread:
            task = current_task()
            if task is None:
                raise UsageError(
                    f"{self.name!r} must be driven in a task of asyncio or of trio, and this is "
                    "neither"
                )
            self._task = weakref.ref(task)
            self._ask = asking_for_task()
            self._thread = threading.get_ident()
        self._activity.now = doing

    # -- the loop --------------------------------------------------------------------------

    async def _prepare(self) -> Any:
        """Open the run and start the loop, if it is the first step; stop, if that was asked for.

        Return the generator; None if the run is done.
        """
        lifecycle = self._lifecycle
        if self._generator is None:
            await self._start_loop()
        if lifecycle.status == "done":
            return None
        if lifecycle.status == "closed":
            raise lifecycle.closed_error()
        if lifecycle.stop_request.reason:
            await self._stop()
        if self._generator.ag_frame is None:  # an event loop that ends closes all async generators
            await self._close("its event loop has ended")
            raise lifecycle.closed_error()
        return self._generator

    async def _accept_in_thread(self, session: Session, increment: I) -> None:
        """Accept an increment where that may block.

        The first increments are proved and may start a log. After a failed log, a checkpoint
        replaces it.
        """
        self._sent = await self._wait_at_yield(partial(session.accept, increment))
        if not session.is_checking:
            self._accept = session.accept

    async def _start_loop(self) -> None:
        lifecycle = self._lifecycle
        await self._open()
        lifecycle.tell_rest()
        if lifecycle.status == "open":
            self._session = lifecycle.session
            self._generator = self._session.start(self._start)
            take_over = partial(_take_over, weakref.ref(self))
            lifecycle.drive(self._generator.ag_frame, lambda: None, take_over)
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Run the steps of a plain loop again that are stored after its newest frame."""
        session = self._lifecycle.session
        if session.is_reentered:
            with session.reentering():
                await anext(self._generator)
        while session.is_behind:
            if self._lifecycle.stop_request.reason:
                await self._stop()
            try:
                increment = await anext(self._generator)
            except StopAsyncIteration:
                raise session.ended_early() from None
            session.compare(increment)
        session.end_catch_up()

    async def _open(self) -> None:
        lifecycle = self._lifecycle
        if lifecycle.status in ("new", "open"):
            lifecycle.watch()
        if lifecycle.status != "new":
            return
        left = lifecycle.claim()
        if left is not None and left.take_over is not None:
            await left.take_over(TAKEN_OVER)
        elif left is not None:
            await in_thread(partial(left.close, TAKEN_OVER))
        while seconds := await cancellable_in_thread(lifecycle.bring_back):
            await pause(seconds)

    async def _wait_at_yield(self, function: Callable[[], T]) -> T:
        """Call a function that may block, while the generator waits at its yield."""
        try:
            return await cancellable_in_thread(function)
        except Exception:
            raise
        except GeneratorExit:
            self._activity.now = _CLOSING
            self._lifecycle.close(_CANCELLED)
            raise
        except BaseException:  # cancelled: the state is complete and can be stored
            await self._close(_CANCELLED)
            raise

    # -- the end ---------------------------------------------------------------------------

    async def _stop(self) -> NoReturn:
        """End the loop because of a signal or the time limit."""
        lifecycle = self._lifecycle
        self._activity.now = _CLOSING
        await self._finish_first(in_thread(lifecycle.save))
        await self._finish_first(self._leave(lifecycle.release_stopped))
        await self._finish_first(self._let_others_store())
        lifecycle.leave()

    async def _act_on_signals(self, error: BaseException | None) -> None:
        """Let signals that have come take effect, at the end."""
        stop_request = self._lifecycle.stop_request
        stop_request.end_watch()
        if stop_request.ends_program(error):
            await self._finish_first(self._let_others_store())
        stop_request.act(self._lifecycle.step, error)

    async def _finish_first(self, work: Awaitable[None]) -> None:
        """Await; while a signal has yet to end the program, ignore a cancellation."""
        try:
            await work
        except BaseException as error:
            if not (is_cancellation(error) and self._lifecycle.stop_request.is_pending):
                raise

    async def _let_others_store(self) -> None:
        """Wait until the other runs of this event loop have ended their steps and stored."""
        # A run whose step contains this code waits for it, and is left out. Other runs may wait for
        # it as well without showing it, so the wait has a limit.
        here = [run for run in [*_runs] if run._thread == self._thread]  # noqa: SLF001
        others = [run for run in here if run._is_in_other_step()]  # noqa: SLF001
        for run in others:
            run._lifecycle.save_soon()  # noqa: SLF001
        longest = max((run._lifecycle.stop_request.longest_step for run in others), default=0.0)  # noqa: SLF001
        until = process.monotonic() + 2 * longest + _PATIENCE
        while any(run._is_about_to_store() for run in others) and process.monotonic() < until:  # noqa: SLF001
            await pause(_PAUSE)

    def _is_in_other_step(self) -> bool:
        """Return whether another task is in a step of this run that does not contain this code."""
        is_in_step = self._lifecycle.status == "open" and self._activity.now == _STEP
        is_around = self._mark[0] in _around.get()
        return is_in_step and not is_around and self._lifecycle.is_elsewhere()

    def _is_about_to_store(self) -> bool:
        return self._lifecycle.stop_request.stores_soon and self._is_in_other_step()

    async def _give_up(self, error: BaseException) -> None:
        """Release the run after an exception, and let signals that have come take effect."""
        try:
            await self._fail(error)
        except BaseException as failure:  # from the generator, which was closed at its yield
            await self._act_on_signals(failure)
            raise
        await self._act_on_signals(error)
        if isinstance(error, StopAsyncIteration):  # it would look like the end of the loop
            raise RuntimeError("the loop raised StopAsyncIteration") from error

    async def _fail(self, error: BaseException) -> None:
        """Release the run after an exception."""
        if self._lifecycle.status != "open":
            self._lifecycle.tell(error)
            return
        self._activity.now = _CLOSING
        end = partial(self._lifecycle.abort, error)
        if isinstance(error, GeneratorExit):  # nothing can be awaited any more
            end()
        else:
            await self._leave(end)
            self._lifecycle.tell(error)

    async def _close(self, why: str) -> None:
        """Release the run at a yield."""
        lifecycle = self._lifecycle
        if lifecycle.status != "open":
            lifecycle.close(why)
            return
        self._activity.now = _CLOSING
        try:
            await in_thread(lifecycle.keep)
        except BaseException as error:
            await self._fail(error)
            raise
        await self._leave(partial(lifecycle.close, why))
        lifecycle.tell()

    async def _leave(self, end: Callable[[], None]) -> None:
        """Close the generator, and then the run whatever happens."""
        try:
            if self._generator is not None:
                await self._generator.aclose()
        except GeneratorExit:
            end()
            raise
        except BaseException:
            await in_thread(end)
            raise
        await in_thread(end)


async def _take_over(reference: weakref.ref[AsyncRun[Any, Any]], why: str) -> None:
    """Close the run that an abandoned call has left open."""
    run = reference()
    if run is None:  # it was collected, and released its lock
        return
    run._begin(_CLOSING)  # noqa: SLF001  # it is of the same class
    try:
        await run._close(why)  # noqa: SLF001
    finally:
        run._activity.now = ""  # noqa: SLF001


def _is_awaited(reference: weakref.ref[AsyncRun[Any, Any]]) -> bool:
    """Return whether a task that drove the run is still alive, and may continue it."""
    run = reference()
    task = run._task() if run is not None else None  # noqa: SLF001
    return task is not None and not is_over(task) and task is not current_task()
