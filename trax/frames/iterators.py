"""Takes the iterators of Python, its standard library and NumPy apart, without moving them.

Strategy: an iterator is stored as the object that it goes over, in the same pickle, and its
position. So it goes over the same object as before, also when that changes later. Most types show
their position in order to pickle; that of others is found from the objects that they refer to.

Pickles refer to the public classes and functions of this module by name.
"""

from __future__ import annotations

import array
import collections
import gc
import operator
import re
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from trax.errors import CodecError
from trax.frames import progress_bars
from trax.frames.functions import reduce_function
from trax.frames.generators import REDUCTIONS, reduce_cell, reduce_generator
from trax.frames.itertools_state import ENDED, ITERTOOLS, skip
from trax.frames.later import when_made
from trax.frames.loading import end_of_loading
from trax.frames.matches import reduce_match
from trax.frames.open_files import COMPRESSED, FILES, reduce_compressed
from trax.frames.slots import begun
from trax.storage.refusals import RefusedError

__all__ = [
    "REDUCTIONS",
    "SetRest",
    "deque_iterator",
    "dict_iterator",
    "flat",
    "ndindex",
    "reductions",
    "resized",
    "sequence_iterator",
    "set_attributes",
]

_Reduction = Callable[[Any], Any]

_OTHER_KEYS: Final = "its dict has other keys than when the loop began"
_CHANGED: Final = "Loop over a copy of it, as in list(...)."


def _generator(generator: Any) -> tuple[Any, ...]:
    if generator.gi_frame is not None and progress_bars.is_passage(generator.gi_code):
        return progress_bars.reduce_passage(generator)
    return reduce_generator(generator)


# -- sequences -----------------------------------------------------------------------------


def _sequence(iterator: Any) -> tuple[Any, ...]:
    """Reduce an iterator over a sequence that can change."""
    make, args, *index = iterator.__reduce__()
    if len(args) != 1 or not index:  # it has ended
        return make, args
    return sequence_iterator, (make, args[0], index[0])


@when_made
def sequence_iterator(make: Callable[[Any], Any], sequence: Any, index: int) -> Any:
    """Return an iterator over a sequence at a position."""
    iterator = make(sequence)
    # Where the sequence contains the iterator, its items are not yet loaded.
    end_of_loading(partial(_set_position, iterator, sequence, index))
    return iterator


def _set_position(iterator: Any, sequence: Any, index: int) -> None:
    missing = index - len(sequence) if hasattr(type(sequence), "extend") else 0
    if missing <= 0:
        iterator.__setstate__(index)
        return
    sequence.extend([0] * missing)  # it has become shorter: the iterator would be set to its end
    iterator.__setstate__(index)
    del sequence[-missing:]


def _deque(iterator: Any) -> tuple[Any, ...]:
    """Reduce an iterator over a deque."""
    kind, (found, done) = iterator.__reduce__()
    is_reversed = kind is not type(iter(found))
    return deque_iterator, (found, is_reversed, len(found), done)


@when_made
def deque_iterator(
    found: collections.deque[Any], is_reversed: bool, size: int, done: int
) -> Iterator[Any]:
    """Return an iterator over a deque at a position."""
    _check_whole(found, size)
    iterator = reversed(found) if is_reversed else iter(found)
    kind: Any = type(iterator)
    return kind(found, done)  # type: ignore[no-any-return]


def _check_whole(found: Any, size: int) -> None:
    if len(found) != size:
        kind = type(found).__name__
        raise CodecError(f"a {kind} contains an iterator over itself, so it cannot be loaded")


# -- iterators over iterators --------------------------------------------------------------


def _over(iterator: Any) -> tuple[Any, ...]:
    """Reduce an iterator over others, which do not begin anew when it is made."""
    make, args, *state = iterator.__reduce__()
    first = 1 if make in (map, filter) else 0
    last = 1 if make is enumerate else len(args)
    sources = map(begun, args[first:last])
    return make, (*args[:first], *sources, *args[last:]), *state


# -- mappings and sets ---------------------------------------------------------------------

_VIEWS: Final[dict[type, tuple[tuple[str, bool], ...]]] = {
    type(iter({})): (("keys", False),),
    type(iter({}.values())): (("values", False),),
    type(iter({}.items())): (("items", False),),
    type(reversed({})): (("keys", True),),
    type(reversed({}.values())): (("values", True),),
    type(reversed({}.items())): (("items", True),),
    # An ordered dict has one type for all.
    type(iter(collections.OrderedDict())): tuple(
        (view, is_reversed) for view in ("keys", "values", "items") for is_reversed in (False, True)
    ),
}


def _dict(iterator: Any) -> tuple[Any, ...]:
    """Reduce an iterator over a dict to the dict and the number of items that are left."""
    mapping = next((one for one in gc.get_referents(iterator) if isinstance(one, dict)), None)
    if mapping is None:  # it has ended
        return ENDED
    try:
        left = iterator.__reduce__()[1][0]
    except RuntimeError as error:
        if "size" not in str(error):
            raise RefusedError(iterator, _CHANGED, _OTHER_KEYS) from error
        return resized, ({},)
    for view, is_reversed in _VIEWS[type(iterator)]:
        if _are_last(left, getattr(mapping, view)(), is_reversed=is_reversed):
            return dict_iterator, (mapping, view, is_reversed, len(mapping), len(left))
    raise RefusedError(iterator, _CHANGED, _OTHER_KEYS)


def _are_last(left: list[Any], view: Any, *, is_reversed: bool) -> bool:
    """Whether items are those at the end of a view."""
    ends = iter(view) if is_reversed else reversed(view)
    return len(left) <= len(view) and all(map(_is_same, reversed(left), ends))


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not tuple or type(other) is not tuple or len(one) != len(other):
        return False
    return all(map(operator.is_, one, other))


@when_made
def dict_iterator(mapping: Any, view: str, is_reversed: bool, size: int, left: int) -> Any:
    """Return an iterator over a dict at a position."""
    _check_whole(mapping, size)
    items = getattr(mapping, view)()
    iterator = reversed(items) if is_reversed else iter(items)
    skip(iterator, size - left)
    return iterator


def resized(empty: Any) -> Any:
    """Return an iterator over a dict or set that had another size when the iterator was made."""
    one: Any = {0} if isinstance(empty, set) else {0: 0}
    iterator = iter(one)
    one.pop(0) if isinstance(empty, set) else one.clear()
    one.update({1, 2} if isinstance(empty, set) else {1: 1, 2: 2})
    return iterator


class SetRest:
    """The items of a set that a loop has not yet met, in the order in which it would meet them.

    Parameters
    ----------
    found : set or frozenset
        The set; one that is loaded has another order.
    size : int
        Its size when the loop began.
    rest : list
        The items.
    """

    def __init__(self, found: Any, size: int, rest: list[Any]) -> None:
        self._found = found
        self._size = size
        self._rest = rest
        self._number = 0

    def __iter__(self) -> SetRest:
        return self

    def __next__(self) -> Any:
        if self._number == len(self._rest):
            raise StopIteration
        if len(self._found) != self._size:
            raise RuntimeError("Set changed size during iteration")
        self._number += 1
        return self._rest[self._number - 1]

    def __length_hint__(self) -> int:
        return len(self._rest) - self._number


def _set(iterator: Any) -> tuple[Any, ...]:
    """Reduce an iterator over a set to its items."""
    found = next((r for r in gc.get_referents(iterator) if isinstance(r, set | frozenset)), None)
    if found is None:  # it has ended
        return ENDED
    try:
        rest = iterator.__reduce__()[1][0]
    except RuntimeError:
        return resized, (set(),)
    return SetRest, (found, len(found), rest)


# -- NumPy ---------------------------------------------------------------------------------


def _flat(iterator: Any) -> tuple[Any, ...]:
    """Reduce the flat iterator of an array."""
    return flat, (iterator.base, iterator.index)


def flat(base: Any, index: int) -> Any:
    """Return the flat iterator of an array at a position."""
    iterator = base.flat
    skip(iterator, index)
    return iterator


def _ndindex(iterator: Any) -> tuple[Any, ...]:
    """Reduce a `numpy.ndindex` to its shape and position."""
    inner = getattr(iterator, "_it", None)  # since NumPy 2.4 it has an `itertools.product`
    if inner is None:
        return iterator.__reduce_ex__(5)  # type: ignore[no-any-return]
    following = inner.copy()
    try:
        next(following)
    except StopIteration:
        return ndindex, (inner.shape, inner.itersize)
    return ndindex, (inner.shape, following.iterindex)


def ndindex(shape: tuple[int, ...], done: int) -> Any:
    """Return a `numpy.ndindex` at a position."""
    import numpy as np

    iterator = np.ndindex(*shape)
    skip(iterator, done)
    return iterator


# -- PyTorch -------------------------------------------------------------------------------


def _by_attributes(iterator: Any) -> tuple[Any, ...]:
    """Reduce the iterator of a loader without processes, which itself refuses that."""
    return object.__new__, (type(iterator),), vars(iterator), None, None, set_attributes


def set_attributes(one: Any, attributes: dict[str, Any]) -> None:
    """Set the attributes of an object."""
    vars(one).update(attributes)


# -- all -----------------------------------------------------------------------------------

_OWN: Final[dict[Any, _Reduction]] = {
    types.GeneratorType: _generator,
    types.AsyncGeneratorType: reduce_generator,
    types.CellType: reduce_cell,
    types.FunctionType: reduce_function,
    re.Match: reduce_match,
    **dict.fromkeys(_VIEWS, _dict),
    type(iter(set())): _set,
    type(iter(collections.deque())): _deque,
    type(reversed(collections.deque())): _deque,
    **dict.fromkeys(map(type, map(iter, ([], bytearray(), array.array("b")))), _sequence),
    **dict.fromkeys((type(reversed([])), reversed), _sequence),
    **dict.fromkeys((enumerate, filter, map, zip), _over),
}
REDUCTIONS.update(_OWN | ITERTOOLS | FILES)

_LIBRARIES: Final[dict[tuple[str, str], _Reduction]] = {
    ("numpy", "flatiter"): _flat,
    ("numpy", "ndindex"): _ndindex,
    ("torch.utils.data.dataloader", "_SingleProcessDataLoaderIter"): _by_attributes,
    **dict.fromkeys(COMPRESSED, reduce_compressed),
}


def reductions() -> dict[type, _Reduction]:
    """Return how iterators are taken apart, by type, with those of the imported libraries."""
    for (module, name), reduction in _LIBRARIES.items():
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None:
            REDUCTIONS[kind] = reduction
    REDUCTIONS.update(progress_bars.reductions())
    return REDUCTIONS
