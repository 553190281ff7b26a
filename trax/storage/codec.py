"""Encodes objects as pickles with separate buffers, and decodes them.

Strategy: plain pickle comes first. It runs at C speed and stores classes and functions by
reference, so that a loaded object uses the script's present code. If plain pickle fails,
cloudpickle takes over. Even then everything that can be imported by its name is stored by
reference, including names in ``__main__``, which cloudpickle alone would store by value. Large
memory, such as NumPy arrays, stays out of the pickle: it is written without a copy, and is loaded
into memory of its own, writable as it was.
"""

from __future__ import annotations

import contextlib
import copyreg
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import cloudpickle

from trax.errors import CodecError
from trax.storage.array_memory import Blocks
from trax.storage.records import BEGINS, BUFFER, CLOUDPICKLE, CONTEXT, PICKLE, READONLY_BUFFER
from trax.storage.reductions import Reductions
from trax.storage.refusals import RefusedError
from trax.storage.unpickler import Finder

__all__ = ["PROTOCOL", "Encoded", "decode", "decode_finding", "encode", "encode_finding"]

PROTOCOL = 5

_ADVICE = "Create it inside the loop instead of storing it, or leave it out in __getstate__."


class Encoded(NamedTuple):
    """An object as bytes.

    Attributes
    ----------
    kind : int
        `PICKLE` or `CLOUDPICKLE`; `CONTEXT` or `NOTE` for a context on its own.
    payload : bytes-like
        The pickle, or that context.
    buffers : list of bytes-like
        The buffers of the pickle, in order.
    context : bytes or bytearray
        The context that is stored before the object; empty if there is none.
    """

    kind: int
    payload: Any
    buffers: list[Any]
    context: bytes | bytearray = b""

    def records(self) -> Iterator[tuple[int, Any]]:
        """Yield the kind and the payload of each record of the object."""
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
        """The size of all payloads, in bytes."""
        return sum(memoryview(payload).nbytes for _, payload in self.records())


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle, but everything that can be imported is stored by its name."""

    def __init__(self, file: io.BytesIO, blocks: Blocks) -> None:
        self.dispatch_table = Reductions(cloudpickle.Pickler.dispatch_table, blocks)
        super().__init__(file, PROTOCOL)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (type, FunctionType)) and _is_importable(obj):
            return NotImplemented
        return super().reducer_override(obj)


def _is_importable(obj: Any) -> bool:
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def encode(obj: Any, label: str) -> Encoded:
    """Pickle one object; `label` is its name in errors.

    Raises
    ------
    CodecError
        Neither pickle nor cloudpickle can store it. The error names the part to blame.
    """
    return encode_finding(obj, label, ())[0]


def encode_finding(obj: Any, label: str, kinds: tuple[type, ...]) -> tuple[Encoded, dict[int, Any]]:
    """Pickle one object as `encode` does, and find the parts of it that are of certain kinds.

    Returns
    -------
    encoded : Encoded
        The pickled object.
    found : dict of int to object
        The parts, by their numbers. A pickle numbers the objects in it, and loading it gives them
        the same numbers; so `decode_finding` finds these parts in the copy.
    """
    encoded, pickler = _dump(obj, label, Blocks())
    blocks = pickler.dispatch_table.met.find_blocks()
    if blocks.begins:
        encoded, pickler = _dump(obj, label, blocks)
    reductions: Reductions = pickler.dispatch_table
    if not reductions.has_met(kinds):  # searching a memo takes longer than pickling small objects
        return encoded, {}
    parts = {n: part for n, part in pickler.memo.copy().values() if isinstance(part, kinds)}
    return encoded, {n: part for n, part in parts.items() if not reductions.met.is_global(part)}


def _dump(obj: Any, label: str, blocks: Blocks) -> tuple[Encoded, Any]:
    """Pickle one object; return the pickler, too."""
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    pickler = _plain(file, blocks, buffers.append)
    kind = PICKLE
    try:
        pickler.dump(obj)
        views = [buffer.raw() for buffer in buffers]
    except BufferError:  # not contiguous: it must go into the pickle
        file, views = io.BytesIO(), []
        pickler = _plain(file, blocks)
        pickler.dump(obj)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        file, views, kind = io.BytesIO(), [], CLOUDPICKLE
        pickler = _dump_by_value(obj, label, file, blocks)
    return Encoded(kind, file.getvalue(), views), pickler


def _plain(
    file: io.BytesIO,
    blocks: Blocks,
    on_buffer: Callable[[pickle.PickleBuffer], Any] | None = None,
) -> Any:
    pickler = pickle.Pickler(file, PROTOCOL, buffer_callback=on_buffer)
    pickler.dispatch_table = Reductions(copyreg.dispatch_table, blocks)
    return pickler


def _dump_by_value(obj: Any, label: str, file: io.BytesIO, blocks: Blocks) -> Any:
    pickler = _Pickler(file, blocks)
    try:
        pickler.dump(obj)
    except Exception as error:
        culprit, cause = _find_culprit(obj, label, error)
        advice = cause.advice if isinstance(cause, RefusedError) else _ADVICE
        reason = str(cause).rstrip(".")
        raise CodecError(f"{culprit} cannot be stored: {reason}\n{advice}") from error
    return pickler


def _find_culprit(obj: Any, path: str, error: Exception) -> tuple[str, Exception]:
    """Return the path of the smallest part that cannot be pickled, and its error."""
    seen = {id(obj)}
    found = True
    while found and getattr(error, "refused", None) is not obj:
        found = False
        for step, part in _parts(obj):
            if id(part) in seen:
                continue
            seen.add(id(part))
            failure = _failure(part)
            if failure is not None:
                obj, path, error, found = part, path + step, failure, True
                break
    return f"{path} ({type(obj).__module__}.{type(obj).__qualname__})", error


def _failure(obj: Any) -> Exception | None:
    try:
        _Pickler(io.BytesIO(), Blocks()).dump(obj)
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


def decode(encoded: bytes | Encoded, label: str, renames: Mapping[str, str] | None = None) -> Any:
    """Load an object whose checksums are valid; bytes are a pickle without buffers.

    `label` is the object's name in errors. `renames` has the present names of classes and
    functions, by their former ones; see `present_name`.

    Raises
    ------
    CodecError
        It cannot be loaded. The error names the class or function that cannot be imported, if that
        is the reason.
    """
    if not renames:
        try:
            return _load_plainly(encoded)
        except (AttributeError, ImportError):
            pass  # a Finder knows former names, and tells which name is missing
        except Exception as error:
            raise CodecError(f"{label} cannot be loaded: {_explain(error, None)}") from error
    return _load(_finder(encoded, renames or {}), label)


def decode_finding(
    encoded: Encoded, label: str, numbers: Sequence[int], renames: Mapping[str, str] | None = None
) -> tuple[Any, list[Any]]:
    """Load an object as `decode` does, and find the parts of it that `encode_finding` numbered.

    The parts are in the order of `numbers`, with None for a number without a part.
    """
    if not numbers:
        return decode(encoded, label, renames), []
    finder = _finder(encoded, renames or {})
    obj = _load(finder, label)
    memo = finder.memo.copy()
    return obj, [memo.get(number) for number in numbers]


def _load_plainly(encoded: bytes | Encoded) -> Any:
    if isinstance(encoded, bytes):
        return pickle.loads(encoded)
    return pickle.loads(encoded.payload, buffers=encoded.buffers)


def _load(finder: Finder, label: str) -> Any:
    try:
        return finder.load()
    except Exception as error:
        reason = _explain(error, finder.missing)
        raise CodecError(f"{label} cannot be loaded: {reason}") from error


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
        return (
            f"renames maps {old} to {new}, which cannot be imported ({reason}).\n"
            "Correct the new name, or make it importable."
        )
    script = (
        "Names in __main__ are those of the running script, and another one may have stored this: "
        "run that one.\n"
    )
    return (
        f"{old} cannot be imported any more ({reason}).\n"
        f"{script * _is_in_main(old)}"
        "If it was moved or renamed, give "
        f"renames={{{old!r}: 'new.module.{old.rpartition('.')[2]}'}} "
        "to resumable(...), trax.load(...) or Trax(...).\n"
        "Or put it back under its old name."
    )


def _is_in_main(name: str) -> bool:
    return name.startswith("__main__.")
