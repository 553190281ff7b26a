"""Finds the replica that a run is copied to, if there is one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trax.errors import UsageError
from trax.storage.filesystem import exists

if TYPE_CHECKING:
    from trax.replica.run_replica import RunReplica
    from trax.storage.store import Store

__all__ = ["copying_of", "lacks_steps"]


def copying_of(
    store: Store, name: str, replica: str | os.PathLike[str] | None, *, seconds: float, sync: str
) -> RunReplica | None:
    """Return the replica of a run, whose store of objects was checked; None if there is none.

    The arguments are the options; `replica` is ``$TRAX_REPLICA`` if it is None.

    Raises
    ------
    UsageError
        There is none, and `sync` waits for it.
    StorageError
        The store of objects cannot be used.
    """
    url = _url(replica)
    if not url:
        if sync == "replica":
            raise UsageError(
                "sync='replica' needs a replica.\n"
                "Give replica='s3://bucket/prefix' or a directory.\n"
                "Or set TRAX_REPLICA in the environment."
            )
        return None
    from trax.replica.run_replica import replicated  # seldom needed

    return replicated(url, store, name, seconds=seconds, waits=sync == "replica")


def lacks_steps(store: Store, name: str, replica: str | os.PathLike[str] | None) -> bool:
    """Return whether a run has a replica that may lack steps which are stored here."""
    url = _url(replica)
    if not url or not exists(store.run_path(name)):
        return False
    from trax.replica.marker import is_behind  # likewise
    from trax.replica.objects import full_url

    with store.reading(name) as directory:
        return is_behind(directory, full_url(url))


def _url(replica: str | os.PathLike[str] | None) -> str:
    return os.environ.get("TRAX_REPLICA", "") if replica is None else os.fspath(replica)
