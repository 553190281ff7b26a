"""Decides which files of a run may be removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trax.storage.filenames import FileName

__all__ = ["removable"]


def removable(stored: Iterable[FileName], whole: Sequence[int], keep: int) -> list[FileName]:
    """Return the files that no kept checkpoint needs, in the order to remove them.

    A checkpoint needs its own log and all later files. A log without a checkpoint belongs to the
    checkpoint before it, and is removed with it.

    Parameters
    ----------
    stored : iterable of FileName
        The files of the run; not iterated while all are needed.
    whole : sequence of int
        The generations of the checkpoints that are known to be whole, oldest first. No others are
        relied on.
    keep : int
        The number of these checkpoints to keep, the newest ones; at least 1.

    Returns
    -------
    list of FileName
        Oldest first, so that after each removal the remaining files are a run.
    """
    if len(whole) < keep:
        return []
    oldest = whole[-keep]
    unneeded = [name for name in stored if name.generation < oldest]
    return sorted(unneeded, key=lambda name: (name.generation, name.kind))
