"""Contexts: the positions stored beside a state or an increment, each under a key.

A context is a mapping of keys to bytes. An increment stores the entries that have changed since the
one before it; a checkpoint stores all. Merged, the newest values are the positions at the step to
which a run is recovered. ``docs/format.md`` has the same keys in a table.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum, auto
from functools import lru_cache
from typing import NamedTuple

from trax.storage.records import Damage

__all__ = [
    "CREATED",
    "EDITION",
    "FOLDED",
    "FRAME",
    "TIME",
    "Key",
    "Kind",
    "decode_context",
    "encode_context",
    "entry_head",
    "has_outputs",
    "parts_of",
]

_ENTRY = struct.Struct("<HI")  # length of the key, length of the value
_NUMBERED = re.compile("(.+)#(0|[1-9][0-9]{0,8})", re.DOTALL)


class Kind(StrEnum):  # a str is hashed without a call in Python, unlike other enums
    """The kinds of entries in a context."""

    OUTER_RNG = auto()
    """An RNG outside the state."""
    INNER_RNG = auto()
    """An RNG in the state."""
    OUTPUT = auto()
    """An output file."""
    ITEMS = auto()
    """Items of `remaining` that are done."""
    MARK = auto()
    """An entry of its own, such as `FOLDED`; one from another program is kept unchanged."""


_PREFIXES = {Kind.INNER_RNG: "state ", Kind.OUTPUT: "output ", Kind.ITEMS: "items "}


class Key(NamedTuple):
    """A tracked thing, or one part of its position.

    Attributes
    ----------
    kind : Kind
        The kind of thing.
    name : str
        Its name among those of its kind.
    part : int or None
        The number of the part, from 0; None in the key of the thing itself.
    """

    kind: Kind
    name: str
    part: int | None = None

    @classmethod
    def parse(cls, text: str) -> Key:
        """Return the key with this text in a file."""
        numbered = _NUMBERED.fullmatch(text)
        if numbered:
            return cls.thing(numbered[1]).at(int(numbered[2]))
        key = cls.thing(text)
        return key if key.kind in _PREFIXES else cls(Kind.MARK, text)

    @classmethod
    def thing(cls, text: str) -> Key:
        """Return the key of the RNG, output file or items with this text in a file."""
        for kind, prefix in _PREFIXES.items():
            if text.startswith(prefix):
                return cls(kind, text[len(prefix) :])
        return cls(Kind.OUTER_RNG, text)

    def __str__(self) -> str:
        text = _PREFIXES.get(self.kind, "") + self.name
        return text if self.part is None else f"{text}#{self.part}"

    @property
    def whole(self) -> Key:
        """The key of the whole thing, without a part."""
        return Key(self.kind, self.name)

    def at(self, part: int) -> Key:
        """Return the key of one part of this thing."""
        return Key(self.kind, self.name, part)


# In the context of an increment: folding it into the state drew from RNGs in that state.
FOLDED = Key(Kind.MARK, "folded")

# In the note at the beginning of a run: a digest of the first state and of the call that made it.
CREATED = Key(Kind.MARK, "created")


# In the context of an increment: the frame of a plain loop at its yield.
FRAME = Key(Kind.MARK, "frame")


# The text of the function of a plain loop, and its yields, by which frames refer to it.
EDITION = Key(Kind.MARK, "edition")


# In a note before an increment: the time, in seconds since 1970, as a double.
TIME = Key(Kind.MARK, "time")


def encode_context(entries: Iterable[tuple[Key, bytes]]) -> bytes:
    """Encode keys and their values as the payload of a context record."""
    return b"".join([entry_head(key, len(value)) + value for key, value in entries])


@lru_cache(maxsize=1024)
def entry_head(key: Key, size: int) -> bytes:
    """Return the bytes of an entry before its value, which has `size` bytes."""
    text = str(key).encode(errors="surrogateescape")  # a path may have any bytes
    return _ENTRY.pack(len(text), size) + text


def decode_context(payload: bytes | bytearray, offset: int = 0) -> dict[Key, bytes]:
    """Decode the payload of a context record; `offset` is that of the payload in the file.

    Raises
    ------
    Damage
        An entry is cut short.
    """
    payload = bytes(payload)
    entries = {}
    begin = 0
    while begin < len(payload):
        head = begin + _ENTRY.size
        if head > len(payload):
            raise Damage("an entry of a context is cut short", offset + begin)
        key_length, value_length = _ENTRY.unpack_from(payload, begin)
        middle = head + key_length
        end = middle + value_length
        if end > len(payload):
            raise Damage("an entry of a context is cut short", offset + begin)
        entries[_decode_key(payload[head:middle])] = payload[middle:end]
        begin = end
    return entries


@lru_cache(maxsize=1024)
def _decode_key(text: bytes) -> Key:
    return Key.parse(text.decode(errors="surrogateescape"))


def parts_of(context: Mapping[Key, bytes], thing: Key) -> Iterator[bytes]:
    """Yield the values of the parts of one thing, in order."""
    number = 0
    while (key := thing.at(number)) in context:
        yield context[key]
        number += 1


def has_outputs(context: Iterable[Key]) -> bool:
    """Return whether a context has an entry about an output file."""
    return any(key.kind is Kind.OUTPUT for key in context)
