"""Blocking work in a thread: what comes back from it, and what a cancellation does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

from trax.engine.async_threads import asking_for_task, current_task, in_thread, is_over


def run_asyncio(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run an async function with asyncio."""

    async def call() -> Any:
        return await main()

    return asyncio.run(call())


@pytest.fixture(params=[run_asyncio, trio.run])
def run(request: pytest.FixtureRequest) -> Any:
    """Run an async function with one of the two libraries."""
    return request.param


def test_the_work_is_done_elsewhere_and_its_value_comes_back(run: Any) -> None:
    """It is awaited in the thread of the event loop."""

    async def main() -> None:
        assert await in_thread(threading.get_ident) != threading.get_ident()

    run(main)


def test_the_task_is_asked_for_again(run: Any) -> None:
    """It is the present one as long as its event loop runs, and then there is none."""

    async def main() -> Callable[[], Any]:
        ask = asking_for_task()
        assert ask() is current_task() is not None
        return ask

    assert run(main)() is None


@pytest.mark.parametrize("error", [KeyError, StopAsyncIteration, KeyboardInterrupt, SystemExit])
def test_exceptions_come_back(run: Any, error: type[BaseException]) -> None:
    """Of every kind; a StopIteration becomes a RuntimeError, as in any coroutine."""

    def fail(kind: type[BaseException]) -> None:
        raise kind

    async def main() -> None:
        with pytest.raises(error):
            await in_thread(lambda: fail(error))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await in_thread(lambda: fail(StopIteration))

    run(main)


def test_tasks_are_known_and_known_to_be_over(run: Any) -> None:
    """Outside of an event loop there is none."""
    tasks = []

    async def main() -> None:
        tasks.append(current_task())
        assert tasks[0] is not None
        assert not is_over(tasks[0])

    run(main)
    assert is_over(tasks[0])
    assert current_task() is None


def test_what_the_work_raises_goes_before_a_cancellation() -> None:
    """As when something fails while it is cleaned up."""
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        go_on.wait(20)
        raise KeyError

    async def main() -> None:
        task = asyncio.create_task(in_thread(fail))
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(KeyError):
            await task

    asyncio.run(main())


def test_where_there_are_no_more_threads_the_work_is_done_all_the_same() -> None:
    """An event loop that is shutting down must still be able to let go of a run."""

    async def main() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        assert await in_thread(threading.get_ident) == threading.get_ident()

    asyncio.run(main())


def test_work_that_an_executor_drops_is_done_all_the_same() -> None:
    """The program has shut it down, with what waits in it; a run must still be let go."""
    done: list[str] = []
    busy, go_on = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        go_on.wait(20)

    async def main() -> None:
        executor = ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(executor)
        executor.submit(occupy)
        await asyncio.sleep(0)
        busy.wait(20)
        task = asyncio.create_task(in_thread(lambda: done.append("work")))
        await asyncio.sleep(0)
        executor.shutdown(wait=False, cancel_futures=True)
        await task
        assert done == ["work"]
        go_on.set()

    asyncio.run(main())
    assert done == ["work"]


def test_work_that_nobody_awaits_any_more_is_done_once() -> None:
    """Also where no thread has begun it, and none ever will."""
    done: list[str] = []
    executor = ThreadPoolExecutor(1)
    busy, go_on = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        go_on.wait(20)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(executor)
        executor.submit(occupy)
        busy.wait(20)
        waiting = in_thread(lambda: done.append("work"))
        waiting.send(None)
        waiting.close()
        assert done == ["work"]
        go_on.set()

    asyncio.run(main())
    executor.shutdown()
    assert done == ["work"]
