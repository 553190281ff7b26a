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
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import cloudpickle

from trax.errors import CodecError
from trax.storage.frames import BEGINS, BUFFER, CLOUDPICKLE, PICKLE, READONLY_BUFFER
from trax.storage.renames import Finder

__all__ = ["PROTOCOL", "Encoded", "decode", "encode"]

PROTOCOL = 5


class Encoded(NamedTuple):
    """An object as bytes: the kind of pickle, the pickle, and its buffers in order."""

    kind: int
    payload: Any
    buffers: list[Any]

    def records(self) -> Iterator[tuple[int, Any]]:
        """Yield the kind and the payload of each record that stores the object."""
        begins = BEGINS
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
    buffers: list[pickle.PickleBuffer] = []
    try:
        payload = pickle.dumps(obj, PROTOCOL, buffer_callback=buffers.append)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return _encode_by_value(obj, what)
    try:
        return Encoded(PICKLE, payload, [buffer.raw() for buffer in buffers])
    except BufferError:  # not contiguous: only in one piece
        return Encoded(PICKLE, pickle.dumps(obj, PROTOCOL), [])


def _encode_by_value(obj: Any, what: str) -> Encoded:
    file = io.BytesIO()
    try:
        _Pickler(file, PROTOCOL).dump(obj)
    except Exception as error:
        culprit, reason = _find_culprit(obj, what, error)
        raise CodecError(
            f"{culprit} cannot be stored: {reason}. Keep it out of what is stored (make it anew "
            "inside the loop, or leave it out in __getstate__)."
        ) from error
    return Encoded(CLOUDPICKLE, file.getvalue(), [])


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
    try:
        if renames:
            return _finder(encoded, renames).load()
        if isinstance(encoded, bytes):
            return pickle.loads(encoded)
        return pickle.loads(encoded.payload, buffers=encoded.buffers)
    except Exception as error:
        reason = _explain(error, _find_missing(encoded, renames or {}, error))
        raise CodecError(f"{what} cannot be loaded: {reason}") from error


def _finder(encoded: bytes | Encoded, renames: Mapping[str, str]) -> Finder:
    if isinstance(encoded, bytes):
        return Finder(encoded, [], renames)
    return Finder(encoded.payload, encoded.buffers, renames)


def _find_missing(
    encoded: bytes | Encoded, renames: Mapping[str, str], error: Exception
) -> tuple[str, str] | None:
    """Load it again, which is slower, to learn which name cannot be found."""
    if not isinstance(error, (AttributeError, ImportError)):
        return None
    finder = _finder(encoded, renames)
    with contextlib.suppress(Exception):
        finder.load()
    return finder.missing


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
