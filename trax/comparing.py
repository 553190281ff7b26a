"""Compares two objects to the last bit, on request by identity too, and shows the differences.

Two objects are the same if their pickles have the same content: types, values, the order of a
dictionary, and the bits of floating-point numbers, so that -0.0 is not 0.0 and every NaN equals
itself. Identity, that is whether two parts are one object or two equal ones, is compared on request
only: a state that was replayed need not preserve it.

Strategy: pairs of parts are compared depth first, with an explicit stack, so that a long linked
list needs memory and no recursion. A pair is compared only once, which ends cycles. Nothing is
pickled: an object that is no builtin container is taken apart by its ``__reduce_ex__``.
"""

from __future__ import annotations

import array
import pickle
import struct
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import cloudpickle

from trax.calls.bytecode import content
from trax.display import show
from trax.storage.array_memory import storage_memory
from trax.storage.codec import PROTOCOL
from trax.storage.definitions import by_name, full_name

__all__ = [
    "ABSENT",
    "IDENTITY",
    "OPAQUE",
    "VALUE",
    "Difference",
    "Visitor",
    "difference",
    "differences",
    "freeze",
    "frozen_difference",
    "is_value",
    "outline",
    "owner",
]

VALUE: Final = "value"  # the parts are not equal
IDENTITY: Final = "identity"  # two parts are one object, or share memory, on one side only
OPAQUE: Final = "opaque"  # the parts cannot be taken apart


class Difference(NamedTuple):
    """A difference between two objects.

    Attributes
    ----------
    kind : str
        `VALUE`, `IDENTITY` or `OPAQUE`, or one of the visitor's own.
    path : str
        The place of the parts that differ; for `IDENTITY` both places.
    values : str
        Both values.
    """

    kind: str
    path: str
    values: str

    @property
    def line(self) -> str:
        """The path and both values."""
        return f"{self.path}: {self.values}"


class Visitor:
    """Takes part in a comparison: it may see more differences, or pass over some."""

    def visit(self, one: Any, two: Any) -> Iterable[tuple[str, str, Any, Any]]:  # noqa: ARG002
        """Yield differences of two objects of one type, before their parts are compared.

        Each has its kind, a text to append to the path, and both values.
        """
        return ()

    def skips(self, kind: type, name: str, one: Any, two: Any) -> bool:  # noqa: ARG002
        """Return whether to pass over an attribute of objects of a type; `ABSENT` is no value."""
        return False


class _Absent:
    """Stands for the value of an attribute that an object does not have."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()

# A part is a pair of objects and the path to it. A path is a linked list, so that it is written out
# only if it is shown: the path of the containing object, a text to write before that and one after
# it, and a key that is formatted into the latter.
_Path = tuple[Any, str, str, Any]
_Parts = Iterator[tuple[Any, Any, _Path] | Difference]

_ATOMS = (int, bool, str, bytes, type(None), type(Ellipsis), type(NotImplemented))
_BUFFERS = (bytearray, array.array)
_VALUES = (tuple, frozenset, complex, range, slice, MethodType, BuiltinFunctionType)

_CHUNK = 1 << 16  # bytes that are compared at once: small enough for the cache, and for malloc
_SHOWN = 20  # steps of a path that are shown at most
_VIEWS = 64  # arrays of one memory that others are compared with at most
_BREADTH, _DEPTH = 8, 5  # limits of the outlines by which the elements of sets are matched
_PACE = 64  # parts that are compared between two looks at the clock
_VISITOR: Final = Visitor()


def freeze(value: Any) -> bytes:
    """Return a pickle of the present value of an object."""
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        frozen: bytes = cloudpickle.dumps(value, PROTOCOL)
        return frozen


def frozen_difference(one: bytes, two: bytes, where: str) -> str:
    """Return the first difference between two objects frozen by `freeze`; see `difference`."""
    return "" if one == two else difference(pickle.loads(one), pickle.loads(two), where)


def difference(
    one: Any,
    two: Any,
    where: str,
    *,
    sides: tuple[str, str] = ("live", "resumed"),
    identity: bool = False,
) -> str:
    """Return the first difference between two objects: its path and both values.

    Parameters
    ----------
    one, two : object
        The objects; neither is changed, pickled or kept.
    where : str
        Their description, such as ``"state"``, with which paths begin.
    sides : tuple of str
        An adjective for each of the two.
    identity : bool
        Whether it is a difference if two parts are one object in one and two objects in the other.
        Only mutable objects count: numbers, strings, tuples and objects that are pickled by name
        do not. NumPy arrays also differ if they share memory in one and not in the other.

    Returns
    -------
    str
        Empty if there is no difference. An object that cannot be taken apart counts as one.

    Examples
    --------
    >>> difference({"a": [1, 2.0]}, {"a": [1, 2]}, "state")
    "state['a'][1]: live 2.0, resumed 2"
    >>> row = [0]
    >>> difference([row, row], [[0], [0]], "rows", identity=True)
    'rows[0] and rows[1]: live one object, resumed two'
    """
    found = differences(one, two, where, sides=sides, identity=identity)
    return next((each.line for each in found), "")


def differences(
    one: Any,
    two: Any,
    where: str,
    *,
    sides: tuple[str, str] = ("live", "resumed"),
    identity: bool = False,
    ignored: tuple[type, ...] = (),
    visitor: Visitor = _VISITOR,
    seconds: float = float("inf"),
) -> Iterator[Difference]:
    """Yield the differences between two objects; for the other parameters see `difference`.

    Parts after one that differs in value may be compared with others than their counterparts.

    Parameters
    ----------
    ignored : tuple of type
        Objects of these types count as the same.
    visitor : Visitor
        Sees all objects.
    seconds : float
        The time after which the comparison ends, whatever is left.
    """
    comparison = _Comparison(sides, identity=identity, ignored=ignored, visitor=visitor)
    return comparison.run(one, two, where, time.monotonic() + seconds)


class _Comparison:
    """One comparison of two objects.

    It refers to all objects it has met, since the id of an object is reused after its death.
    """

    def __init__(
        self,
        sides: tuple[str, str],
        *,
        identity: bool,
        ignored: tuple[type, ...],
        visitor: Visitor,
    ) -> None:
        self._sides = sides
        self._met: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._identities = _Identities(sides) if identity else None
        self._ignored = ignored
        self._visitor = visitor

    def run(self, one: Any, two: Any, where: str, until: float) -> Iterator[Difference]:
        stack: list[_Parts] = [iter([(one, two, (None, where, "", None))])]
        left = _PACE
        while stack:
            part = next(stack[-1], None)
            if part is None:
                stack.pop()
            elif isinstance(part, Difference):
                yield part
            elif (parts := self._compare(*part)) is not None:
                stack.append(parts)
            left -= 1
            if not left:
                left = _PACE
                if time.monotonic() > until:
                    return

    def _compare(self, one: Any, two: Any, path: _Path) -> _Parts | None:
        """Return the parts that remain to be compared; None if the two objects are the same."""
        kind = type(one)
        if kind is not type(two) and by_name(kind) is not type(two):  # it was not defined again
            is_ignored = all(isinstance(each, self._ignored) for each in (one, two))
            return None if is_ignored else self._differ(one, two, path)
        if kind in _ATOMS:
            return None if one == two else self._differ(one, two, path)
        if kind is float:
            is_same = struct.pack("<d", one) == struct.pack("<d", two)
            return None if is_same else self._differ(one, two, path)
        if one is two and (self._identities is None or _is_named(one)):
            return None
        if isinstance(one, self._ignored):
            return None
        key = id(one), id(two)
        if key in self._met:
            return None
        self._met[key] = one, two
        if self._identities is not None and (found := self._identities.meet(one, two, path)):
            return iter([found])
        if seen := [*self._visitor.visit(one, two)]:
            return chain(self._visited(seen, path), self._parts(one, two, path))
        return self._parts(one, two, path)

    def _visited(self, seen: list[tuple[str, str, Any, Any]], path: _Path) -> _Parts:
        for kind, suffix, left, right in seen:
            inside = (path, "", "{}", suffix)
            yield self._line(inside, show(left), show(right))._replace(kind=kind)

    def _parts(self, one: Any, two: Any, path: _Path) -> _Parts:
        kind = type(one)
        if kind in (list, tuple):
            return self._items(one, two, path)
        if kind is dict:
            return self._dicts(one, two, path)
        if isinstance(one, (set, frozenset)):
            mine, its = (getattr(value, "__dict__", {}) for value in (one, two))
            return chain(self._sets(one, two, path), self._attributes(kind, mine, its, path))
        if isinstance(one, WeakSet):
            return self._sets({*one}, {*two}, path)
        if kind in (WeakKeyDictionary, WeakValueDictionary):
            return self._dicts(dict(one), dict(two), path)
        if kind is bytearray:
            return iter(()) if one == two else self._differ(one, two, path)
        if kind is complex:
            return self._items((one.real, one.imag), (two.real, two.imag), path)
        if isinstance(one, (type, ModuleType)):
            return self._names(one, two, path)
        if isinstance(one, FunctionType):
            return self._items(_inside(one), _inside(two), (path, "the function ", "", None))
        if kind is CellType:
            return self._items(_contents(one), _contents(two), path)
        if _is_array(one):
            return self._arrays(one, two, path)
        if mine := _taken_apart(one):
            return self._items(mine, _taken_apart(two), path)
        return self._reduced(one, two, path)

    def _items(self, one: Any, two: Any, path: _Path) -> _Parts:
        for number, (left, right) in enumerate(zip(one, two, strict=False)):
            yield left, right, (path, "", "[{}]", number)
        if len(one) != len(two):
            first, second = self._sides
            longer, side = (one, first) if len(one) > len(two) else (two, second)
            extra = show(longer[min(len(one), len(two))])
            lengths = f"{first} {len(one)} items, {second} {len(two)}"
            yield _valued(path, f"{lengths}; only {side}: {extra}")

    def _dicts(self, one: dict[Any, Any], two: dict[Any, Any], path: _Path) -> _Parts:
        yield from self._items(list(one), list(two), (path, "the keys of ", "", None))
        for (key, left), right in zip(one.items(), two.values(), strict=False):
            yield left, right, (path, "", "[{}]", _Shown(key))

    def _sets(self, one: Any, two: Any, path: _Path) -> _Parts:
        theirs = {element: element for element in two}
        partners = self._identities.partners(two) if self._identities else {}
        ours = {}
        inside = (path, "an element of ", "", None)
        for element in one:
            if element in theirs:
                yield element, theirs.pop(element), inside
            elif id(element) in partners:
                yield element, theirs.pop(partners[id(element)]), inside
            else:
                ours[element] = element
        left, right = _outlined(ours), _outlined(theirs)
        if [outline for outline, _ in left] == [outline for outline, _ in right]:
            for (_, mine), (_, its) in zip(left, right, strict=True):
                yield mine, its, inside
        else:
            first, second = self._sides
            shown = f"only {first} {show(set(ours))}, only {second} {show(set(theirs))}"
            yield _valued(path, shown)

    def _names(self, one: Any, two: Any, path: _Path) -> _Parts:
        left, right = (f"{getattr(v, '__module__', '')}.{v.__name__}" for v in (one, two))
        return iter(()) if left == right else self._differ(one, two, path)

    def _arrays(self, one: Any, two: Any, path: _Path) -> _Parts:
        one, two = map(sys.modules["numpy"].asarray, (one, two))  # a scalar is an array, too
        if (one.dtype, one.shape) != (two.dtype, two.shape):
            left, right = (f"{v.dtype} of shape {v.shape}" for v in (one, two))
            yield self._line(path, left, right)
        elif one.dtype.hasobject:
            yield from self._items(one.ravel().tolist(), two.ravel().tolist(), path)
        elif (place := _first_other(one, two)) is not None:
            where = (path, "", ".flat[{}]", place) if one.shape else path
            yield self._line(where, *(repr(v.flat[place].item()) for v in (one, two)))

    def _reduced(self, one: Any, two: Any, path: _Path) -> _Parts:
        try:
            pieces = _reduce(one), _reduce(two)
        except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything
            yield Difference(OPAQUE, f"{_text(path)} cannot be compared", str(error))
            return
        if any(isinstance(piece, str) for piece in pieces):
            yield from () if pieces[0] == pieces[1] else self._differ(one, two, path)
            return
        (left, left_state), (right, right_state) = pieces
        inner = (path, "", " (as it is pickled)", None)
        if len(left_state) == len(right_state):
            for ours, theirs in zip(left_state, right_state, strict=True):
                if type(ours) is dict and type(theirs) is dict:
                    if not is_value(one):
                        yield from self._meet_attributes(ours, theirs, path)
                    yield from self._attributes(type(one), ours, theirs, path)
                else:
                    yield ours, theirs, inner
        else:
            yield left_state, right_state, inner
        yield from self._items(left, right, inner)

    def _meet_attributes(self, one: dict[str, Any], two: dict[str, Any], path: _Path) -> _Parts:
        """Note the dicts of attributes, which ``vars(...)`` shows to others."""
        self._met[id(one), id(two)] = one, two
        inside = (path, "", ".__dict__", None)
        if self._identities is not None and (found := self._identities.meet(one, two, inside)):
            yield found

    def _attributes(
        self, kind: type, one: dict[str, Any], two: dict[str, Any], path: _Path
    ) -> _Parts:
        for name in dict.fromkeys([*one, *two]):
            inside = (path, "", ".{}", name)
            if self._visitor.skips(kind, name, one.get(name, ABSENT), two.get(name, ABSENT)):
                continue
            if name not in one or name not in two:
                yield _valued(inside, f"only in the {self._sides[name not in one]} one")
            else:
                yield one[name], two[name], inside

    def _differ(self, one: Any, two: Any, path: _Path) -> _Parts:
        return iter([self._line(path, show(one), show(two))])

    def _line(self, path: _Path, one: str, two: str) -> Difference:
        return _valued(path, f"{self._sides[0]} {one}, {self._sides[1]} {two}")


class _Identities:
    """Pairs of corresponding objects of both sides, and of arrays by the memory they share."""

    def __init__(self, sides: tuple[str, str]) -> None:
        self._sides = sides
        self._partners: tuple[_Partners, _Partners] = ({}, {})
        self._arrays: dict[tuple[int, int], list[tuple[Any, Any, _Path]]] = {}

    def meet(self, one: Any, two: Any, path: _Path) -> Difference | None:
        """Add a new pair; return a difference if one of its objects already has another partner."""
        numpy: Any = sys.modules.get("numpy")
        if is_value(one):
            return None
        for side, (mine, its) in enumerate(((one, two), (two, one))):
            partner, where = self._partners[side].setdefault(id(mine), (id(its), path))
            if partner != id(its):
                return self._line(where, path, side, "one object", "two")
        if numpy is not None and isinstance(one, (numpy.ndarray, *_BUFFERS)):
            return self._meet_arrays(one, two, path)
        return None

    def partners(self, theirs: Iterable[Any]) -> dict[int, Any]:
        """Return those of the other side's objects that have partners, by the ids of these."""
        known = ((self._partners[1].get(id(one)), one) for one in theirs)
        return {partner[0]: one for partner, one in known if partner}

    def _meet_arrays(self, one: Any, two: Any, path: _Path) -> Difference | None:
        groups = [
            self._arrays.setdefault((side, id(owner(each))), [])
            for side, each in enumerate((one, two))
        ]
        for left, right, where in (earlier for group in groups for earlier in group):
            shared = _share_memory(one, left)
            if shared != _share_memory(two, right):
                return self._line(where, path, not shared, "shared memory", "separate")
        for group in groups:
            if len(group) < _VIEWS:
                group.append((one, two, path))
        return None

    def _line(self, where: _Path, path: _Path, side: int, word: str, other: str) -> Difference:
        words = (word, other) if side == 0 else (other, word)
        first, second = (f"{side} {text}" for side, text in zip(self._sides, words, strict=True))
        return Difference(IDENTITY, f"{_text(where)} and {_text(path)}", f"{first}, {second}")


def _share_memory(*both: Any) -> bool:
    numpy: Any = sys.modules["numpy"]
    arrays = [numpy.frombuffer(x, "u1") if isinstance(x, _BUFFERS) and x else x for x in both]
    return bool(numpy.may_share_memory(*arrays))


_Partners = dict[int, tuple[int, _Path]]  # by id: the id of the partner, and the path


def _valued(path: _Path, text: str) -> Difference:
    return Difference(VALUE, _text(path), text)


class _Shown:
    """Is formatted as `show` shows a value, and only then."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return show(self._value, 1000)


def _text(path: _Path | None) -> str:
    before, after = [], []
    while path is not None:
        path, prefix, suffix, key = path
        before.append(prefix)
        after.append(suffix.format(key))
    after.reverse()
    if len(after) > _SHOWN:
        half = _SHOWN // 2
        after[half:-half] = [f" ... {len(after) - _SHOWN:,} steps ... "]
    return "".join(before + after)


def _is_named(value: Any) -> bool:
    """Whether a pickle contains only the name of an object."""
    if isinstance(value, FunctionType):
        return "<" not in value.__qualname__
    return isinstance(value, (type, ModuleType))


def is_value(value: Any) -> bool:
    """Return whether the identity of an object means nothing, since it cannot be changed."""
    kind: Any = type(value)
    if kind in _ATOMS or kind is float or kind in _VALUES or _is_named(value):
        return True
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.dtype)):
        return True
    if kind.__hash__ in (None, object.__hash__) or kind.__eq__ is object.__eq__:
        return False
    # It hashes by value. With attributes that can be set it is an object that has a key.
    return kind.__setattr__ is not object.__setattr__ or not hasattr(value, "__dict__")


def _inside(function: Any) -> tuple[Any, ...]:
    code = repr(content(function.__code__))
    cells = function.__closure__ or ()
    return code, function.__defaults__, function.__kwdefaults__, cells


def _contents(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # still empty
        return ()


def _is_array(value: Any) -> bool:
    """Whether a pickle of an object contains only a NumPy array or number, and no attributes."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.generic, numpy.ndarray)):
        return False
    mine, plain = type(value), numpy.ndarray
    is_plain = (mine.__reduce__, mine.__reduce_ex__) == (plain.__reduce__, plain.__reduce_ex__)
    return is_plain or isinstance(value, numpy.generic)


def _taken_apart(value: Any) -> tuple[Any, ...]:
    """Return the content of an object whose pickle differs from time to time, or nothing."""
    masked: Any = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray):
        plain = value.view(sys.modules["numpy"].ndarray)
        return plain, masked.getmaskarray(value), value.fill_value
    tree: Any = getattr(sys.modules.get("scipy.spatial"), "cKDTree", None)
    if tree is not None and isinstance(value, tree):  # its nodes have addresses
        points = value.data.copy()  # nobody may change them, so they may be shared or not
        return points, value.indices, value.leafsize, value.maxes, value.mins, value.boxsize
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "UntypedStorage"):
        return ()
    if isinstance(value, torch.storage.TypedStorage):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch itself still makes such storages
            return value.dtype, value.device.type, value._untyped_storage  # noqa: SLF001
    if isinstance(value, torch.UntypedStorage):
        return (storage_memory(value.cpu()),)
    return ()


def _first_other(one: Any, two: Any) -> int | None:
    """Return the first index, in C order, at which two arrays of one type and shape differ."""
    flats = [v.reshape(-1) if v.flags.c_contiguous else v.flat for v in (one, two)]
    size = max(1, _CHUNK // max(1, one.dtype.itemsize))
    for begin in range(0, one.size, size):
        left, right = (flat[begin : begin + size] for flat in flats)
        if left.tobytes() != right.tobytes():
            pairs = zip(left, right, strict=True)
            return begin + next(n for n, (a, b) in enumerate(pairs) if a.tobytes() != b.tobytes())
    return None


def owner(part: Any) -> Any:
    """Return the owner of the memory of an array, which may be a buffer of another type."""
    while (base := getattr(part, "base", None)) is not None:
        part = base
    return part.obj if isinstance(part, memoryview) else part


def _reduce(value: Any) -> Any:
    """Return the content of a pickle of an object, and its states: that of slots is separate."""
    reduce = cloudpickle.Pickler.dispatch_table.get(type(value))
    reduced = reduce(value) if reduce else value.__reduce_ex__(4)  # protocol 5 separates buffers
    if isinstance(reduced, str):
        return reduced
    function, args, *rest = reduced
    state, items, pairs = [*rest, None, None, None][:3]
    has_slots = type(state) is tuple and len(state) == 2 and type(state[1]) is dict
    states = state if has_slots else (state,)
    return (function, args, tuple(items or ()), tuple(pairs or ())), states


def _outlined(elements: Iterable[Any]) -> list[tuple[str, Any]]:
    return sorted(((outline(element), element) for element in elements), key=itemgetter(0))


def outline(value: Any, depth: int = _DEPTH) -> str:
    """Return a short text that is the same for the same objects.

    Elements of sets that hash by identity are matched by it. It is limited in breadth and depth, so
    different objects can have the same outline.
    """
    kind = type(value)
    name = full_name(kind)
    if kind is int:
        return hex(value)
    if kind in (float, complex):  # NaNs can differ in their bits alone
        return f"{name} {struct.pack('<dd', value.real, value.imag).hex()}"
    if kind in _ATOMS:
        return f"{name} {value!r}"
    if _is_named(value):
        return f"{name} {value.__name__}"
    if not depth or kind in (set, frozenset):
        return name
    parts: Iterable[Any]
    if kind in (list, tuple):
        parts = value[:_BREADTH]
    elif kind is dict:
        parts = list(value.items())[:_BREADTH]
    else:
        try:
            parts = _reduce(value)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
            parts = ()
    return f"{name}({', '.join(outline(part, depth - 1) for part in parts)})"
