"""Stored objects as plain data, which are read without executing anything, and shown."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain, count, islice
from pathlib import PurePath
from pickle import loads
from typing import Any
from uuid import UUID

from trax.display import shorten, show
from trax.errors import one_line
from trax.plain.arrays import Array, DType
from trax.plain.machine import PlainUnpickler
from trax.plain.stand_ins import Instance, Named, Unhashed

__all__ = ["decode_plain", "is_harmless", "numbers", "shown"]

_SMALL = 1000  # bytes
_LEVELS = 3  # of containers in which numbers are found
_MOST = 100  # parts of one container
_DEPTH = 8  # levels that are shown
_KEY = 40  # characters


def _any_of(*forms: bytes) -> bytes:
    return b"(?:%b)" % b"|".join(forms)


def _sized(opcode: bytes, sizes: Iterable[int]) -> bytes:
    """Return a pattern for objects of some sizes, each after its size."""
    return opcode + _any_of(*(re.escape(bytes([size])) + b".{%d}" % size for size in sizes))


# Pickles of numbers, texts, and lists, tuples and dicts of them. pickle itself may load them, since
# no opcode in them names anything, refers to an object again, or has a size that is not tried here.
_HARMLESS = re.compile(
    rb"(?s:\x80[\x04\x05](?:\x95.{8})?%b*+\.)"
    % _any_of(
        rb"[\x94(}u\])Naest\x85-\x89]",
        b"G.{8}",
        b"J.{4}",
        b"K.",
        b"M..",
        _sized(b"\x8a", range(9)),
        _sized(b"\x8c", range(33)),
    )
)


def is_harmless(pickle: bytes) -> bool:
    """Whether `pickle` itself may load these bytes, since nothing in them does any harm."""
    return len(pickle) <= _SMALL and _HARMLESS.fullmatch(pickle) is not None


def decode_plain(pickle: bytes | memoryview, buffers: Sequence[Any] = ()) -> Any:
    """Return the object in a pickle as plain data, without executing anything.

    Numbers, texts, bytes, containers and some other types of the standard library are built. An
    `Array` stands for an array of NumPy or a tensor, an `Instance` for any other object, and a
    `Named` for a class, a function or an object that is not in the pickle. Parts are shared as they
    were, and may contain each other.

    Parameters
    ----------
    pickle : bytes or memoryview
        The pickle; anybody may have written it.
    buffers : sequence of bytes-like
        Its buffers, in order.

    Raises
    ------
    CodecError
        It is no pickle.
    """
    data = bytes(pickle)
    if is_harmless(data):
        try:
            return loads(data)
        except Exception:  # noqa: BLE001, S110  # it is damaged; the machine says where
            pass
    return PlainUnpickler(data, buffers).load()


# -- numbers -------------------------------------------------------------------------------


def numbers(value: Any) -> dict[str, float]:
    """Return the numbers in plain data by their names.

    Whole numbers and truth values stay what they are; all others are floats. A number that is
    larger than any float is left out.

    The name of a single number is empty. Those of others are the keys, the names of fields or the
    positions that lead to them, as in ``"metrics.loss"``; ``"|gradient|"`` is the Euclidean norm of
    an array, or the absolute value of a complex number, and ``"norm"`` that of the object itself.

    Examples
    --------
    >>> numbers({"loss": 0.3, "at": (1, 2)})
    {'loss': 0.3, 'at.0': 1, 'at.1': 2}
    """
    found: dict[str, float] = {}
    _gather(found, "", value, _LEVELS)
    return found


def _gather(found: dict[str, float], name: str, value: Any, levels: int) -> None:
    kind = type(value)
    if kind is float:
        found[name] = value
    elif kind in _REAL:
        with contextlib.suppress(OverflowError, ValueError):  # too large; no number
            found[name] = _exact(value, float(value))
    elif kind is complex:
        found[_norm_of(name)] = abs(value)
    elif kind is Array:
        _gather_array(found, name, value)
    elif levels:
        prefix = f"{name}." if name else ""
        for key, part in islice(_fields(value), _MOST):
            if type(part) is float:
                found[prefix + key] = part
            else:
                _gather(found, prefix + key, part, levels - 1)


def _exact(value: Any, rounded: float) -> float:
    return value if isinstance(value, int) else rounded


def _gather_array(found: dict[str, float], name: str, array: Array) -> None:
    if not array.shape:
        for item in array.ends()[:1]:
            _gather(found, name, item, 0)
    elif (norm := array.norm()) is not None:
        found[_norm_of(name)] = norm


def _norm_of(name: str) -> str:
    return f"|{name}|" if name else "norm"


_REAL = frozenset({bool, int, Decimal, Fraction})


def _fields(value: Any) -> Iterable[tuple[str, Any]]:
    """Return the parts of an object with their names."""
    if isinstance(value, dict):
        return ((_name(key), part) for key, part in value.items())
    if isinstance(value, (tuple, list, deque)):
        return zip(map(str, count()), value)  # noqa: B905  # it does not end
    if type(value) is Instance:
        return ((_name(name), part) for name, part in value.named())
    return ()


def _name(key: Any) -> str:
    if type(key) is str and len(key) <= _KEY and key.isprintable():
        return key
    return shorten(one_line(key[: _KEY + 1]), _KEY) if type(key) is str else shown(key, _KEY)


# -- texts ---------------------------------------------------------------------------------


def shown(value: Any, width: int = 80) -> str:
    r"""Return plain data as a text of one line, with at most so many characters.

    Examples
    --------
    >>> shown({"loss": [0.5, 0.25], "name": "a\tb"})
    "{'loss': [0.5, 0.25], 'name': 'a\\tb'}"
    >>> shown([0.5] * 1000, 20)
    '[0.5, 0.5, 0.5, 0.5…'
    """
    pieces: list[str] = []
    length = 0
    for piece in _pieces(value, width + 1, _DEPTH):
        pieces.append(piece)
        length += len(piece)
        if length > width:
            break
    text = one_line("".join(pieces))
    return text if len(text) <= width else f"{text[: width - 1]}…"


_BRACKETS: dict[type, tuple[str, str]] = {
    tuple: ("(", ")"),
    list: ("[", "]"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    deque: ("deque([", "])"),
    dict: ("{", "}"),
    OrderedDict: ("{", "}"),
    defaultdict: ("{", "}"),
    Counter: ("{", "}"),
}
_AS_TEXT = frozenset(
    {Decimal, Fraction, UUID, datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)


def _pieces(value: Any, width: int, depth: int) -> Iterator[str]:
    """Yield the text for an object in pieces, none of which is much longer than the width."""
    kind = type(value)
    if kind in _BRACKETS:
        begin, end = _BRACKETS[kind]
        yield begin if value or kind is not set else "set("
        yield from _inside(value, width, depth)
        yield (
            f",{end}"
            if kind is tuple and len(value) == 1
            else (end if value or kind is not set else ")")
        )
    elif kind is Instance:
        yield f"{shorten(value.type.rpartition('.')[2], width)}("
        yield from _joined(_named_pieces(value, width, depth - 1)) if depth else ("…",)
        yield ")"
    elif kind is slice:
        yield from _pieces(Instance("slice", (value.start, value.stop, value.step)), width, depth)
    elif kind is Unhashed:
        yield from _pieces(value.value, width, depth)
    elif kind in (str, bytes, bytearray):
        yield repr(value[:width])
    elif kind is memoryview:
        yield repr(bytes(value[:width]))
    elif kind in (Array, DType):
        yield _array_text(value) if kind is Array else str(value)
    elif kind in _AS_TEXT or isinstance(value, PurePath):
        yield str(value)
    else:
        yield value.name if kind is Named else show(value, width)


def _inside(container: Any, width: int, depth: int) -> Iterator[str]:
    if not depth:
        return iter(("…",) if container else ())
    if isinstance(container, dict):
        return _joined(
            chain(_pieces(key, width, depth - 1), (": ",), _pieces(part, width, depth - 1))
            for key, part in container.items()
        )
    return _joined(_pieces(part, width, depth - 1) for part in container)


def _named_pieces(instance: Instance, width: int, depth: int) -> Iterator[Iterator[str]]:
    for name, part in instance.named():
        label = () if name.isdecimal() else (f"{name[:width]}=",)
        yield chain(label, _pieces(part, width, depth))


def _joined(parts: Iterable[Iterable[str]]) -> Iterator[str]:
    for n, part in enumerate(parts):
        if n:
            yield ", "
        yield from part


def _array_text(array: Array) -> str:
    if not array.is_known:
        return array.type
    kind = array.type.rpartition(".")[2]
    prefix = "" if kind in ("ndarray", "Tensor") else f"{kind} "
    text = f"{prefix}{array.dtype}[{', '.join(map(str, array.shape))}]"
    return " ".join([text, " … ".join(map(_item_text, array.ends()))]).rstrip()


def _item_text(item: Any) -> str:
    return f"{item:.4g}" if type(item) in (float, complex) else show(item, _KEY)
