"""Builds the objects of types that are plain data, and stand-ins for all others.

Nothing that a pickle names is imported, looked up or called: names are compared with those here. A
function here takes what a pickle would give to the class or function of a name, and checks it to
the last part. If it raises, an `Instance` stands for the object.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from sys import hash_info
from typing import Any
from uuid import UUID

from trax.plain.arrays import Array, DType
from trax.plain.stand_ins import Instance, Named, Unhashed

__all__ = [
    "KNOWN",
    "MISFITS",
    "NEW_WITH_NAMES",
    "Keys",
    "build",
    "function_name",
    "make",
    "named",
    "outside",
]

MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)

_DIGITS = 1000  # of an exact number
_LONG = 1000  # characters of a key or a name
_BITS = 4000  # of a key
_PARTS = 100  # of a key
_MODULES = {
    "__builtin__": "builtins",  # as older protocols have them
    "copy_reg": "copyreg",
    "__mp_main__": "__main__",  # as spawned processes have it
}
_ALIKE = 100  # keys with the same hash


# -- keys ----------------------------------------------------------------------------------


class Keys:
    """Makes objects keys of dicts and items of sets, where that takes no time worth speaking of.

    A pickle may have been made so that hashes are equal, or that hashing a tuple takes forever.
    """

    def __init__(self) -> None:
        self._alike: dict[int, tuple[Any, dict[int, int]]] = {}  # refers to each container

    def key(self, container: Any, value: Any) -> Any:
        """Return an object, or a stand-in for it, as a key of a container."""
        kind = type(value)
        if kind is str or kind is bytes:  # their hashes are random, and remembered
            return value if len(value) < _LONG else Unhashed(value)
        if kind in _DISTINCT or (kind is int and abs(value) < hash_info.modulus):
            return value
        if not _is_small(value):
            return Unhashed(value)
        _, alike = self._alike.setdefault(id(container), (container, {}))
        alike[hash(value)] = count = alike.get(hash(value), 0) + 1
        return value if count <= _ALIKE else Unhashed(value)


_DISTINCT = frozenset({bool, float, type(None), Unhashed, Named, Instance, Array})
_TIMES = {getattr(datetime, name) for name in ["date", "datetime", "time", "timedelta", "timezone"]}
_PURE = {type(kind()) for kind in (pathlib.Path, pathlib.PurePosixPath, pathlib.PureWindowsPath)}
_EXACT = frozenset({complex, range, Decimal, Fraction, UUID} | _TIMES | _PURE)


def _is_small(value: Any) -> bool:
    """Whether an object can be hashed, and soon."""
    parts = [value]
    for part in parts:
        kind = type(part)
        if kind in (tuple, frozenset):
            if len(parts) + len(part) > _PARTS:
                return False
            parts.extend(part)
        elif kind in (str, bytes):
            if len(part) > _LONG:
                return False
        elif kind is int:
            if part.bit_length() > _BITS:
                return False
        elif kind not in _DISTINCT and kind not in _EXACT:
            return False
    return True


def _keys(items: Any) -> Iterable[Any]:
    keys = Keys()
    return [keys.key(items, item) for item in _of(items, list, tuple)]


# -- what the functions have in common -----------------------------------------------------


def named(module: Any, name: Any, *_: Any) -> Named:
    """Return a stand-in for what a module has under a name."""
    if len(_of(module, str)) + len(_of(name, str)) > _LONG:
        raise ValueError("the name is too long")
    return Named(f"{_MODULES.get(module, module)}.{name}")


def outside(path: Any) -> Named:
    """Return a stand-in for an object that stayed outside of a pickle."""
    return Named(_of(path, str)[:_LONG])


def _of(value: Any, *kinds: type) -> Any:
    """Return a value, if its type is exactly one of these."""
    if type(value) not in kinds:
        raise TypeError("another type")
    return value


def function_name(function: Any) -> str:
    """Return the name of what a pickle would call."""
    if type(function) is Named:
        return function.name
    return function.type if type(function) is Instance else type(function).__name__


def make(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Return the object that a call in a pickle is to make, or a stand-in for it."""
    name = function_name(function)
    known = KNOWN.get(name)
    if known is not None:
        try:
            return known(*arguments)
        except MISFITS:
            pass
    return Instance(name, _of(arguments, tuple))


def build(target: Any, state: Any) -> None:
    """Give a state to an object that `make` has returned; one that does not fit is left out."""
    try:
        if type(target) in (Instance, DType, Array):
            target.build(state)
        elif type(target) is UUID:
            object.__setattr__(target, "int", UUID(int=_of(state["int"], int)).int)
    except MISFITS:
        pass


def _first(value: Any, *_: Any) -> Any:
    """Return the first argument, of which a function makes the same again."""
    if type(value) not in (Named, Array, Instance, dict):
        raise TypeError("another type")
    return value


def _with_state(instance: Any, state: Any) -> Any:
    _of(instance, Instance).build(state)
    return instance


def _instance(kind: Any, *arguments: Any) -> Any:
    return make(_of(kind, Named), arguments)


# -- Python --------------------------------------------------------------------------------


def _datetime(data: Any, zone: Any = None) -> datetime.datetime:
    year, month, day, hour, minute, second, *micros = struct.unpack(">H8B", _of(data, bytes))
    return datetime.datetime(
        year,
        month & 127,
        day,
        hour,
        minute,
        second,
        int.from_bytes(micros, "big"),
        _of(zone, type(None), datetime.timezone),
        fold=month >> 7,
    )


def _date(data: Any) -> datetime.date:
    return datetime.date(*struct.unpack(">HBB", _of(data, bytes)))


def _time(data: Any, zone: Any = None) -> datetime.time:
    hour, minute, second, *micros = _of(data, bytes)
    micro = int.from_bytes(micros, "big")
    zone = _of(zone, type(None), datetime.timezone)
    return datetime.time(hour & 127, minute, second, micro, zone, fold=hour >> 7)


def _timedelta(days: Any, seconds: Any, micros: Any) -> datetime.timedelta:
    return datetime.timedelta(_of(days, int), _of(seconds, int), _of(micros, int))


def _timezone(offset: Any, *name: Any) -> datetime.timezone:
    offset = _of(offset, datetime.timedelta)
    if not offset and not name:
        return datetime.UTC
    return datetime.timezone(offset, *(_of(each, str) for each in name))


def _decimal(text: Any) -> Decimal:
    return Decimal(_short(text))


def _short(text: Any) -> str:
    if len(_of(text, str)) > _DIGITS:
        raise ValueError("too many digits")
    return str(text)


def _fraction(*numbers: Any) -> Fraction:
    if len(numbers) == 1:
        found = re.fullmatch("(-?[0-9]+)(?:/([0-9]+))?", _short(numbers[0]))
        numbers = tuple(int(each or "1") for each in found.groups()) if found else ()
    numerator, denominator = (_of(number, int) for number in numbers)
    if max(numerator.bit_length(), denominator.bit_length()) > 4 * _DIGITS:
        raise ValueError("too many digits")
    return Fraction(numerator, denominator)


def _complex(*parts: Any) -> complex:
    real, imaginary = (_of(part, float) for part in parts)
    return complex(real, imaginary)


def _path(kind: type[pathlib.PurePath]) -> Callable[..., pathlib.PurePath]:
    return lambda *parts: kind(*(_of(part, str) for part in parts))


_is_windows = os.name == "nt"
_PATHS = {
    "PosixPath": pathlib.PurePosixPath if _is_windows else pathlib.Path,
    "WindowsPath": pathlib.Path if _is_windows else pathlib.PureWindowsPath,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}


def _deque(items: Any = (), most: Any = None) -> deque[Any]:
    return deque(_of(items, tuple, list), _of(most, type(None), int))


def _counter(counts: Any = None) -> Counter[Any]:
    return Counter({} if counts is None else _of(counts, dict))


def _default_dict(factory: Any = None) -> defaultdict[Any, Any]:  # noqa: ARG001  # not called
    return defaultdict()


def _ordered_dict() -> OrderedDict[Any, Any]:
    return OrderedDict()


def _range(*numbers: Any) -> range:
    return range(*(_of(number, int) for number in numbers))


def _slice(*ends: Any) -> slice:
    return slice(*ends)


def _bytearray(data: Any = b"", *encoding: Any) -> bytearray:
    return bytearray(_encode(data, *encoding) if encoding else _of(data, bytes))


def _bytes() -> bytes:
    return b""


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("another encoding")
    return bytes(_of(text, str).encode("latin-1"))


def _attribute(owner: Any, name: Any) -> Named:
    return named(_of(owner, Named).name, name)


def _type(*arguments: Any) -> Named:
    if arguments == (None,):
        return Named("builtins.NoneType")
    name, _, variables = arguments
    return named(variables.get("__module__", "builtins"), name)


def _reconstructor(kind: Any, base: Any, state: Any) -> Any:
    is_bare = base == Named("builtins.object")
    return make(_of(kind, Named), () if is_bare else (state,))


def _new_with_names(kind: Any, arguments: Any, names: Any) -> Any:
    if not names:
        return _instance(kind, *_of(arguments, tuple))
    instance = Instance(function_name(kind), _of(arguments, tuple))
    instance.build(_of(names, dict))
    return instance


# -- cloudpickle ---------------------------------------------------------------------------


def _function(*_: Any) -> Named:
    return Named("function")


def _name_function(function: Any, state: Any) -> Any:
    attributes = state[1]
    name = named(attributes["__module__"], attributes["__qualname__"])
    _of(function, Named).name = name.name
    return function


def _class(_: Any, name: Any, __: Any, options: Any, *___: Any) -> Named:
    return named(options.get("__module__", "__main__"), name)


def _enum(_: Any, __: Any, name: Any, ___: Any, module: Any, *____: Any) -> Named:
    return named(module, name)


def _module(name: Any) -> Named:
    return Named(_of(name, str))


def _builtin(name: Any) -> Named:
    return named("types", name)


# -- NumPy ---------------------------------------------------------------------------------


def _dtype(code: Any, *_: Any) -> DType:
    return DType("V" if type(code) is Named else _of(code, str))  # a class of structured items


def _from_buffer(memory: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    array = Array().place(dtype, shape, memory, "F" if order == "F" else "C")
    if order != "K" or axes is None:
        return array
    shape, strides = ([values[axis] for axis in axes] for values in (array.shape, array.strides))
    return array.place(dtype, tuple(shape), memory, tuple(strides))


def _reconstruct(kind: Any, *_: Any) -> Array:
    return Array(_of(kind, Named).name)


def _masked(kind: Any, *_: Any) -> Array:
    return Array(_of(kind, Named).name, is_masked=True)


def _scalar(dtype: Any, data: Any) -> Any:
    """Return a NumPy scalar: as a number or a text of Python, if it is one."""
    dtype, data = _of(dtype, DType), _of(data, bytes)
    if dtype.kind == "U":
        return data.decode("utf-32-le" if dtype.order == "<" else "utf-32-be")
    if dtype.kind == "S":
        return data
    array = Array().place(dtype, (), data)
    return next(iter(array.ends()), array)


def _empty(shape: Any, dtype: Any, order: Any = "C") -> Array:
    shape = shape if type(shape) is tuple else (shape,)
    return Array().place(dtype, shape, [] if dtype.kind == "O" else None, order)


# -- PyTorch -------------------------------------------------------------------------------

_TENSORS = {"bool": "b1", "half": "f2", "float": "f4", "double": "f8", "bfloat16": "V2"}
_TENSORS |= {f"{name}{8 * n}": f"{name[0]}{n}" for name in ("int", "uint") for n in (1, 2, 4, 8)}
_TENSORS |= {f"float{8 * n}": f"f{n}" for n in (2, 4, 8)}
_TENSORS |= {f"complex{8 * n}": f"c{n}" for n in (8, 16)}


def _typed(memory: Any, kind: Any) -> Array:
    """Return a storage: the memory of tensors, with a type."""
    name = _of(kind, Named).name.removeprefix("torch.")
    memory = _of(memory, Array)
    dtype = DType(_TENSORS.get(name, "V1"), name if _TENSORS.get(name, "V")[0] == "V" else "")
    size = memory.size * memory.dtype.size // dtype.size
    return Array("torch.Storage").place(dtype, (size,), memory.memory, offset=memory.offset)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Array:
    dtype = _of(storage, Array).dtype
    return Array("torch.Tensor").place(
        dtype,
        shape,
        storage.memory,
        tuple(stride * dtype.size for stride in strides),
        storage.offset + _of(offset, int) * dtype.size,
    )


# -- trax ----------------------------------------------------------------------------------


def _view(
    memory: Any, offset: Any, shape: Any, strides: Any, dtype: Any, _: Any, kind: Any = None
) -> Array:
    array = Array() if kind is None else _reconstruct(kind)
    begin = _of(memory, Array).offset + _of(offset, int)
    return array.place(dtype, shape, memory.memory, strides, begin)


def _fill(array: Any, items: Any) -> Any:
    """Put objects into the memory of an array, of which there may be views already."""
    _of(_of(array, Array).memory, list).extend(_of(items, list))
    return array


def _mapped(_: Any, __: Any, dtype: Any, ___: Any, shape: Any, order: Any) -> Array:
    return Array("numpy.memmap").place(dtype, shape, None, order)


def _exception(error: Any, state: Any) -> Any:
    attributes, links, _ = state
    error = _with_state(error, attributes or {})
    names = "__cause__", "__context__"
    linked = {name: link for name, link in zip(names, links, strict=True) if link is not None}
    return _with_state(error, linked)


def _outer(_: Any, __: Any, ___: Any, arguments: Any) -> Any:
    return _instance(*_of(arguments, tuple))


def _rng(rng: Any, state: Any) -> Any:
    return _with_state(rng, {"position": state[0], "attributes": state[1]})


# -- all -----------------------------------------------------------------------------------


def _in(modules: str, functions: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return functions by their full names, in each of some modules."""
    return {
        f"{m}.{name}": function for m in modules.split() for name, function in functions.items()
    }


NEW_WITH_NAMES = Named("copyreg.__newobj_ex__")
KNOWN: dict[str, Callable[..., Any]] = {
    **_in("_codecs", {"encode": _encode}),
    **_in(
        "builtins",
        {
            "bytearray": _bytearray,
            "bytes": _bytes,
            "complex": _complex,
            "frozenset": lambda items=(): frozenset(_keys(items)),
            "getattr": _attribute,
            "range": _range,
            "set": lambda items=(): set(_keys(items)),
            "slice": _slice,
            "type": _type,
            "xrange": _range,
        },
    ),
    **_in(
        "cloudpickle.cloudpickle cloudpickle.cloudpickle_fast",
        {
            "_builtin_type": _builtin,
            "_function_setstate": _name_function,
            "_make_function": _function,
            "_make_skeleton_class": _class,
            "_make_skeleton_enum": _enum,
            "subimport": _module,
        },
    ),
    **_in(
        "collections",
        {
            "Counter": _counter,
            "OrderedDict": _ordered_dict,
            "defaultdict": _default_dict,
            "deque": _deque,
        },
    ),
    **_in(
        "copyreg",
        {
            "__newobj__": _instance,
            "__newobj_ex__": _new_with_names,
            "_reconstructor": _reconstructor,
        },
    ),
    **_in(
        "datetime",
        {
            "date": _date,
            "datetime": _datetime,
            "time": _time,
            "timedelta": _timedelta,
            "timezone": _timezone,
        },
    ),
    **_in("decimal", {"Decimal": _decimal}),
    **_in("fractions", {"Fraction": _fraction}),
    **_in("pathlib pathlib._local", {name: _path(kind) for name, kind in _PATHS.items()}),
    **_in("types", {"MappingProxyType": _first}),
    **_in("uuid", {"UUID": lambda: UUID(int=0)}),
    **_in("numpy", {"dtype": _dtype, "empty": _empty}),
    **_in("numpy._core.numeric numpy.core.numeric", {"_frombuffer": _from_buffer}),
    **_in(
        "numpy._core.multiarray numpy.core.multiarray",
        {"_reconstruct": _reconstruct, "scalar": _scalar},
    ),
    **_in("numpy.ma.core", {"_mareconstruct": _masked}),
    **_in(
        "torch._utils",
        {
            "_rebuild_parameter": _first,
            "_rebuild_parameter_with_state": _first,
            "_rebuild_tensor_v2": _tensor,
        },
    ),
    **_in("trax.engine.outer_objects", {"outer_object": _outer, "set_attributes": _with_state}),
    **_in("trax.storage.array_memory", {"fill": _fill, "reopen": _mapped, "view_of": _view}),
    **_in("trax.storage.definitions", {"at_hand": named, "present": _first}),
    **_in("trax.storage.exceptions", {"complete_exception": _exception}),
    **_in(
        "trax.storage.reductions",
        {
            "named": named,
            "own_storage": _first,
            "set_python_rng": _rng,
            "shared_storage": _first,
            "storage_over": _first,
            "typed_storage": _typed,
        },
    ),
}
