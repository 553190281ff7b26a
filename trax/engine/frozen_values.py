"""Freezes values outside of the state, also those that pickle refuses, so that a change shows.

Strategy: a frozen value is a pickle that is only compared with a later one of the same value, so
what no process could load stands there as what it consists of: an object of the user's own classes
has its attributes, a function its closure, a generator its variables, an iterator and a file their
position. What steps do not change, as far as its kind tells, stands there by its type alone, such
as a lock, a connection or a progress bar; so do RNGs, of which `RngTracking` tells.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import gc
import io
import itertools
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from operator import length_hint
from types import (
    BuiltinMethodType,
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any, Final

from xxhash import xxh3_128_digest

from trax.comparing import ABSENT, Visitor, differences
from trax.frames.remade_kinds import Stateless
from trax.lint.words import is_cache
from trax.storage.codec import PROTOCOL, Limited
from trax.storage.definitions import by_name, full_name
from trax.storage.members import attributes, closure, contents
from trax.storage.process import process
from trax.tracking.references import is_own
from trax.tracking.rngs import rng_types

__all__ = ["CACHED", "Freezer", "has_changed"]

CACHED: Final = type(functools.cache(repr))  # the type of functions with a cache of `functools`

_SECONDS: Final = 0.05  # that a comparison may take
_DIGESTED: Final = 1 << 12  # bytes of an array from which on it is digested
_HUGE: Final = 64 << 20  # bytes of an array that is not looked at: it takes too long
_MANY: Final = 10_000  # items of a container in an object that are not looked at
_SIZED: Final = (list, tuple, dict, set, frozenset, deque, str, bytes, bytearray)
_IN_MEMORY: Final = (io.BytesIO, io.StringIO)
_NAMED: Final = (ModuleType, type, type(None))  # whose functions pickle finds by their names
_TRIAL: Final = 1 << 16  # bytes of an object of a library in which locks are looked for
# Modules whose objects do change from step to step, and that have no clients.
_MOVING: Final = frozenset({"builtins", "collections", "csv", "_csv", "queue", "types"})

_Content = dict[str, Any]


class Part:
    """Stands in a frozen value for an object, with what it consists of as attributes."""

    def __call__(self, *args: Any) -> None:
        """Do nothing: some containers refuse a function that cannot be called."""


class _RefusedError(Exception):
    """Pickle refuses an object inside of another one."""


class Freezer:
    """Freezes values until a time on the monotonic clock."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._opaque = (*rng_types(), ModuleType, CodeType, FrameType)
        self._is_strict = False
        self._own: dict[str, bool] = {}
        self._simple: dict[type, bool] = {}

    def freeze(self, value: Any, size: int) -> bytes | None:
        """Return a frozen value; None if it is larger, or if this takes too long."""
        file = Limited(size)
        try:
            _Pickler(file, self._taken).dump(value)
        except Exception:  # noqa: BLE001  # an object may raise anything when it is read
            return None
        return file.getvalue()

    def _taken(self, obj: Any) -> Any:
        """Return how an object is pickled: by what it consists of, or as pickle has it."""
        if process.monotonic() > self._until:
            raise TimeoutError
        is_defined = isinstance(obj, (type, FunctionType))
        content = self._definition(obj) if is_defined else self._content(obj)
        if type(content) is not dict:
            return content
        content[" kind"] = full_name(obj) if is_defined else type(obj)
        return Part, (), content

    def _definition(self, definition: Any) -> Any:
        if isinstance(definition, FunctionType) and self._is_own(definition):
            return {" content": _inside(definition)}
        return NotImplemented if by_name(definition) is definition else {}

    def _content(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is BuiltinMethodType and isinstance(obj.__self__, _NAMED):
            return NotImplemented
        if kind in _CONTENTS:
            return {" content": _CONTENTS[kind](obj)}
        if isinstance(obj, self._opaque) or (_is_stateless(obj) and not self._is_strict):
            return {}
        if self._is_own(kind):
            found = {name: value for name, value in attributes(obj) if not is_cache(name)}
            return (
                _parts(found) if self._is_simple(kind) else {**_parts(found), " items": _items(obj)}
            )
        if hasattr(kind, "__next__"):
            return {" position": self._position(obj)}
        if (digest := _digest(obj)) is not None:
            return {" digest": digest}
        if not self._is_strict and self._is_client(obj):
            return {}
        reduced = _reduced(obj)
        if reduced is None and self._is_strict:
            raise _RefusedError
        return reduced if isinstance(reduced, tuple) else {" name": reduced}

    def _is_client(self, obj: Any) -> bool:
        """Whether an object of a library has a lock, a socket or the like, as those that count do.

        So has a client of a database or of a service that collects figures.
        """
        if type(obj).__module__ in _MOVING or not hasattr(obj, "__dict__"):
            return False
        self._is_strict = True
        try:
            _Pickler(Limited(_TRIAL), self._taken).dump(obj)
        except _RefusedError:
            return True
        except Exception:  # noqa: BLE001  # it is large, or raises this again
            return False
        finally:
            self._is_strict = False
        return False

    def _position(self, iterator: Any) -> Any:
        """Return the position of an iterator or a file."""
        if hasattr(type(iterator), "__length_hint__"):  # pickle would list all that is left
            return length_hint(iterator)
        begun = process.monotonic()
        if isinstance(iterator, io.IOBase) and not isinstance(iterator, _IN_MEMORY):
            if iterator.closed or iterator.writable():
                return None  # of output others tell
            from trax.frames.open_files import progress  # seldom needed, and it takes long

            self._until += process.monotonic() - begun
            return progress(iterator)
        from trax.frames.iterators import reductions  # likewise

        self._until += process.monotonic() - begun
        return reductions().get(type(iterator), _reduced)(iterator)

    def _is_simple(self, kind: type) -> bool:
        """Whether objects of a class consist of attributes alone."""
        if kind not in self._simple:
            self._simple[kind] = all(map(self._is_own, kind.__mro__[:-1]))
        return self._simple[kind]

    def _is_own(self, definition: Any) -> bool:
        module = definition.__module__
        if module not in self._own:
            self._own[module] = is_own(module)
        return self._own[module]


class _Pickler(pickle.Pickler):
    def __init__(self, file: Limited, reducer_override: Callable[[Any], Any]) -> None:
        super().__init__(file, PROTOCOL)
        self.reducer_override = reducer_override  # type: ignore[method-assign]


def _is_stateless(obj: Any) -> bool:
    return isinstance(obj, Stateless) and type(obj).__module__ not in _MOVING


def _items(obj: Any) -> Any:
    """Return what an object has besides attributes, from a class of a library that it is of."""
    reduced = _reduced(obj)
    if not isinstance(reduced, tuple):
        return reduced
    _, args, state, items, pairs = (*reduced, None, None, None)[:5]
    has_attributes = isinstance(state, dict) or (isinstance(state, tuple) and len(state) == 2)
    return args, None if has_attributes else state, [*(items or ())], [*(pairs or ())]


def _parts(found: Mapping[Any, Any]) -> _Content:
    """Return parts of an object; of large containers their sizes, so that the others are seen."""
    return {
        name: (type(part), len(part)) if isinstance(part, _SIZED) and len(part) > _MANY else part
        for name, part in found.items()
    }


def _reduced(obj: Any) -> Any:
    """Return how pickle takes an object apart; None if it cannot."""
    reduce = copyreg.dispatch_table.get(type(obj))
    try:
        return reduce(obj) if reduce else obj.__reduce_ex__(PROTOCOL)
    except Exception:  # noqa: BLE001  # whatever it raises, it cannot be pickled
        return None


def _digest(obj: Any) -> Any:
    """Return a digest of a hash object or a large array; None of anything else."""
    kind = type(obj)
    if hasattr(kind, "hexdigest") and hasattr(kind, "digest_size"):
        return obj.digest_size and obj.hexdigest()
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or kind is not numpy.ndarray or obj.dtype.hasobject:
        return None
    if obj.nbytes > _HUGE:
        return 0
    if obj.nbytes < _DIGESTED:
        return None
    memory = numpy.ascontiguousarray(obj).reshape(-1).view("u1")
    return obj.dtype.str, obj.shape, xxh3_128_digest(memory)


def _inside(function: FunctionType) -> Any:
    """Return what a function keeps from call to call, besides the variables of its module."""
    variables = _parts(closure(function))
    return variables, function.__defaults__, function.__kwdefaults__, vars(function)


def _suspended(generator: Any) -> Any:
    """Return the yield at which a generator is, its variables, and what its loops go over."""
    frame = generator.gi_frame
    if frame is None or generator.gi_running:
        return None
    return frame.f_lasti, _parts(dict(enumerate(gc.get_referents(generator))))


def _present(variable: ContextVar[Any]) -> Any:
    with contextlib.suppress(LookupError):  # it has no value
        return variable.get()


def _cached(function: Any) -> Any:
    """Return a function that has a cache, with the number of results if they are random."""
    inside, number = function.__wrapped__, function.cache_info().misses
    if number:
        from trax.engine.drawn_caches import draws  # seldom needed

        number *= draws(inside)
    return inside, number


_CONTENTS: Final[dict[type, Callable[[Any], Any]]] = {
    MethodType: lambda method: (method.__self__, method.__func__),
    BuiltinMethodType: lambda method: (method.__self__, method.__name__),
    MethodWrapperType: lambda method: (method.__self__, method.__name__),
    CACHED: _cached,
    functools.partial: lambda one: (one.func, one.args, one.keywords),
    CellType: lambda cell: contents({"": cell}),
    GeneratorType: _suspended,
    itertools.count: repr,
    ContextVar: _present,
    threading.local: vars,
    MappingProxyType: dict,
    memoryview: bytes,
}


# -- comparisons ---------------------------------------------------------------------------


class _MadeLater(Visitor):
    """Passes over attributes that were not there, or None: a resumed run makes them as well."""

    def skips(self, kind: type, name: str, one: Any, two: Any) -> bool:  # noqa: ARG002
        return one is None or one is ABSENT


def has_changed(before: bytes, now: bytes) -> bool:
    """Return whether a value has changed since it was frozen; not if it was only made since.

    If the comparison takes long, other bytes are taken for a change.
    """
    if before == now:
        return False
    begun = process.monotonic()
    try:
        one, two = pickle.loads(before), pickle.loads(now)
        found: Iterator[Any] = differences(one, two, "", visitor=_MadeLater(), seconds=_SECONDS)
        if one is None or next(found, None) is not None:
            return one is not None
    except Exception:  # noqa: BLE001  # a __setstate__ of a library may raise anything
        return False
    return process.monotonic() - begun > _SECONDS
