"""Drives a map of an async function: `AsyncMap`, whose calls are tasks of asyncio.

Strategy: one task takes the items and starts a task for each, as long as there is room. A result
is stored when its task is done, and then put into a queue for the one that iterates, which makes
room for another. Where a result must be forced to the disk, or copied, before it is handed out, a
worker thread does that, for all that have come.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from functools import partial
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from trax._public import public
from trax.engine.async_threads import in_thread
from trax.errors import CallError, UsageError
from trax.mapping.map_driver import MapDriver
from trax.mapping.one_pass import Came, Pass

if TYPE_CHECKING:
    import asyncio

    from trax.mapping.map_call import MapCall

__all__ = ["AsyncMap"]

K = TypeVar("K")
V = TypeVar("V")

_TURN = 64  # items that are gone through without letting other tasks run


@public
class AsyncMap(MapDriver[K, V], AsyncIterator[tuple[K, V]], Generic[K, V]):
    """The results of an async function for many items, as pairs of a key and a result.

    `trax.map` returns it. Nothing is computed before the first pair is asked for; then the run is
    locked for writing. The lock is released at the end, however it comes. At `aclose`, and when an
    ``async with`` is left, calls that have begun are finished and stored first. When the task is
    cancelled, or the `AsyncMap` is dropped, they are cancelled.

    Iterating over it again gives the stored results first.

    Examples
    --------
    >>> import asyncio
    >>> import trax
    >>> async def double(n):
    ...     return 2 * n
    >>> async def main():
    ...     async with trax.map(double, range(3)) as results:
    ...         return sorted([pair async for pair in results])
    >>> asyncio.run(main())
    [(0, 0), (1, 2), (2, 4)]
    """

    def __init__(self, call: MapCall, one_pass: Pass) -> None:
        super().__init__(call, one_pass)
        self._loop = _drive(call, self._pass)

    def __del__(self) -> None:
        self._pass.undriven.end()
        self._pass.abandon()

    def __aiter__(self) -> Self:
        if self._pass.status in ("closed", "done"):
            self._renew()
        return self

    def __iter__(self) -> NoReturn:
        # Without it the message would be that the object is not iterable.
        raise CallError(
            f"the function of {self.name!r} is async, and an ordinary for cannot drive it.\n"
            "Write 'async for key, result in ...', or 'await trax.map(...).result()'."
        )

    async def __anext__(self) -> tuple[K, V]:
        if self._pass.status == "closed":
            raise self._pass.closed_error()
        loop: Any = self._loop  # typeshed hides the attributes of real generators
        if loop.ag_running:
            raise UsageError(
                f"two tasks ask {self.name!r} for results at the same time.\n"
                "Let one task iterate over it: in_flight= says how many items are computed at once."
            )
        pair: tuple[K, V] = await anext(loop)
        return pair

    async def result(self) -> list[V]:
        """Compute all items, and return the results in the order of the items, as a list.

        Raises
        ------
        Exception
            An item has failed, and `return_exceptions` is false.
        """
        if self._pass.status != "new":
            await self.aclose()
            self._renew()
        one_pass, results = self._pass, dict[bytes, V]()
        one_pass.order = order = list[bytes]()
        async for _, result in self._loop:
            results[one_pass.last] = result
        return [results[digest] for digest in order]

    async def aclose(self) -> None:
        """End here and release the lock; calls that have begun are finished and stored."""
        await self._close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close(error)

    async def _close(self, error: BaseException | None) -> None:
        await self._loop.aclose()
        if self._pass.status == "new":
            self._pass.close()
        self._pass.act(error)

    def _renew(self) -> None:
        self._call = self._call.again()
        self._pass = Pass(self._call)
        self._loop = _drive(self._call, self._pass)


class _Tasks:
    """The tasks of one pass: one that takes the items, and one for each item in flight.

    Attributes
    ----------
    landed : asyncio.Queue
        What came of the items; None ends a wait.
    is_over : bool
        Whether no more items will be begun.
    """

    def __init__(self, call: MapCall, one_pass: Pass) -> None:
        import asyncio

        self.landed: asyncio.Queue[Came | None] = asyncio.Queue()
        self.is_over = False
        self._call = call
        self._pass = one_pass
        self._event_loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(call.in_flight)
        self._taking: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """End a wait for `landed`; a signal handler may call this."""
        with contextlib.suppress(RuntimeError):  # the event loop was closed, and nobody waits
            self._event_loop.call_soon_threadsafe(self.landed.put_nowait, None)

    def begin(self) -> None:
        """Start to take items."""
        self._taking = self._event_loop.create_task(self._take())

    async def _take(self) -> None:
        items = _each(self._call.items)
        try:
            await self._room.acquire()
            async for item in items:
                admitted = self._pass.admit(item)
                if admitted is not None:
                    digest, key = admitted
                    task = self._event_loop.create_task(_call(self._call.function, item))
                    self._pass.begin(digest, task)
                    task.add_done_callback(partial(self._settle, digest, key))
                    await self._room.acquire()
        finally:
            self.is_over = True
            self.landed.put_nowait(None)
            await items.aclose()

    def _settle(self, digest: bytes, key: Any, task: asyncio.Task[Any]) -> None:
        self.landed.put_nowait(self._pass.settle(digest, key, task))

    def land(self, came: Came) -> None:
        """Count an item that has come, and make room for another."""
        self._pass.land(came)
        self._room.release()

    def check(self) -> None:
        """Raise the error that has ended the taking of items, if there is one."""
        if self._taking is not None and self._taking.done():
            self._taking.result()

    async def end(self, *, cancels: bool) -> None:
        """Begin no more items, and wait for those that have begun, or cancel them."""
        import asyncio

        taking = [] if self._taking is None else [self._taking]
        flying = self._pass.flying.values()
        _cancel(taking)
        try:
            if cancels:
                _cancel(flying)
            await _wait(taking, flying)
        except asyncio.CancelledError:
            _cancel(flying)
            await _wait(taking, flying)
            raise
        while not self.landed.empty():
            came = self.landed.get_nowait()
            if came is not None:
                self.land(came)


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


async def _wait(*tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Wait until all tasks are done, and what follows on their ends as well."""
    import asyncio

    while running := [task for task in chain(*tasks) if not task.done()]:
        await asyncio.wait(running)
    await asyncio.sleep(0)


async def _call(function: Any, item: Any) -> Any:
    return await function(item)


async def _each(items: Any) -> AsyncGenerator[Any, None]:
    """Yield the items of an iterable, ordinary or async, and let other tasks run now and then."""
    import asyncio

    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
        return
    for number, item in enumerate(items, 1):
        yield item
        if number % _TURN == 0:
            await asyncio.sleep(0)


def _new_tasks(call: MapCall, one_pass: Pass) -> _Tasks:
    try:
        return _Tasks(call, one_pass)
    except RuntimeError as error:
        raise UsageError(
            f"the async function of {call.name!r} needs an event loop of asyncio, and none runs "
            "here"
        ) from error


async def _drive(call: MapCall, one_pass: Pass) -> AsyncGenerator[tuple[Any, Any], None]:
    """Yield the pairs; it does not refer to the `AsyncMap`."""
    import asyncio

    tasks = _new_tasks(call, one_pass)
    try:
        one_pass.watch(tasks.wake)
        await in_thread(one_pass.open)
        for number, came in enumerate(one_pass.stored(), 1):
            if one_pass.stop_request.reason:
                one_pass.stop()
            yield one_pass.hand_out(came)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        tasks.begin()
        while not tasks.is_over or one_pass.flying:
            if one_pass.stop_request.reason:
                await tasks.end(cancels=False)
                one_pass.stop()
            came_or_woken = await tasks.landed.get()
            if came_or_woken is None:
                tasks.check()
            else:
                tasks.land(came_or_woken)
                if one_pass.forces:
                    await in_thread(one_pass.force)
                yield one_pass.hand_out(came_or_woken)
        tasks.check()
        await in_thread(one_pass.finish)
    except BaseException as error:
        is_left = isinstance(error, (Exception, GeneratorExit)) and one_pass.status == "open"
        try:
            await tasks.end(cancels=not is_left)
        finally:
            one_pass.fail(error)
            if not isinstance(error, GeneratorExit):  # the caller goes on, and acts
                one_pass.act(error)
        raise
    one_pass.act()
