"""Takes values apart into parts, by content: no version of Python or NumPy changes these.

Strategy: a value is taken apart as pickle does it, unless that differs between versions. A class or
a function is its name, and one that no name leads to is its syntax tree.
"""

from __future__ import annotations

import copyreg
import os
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any
from uuid import UUID

from trax.calls.bytecode import content
from trax.calls.syntax import syntax_of
from trax.storage.array_memory import tensor_memory
from trax.storage.definitions import home
from trax.storage.members import closure, is_routine
from trax.storage.unpickler import present_name
from trax.tracking.rngs import canonical, numpy_random, seed_of

__all__ = ["LEAVES", "Structure", "take_apart"]

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_MOVED = ("core", "lib", "rec")  # modules of NumPy whose contents were moved, or will be
_DICTS = (dict, OrderedDict, Counter)

# Values without parts, as bytes.
LEAVES: dict[type, Callable[[Any], Any]] = {
    int: lambda value: hex(value).encode(),
    str: lambda value: value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: value,
    bytearray: lambda value: value,
    memoryview: lambda value: value.cast("B"),
    **dict.fromkeys((type(None), bool, float, complex), lambda value: repr(value).encode()),
}


@dataclass(frozen=True, slots=True)
class Structure:
    """The parts of a value.

    Attributes
    ----------
    kind : str
        The kind of value.
    origin : sequence
        Parts without a name, such as the class of an object.
    attributes : mapping
        Parts by their names; their order does not count.
    items : collection
        Parts in an order, which does not count if the kind is ``"set"``.
    pairs : collection of tuple
        Keys and values; their order counts.
    python : str
        The version of Python that the parts depend on; empty if they depend on none.
    """

    kind: str
    origin: Sequence[Any] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    items: Collection[Any] = ()
    pairs: Collection[tuple[Any, Any]] = ()
    python: str = ""


def take_apart(value: Any, names: Mapping[str, str], *, by_source: bool = True) -> Structure:
    """Return the parts of a value that is none of `LEAVES`; errors of its pickling are passed on.

    `names` has other names for classes, functions and modules, by their present ones; see
    `present_name`. If not `by_source`, functions that no name leads to are their bytecode.
    """
    kind = type(value)
    if kind in (tuple, list):
        return Structure(kind.__name__, items=value)
    if kind in (set, frozenset):
        return Structure("set", [kind.__name__], items=value)
    if kind in _DICTS:
        return Structure(kind.__name__, pairs=value.items())
    if isinstance(value, PurePath):
        return Structure("path", [os.fsencode(value)])
    if isinstance(value, ModuleType):
        return Structure("module", [present_name(home(value.__name__), names)])
    if isinstance(value, FunctionType) and "<" in value.__qualname__:
        return _take_function(value, names, by_source=by_source)
    if isinstance(value, type) or is_routine(value):
        return _take_named(value, names)
    for take in (_take_plain, _take_rng, _take_array, _take_tensor):
        found = take(value)
        if found is not None:
            return found
    return _take_object(value)


# -- classes and functions -----------------------------------------------------------------


def _take_named(value: Any, names: Mapping[str, str]) -> Structure:
    """Take apart a class, a function, or a bound method."""
    owner = None if isinstance(value, type) else getattr(value, "__self__", None)
    if owner is None or isinstance(owner, ModuleType):
        return Structure("name", [_lasting_name(value, names)])
    is_usual = getattr(owner, value.__name__, None) == value
    name = value.__name__ if is_usual else _lasting_name(value, names)
    return Structure("method", [name, owner])


def _lasting_name(value: Any, names: Mapping[str, str]) -> str:
    """Return the name of a class or a function, without modules that versions rename."""
    owner = value if hasattr(value, "__module__") else getattr(value, "__objclass__", value)
    module = home(getattr(owner, "__module__", None) or "")
    name = f"{module}.{value.__qualname__}"
    renamed = present_name(name, names)
    return renamed if renamed != name else _lasting(module, value.__qualname__)


def _lasting(module: str, name: str) -> str:
    """Return a name without the parts of its module that are private, in a library that moves them.

    Examples
    --------
    >>> _lasting("numpy._core.multiarray", "array"), _lasting("pathlib._local", "PosixPath")
    ('numpy.array', 'pathlib.PosixPath')
    >>> _lasting("my._own.module", "Class")
    'my._own.module.Class'
    """
    top, *inner = module.split(".")
    if top == "numpy":
        name = name.removesuffix("_")  # numpy.bool was once numpy.bool_
    elif top not in sys.stdlib_module_names:
        return f"{module}.{name}"
    public = top.removeprefix("_")
    found = [public if public in sys.stdlib_module_names else top]
    for part in inner:
        if part.startswith("_") or (top == "numpy" and part in _MOVED):
            break
        found.append(part)
    return ".".join([*found, name])


def _take_function(
    function: FunctionType, names: Mapping[str, str], *, by_source: bool
) -> Structure:
    """Take apart a function that no name leads to."""
    code = function.__code__
    syntax = syntax_of(code) if by_source else None
    module = present_name(home(function.__module__ or ""), names)
    defaults = [function.__defaults__, function.__kwdefaults__]
    variables = closure(function)
    if syntax is None:
        origin = [module, _PYTHON, repr(content(code)), *defaults]
        return Structure("function", origin, variables, python=_PYTHON)
    return Structure("function", [module, syntax, *defaults], variables)


# -- objects -------------------------------------------------------------------------------


def _take_plain(value: Any) -> Structure | None:
    """Take apart an object of the standard library that versions of Python pickle differently."""
    kind = type(value)
    if isinstance(value, Enum):
        return Structure("enum", [kind, value.name or value.value])
    if kind is Fraction:
        return Structure("fraction", [value.numerator, value.denominator])
    if kind is UUID:
        return Structure("uuid", [value.int])
    if kind is partial:
        return Structure("partial", [value.func, value.args], {**value.keywords, **vars(value)})
    if isinstance(value, tuple) and hasattr(kind, "_fields") and not hasattr(value, "__dict__"):
        return Structure("object", [kind], dict(zip(kind._fields, value, strict=True)))
    return None


def _take_rng(value: Any) -> Structure | None:
    """Take apart an RNG by its seed, since its position is stored with the run, or by its state."""
    numpy, torch = numpy_random(), sys.modules.get("torch")
    kind = type(value)
    seed = seed_of(value)
    if seed is not None:
        bits = type(canonical(value)).__name__
        return Structure("rng", [kind.__name__, bits, seed.entropy, seed.spawn_key])
    if numpy is not None and kind is numpy.SeedSequence:
        return Structure("seed", attributes=value.state)
    if numpy is not None and isinstance(value, numpy.RandomState):
        return Structure("rng", [kind.__name__], value.get_state(legacy=False))
    if numpy is not None and isinstance(value, numpy.Generator | numpy.BitGenerator):
        return Structure("rng", [kind.__name__], canonical(value).state)
    if torch is not None and isinstance(value, torch.Generator):
        return Structure("rng", [kind.__name__, value.device.type, value.initial_seed()])
    return None


def _take_object(value: Any) -> Structure:
    """Take apart an object as pickle would."""
    kind = type(value)
    reduce = copyreg.dispatch_table.get(kind)
    reduced = reduce(value) if reduce else value.__reduce_ex__(4)
    if isinstance(reduced, str):  # its name
        return Structure("object", [kind, reduced, getattr(value, "__wrapped__", None)])
    function, args, *rest = reduced
    state, items, pairs = [*rest, None, None, None][:3]
    origin = [function, *args]
    attributes = _attributes(state)
    if attributes is None:
        attributes = {}
        origin.append(state)
    return Structure("object", origin, attributes, list(items or ()), list(pairs or ()))


def _attributes(state: Any) -> dict[str, Any] | None:
    """Return the attributes in the state of an object; None if it is a state of another form."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    attributes: dict[str, Any] = {}
    for part in parts:  # those in ``__dict__``, and those in slots
        if type(part) is dict and all(type(name) is str for name in part):
            attributes |= part
        elif part is not None:
            return None
    return attributes


# -- memory --------------------------------------------------------------------------------


def _take_array(value: Any) -> Structure | None:
    """Take apart an array, a scalar or a dtype of NumPy."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    kind = type(value)
    if isinstance(value, numpy.dtype):
        return _take_dtype(value)
    is_scalar = isinstance(value, numpy.generic)
    if not is_scalar and not isinstance(value, numpy.ndarray):
        return None
    if not is_scalar and kind.__reduce__ is not numpy.ndarray.__reduce__:
        getattr(value, "fill_value", None)  # of a masked array: it is made when first read
        return None  # a class with a content of its own
    array = numpy.asarray(value)
    origin = ["scalar" if is_scalar else kind, array.dtype, array.shape]
    if array.dtype.hasobject or array.dtype.kind == "T":  # the memory has addresses
        return Structure("array", origin, items=array.ravel().tolist())
    memory = numpy.ascontiguousarray(array).reshape(-1)
    return Structure("array", [*origin, memory.view("u1").data if memory.nbytes else b""])


def _take_dtype(dtype: Any) -> Structure:
    if dtype.subdtype is not None:
        return Structure("dtype", dtype.subdtype)
    if dtype.names is not None:
        fields = [(name, *dtype.fields[name][:2]) for name in dtype.names]
        return Structure("dtype", [dtype.itemsize], items=fields)
    return Structure("dtype", [dtype.str, dtype.name if dtype.kind == "V" else ""])


def _take_tensor(value: Any) -> Structure | None:
    """Take apart a tensor of PyTorch that is all memory."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return None
    memory = tensor_memory(value).data if value.numel() else b""
    about = [type(value), str(value.dtype), tuple(value.shape), value.device.type]
    return Structure("array", [*about, value.requires_grad, memory])
