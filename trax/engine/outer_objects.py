"""Stores objects of the user's classes that are in a state and outside of it as references.

A loop may compare such an object by identity, as in ``animal.species is FOX``, or by
``counts[FOX]`` if its class defines no equality. So a resumed run has the one object in its state,
too, as long as its content is still the stored one. What has changed, such as an object that the
loop counts in, is another object there, with the stored content.

Strategy: a pickle refers to the place of the object, and has its content beside that. Only a run
that is resumed looks there, and so do proofs, which put it back. All others who load a state get a
copy, which they may change. An object counts if it has nothing but values, and others like it: a
list in it may be in the state as well, and would be another one there.
"""

from __future__ import annotations

import contextlib
import copyreg
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from enum import Enum
from functools import cached_property, partial
from itertools import islice, product
from pickle import SHORT_BINUNICODE
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from trax import notices
from trax.comparing import differences, is_value
from trax.engine.sharing import NEAR, inner_parts
from trax.tracking.references import is_own, references

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["OuterObjects", "outer_object", "set_attributes"]

_MOST: Final = 200  # parts of one argument or variable that are looked at
_TOGETHER: Final = 10  # objects that one may lead to
_SHOWN: Final = 3
_HOOKS: Final = ("__reduce_ex__", "__reduce__", "__getstate__")
_SETTERS: Final = ("__setstate__", "__getnewargs__", "__getnewargs_ex__")

Reduction = Callable[[Any], Any]
_Find = Callable[[str, Any], Any]


class OuterObjects:
    """The objects of the user's classes outside of a call's state, by their places.

    These are arguments and variables that the functions of the call refer to, and what is in them.

    Attributes
    ----------
    lent : dict of int to object
        Those that copies for proofs may contain, by identity.
    """

    def __init__(self, call: Call) -> None:
        self.lent: dict[int, Any] = {}
        self._call = call
        self._changed: dict[str, None] = {}
        self._first: dict[int, Any] = {}  # the contents that were stored first

    @property
    def reductions(self) -> Mapping[type, Any]:
        """The entry for a table of reductions; see `trax.storage.reductions`."""
        return {object: self._reduction}

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let a state that is loaded in this block contain these objects; tell of changed ones."""
        with _Loading(self._find):
            yield
        if self._changed:
            more = len(self._changed) - _SHOWN
            shown = ", ".join([*self._changed][:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            notices.warn(
                f"{self._call.name}: {shown} had other content when the run was stored, so the "
                "state has it as another object, as it was then, and `is` tells the two apart. If "
                "the loop compares them, compare a name in them instead"
            )

    def _find(self, place: str, content: Any) -> Any:
        found = self._by_place.get(place)
        if found is None or self._has_content(found, content):
            return found
        self._changed[place] = None
        return None

    def proving(self) -> AbstractContextManager[Any]:
        """Return a context in which copies for a proof contain those objects."""
        self.lent = {}
        return _Loading(self._lend)

    def _lend(self, place: str, content: Any) -> Any:
        found = self._by_place.get(place)
        if found is None or not self._has_content(found, content):
            return None
        if not self.lent:
            self.lent = {id(one): one for one in self._by_place.values() if self._content(one)}
        return found

    def can_restore(self, lent: Mapping[int, Any]) -> bool:
        """Return whether `undone` can put back all that was lent as it is now."""
        return all(map(self._content, lent.values()))

    def may_be_in(self, pickled: Any) -> bool:
        """Return whether a pickle, of anything, has objects of the same classes."""
        return bool(self._kinds) and self._mark.search(pickled) is not None

    def _reduction(self, kind: type, other: Reduction) -> Reduction:
        """Return how the objects of a class are taken apart, those in no place by `other`."""
        is_met = _is_of_user(kind) and kind in self._kinds
        return partial(self._reduce, other) if is_met else other

    def _reduce(self, other: Reduction, obj: Any) -> Any:
        reduced = other(obj)
        place = self._places.get(id(obj))
        if place is None or isinstance(reduced, str):
            return reduced
        make, args, attributes = reduced[:3]
        content = self._content(obj)
        first = self._first.setdefault(id(obj), content)
        if not content or content != first:  # the loop changes it, of which others tell
            self._first[id(obj)] = None
            return reduced
        return outer_object, (place, content, make, args), attributes, None, None, set_attributes

    def _content(self, obj: Any) -> Any:
        """Return an object's attributes, with those of others that it leads to; None if of more.

        The others are lists of a class and its attributes; one met before is its number alone.
        """
        try:
            return self._parts(obj, {})
        except _MoreError:
            return None

    def _parts(self, obj: Any, met: dict[int, int]) -> list[Any]:
        if id(obj) in met:
            return [met[id(obj)]]
        met[id(obj)] = len(met)
        # Without a place, an object that this one leads to would be a copy elsewhere in the state.
        if id(obj) not in self._places or len(met) > _TOGETHER:
            raise _MoreError
        parts = vars(obj).items()
        return [type(obj), {n: p if _is_value(p) else self._parts(p, met) for n, p in parts}]

    def _has_content(self, obj: Any, content: Any) -> bool:
        """Return whether an object has this content, to the last bit."""
        present = self._content(obj)
        return present is not None and not any(differences(content, present, ""))

    @cached_property
    def _by_place(self) -> dict[str, Any]:
        call = self._call
        arguments = call.arguments.items() if not call.is_plain else ()  # which it has stored
        roots = [(f"the argument {name}", value) for name, value in arguments]
        roots += references([call.function, *call.helpers]).variables.items()
        found: dict[int, Any] = {}
        places: dict[str, list[Any]] = {}
        for depth, root in product((0, NEAR), roots):
            with contextlib.suppress(Exception):  # an object may raise anything when it is read
                for part in islice(inner_parts(root, depth), _MOST):
                    if id(part.value) not in found and _is_of_user(type(part.value)):
                        found[id(part.value)] = part.value
                        places.setdefault(part.path, []).append(part.value)
        # The elements of a set have no place of their own.
        return {place: values[0] for place, values in places.items() if len(values) == 1}

    @cached_property
    def _places(self) -> dict[int, str]:
        return {id(value): place for place, value in self._by_place.items()}

    @cached_property
    def _mark(self) -> re.Pattern[bytes]:
        """What finds the names of their classes in a pickle."""
        names = (kind.__qualname__.encode() for kind in self._kinds)
        marks = (SHORT_BINUNICODE + bytes([len(n)]) + n for n in names if len(n) < 256)
        return re.compile(b"|".join(map(re.escape, marks)))

    @cached_property
    def _kinds(self) -> set[type]:
        return {type(value) for value in self._by_place.values()}


class _Loading:
    """The objects that are in the places when something is loaded in this context.

    There is one for each place and content.
    """

    def __init__(self, find: _Find) -> None:
        self._find = find
        self._objects: dict[str, list[tuple[Any, Any]]] = {}
        self._new: set[int] = set()  # objects that have no attributes yet
        self._token: Any = None

    def __enter__(self) -> None:
        self._token = _present.set(self)

    def __exit__(self, *_: object) -> None:
        _present.reset(self._token)

    def get(self, place: str, content: Any, make: Callable[..., Any], args: Any) -> Any:
        known = self._objects.setdefault(place, [])
        for other, obj in known:
            if not any(differences(other, content, "")):
                return obj
        found = self._find(place, content)
        if found is None:
            found = make(*args)
            self._new.add(id(found))
        known.append((content, found))
        return found

    def is_new(self, obj: Any) -> bool:
        """Return whether an object was made and has no attributes yet; it has them from now on."""
        is_new = id(obj) in self._new
        self._new.discard(id(obj))
        return is_new


_present: ContextVar[_Loading | None] = ContextVar("present", default=None)


def outer_object(place: str, content: Any, make: Callable[..., Any], args: Any) -> Any:
    """Return the object at a place outside of the state, or a new one that has no attributes yet.

    A pickle calls this; `content` is what `_content` returns, to compare it.
    """
    present = _present.get()
    return make(*args) if present is None else present.get(place, content, make, args)


def set_attributes(obj: Any, found: Any) -> None:
    """Give a new object its attributes, as pickle does; one from outside of the state has them."""
    present = _present.get()
    if present is not None and not present.is_new(obj):
        return
    vars(obj).update(found)


def _is_of_user(kind: type) -> bool:
    """Whether a class is the user's, and its objects are attributes alone, which pickle sets."""
    bases = kind.__mro__[:-1]
    return (
        all(is_own(base.__module__) for base in bases)
        and all(getattr(kind, hook) is getattr(object, hook) for hook in _HOOKS)
        and not any(hasattr(kind, setter) for setter in _SETTERS)
        and not (copyreg._slotnames(kind) or kind in copyreg.dispatch_table)  # type: ignore[attr-defined]  # noqa: SLF001
    )


class _MoreError(Exception):
    """An object has something else than values and others like it."""


def _is_value(part: Any) -> bool:
    """Whether an object, or all in it, can neither change nor be in the state by itself."""
    if type(part) in (tuple, frozenset):
        return all(map(_is_value, part))
    if isinstance(part, (Enum, type, FunctionType)):
        return is_value(part)
    return is_value(part) and not hasattr(part, "__dict__")
