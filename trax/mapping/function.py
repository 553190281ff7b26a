"""`map`: calls a function for many items, and stores each result."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any, Literal, TypeVar, Unpack, overload

from trax._public import public
from trax.calls.options import SyncOrReplica, checks_keywords
from trax.interrupts.deadline import TimeLimit
from trax.mapping.async_map import AsyncMap
from trax.mapping.map_call import Given, GivenExecutor, MapCall
from trax.mapping.one_pass import Pass
from trax.mapping.sync_map import Map

__all__ = ["map"]

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@overload
def map(  # type: ignore[overload-overlap]  # a coroutine is an object, too
    function: Callable[[T], Coroutine[Any, Any, V]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    key: None = None,
    return_exceptions: Literal[False],
    **options: Unpack[Given],
) -> AsyncMap[T, V]: ...
@overload
def map(  # type: ignore[overload-overlap]  # a coroutine is an object, too
    function: Callable[[T], Coroutine[Any, Any, V]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    key: Callable[[T], K],
    return_exceptions: Literal[False],
    **options: Unpack[Given],
) -> AsyncMap[K, V]: ...
@overload
def map(  # type: ignore[overload-overlap]  # a coroutine is an object, too
    function: Callable[[T], Coroutine[Any, Any, V]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    key: None = None,
    return_exceptions: bool = True,
    **options: Unpack[Given],
) -> AsyncMap[T, V | Exception]: ...
@overload
def map(  # type: ignore[overload-overlap]  # a coroutine is an object, too
    function: Callable[[T], Coroutine[Any, Any, V]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    key: Callable[[T], K],
    return_exceptions: bool = True,
    **options: Unpack[Given],
) -> AsyncMap[K, V | Exception]: ...
@overload
def map(
    function: Callable[[T], V],
    items: Iterable[T],
    *,
    key: None = None,
    return_exceptions: Literal[False],
    **options: Unpack[GivenExecutor],
) -> Map[T, V]: ...
@overload
def map(
    function: Callable[[T], V],
    items: Iterable[T],
    *,
    key: Callable[[T], K],
    return_exceptions: Literal[False],
    **options: Unpack[GivenExecutor],
) -> Map[K, V]: ...
@overload
def map(
    function: Callable[[T], V],
    items: Iterable[T],
    *,
    key: None = None,
    return_exceptions: bool = True,
    **options: Unpack[GivenExecutor],
) -> Map[T, V | Exception]: ...
@overload
def map(
    function: Callable[[T], V],
    items: Iterable[T],
    *,
    key: Callable[[T], K],
    return_exceptions: bool = True,
    **options: Unpack[GivenExecutor],
) -> Map[K, V | Exception]: ...


@public
@checks_keywords(progress="For a bar, give the map to one: for key, result in tqdm(trax.map(...)).")
def map(
    function: Callable[[Any], Any],
    items: Any,
    *,
    executor: Executor | None = None,
    name: str | None = None,
    key: Callable[[Any], Any] | None = None,
    in_flight: int | None = None,
    return_exceptions: bool = True,
    fresh: bool = False,
    traxdir: str | os.PathLike[str] | None = None,
    sync: SyncOrReplica = "interval",
    replica: str | os.PathLike[str] | None = None,
    replica_seconds: float | timedelta = 1.0,
    renames: Mapping[str, str] | None = None,
    varying: tuple[str, ...] | str = (),
    signals: Iterable[int | str] | int | str | None = ("SIGTERM",),
    time_limit: TimeLimit = "auto",
) -> Any:
    """Call a function for each of many items, and store each result as soon as it is there.

    The pairs ``(key, result)`` come in the order in which they are completed. A result is stored
    before it is handed out, and its item is never computed again: after a crash, run the same
    script again. It first gives the stored results, then those of the other items. A crash loses
    at most the items that were in flight.

    This is a run of its own with a name in the store, for use outside of loops. It takes about 20
    bytes of memory for an item that is done.

    Parameters
    ----------
    function : callable
        Takes an item. Calls of an async function are tasks of asyncio.
    items : iterable
        The items, as many as there are; they are taken no faster than they are computed. On a
        later call more may come, in any order, but all that are done must come again. For an
        async function an async iterable, too.
    executor : concurrent.futures.Executor, optional
        Calls the function, in its threads or processes. By default the function is called in the
        thread that iterates, one item after the other; or in so many threads as `in_flight` says.
    name : str, optional
        The run's name, by default the function's.
    key : callable, optional
        Returns the key of an item, by which it is known as done: a name or a number that no other
        item has, the same in every process. By default the item itself is its key: it is
        recognised by its content, and of equal items one is computed.
    in_flight : int, optional
        The number of items at a time that are computed, wait for a worker, or wait to be handed
        out. By default twice the number of the executor's workers, and 32 tasks.
    return_exceptions : bool
        Whether an item that fails has its exception as its result. Else the exception is raised
        and ends the iteration. Either way it is not stored: the next call tries the item again.
    fresh : bool
        Whether to move the stored results aside and start over.
    varying : str or tuple of str
        The names of values that the function is bound to and that may change: the arguments of a
        `partial`, ``self`` for a method's object, and the variables of a closure. ``function``
        allows a function of another name.
    traxdir, sync, replica, replica_seconds, renames, signals, time_limit
        As for `resumable`.

    Returns
    -------
    Map or AsyncMap
        An iterator over the pairs, for ``for``, or for ``async for`` if the function is async. Its
        `result` returns the results as a list, in the order of the items.

    Raises
    ------
    UsageError
        An argument is invalid; or, while it is iterated over, the run is another one, two items
        have the same key, or it is inside of a loop of `resumable`.
    ArgumentsChangedError
        The run has the results of another function, or of one that is bound to other values. Or, at
        the end of the iteration, items that are done did not come.
    LockedError
        The run is held elsewhere.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import trax
    >>> def length(word):
    ...     return len(word)
    >>> with ThreadPoolExecutor(4) as pool:
    ...     for word, n in trax.map(length, ["to", "be", "or", "not"], executor=pool):
    ...         assert n == len(word)
    >>> trax.map(length, ["to", "be", "or", "not"]).result()
    [2, 2, 2, 3]
    """
    call = MapCall.check(
        function,
        items,
        name,
        in_flight,
        executor=executor,
        key=key,
        return_exceptions=return_exceptions,
        fresh=fresh,
        traxdir=traxdir,
        sync=sync,
        replica=replica,
        replica_seconds=replica_seconds,
        renames=renames,
        varying=varying,
        signals=signals,
        time_limit=time_limit,
    )
    return AsyncMap(call, Pass(call)) if call.is_async else Map(call)
