"""Objects <-> pickles and their buffers.

Strategy: plain pickle first. It runs at C speed and stores classes and functions by
reference, so that what comes back is the script's present code. Only where plain pickle gives
up does cloudpickle step in, and then too everything that can be imported by its name
(``__main__`` included, which cloudpickle alone would freeze) is stored by reference.
Large memory, such as NumPy arrays, is kept out of the pickle: it is written from where it
lies and comes back as memory of its own, writable as it was.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import cloudpickle

from trax.errors import CodecError
from trax.storage.records import (
    BEGINS,
    BUFFER,
    CLOUDPICKLE,
    CONTEXT,
    PICKLE,
    READONLY_BUFFER,
)
from trax.storage.unpickler import Finder

__all__ = ["PROTOCOL", "Encoded", "decode", "decode_finding", "encode", "encode_finding"]

PROTOCOL = 5


class Encoded(NamedTuple):
    """An object as bytes: the kind of pickle, the pickle, its buffers in order, its context."""

    kind: int
    payload: Any
    buffers: list[Any]
    context: bytes | bytearray = b""

    def records(self) -> Iterator[tuple[int, Any]]:
        """Yield the kind and the payload of each record that stores the object."""
        begins = BEGINS
        if self.context:
            yield CONTEXT | begins, self.context
            begins = 0
        for buffer in self.buffers:
            yield (READONLY_BUFFER if memoryview(buffer).readonly else BUFFER) | begins, buffer
            begins = 0
        yield self.kind | begins, self.payload

    @property
    def nbytes(self) -> int:
        return sum(memoryview(payload).nbytes for _, payload in self.records())


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle, except that what has a name that leads to it is stored by that name."""

    def reducer_override(self, obj: Any) -> Any:
        # cloudpickle would store these, and give back something else.
        if isinstance(obj, (io.TextIOWrapper, memoryview)):
            raise TypeError(f"cannot pickle {type(obj).__name__!r} object")
        if isinstance(obj, (type, FunctionType)) and _is_importable(obj):
            return NotImplemented
        return super().reducer_override(obj)


def _is_importable(obj: Any) -> bool:
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def encode(obj: Any, what: str) -> Encoded:
    """Pickle one object.

    Raises
    ------
    CodecError
        Where neither pickle nor cloudpickle can; it names the part that is to blame.
    """
    return encode_finding(obj, what, ())[0]


def encode_finding(obj: Any, what: str, kinds: tuple[type, ...]) -> tuple[Encoded, dict[int, Any]]:
    """Pickle one object; return as well the objects in it that are of certain kinds.

    Each is returned under the number by which `decode_finding` finds it in the copy: a pickle
    numbers what it has stored, and loading it numbers the same objects alike.
    """
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    pickler = _Looking(file, kinds, buffers.append) if kinds else _plain(file, buffers.append)
    kind = PICKLE
    try:
        pickler.dump(obj)
        views = [buffer.raw() for buffer in buffers]
    except BufferError:  # not contiguous: only in one piece
        file, views = io.BytesIO(), []
        pickler = _Looking(file, kinds) if kinds else _plain(file)
        pickler.dump(obj)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        file, views, kind = io.BytesIO(), [], CLOUDPICKLE
        pickler = _dump_by_value(obj, what, file)
    found = {}
    if kinds and getattr(pickler, "saw", True):
        found = {n: part for n, part in pickler.memo.copy().values() if isinstance(part, kinds)}
    return Encoded(kind, file.getvalue(), views), found


def _plain(file: io.BytesIO, keep: Callable[[pickle.PickleBuffer], Any] | None = None) -> Any:
    return pickle.Pickler(file, PROTOCOL, buffer_callback=keep)


class _Looking(pickle.Pickler):
    """Plain pickle that sees whether there is anything of certain kinds.

    What it has numbered is looked through only then: in a state of many small objects that takes
    longer than to pickle it.
    """

    def __init__(
        self,
        file: io.BytesIO,
        kinds: tuple[type, ...],
        keep: Callable[[pickle.PickleBuffer], Any] | None = None,
    ) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep)
        self.saw = False
        self._kinds = kinds

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, self._kinds):
            self.saw = True
        return NotImplemented


def _dump_by_value(obj: Any, what: str, file: io.BytesIO) -> Any:
    pickler = _Pickler(file, PROTOCOL)
    try:
        pickler.dump(obj)
    except Exception as error:
        culprit, reason = _find_culprit(obj, what, error)
        raise CodecError(
            f"{culprit} cannot be stored: {reason}. Keep it out of what is stored (make it anew "
            "inside the loop, or leave it out in __getstate__)."
        ) from error
    return pickler


def _find_culprit(obj: Any, path: str, error: Exception) -> tuple[str, str]:
    """Return the path of the smallest part that cannot be pickled, and why."""
    seen = {id(obj)}
    found = True
    while found:
        found = False
        for step, part in _parts(obj):
            if id(part) in seen:
                continue
            seen.add(id(part))
            failure = _failure(part)
            if failure is not None:
                obj, path, error, found = part, path + step, failure, True
                break
    return f"{path} ({type(obj).__module__}.{type(obj).__qualname__})", str(error).rstrip(".")


def _failure(obj: Any) -> Exception | None:
    try:
        _Pickler(io.BytesIO(), PROTOCOL).dump(obj)
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything
        return error
    return None


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, dict):
        yield from ((f"[{key!r}]", value) for key, value in obj.items())
        yield from ((f" key {key!r}", key) for key in obj)
    elif isinstance(obj, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", value) for index, value in enumerate(obj))
    elif isinstance(obj, FunctionType):
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # still empty
                yield f" closure {name}", cell.cell_contents
    if not isinstance(obj, type):
        yield from ((f".{name}", value) for name, value in getattr(obj, "__dict__", {}).items())
        for kind in type(obj).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(obj, name):
                    yield f".{name}", getattr(obj, name)


def decode(encoded: bytes | Encoded, what: str, renames: Mapping[str, str] | None = None) -> Any:
    """Load an object whose checksums hold.

    Parameters
    ----------
    encoded : bytes or Encoded
        The object; bytes are a pickle without buffers.
    what : str
        Names it in errors.
    renames : mapping of str to str, optional
        Where classes and functions are now, by where they were; see `present_name`.

    Raises
    ------
    CodecError
        It names the class or function that cannot be found, where that is the reason.
    """
    if not renames:
        try:
            return _load_plainly(encoded)
        except (AttributeError, ImportError):
            pass  # of a name that is not there, a Finder knows more
        except Exception as error:
            raise CodecError(f"{what} cannot be loaded: {_explain(error, None)}") from error
    return _load(_finder(encoded, renames or {}), what)


def decode_finding(
    encoded: Encoded, what: str, numbers: Sequence[int], renames: Mapping[str, str] | None = None
) -> tuple[Any, list[Any]]:
    """Load an object, and return as well the parts of it that `encode_finding` numbered.

    Where there is no part of that number, None stands in its place.
    """
    if not numbers:
        return decode(encoded, what, renames), []
    finder = _finder(encoded, renames or {})
    obj = _load(finder, what)
    memo = finder.memo.copy()
    return obj, [memo.get(number) for number in numbers]


def _load_plainly(encoded: bytes | Encoded) -> Any:
    if isinstance(encoded, bytes):
        return pickle.loads(encoded)
    return pickle.loads(encoded.payload, buffers=encoded.buffers)


def _load(finder: Finder, what: str) -> Any:
    try:
        return finder.load()
    except Exception as error:
        reason = _explain(error, finder.missing)
        raise CodecError(f"{what} cannot be loaded: {reason}") from error


def _finder(encoded: bytes | Encoded, renames: Mapping[str, str]) -> Finder:
    if isinstance(encoded, bytes):
        return Finder(encoded, [], renames)
    return Finder(encoded.payload, encoded.buffers, renames)


def _explain(error: Exception, missing: tuple[str, str] | None) -> str:
    reason = f"{type(error).__name__}: {error}".rstrip(".")
    if missing is None:
        return f"{reason}."
    old, new = missing
    if new != old:
        return f"{old} should be {new} now, says renames, and that is not there ({reason})."
    script = " Names in __main__ are those of the script that runs, and another one stored this."
    return (
        f"{old} is not where it was when it was stored ({reason}).{script * _is_in_main(old)} If "
        f"it was moved or renamed, give renames={{{old!r}: 'new.module.{old.rpartition('.')[2]}'}} "
        "to resumable(...), trax.load(...) or Trax(...); or put it back under its old name."
    )


def _is_in_main(name: str) -> bool:
    return name.startswith("__main__.")
