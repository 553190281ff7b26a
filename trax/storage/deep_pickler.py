"""Pickles objects that are nested more deeply than the interpreter's stack allows.

Strategy: the standard pickler calls itself for each part of an object, and ends in a
`RecursionError` some hundred levels down. This one writes the same opcodes, and keeps on a stack of
its own which objects it is inside of. It is far slower, and takes over only when the other gives
up. Loading needs nothing like it: a pickle is a program without recursion.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

__all__ = ["DEPTH", "DeepPickler", "TooDeep"]

DEPTH = 500_000  # levels; it ends a __reduce__ that returns new objects without end
_BATCH = 1000

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})

_Pickler: Any = pickle._Pickler  # noqa: SLF001  # the one that is written in Python

_Parts = Iterator[Any]
_NOTHING: _Parts = iter(())


class TooDeep(RecursionError):  # noqa: N818  # it is a limit, and no fault of the program
    """An object is nested too deeply even for `DeepPickler`."""


class DeepPickler(_Pickler):  # type: ignore[misc]  # typeshed knows no more of it than its name
    """Pickles as another pickler does, but without recursion.

    Parameters
    ----------
    file : binary file
        The place for the pickle.
    like : pickle.Pickler
        The pickler whose `reducer_override`, `dispatch_table` and `persistent_id` are used.
    on_buffer : callable, optional
        Takes each buffer that stays out of the pickle.
    """

    def __init__(
        self, file: Any, like: Any, on_buffer: Callable[[pickle.PickleBuffer], Any] | None = None
    ) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL, buffer_callback=on_buffer)
        self._override = getattr(like, "reducer_override", _leave)
        self.dispatch_table = getattr(like, "dispatch_table", copyreg.dispatch_table)
        self._path_of = getattr(like, "persistent_id", _no_path)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:  # noqa: ARG002
        """Write an object, and everything in it."""
        stack = [self._begin(obj)]
        while stack:
            for part in stack[-1]:
                inner = self._begin(part)
                if inner is not _NOTHING:
                    stack.append(inner)
                    break
            else:
                stack.pop()
            if len(stack) > DEPTH:
                raise TooDeep(f"it is nested more than {DEPTH:,} levels deep")

    def _is_known(self, obj: Any) -> bool:
        """Refer to an object that is written already; return whether it is."""
        known = self.memo.get(id(obj))
        if known is not None:
            self.write(self.get(known[0]))
        return known is not None

    def _begin(self, obj: Any) -> _Parts:
        """Begin to write an object; the parts come each when it is their turn to be written."""
        self.framer.commit_frame()
        path = self._path_of(obj)
        if path is not None:
            return self._outside(path)
        kind = type(obj)
        if self._is_known(obj):
            return _NOTHING
        if kind in _CONTAINERS:
            return _CONTAINERS[kind](self, obj)
        reduced = self._override(obj) if kind not in _ATOMS else NotImplemented
        if reduced is NotImplemented:
            if kind in self.dispatch:
                self.dispatch[kind](self, obj)
                return _NOTHING
            reduced = self._reduce(obj, kind)
        if isinstance(reduced, str):
            self.save_global(obj, reduced)
            return _NOTHING
        return self._reduced(obj, *reduced)

    def _outside(self, path: str) -> _Parts:
        """Refer to an object that stays outside of the pickle."""
        yield path
        self.write(pickle.BINPERSID)

    def _reduce(self, obj: Any, kind: type) -> Any:
        try:
            reduce = self.dispatch_table[kind]  # not by `get`: the table may find it only then
        except KeyError:
            pass
        else:
            return reduce(obj)
        if issubclass(kind, type):  # a class with a metaclass of its own
            return obj.__qualname__
        return obj.__reduce_ex__(self.proto)

    def _reduced(
        self,
        obj: Any,
        function: Any,
        args: Any,
        state: Any = None,
        items: Iterable[Any] | None = None,
        pairs: Iterable[tuple[Any, Any]] | None = None,
        setter: Any = None,
    ) -> _Parts:
        name = getattr(function, "__name__", "")
        if name == "__newobj_ex__":
            yield from args
            self.write(pickle.NEWOBJ_EX)
        elif name == "__newobj__":
            yield args[0]
            yield args[1:]
            self.write(pickle.NEWOBJ)
        else:
            yield function
            yield args
            self.write(pickle.REDUCE)
        known = self.memo.get(id(obj))
        if known is not None:  # it is in its own arguments
            self.write(pickle.POP + self.get(known[0]))
        else:
            self.memoize(obj)
        yield from self._many(items or (), pickle.APPENDS)
        yield from self._pairs(pairs or ())
        if state is not None and setter is None:
            yield state
            self.write(pickle.BUILD)
        elif state is not None:
            yield from (setter, obj, state)
            self.write(pickle.TUPLE2 + pickle.REDUCE + pickle.POP)

    def _many(self, items: Iterable[Any], opcode: bytes) -> _Parts:
        items = iter(items)
        while batch := list(islice(items, _BATCH)):
            self.write(pickle.MARK)
            yield from batch
            self.write(opcode)

    def _pairs(self, pairs: Iterable[tuple[Any, Any]]) -> _Parts:
        pairs = iter(pairs)
        while batch := list(islice(pairs, _BATCH)):
            self.write(pickle.MARK)
            for pair in batch:
                yield from pair
            self.write(pickle.SETITEMS)

    def _list(self, obj: list[Any]) -> _Parts:
        self.write(pickle.EMPTY_LIST)
        self.memoize(obj)
        return self._many(obj, pickle.APPENDS)

    def _dict(self, obj: dict[Any, Any]) -> _Parts:
        self.write(pickle.EMPTY_DICT)
        self.memoize(obj)
        return self._pairs(obj.items())

    def _set(self, obj: set[Any]) -> _Parts:
        self.write(pickle.EMPTY_SET)
        self.memoize(obj)
        return self._many(obj, pickle.ADDITEMS)

    def _tuple(self, obj: tuple[Any, ...]) -> _Parts:
        if obj:
            yield from self._closed(obj, pickle.TUPLE)
        else:
            self.write(pickle.EMPTY_TUPLE)

    def _frozenset(self, obj: frozenset[Any]) -> _Parts:
        yield from self._closed(obj, pickle.FROZENSET)

    def _closed(self, obj: Iterable[Any], opcode: bytes) -> _Parts:
        """Write an object that exists only once all of its parts do."""
        self.write(pickle.MARK)
        yield from obj
        known = self.memo.get(id(obj))
        if known is not None:  # a part of it contains it, and has written it
            self.write(pickle.POP_MARK + self.get(known[0]))
        else:
            self.write(opcode)
            self.memoize(obj)


def _leave(obj: Any) -> Any:  # noqa: ARG001
    return NotImplemented


def _no_path(obj: Any) -> str | None:  # noqa: ARG001
    return None


_CONTAINERS: dict[type, Callable[[DeepPickler, Any], _Parts]] = {
    list: DeepPickler._list,  # noqa: SLF001
    dict: DeepPickler._dict,  # noqa: SLF001
    set: DeepPickler._set,  # noqa: SLF001
    tuple: DeepPickler._tuple,  # noqa: SLF001
    frozenset: DeepPickler._frozenset,  # noqa: SLF001
}
