"""Objects that could be stored but for locks and weak references in them.

Such an object is data: what the loop changes in it must not be lost. It is made again if the loop
only uses it. One that leads out of the process, such as a client with counters, is none of these.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from xxhash import xxh3_128

from trax.frames.remade_kinds import is_container, is_stateless
from trax.storage.codec import Encoded
from trax.storage.culprit import find_part
from trax.tracking.references import is_own

__all__ = ["CanStore", "Locked", "locked"]

CanStore = Callable[[Any, Mapping[int, str]], Encoded | None]

_LOCK: Final = "a lock"
_WEAK: Final = "a weak reference"
_ADVICE: Final = {
    _LOCK: "Leave it out in __getstate__ of its class, and make it again in __setstate__.",
    _WEAK: (
        "Keep an ordinary reference instead: circles are stored, too.\n"
        "Or leave it out in __getstate__ of its class, and set it again in __setstate__."
    ),
}
_KINDS: Final[dict[type, str]] = {
    type(threading.Lock()): _LOCK,
    type(threading.RLock()): _LOCK,
    weakref.ref: _WEAK,
    weakref.ProxyType: _WEAK,
    weakref.CallableProxyType: _WEAK,
}
_INSIDE: Final = ("_queue", "_thread", "logging", "queue", "threading")


class Locked(NamedTuple):
    """An object that could be stored but for its locks and weak references.

    Attributes
    ----------
    reason : str
        The nearest of them, such as ``stats.lock is a lock``.
    advice : str
        What to do.
    digest : bytes
        A digest of all else in the object.
    """

    reason: str
    advice: str
    digest: bytes


def locked(value: Any, name: str, can_store: CanStore) -> Locked | None:
    """Return what keeps an object from being stored, if that is only locks in it.

    Parameters
    ----------
    value : object
        The object, which cannot be stored.
    name : str
        Its name.
    can_store : callable
        Stores an object; others are outside of it, whose paths are given by their ids.
    """
    found: dict[int, Any] = {}

    def leads_out(one: Any) -> bool:
        if type(one) in _KINDS:
            found[id(one)] = one
        return _leads_out(one)

    if type(value) in _KINDS or find_part(value, name, leads_out, _is_searched) or not found:
        return None
    nearest = find_part(value, name, lambda one: type(one) in _KINDS, _is_searched)
    encoded = can_store(value, dict.fromkeys(found, ""))
    if nearest is None or encoded is None:
        return None
    path, part = nearest
    digest = xxh3_128(encoded.payload)
    for buffer in encoded.buffers:
        digest.update(buffer)
    kind = _KINDS[type(part)]
    return Locked(f"{path} is {kind}", _ADVICE[kind], digest.digest())


def _leads_out(one: Any) -> bool:
    kind = type(one)
    return is_stateless(one) and str(kind.__module__).partition(".")[0] not in _INSIDE


def _is_searched(one: Any) -> bool:
    kind = type(one)
    is_weak = issubclass(kind, weakref.WeakValueDictionary | weakref.WeakSet)
    is_lock = kind.__module__ == "threading"  # such as a condition, which has one
    return is_container(one) or is_weak or is_lock or is_own(kind.__module__)
