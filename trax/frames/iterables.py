"""The iterables of loops: makes the iterators that are stored with the frame of a loop.

Strategy: what Python and its standard library go over natively is left as it is, and so are the
user's generators; their iterators are taken apart when a frame is stored. The iterator of any other
object may keep anything. If it pickles, it is stored as it is. If not, the object is gone through
once more when the frame is loaded, from the positions of all RNGs at its beginning, up to the item
at which the loop was. All items are digested, so that others are never taken for them.
"""

from __future__ import annotations

import array
import collections
import gc
import itertools
import operator
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from xxhash import xxh3_64_intdigest

from trax import notices
from trax.calls.content import Contents
from trax.errors import ArgumentsChangedError, CodecError, UsageError
from trax.frames.generators import adoptable
from trax.frames.iterators import reductions
from trax.frames.itertools_state import ITERTOOLS
from trax.frames.later import Later, present
from trax.frames.loaders import Continued, Way, tell, told, way_of
from trax.frames.loading import present_rngs
from trax.frames.pooled import pooled
from trax.frames.progress_bars import is_bar, is_bar_type
from trax.frames.source_state import Changes, SourceState, positions, rewound
from trax.frames.unordered import unordered_source
from trax.storage.codec import decode, encode
from trax.storage.definitions import full_name
from trax.storage.refusals import RefusedError

if TYPE_CHECKING:
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Again", "Call", "Iterables", "Rngs", "RunRngs"]


T = TypeVar("T")


class Rngs(Protocol):
    """The RNGs of a run."""

    def snapshot(self) -> Any:
        """Return their positions, as an object that can be pickled."""

    def restore(self, snapshot: Any) -> None:
        """Set them to such positions."""


class RunRngs:
    """The RNGs outside of the state of a run.

    Parameters
    ----------
    tracking : RngTracking
        What tracks them.
    """

    def __init__(self, tracking: RngTracking) -> None:
        self._tracking = tracking

    def snapshot(self) -> bytes:
        return self._tracking.outer_positions()

    def restore(self, snapshot: bytes) -> None:
        self._tracking.restore_outer(snapshot)


_NATIVE: Final = {
    *(list, tuple, range, str, bytes, bytearray, dict, set, frozenset, array.array),
    *(collections.deque, collections.OrderedDict, collections.defaultdict, collections.Counter),
    *(types.MappingProxyType, type({}.keys()), type({}.values()), type({}.items())),
    *map(type, map(iter, ((), "", "é", b"", range(0), range(1 << 100, (1 << 100) + 1)))),
}
_OVER_OTHERS: Final = {enumerate, zip, map, filter, *ITERTOOLS}
# Functions that return an iterator over others, by their identity: these of their arguments.
_SPANS: Final = {
    id(iter): slice(1),
    id(enumerate): slice(1),
    id(zip): slice(None),
    id(map): slice(1, None),
    id(filter): slice(1, None),
    id(itertools.islice): slice(1),
    id(itertools.chain): slice(None),
}
_PATHS: Final = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_ONCE: Final = (
    "Write it into the head of the loop, as in `for item in make(...)`, to be made again.\n"
    "Or loop over a list of its items."
)
_WAYS_ON: Final = (
    "Give its items a fixed order: sort them, or give it an RNG with a seed of its own.\n"
    "Or loop over a list of them."
)
_REHEARSED: Final = 1000  # items
_LARGE: Final = 1 << 26  # bytes


_Files = list[tuple[Any, int]] | None
_Made = tuple[Any, Any, _Files]


class Call:
    """The iterable that a function returns, made anew each time that it is gone through.

    Parameters
    ----------
    function : callable
        The function.
    args, kwargs
        Its arguments.
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = {**kwargs}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.function(*self.args, **self.kwargs))

    @property
    def is_query(self) -> bool:
        """Whether it only asks a database, by a cursor of its own."""
        is_of_connection = hasattr(getattr(self.function, "__self__", None), "cursor")
        text = self.args[0] if self.args else ""
        is_asking = isinstance(text, str) and text.lstrip().lower().startswith("select")
        return is_of_connection and is_asking


class Iterables:
    """Makes the iterators of one run's loops.

    Parameters
    ----------
    rngs : Rngs
        The RNGs that the iterables may draw from.
    """

    def __init__(self, rngs: Rngs) -> None:
        self._rngs = rngs

    def __call__(self, source: Any) -> Iterator[Any]:
        """Return an iterator over an iterable."""
        if type(source) in _NATIVE:
            return iter(source)
        return self._begin(source, source)

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Return an iterator over the iterable that a function returns."""
        if function is range:
            numbers: Iterator[Any] = iter(range(*args))
            return numbers
        if function is iter and len(args) > 1:
            until: Iterator[Any] = iter(args[0], args[1])
            return until
        if id(function) in _SPANS and _NATIVE.issuperset(map(type, args[_SPANS[id(function)]])):
            own: Iterator[Any] = iter(function(*args, **kwargs))
            return own
        made, source, files = self._made(function, args, kwargs)
        return iter(made) if type(made) in _NATIVE else self._begin(made, source, files)

    def inner(self, around: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return the iterable that a function returns, for a function `around` it.

        If that only goes over it, an iterator that cannot be stored is replaced by one that can.
        """
        if id(around) not in _SPANS and not is_bar_type(around):
            return function(*args, **kwargs)
        made, source, files = self._made(function, args, kwargs)
        if type(made) in _NATIVE or not hasattr(type(made), "__next__"):
            return made
        return self._begin(made, source, files)

    def _made(self, function: Any, args: tuple[Any, ...], kwargs: Any) -> _Made:
        """Return the iterable that a function returns, and one that can be gone through again.

        With them come the files that it reads, with their positions before.
        """
        span = _SPANS.get(id(function))
        if span is not None:
            places = range(len(args))[span]
            args = tuple(self(one) if n in places else one for n, one in enumerate(args))
        if results := pooled(function, args, kwargs):
            return results, results, None
        files = positions((*args, *kwargs.values())) if args and span is None else None
        made = function(*args, **kwargs)
        if not hasattr(type(made), "__next__"):
            return made, made, None
        return made, Call(function, args, kwargs), files

    def _begin(self, made: Any, source: Any, files: _Files = None) -> Iterator[Any]:
        """Return an iterator over an object, of which there may be another `source`."""
        _check_order(made)
        if is_bar(made) and made.iterable is not None:
            made.iterable = self(made.iterable)
        if is_bar(made) or _is_stored(made):
            return iter(made)
        before, state = self._rngs.snapshot(), SourceState(source, files)
        iterator: Iterator[Any] = iter(made)
        if _is_stored(iterator):
            return iterator
        return Again(source, before, self._rngs, iterator, state)


def _check_order(source: Any) -> None:
    """Refuse results that come in the order in which they are completed."""
    if name := unordered_source(source):
        raise UsageError(
            f"{name} has another order in each run, so a loop over it cannot resume.\n"
            "Loop over the tasks, and wait for the result of each."
        )


def _is_stored(one: Any) -> bool:
    """Whether an iterator of this object can be taken apart, or its own class stores it."""
    kind = type(one)
    if kind is types.GeneratorType:
        return _is_of_user(one) and adoptable(one)
    if kind in _OVER_OTHERS:
        return all(map(_is_stored, _iterators_in(one)))
    if kind in _NATIVE or kind in reductions() or kind.__module__.startswith("trax.frames."):
        return True
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(one, numpy.ndarray)


def _iterators_in(one: Any) -> Iterator[Any]:
    """Yield the iterators that an iterator over others takes its items from."""
    for part in gc.get_referents(one):
        # A tuple of itertools may lack objects, so it is not gone through.
        for inner in gc.get_referents(part) if type(part) is tuple else (part,):
            if hasattr(type(inner), "__next__"):
                yield inner


def _is_of_user(generator: Any) -> bool:
    file = generator.gi_code.co_filename
    return not file.startswith(("<frozen", *(f"{path}/" for path in _PATHS)))


class _Digest:
    """The digest of the items that a loop has taken.

    Attributes
    ----------
    count : int
        Their number.
    value : int
        The digest.
    """

    def __init__(self) -> None:
        self.count = 0
        self.value = 0
        self._contents = Contents()

    def add(self, item: Any) -> None:
        """Add one item."""
        self.count += 1
        self.value = xxh3_64_intdigest(self._contents.of(item), self.value)

    @property
    def opaque(self) -> set[type]:
        """The types of items that are compared by their type alone."""
        return self._contents.opaque


class Again:
    """An iterator over an object that is gone through once more when the iterator was loaded.

    Parameters
    ----------
    source : iterable
        The object.
    positions : object
        The positions of the RNGs before it was gone through.
    rngs : Rngs
        The RNGs.
    iterator : iterator, optional
        Its iterator, if it is gone through already.
    state : SourceState, optional
        The state of the object before that.
    stored : tuple, optional
        If not, the changes of the object since then, the number of items, and their digest.
    """

    def __init__(
        self,
        source: Any,
        positions: Any,
        rngs: Rngs,
        iterator: Iterator[Any] | None = None,
        state: SourceState | None = None,
        stored: tuple[Changes, int, int] | None = None,
    ) -> None:
        self._source = source
        self._positions = positions
        self._rngs = rngs
        self._iterator = iterator
        self._state = state
        self._stored = stored
        self._digest = _Digest()
        self._told = told(source, iterator)
        self._way: Way | str = ""  # or how it is stored otherwise
        self._refusal: RefusedError | None = None
        self._rehearsed = 0  # the items of the last rehearsal

    def __iter__(self) -> Again:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self.go_on()
        item = next(self._iterator)  # type: ignore[arg-type]
        self._digest.add(item)
        return item

    def __length_hint__(self) -> int:
        return operator.length_hint(self._iterator, 0)

    def go_on(self) -> None:
        """Go through the object up to the item at which the loop was.

        Raises
        ------
        ArgumentsChangedError
            It gives other items.
        """
        assert self._stored is not None
        changes, count, value = self._stored
        present, digest = self._rngs.snapshot(), _Digest()
        try:
            with rewound(changes):
                self._rngs.restore(self._positions)
                state, iterator = SourceState(self._source), iter(self._source)
                state_told = told(self._source, iterator)
                for item in itertools.islice(iterator, count):
                    digest.add(item)
        except Exception as error:
            raise ArgumentsChangedError(
                f"the loop cannot go through {_name(self._source)} once more: "
                f"{type(error).__name__}: {error}\n{_WAYS_ON}"
            ) from error
        finally:
            self._rngs.restore(present)
        if (digest.count, digest.value) != (count, value):
            found = f"only {digest.count:,}" if digest.count < count else "others"
            raise ArgumentsChangedError(
                f"the loop has passed {count:,} items of {_name(self._source)}, which gives {found}"
                f"\n{_WAYS_ON}\nTo start over, use the function's fresh(...)."
            )
        self._iterator, self._state, self._digest = iterator, state, digest
        self._told = state_told

    def __reduce__(self) -> tuple[Any, ...]:
        if self._iterator is None or self._state is None:
            return _again, (self._source, self._positions, self._stored)
        way = self._way or self._try(self._choose)
        if way == "source" and self._digest.count >= 2 * self._rehearsed:
            self._try(self._rehearse)
            self._rehearsed = self._digest.count or 1
        if self._digest.count:
            self._way = way
        if way == "iterator":
            return present, (self._iterator,)
        if not isinstance(way, str):
            return Continued, (self._source, way, tell(self._source, self._iterator, way))
        return _again, (self._source, self._positions, self._parts())

    def _try(self, action: Callable[[], T]) -> T:
        """Do something that may refuse the iterator; it is then refused for good."""
        if self._refusal is not None:
            raise self._refusal
        try:
            return action()
        except RefusedError as error:
            self._refusal = error
            raise

    def _parts(self) -> tuple[Changes, int, int]:
        assert self._state is not None
        return self._state.changes(), self._digest.count, self._digest.value

    def _choose(self) -> Way | str:
        """Choose how the iterator is stored; this is known at the first frame."""
        way = way_of(self._source, self._iterator)
        if way and self._digest.count and told(self._source, self._iterator) != self._told:
            return way
        try:
            encode(self._iterator, "iterator", None, reductions())
        except CodecError as error:
            if self._source is self._iterator:
                reason = f"a {full_name(type(self._iterator))} can be gone through only once"
                raise RefusedError(self, _ONCE, reason) from error
        else:
            return "iterator"
        if self._digest.opaque:
            kinds = ", ".join(sorted(kind.__qualname__ for kind in self._digest.opaque))
            notices.info(
                f"a resumed run goes through {_name(self._source)} once more; of the items passed "
                f"it compares those of {kinds} by their type only"
            )
        return "source"

    def _rehearse(self) -> None:
        """Go through a copy of the object once more, and refuse it if that gives other items."""
        if self._digest.count > _REHEARSED:
            return
        if isinstance(self._source, Call):  # it may do anything
            if self._source.is_query:
                self._check(self._source, self._parts())
            return
        if getattr(self._source, "num_workers", 0):  # it starts processes
            return
        try:
            stored = encode((self._source, self._parts()), "source", None, reductions())
            if stored.nbytes > _LARGE:
                return
            source, parts = decode(stored.copied(), "source")
        except CodecError:  # it may be stored as a reference
            return
        self._check(source, parts)

    def _check(self, source: Any, parts: tuple[Changes, int, int]) -> None:
        """Refuse the object if that gives other items when it is gone through once more."""
        try:
            Again(source, self._positions, self._rngs, stored=parts).go_on()
        except ArgumentsChangedError as error:
            reason = f"gone through once more, the {_name(self._source)} gives other items"
            raise RefusedError(self, _WAYS_ON, reason) from error


def _again(source: Any, positions: Any, stored: tuple[Changes, int, int]) -> Again:
    """Return an iterator that goes on when its first item is asked for."""
    return Again(source, positions, present_rngs(), stored=stored)


def _name(source: Any) -> str:
    if isinstance(source, Call):
        function = source.function
        name = function.attribute if isinstance(function, Later) else ""
        return f"{name or getattr(function, '__qualname__', type(function).__qualname__)}()"
    return type(source).__qualname__
