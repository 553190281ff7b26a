"""The runs that have a replica in a store of objects, read without a claim."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from trax.replica.chain import Chain, beside_writer
from trax.replica.entry import run_key
from trax.replica.objects import Objects
from trax.replica.reader import ReplicaDirectory
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName, encode_run, run_of
from trax.storage.keys import find_key
from trax.storage.messages import not_stored
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.run_reader import Recreate, RunReader

__all__ = ["Replicas"]

_AT_A_TIME = 16  # runs

T = TypeVar("T")
_Sizes = Mapping[str, int]  # of objects, by their keys


class Replicas:
    """The replicas in a store of objects, as a store of runs that is read.

    Attributes
    ----------
    path : str
        The URL.
    key : Key or None
        The key that they are signed with.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.path = objects.url
        self.key = find_key(self.path)
        self._last: dict[str, ReplicaDirectory] = {}

    def listed(self) -> Mapping[str, _Sizes]:
        """List all objects once; return those of each run, by its name."""
        found: dict[str, dict[str, int]] = {}
        for key, size in self.objects.list("runs"):
            name = run_of(key.split("/")[1])
            if name is not None:
                found.setdefault(name, {})[key] = size
        return found

    def each(
        self, read: Callable[[str, _Sizes], T], listed: Mapping[str, _Sizes]
    ) -> Iterator[tuple[str, T]]:
        """Yield what a function returns for runs that were listed; some are read at a time."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            yield from zip(listed, pool.map(read, listed, listed.values()), strict=True)

    def open(self, name: str, sizes: _Sizes | None = None) -> ReplicaDirectory | None:
        """Return the files of a run; None if it has no data. `sizes` are its objects, if listed."""
        listings = iter([sizes] if sizes is not None else [])
        return beside_writer(lambda: self._open(name, next(listings, None)), name, self.path)

    def _open(self, name: str, sizes: _Sizes | None) -> ReplicaDirectory | None:
        if sizes is None:
            sizes = dict(self.objects.list(run_key(encode_run(name))))
        chain = Chain(self.objects, name, self.key)
        chain.look(sizes)
        _, head, claims = chain.look_back()
        return ReplicaDirectory(chain, head, claims, sizes, self.key) if head is not None else None

    # -- a store ---------------------------------------------------------------------------

    def look(self, name: str) -> tuple[int, list[str]]:
        """Return a value that changes when a writer goes on."""
        keys = [key for key, _ in self.objects.list(run_key(encode_run(name)))]
        return len(keys), keys

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[ReplicaDirectory]:
        """Read the files of a run in a ``with`` block; small ones are got at once.

        They are those of the time at which they were first read, until a writer replaces them.
        """
        found = self._last.get(name)
        if found is None or found.is_moved:
            found = beside_writer(partial(self._loaded, name), name, self.path)
        self._last = {name: found}
        yield found

    def _loaded(self, name: str) -> ReplicaDirectory:
        found = self._open(name, None)
        if found is None:
            raise not_stored(name, self.path)
        found.load()
        return found

    def recover(
        self, name: str, recreate: Recreate | None = None, until: int | None = None
    ) -> RunReader | None:
        """Begin to read a run; for `recreate` and `until` see `RunReader`."""
        with self.reading(name) as directory:
            return RunReader(directory, name, recreate, until)

    def peek(self, name: str) -> dict[str, Any]:
        """Return the meta record of the newest checkpoint; empty if there is no valid one."""
        try:
            with self.reading(name) as directory:
                found = sorted(filter(None, map(FileName.parse, directory.list())))
                newest = [file for file in found if file.kind == "checkpoint"][-1:]
                return read_meta(directory, newest[0]) if newest else {}
        except (Damage, Forged, NewerVersion, OSError):
            return {}
