"""Brings runs from a replica without a claim: a machine that writes them is not disturbed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from trax.errors import NotFoundError, UsageError
from trax.replica.chain import Chain, beside_writer
from trax.replica.entry import Data
from trax.replica.local_files import contains, is_part, newest_log
from trax.replica.marker import read_marker, write_marker
from trax.replica.restore import bring
from trax.replica.seam import Objects
from trax.storage.filenames import FileName
from trax.storage.journal import Journal
from trax.storage.run_reader import RunReader
from trax.storage.store import Store

__all__ = ["Transfer", "compare", "look", "pull"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What became of a run that was to be brought or copied.

    Attributes
    ----------
    name : str
        The run's name.
    status : {"up to date", "pulled", "pushed"}
        The outcome.
    step : int
        The step of the run, on both sides.
    size : int
        The size of its files in the replica, in bytes.
    aside : bool
        Whether the local files that it replaces are kept in aside.
    """

    name: str
    status: str
    step: int
    size: int
    aside: bool = False


def compare(store: Store, name: str, url: str, last: str, data: Data) -> str:
    """Return how the local files of a run compare with its replica; see `Chain.look_back`.

    Returns
    -------
    str
        ``"none"`` if there are none, ``"all"`` if they have all that the replica has, ``"part"`` if
        it has all of them, and ``"other"`` if they have something else.
    """
    if not any(map(FileName.parse, store.files(name))):
        return "none"
    with store.reading(name) as directory:
        marker = read_marker(directory)
        is_trusted = marker.trusts(last, data) and not marker.rewound
        if contains(directory, data, pruned=is_trusted):
            return "all"
        log = newest_log(directory)
        known = marker.url, marker.history, marker.copied
        was_copied = log is not None and known == (url, data.lineage, log.generation)
        return "part" if was_copied or is_part(directory, data) else "other"


def look(objects: Objects, store: Store, name: str) -> str:
    """Return how a run here compares with its replica, as `compare`; empty if that has no run."""
    last, data, _ = Chain(objects, name, store.key).peek()
    return "" if data is None else compare(store, name, objects.url, last, data)


def pull(objects: Objects, store: Store, name: str, *, replaces: bool = False) -> Transfer:
    """Bring a run from a replica, unless it is here already.

    Local files of which the replica is a continuation are replaced. If they have something else,
    they are kept in aside, if `replaces`.

    Raises
    ------
    UsageError
        They have something else, and are not to be replaced. Nothing was changed.
    LockedError
        A process holds the run here.
    NotFoundError
        The replica has no such run.
    CorruptionError, UntrustedError
        The replica is damaged, or somebody else has written it.
    """
    chain = Chain(objects, name, store.key)
    with store.locked(name):
        return beside_writer(partial(_pull, chain, store, replaces=replaces), name, objects.url)


def _pull(chain: Chain, store: Store, *, replaces: bool) -> Transfer:
    name, url = chain.name, chain.objects.url
    last, data, _ = chain.peek()
    if data is None:
        raise NotFoundError(f"no run {name!r} is in {url}\ntrax pull {url} brings all that are.")
    found = compare(store, name, url, last, data)
    size = sum(data.whole.values())
    if found == "other" and not replaces:
        raise other_error(store, name, url)
    if found == "all":
        _adopt(store, name, url, last, data)
        return Transfer(name, "up to date", step_of(store, name), size)
    keeps = found == "other"
    bring(chain, last, data, store, keeps=keeps)
    with store.reading(name) as directory:
        Journal(directory).copy(data.status)
    return Transfer(name, "pulled", step_of(store, name), size, keeps)


def _adopt(store: Store, name: str, url: str, last: str, data: Data) -> None:
    """Let the local files go on from the replica, whoever wrote it: they have all of it."""
    with store.reading(name) as directory:
        marker = read_marker(directory)
        if not marker.trusts(last, data):
            write_marker(directory, replace(marker.seeing(last, data), url=url, behind=True))


def other_error(store: Store, name: str, url: str) -> UsageError:
    """Return the error for local files that have something else than the replica."""
    return UsageError(
        f"the run {name!r} in {store.path} has steps that {url} lacks, or is another run.\n"
        "Nothing was changed.\n"
        f"To replace it, give --yes: its files are then kept in {store.path}/aside."
    )


def step_of(store: Store, name: str) -> int:
    """Return the step of a stored run, all of which is read for that.

    Raises
    ------
    CorruptionError
        It is damaged.
    """
    with store.reading(name) as directory:
        reader = RunReader(directory, name)
        reader.read()
        return reader.step
