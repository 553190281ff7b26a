"""The items of `remaining`: which are done, and digests to recognise them by.

Strategy: each item that is handed out is digested, and its digest is stored with its step. A
resumed run goes through the done items once more and compares. The first items have a digest each.
Later ones share one by blocks, which are longer the later they come: so a checkpoint stores some
thousand digests, however many items there are. The digest of a block starts from the one of the
item before, so it covers all of its items and their order.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice
from marshal import dumps
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xxhash import xxh3_64_intdigest

from trax import notices
from trax.calls.content import CONTENT_VERSION, FORMAT, PLAIN, Contents
from trax.display import show
from trax.errors import ArgumentsChangedError, UsageError
from trax.storage.context import Key, Kind, entry_head

if TYPE_CHECKING:
    from trax.engine.keyed_items import KeyedItems
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Items", "Remaining", "SizedRemaining"]

T = TypeVar("T")

_EXACT = 512  # items that have a digest each
_BLOCKS = 32  # between any number of items and twice as many
_DONE = struct.Struct("<QQ")  # the number of done items, the digest of their last block
_PACKED = Key(Kind.ITEMS, CONTENT_VERSION)  # in a checkpoint: that number, and all digests
_RNGS = Key(Kind.ITEMS, f"{CONTENT_VERSION} rngs")  # positions at the beginning of the source
_VIEWS = [type({}.keys()), type({}.values()), type({}.items())]
_SHOWN = 30  # characters of an item
_FIXED: set[type] = {list, tuple, range, str, bytes, dict, *_VIEWS}

_WAYS_ON = (
    "If they have no fixed order, sort them, or give their source an RNG with a seed of its own.\n"
    "If new ones come between the others, start over with key=, by which each is known.\n"
    "If they change while the loop runs, keep the list of items in an argument or in the state.\n"
    "If the loop changes the items themselves, hand out their names or numbers instead.\n"
    "To start over, use the function's fresh(...)."
)


def _end_of_block(number: int) -> int:
    """Return the number of the item after the block that item `number` is in."""
    if number < _EXACT:
        return number + 1
    size = (1 << number.bit_length() - 1) // _BLOCKS
    return (number // size + 1) * size


class _Digests:
    """The digests of one pass through the items, by blocks.

    Attributes
    ----------
    is_over : bool
        Whether no more items will be handed out.
    """

    def __init__(self, run: str) -> None:
        self.is_over = False
        self._has_told = False
        self._run = run
        # The entries of the items that are handed out and not yet done, and that of the last done.
        self._ahead: deque[bytes] = deque()
        self._last = _DONE.pack(0, 0)
        # Of the blocks of the items handed out: the first number; and the digest, but of the last.
        self._begins: list[int] = []
        self._values: list[int] = []

    def step(self) -> bytes:
        """Count the next item as done, and return the entry that its step stores."""
        if not self._ahead:
            return self._step_without_item()
        self._last = entry = self._ahead.popleft()
        if self._ahead and not self.is_over:
            self._tell_ahead()
        return entry

    def hand_out(self, source: Iterable[Any], content: Callable[[Any], bytes]) -> Iterator[Any]:
        """Yield all items; before each, its entry is added to those that are ahead."""
        append, pack, is_plain = self._ahead.append, _DONE.pack, PLAIN.issuperset
        number = value = end = 0
        head = b""
        try:
            for item in source:
                if number == end:
                    head, end = self._begin_block(number, value)
                    value = 0
                number += 1
                kind = type(item)
                if kind in PLAIN or (kind is tuple and is_plain(map(type, item))):
                    value = xxh3_64_intdigest(dumps(item, FORMAT), value)
                else:
                    value = xxh3_64_intdigest(content(item), value)
                append(head + pack(number, value))
                yield item
        finally:
            self.is_over = True

    @property
    def done(self) -> int:
        """The number of items that are done."""
        return self._unpacked[0]

    @property
    def values(self) -> list[int]:
        """The digests of the blocks of the done items; the last block may lack items."""
        done, value = self._unpacked
        return [*self._values[: self._block(done - 1)], value] if done else []

    def differs(self, stored: list[int]) -> bool:
        """Return whether the digest up to the last done item is not the stored one of its block."""
        done, value = self._unpacked
        return stored[self._block(done - 1)] != value

    def _block(self, number: int) -> int:
        return bisect_right(self._begins, number) - 1

    @property
    def _unpacked(self) -> tuple[int, int]:
        done, value = _DONE.unpack(self._last[-_DONE.size :])
        return done, value

    def _begin_block(self, number: int, value: int) -> tuple[bytes, int]:
        """Return the beginning of the entries of a block, and the number after its last item.

        `value` is the digest of the block before.
        """
        if number:
            self._values.append(value)
        self._begins.append(number)
        return entry_head(_key(len(self._values)), _DONE.size), _end_of_block(number)

    def _tell_ahead(self) -> None:
        """Warn once of items without an increment; they may also be fetched ahead."""
        if not self._has_told:
            self._has_told = True
            notices.warn(
                f"{self._run}: remaining() has handed out more items than there are increments. A "
                "resumed run skips as many items as there are increments: yield once for each "
                "item, also for one that is passed over"
            )

    def _step_without_item(self) -> bytes:
        if self.is_over:  # the loop goes on without items
            return b""
        raise UsageError(
            f"{self._run!r} yielded an increment for which remaining() has handed out no item.\n"
            "Yield once for each item: the next call skips as many items as there are increments."
        )


class Items:
    """The items of one run; each goes with one step.

    Parameters
    ----------
    run : str
        The run's name.
    tracking : RngTracking
        The RNGs that the source may draw from, and what was recovered.

    Attributes
    ----------
    step : callable
        Counts the next item as done, and returns the entry that its step stores.
    """

    def __init__(self, run: str, tracking: RngTracking) -> None:
        self._run = run
        self._tracking = tracking
        self._content = Contents().of
        self._recovered = {k: v for k, v in tracking.recovered.items() if k.kind is Kind.ITEMS}
        self._start = self._recovered.get(_RNGS, b"")
        self._done, self._values = _unpack(self._recovered)
        self._digests = _Digests(run)
        self.step = self._digests.step

    def skipped(self, step: int) -> int:
        """Return the number of items to skip when the run is resumed at a step."""
        # Without digests, as in a store of an older trax, there was one item for each step.
        return self._done or step

    @property
    def is_over(self) -> bool:
        """Whether no more items will be handed out."""
        return self._digests.is_over

    def begin(self, source: Iterable[T], step: int) -> Iterator[T]:
        """Skip the done items, having compared them, and return an iterator over the others.

        Raises
        ------
        ArgumentsChangedError
            The source has other items than before.
        """
        if self._digests.done:  # the loop goes through a sequence once more
            self._done, self._values = self._digests.done, self._digests.values
        digests = _Digests(self._run)
        iterator = digests.hand_out(source, self._content)
        if self.skipped(step):
            with self._tracking.rewound(self._start):
                self._skip(iterator, digests, self.skipped(step))
        elif type(source) not in _FIXED:
            self._start = self._tracking.outer_positions()
        self._digests = digests
        self.step = digests.step if self._done or not self._start else self._first_step
        return iterator

    def entries(self) -> dict[Key, bytes]:
        """Return the entries that a checkpoint stores."""
        if not self._digests.done:
            return self._recovered
        values = self._digests.values
        packed = struct.pack(f"<{1 + len(values)}Q", self._digests.done, *values)
        return {_PACKED: packed} | ({_RNGS: self._start} if self._start else {})

    def _first_step(self) -> bytes:
        """Count the first item as done, and store the positions of the RNGs with its step."""
        self.step = self._digests.step
        return self.step() + entry_head(_RNGS, len(self._start)) + self._start

    def _skip(self, iterator: Iterator[Any], digests: _Digests, count: int) -> None:
        """Go through the items that are done, and compare those that have digests."""
        known, begin, end = self._done, 0, 0
        for number, item in enumerate(islice(iterator, count)):
            digests.step()
            if number == end:
                begin, end = end, _end_of_block(number)
            if number + 1 in (end, known) and number < known and digests.differs(self._values):
                raise self._changed(begin, end, item)
        if digests.done < known:
            raise ArgumentsChangedError(
                f"remaining() got {digests.done:,} items, and {known:,} of {self._run!r} are done\n"
                "Give it all items, the done ones as well: it skips them.\n" + _WAYS_ON
            )

    def _changed(self, begin: int, end: int, item: Any) -> ArgumentsChangedError:
        which = f"items[{begin}:{end}] of {self._run!r} are others"
        if end == begin + 1:
            which = f"items[{begin}] of {self._run!r} is {show(item, _SHOWN)}, and was another"
        return ArgumentsChangedError(f"remaining() got other items: {which}\n{_WAYS_ON}")


def _unpack(entries: Mapping[Key, bytes]) -> tuple[int, list[int]]:
    """Return the number of done items and the digests of their blocks, as they are stored."""
    packed = entries.get(_PACKED, bytes(8))
    done, *values = struct.unpack(f"<{len(packed) // 8}Q", packed)
    # The last block of the checkpoint may have grown in the log, and others may have followed.
    for block in count(max(0, len(values) - 1)):
        entry = entries.get(_key(block))
        if entry is not None:
            done, value = _DONE.unpack(entry)
            values[block:] = [value]
        elif block >= len(values):
            return done, values
    raise AssertionError("the numbers of blocks are endless")


def _key(block: int) -> Key:
    return Key(Kind.ITEMS, f"{CONTENT_VERSION} {block}")


class Remaining(Generic[T]):
    """The items that are not yet done; iterating over them counts them.

    Parameters
    ----------
    items : Items or KeyedItems
        The items of the run.
    source : iterable
        All items.
    step : int
        The step of the run.
    """

    def __init__(self, items: Items | KeyedItems, source: Iterable[T], step: int) -> None:
        self._items = items
        self._source = source
        self._step = step
        self._iterator: Iterator[T] | None = None

    def __iter__(self) -> Iterator[T]:
        is_again = self._items.is_over and not isinstance(self._source, Iterator)
        if self._iterator is None or is_again:
            self._iterator = self._items.begin(self._source, self._step)
        return self._iterator

    def __next__(self) -> T:
        return next(iter(self))


class SizedRemaining(Remaining[T]):
    """The same, for a source whose length is known."""

    def __init__(self, items: Items, source: Iterable[T], step: int, length: int) -> None:
        super().__init__(items, source, step)
        self._length = max(0, length - items.skipped(step))

    def __len__(self) -> int:
        return self._length
