"""Verifies replicas, removes from them what nobody reads, and removes replicas of whole runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

from trax.errors import CorruptionError, FormatVersionError, UntrustedError
from trax.fsck.outputs import OutputFile
from trax.fsck.prune import Pruned
from trax.fsck.verify import Verification, examine
from trax.replica.chain import Chain, Moved, beside_writer
from trax.replica.entry import Data, piece_writer
from trax.replica.local_files import output_path
from trax.replica.reader import ReplicaDirectory
from trax.replica.stored_replicas import Replicas
from trax.storage.context import Key
from trax.storage.filesystem import Input
from trax.storage.messages import in_short, not_stored
from trax.storage.process import process
from trax.tracking.output_digest import BLOCK, Extent, RunningDigest
from trax.tracking.truncate import extents

__all__ = ["prune_replicas", "remove_replica", "verify_replica"]

_STORE = "/.trax"  # stands for that of any machine, from which paths of output files begin


def verify_replica(store: Replicas, name: str) -> Verification:
    """Read every object of a run's replica, and every file in them; return all damage.

    Raises
    ------
    NotFoundError
        There is no replica of the run.
    UntrustedError
        Somebody else has written it.
    """
    return beside_writer(partial(_verify, store, name), name, store.path)


def _verify(store: Replicas, name: str) -> Verification:
    try:
        with store.reading(name) as directory:
            return _examined(directory, name)
    except CorruptionError as error:  # the newest object
        return _damaged(name, store.path, error)


class _ReplicaVerification(Verification):
    """The findings in a replica, which is not repaired."""

    __slots__ = ()

    def _remedy(self) -> str:
        return "Put the objects back, if the store keeps versions."


def _examined(directory: ReplicaDirectory, name: str) -> Verification:
    try:
        found = examine(directory, name, _STORE, partial(_find_outputs, directory))
    except CorruptionError as error:
        found = _damaged(name, directory.path, error)
    # Whoever restores the run reads all objects, not only those that have bytes of a file.
    bad = [line for line in directory.problems() if line not in found.problems]
    if bad:
        problems = (*bad, *found.problems)
        found = replace(found, good=False, step=None, done=False, problems=problems)
    return _ReplicaVerification(*(getattr(found, one.name) for one in fields(found)))


def _damaged(name: str, path: str, error: CorruptionError) -> Verification:
    problem = in_short(error)
    return _ReplicaVerification(name, path, False, None, False, (), (), (), (problem,))


def _find_outputs(
    directory: ReplicaDirectory,
    store: str,
    context: Mapping[Key, bytes],
    earlier: Iterable[Mapping[Key, bytes]],  # noqa: ARG001  # nothing is cut here
) -> tuple[OutputFile, ...]:
    """Return the output files that a context names, as the replica has them."""
    names = {output_path(store, name): name for name in directory.outputs()}
    return tuple(
        _compared(directory, names.get(path), path, extent)
        for path, extent in extents(store, context).items()
    )


def _compared(
    directory: ReplicaDirectory, name: str | None, path: str, extent: Extent
) -> OutputFile:
    file = directory.open(f"output {name}") if name is not None else None
    found = OutputFile(name or path, extent.length, file.size if file else None)
    if file is None or not found.is_long_enough:
        return replace(found, is_usable=False)
    is_same = _has(file, extent)
    return replace(
        found, changed=None if is_same else (extent.begin, extent.length), is_usable=is_same
    )


def _has(file: Input, extent: Extent) -> bool:
    """Return whether a file has the content of an extent."""
    digest = RunningDigest(extent.begin, extent.begin, 0)
    for offset in range(extent.begin, extent.length, BLOCK):
        digest.update(memoryview(file.read_at(offset, min(BLOCK, extent.length - offset))))
    return digest.is_at(extent.length, extent.digest)


# -- removing ------------------------------------------------------------------------------


def prune_replicas(
    store: Replicas, *, budget: float | None = None, dry_run: bool = False
) -> Pruned:
    """Remove objects that no run needs: what killed and delayed writers have left.

    Nothing is claimed, and no writer is disturbed: claims stay, and so do pieces of the last writer
    of each run, which may be about to list them.
    """
    listed = store.listed()
    sizes = {key: size for some in listed.values() for key, size in some.items()}
    found = dict(store.each(partial(_litter, store), listed))
    removed = [key for litter in found.values() for key in litter or []]
    for litter in found.values():
        if litter and not dry_run:
            store.objects.delete(litter[:-1])
            store.objects.delete(litter[-1:])  # which hides those before it
    freed = sum(sizes[key] for key in removed)
    left = sum(sizes.values()) - freed
    fits = budget is None or left <= budget
    skipped = tuple(name for name, litter in found.items() if litter is None)
    return Pruned(store.path, tuple(removed), freed, left, fits, skipped, dry_run)


def _litter(store: Replicas, name: str, sizes: Mapping[str, int]) -> list[str] | None:
    """Return the keys of a run's objects that nobody reads; None if that cannot be told."""
    try:
        return _unread(store, name, sizes)
    except (CorruptionError, UntrustedError, FormatVersionError, Moved):
        return None


def _unread(store: Replicas, name: str, sizes: Mapping[str, int]) -> list[str]:
    """Return the keys of a run's objects that nobody reads, the oldest data first."""
    chain = Chain(store.objects, name, store.key)
    chain.look(sizes)
    last, data, _ = chain.look_back()
    end, kept = chain.before[-1] + 1 if chain.before else 0, set()
    if data is not None:
        image, _ = chain.read(data.since)
        end, kept = data.since, {one.key for one in getattr(image, "pieces", [])}
    left = [key for key in chain.pieces if key not in kept and piece_writer(key) not in ("", last)]
    found = chain.data(0, end)
    return [*left, *(found if data is not None else found[:-1])]  # the last says: it was removed


def remove_replica(store: Replicas, name: str) -> None:
    """Remove the replica of a run; who writes it is fenced, and its claims stay.

    A crash leaves all of it, or nothing that is read.

    Raises
    ------
    NotFoundError
        There is no replica of the run.
    """
    chain = Chain(store.objects, name, store.key)
    chain.look()
    if not _has_data(chain):
        raise not_stored(name, store.path)
    chain.claim()
    if _has_data(chain):
        number = chain.number + 1
        chain.put(chain.encode(_nothing(chain, number), []))
        # The object without files stays: a put of before that arrives late is older than it.
        store.objects.delete([*chain.data(0, number), *chain.pieces])


def _has_data(chain: Chain) -> bool:
    """Return whether there is data to be removed; what is damaged can be removed as well."""
    try:
        return chain.look_back()[1] is not None
    except CorruptionError:
        return True


def _nothing(chain: Chain, number: int) -> Data:
    """Return data without files, which says that there is nothing from before."""
    about: dict[str, Any] = {"name": chain.name, "writer": chain.writer, "time": process.time()}
    about |= {"since": number, "swept": 0, "history": number}
    return Data(number=number, epoch=chain.epoch, run=chain.writer, **about)
