"""Reads the positions of the iterators of itertools, which do not show them.

Strategy: such an iterator is a few machine words. Some are addresses of the objects that it refers
to, and the garbage collector lists these; the others are numbers. From both together an iterator
of the same type is made, or, where none can be set to the position, one of the classes here.

Pickles refer to the public classes and functions of this module by name.
"""

from __future__ import annotations

import collections
import ctypes
import gc
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import length_hint
from typing import Any, Final

from trax.frames.later import present
from trax.frames.loading import end_of_loading
from trax.frames.object_memory import MINUS_ONE, Memory
from trax.frames.slots import begun

__all__ = [
    "ENDED",
    "ITERTOOLS",
    "Group",
    "Groups",
    "Selections",
    "Tee",
    "TeeBlock",
    "accumulated",
    "chained",
    "cycled",
    "group",
    "skip",
]

_Reduced = tuple[Any, ...]

_INT: Final = 0xFFFFFFFF


def skip(iterator: Iterator[Any], count: int) -> None:
    """Take items from an iterator, and drop them."""
    collections.deque(itertools.islice(iterator, count), maxlen=0)


ENDED: Final = iter, ((),)
"""The reduction of an iterator that has no more items."""


# -- chains and filters --------------------------------------------------------------------


def _chain(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    if not parts.has(0):
        return ENDED
    source = parts.get(0)
    if not parts.has(1):
        return chained, (begun(source), [])
    if type(source) is type(iter(())) and not length_hint(source):  # nothing comes after
        return present, (parts.get(1),)
    return chained, (begun(source), [begun(parts.get(1))])


def chained(source: Iterator[Iterable[Any]], active: list[Iterator[Any]]) -> Iterator[Any]:
    """Return an `itertools.chain` that is inside of one of its iterables."""
    return itertools.chain.from_iterable(itertools.chain(active, source) if active else source)


def _with_function(iterator: Any) -> _Reduced:
    """Reduce an iterator that has a function, and a source."""
    parts = Memory(iterator)
    return type(iterator), (parts.get(0), begun(parts.get(1)))


def _compress(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    return itertools.compress, (begun(parts.get(0)), begun(parts.get(1)))


def _dropwhile(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    has_begun = parts.words[2] & _INT
    return (present, (parts.get(1),)) if has_begun else _with_function(iterator)


def _takewhile(iterator: Any) -> _Reduced:
    has_ended = Memory(iterator).words[2] & _INT
    return ENDED if has_ended else _with_function(iterator)


def _islice(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    if not parts.has(0):
        return ENDED
    _, following, stop, step, done, *_ = parts.words
    end = None if stop == MINUS_ONE else stop - done
    return itertools.islice, (begun(parts.get(0)), following - done, end, step)


def _accumulate(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    total = [parts.get(0)] if parts.has(0) else []
    function = parts.get(2) if parts.has(2) else None
    return accumulated, (begun(parts.get(1)), function, total, parts.get(3))


def accumulated(
    source: Iterator[Any],
    function: Callable[[Any, Any], Any] | None,
    total: list[Any],
    initial: Any,
) -> Iterator[Any]:
    """Return an `itertools.accumulate` that has reached a total, if there is one."""
    if not total:
        return itertools.accumulate(source, function, initial=initial)
    iterator = itertools.accumulate(itertools.chain(total, source), function)
    next(iterator)
    return iterator


def _cycle(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    saved = parts.get(1)
    if parts.has(0):  # it goes through its items for the first time
        return cycled, (begun(parts.get(0)), saved, len(saved))
    return cycled, (None, saved, parts.words[2])


def cycled(source: Iterator[Any] | None, saved: list[Any], done: int) -> Iterator[Any]:
    """Return an `itertools.cycle` that has items already."""
    iterator = itertools.cycle(saved if source is None else itertools.chain([*saved], source))
    skip(iterator, done)
    return iterator


def _zip_longest(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    if not parts.words[1]:
        return ENDED
    sources = parts.get(2)  # in this tuple an iterator that has ended is no object any more
    begin = id(sources) + tuple.__basicsize__
    addresses = (ctypes.c_size_t * len(sources)).from_address(begin)
    active = {id(one): one for one in gc.get_referents(sources)}
    make = partial(itertools.zip_longest, fillvalue=parts.get(4))
    return make, tuple(begun(active.get(each, iter(()))) for each in addresses)


def _pairwise(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    if not parts.has(0):
        return ENDED
    source = begun(parts.get(0))
    if parts.has(1):  # it has taken an item that is the first of the next pair
        source = itertools.chain([parts.get(1)], source)
    return itertools.pairwise, (source,)


def _batched(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    if not parts.has(0):
        return ENDED
    is_strict = sys.version_info >= (3, 13) and bool(parts.words[2] & 0xFF)
    kind: Any = type(iterator)
    make = partial(kind, strict=True) if is_strict else kind
    return make, (begun(parts.get(0)), parts.words[1])


# -- selections ----------------------------------------------------------------------------


class Selections:
    """The selections of items that come after one of them, as for `itertools.product`.

    Parameters
    ----------
    kind : str
        The name of the function of itertools.
    pools : sequence of tuple
        The items among which each place of a selection chooses.
    indices : list of int
        The indices of the selection that was handed out last.
    """

    def __init__(self, kind: str, pools: Sequence[tuple[Any, ...]], indices: list[int]) -> None:
        self._kind = kind
        self._pools = pools
        self._indices: list[int] | None = indices

    def __iter__(self) -> Selections:
        return self

    def __next__(self) -> tuple[Any, ...]:
        if self._indices is not None:
            self._indices = _following(self._kind, self._indices, [*map(len, self._pools)])
        if self._indices is None:
            raise StopIteration
        return tuple(pool[n] for pool, n in zip(self._pools, self._indices, strict=True))


def _following(kind: str, indices: list[int], sizes: list[int]) -> list[int] | None:
    """Return the indices after some, in the order of the text; None after the last ones."""
    for place in reversed(range(len(indices))):
        head, present = indices[:place], indices[place]
        rest = len(indices) - place - 1
        if kind == "product" and present + 1 < sizes[place]:
            return [*head, present + 1, *[0] * rest]
        if kind == "combinations" and present + 1 + rest < sizes[place]:
            return [*head, *range(present + 1, present + 2 + rest)]
        if kind == "combinations_with_replacement" and present + 1 < sizes[place]:
            return [*head, *[present + 1] * (rest + 1)]
        if kind == "permutations":
            free = [n for n in range(sizes[place]) if n not in head]
            larger = [n for n in free if n > present]
            if larger:
                free.remove(larger[0])
                return [*head, larger[0], *free[:rest]]
    return None


def _product(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    pools = parts.get(0)
    if parts.words[3] & _INT:
        return ENDED
    if not parts.has(2):
        return itertools.product, pools
    return Selections, ("product", pools, parts.array(1, len(pools)))


def _selected(place: int) -> Callable[[Any], _Reduced]:
    """Return the reduction of an iterator whose last selection is at a place."""

    def reduce(iterator: Any) -> _Reduced:
        parts = Memory(iterator)
        pool, size = parts.get(0), parts.words[place + 1]
        if parts.words[place + 2] & _INT:
            return ENDED
        if not parts.has(place):
            return type(iterator), (pool, size)
        return Selections, (type(iterator).__name__, [pool] * size, parts.array(1, size))

    return reduce


# -- groups --------------------------------------------------------------------------------


class Groups:
    """The groups that an `itertools.groupby` has not yet reached, which cannot be set to a place.

    Parameters
    ----------
    source : iterator
        What it takes items from.
    key : callable or None
        The function for the key of an item.
    target : list
        The key of the present group, if there is one.
    item : list
        The key and the item that it has taken and not handed out, if there is one.
    """

    def __init__(
        self, source: Iterator[Any], key: Callable[[Any], Any] | None, target: Any, item: Any
    ) -> None:
        self._source = source
        self._key = key
        self._target = target
        self._item = item
        self._group: Group | None = None

    def __iter__(self) -> Groups:
        return self

    def __next__(self) -> tuple[Any, Group]:
        self._group = None
        while not self._item or (self._target and _is_equal(self._target[0], self._item[0])):
            self._take()
        self._target = self._item[:1]
        self._group = Group(self, self._target[0])
        return self._target[0], self._group

    def _take(self) -> None:
        item = next(self._source)
        self._item = [item if self._key is None else self._key(item), item]

    def item_of(self, group: Group, key: Any) -> Any:
        """Return the next item of a group; a group ends when the next one begins."""
        if self._group is not group:
            raise StopIteration
        if not self._item:
            self._take()
        found, item = self._item
        if not _is_equal(key, found):
            raise StopIteration
        self._item = []
        return item

    def resume(self, group: Group) -> None:
        """Let a group be the present one."""
        self._group = group


class Group:
    """One group of `Groups`."""

    def __init__(self, groups: Groups, key: Any) -> None:
        self._groups = groups
        self._key = key

    def __iter__(self) -> Group:
        return self

    def __next__(self) -> Any:
        return self._groups.item_of(self, self._key)


def _is_equal(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def group(groups: Groups, key: Any) -> Group:
    """Return the present group of an `itertools.groupby`."""
    found = Group(groups, key)
    end_of_loading(partial(groups.resume, found))
    return found


def _groupby(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    found = [parts.get(number) for number in range(5) if parts.has(number)]
    source, key, *more = found
    if not more:
        return itertools.groupby, (begun(source), key)
    return Groups, (source, key, more[:1], more[1:])


def _grouper(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    is_present = id(iterator) in Memory(parts.get(0)).words
    return (group, (parts.get(0), parts.get(1))) if is_present else ENDED


# -- tees ----------------------------------------------------------------------------------

_BLOCK: Final = 57  # items of a block, as in itertools


class TeeBlock:
    """Some items that the iterators of an `itertools.tee` share.

    Parameters
    ----------
    source : iterator
        What they are taken from.
    items : list
        Those that were taken.
    following : TeeBlock or None
        The items after those of a full block.
    """

    def __init__(self, source: Iterator[Any], items: list[Any], following: Any) -> None:
        self._source = source
        self._items = items
        self._following = following

    def item(self, index: int) -> Any:
        """Return an item, which is taken now if it was not."""
        if index == len(self._items):
            self._items.append(next(self._source))
        return self._items[index]

    def following(self) -> TeeBlock:
        """Return the block after this one."""
        if self._following is None:
            self._following = TeeBlock(self._source, [], None)
        found: TeeBlock = self._following
        return found


class Tee:
    """One iterator of an `itertools.tee`.

    Parameters
    ----------
    block : TeeBlock
        The items.
    index : int
        The index of the next one.
    """

    def __init__(self, block: TeeBlock, index: int) -> None:
        self._block = block
        self._index = index

    def __iter__(self) -> Tee:
        return self

    def __copy__(self) -> Tee:
        return Tee(self._block, self._index)

    def __next__(self) -> Any:
        if self._index == _BLOCK:
            self._block, self._index = self._block.following(), 0
        item = self._block.item(self._index)
        self._index += 1
        return item


def _tee(iterator: Any) -> _Reduced:
    parts = Memory(iterator)
    return Tee, (parts.get(0), parts.words[1] & _INT)


def _tee_block(block: Any) -> _Reduced:
    parts = Memory(block)
    count = parts.words[1] & _INT
    items = [parts.get(3 + number) for number in range(count)]
    return TeeBlock, (parts.get(0), items, parts.get(2) if parts.has(2) else None)


# -- all -----------------------------------------------------------------------------------

ITERTOOLS: Final[dict[type, Callable[[Any], _Reduced]]] = {
    itertools.accumulate: _accumulate,
    itertools.chain: _chain,
    itertools.combinations: _selected(2),
    itertools.combinations_with_replacement: _selected(2),
    itertools.compress: _compress,
    itertools.cycle: _cycle,
    itertools.dropwhile: _dropwhile,
    itertools.filterfalse: _with_function,
    itertools.groupby: _groupby,
    itertools._grouper: _grouper,  # type: ignore[attr-defined]  # noqa: SLF001
    itertools.islice: _islice,
    itertools.pairwise: _pairwise,
    itertools.permutations: _selected(3),
    itertools.product: _product,
    itertools.starmap: _with_function,
    itertools.takewhile: _takewhile,
    itertools._tee: _tee,  # type: ignore[attr-defined]  # noqa: SLF001
    itertools._tee_dataobject: _tee_block,  # type: ignore[attr-defined]  # noqa: SLF001
    itertools.zip_longest: _zip_longest,
}
if sys.version_info >= (3, 12):
    ITERTOOLS[itertools.batched] = _batched
