"""Stores objects of the user's classes that are in a state and outside of it as references.

A loop may compare such an object by identity, as in ``animal.species is FOX``, or by
``counts[FOX]`` if its class defines no equality. So a resumed run has the one object in its state,
too, as long as its content is still the stored one. What has changed, such as an object that the
loop counts in, is another object there, with the stored content.

Strategy: a pickle refers to the place of the object, and has its content beside that. Only a run
that is resumed looks there, and so do proofs, if they can put the object back. All others who load
a state get a copy, which they may change.
"""

from __future__ import annotations

import contextlib
import copyreg
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import cached_property, partial
from itertools import islice, product
from pickle import SHORT_BINUNICODE
from typing import TYPE_CHECKING, Any, Final

from trax import notices
from trax.comparing import differences, is_value
from trax.engine.sharing import NEAR, inner_parts
from trax.engine.undo import simple_content
from trax.storage.codec import PROTOCOL, Limited, refuse_large
from trax.storage.definitions import full_name
from trax.tracking.references import is_own, references
from trax.tracking.rngs import rng_types

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["OuterObjects", "outer_object", "set_attributes"]

_MOST: Final = 200  # parts of one argument or variable that are looked at
_SMALL: Final = 1 << 16  # bytes of a pickled object; a larger one is copied
_SHOWN: Final = 3
_HOOKS: Final = ("__reduce_ex__", "__reduce__", "__getstate__")

Reduction = Callable[[Any], Any]
_Find = Callable[[str, bytes], Any]


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
        self._changed: list[str] = []
        self._first: dict[int, bytes] = {}  # the contents that were stored first

    @property
    def reductions(self) -> Mapping[type, Any]:
        """The entry for a table of reductions; see `trax.storage.reductions`."""
        return {object: self._reduction}

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let a state that is loaded in this block contain these objects; tell of changed ones."""
        with _Loading(self._find, self._has):
            yield
        if self._changed:
            more = len(self._changed) - _SHOWN
            shown = ", ".join(self._changed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            notices.warn(
                f"{self._call.name}: {shown} had other content when the run was stored, so the "
                "state has it as another object, as it was then, and `is` tells the two apart. If "
                "the loop compares them, compare a name in them instead"
            )

    def _find(self, place: str, content: bytes) -> Any:
        found = self._by_place.get(place)
        if found is None or _has_content(found, content):
            return found
        self._changed.append(place)
        return None

    def proving(self) -> AbstractContextManager[Any]:
        """Return a context in which copies for a proof contain those that can be put back."""
        self.lent = {}
        return _Loading(self._lend, self._has)

    def _lend(self, place: str, content: bytes) -> Any:
        if not self.lent:
            self.lent = self._restorable()
        found = self._by_place.get(place)
        return found if id(found) in self.lent and _has_content(found, content) else None

    def can_restore(self, lent: Mapping[int, Any]) -> bool:
        """Return whether all that was lent can be put back as it is now."""
        return not lent or lent.keys() <= self._restorable().keys()

    def _restorable(self) -> dict[int, Any]:
        """Return the objects that have values in them, and each other; see `undone`."""
        inside = {id(one): simple_content(one) for one in self._by_place.values()}
        known = {key: content for key, content in inside.items() if content is not None}
        size = math.inf
        while len(known) < size:
            size = len(known)
            known = {
                key: content
                for key, content in known.items()
                if all(is_value(part) or id(part) in known for part in content)
            }
        return {id(one): one for one in self._by_place.values() if id(one) in known}

    def _has(self, obj: Any) -> bool:
        return id(obj) in self._places

    def may_be_in(self, pickled: Any) -> bool:
        """Return whether a pickle, of anything, has objects of the same classes."""
        return any(mark in pickled for mark in self._marks)

    def _reduction(self, kind: type, other: Reduction) -> Reduction:
        """Return how the objects of a class are taken apart, those in no place by `other`."""
        is_met = _is_of_user(kind) and kind in self._kinds
        return partial(self._reduce, other) if is_met else other

    def _reduce(self, other: Reduction, obj: Any) -> Any:
        reduced = other(obj)
        place = self._places.get(id(obj))
        if place is None or not _is_plain(reduced):
            return reduced
        make, args, attributes = reduced[:3]
        content = _content(obj)
        first = self._first.setdefault(id(obj), content)
        if not content or content != first:  # the loop changes it, of which others tell
            self._first[id(obj)] = b""
            return reduced
        return outer_object, (place, content, make, args), attributes, None, None, set_attributes

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
    def _marks(self) -> list[bytes]:
        """The names of their classes, as a pickle has them."""
        names = (kind.__qualname__.encode() for kind in self._kinds)
        return [SHORT_BINUNICODE + bytes([len(name)]) + name for name in names if len(name) < 256]

    @cached_property
    def _kinds(self) -> set[type]:
        return {type(value) for value in self._by_place.values()}


class _Loading:
    """The objects that are in the places when something is loaded in this context: one in each."""

    def __init__(self, find: _Find, has_content: Callable[[Any], bool]) -> None:
        self.has_content = has_content
        self._find = find
        self._objects: dict[str, Any] = {}
        self._token: Any = None

    def __enter__(self) -> None:
        self._token = _present.set(self)

    def __exit__(self, *_: object) -> None:
        _present.reset(self._token)

    def get(self, place: str, content: bytes, make: Callable[..., Any], args: Any) -> Any:
        if place not in self._objects:
            found = self._find(place, content)
            self._objects[place] = make(*args) if found is None else found
        return self._objects[place]


_present: ContextVar[_Loading | None] = ContextVar("present", default=None)


def outer_object(place: str, content: bytes, make: Callable[..., Any], args: Any) -> Any:
    """Return the object at a place outside of the state, or a new one that has no attributes yet.

    A pickle calls this; `content` is a pickle of the object on its own, to compare it.
    """
    present = _present.get()
    return make(*args) if present is None else present.get(place, content, make, args)


def set_attributes(obj: Any, found: Any) -> None:
    """Give a new object its attributes, as pickle does; one from outside of the state has them."""
    present = _present.get()
    if present is not None and present.has_content(obj):
        return
    attributes, slots = found if type(found) is tuple else (found, None)
    if attributes:
        vars(obj).update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def _is_of_user(kind: type) -> bool:
    """Whether a class is the user's, and leaves it to Python how its objects are pickled."""
    return is_own(kind.__module__) and all(
        getattr(kind, hook) is getattr(object, hook) for hook in _HOOKS
    )


def _is_plain(reduced: Any) -> bool:
    """Whether an object consists of attributes, and is set by them alone."""
    if isinstance(reduced, str) or any(reduced[3:]):
        return False
    make, args, content = (*reduced, None)[:3]
    is_set = hasattr(args[0], "__setstate__") if args else True
    return make is copyreg.__newobj__ and bool(content) and not is_set  # type: ignore[attr-defined]


class _Pickler(pickle.Pickler):
    """Pickles an object on its own: RNGs have positions elsewhere, which are put back."""

    def reducer_override(self, obj: Any) -> Any:
        return (str, (full_name(type(obj)),)) if isinstance(obj, rng_types()) else NotImplemented


def _content(obj: Any) -> bytes:
    """Return an object as a pickle; nothing if it is large, or cannot be compared like that."""
    file = Limited(_SMALL)
    try:
        _Pickler(file, PROTOCOL, buffer_callback=refuse_large).dump(obj)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return b""
    return file.getvalue()


def _has_content(obj: Any, content: bytes) -> bool:
    """Return whether an object has this content, to the last bit."""
    present = _content(obj)
    try:
        one, two = pickle.loads(content), pickle.loads(present)
        return not any(differences(one, two, ""))
    except Exception:  # noqa: BLE001  # likewise
        return False
