"""Arrays as they lie in a pickle: the type of their items, their shape, and their memory."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable
from itertools import islice, product
from typing import Any

from trax.display import shorten
from trax.errors import CodecError

__all__ = ["Array", "DType"]

_DIMENSIONS = 64
_FIELDS = 250  # of a structured type, those of its fields included
_DEPTH = 20
_SHOWN = 8  # fields
_LARGE = 10_000  # items; from there on NumPy is far quicker
_CODES = {"b1": "?", "f2": "e", "f4": "f", "f8": "d", "c8": "f", "c16": "d"}
_CODES |= {f"i{1 << n}": code for n, code in enumerate("bhiq")}
_CODES |= {f"u{1 << n}": code for n, code in enumerate("BHIQ")}
_NAMES = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_WORDS = {
    "O": "object",
    "S": "bytes",
    "U": "str",
    "V": "void",
    "M": "datetime64",
    "m": "timedelta64",
}
_NATIVE = "<" if sys.byteorder == "little" else ">"


class DType:
    """The type of the items of an array.

    Parameters
    ----------
    code : str
        The kind and the size in bytes, such as ``"f8"``.
    name : str, optional
        The name of a type that NumPy does not have.

    Attributes
    ----------
    kind : str
        The letter that NumPy has for the kind.
    size : int
        The size of an item, in bytes.
    order : str
        The byte order: ``"<"`` or ``">"``.
    unit : str
        The unit of a time, such as ``"us"``.
    fields : dict of str to (DType, int)
        The fields of a structured type, with their offsets.
    base : (DType, tuple of int) or None
        The items of a type that is an array itself, and its shape.
    weight, depth : int
        The number of types in it, and of the levels of them.
    """

    def __init__(self, code: str, name: str = "") -> None:
        self.kind = code[0]
        self.size = int(code[1:5] or "0") * (4 if self.kind == "U" else 1)
        self.order = _NATIVE
        self.unit = ""
        self.fields: dict[str, tuple[DType, int]] = {}
        self.base: tuple[DType, tuple[int, ...]] | None = None
        self.depth = self.weight = 1
        self._name = name
        self._is_final = False

    def final(self) -> DType:
        """Return the type, which is part of something and must not be changed any more."""
        self._is_final = True
        return self

    def build(self, state: Any) -> None:
        """Take the byte order, the fields and so on from the state that NumPy pickles.

        Raises
        ------
        ValueError
            It is no such state.
        """
        if self._is_final:
            raise ValueError("it is part of something already")
        _, order, base, names, fields, size, *others = state
        if names and len(names) > _FIELDS:
            raise ValueError("too many fields")
        found = {_text(name): _placed(*fields[name][:2]) for name in names or ()}
        inner = None if base is None else (_checked(base[0]), _ints(base[1]))
        parts = [part for part, _ in found.values()] + ([inner[0]] if inner else [])
        weight = 1 + sum(part.weight for part in parts)
        depth = 1 + max((part.depth for part in parts), default=0)
        if self._is_final or weight > _FIELDS or depth > _DEPTH:
            raise ValueError("it is part of itself, or has too many parts")
        self.fields, self.base, self.weight, self.depth = found, inner, weight, depth
        if order in ("<", ">"):
            self.order = order
        if type(size) is int and size >= 0:
            self.size = size
        self._is_final = True
        if len(others) > 2:
            unit, (count,) = others[2][1][0], _ints(others[2][1][1:2])
            self.unit = f"{count if count != 1 else ''}{unit[:8].decode()}"

    def _parts(self) -> list[DType]:
        return [part for part, _ in self.fields.values()] + ([self.base[0]] if self.base else [])

    @property
    def code(self) -> str | None:
        """The letter that `struct` has for an item, or for its parts if it is complex."""
        return None if self.base or self.fields else _CODES.get(f"{self.kind}{self.size}")

    @property
    def has_objects(self) -> bool:
        """Whether there are objects in it, instead of bytes."""
        return self.kind == "O" or any(part.has_objects for part in self._parts())

    def __str__(self) -> str:
        if self.fields:
            fields = islice(self.fields.items(), _SHOWN)
            shown = [f"{shorten(name)}: {part}" for name, (part, _) in fields]
            return f"{{{', '.join(shown + ['...'] * (len(self.fields) > _SHOWN))}}}"
        if self.base:
            return f"{self.base[0]}{[*self.base[1]]}"
        if self._name:
            return self._name
        if self.kind in _NAMES:
            bits = f"{self.size * 8}" * (self.kind != "b")
            return f"{'>' * (self.order != _NATIVE)}{_NAMES[self.kind]}{bits}"
        return f"{_WORDS.get(self.kind, self.kind)}{f'[{self.unit}]' * bool(self.unit)}"

    def numpy(self) -> Any:
        """Return the type as one of NumPy."""
        import numpy

        if self.has_objects or self._name:
            raise ValueError("its items are no numbers or texts")
        if self.base:
            return numpy.dtype((self.base[0].numpy(), self.base[1]))
        if self.fields:
            parts = self.fields.values()
            return numpy.dtype(
                {
                    "names": [*self.fields],
                    "formats": [part.numpy() for part, _ in parts],
                    "offsets": [offset for _, offset in parts],
                    "itemsize": self.size,
                }
            )
        size = self.size // (4 if self.kind == "U" else 1)
        return numpy.dtype(f"{self.order}{self.kind}{size}{f'[{self.unit}]' * bool(self.unit)}")


_UNKNOWN = DType("V", "unknown")


class Array:
    """An array as it lies in a pickle; none is built unless `numpy` is called.

    Parameters
    ----------
    kind : str
        The full name of its class.
    is_masked : bool
        Whether there may be items in the memory that do not count.

    Attributes
    ----------
    type : str
        The full name of its class.
    is_masked : bool
        As above.
    dtype : DType
        The type of its items.
    shape : tuple of int
        The number of items along each axis.
    strides : tuple of int
        The distances of items along each axis, in bytes.
    offset : int
        The place of the first item in the memory, in bytes.
    memory : memoryview, list or None
        The memory; a list has objects, each of which takes as many bytes as a pointer. None if
        nothing of it is stored, as of a mapped file.
    """

    def __init__(self, kind: str = "numpy.ndarray", *, is_masked: bool = False) -> None:
        self.type = kind
        self.dtype = _UNKNOWN
        self.shape: tuple[int, ...] = ()
        self.strides: tuple[int, ...] = ()
        self.offset = 0
        self.memory: memoryview | list[Any] | None = None
        self.is_masked = is_masked

    def place(
        self, dtype: Any, shape: Any, memory: Any, strides: Any = "C", offset: int = 0
    ) -> Array:
        """Give the array its type, shape and memory; `strides` may be an order, too.

        Raises
        ------
        ValueError, TypeError
            They do not fit each other.
        """
        dtype, shape = _checked(dtype), _ints(shape)
        if min(shape, default=0) < 0 or len(shape) > _DIMENSIONS:
            raise ValueError("no shape")
        strides = _strides(dtype.size, shape, strides) if type(strides) is str else _ints(strides)
        extents = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
        low = offset + sum(extent for extent in extents if extent < 0)
        high = offset + sum(extent for extent in extents if extent > 0) + dtype.size
        if type(memory) in (bytes, bytearray, memoryview):
            memory = memoryview(memory).cast("B")
            if 0 not in shape and (low < 0 or high > memory.nbytes):
                raise ValueError("outside of the memory")
        elif type(memory) is not list:
            memory = None
        self.dtype, self.shape, self.strides = dtype, shape, strides
        self.offset, self.memory = offset, memory
        return self

    def build(self, state: Any) -> None:
        """Take the shape, type and memory from the state that NumPy pickles.

        Raises
        ------
        ValueError, TypeError
            It is no such state.
        """
        _, shape, dtype, is_fortran, memory, *_ = state
        if type(memory) is str:
            memory = memory.encode("latin-1")
        # Objects are pickled in the order of their indices, whatever that of the memory is.
        self.place(dtype, shape, memory, "F" if is_fortran and type(memory) is not list else "C")

    @property
    def is_known(self) -> bool:
        """Whether its type and shape are known: a subclass may pickle them in a way of its own."""
        return self.dtype is not _UNKNOWN

    @property
    def size(self) -> int:
        """The number of items."""
        return math.prod(self.shape)

    def ends(self) -> list[Any]:
        """Return the first and the last item, if they are numbers or objects."""
        if not self.size or self.is_masked:
            return []
        last = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return [*self._items([self.offset, self.offset + last][: self.size])]

    def _items(self, offsets: Iterable[int]) -> Iterable[Any]:
        memory, code = self.memory, self.dtype.code
        if isinstance(memory, list):
            places = [offset // (self.dtype.size or 1) for offset in offsets]
            return [memory[place] for place in places if 0 <= place < len(memory)]
        if memory is None or code is None:
            return []
        form = struct.Struct(self.dtype.order + code * (1 + (self.dtype.kind == "c")))
        parts = (form.unpack_from(memory, offset) for offset in offsets)
        return (complex(*part) if len(part) > 1 else part[0] for part in parts)

    def norm(self) -> float | None:
        """Return the Euclidean norm; None if the items are no numbers, or not all at hand."""
        memory, code, size = self.memory, self.dtype.code, self.size
        if not isinstance(memory, memoryview) or code is None or self.is_masked:
            return None
        if size * self.dtype.size > memory.nbytes:  # items repeat; how often, a pickle may claim
            return None
        if size > _LARGE and (numpy := _numpy()) is not None:
            wide = complex if self.dtype.kind == "c" else float
            return float(numpy.linalg.norm(self.numpy().astype(wide).ravel()))
        if self.strides == _strides(self.dtype.size, self.shape, "C"):
            count = size * (1 + (self.dtype.kind == "c"))
            return math.hypot(
                *struct.unpack_from(f"{self.dtype.order}{count}{code}", memory, self.offset)
            )
        axes = [
            [n * stride for n in range(count)]
            for count, stride in zip(self.shape, self.strides, strict=True)
        ]
        offsets = (self.offset + sum(steps) for steps in product(*axes))
        return math.hypot(*map(abs, self._items(offsets)))

    def numpy(self) -> Any:
        """Return it as an array of NumPy, read-only, in the memory of the pickle.

        Raises
        ------
        CodecError
            NumPy has no such array, or the memory is not stored.
        """
        import numpy

        memory = self.memory
        try:
            if isinstance(memory, list):
                axes = zip(self.shape, self.strides, strict=True)
                places = [[n * stride for n in range(count)] for count, stride in axes]
                if self.size > len(memory):
                    raise ValueError("items are missing")
                found = numpy.empty(self.size, object)
                for n, offset in enumerate(product(*places)):
                    found[n] = memory[(self.offset + sum(offset)) // self.dtype.size]
                return found.reshape(self.shape)
            if memory is None:
                raise ValueError("its memory is not stored")
            dtype = self.dtype.numpy()
            memory = memory.toreadonly()
            return numpy.ndarray(self.shape, dtype, memory, self.offset, self.strides)
        except (TypeError, ValueError, IndexError, MemoryError) as error:
            raise CodecError(f"a stored {self.type} cannot be made: {error}") from error

    def __repr__(self) -> str:
        return f"<{self.dtype}{[*self.shape]}>"


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _strides(size: int, shape: tuple[int, ...], order: str) -> tuple[int, ...]:
    """Return the strides of an array without gaps, in the order of C or Fortran."""
    strides, step = [], size
    for count in shape if order == "F" else reversed(shape):
        strides.append(step)
        step *= max(count, 1)
    return tuple(strides if order == "F" else reversed(strides))


def _checked(dtype: Any) -> DType:
    if type(dtype) is DType:
        return dtype.final()
    return DType("V8", getattr(dtype, "type", type(dtype).__name__))


def _placed(dtype: Any, offset: Any) -> tuple[DType, int]:
    return _checked(dtype), _ints((offset,))[0]


def _ints(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple or len(values) > _DIMENSIONS:
        raise TypeError("no shape")
    if any(type(value) is not int or not -(2**63) < value < 2**63 for value in values):
        raise TypeError("no numbers")
    return values


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("no text")
    return value
