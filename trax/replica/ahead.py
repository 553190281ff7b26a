"""Gets several objects at a time, since answers take long, and hands them out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

K = TypeVar("K")
V = TypeVar("V")

_AT_A_TIME = 8  # requests


def ahead(get: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
    """Yield what `get` returns for each key; some are got at a time, since answers take long."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        waiting: deque[Future[V]] = deque()
        try:
            for key in keys:
                waiting.append(pool.submit(get, key))
                if len(waiting) >= _AT_A_TIME:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
