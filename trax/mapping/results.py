"""The stored results of a map: its log is the data, so its files are only ever added to.

The first checkpoint says what the run is, and no other one is stored. Each increment is a pair of
a key and its result, with the digest of the key as its context. So whatever the number of results
is, storing one costs the same, and nothing that has been stored is written again or removed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.calls.content import DIGEST_SIZE, DONE, PLAIN
from trax.calls.options import on_disk
from trax.display import count, show
from trax.engine.load_proof import GLOBAL, LoadProof
from trax.engine.replay import decode_increment
from trax.engine.replicas import copying_of
from trax.errors import StorageError, UsageError
from trax.mapping.same_function import check_function, described, find_changes, note_left
from trax.storage.codec import PROTOCOL, Encoded, Names, decode, encode, refuse_large
from trax.storage.context import CREATED, Key, encode_context, entry_head
from trax.storage.definitions import Definitions
from trax.storage.mutex import Mutex
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.mapping.map_call import MapCall
    from trax.storage.held_run import HeldRun
    from trax.storage.run_reader import RunReader
    from trax.storage.store import Store

__all__ = ["Results", "collect", "is_constant"]

_FUNCTION = "trax.map"  # stands for the function of a loop
_HEAD = entry_head(DONE, DIGEST_SIZE)
_BEGUN = _FUNCTION.encode().ljust(16)  # where a loop has the digest of its first state

_dumps = pickle.dumps

# The function may refer to its map. When the garbage collector ends such a map, a lock that is
# garbage as well could not be released any more.
_held: set[HeldRun] = set()


def collect(results: list[tuple[Any, Any]], pair: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """Add a stored pair to a list of them: what `load` and `recover` get."""
    results.append(pair)
    return results


def is_constant(value: Any) -> bool:
    """Return whether a value cannot change: a number, a text, or a tuple of such."""
    if type(value) is tuple:
        return PLAIN.issuperset(map(type, value))
    return type(value) in PLAIN


class Results:
    """The results of one map, held for writing until it is closed.

    Parameters
    ----------
    call : MapCall
        The call.
    store : Store
        The directory of runs.
    is_stopping : callable
        Returns whether the map is to stop.

    Raises
    ------
    LockedError
        The run is held elsewhere.
    UsageError
        The run is none of `map`, or of another function.
    """

    def __init__(self, call: MapCall, store: Store, is_stopping: Callable[[], bool]) -> None:
        self._name = call.name
        self._path = store.path
        self._run = store.run_path(call.name)
        self._call = call
        self._names = Names(call.renames, Definitions(lambda: (call.function, call.key)))
        self._proof = LoadProof(call.name, self._names)
        self._appending = Mutex()
        self._is_begun = False
        self._is_closed = False
        copying = copying_of(
            store, call.name, call.replica, seconds=call.replica_seconds, sync=call.sync
        )
        if copying is not None:
            copying.is_stopping = is_stopping
            copying.admit = partial(_admit, call, store)
        hold = store.hold(
            call.name,
            sync=on_disk(call.sync),
            keep=1,
            report=notices.warn,
            fresh=call.fresh,
            deferred=call.is_async,
            copying=copying,
        )
        _held.add(hold)
        self._hold = hold
        with contextlib.suppress(TypeError):
            hold.journal.total = len(call.items)
        self._writer = hold.writer
        try:
            self._reader = self._begin(call, store)
            self._is_begun = True
        except BaseException:
            self.close()
            raise

    def _begin(self, call: MapCall, store: Store) -> RunReader | None:
        """Return the reader of the stored results; None if the run has just begun."""
        if self._hold.aside:
            notices.info(f"{call.name} starts over; the stored run is kept in {self._hold.aside}")
        reader = store.recover(call.name, partial(_recreate, call))
        if reader is not None and reader.found:
            _check_meta(call, self._run, reader.meta)
            return reader
        if reader is not None:
            self._writer.adopt(reader)
        meta, parts = _first(call)
        self._writer.checkpoint(meta, parts, derived=True, note=encode_context([(CREATED, _BEGUN)]))
        self._hold.begin(0, resumed=False)
        return None

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one that holds the run."""
        return os.getpid() != self._hold.pid

    def stored(self, digest_of: Callable[[Any, Any], bytes]) -> Iterator[tuple[bytes, Any, Any]]:
        """Yield what earlier calls have stored: the digest of each key, the key and its result.

        When all is read, new results can be appended.
        """
        reader = self._reader
        if reader is None:
            return
        for encoded in reader.increments():
            digest = reader.context.pop(DONE, None)
            pair = decode_increment(reader, self._name, self._names, encoded)
            if digest is None:  # of another version of digests, or not of a map
                key = _checked(self._name, pair)[0]
                digest = digest_of(key, key)
            yield digest, *pair
        self._writer.adopt(reader)
        self._hold.begin(reader.step, resumed=True)
        if reader.replayed and (reader.run, _FUNCTION) not in process.said:
            process.said.add((reader.run, _FUNCTION))
            stored = count(reader.replayed, "stored result")
            notices.info(f"{self._name} resumed with {stored} ({self._path})")

    def append(self, digest: bytes, key: Any, result: Any) -> Any:
        """Store a result; when this returns, it survives the death of the process.

        What else `sync` promises of it is left to `force`, if the function is async. Any thread may
        call it. It returns the result as it is stored: the function may change the object when it
        is called for the next item.

        Raises
        ------
        CodecError
            The key or the result cannot be pickled.
        DurabilityError
            The disk refused.
        """
        with self._appending:
            if self._is_closed:
                raise StorageError(f"{self._name!r} was closed before this result came")
            hold, step = self._hold, self._writer.position.step
            if process.monotonic() >= hold.check_at:
                hold.check_place(step)
            encoded = self._encode((key, result), step)
            self._writer.append(encoded, _HEAD + digest)
        return result if is_constant(result) else decode(encoded, "result", self._names)[1]

    def force(self) -> None:
        """Make what was appended as durable as `sync` says; this may take long.

        Raises
        ------
        DurabilityError
            The disk refused.
        LockedError, StorageError
            See `RunReplica.wait`.
        """
        self._writer.force()

    def _encode(self, pair: tuple[Any, Any], step: int) -> bytes | Encoded:
        try:
            encoded: bytes | Encoded = _dumps(pair, PROTOCOL, buffer_callback=refuse_large)
            has_names = GLOBAL in encoded
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything; encode() names it
            encoded, has_names = b"", True
        if has_names:
            encoded = encoded or encode(pair, "result", self._names).copied()
            self._proof.prove(pair, encoded, "result", step + 1)
        return encoded

    def close(self, ending: dict[str, Any] | None = None) -> None:
        """Make everything durable and release the lock; in a fork of the process, do nothing.

        `ending` is how the pass has ended, for the journal.
        """
        if ending is not None:
            self._hold.ending = ending
        with self._appending:
            if self._is_closed:
                return
            self._is_closed = True
        _held.discard(self._hold)
        if self._is_begun:
            note_left(self._call, self._run)
        self._hold.close()


def _checked(name: str, pair: Any) -> tuple[Any, Any]:
    if type(pair) is tuple and len(pair) == 2:
        return pair
    raise UsageError(f"an increment of {name!r} was not stored by trax.map: {show(pair)}")


def _first(call: MapCall) -> tuple[dict[str, Any], dict[str, Encoded]]:
    """Return the meta record and the parts of the first checkpoint, which is empty."""
    meta = {
        "step": 0,
        "done": False,
        "replay_log": "function",
        **described(call),
        "function": _FUNCTION,
        "version": 1,
        "drawn": [],
        "generators": {},
    }
    return meta, {"state": encode([], "state"), "replay_log": encode(collect, "replay_log")}


def _recreate(
    call: MapCall, context: Mapping[Key, bytes]
) -> tuple[dict[str, Any], dict[str, Encoded]] | None:
    return _first(call) if context[CREATED] == _BEGUN else None


def _admit(call: MapCall, store: Store) -> None:
    """Refuse a stored run that is not of this call, by its newest checkpoint alone."""
    meta = store.peek(call.name)
    if meta and not call.fresh:
        _check_kind(call, meta)
        find_changes(call, store.run_path(call.name), meta)


def _check_meta(call: MapCall, run: str, meta: dict[str, Any]) -> None:
    """Refuse a run that is none of `map`, or of another function; `run` is its path."""
    _check_kind(call, meta)
    check_function(call, run, meta)


def _check_kind(call: MapCall, meta: dict[str, Any]) -> None:
    if meta.get("function") != _FUNCTION or meta["step"]:  # or a state was stored over it
        raise UsageError(
            f"the run {call.name!r} was not stored by trax.map, or was changed since.\n"
            "Give this one another name, as in name='pages'."
        )
