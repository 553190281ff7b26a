"""One call of `map`: its function, its items and its options, checked."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from signal import Signals
from typing import Any, Literal, TypedDict

from trax.calls.content import check_key
from trax.calls.options import SyncOrReplica, check_option
from trax.display import show
from trax.errors import UsageError
from trax.interrupts.deadline import TimeLimit
from trax.mapping.executors import check_executor, default_in_flight
from trax.mapping.identity import Identity
from trax.whole_numbers import check_whole

__all__ = ["Given", "GivenExecutor", "MapCall"]

_IN_FLIGHT = 32  # where no executor says it
_OPTIONS = (  # as of `resumable`
    "traxdir", "sync", "replica", "replica_seconds", "renames", "varying", "signals", "time_limit",
)  # fmt: skip


class Given(TypedDict, total=False):
    """The parameters of `trax.map` that have no part in the type of what it returns."""

    name: str | None
    in_flight: int | None
    fresh: bool
    traxdir: str | os.PathLike[str] | None
    sync: SyncOrReplica
    replica: str | os.PathLike[str] | None
    replica_seconds: float | timedelta
    renames: Mapping[str, str] | None
    varying: tuple[str, ...] | str
    signals: Iterable[int | str] | int | str | None
    time_limit: TimeLimit


class GivenExecutor(Given, total=False):
    """Those of an ordinary function."""

    executor: Executor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCall:
    """A call of `map` after the checks; `trax.map` documents each of the values.

    `bound` has the descriptions of what the function was bound to at the call.
    """

    function: Callable[[Any], Any]
    bound: dict[str, dict[str, str]]
    items: Any
    executor: Any
    name: str
    is_named: bool
    key: Callable[[Any], Any] | None
    in_flight: int
    return_exceptions: bool
    fresh: bool
    is_async: bool
    traxdir: str | os.PathLike[str] | None
    sync: SyncOrReplica
    replica: str | os.PathLike[str] | None
    replica_seconds: float
    renames: dict[str, str]
    varying: tuple[str, ...]
    signals: tuple[Signals, ...] | None
    time_limit: float | Literal["auto"] | None

    @classmethod
    def check(
        cls, function: Any, items: Any, name: str | None, in_flight: int | None, **given: Any
    ) -> MapCall:
        """Return the call; `given` has the other parameters of `map`.

        Raises
        ------
        UsageError
            One of the values is invalid.
        """
        if not callable(function):
            raise UsageError(f"map() takes a function and its items, not {show(function)}")
        is_async = _is_async(function)
        _check_items(items, is_async=is_async)
        executor, key = given["executor"], given["key"]
        check_executor(executor, "map")
        if executor is not None and is_async:
            raise _async_error()
        if key is not None:
            check_key(key)
        if in_flight is None:
            in_flight = _IN_FLIGHT if is_async else default_in_flight(executor, _IN_FLIGHT)
        in_flight = check_whole(in_flight, "in_flight")
        for option in ("fresh", "return_exceptions"):
            if not isinstance(given[option], bool):
                raise UsageError(f"{option} must be True or False, not {show(given[option])}")
        given |= {option: check_option(option, given[option]) for option in _OPTIONS}
        return cls(
            function=function,
            bound=Identity(function, given["renames"]).bound,
            items=items,
            name=_name_of(function) if name is None else name,
            is_named=name is not None,
            in_flight=in_flight,
            is_async=is_async,
            **given,
        )

    @property
    def is_remote(self) -> bool:
        """Whether the function may be called in other processes."""
        return not isinstance(self.executor, ThreadPoolExecutor | None)

    def again(self) -> MapCall:
        """Return the call for another pass through the items."""
        return replace(self, fresh=False, bound=self.identity.bound)

    @property
    def identity(self) -> Identity:
        """The identity of the function, as it is now."""
        return Identity(self.function, self.renames)


def _is_async(function: Any) -> bool:
    if inspect.iscoroutinefunction(function):
        return True
    method = getattr(function, "__call__", None)  # noqa: B004  # of an object; it is looked at
    return inspect.iscoroutinefunction(method)


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise UsageError(
            f"{show(function)} has no name that the run could have.\nGive one, as in name='pages'."
        )
    return name


def _check_items(items: Any, *, is_async: bool) -> None:
    if isinstance(items, Iterable) or hasattr(items, "__getitem__"):
        return
    if not hasattr(items, "__aiter__"):
        raise UsageError(f"map() takes an iterable of items, and {type(items).__name__!r} is none")
    if not is_async:
        raise UsageError(
            f"map() got the async iterable {type(items).__name__!r} with a function that is not."
            "\nGive it an async function, or collect the items first."
        )


def _async_error() -> UsageError:
    return UsageError(
        "map() got an async function and an executor.\n"
        "Leave out the executor: its calls are tasks of the event loop.\n"
        "Or give it an ordinary function."
    )
