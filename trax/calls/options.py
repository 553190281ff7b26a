"""What `resumable` was told, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from signal import Signals
from typing import Any, Literal, get_args

from trax.errors import UsageError
from trax.policies import Since
from trax.storage.store import Sync

__all__ = ["Options", "check_keep", "check_renames", "check_sync", "check_version"]


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
    rng: tuple[Any, ...] | None
    renames: dict[str, str]
    version: int
    migrate: Callable[[Any, int], Any] | None
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


def check_renames(renames: Any) -> dict[str, str]:
    """Return a copy of `renames` if it leads from full names to full names."""
    if renames is None:
        return {}
    if not isinstance(renames, Mapping):
        raise UsageError(f"renames must be a mapping of old names to new ones, not {renames!r}")
    for name in (*renames, *renames.values()):
        if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
            raise UsageError(
                f"renames has {name!r}, which is no name with its module in front, as in "
                "renames={'old.module.Class': 'new.module.Class'}"
            )
    return dict(renames)


def check_version(version: Any, migrate: Any) -> int:
    """Return `version` if it is a whole number of at least 1, and of at least 2 with `migrate`."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UsageError(f"version must be a whole number of at least 1, not {version!r}")
    if migrate is not None and version == 1:
        raise UsageError(
            "migrate would never be called: version is 1, and what is stored has version 1 where "
            "none was given. Give version=2."
        )
    return version
