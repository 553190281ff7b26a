"""Takes the content of an object from it, and puts it back into the same object or one like it.

An object has one or more facets: the items of a list, the attributes of an object, both for a
subclass of list with attributes. A facet has *values*, which are compared by identity, and a
*mark* for all else that can change, compared by ``==``.
"""

from __future__ import annotations

import contextlib
import copy
from array import array
from collections.abc import Callable, Iterable
from typing import Any, Final

from xxhash import xxh3_128

from trax.calls.digest import Digester
from trax.storage.members import slots

__all__ = [
    "Attributes",
    "Characters",
    "Elements",
    "Facet",
    "Pairs",
    "Parts",
    "Position",
    "Reduced",
    "State",
    "StateDict",
    "Unreadable",
    "digest",
]

_KEY = 40  # characters of a key in a path
_PROTOCOL = 4
_UNKNOWN: Final = "unknown"  # the mark of content that cannot be read


def digest(*parts: Any) -> str:
    """Return a digest of objects by their content; the same for all that cannot be taken apart."""
    try:
        return Digester({}).digest(parts)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return _UNKNOWN


class Facet:
    """One side of the content of an object; that of the base class has none, and never changes.

    Attributes
    ----------
    rank : int
        Facets of a lower rank are restored first: keys must be complete before they are hashed.
    keeps_others : bool
        Whether content may refer to `others`; if not, it contains those that it has.
    """

    rank = 1
    keeps_others = True

    def values(self, obj: Any) -> list[Any]:  # noqa: ARG002
        """Return the objects that the object refers to."""
        return []

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        """Return the text that leads from an object to a value; None if nothing does."""
        return None

    def mark(self, obj: Any) -> Any:  # noqa: ARG002
        """Return what changes if the content does, apart from the identity of values."""
        return None

    def others(self, obj: Any) -> Iterable[tuple[str, Any]]:  # noqa: ARG002
        """Yield labels and objects that belong to the object, and that its content does not have.

        They are referred to; if they change, they are not put back in place by themselves.
        """
        return ()

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        """Return why content with the present mark cannot be put back in place; empty if it can."""
        return ""

    def content(self, obj: Any) -> Any:  # noqa: ARG002
        """Return the content, to be pickled at once; it is another object than the object."""
        return None

    def misfit(self, obj: Any, content: Any) -> str:  # noqa: ARG002
        """Return why an object cannot be given this content; empty if it can."""
        return ""

    def restore(self, obj: Any, content: Any) -> None:
        """Put content back in place."""


class Parts(Facet):
    """Objects that an object refers to, in a fixed order.

    Parameters
    ----------
    read : callable
        Returns them.
    write : callable, optional
        Puts others in their place; nothing can, if it is not given.
    form : str
        Their labels, with a place for the number.
    """

    def __init__(
        self,
        read: Callable[[Any], Iterable[Any]],
        write: Callable[[Any, list[Any]], None] | None = None,
        form: str = "[{}]",
    ) -> None:
        self._read = read
        self._write = write
        self._form = form

    def values(self, obj: Any) -> list[Any]:
        return [*self._read(obj)]

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        return self._form.format(index)

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        return "" if self._write else "nothing in it can be replaced"

    def content(self, obj: Any) -> Any:
        return self.values(obj) if self._write else None

    def restore(self, obj: Any, content: Any) -> None:
        if self._write:
            self._write(obj, content)


class Pairs(Facet):
    """The keys and the values of a dictionary, in their order."""

    rank = 2

    def __init__(self, kind: type[dict[Any, Any]]) -> None:
        self._kind: Any = kind

    def values(self, obj: Any) -> list[Any]:
        return [*self._kind.keys(obj), *self._kind.values(obj)]

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        count = len(values) // 2
        if index < count:
            return f".keys()[{index}]"
        key = values[index - count]
        text = repr(key) if type(key) in (str, int) else ""
        return f"[{text}]" if 0 < len(text) <= _KEY else f".values()[{index - count}]"

    def content(self, obj: Any) -> list[tuple[Any, Any]]:
        return [*self._kind.items(obj)]

    def restore(self, obj: Any, content: list[tuple[Any, Any]]) -> None:
        self._kind.clear(obj)
        for key, value in content:
            self._kind.__setitem__(obj, key, value)


class Elements(Facet):
    """The elements of a set. No path leads to them: those that can change are always stored.

    Parameters
    ----------
    kind : type
        `set`, or `frozenset`, into which no others can be put.
    is_value : callable
        Whether an element cannot change.
    """

    rank = 2

    def __init__(self, kind: type[Any], is_value: Callable[[Any], bool]) -> None:
        self._kind = kind
        self._is_value = is_value

    def values(self, obj: Any) -> list[Any]:
        return [*self._kind.__iter__(obj)]

    def mark(self, obj: Any) -> Any:
        return None if all(map(self._is_value, self.values(obj))) else object()

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        return "" if self._kind is set else "nothing can be put back into it"

    def content(self, obj: Any) -> list[Any]:
        return self.values(obj)

    def restore(self, obj: Any, content: list[Any]) -> None:
        if self._kind is set:
            set.clear(obj)
            set.update(obj, content)


class Characters(Facet):
    """The bytes of a bytearray, or the numbers of an array of the standard library."""

    def mark(self, obj: Any) -> Any:
        with memoryview(obj) as memory:
            return len(obj), xxh3_128(memory.cast("B") if memory.nbytes else b"").digest()

    def content(self, obj: Any) -> Any:
        return obj[:] if isinstance(obj, array) else bytes(obj)

    def restore(self, obj: Any, content: Any) -> None:
        obj[:] = content


class Unreadable(Facet):
    """A state that nothing tells, such as that of a compressor: it counts as changed."""

    def mark(self, obj: Any) -> Any:  # noqa: ARG002
        return object()

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        return "its state cannot be read"


# -- objects -------------------------------------------------------------------------------


class Attributes(Facet):
    """The attributes of the objects of a class, in ``__dict__`` and in slots."""

    rank = 0

    def __init__(self, kind: type) -> None:
        self._has_dict = kind.__dictoffset__ != 0
        self._slots = dict(reversed(slots(kind)))
        self.is_empty = not self._has_dict and not self._slots

    def _named(self, obj: Any) -> dict[str, Any]:
        return {**(vars(obj) if self._has_dict else {}), **self._in_slots(obj)}

    def _in_slots(self, obj: Any) -> dict[str, Any]:
        found = {}
        for name, member in self._slots.items():
            with contextlib.suppress(AttributeError):  # it is not set
                found[name] = member.__get__(obj)
        return found

    def values(self, obj: Any) -> list[Any]:
        return [*self._named(obj).values()]

    def mark(self, obj: Any) -> Any:
        return tuple(self._named(obj))

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        name = mark[index]
        return f".{name}" if str.isidentifier(name) else f".__dict__[{name!r}]"

    def others(self, obj: Any) -> Iterable[tuple[str, Any]]:
        return [(".__dict__", vars(obj))] if self._has_dict else []

    def content(self, obj: Any) -> Any:
        return (dict(vars(obj)) if self._has_dict else {}), self._in_slots(obj)

    def restore(self, obj: Any, content: Any) -> None:
        named, in_slots = content
        if self._has_dict:
            vars(obj).clear()
            vars(obj).update(named)
        for name, member in self._slots.items():
            if name in in_slots:
                member.__set__(obj, in_slots[name])
            else:
                with contextlib.suppress(AttributeError):
                    member.__delete__(obj)


class _Described(Facet):
    """What an object says itself that its content is; its attributes are others."""

    def others(self, obj: Any) -> Iterable[tuple[str, Any]]:
        return [(f".{name}", value) for name, value in getattr(obj, "__dict__", {}).items()]


class State(_Described):
    """The state that the ``__getstate__`` of an object returns."""

    rank = 0
    keeps_others = False

    def _read(self, obj: Any) -> tuple[dict[str, Any], Any]:
        """Return the attributes in the state, and what else is in it."""
        state = obj.__getstate__()
        if type(state) is not dict:
            return {}, state
        mine = getattr(obj, "__dict__", {})
        own = {name: value for name, value in state.items() if mine.get(name, obj) is value}
        return own, {name: value for name, value in state.items() if name not in own}

    def values(self, obj: Any) -> list[Any]:
        return [*self._read(obj)[0].values()]

    def mark(self, obj: Any) -> Any:
        own, other = self._read(obj)
        found = digest(other) if other else ""
        return tuple(own), object() if found == _UNKNOWN else found

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        return f".{mark[0][index]}"

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        has_way = hasattr(obj, "__setstate__") or type(obj.__getstate__()) is dict
        return "" if has_way else "it has no __setstate__"

    def content(self, obj: Any) -> Any:
        state = obj.__getstate__()
        return dict(state) if type(state) is dict else state

    def restore(self, obj: Any, content: Any) -> None:
        if content is not None:  # nothing is set, as in pickle
            _set_state(obj, content)


class StateDict(_Described):
    """What the ``state_dict`` of an object returns, for its ``load_state_dict``."""

    rank = 3

    def mark(self, obj: Any) -> Any:
        return digest(obj.state_dict())

    def content(self, obj: Any) -> Any:
        # A copy: its parts are stored, though the objects in the caller's are referred to.
        return copy.deepcopy(obj.state_dict())

    def restore(self, obj: Any, content: Any) -> None:
        obj.load_state_dict(content)


class Reduced(_Described):
    """What pickle takes from an object of a class written in C, or of one that says so itself."""

    rank = 0
    keeps_others = False

    def _read(self, obj: Any) -> tuple[Any, Any]:
        """Return what makes the object, and what is put into it afterwards."""
        reduced = obj.__reduce_ex__(_PROTOCOL)
        if isinstance(reduced, str):
            return reduced, None
        function, args, *rest = reduced
        state, items, pairs, setter = [*rest, None, None, None, None][:4]
        return (function, args, list(items or ()), list(pairs or ()), setter), state

    def is_known(self, obj: Any) -> bool:
        """Return whether the object can be taken apart."""
        return _UNKNOWN not in self.mark(obj)

    def mark(self, obj: Any) -> Any:
        try:
            made, state = self._read(obj)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
            return _UNKNOWN, _UNKNOWN
        return digest(made), digest(state)

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:
        if before[0] != now[0] or _UNKNOWN in (*before, *now):
            return f"a {type(obj).__name__} cannot be given another content"
        return ""

    def content(self, obj: Any) -> Any:
        made, state = self._read(obj)
        return digest(made), state

    def misfit(self, obj: Any, content: Any) -> str:
        is_same = content[0] == self.mark(obj)[0]
        return "" if is_same else "it is another one, and cannot be given the stored content"

    def restore(self, obj: Any, content: Any) -> None:
        if content[1] is not None:
            _set_state(obj, content[1])


def _set_state(obj: Any, state: Any) -> None:
    """Give an object a state, as pickle does."""
    set_state = getattr(obj, "__setstate__", None)
    if set_state is not None:
        set_state(state)
        return
    named, in_slots = state if isinstance(state, tuple) else (state, None)
    vars(obj).update(named or {})
    for name, value in (in_slots or {}).items():
        object.__setattr__(obj, name, value)


class Position(Facet):
    """A state that one function reads and another one sets, such as the position of a file.

    Parameters
    ----------
    read : callable
        Returns the state of an object.
    write : callable or None
        Sets it; None if that is impossible.
    why : str
        The reason for which it cannot be set, or not be read.
    """

    def __init__(
        self,
        read: Callable[[Any], Any],
        write: Callable[[Any, Any], Any] | None,
        why: str = "it does not tell its position",
    ) -> None:
        self._read = read
        self._write = write
        self._why = why

    def mark(self, obj: Any) -> Any:
        try:
            return digest(self._read(obj))
        except Exception:  # noqa: BLE001  # such as a text file inside of a for loop
            return _UNKNOWN

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        return "" if self._write is not None and now != _UNKNOWN else self._why

    def content(self, obj: Any) -> Any:
        return self._read(obj)

    def restore(self, obj: Any, content: Any) -> None:
        if self._write is not None:
            self._write(obj, content)
