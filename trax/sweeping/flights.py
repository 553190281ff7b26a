"""Waits for futures of any library: it is told of their ends, or asks for them now and then."""

from __future__ import annotations

from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

__all__ = ["Flights"]

T = TypeVar("T")

_PAUSES = 0.01, 1.0  # seconds, from the first to the longest


class Flights(Generic[T]):
    """Futures in flight, each with what it is for.

    A future must have `done` and `result`. If it has `add_done_callback` it tells of its end;
    otherwise it is asked, in pauses that grow as long as nothing comes.
    """

    def __init__(self) -> None:
        self._flying: dict[int, tuple[Any, T]] = {}
        self._asked: dict[int, Any] = {}  # those that do not tell
        self._landed: SimpleQueue[int | None] = SimpleQueue()  # None ends a wait
        self._count = 0
        self._pause = _PAUSES[0]

    def __len__(self) -> int:
        return len(self._flying)

    def add(self, future: Any, purpose: T) -> None:
        """Take a future in."""
        number, self._count = self._count, self._count + 1
        self._flying[number] = future, purpose
        if hasattr(future, "add_done_callback"):
            future.add_done_callback(partial(self._land, number))
        else:
            self._asked[number] = future

    @property
    def has_landed(self) -> bool:
        """Whether one of those that tell is known to be done."""
        return not self._landed.empty()

    def wake(self) -> None:
        """End a wait; a signal handler may call this."""
        self._landed.put(None)

    def wait(self) -> tuple[Any, T] | None:
        """Return a future that is done, and what it is for; None if the wait was ended."""
        number = self._next()
        self._pause = _PAUSES[0]
        return None if number is None else self._flying.pop(number)

    @property
    def purposes(self) -> list[T]:
        """What the futures in flight are for."""
        return [purpose for _, purpose in self._flying.values()]

    def cancel(self) -> None:
        """Cancel those that have not begun."""
        for future, _ in self._flying.values():
            # The jobs of submitit have a state, and to cancel one that is running would end it.
            if hasattr(future, "cancel") and getattr(future, "state", "") != "RUNNING":
                future.cancel()

    def _land(self, number: int, _: Any) -> None:
        self._landed.put(number)

    def _next(self) -> int | None:
        while self._asked:
            for number, future in self._asked.items():
                if future.done():
                    del self._asked[number]
                    return number
            try:
                return self._landed.get(timeout=self._pause)
            except Empty:
                self._pause = min(2 * self._pause, _PAUSES[1])
        return self._landed.get()
