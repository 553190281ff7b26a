"""Runs blocking work in a thread beside an event loop, and awaits its end even when cancelled.

Strategy: when `in_thread` returns, the work is finished, so nothing is released while a thread
still uses it. trio can shield a wait from cancellation. asyncio cannot: there the wait is resumed,
and the cancellation is raised afterwards, as if it had come only then. asyncio's own count of
cancellations is not touched, so ``asyncio.timeout`` and task groups recognise their cancellations.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from trax.storage.mutex import Mutex

__all__ = [
    "asking_for_task",
    "cancellable_in_thread",
    "current_task",
    "in_thread",
    "is_cancellation",
    "is_over",
    "pause",
]

T = TypeVar("T")
_Outcome = tuple[Any, BaseException | None]


def current_task() -> Any:
    """Return the task of asyncio or of trio that calls this; None outside of both."""
    # In this order: if trio runs the event loop of asyncio, both have a task.
    return _asyncio_task() or _trio_task()


def asking_for_task() -> Callable[[], Any]:
    """Return a quick `current_task` for as long as this thread runs the present event loop."""
    if not _asyncio_task():
        return current_task
    import asyncio

    return partial(asyncio.current_task, asyncio.get_running_loop())


def is_over(task: Any) -> bool:
    """Return whether a task has ended."""
    if hasattr(task, "done"):
        return bool(task.done())
    return inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED


def is_cancellation(error: BaseException) -> bool:
    """Return whether an exception is a cancellation, of asyncio or of trio."""
    return not isinstance(error, (Exception, GeneratorExit, KeyboardInterrupt, SystemExit))


async def pause(seconds: float) -> None:
    """Let other tasks run for a while."""
    if _asyncio_task():
        import asyncio

        await asyncio.sleep(seconds)
    else:
        import trio

        await trio.sleep(seconds)


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function in a worker thread, and return its result.

    The function is called exactly once, and always runs to its end. Under asyncio, a cancellation
    that comes meanwhile is raised afterwards. Under trio, it is raised at trio's next checkpoint;
    see `cancellable_in_thread`. An exception from the function takes precedence.
    """
    turn, todo = Mutex(), [function]

    def work() -> _Outcome:
        # Return the error as a value: a StopIteration would get lost between the threads.
        with turn:
            try:
                return todo.pop()() if todo else None, None
            except BaseException as error:  # noqa: BLE001  # raised below
                return None, error

    try:
        result, error = await (_wait_in_asyncio if _asyncio_task() else _wait_in_trio)(work)
    except GeneratorExit:  # the event loop is gone, and nothing can be awaited any more
        work()  # waits for a thread that has begun it, or does it here
        raise
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame, and so to itself
    returned: T = result
    return returned


async def cancellable_in_thread(function: Callable[[], T]) -> T:
    """Call a function like `in_thread`, and then raise a cancellation under trio as well."""
    returned = await in_thread(function)
    if not _asyncio_task():
        import trio

        await trio.lowlevel.checkpoint_if_cancelled()
    return returned


async def _wait_in_trio(work: Callable[[], _Outcome]) -> _Outcome:
    import trio

    with trio.CancelScope(shield=True):
        outcome = await trio.to_thread.run_sync(work)
    return outcome  # noqa: RET504  # for mypy the scope could have swallowed an exception


async def _wait_in_asyncio(work: Callable[[], _Outcome]) -> _Outcome:
    import asyncio

    run = contextvars.copy_context().run
    try:
        future = asyncio.get_running_loop().run_in_executor(None, run, work)
    except RuntimeError:  # everything is shutting down, and no more threads start
        return work()
    cancelled = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_shield())
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
            except GeneratorExit:
                stack.pop_all()  # no task is left that could leave the shield
                raise
    # The program may have shut down its threads, and dropped work that had not begun.
    outcome = work() if future.cancelled() else future.result()
    if cancelled is not None and outcome[1] is None:
        try:
            raise cancelled
        finally:
            del cancelled
    return outcome


def _shield() -> contextlib.AbstractContextManager[Any]:
    """Shield from the cancel scopes of anyio, which would cancel the wait again and again."""
    anyio = sys.modules.get("anyio")
    return anyio.CancelScope(shield=True) if anyio else contextlib.nullcontext()


def _asyncio_task() -> Any:
    """Return the present task of asyncio, or None."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop of asyncio runs in this thread
        return None


def _trio_task() -> Any:
    """Return the present task of trio, or None."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:  # trio does not run in this thread
        return None
