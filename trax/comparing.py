"""Whether two objects are the same to the last bit, and if not, where they differ.

Objects are compared by what a pickle of them holds: types, values, the order of a dictionary, and
the bits of floating-point numbers, so that -0.0 is not 0.0 and every NaN is itself. Which parts are
one object and which are two that are equal is not compared: that is never quite the same in a
state that was loaded.
"""

from __future__ import annotations

import copyreg
import pickle
import reprlib
import struct
from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from trax.calls.fingerprint import content
from trax.storage.codec import PROTOCOL

__all__ = ["difference", "freeze", "thaw"]

_ATOMS = (int, bool, str, bytes, bytearray, type(None), type(Ellipsis), type(NotImplemented))


def freeze(value: Any) -> bytes:
    """Return a pickle of an object as it is now."""
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        frozen: bytes = cloudpickle.dumps(value, PROTOCOL)
        return frozen


thaw = pickle.loads


def difference(live: bytes, resumed: bytes, where: str) -> str:
    """Return where two objects that were frozen differ, and how; empty where they do not.

    Parameters
    ----------
    live, resumed : bytes
        What `freeze` returned.
    where : str
        What they are, such as ``"state"``: paths begin with it.
    """
    if live == resumed:
        return ""
    return _Comparison().compare(thaw(live), thaw(resumed), where)


class _Comparison:
    def __init__(self) -> None:
        self._met: dict[tuple[int, int], tuple[Any, Any]] = {}  # kept, so that identities last

    def compare(self, one: Any, two: Any, where: str) -> str:
        key = id(one), id(two)
        if one is two or key in self._met:
            return ""
        self._met[key] = one, two
        return self._compare(one, two, where)

    def _compare(self, one: Any, two: Any, where: str) -> str:
        kind = type(one)
        if kind is not type(two):
            return f"{where}: live {_show(one)}, resumed {_show(two)}"
        if kind in _ATOMS:
            return "" if one == two else f"{where}: live {_show(one)}, resumed {_show(two)}"
        if kind is float:
            same = struct.pack("<d", one) == struct.pack("<d", two)
            return "" if same else f"{where}: live {one!r}, resumed {two!r}"
        if kind is complex:
            return self.each((one.real, one.imag), (two.real, two.imag), where)
        if kind in (list, tuple):
            return self.each(one, two, where)
        if kind is dict:
            return self._compare_dicts(one, two, where)
        if kind in (set, frozenset):
            return self._compare_sets(one, two, where)
        if isinstance(one, (type, ModuleType)):
            return self._compare_names(one, two, where)
        if isinstance(one, FunctionType):
            return self._compare_functions(one, two, where)
        if kind.__module__ == "numpy" and hasattr(one, "dtype"):
            return self._compare_arrays(one, two, where)
        return self._compare_reduced(one, two, where)

    def each(self, one: Iterable[Any], two: Iterable[Any], where: str) -> str:
        one, two = list(one), list(two)
        for number, (left, right) in enumerate(zip(one, two, strict=False)):
            found = self.compare(left, right, f"{where}[{number}]")
            if found:
                return found
        return "" if len(one) == len(two) else _lengths(where, one, two)

    def _compare_dicts(self, one: dict[Any, Any], two: dict[Any, Any], where: str) -> str:
        found = self.each(one, two, f"the keys of {where}")
        for key, value in () if found else one.items():
            found = self.compare(value, two.get(key), f"{where}[{key!r}]")
            if found:
                break
        return found

    def _compare_sets(self, one: Any, two: Any, where: str) -> str:
        if one == two or sorted(map(freeze, one)) == sorted(map(freeze, two)):
            return ""
        return f"{where}: only live {_show(one - two)}, only resumed {_show(two - one)}"

    def _compare_names(self, one: Any, two: Any, where: str) -> str:
        names = [f"{getattr(v, '__module__', '')}.{v.__name__}" for v in (one, two)]
        return "" if names[0] == names[1] else f"{where}: live {one!r}, resumed {two!r}"

    def _compare_functions(self, one: Any, two: Any, where: str) -> str:
        def parts(function: Any) -> tuple[Any, ...]:
            cells = [cell.cell_contents for cell in function.__closure__ or ()]
            code: CodeType = function.__code__
            return repr(content(code)), function.__defaults__, function.__kwdefaults__, cells

        return self.each(parts(one), parts(two), f"the function {where}")

    def _compare_arrays(self, one: Any, two: Any, where: str) -> str:
        if (one.dtype, one.shape) != (two.dtype, two.shape):
            shapes = [f"{v.dtype} of shape {v.shape}" for v in (one, two)]
            return f"{where}: live {shapes[0]}, resumed {shapes[1]}"
        if one.dtype.hasobject:
            return self.each(one.ravel().tolist(), two.ravel().tolist(), where)
        if one.tobytes() == two.tobytes():
            return ""
        for place, (left, right) in enumerate(zip(one.flat, two.flat, strict=True)):
            if left.tobytes() != right.tobytes():
                index = "" if not one.shape else f".flat[{place}]"
                return f"{where}{index}: live {left.item()!r}, resumed {right.item()!r}"
        return f"{where}: other bytes"

    def _compare_reduced(self, one: Any, two: Any, where: str) -> str:
        pieces = [_reduce(value) for value in (one, two)]
        if any(isinstance(piece, str) for piece in pieces):
            return "" if pieces[0] == pieces[1] else f"{where}: live {one!r}, resumed {two!r}"
        (left, left_state), (right, right_state) = pieces
        if type(left_state) is dict and type(right_state) is dict:
            for name in [*left_state, *(right_state.keys() - left_state.keys())]:
                if name not in left_state or name not in right_state:
                    side = "live" if name in left_state else "resumed"
                    return f"{where}.{name}: there is only the {side} one"
                found = self.compare(left_state[name], right_state[name], f"{where}.{name}")
                if found:
                    return found
            left_state = right_state = None
        inner = f"{where} (as it is pickled)"
        return self.each(left, right, inner) or self.compare(left_state, right_state, inner)


def _reduce(value: Any) -> Any:
    """Return what a pickle of an object holds, and its state apart."""
    reduce = copyreg.dispatch_table.get(type(value))
    reduced = reduce(value) if reduce else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return reduced
    function, args, *rest = reduced
    state, items, pairs = [*rest, None, None, None][:3]
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:  # with slots
        state = {**(state[0] or {}), **state[1]}
    return (function, args, list(items or ()), list(pairs or ())), state


def _lengths(where: str, one: list[Any], two: list[Any]) -> str:
    longer, side = (one, "live") if len(one) > len(two) else (two, "resumed")
    extra = longer[min(len(one), len(two))]
    return f"{where}: live {len(one)} items, resumed {len(two)}; only {side}: {_show(extra)}"


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def _show(value: Any) -> str:
    return _short.repr(value)
