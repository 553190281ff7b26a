"""The order in which a loop takes items with keys: that of its first run, in each run of a check.

Such items may come in any order, so another one is no difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from trax.engine.keyed_items import KeyedItems
from trax.testing.recording import replaced

__all__ = ["kept_order"]

_begin = KeyedItems.begin


@contextlib.contextmanager
def kept_order(order: list[bytes], *, is_known: bool) -> Iterator[None]:
    """Hand out items in an order for the length of a block, or write down the order.

    Parameters
    ----------
    order : list of bytes
        The digests of the keys.
    is_known : bool
        Whether they are there, or are to be written down.
    """

    def begin(items: KeyedItems, source: Iterable[Any], step: int) -> Iterator[Any]:
        if is_known:
            source = _sorted(items, source, order)
        taken = _begin(items, source, step)
        return taken if is_known else _noted(items, taken, order)

    with replaced(KeyedItems, begin=begin):
        yield


def _digest(items: KeyedItems, item: Any) -> bytes:
    return items._digest_of(items._key(item), item)  # noqa: SLF001


def _noted(items: KeyedItems, taken: Iterator[Any], order: list[bytes]) -> Iterator[Any]:
    for item in taken:
        order.append(_digest(items, item))
        yield item


def _sorted(items: KeyedItems, source: Iterable[Any], order: list[bytes]) -> Iterator[Any]:
    """Yield first the items of these digests, as far as they come, and then the others."""
    left, met = iter(source), dict[bytes, Any]()
    for digest in order:
        while digest not in met:
            item = next(left, order)  # no item is that list
            if item is order:
                break
            met[_digest(items, item)] = item
        if digest in met:
            yield met.pop(digest)
    yield from met.values()
    yield from left
