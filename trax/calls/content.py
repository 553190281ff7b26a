"""The content of items and of their keys, as bytes that are the same in every process."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from marshal import dumps
from typing import Any

from xxhash import xxh3_128_digest

from trax.calls.digest import digest_value, version_of
from trax.calls.signatures import takes
from trax.display import show
from trax.errors import UsageError
from trax.storage.array_memory import tensor_memory
from trax.storage.context import Key, Kind

__all__ = [
    "CONTENT_VERSION",
    "DIGEST_SIZE",
    "DONE",
    "FORMAT",
    "PLAIN",
    "Contents",
    "Digests",
    "check_key",
]

# Values of these types have one form in this format of marshal, and so do tuples of them. Later
# formats also store which objects are one and the same.
PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})
FORMAT = 2

# Contents of different versions cannot be compared.
CONTENT_VERSION = f"1.{version_of(digest_value(None))}"

# In the context of an increment: the digest of its item's key; empty if it has no item. In a
# checkpoint: the digests of all that are done.
DONE = Key(Kind.ITEMS, f"{CONTENT_VERSION} key")
DIGEST_SIZE = 16

_VARYING = (id, hash)  # in every process
_ADDRESS = re.compile(r"<.* at 0x[0-9a-fA-F]+>", re.DOTALL)
_NUMERIC = "biufcSUmM"  # kinds of NumPy's types whose memory is their content


class Contents:
    """Turns the items of one run into bytes.

    Which way is taken depends only on an item and on those of its type before it, so it is the same
    whenever the items are.

    Attributes
    ----------
    opaque : set of type
        The types of items that cannot be taken apart.
    """

    def __init__(self) -> None:
        self.opaque: set[type] = set()
        self._is_stable: dict[type, bool] = {}

    def of(self, item: Any) -> bytes:
        """Return the content of an item; only its type if it cannot be taken apart."""
        try:
            return self._of(item)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
            self.opaque.add(type(item))
            return _join("type", [type(item).__qualname__.encode()])

    def _of(self, item: Any) -> bytes:
        kind = type(item)
        if kind in PLAIN:
            return dumps(item, FORMAT)
        if kind in (tuple, list):
            if PLAIN.issuperset(map(type, item)):
                return dumps(item, FORMAT)
            return _join(kind.__name__, map(self._of, item))
        if kind is dict:
            return _join("dict", (self._of(part) for pair in item.items() for part in pair))
        if isinstance(item, tuple) and hasattr(type(item), "_fields"):
            return _join(f"tuple {kind.__qualname__}", map(self._of, item))
        if isinstance(item, os.PathLike):
            return _join("path", [os.fsencode(item)])
        if kind is re.Match:  # without the text that it is found in, which all have
            return _join("match", map(self._of, (item.regs, item.groups(), item.lastindex)))
        return _array(item) or _tensor(item) or self._taken_apart(item)

    def _taken_apart(self, item: Any) -> bytes:
        kind = type(item)
        if kind not in self._is_stable:
            self._is_stable[kind] = _has_stable_digest(item)
        if self._is_stable[kind]:
            return _join("object", [digest_value(item).encode()])
        if isinstance(item, Sequence):  # such as a row of sqlite3
            return _join(f"sequence {kind.__qualname__}", map(self._of, item))
        raise TypeError("it cannot be taken apart")


class Digests:
    """Makes digests of keys: 16 bytes, the same in every process.

    Parameters
    ----------
    caller : str
        The function that has the items, for a message.
    """

    def __init__(self, caller: str) -> None:
        self._caller = caller
        self._contents = Contents()

    def of(self, key: Any, item: Any) -> bytes:
        """Return the digest of the key of an item, which may be the item itself.

        Raises
        ------
        UsageError
            The key has no content that can be compared, or it was made of an address in memory.
        """
        if type(key) is str and " at 0x" in key and key is not item and _ADDRESS.search(key):
            raise UsageError(
                f"{self._caller} got the key {show(key, 30)}, which is another in every process.\n"
                "Let key= return a name or a number, and no text with an address in memory."
            )
        return xxh3_128_digest(dumps(key, FORMAT) if type(key) in PLAIN else self._content(key))

    def _content(self, key: Any) -> bytes:
        content = self._contents.of(key)
        if self._contents.opaque:
            self._contents.opaque.clear()
            raise UsageError(
                f"{self._caller} cannot tell items like {show(key, 30)} apart by their content.\n"
                "Give key=, a function that returns a name or a number for an item."
            )
        return content


def check_key(key: Callable[[Any], Any]) -> None:
    """Refuse a key that is no function, or whose values differ from process to process.

    Raises
    ------
    UsageError
        It is such a key.
    """
    if not callable(key):
        example = f"lambda item: item[{key!r}]" if isinstance(key, str) else "str"
        raise UsageError(f"key must be callable, not {show(key)}.\nWrite key={example}.")
    if any(key is each for each in _VARYING):
        raise UsageError(
            f"key={key.__name__} gives an item another key in every process.\n"
            "Let key= return a name or a number that the item keeps, as key=str may do."
        )
    if not takes(key, 1):
        raise UsageError(
            f"key is called with an item, and {getattr(key, '__name__', None) or show(key)} does "
            "not take it alone.\n"
            'Write a function that does, as in key=lambda item: item["id"].'
        )


def _has_stable_digest(item: Any) -> bool:
    """Return whether a copy has the same digest, so that it depends on no address."""
    try:
        copy = pickle.loads(pickle.dumps(item, 5))
        return digest_value(copy) == digest_value(item)
    except Exception:  # noqa: BLE001  # pickling calls code of the user's
        return False


def _join(kind: str, parts: Iterable[bytes]) -> bytes:
    return dumps((kind, *parts), FORMAT)


def _array(item: Any) -> bytes | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(item, (numpy.generic, numpy.ndarray)):
        return None
    is_scalar = isinstance(item, numpy.generic)
    has_more = not is_scalar and type(item).__reduce__ is not numpy.ndarray.__reduce__  # as a mask
    if has_more or item.dtype.kind not in _NUMERIC:
        return None
    kind = "array" if is_scalar or item.shape else "array without dimensions"  # no scalar
    return dumps((kind, item.dtype.str, item.shape, item.tobytes()), FORMAT)


def _tensor(item: Any) -> bytes | None:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(item, torch.Tensor):
        return None
    memory = tensor_memory(item).tobytes()
    return dumps(("tensor", str(item.dtype), tuple(item.shape), memory), FORMAT)
