"""Decides which files of a run may be removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from trax.keep import ALL, Keep, Stored
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory, closing_quietly
from trax.storage.log import open_log
from trax.storage.process import process
from trax.storage.records import HEADER_SIZE, Damage, Forged, NewerVersion
from trax.storage.schema import check_log

__all__ = ["Described", "Describer", "count_kept", "removable"]

_NEWEST = 2  # checkpoints that every policy keeps: the older one can replace the newer one


class Described(NamedTuple):
    """A file as its beginning describes it.

    Attributes
    ----------
    size : int
        Its size, in bytes.
    step : int
        The step of a checkpoint.
    written : float
        The time at which a checkpoint was written, in seconds since 1970.
    derives_from : int
        The generation from which a log leads on; 0 if its own checkpoint alone leads to it.
    """

    size: int
    step: int = 0
    written: float = 0.0
    derives_from: int = 0


Describe = Callable[[FileName, bool], Described | None]


def count_kept(keep: int | Keep) -> int:
    """Return the number of checkpoints, the newest ones, that are kept in any case."""
    return keep if isinstance(keep, int) else _NEWEST


def removable(
    stored: Iterable[FileName], whole: Sequence[int], keep: int | Keep, describe: Describe
) -> list[FileName]:
    """Return the files that no kept checkpoint needs, in the order to remove them.

    A checkpoint needs its own log and all later files. A log without a checkpoint belongs to the
    checkpoint before it, and is removed with it. Of the files after the oldest kept checkpoint, a
    policy removes checkpoints alone. Their logs stay, so that the checkpoint before leads to every
    step; but for those that have no increment and lead to no other log.

    Parameters
    ----------
    stored : iterable of FileName
        The files of the run; not iterated while all are needed.
    whole : sequence of int
        The generations of the checkpoints that are known to be whole, oldest first. No others are
        relied on.
    keep : int or Keep
        The number of these checkpoints to keep, the newest ones; at least 1. Or a policy.
    describe : callable
        ``describe(name, is_final) -> Described``, or None if the file cannot be read; `is_final`
        tells whether it does not grow any more. Only a policy needs it.

    Returns
    -------
    list of FileName
        Oldest first, so that after each removal the remaining files are a run.
    """
    count = count_kept(keep)
    if keep is ALL or len(whole) < count:
        return []
    newest = whole[-count]
    files = sorted(stored, key=lambda name: (name.generation, name.kind))
    if isinstance(keep, int):
        return [name for name in files if name.generation < newest]
    found = {name: one for name in files if (one := describe(name, name.generation < newest))}
    kept = keep.choose(list(_choices(found)))
    oldest = min([newest, *(one for one in kept if one < newest)])
    early = [name for name in files if name.generation < oldest]
    between = [name for name in found if oldest < name.generation < newest]
    thinned = {name.generation for name in between if name.kind == "checkpoint"} - kept
    needed = {one.derives_from for one in found.values()}
    needed |= {name.generation for name in between if _has_increments(name, found[name])}
    spare = [name for name in between if name.kind == "checkpoint" or name.generation not in needed]
    return early + [name for name in spare if name.generation in thinned]


def _has_increments(name: FileName, found: Described) -> bool:
    return name.kind == "log" and found.size > HEADER_SIZE


def _choices(found: Mapping[FileName, Described]) -> Iterator[Stored]:
    """Yield the checkpoints that can be read, oldest first, for a policy."""
    now = process.time()
    log_bytes = sum(one.size for name, one in found.items() if name.kind == "log")
    for name, one in found.items():  # a checkpoint comes before its log
        if name.kind == "checkpoint":
            yield Stored(name.generation, one.step, now - one.written, one.size, log_bytes)
        else:
            log_bytes -= one.size


class Describer:
    """Describes the files of a directory, and remembers those that do not grow any more."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[FileName, Described] = {}

    def __call__(self, name: FileName, is_final: bool) -> Described | None:
        """Return the description of a file; None if it cannot be read."""
        found = self._known.get(name)
        if found is None:
            try:
                found = self._read(name)
            except (Damage, Forged, NewerVersion, OSError):
                return None
            if is_final:
                self._known[name] = found
        return found

    def _read(self, name: FileName) -> Described:
        if name.kind == "log":
            with open_log(self._directory, str(name)) as reader:
                check_log(reader.fields)
                after = reader.fields["after"][0] if reader.fields["derived"] else 0
                return Described(reader.size, derives_from=after)
        source = self._directory.open(str(name))
        with closing_quietly(source):
            size = source.size
        meta = read_meta(self._directory, name)
        return Described(size, meta["step"], meta["written"])
