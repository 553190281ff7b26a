"""Objects of many kinds, for tests of pickles that are read as plain data."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cloudpickle

from trax.plain.data import decode_plain
from trax.storage.codec import encode


@dataclass
class Body:
    """A dataclass."""

    mass: float
    velocity: Any


@dataclass(slots=True)
class Slotted:
    """A dataclass with slots."""

    mass: float


@dataclass(frozen=True, slots=True)
class Frozen:
    """A dataclass whose state is a list."""

    mass: float
    name: str


class Point(NamedTuple):
    """A named tuple."""

    x: float
    y: float


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


class Stack(list):  # type: ignore[type-arg]
    """A list with attributes."""


class Metrics(dict):  # type: ignore[type-arg]
    """A dict with attributes."""


def ways(obj: Any) -> Iterator[Any]:
    """Yield an object as it is decoded from each way to pickle it."""
    for protocol in range(6):
        yield decode_plain(pickle.dumps(obj, protocol))
    yield decode_plain(cloudpickle.dumps(obj))
    encoded = encode(obj, "obj")
    yield decode_plain(encoded.payload, encoded.buffers)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(obj, 5, buffer_callback=buffers.append)
    yield decode_plain(memoryview(data), [buffer.raw() for buffer in buffers])


def decoded(obj: Any) -> Any:
    """Return an object as it is decoded from the pickle that trax stores."""
    encoded = encode(obj, "obj")
    return decode_plain(encoded.payload, encoded.buffers)
