"""A call of a decorated async generator function: the driver of the engine for async loops.

Strategy: what may block, which is all that opens, forces, checkpoints and closes, goes to a worker
thread; what is left on the event loop's thread is to pickle an increment, fold it and write it
into the page cache. While the thread works, the generator waits at its ``yield``, so the state is
whole, and a cancellation that comes then can close the run as any caller could.

What ends the program breaks off whatever goes on in the event loop. So a run that stops lets the
others come to the ends of their steps first, where they store what only a checkpoint can keep.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Self, TypeVar

from trax.engine.async_threads import (
    cancellable_in_thread,
    current_task,
    in_thread,
    is_cancellation,
    is_over,
    pause,
)
from trax.engine.deferred import OPENING, STEP, DeferredEngine
from trax.engine.driven import Driven
from trax.engine.lifecycle import TAKEN_OVER
from trax.engine.registry import Active
from trax.errors import UsageError

__all__ = ["AsyncRun"]

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate)
T = TypeVar("T")

_CLOSING: Final = "closing"
_CANCELLED: Final = "it was cancelled"
_END: Any = object()
_PATIENCE = 5.0  # seconds; and twice as long as their longest steps
_PAUSE = 0.01

_clock = time.monotonic
# In the steps of which runs this is; a task takes that along to those that it begins.
_around: ContextVar[tuple[object, ...]] = ContextVar("trax: around", default=())
_by_engine: weakref.WeakValueDictionary[int, AsyncRun[Any, Any]] = weakref.WeakValueDictionary()


class AsyncRun(Driven[S, DeferredEngine], AsyncIterator[I], Generic[S, I]):
    """A run that is driven by iterating over its increments with ``async for``.

    Nothing of the loop runs before the first increment is asked for. The stored state is brought
    back, and the run is held for writing, then or where an ``async with`` is entered; it is let go
    when the loop ends, however it ends, at `aclose`, and where the ``async with`` is left. All of
    that happens in a worker thread. Cancelled, it keeps every increment that was handed out, and
    is let go before the cancellation passes on.

    `state`, `step`, `resumed_at` and `done` do not wait. Asked for before the run is open they open
    it there and then, which blocks the event loop; in an ``async with`` it is open. An `AsyncRun`
    that is gone without `aclose` is let go as well, but blocks for it, and the event loop has the
    generator closed as it likes.

    One task drives it at a time.

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

    def __init__(self, engine: DeferredEngine, start: Callable[[Any], Any]) -> None:
        super().__init__(engine)
        self._start = start
        self._generator: Any = None  # typeshed hides what only real async generators have
        self._accept: Callable[[Any], Any] | None = None  # None until the first step has gone well
        self._sent: Any = None
        self._mark = object()
        self._task: Callable[[], Any] = _nothing
        self._thread = 0
        me = weakref.ref(self)
        engine.is_awaited = partial(_is_awaited, me)
        _by_engine[id(engine)] = self
        weakref.finalize(self, engine.let_go)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> I:
        self._begin(STEP)
        try:
            increment: I = await self._step()
        except BaseException as error:
            await self._give_up(error)
            if isinstance(error, StopAsyncIteration):  # it would pass for the end of the loop
                raise RuntimeError("the loop raised StopAsyncIteration") from error
            raise
        finally:
            self._engine.doing = ""
        if increment is _END:
            await self._act_on_signals(None)
            raise StopAsyncIteration
        return increment

    async def result(self) -> S:
        """Drive the loop to its end.

        Returns
        -------
        object
            The final state; async generators have no return value.
        """
        async for _ in self:
            pass
        state: S = self._engine.result
        return state

    async def aclose(self) -> None:
        """End the loop here and let go of the run; the next call resumes it."""
        await self._end(None)

    async def _end(self, error: BaseException | None) -> None:
        if self._engine.doing == STEP:
            raise self._engine.running_error()
        self._begin(_CLOSING)
        try:
            await self._close("it was closed")
        except BaseException as failure:
            await self._act_on_signals(failure)
            raise
        finally:
            self._engine.doing = ""
        await self._act_on_signals(error)

    async def __aenter__(self) -> Self:
        self._begin(OPENING)
        try:
            await self._open()
        except BaseException as error:
            await self._give_up(error)
            raise
        finally:
            self._engine.doing = ""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end(error)

    def _opened(self) -> DeferredEngine:
        if self._engine.status == "new" and self._engine.doing:
            raise UsageError(f"{self.name!r} is being opened just now: wait for it")
        return super()._opened()

    def _begin(self, doing: str) -> None:
        """Keep other tasks out; remember which one is in."""
        if self._engine.doing:
            raise UsageError(
                f"another task is {self._engine.doing} {self.name!r}: a run is driven by one task "
                "at a time. Give each task a run of its own, or hand the increments on in a queue."
            )
        task = current_task()
        if task is None:
            raise UsageError(
                f"{self.name!r} is driven in a task of asyncio or of trio; this is none"
            )
        if self._task() is not task:
            self._task = weakref.ref(task)
            self._thread = threading.get_ident()
        self._engine.doing = doing

    # -- the loop --------------------------------------------------------------------------

    async def _step(self) -> Any:
        """Return the next increment, or `_END`."""
        engine = self._engine
        if self._generator is None:
            await self._start_loop()
        if engine.status == "done":
            return _END
        if engine.status == "closed":
            raise engine.closed_error()
        if engine.stopping.reason:
            await self._stop()
        generator = self._generator
        if generator.ag_frame is None:  # an event loop closes what it finds when it ends
            await self._close("its event loop has ended")
            raise engine.closed_error()
        token = _around.set((*_around.get(), self._mark))
        try:
            increment = await generator.asend(self._sent)
        except StopAsyncIteration:
            await cancellable_in_thread(partial(engine.finish, None))
            return _END
        finally:
            try:  # noqa: SIM105  # at every step, and costs nothing
                _around.reset(token)
            except ValueError:  # whoever collects a task that is gone has another context
                pass
        if self._accept is None or engine.is_suspect:
            # The first one tries out what is to be stored, and may begin a log; and one that finds
            # the log failed has a checkpoint take its place.
            self._sent = await self._settle(partial(engine.accept, increment))
            self._accept = engine.accept
        else:
            self._sent = self._accept(increment)
        if engine.unsettled:
            await self._settle(engine.settle)
        return increment

    async def _start_loop(self) -> None:
        engine = self._engine
        await self._open()
        if engine.status == "open":
            self._generator = self._start(engine.state)
            engine.drive(self._generator.ag_frame, _nothing)

    async def _open(self) -> None:
        engine = self._engine
        if engine.status in ("new", "open"):
            engine.watch()
        if engine.status != "new":
            return
        left = engine.claim()
        if left is not None:
            await _take_over(left)
        await cancellable_in_thread(engine.bring_back)

    async def _settle(self, function: Callable[[], T]) -> T:
        """Call what may block while the generator waits at its yield."""
        try:
            return await cancellable_in_thread(function)
        except Exception:
            raise
        except GeneratorExit:
            self._engine.doing = _CLOSING
            self._engine.close(_CANCELLED)
            raise
        except BaseException:  # cancelled: the state is whole, and can be kept
            await self._close(_CANCELLED)
            raise

    # -- the end ---------------------------------------------------------------------------

    async def _stop(self) -> NoReturn:
        """End the loop because a signal or the time limit asks for it."""
        engine = self._engine
        self._engine.doing = _CLOSING
        await self._see_through(in_thread(engine.save))
        await self._see_through(self._leave(engine.release))
        await self._see_through(self._let_others_store())
        engine.leave()

    async def _act_on_signals(self, error: BaseException | None) -> None:
        """Do at the end what signals that have come ask for."""
        stopping = self._engine.stopping
        stopping.end_watch()
        if stopping.ends_program(error):
            await self._see_through(self._let_others_store())
        stopping.act(self._engine.step, error)

    async def _see_through(self, work: Awaitable[None]) -> None:
        """Await; a signal that has still to end the program goes before a cancellation."""
        try:
            await work
        except BaseException as error:
            if not (is_cancellation(error) and self._engine.stopping.is_pending):
                raise

    async def _let_others_store(self) -> None:
        """Let the other runs of this event loop come to the ends of their steps.

        One whose step this is in waits for this one. There may be others that do, so the patience
        has an end.
        """
        runs = [run for reference in _by_engine.valuerefs() if (run := reference()) is not None]
        others = [run for run in runs if run._thread == self._thread and run._can_go_on()]  # noqa: SLF001
        for run in others:
            run._engine.save_soon()  # noqa: SLF001
        longest = max((run._engine.stopping.longest_step for run in others), default=0.0)  # noqa: SLF001
        until = _clock() + 2 * longest + _PATIENCE
        while any(run._is_about_to_store() for run in others) and _clock() < until:  # noqa: SLF001
            await pause(_PAUSE)

    def _can_go_on(self) -> bool:
        """Whether another task is in a step that this one is no part of."""
        engine = self._engine
        if engine.status != "open" or engine.doing != STEP or self._mark in _around.get():
            return False
        return engine.is_elsewhere()

    def _is_about_to_store(self) -> bool:
        return self._engine.stopping.stores_soon and self._can_go_on()

    async def _give_up(self, error: BaseException) -> None:
        """Let go of the run after an exception, and do what signals that have come ask for."""
        try:
            await self._fail(error)
        except BaseException as failure:  # of the generator, which was closed at its yield
            await self._act_on_signals(failure)
            raise
        await self._act_on_signals(error)

    async def _fail(self, error: BaseException) -> None:
        """Let go of the run after an exception."""
        if self._engine.status != "open":
            return
        self._engine.doing = _CLOSING
        end = partial(self._engine.abort, error)
        if isinstance(error, GeneratorExit):  # nobody awaits this any more
            end()
        else:
            await self._leave(end)

    async def _close(self, why: str) -> None:
        """Let go of the run at a yield."""
        engine = self._engine
        if engine.status != "open":
            engine.close(why)
            return
        self._engine.doing = _CLOSING
        try:
            await in_thread(engine.keep)
        except BaseException as error:
            await self._fail(error)
            raise
        await self._leave(partial(engine.close, why))

    async def _leave(self, end: Callable[[], None]) -> None:
        """Close the generator, and then the engine whatever happens."""
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


async def _take_over(left: Active) -> None:
    """Close what an abandoned call, of either kind, has left open."""
    run = _by_engine.get(id(left.engine))
    if run is None:
        await in_thread(partial(left.engine.close, TAKEN_OVER))
        return
    run._begin(_CLOSING)  # noqa: SLF001  # it is one of us
    try:
        await run._close(TAKEN_OVER)  # noqa: SLF001
    finally:
        run._engine.doing = ""  # noqa: SLF001


def _is_awaited(reference: weakref.ref[AsyncRun[Any, Any]]) -> bool:
    """Return whether a task that drove the run lives on, and may go on with it."""
    run = reference()
    task = run._task() if run is not None else None  # noqa: SLF001
    return task is not None and not is_over(task) and task is not current_task()


def _nothing() -> None: ...
