"""What `resumable` was told, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from signal import Signals
from typing import Any, Literal, get_args

from trax.errors import UsageError
from trax.policies import Since
from trax.storage.store import Sync

__all__ = ["Options", "check_keep", "check_sync"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a decorated function is run; see `trax.resumable` for what each means."""

    name: str
    is_named: bool
    create: Callable[..., Any] | None
    replay_log: Callable[[Any, Any], Any] | None
    policy: Callable[[Since], bool]
    varying: tuple[str, ...]
    traxdir: str | os.PathLike[str] | None
    sync: Sync
    keep: int
    progress: bool
    signals: tuple[Signals, ...] | None
    time_limit: float | Literal["auto"] | None


def check_sync(sync: Any) -> Sync:
    """Return `sync` if it is one of the three words."""
    words = get_args(Sync)
    if sync not in words:
        raise UsageError(f"sync must be one of {', '.join(map(repr, words))}, not {sync!r}")
    checked: Sync = sync
    return checked


def check_keep(keep: Any) -> int:
    """Return `keep` if it is a whole number of at least 1."""
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise UsageError(f"keep must be a whole number of at least 1, not {keep!r}")
    return keep
