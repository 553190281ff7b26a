"""Digests of values, the same in every process and under every version of Python and NumPy.

They are made from a value's structure, and not from the bytes of a pickle: these also depend on
which equal objects are one and the same.

A digest begins with the version of this method: ``"2:9f0c..."``. Those without a version are of
version 1. The version also names a version of Python if the digest depends on it, since the value
has a function that no name leads to and whose source is not there. Only digests of one version can
be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xxhash import xxh3_128

from trax.calls.structure import LEAVES, take_apart

__all__ = ["VERSION", "Digester", "are_comparable", "digest_value", "version_of"]

VERSION = "2"


class Digester:
    """Makes digests of values.

    Parameters
    ----------
    names : mapping of str to str
        Other names for classes, functions and modules, by their present ones; see `present_name`.
    by_source : bool
        Whether a function that no name leads to is digested by its source, if that is there, and
        not by its bytecode.

    Attributes
    ----------
    version : str
        The version of all digests so far.
    has_functions : bool
        Whether they contain a function that no name leads to.
    """

    def __init__(self, names: Mapping[str, str], *, by_source: bool = True) -> None:
        self.version = VERSION
        self.has_functions = False
        self._names = names
        self._by_source = by_source

    def digest(self, value: Any, above: tuple[int, ...] = ()) -> str:
        """Return the digest of a value, without its version; errors of its pickling are passed on.

        `above` has the ids of the objects that contain the value.
        """
        digest = xxh3_128()
        self._feed(digest.update, value, above)
        return digest.hexdigest()

    def digest_unordered(self, values: Any, above: tuple[int, ...] = ()) -> str:
        """Return the digest of several values whose order does not count."""
        return self.digest(sorted(self.digest(part, above) for part in values))

    def _feed(self, update: Callable[[Any], None], value: Any, above: tuple[int, ...]) -> None:
        kind = type(value)
        if kind in LEAVES:
            content = LEAVES[kind](value)
            update(f"{kind.__name__}:{len(content)};".encode())
            update(content)
            return
        if id(value) in above:
            update(f"cycle:{above[::-1].index(id(value))};".encode())
            return
        found = take_apart(value, self._names, by_source=self._by_source)
        self.has_functions |= found.kind == "function"
        if found.python:
            self.version = f"{VERSION} of Python {found.python}"
        sizes = f"{len(found.origin)},{len(found.attributes)},{len(found.items)},{len(found.pairs)}"
        update(f"{found.kind}:{sizes};".encode())
        inside = (*above, id(value))
        for part in found.origin:
            self._feed(update, part, inside)
        for name in sorted(found.attributes):
            self._feed(update, name, inside)
            self._feed(update, found.attributes[name], inside)
        if found.kind == "set":
            self._feed(update, self.digest_unordered(found.items, inside), inside)
            return
        for part in found.items:
            self._feed(update, part, inside)
        for key, part in found.pairs:
            self._feed(update, key, inside)
            self._feed(update, part, inside)


def digest_value(value: Any) -> str:
    """Return the digest of a value, without its version; errors of its pickling are passed on."""
    return Digester({}).digest(value)


def version_of(digest: str) -> str:
    """Return the version of a digest, such as ``"2"``."""
    return digest.rpartition(":")[0] or "1"


def are_comparable(one: str, two: str) -> bool:
    """Return whether two digests are of the same version."""
    return version_of(one) == version_of(two)
