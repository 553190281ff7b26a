"""The history of a run: the increments that are stored, with their steps and times."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from trax._public import public
from trax.calls.options import check_option
from trax.errors import NotFoundError
from trax.storage.codec import Encoded, Names, decode
from trax.storage.definitions import Definitions
from trax.storage.history_reader import Past, read_history
from trax.storage.messages import not_stored
from trax.storage.store import Store
from trax.whole_numbers import check_whole

__all__ = ["history"]


@public
def history(
    name: str,
    start: int | None = None,
    stop: int | None = None,
    *,
    traxdir: str | os.PathLike[str] | None = None,
    renames: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, float | None, Any]]:
    """Iterate over the increments of a run, with their steps and times.

    They are read one by one, without running the run's code or taking a lock. The run may be going
    on meanwhile: the history ends with the steps that were stored when the iteration began. By
    default it begins with the oldest increment that is stored; `keep` says how far back that is.

    Parameters
    ----------
    name : str
        The run's name.
    start : int, optional
        The first step. The first one of a run is step 1.
    stop : int, optional
        The step before which to stop.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.
    renames : mapping of str to str, optional
        The new names of classes and functions that were moved; see `resumable`.

    Yields
    ------
    tuple of int, float or None, and object
        The step, the time in seconds since 1970, to about a second, and the increment; of a `map`
        the key of the item and its result. The time is None if the run has not stored it.

    Raises
    ------
    NotFoundError
        Nothing is stored under this name, or no increments are. During the iteration: those from
        `start` on are not stored, or were removed meanwhile; no step is left out silently.
    CodecError
        An increment cannot be loaded.
    CorruptionError
        A file is damaged; the increments before it were given.
    UntrustedError
        Somebody else could have written one of the files.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int)
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 10
    >>> _ = count(to=30).result()
    >>> [(step, increment) for step, _, increment in trax.history("count", start=2)]
    [(2, 20), (3, 30)]
    """
    begin = None if start is None else max(check_whole(start, "start", least=0), 1)
    end = None if stop is None else check_whole(stop, "stop", least=0)
    store = Store(traxdir)
    names = Names(check_option("renames", renames), Definitions(lambda: ()))
    if not store.files(name):
        raise not_stored(name, store.path)
    if store.peek(name).get("replay_log") == "none":
        raise NotFoundError(
            f"no increments of {name!r} are stored: with replay_log=None nothing is logged.\n"
            f"trax.load({name!r}, step=...) gives the states that are stored."
        )
    return _decoded(read_history(store, name, begin, end), name, names)


def _decoded(
    stored: Iterator[Past], name: str, names: Names
) -> Iterator[tuple[int, float | None, Any]]:
    are_plain = names.are_plain
    for step, time, encoded in stored:
        if type(encoded) is bytes and are_plain:
            try:
                increment = pickle.loads(encoded)
            except Exception:  # noqa: BLE001  # `decode` knows former names, and explains errors
                increment = _decode(encoded, step, name, names)
        else:
            increment = _decode(encoded, step, name, names)
        yield step, time, increment


def _decode(encoded: bytes | Encoded, step: int, name: str, names: Names) -> Any:
    return decode(encoded, f"the increment of step {step:,} of the run {name!r}", names)
