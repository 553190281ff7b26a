"""Encodes objects as pickles with separate buffers, and decodes them.

Strategy: plain pickle comes first. It runs at C speed and stores classes and functions by
reference, so that a loaded object uses the script's present code. If plain pickle fails,
cloudpickle takes over. Even then everything that can be imported by its name is stored by
reference, including names in ``__main__``, which cloudpickle alone would store by value. Large
memory, such as NumPy arrays, stays out of the pickle: it is written without a copy, and is loaded
into memory of its own, writable as it was.
"""

from __future__ import annotations

import io
import pickle
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

import cloudpickle

from trax.errors import ArgumentsChangedError, CodecError
from trax.storage.array_memory import Blocks
from trax.storage.culprit import SECONDS, find_culprit, find_part
from trax.storage.deep_pickler import DeepPickler, TooDeep
from trax.storage.definitions import by_name, full_name, present
from trax.storage.outside import NOTHING, Outside
from trax.storage.records import BEGINS, BUFFER, CLOUDPICKLE, CONTEXT, PICKLE, READONLY_BUFFER
from trax.storage.reductions import Reductions
from trax.storage.refusals import RefusedError
from trax.storage.unpickler import Finder, Names, ways_to_find

__all__ = [
    "GLOBAL",
    "PROTOCOL",
    "Encoded",
    "Limited",
    "Names",
    "ReusedMemory",
    "best_dumps",
    "decode",
    "decode_finding",
    "encode",
    "encode_finding",
    "encode_increment",
    "find_copy",
    "find_unloadable",
    "load_with",
    "refuse_large",
]

PROTOCOL = 5
GLOBAL = 0x93  # STACK_GLOBAL; looked for as a number, since that is far quicker

_dumps = pickle.dumps
_ADVICE = "Create it inside the loop instead of storing it, or leave it out in __getstate__."
_LARGE_BUFFER = 1 << 16  # bytes
_KEPT = 64 << 20  # bytes
_LARGE_CODE = 1 << 16  # bytes; the pickle of a class includes the globals that its methods use
_SETTER = 5  # the index of the setter of an object's state in a reduction


_OnBuffer = Callable[[pickle.PickleBuffer], Any]


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

    def copied(self) -> Encoded:
        """Return the object with buffers of its own: those of an object in use may change.

        What is loaded from them shares no memory with that object either.
        """
        buffers = [bytes(b) if memoryview(b).readonly else bytearray(b) for b in self.buffers]
        return self._replace(buffers=buffers)

    def copied_into(self, memory: memoryview) -> tuple[Encoded, memoryview]:
        """Return the object with buffers that are copied into memory, and the rest of that."""
        buffers = []
        for buffer in self.buffers:
            view = memoryview(buffer)
            copy, memory = memory[: view.nbytes], memory[view.nbytes :]
            copy[:] = view.cast("B")
            buffers.append(copy.toreadonly() if view.readonly else copy)
        return self._replace(buffers=buffers), memory

    @property
    def buffer_bytes(self) -> int:
        """The size of the buffers, in bytes."""
        return sum(map(_size, self.buffers))

    @property
    def nbytes(self) -> int:
        """The size of all payloads, in bytes."""
        return self.buffer_bytes + _size(self.payload) + len(self.context)


def _size(payload: Any) -> int:
    return memoryview(payload).nbytes


class ReusedMemory:
    """Memory for the buffers of one object at a time, each of which overwrites the one before.

    New memory takes several times as long to fill, since the kernel first provides its pages. At
    most `_KEPT` bytes are kept.
    """

    def __init__(self) -> None:
        self._memory = bytearray()

    def copy(self, encoded: Encoded) -> Encoded:
        """Return an object with copies of its buffers, which are valid until the next call."""
        size = encoded.buffer_bytes
        if size > _KEPT:
            return encoded.copied()
        if size > len(self._memory):
            self._memory = bytearray(min(2 * size, _KEPT))
        return encoded.copied_into(memoryview(self._memory))[0]


def refuse_large(buffer: pickle.PickleBuffer) -> bool:
    """Keep a small buffer in a pickle; a large one would be copied there, and is pickled apart.

    Raises
    ------
    OverflowError
        The buffer is large.
    """
    if buffer.raw().nbytes >= _LARGE_BUFFER:
        raise OverflowError("this buffer is too large for a pickle in one piece")
    return True


class _Pieces(list[Any]):
    """A file for a pickler, which hands large bytes over as they are."""

    write = list.append

    def getvalue(self) -> bytes:
        return b"".join(self)


_Dumps = Callable[[Any, int], bytes]


def best_dumps(last: bytes | Encoded, present: _Dumps, *, is_state: bool) -> _Dumps:
    """Return the function that pickles the next increment plainly, after one like it.

    It is called as `pickle.dumps`, and raises if `encode` is better; `present` is that so far.

    `pickle.dumps` copies buffers, and grows its memory as it goes, which takes several times as
    long as the pickling of one large text does. So after a large pickle `encode` is tried, and
    stays if it finds buffers; and a large state is pickled by `encode` alone.
    """
    if isinstance(last, bytes):
        if len(last) < _LARGE_BUFFER:
            return pickle.dumps
        return present if present is _dumps_in_pieces else _leave_to_encode
    if last.nbytes < _LARGE_BUFFER:
        return pickle.dumps
    return _leave_to_encode if last.buffers or is_state else _dumps_in_pieces


def _leave_to_encode(obj: Any, protocol: int) -> bytes:  # noqa: ARG001
    raise OverflowError("this object is too large for a pickle in one piece")


def _dumps_in_pieces(obj: Any, protocol: int) -> bytes:
    file = _Pieces()
    pickle.Pickler(file, protocol).dump(obj)
    return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle, but what a name leads to, or what is at hand, is stored as a reference."""

    def __init__(
        self,
        file: Any,
        table: Reductions | None,
        names: Names | None,
        outside: Outside = NOTHING,
    ) -> None:
        if table is None:
            table = Reductions({})
        table.others = {**cloudpickle.Pickler.dispatch_table, **table.others}
        self.dispatch_table = table
        super().__init__(file, PROTOCOL)
        self._definitions = names.definitions if names else None
        if not outside.is_empty:
            self.persistent_id = outside.path

    def dump(self, obj: Any) -> None:
        # Not cloudpickle's, which hides a RecursionError. Pickle may look for an object in every
        # module, and touch deprecated names there.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pickle.Pickler.dump(self, obj)

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, (type, FunctionType)):
            return super().reducer_override(obj)
        found = by_name(obj)
        if found is not None:
            return NotImplemented if found is obj else (present, (found,))
        own = self.dispatch_table.of_functions() if isinstance(obj, FunctionType) else None
        reduced = own(obj) if own else NotImplemented
        if reduced is not NotImplemented:
            return reduced
        definitions = self._definitions
        reduced = definitions.reference(obj, _copy_code) if definitions else None
        if reduced is None:
            reduced = super().reducer_override(obj)
            if definitions and _is_copy(reduced):
                definitions.note_copy(obj)
            if own and isinstance(obj, FunctionType) and _is_copy(reduced):
                reduced = _with_cells(obj, reduced)
        return reduced


def _is_copy(reduced: Any) -> bool:
    """Whether cloudpickle has taken a class or a function apart; all else has no setter."""
    return reduced is not NotImplemented and len(reduced) > _SETTER


def _with_cells(function: FunctionType, reduced: Any) -> Any:
    """Return cloudpickle's reduction of a function, but with the cells that others share with it.

    cloudpickle copies what is in them.
    """
    make, (*arguments, _), (state, slots), *others = reduced
    slots = {**slots, "__closure__": None}
    return make, (*arguments, function.__closure__), (state, slots), *others


def _copy_code(definition: Any) -> bytes:
    """Return a pickle of the code of a class or a function; nothing if there is no such pickle."""
    file = Limited(_LARGE_CODE)
    try:
        _Pickler(file, None, None).dump(definition)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return b""
    return file.getvalue()


class Limited(io.BytesIO):
    """A file that refuses to become large."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def write(self, data: Any) -> int:
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise OverflowError("this pickle is too large")
        return super().write(data)


def encode(
    obj: Any,
    label: str,
    names: Names | None = None,
    shared: Mapping[type, Any] | None = None,
    outside: Outside = NOTHING,
) -> Encoded:
    """Pickle one object; `label` is its name in errors.

    `shared` has functions by type that take apart objects which are also outside of this one, as
    `copyreg.dispatch_table` has them. Objects in `outside` are stored as references.

    Raises
    ------
    CodecError
        Neither pickle nor cloudpickle can store it. The error names the part to blame.
    """
    return encode_finding(obj, label, (), names, shared, outside)[0]


def encode_increment(obj: Any, label: str) -> bytes | Encoded:
    """Encode one object as `encode` does, but as a plain pickle if there are only values in it.

    Raises
    ------
    CodecError
        It cannot be pickled.
    """
    try:
        plain = _dumps(obj, PROTOCOL, buffer_callback=refuse_large)
        if GLOBAL not in plain:
            return plain
    except Exception:  # noqa: BLE001, S110  # a __reduce__ may raise anything; encode() names it
        pass
    return encode(obj, label)


def encode_finding(
    obj: Any,
    label: str,
    kinds: tuple[type, ...],
    names: Names | None = None,
    shared: Mapping[type, Any] | None = None,
    outside: Outside = NOTHING,
) -> tuple[Encoded, dict[int, Any]]:
    """Pickle one object as `encode` does, and find the parts of it that are of certain kinds.

    Returns
    -------
    encoded : Encoded
        The pickled object.
    found : dict of int to object
        The parts, by their numbers. A pickle numbers the objects in it, and loading it gives them
        the same numbers; so `decode_finding` finds these parts in the copy.
    """
    encode = partial(_encode, obj, label, names or Names(), shared or {}, outside)
    encoded, pickler = encode(outside.blocks)
    blocks = outside.blocks.joined(pickler.dispatch_table.met.find_blocks())
    if blocks is not outside.blocks:
        encoded, pickler = encode(blocks)
    reductions: Reductions = pickler.dispatch_table
    if not reductions.has_met(kinds):  # searching a memo takes longer than pickling small objects
        return encoded, {}
    parts = {n: part for n, part in pickler.memo.copy().values() if isinstance(part, kinds)}
    return encoded, {n: part for n, part in parts.items() if not reductions.met.is_global(part)}


def _encode(
    obj: Any,
    label: str,
    names: Names,
    shared: Mapping[type, Any],
    outside: Outside,
    blocks: Blocks,
) -> tuple[Encoded, Any]:
    """Pickle one object; return the pickler, too. `blocks` is memory that arrays share."""
    kind = PICKLE
    try:
        pickler, file, views = _dump(obj, partial(_plain, shared, outside, blocks))
    except TooDeep as error:
        raise _too_deep(label, error) from error
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        kind = CLOUDPICKLE
    if kind == CLOUDPICKLE:  # after the handler, so that an error has no chain of others
        pickler, file, views = _dump_by_value(obj, label, names, shared, outside, blocks)
    return Encoded(kind, file.getvalue(), views), pickler


def _dump(
    obj: Any,
    make: Callable[[Any, _OnBuffer | None], Any],
    *,
    in_band: bool = False,
    is_deep: bool = False,
) -> tuple[Any, _Pieces, list[Any]]:
    """Pickle an object; return the pickler, the pickle, and the buffers beside it."""
    file = _Pieces()
    buffers: list[pickle.PickleBuffer] = []
    on_buffer = None if in_band else buffers.append
    pickler = make(file, on_buffer)
    if is_deep:
        pickler = DeepPickler(file, pickler, on_buffer)
    try:
        pickler.dump(obj)
        views = [buffer.raw() for buffer in buffers]
    except BufferError:  # not contiguous: it must go into the pickle
        if in_band:
            raise
        return _dump(obj, make, in_band=True, is_deep=is_deep)
    except RecursionError:
        if is_deep:
            raise
        return _dump(obj, make, in_band=in_band, is_deep=True)
    return pickler, file, views


def _too_deep(label: str, error: TooDeep) -> CodecError:
    return CodecError(
        f"{label} cannot be stored: {error}.\n"
        "Keep it flat, as a list of links instead of links inside links."
    )


def _plain(
    shared: Mapping[type, Any],
    outside: Outside,
    blocks: Blocks,
    file: _Pieces,
    on_buffer: _OnBuffer | None,
) -> Any:
    pickler: Any
    if outside.is_empty:
        pickler = pickle.Pickler(file, PROTOCOL, buffer_callback=on_buffer)
    else:
        pickler = _Referring(file, on_buffer, outside)
    pickler.dispatch_table = Reductions(shared, blocks)
    return pickler


class _Referring(pickle.Pickler):
    """A pickler that refers to objects outside; it takes longer, since it asks for each object."""

    def __init__(self, file: _Pieces, on_buffer: _OnBuffer | None, outside: Outside) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=on_buffer)
        self.persistent_id = outside.path  # type: ignore[method-assign]


def _dump_by_value(
    obj: Any,
    label: str,
    names: Names,
    shared: Mapping[type, Any],
    outside: Outside,
    blocks: Blocks,
) -> tuple[Any, _Pieces, list[Any]]:
    def make(file: _Pieces, _: Any) -> Any:
        return _Pickler(file, Reductions(shared, blocks), names, outside)

    try:
        return _dump(obj, make, in_band=True)
    except TooDeep as error:
        raise _too_deep(label, error) from error
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything
        failure = error
    fault = partial(_failure, time.monotonic() + SECONDS, shared, outside)
    path, part, cause = find_culprit(obj, label, failure, fault)
    advice = cause.advice if isinstance(cause, RefusedError) else _ADVICE
    raise CodecError(
        f"{path} ({full_name(type(part))}) cannot be stored: {str(cause).rstrip('.')}\n{advice}"
    ) from _bare(cause)


def _bare(error: Exception) -> Exception:
    """Return an error of pickling without its traceback, if that leads to no code of the user's."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is not None and traceback.tb_frame.f_globals is globals():
        return error.with_traceback(None)
    return error


def _failure(
    end: float, shared: Mapping[type, Any], outside: Outside, obj: Any
) -> Exception | None:
    """Return the error of pickling a part; None if there is none, or none before `end`."""
    try:
        _Pickler(_Sink(end), Reductions(shared), None, outside).dump(obj)
    except _TimeIsUp:
        return None
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything
        return error
    return None


def find_unloadable(obj: Any, label: str, error: CodecError, names: Names) -> tuple[str, str]:
    """Return the path of the smallest part that does not load again, with its type; and why."""
    end = time.monotonic() + SECONDS

    def fault(part: Any) -> Exception | None:
        if time.monotonic() > end:
            return None
        try:
            encoded = encode(part, label, names).copied()
        except CodecError:
            return None
        try:
            _load_plainly(encoded) if encoded.kind == PICKLE else _finder(encoded, names).load()
        except Exception as failure:  # noqa: BLE001  # a __setstate__ may raise anything
            return failure
        return None

    path, part, cause = find_culprit(obj, label, error, fault)
    why = cause.__cause__ if cause is error and cause.__cause__ else cause
    return f"{path} ({full_name(type(part))})", f"{type(why).__name__}: {why}".rstrip(".")


class _TimeIsUp(Exception):  # noqa: N818  # it is no error
    """A trial has taken too long."""


class _Sink:
    """A file that keeps nothing, for a limited time."""

    def __init__(self, end: float) -> None:
        self._end = end

    def write(self, data: Any) -> int:
        if time.monotonic() > self._end:
            raise _TimeIsUp
        return memoryview(data).nbytes


def find_copy(obj: Any, label: str, copied: Container[str]) -> str:
    """Return the path of the nearest part with a definition whose code was copied, and its name.

    `copied` has the full names of these definitions. The text is empty if there is no such part.
    """

    def definition(part: Any) -> Any:
        return part if isinstance(part, (type, FunctionType)) else type(part)

    found = find_part(obj, label, lambda part: full_name(definition(part)) in copied)
    return f"{found[0]} ({full_name(definition(found[1]))})" if found else ""


def decode(
    encoded: bytes | Encoded,
    label: str,
    names: Names | None = None,
    outside: Mapping[str, Any] | None = None,
) -> Any:
    """Load an object whose checksums are valid; bytes are a pickle without buffers.

    `label` is the object's name in errors. `names` tells which classes and functions of the
    present script are meant. `outside` has the objects that are stored as references, by path.

    Raises
    ------
    CodecError
        It cannot be loaded. The error names the class or function that cannot be imported, if that
        is the reason.
    ArgumentsChangedError
        It refers to an object that is not in `outside`.
    """
    names = names or Names()
    if isinstance(encoded, bytes):
        encoded = Encoded(PICKLE, encoded, [])
    if names.are_plain and encoded.kind == PICKLE and outside is None:
        try:
            return _load_plainly(encoded)
        except (AttributeError, ImportError):
            pass  # a Finder knows former names, and tells which name is missing
        except CodecError:  # of a part, which says it all
            raise
        except Exception as error:
            raise CodecError(f"{label} cannot be loaded: {_explain(error, None)}") from error
    return load_with(_finder(encoded, names, outside), label)


def decode_finding(
    encoded: Encoded,
    label: str,
    numbers: Sequence[int],
    names: Names | None = None,
    outside: Mapping[str, Any] | None = None,
) -> tuple[Any, list[Any]]:
    """Load an object as `decode` does, and find the parts of it that `encode_finding` numbered.

    The parts are in the order of `numbers`, with None for a number without a part.
    """
    if not numbers:
        return decode(encoded, label, names, outside), []
    finder = _finder(encoded, names or Names(), outside)
    obj = load_with(finder, label)
    memo = finder.memo.copy()
    return obj, [memo.get(number) for number in numbers]


def _load_plainly(encoded: Encoded) -> Any:
    return pickle.loads(encoded.payload, buffers=encoded.buffers)


def load_with(finder: Any, label: str) -> Any:
    """Load an object with a finder of names; see `decode`."""
    try:
        with finder.renaming():
            return finder.load()
    except (ArgumentsChangedError, CodecError):
        raise
    except Exception as error:
        reason = _explain(error, finder.missing)
        raise CodecError(f"{label} cannot be loaded: {reason}") from error


def _finder(encoded: Encoded, names: Names, outside: Mapping[str, Any] | None = None) -> Finder:
    return Finder(encoded.payload, encoded.buffers, names, outside)


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
    return f"{old} cannot be imported any more ({reason}).\n{ways_to_find(old)}"
