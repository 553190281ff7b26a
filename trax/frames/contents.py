"""The facets of an object's content, by its type."""

from __future__ import annotations

import contextlib
import datetime
import functools
import random
import re
import struct
import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, Final
from uuid import UUID

from trax.comparing import is_value
from trax.frames.facets import (
    Attributes,
    Characters,
    Elements,
    Facet,
    Pairs,
    Parts,
    Position,
    Reduced,
    State,
    StateDict,
    Unreadable,
)
from trax.frames.memory import ArrayMemory, ArrayObjects, TensorMemory
from trax.frames.remade_kinds import is_opaque
from trax.storage.members import contents, slots
from trax.tracking.references import is_own

__all__ = ["PLAIN", "VALUES", "Contents", "is_iterator", "is_trained"]

# Objects of these types are values: nobody can change them, and which of two equal ones it is does
# not matter.
VALUES: Final = frozenset(
    {
        *(int, float, complex, bool, str, bytes, type(None), type(Ellipsis), type(NotImplemented)),
        *(range, Decimal, Fraction, UUID, CodeType, re.Pattern, type),
        *(getattr(datetime, name) for name in ("date", "datetime", "time", "timedelta")),
    }
)

# Objects of these types are compared with the stored call by their content, if all in them is.
PLAIN: Final = frozenset({list, tuple, dict, set, frozenset, deque, OrderedDict, bytearray, array})

_VALUE_CLASSES = (type, ModuleType, Enum, PurePath, datetime.tzinfo)
_BUILTIN = ("builtins", "collections", "array", "itertools", "functools", "_io")
_POINTER = struct.calcsize("P")
_LIBRARY_VALUES = (("logging", "Logger"), ("numpy", "dtype"), ("numpy", "generic"))
_TRAINED = (  # their state_dict does not tell everything, and their attributes do
    ("torch.nn.modules.module", "Module"),
    ("torch.optim.optimizer", "Optimizer"),
    ("torch.optim.lr_scheduler", "LRScheduler"),
)

_Facets = tuple[Facet, ...]


class Contents:
    """Chooses the facets of objects; it keeps them for each type that it was asked for."""

    def __init__(self) -> None:
        self._found: dict[Any, _Facets | None] = {}
        self._installed: dict[type, bool] = {}
        self._sets = [Elements(kind, self.is_value) for kind in (set, frozenset)]

    def facets(self, obj: Any) -> _Facets | None:
        """Return the facets of an object; None for a value."""
        kind = type(obj)
        if kind in VALUES or (kind in (tuple, frozenset) and not obj):
            return None
        if kind is FunctionType or kind is BuiltinFunctionType:
            return _callable(obj)
        key = (kind, obj.dtype.hasobject) if _is_a(kind, "numpy", "ndarray") else kind
        if key not in self._found:
            self._found[key] = self._choose(obj)
        return self._found[key]

    def is_value(self, obj: Any) -> bool:
        """Return whether an object is a value, of which a copy is as good."""
        return self.facets(obj) is None

    def is_installed(self, kind: type) -> bool:
        """Return whether a class is one of the standard library or of a package."""
        if kind not in self._installed:
            self._installed[kind] = not is_own(kind.__module__)
        return self._installed[kind]

    def _choose(self, obj: Any) -> _Facets | None:
        kind = type(obj)
        if issubclass(kind, _VALUE_CLASSES) or _is_value_of_library(kind):
            return None
        main = self._container(kind) or _memory(obj) or _stateful(kind)
        own = Attributes(kind)
        if main is not None:
            has_own = kind.__module__ not in _BUILTIN and not own.is_empty
            return (main, own) if has_own else (main,)
        found = _object(kind)
        if isinstance(found, Reduced) and is_value(obj) and found.is_known(obj):
            return None
        return (found or own,)

    def _container(self, kind: type) -> Facet | None:
        if issubclass(kind, dict):
            return Pairs(OrderedDict if issubclass(kind, OrderedDict) else dict)
        if issubclass(kind, (set, frozenset)):
            return self._sets[issubclass(kind, frozenset)]
        return next((facet for base, facet in _CONTAINERS.items() if issubclass(kind, base)), None)


def is_iterator(obj: Any) -> bool:
    """Return whether an object is an iterator that is pickled together with its position."""
    kind = type(obj)
    if kind in (GeneratorType, AsyncGeneratorType):
        return True
    if kind.__module__ == "_io":
        return False
    return kind.__module__ in _BUILTIN and hasattr(kind, "__next__")


def is_trained(kind: type) -> bool:
    """Return whether a class is one of PyTorch's that training changes."""
    is_compiled = _is_a(kind, "torch.jit", "ScriptModule")  # its parameters are not in Python
    return not is_compiled and any(_is_a(kind, *name) for name in _TRAINED)


def _object(kind: type) -> Facet | None:
    """Return the facet of an object of some class; None if its attributes are its content."""
    if is_trained(kind) or issubclass(kind, SimpleNamespace):
        return None
    if hasattr(kind, "state_dict") and hasattr(kind, "load_state_dict"):
        return StateDict()
    if _has_own(kind, "__getstate__"):
        return State()
    has_way = _has_own(kind, "__reduce_ex__") or _has_own(kind, "__reduce__")
    is_whole = _has_all_in_attributes(kind)
    if not is_whole and is_opaque(kind):
        return Unreadable()
    if not is_whole or (has_way and not is_own(kind.__module__)):
        return Reduced()
    return None


def _has_own(kind: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(object, name)


def _has_all_in_attributes(kind: type) -> bool:
    """Return whether the objects of a class have nothing beside their attributes."""
    links = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    most = object.__basicsize__ + _POINTER * (len(slots(kind)) + links)
    return kind.__itemsize__ == 0 and kind.__basicsize__ <= most


def _is_value_of_library(kind: type) -> bool:
    if any(_is_a(kind, *name) for name in _LIBRARY_VALUES):
        return True
    return kind.__module__ == "torch" and kind.__name__ in ("dtype", "device", "layout")


def _is_a(kind: type, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(kind, found)


def _memory(obj: Any) -> Facet | None:
    kind = type(obj)
    if _is_a(kind, "numpy", "ndarray"):
        return ArrayObjects() if obj.dtype.hasobject else ArrayMemory()
    return TensorMemory() if _is_a(kind, "torch", "Tensor") else None


def _stateful(kind: type) -> Facet | None:
    """Return the facet of an object that has a state beside its attributes, such as an RNG."""
    for module, name, facet in _STATEFUL:
        if _is_a(kind, module, name):
            return facet
    return _HASH if all(hasattr(kind, name) for name in _HASH_METHODS) else None


# -- functions -----------------------------------------------------------------------------


def _callable(function: Any) -> _Facets | None:
    """Return the facets of a function: the variables around it may change, it itself may not."""
    if isinstance(function, FunctionType):
        is_named = "<" not in function.__qualname__ and not function.__closure__
        return None if is_named else (_CLOSURE,)
    owner = function.__self__
    return None if owner is None or isinstance(owner, (ModuleType, type)) else (_OWNER,)


def _around(function: Any) -> list[Any]:
    return [*(function.__closure__ or ()), *(function.__defaults__ or ())]


_CLOSURE: Final = Parts(_around, form=".__closure__[{}]")
_OWNER: Final = Parts(lambda method: [method.__self__], form=".__self__")

# -- types ---------------------------------------------------------------------------------


def _filling(kind: Any) -> Callable[[Any, list[Any]], None]:
    def fill(obj: Any, content: list[Any]) -> None:
        kind.clear(obj)
        kind.extend(obj, content)

    return fill


def _variable(cell: CellType) -> list[Any]:
    return [*contents({"": cell}).values()]


def _set_variable(cell: CellType, content: list[Any]) -> None:
    if content:
        (cell.cell_contents,) = content
    else:
        with contextlib.suppress(ValueError):  # it is not set
            del cell.cell_contents


_CONTAINERS: Final[dict[type, Facet]] = {
    list: Parts(list.__iter__, _filling(list)),
    deque: Parts(deque.__iter__, _filling(deque)),
    tuple: Parts(tuple.__iter__),
    bytearray: Characters(),
    array: Characters(),
    CellType: Parts(_variable, _set_variable, ".cell_contents"),
    MethodType: Parts(lambda method: [method.__self__, method.__func__], form=".__self__[{}]"),
    functools.partial: Parts(lambda one: [one.func, one.args, one.keywords], form=".func[{}]"),
}


def _is_read(file: Any) -> bool:
    return bool(file.readable() and not file.writable() and file.seekable())


_FILE: Final = Position(
    lambda file: file.tell() if _is_read(file) else None,
    lambda file, position: position is None or file.seek(position),
    "its position is hidden while a `for` reads it",
)
_HASH: Final = Position(lambda one: one.digest(), None, "nothing can be put back into it")
_HASH_METHODS = ("digest", "hexdigest", "update", "copy")


def _set_bits(bits: Any, state: Any) -> None:
    bits.state = state


def _set_torch(rng: Any, state: bytes) -> None:
    torch = sys.modules["torch"]
    rng.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


_STATEFUL: Final[list[tuple[str, str, Facet]]] = [
    ("random", "Random", Position(lambda rng: rng.getstate(), random.Random.setstate)),
    ("numpy.random", "Generator", Parts(lambda rng: [rng.bit_generator], form=".bit_generator")),
    ("numpy.random", "BitGenerator", Position(lambda bits: bits.state, _set_bits)),
    (
        "numpy.random",
        "RandomState",
        Position(lambda rng: rng.get_state(legacy=False), lambda rng, state: rng.set_state(state)),
    ),
    (
        "torch",
        "Generator",
        Position(lambda rng: rng.get_state().numpy().tobytes(), _set_torch),
    ),
    ("io", "TextIOWrapper", _FILE),
    ("io", "BufferedReader", _FILE),
    ("io", "FileIO", _FILE),
]
