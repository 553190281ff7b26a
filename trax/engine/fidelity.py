"""Compares an object with its copy from a pickle, and says how a resumed run would differ."""

from __future__ import annotations

import functools
import io
import logging
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from trax.comparing import ABSENT, IDENTITY, VALUE, Visitor, differences, outline
from trax.engine.addresses import Addresses, first_held
from trax.lint import words
from trax.storage.codec import PROTOCOL
from trax.storage.members import attributes

__all__ = ["ORDER", "flaws", "is_cache", "lost"]

LESS: Final = "less"  # an attribute is missing in the copy, or empty
ORDER: Final = "order"  # a set iterates otherwise
ADDRESS: Final = "address"  # a collection holds numbers that are objects' addresses
LANDMARK: Final = "landmark"  # a variable that is compared by `is` is another object in the copy

_ADVICE = {
    LESS: (
        "{path} does not come back ({values}). Let __getstate__ keep it, or __setstate__ make it "
        "again"
    ),
    ORDER: (
        "the set {path} iterates in another order once it is loaded. If the loop iterates over it, "
        "use sorted(...), or keep a dict, whose order is stored"
    ),
    LANDMARK: (
        "{path} comes back as another object than the variable {name}, so '... is {name}' is false "
        "in a resumed run. Make it a member of an Enum, a string or a class"
    ),
    ADDRESS: (
        "{path} holds the id(), hash() or repr() of an object of type {name}, and in a resumed run "
        "the object has another one. Hold the object itself, or a key that it has by its content"
    ),
    IDENTITY: (
        "{path} do not come back as they are ({values}). Keep one of them in the state, and derive "
        "the other where it is used"
    ),
    VALUE: (
        "{path} comes back with another value ({values}). Check its __reduce__, __getstate__ and "
        "__setstate__"
    ),
}

_PLAIN = (list, tuple, dict, set, frozenset, bytearray, type, ModuleType, FunctionType)
_ATOMS = (int, float, complex, str, bytes)
_RESOURCES: tuple[type, ...] = (
    *(type, ModuleType, FunctionType, MethodType, BuiltinFunctionType),
    *(io.IOBase, logging.Logger, logging.Handler, weakref.ref, threading.Thread, threading.local),
    *(type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event),
    *(threading.Semaphore, threading.Barrier),
)


def flaws(
    live: Any,
    loaded: Any,
    where: str,
    landmarks: Mapping[int, str],
    seconds: float,
    *,
    ignored: tuple[type, ...] = (),
    ignores_order: Callable[[str], bool] = lambda path: False,  # noqa: ARG005
) -> Iterator[tuple[str, str]]:
    """Yield each kind of flaw of a copy, with a line about the first one.

    Parameters
    ----------
    live, loaded : object
        The object, and its copy.
    where : str
        Their description, with which paths begin.
    landmarks : mapping of int to str
        The names of variables that are only compared by ``is``, by their identities.
    seconds : float
        The time after which the comparison ends.
    ignored : tuple of type
        Objects of these types count as the same.
    ignores_order : callable
        Whether the order of the set at a path does not matter.
    """
    compare = functools.partial(
        differences,
        live,
        loaded,
        where,
        sides=("live", "loaded"),
        identity=True,
        ignored=ignored,
        seconds=seconds,
    )
    visitor = _Flaws(landmarks)
    met: set[str] = set()
    for difference in compare(visitor=visitor):
        if difference.kind == ORDER and ignores_order(difference.path):
            continue
        if difference.kind in _ADVICE and difference.kind not in met:
            met.add(difference.kind)
            advice = _ADVICE[difference.kind]
            yield difference.kind, advice.format(**difference._asdict(), name=visitor.met)
        if difference.kind == VALUE:
            return
    if held := visitor.addresses.found():
        holders = _Holders(held)
        places = (one.path for one in compare(visitor=holders) if one.kind == ADDRESS)
        for path in islice(places, 1):
            yield ADDRESS, _ADVICE[ADDRESS].format(path=path, name=holders.met)


class _Flaws(Visitor):
    """Sees sets in another order, attributes that are lost, and landmarks."""

    def __init__(self, landmarks: Mapping[int, str]) -> None:
        self.met = ""  # the landmark that was met last
        self.addresses = Addresses()
        self._landmarks = landmarks
        self._lost: set[tuple[type, str]] = set()

    def visit(self, one: Any, two: Any) -> Iterator[tuple[str, str, Any, Any]]:
        self.addresses.meet(one)
        if id(one) in self._landmarks and one is not two:
            self.met = self._landmarks[id(one)]
            yield LANDMARK, "", one, two
        if isinstance(one, (set, frozenset)) and not _is_in_order(one, two):
            yield ORDER, "", one, two
        for name, value, other in lost(one, two):
            self._lost.add((type(one), name))
            yield LESS, f".{name}", value, other

    def skips(self, kind: type, name: str, one: Any, two: Any) -> bool:  # noqa: ARG002
        return one is None or one is ABSENT or (kind, name) in self._lost


class _Holders(Visitor):
    """Sees the collections that hold some addresses."""

    def __init__(self, addresses: dict[int, type]) -> None:
        self.met = ""  # the type of the object that was met last
        self._addresses = addresses

    def visit(self, one: Any, two: Any) -> Iterator[tuple[str, str, Any, Any]]:
        if (kind := first_held(one, self._addresses)) is not None:
            self.met = kind.__name__
            yield ADDRESS, "", one, two


def _is_in_order(one: Any, two: Any) -> bool:
    """Return whether two sets iterate alike; elements that hash by identity have outlines."""
    if len(one) != len(two):
        return True  # they differ in value
    if isinstance(one, frozenset) and all(isinstance(element, (str, bytes)) for element in one):
        return True  # such constants have another order in each process, and are not iterated over
    return all(a is b or a == b or outline(a) == outline(b) for a, b in zip(one, two, strict=True))


# -- attributes ----------------------------------------------------------------------------


def lost(one: Any, two: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the attributes of an object that its copy lacks: their names, and both values.

    Reducing an object gives only what its class wants to store; this looks at the attributes
    themselves. An attribute that may be a cache, or that is made again elsewhere, is no loss.
    """
    kind = type(one)
    if kind in _PLAIN or isinstance(one, (type, ModuleType)):
        return
    its = dict(attributes(two, builtin=False))
    for name, value in attributes(one, builtin=False):
        other = its.get(name, ABSENT)
        if other is not value and not is_cache(kind, name) and _is_less(name, value, other):
            is_slot = name not in getattr(one, "__dict__", ())
            is_private = name.startswith("_")
            if is_private and (is_slot or _has_same_state(one, two)):
                continue
            if not _is_resource(value):
                yield name, value, other


def _has_same_state(one: Any, two: Any) -> bool:
    """Return whether objects that have a say in the matter have the same state."""
    if not hasattr(type(one), "load_state_dict"):
        return False
    return not any(differences(one.state_dict(), two.state_dict(), "state"))


def _is_less(name: str, value: Any, other: Any) -> bool:
    if value is None or _is_empty(value):
        return False
    is_private = name.startswith("_")
    if isinstance(value, _ATOMS):
        if is_private or value != value:  # NaN
            return False
        return other is None or other is ABSENT or (type(other) is type(value) and other != value)
    return other is None or other is ABSENT or (_is_empty(other) and not is_private)


def _is_empty(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict, set, frozenset, bytearray)):
        return not value
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.size == 0


def _is_resource(value: Any) -> bool:
    """Return whether a value is made again where it is needed, since it cannot be stored."""
    if isinstance(value, _RESOURCES):
        return True
    if hasattr(value, "__next__"):
        return False
    try:
        pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return True
    return False


def is_cache(kind: type, name: str) -> bool:
    """Return whether an attribute may be missing because it is computed when it is needed."""
    if words.is_cache(name) or "lazy" in name.lower():
        return True
    return isinstance(getattr(kind, name, None), functools.cached_property)
