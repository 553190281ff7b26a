"""Drives a map of an ordinary function: `Map`, which hands out results as they are completed.

Strategy: a result is stored in the thread in which its future is completed, and then put into a
queue. The thread that iterates takes it from there, and has one more item computed for each that it
hands out.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from trax._public import public
from trax.mapping.draws import Watched
from trax.mapping.map_driver import MapDriver
from trax.mapping.one_pass import Came, Pass
from trax.mapping.remote import Remote

if TYPE_CHECKING:
    from trax.mapping.map_call import MapCall

__all__ = ["Map"]

K = TypeVar("K")
V = TypeVar("V")

_Pairs = Generator[tuple[Any, Any], None, None]
_Landed = SimpleQueue[Came | None]  # None ends a wait


@public
class Map(MapDriver[K, V], Iterator[tuple[K, V]], Generic[K, V]):
    """The results of a function for many items, as pairs of a key and a result.

    `trax.map` returns it. Nothing is computed before the first `next`; then the run is locked for
    writing. The lock is released at the end, however it comes, at `close`, and when the `Map` is
    dropped: items that have begun are finished and stored, and others are not begun.

    Iterating over it again gives the stored results first.

    Examples
    --------
    >>> import trax
    >>> with trax.map(abs, [-1, -2, -3]) as results:
    ...     first = next(results)
    >>> first, results.step, results.result()
    ((-1, 1), 1, [1, 2, 3])
    """

    def __init__(self, call: MapCall) -> None:
        one_pass, self._loop, self._landed = _new_loop(call)
        super().__init__(call, one_pass)
        # Of the loop, which a for statement keeps. It refers to nothing that refers to the map.
        weakref.finalize(self._loop, one_pass.undriven.end)

    def __iter__(self) -> Iterator[tuple[K, V]]:  # noqa: PYI034  # a for statement drops the rest
        if self._pass.status in ("closed", "done"):
            self._renew()
        return self._loop

    def __next__(self) -> tuple[K, V]:
        if self._pass.status == "closed":
            raise self._pass.closed_error()
        return next(self._loop)

    def result(self) -> list[V]:
        """Compute all items, and return the results in the order of the items, as a list.

        Raises
        ------
        Exception
            An item has failed, and `return_exceptions` is false.
        """
        if self._pass.status != "new":
            self.close()
            self._renew()
        one_pass, results = self._pass, dict[bytes, V]()
        one_pass.order = order = list[bytes]()
        for _, result in self._loop:
            results[one_pass.last] = result
        return [results[digest] for digest in order]

    def close(self) -> None:
        """End here and release the lock; items that have begun are finished and stored."""
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
        if self._pass.is_running():
            raise self._pass.running_error()
        if self._pass.status in ("new", "open"):
            try:
                _land(self._pass, self._landed)
            finally:
                self._pass.close()
                self._loop.close()
        self._pass.act(error)

    def _renew(self) -> None:
        self._call = self._call.again()
        self._pass, self._loop, self._landed = _new_loop(self._call)


def _new_loop(call: MapCall) -> tuple[Pass, _Pairs, _Landed]:
    one_pass, landed = Pass(call), _Landed()
    loop = _drive(call, one_pass, landed)
    reference = weakref.ref(loop)
    one_pass.is_running = partial(_is_running, reference)
    one_pass.leave = partial(_leave, reference)
    return one_pass, loop, landed


def _is_running(reference: weakref.ref[_Pairs]) -> bool:
    loop: Any = reference()  # typeshed hides the attributes of real generators
    return loop is not None and loop.gi_running


def _leave(reference: weakref.ref[_Pairs]) -> None:
    loop = reference()
    if loop is not None:
        loop.close()


def _drive(call: MapCall, one_pass: Pass, landed: _Landed) -> _Pairs:
    """Yield the pairs.

    It does not refer to the `Map`, and nothing else refers to it: so it is closed when it is
    dropped, by a ``for`` statement or with the map.
    """
    try:
        one_pass.watch(partial(landed.put, None))
        one_pass.open()
        yield from _hand_out_stored(one_pass)
        yield from _compute(call, one_pass, landed)
        one_pass.finish()
    except GeneratorExit:
        try:
            if one_pass.is_driver:  # another thread may be one that computes
                _land(one_pass, landed)
        finally:
            one_pass.abandon()
        raise
    except BaseException as error:
        try:
            if isinstance(error, Exception):
                _land(one_pass, landed)
        finally:
            one_pass.fail(error)
            one_pass.act(error)
        raise
    one_pass.act()


def _hand_out_stored(one_pass: Pass) -> _Pairs:
    for came in one_pass.stored():
        if one_pass.stop_request.reason:
            one_pass.stop()
        yield one_pass.hand_out(came)


def _compute(call: MapCall, one_pass: Pass, landed: _Landed) -> _Pairs:
    """Have the items computed that are not done, and yield each pair as it comes."""
    with _submitting(call, one_pass) as submit:
        begin_next = partial(_begin_next, submit, one_pass, landed, iter(call.items))
        yield from _take_turns(call, one_pass, landed, begin_next)


def _take_turns(
    call: MapCall, one_pass: Pass, landed: _Landed, begin_next: Callable[[], bool]
) -> _Pairs:
    """Begin items, and yield each pair as it comes.

    Where results are there already, one is handed out for each item that is begun. A source that
    blocks holds up those that come meanwhile.
    """
    flying, stop_request, is_over = one_pass.flying, one_pass.stop_request, False
    while not is_over or flying:
        if stop_request.reason:
            _land(one_pass, landed)
            one_pass.stop()
        begun = 0
        while not is_over and len(flying) < call.in_flight and (not begun or landed.empty()):
            is_over = not begin_next()
            begun += 1
        came = landed.get() if flying else None
        if came is not None:
            one_pass.land(came)
            yield one_pass.hand_out(came)


@contextlib.contextmanager
def _submitting(call: MapCall, one_pass: Pass) -> Iterator[Callable[..., Any]]:
    """Return the function that has an item computed, for the length of a ``with`` block."""
    function = partial(one_pass.stop_request.lead, call.function)
    if call.is_remote:
        yield partial(call.executor.submit, Remote(call.function, call.name))
    elif call.executor is not None:
        yield partial(call.executor.submit, function)
    elif call.in_flight == 1:
        yield partial(_submit_here, Watched(call))
    else:
        pool = ThreadPoolExecutor(call.in_flight)
        try:
            yield partial(pool.submit, function)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin_next(
    submit: Callable[..., Any],
    one_pass: Pass,
    landed: _Landed,
    items: Iterator[Any],
) -> bool:
    """Have the next item computed that is not done; return whether there was one."""
    for item in items:
        admitted = one_pass.admit(item)
        if admitted is not None:
            digest, key = admitted
            future = submit(item)
            one_pass.begin(digest, future)
            future.add_done_callback(partial(_settle, one_pass, landed, digest, key))
            return True
    return False


def _submit_here(function: Callable[[Any], Any], item: Any) -> Future[Any]:
    """Call the function in this thread; an exception that ends the program is passed on."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:  # noqa: BLE001  # it is the item's
        future.set_exception(error)
    return future


def _settle(one_pass: Pass, landed: _Landed, digest: bytes, key: Any, future: Future[Any]) -> None:
    landed.put(one_pass.settle(digest, key, future))


def _land(one_pass: Pass, landed: _Landed) -> None:
    """Wait for the items that have begun, which are stored, and cancel the others."""
    for future in [*one_pass.flying.values()]:
        future.cancel()
    is_ending = not threading.main_thread().is_alive()  # then no executor is left to wait for
    while one_pass.flying and not (is_ending and landed.empty()):
        came = landed.get()
        if came is not None:
            one_pass.land(came)
