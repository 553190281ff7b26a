"""The difference of two runs: the first step at which increments differ, and the arguments."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from trax.calls.options import check_option
from trax.comparing import difference
from trax.storage.codec import Encoded, Names, decode
from trax.storage.definitions import Definitions
from trax.storage.history_reader import HistoryReader, Past, read_history
from trax.storage.messages import not_stored
from trax.storage.store import Store

__all__ = ["RunDifference", "compare_runs"]


@dataclass(frozen=True, slots=True)
class RunDifference:
    """The difference of two runs.

    Attributes
    ----------
    first, last : int
        The steps from the first to the last one of which both increments are stored; the last is
        below the first if there are none. After a difference nothing is compared.
    step : int or None
        The first step at which they differ; None if they do not.
    text : str
        The difference of the increments there; empty unless objects were compared.
    arguments : dict of str to tuple of str or None
        The arguments that differ, with both values in short; None for one that is not there.
    """

    first: int
    last: int
    step: int | None
    text: str
    arguments: dict[str, tuple[str | None, str | None]]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as a dictionary of plain values."""
        return dataclasses.asdict(self)


def compare_runs(
    name: str,
    other: str,
    *,
    traxdir: str | os.PathLike[str] | None = None,
    other_traxdir: str | os.PathLike[str] | None = None,
    objects: bool = False,
) -> RunDifference:
    """Compare the increments of two runs, step by step, and their arguments.

    Increments are compared as they are stored, and nothing is unpickled. Equal objects can be
    stored in different bytes, such as sets. With `objects`, those whose bytes differ are loaded and
    compared to the last bit; that runs code of their classes.

    Parameters
    ----------
    name, other : str
        The names of the runs.
    traxdir, other_traxdir : str or os.PathLike, optional
        Their stores. The other one is by default in the same.
    objects : bool
        Whether to load increments whose bytes differ.

    Returns
    -------
    RunDifference
        The first step at which they differ, and the arguments that do.

    Raises
    ------
    NotFoundError
        Nothing is stored under one of the names, or a step was removed while it was read.
    CorruptionError
        A file is damaged.
    """
    store = Store(traxdir)
    runs = [(store, name), (store if other_traxdir is None else Store(other_traxdir), other)]
    first = max(_first(*run) for run in runs)
    last, step = first - 1, None
    text: str | None = ""
    for one, two in zip(*(read_history(*run, first, None) for run in runs), strict=False):
        text = _compare(one, two, objects=objects)
        if text is not None:
            step = one.step
            break
        last = one.step
    return RunDifference(first, last if step is None else step, step, text or "", _arguments(runs))


def _first(store: Store, name: str) -> int:
    """Return the first step of a run of which the increment is stored."""
    if not store.files(name):
        raise not_stored(name, store.path)
    with store.reading(name) as directory:
        return HistoryReader(directory, name).first


def _compare(one: Past, two: Past, *, objects: bool) -> str | None:
    """Return the difference of two increments, an empty text if it is not known; None for none."""
    if _content(one.increment) == _content(two.increment):
        return None
    if not objects:
        return ""
    names = Names(check_option("renames", None), Definitions())
    label = f"the increment of step {one.step:,}"
    mine, its = (decode(past.increment, label, names) for past in (one, two))
    return difference(mine, its, "increment", sides=("first", "second")) or None


def _content(increment: bytes | Encoded) -> tuple[bytes, ...]:
    """Return the pickle and the buffers of an increment."""
    if isinstance(increment, bytes):
        return (increment,)
    return (bytes(increment.payload), *map(bytes, increment.buffers))


def _arguments(runs: list[tuple[Store, str]]) -> dict[str, tuple[str | None, str | None]]:
    """Return the arguments that differ, by their digests."""
    found: list[dict[str, dict[str, str]]] = []
    for store, name in runs:
        meta = store.peek(name)
        found.append({**meta.get("arguments", {}), **meta.get("varying", {})})
    one, two = found
    return {
        name: (one.get(name, {}).get("text"), two.get(name, {}).get("text"))
        for name in {**one, **two}
        if one.get(name, {}).get("digest") != two.get(name, {}).get("digest")
    }
