"""Decides what may be removed of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trax.storage.filenames import FileName

__all__ = ["removable"]


def removable(stored: Iterable[FileName], whole: Sequence[int], keep: int) -> list[FileName]:
    """Return the files that no checkpoint needs that is kept, in the order to remove them.

    A checkpoint needs its own log and all later files. A log without a checkpoint belongs to the
    one before it, and goes with it.

    Parameters
    ----------
    stored : iterable of FileName
        The files that the run has; not looked at while all are needed.
    whole : sequence of int
        The generations of checkpoints that are known to be whole, oldest first. Others are not
        relied on.
    keep : int
        How many of these are kept, the newest ones; at least 1.

    Returns
    -------
    list of FileName
        Oldest first, so that what is left after each of them is a run.
    """
    if len(whole) < keep:
        return []
    oldest = whole[-keep]
    unneeded = [name for name in stored if name.generation < oldest]
    return sorted(unneeded, key=lambda name: (name.generation, name.kind))
