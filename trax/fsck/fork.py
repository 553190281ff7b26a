"""Forks a run: writes a new one from the checkpoint and the log up to a step of an old one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from trax._public import public
from trax.errors import CorruptionError, NotFoundError, StorageError, UsageError
from trax.keep import ALL
from trax.notices import warn
from trax.storage.codec import Encoded
from trax.storage.context import CREATED, Key, Kind, decode_context, encode_context
from trax.storage.filesystem import Directory, sync_directory
from trax.storage.journal import Journal
from trax.storage.messages import not_stored
from trax.storage.process import process
from trax.storage.records import CONTEXT
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter
from trax.storage.store import Store
from trax.storage.stored_steps import no_state, stored_steps
from trax.tracking.output_digest import Extent, difference
from trax.tracking.truncate import changed_error, extents
from trax.whole_numbers import check_whole

__all__ = ["Forked", "fork"]

Outputs = Mapping[str | os.PathLike[str], str | os.PathLike[str]]

_FILE = b"open_again"  # in a pickle that has an open output file
_CHUNK = 1 << 20


@public
@dataclass(frozen=True, slots=True)
class Forked:
    """The outcome of `fork`: as text a line, and with `as_dict` plain values for JSON.

    Attributes
    ----------
    name : str
        The name of the new run.
    path : str
        The directory of its files.
    source : str
        The name of the run that it was forked from.
    step : int
        The step at which it begins.
    outputs : tuple of str
        Its output files: copies, up to that step.
    """

    name: str
    path: str
    source: str
    step: int
    outputs: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as a dictionary of plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.name} was forked from {self.source} at step {self.step:,}: {self.path}"


@public
def fork(
    name: str,
    new_name: str,
    *,
    step: int | None = None,
    outputs: Outputs | None = None,
    traxdir: str | os.PathLike[str] | None = None,
) -> Forked:
    """Make a new run that begins at a step of an old one, which stays as it is.

    The checkpoint before the step and the log up to it are written again, under the new name. The
    old run may be open meanwhile. Nothing is unpickled, and no code of the run is called. A call
    of the function under the new name goes on from there, with the arguments of the old run but
    for those in `varying`.

    Parameters
    ----------
    name : str
        The name of the old run.
    new_name : str
        The name of the new one, which must not be stored yet.
    step : int, optional
        The step at which the new run begins; by default the newest one.
    outputs : mapping of path to path, optional
        For each output file of the old run the path of a new file, which must not exist: it gets
        what the file had at that step. The loop must open it under the new path, so that path must
        depend on an argument in `varying`.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Returns
    -------
    Forked
        The new run; `print` shows where it is.

    Raises
    ------
    NotFoundError
        Nothing is stored under the old name, or nothing leads to the state of `step`.
    UsageError
        The new name is taken; or the run has output files, and `outputs` does not have them all, or
        they are open in the stored state, which refers to the old ones.
    CorruptionError
        A file is damaged, or an output file was changed.
    UntrustedError
        Somebody else could have written one of the files.
    StorageError
        The disk refused. The new run is not there.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, keep="all", name="first")
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 1
    >>> _ = count(to=3).result()
    >>> trax.fork("first", "second", step=1).step
    1
    >>> trax.load("second")
    1
    """
    until = None if step is None else check_whole(step, "step", least=0)
    store = Store(traxdir)
    given = {_real(old): os.path.abspath(os.fspath(new)) for old, new in (outputs or {}).items()}
    if not store.files(name):
        raise not_stored(name, store.path)
    while True:
        seen = store.look(name)
        try:
            with store.making(new_name) as directory:
                return _fork(store, name, until, directory, new_name, given)
        except (FileNotFoundError, CorruptionError, StorageError):
            if store.look(name) == seen:  # else a file was pruned before it was read
                raise


def _fork(
    store: Store,
    name: str,
    until: int | None,
    directory: Directory,
    new_name: str,
    given: dict[str, str],
) -> Forked:
    """Write the files of a new run into an empty directory."""
    end = _open(store, name, until)
    end.read()
    if until not in (None, end.step):
        raise _no_state(store, name, until or 0)
    outputs = _Outputs(store, name, end.context, given)
    with outputs.copied():
        run = _write(_open(store, name, end.step), directory, new_name, outputs)
    Journal(directory).mark("forked", run, end.step, f"forked from {name}")
    return Forked(new_name, store.run_path(new_name), name, end.step, tuple(outputs.paths))


def _open(store: Store, name: str, until: int | None) -> RunReader:
    reader = store.recover(name, until=until)
    if reader is None or not reader.found:
        raise not_stored(name, store.path) if until is None else _no_state(store, name, until)
    return reader


def _no_state(store: Store, name: str, step: int) -> NotFoundError:
    reader = store.recover(name)
    if reader is None:
        return not_stored(name, store.path)
    with store.reading(name) as directory:
        return no_state(name, store.path, step, stored_steps(directory, reader))


def _write(reader: RunReader, directory: Directory, name: str, outputs: _Outputs) -> str:
    """Write a run again up to where a reader ends, under another name; return its identity."""
    writer = RunWriter(directory, name, sync="interval", keep=ALL, report=warn)
    try:
        if reader.checkpoint is not None:
            parts = dict(reader.checkpoint.parts)
            outputs.check(parts["state"].payload)
            if "context" in parts:
                context = outputs.renamed(parts["context"].payload)
                parts["context"] = Encoded(CONTEXT, context, [])
            writer.checkpoint(reader.meta, parts, derived=True)
        reader.on_note = lambda context: writer.copy_note(outputs.renamed(context))
        increments: Iterator[bytes | Encoded] = chain.from_iterable(reader.batches())
        for increment in increments:
            if isinstance(increment, bytes):
                outputs.check(increment)
                writer.append(increment)
            else:
                outputs.check(increment.payload)
                context = outputs.renamed(increment.context)
                writer.append(increment._replace(context=b""), context)
    finally:
        writer.close()
    return writer.run


class _Outputs:
    """The output files of a run, and those that a fork of it has instead.

    Attributes
    ----------
    paths : list of str
        The new files.
    """

    def __init__(
        self, store: Store, name: str, context: Mapping[Key, bytes], given: dict[str, str]
    ) -> None:
        self._name = name
        self._extents = extents(store.path, context)
        left = [path for path in self._extents if _real(path) not in given]
        if left:
            raise UsageError(
                f"{name!r} has output files, which its fork may not share: {', '.join(left)}\n"
                f"Give each a new path, as in outputs={{{left[0]!r}: {left[0] + '.fork'!r}}}, "
                "and let the loop open it there."
            )
        unknown = given.keys() - set(map(_real, self._extents))
        if unknown:
            raise UsageError(f"{name!r} has no output file {min(unknown)}, which outputs names.")
        self._new = {path: given[_real(path)] for path in self._extents}
        self.paths = list(self._new.values())
        self._keys: dict[str, str] = {}
        for thing in {key.whole: None for key in context if key.kind is Kind.OUTPUT}:
            new = self._new[os.path.normpath(os.path.join(store.path, thing.name))]
            is_absolute = os.path.isabs(thing.name)
            self._keys[thing.name] = new if is_absolute else os.path.relpath(new, store.path)

    def check(self, payload: bytes | bytearray) -> None:
        """Refuse a pickle that refers to an open output file."""
        if self._keys and _FILE in payload:
            raise UsageError(
                f"{self._name!r} keeps an output file open, so its stored state refers to it.\n"
                "A fork would write to the old file, and is not made.\n"
                "Let the loop open it anew for each step, as in trax.open(path, 'a')."
            )

    def renamed(self, context: bytes | bytearray) -> bytes:
        """Return a context with the new files, and without the mark of the run's beginning."""
        if not context:
            return b""
        self.check(context)
        entries = decode_context(context)
        entries.pop(CREATED, None)
        return encode_context(
            (self._rename(key) if key.kind is Kind.OUTPUT else key, value)
            for key, value in entries.items()
        )

    def _rename(self, key: Key) -> Key:
        return key._replace(name=self._keys.get(key.name, key.name))

    @contextlib.contextmanager
    def copied(self) -> Iterator[None]:
        """Copy the files for the fork; if the block fails, they are removed again."""
        made: list[str] = []
        try:
            for path, extent in self._extents.items():
                _copy(path, self._new[path], extent, made)
            yield
        except BaseException:
            for new in made:
                with contextlib.suppress(OSError):
                    os.remove(new)
            raise


def _copy(path: str, new: str, extent: Extent, made: list[str]) -> None:
    """Copy what an output file had at a step, durably, and compare it with its digest."""
    try:
        with open(path, "rb") as source, open(new, "x+b") as output:
            made.append(new)
            left = extent.length
            while left and (data := source.read(min(left, _CHUNK))):
                output.write(data)
                left -= len(data)
            output.flush()
            process.force(output.fileno())
            changed = difference(output.fileno(), [extent])
        sync_directory(os.path.dirname(new))
    except FileExistsError:
        raise UsageError(
            f"the output file {new} exists already.\nGive another path for it in outputs=."
        ) from None
    except OSError as error:
        raise StorageError(
            f"the output file {path} could not be copied to {new}: {error}\nThe fork was not made."
        ) from error
    if left:
        changed = extent.length - left, extent.length
    if changed:
        raise changed_error(path, *changed)


def _real(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(os.fspath(path))
