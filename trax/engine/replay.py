"""From what is stored to a state: the checkpoint is loaded, the log is replayed on top."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trax import notices
from trax.calls.fingerprint import fingerprint
from trax.calls.migration import Migration
from trax.errors import CodecError, CorruptionError, NotFoundError, StorageError
from trax.storage.codec import decode, decode_finding
from trax.storage.context import FOLDED, decode_context
from trax.storage.run_reader import Recovery
from trax.storage.store import Store
from trax.tracking.rng_discovery import InnerRngs
from trax.tracking.rng_state import canonical, is_rng

__all__ = [
    "REPLACE",
    "STORED",
    "Replayed",
    "load",
    "replay",
    "replay_mode",
    "stored_version",
    "tell_changed_code",
]

S = TypeVar("S")


# These two are values, compared by identity.
def REPLACE(state: Any, increment: Any) -> Any:  # noqa: ARG001, N802
    """Return the increment: the default ``replay_log``, where it is the new state."""
    return increment


def STORED(state: Any, increment: Any) -> Any:  # noqa: ARG001, N802
    """Stands for the ``replay_log`` that the run itself was written with."""
    raise AssertionError("this is a mark and never called")


@dataclass(frozen=True, slots=True)
class Replayed(Generic[S]):
    """A state, and how it came about.

    Attributes
    ----------
    state : object
        The state.
    step : int
        Increments since the run began.
    replayed : int
        How many of them were replayed.
    seconds : float
        How long loading and replaying took.
    age : float
        How long ago the checkpoint was stored, in seconds.
    meta : dict
        The checkpoint's meta record; empty where there is no checkpoint.
    recovery : Recovery
        What was read.
    inner : InnerRngs
        The RNGs in the state, at their positions.
    migrated_from : int or None
        The version that the stored state was of, if that is not the present one.
    """

    state: S
    step: int
    replayed: int
    seconds: float
    age: float
    meta: dict[str, Any]
    recovery: Recovery
    inner: InnerRngs
    migrated_from: int | None = None


def replay_mode(replay_log: Callable[..., Any] | None) -> str:
    """Return what a checkpoint says of its run's ``replay_log``."""
    if replay_log is None:
        return "none"
    return "replace" if replay_log is REPLACE else "function"


def replay(
    recovery: Recovery,
    name: str,
    create: Callable[[], Any] | None,
    replay_log: Callable[[Any, Any], Any] | None,
    *,
    renames: Mapping[str, str] | None = None,
    migration: Migration | None = None,
) -> Replayed[Any]:
    """Read a recovery to its end and fold it into a state.

    Parameters
    ----------
    recovery : Recovery
        A recovery that found something.
    name : str
        The run, for messages.
    create : callable or None
        Makes the state that the first increments are replayed on, where they were logged before
        any checkpoint.
    replay_log : callable or None
        ``replay_log(state, increment) -> state``; or `STORED`.
    renames : mapping of str to str, optional
        Where classes and functions are now, by where they were.
    migration : Migration, optional
        What brings a state forward that is of an older version. The state of the checkpoint is,
        before anything is replayed on it; or the last increment, where that is the state.
    """
    begun = time.monotonic()
    checkpoint = recovery.checkpoint
    meta = recovery.meta
    version = stored_version(meta)
    forward = migration.since(version) if migration else None
    mode = meta.get("replay_log", "unknown")
    if replay_log is STORED or (replay_log is REPLACE and mode == "function"):
        replay_log = _stored(recovery, name, mode, renames)
    inner = InnerRngs({})
    if checkpoint:
        places = meta.get("generators", {})
        what = f"the state of the run {name!r}"
        encoded = checkpoint.parts["state"]
        state, found = decode_finding(encoded, what, list(places.values()), renames)
        if not all(map(is_rng, map(canonical, found))):
            raise recovery.damaged_base("the random generators in the state are not where it says")
        inner = InnerRngs(dict(zip(map(int, places), found, strict=True)))
        inner.restore(recovery.context)
    elif create is not None:
        state = create()
    elif replay_log is REPLACE:
        state = None
    else:
        raise NotFoundError(
            f"the run {name!r} has increments but no checkpoint that they follow. Recover it with "
            "Trax(...).recover(name, create=..., replay_log=...), as it was begun."
        )
    if replay_log is REPLACE:
        state = _last(recovery, name, state, renames)
        if forward and (checkpoint or recovery.replayed):
            state = forward(state)
    else:
        if forward and checkpoint:
            state = forward(state)
        state = _fold(recovery, name, state, replay_log, renames, inner)
    written = checkpoint.fields["written"] if checkpoint else time.time()
    return Replayed(
        state=state,
        step=recovery.step,
        replayed=recovery.replayed,
        seconds=time.monotonic() - begun,
        age=max(0.0, time.time() - written),
        meta=meta,
        recovery=recovery,
        inner=inner,
        migrated_from=version if forward else None,
    )


def stored_version(meta: dict[str, Any]) -> int:
    """Return which version of its script a checkpoint says that it is of."""
    version: int = meta.get("version", 1)
    return version


def tell_changed_code(
    name: str, meta: dict[str, Any], code: dict[str, str], consequence: str
) -> None:
    """Say which code is not that of the call that stored a checkpoint."""
    stored = meta.get("code", {})
    for what, digest in code.items():
        if stored.get(what, digest) != digest:
            notices.info(
                f"{name}: the code of {what.partition(' under ')[0]} is not what it was when the "
                f"checkpoint was stored; {consequence}"
            )


def _last(recovery: Recovery, name: str, state: Any, renames: Mapping[str, str] | None) -> Any:
    newest = deque(recovery.increments(), maxlen=1)
    return decode(newest[0], f"an increment of the run {name!r}", renames) if newest else state


def _fold(
    recovery: Recovery,
    name: str,
    state: Any,
    replay_log: Callable[[Any, Any], Any] | None,
    renames: Mapping[str, str] | None,
    inner: InnerRngs,
) -> Any:
    for encoded in recovery.increments():
        if replay_log is None:
            raise CodecError(
                f"the run {name!r} has increments in its log, and no replay_log to replay them "
                "with: give replay_log="
            )
        increment = decode(encoded, f"an increment of the run {name!r}", renames)
        draws = bool(inner.tracked) and FOLDED in decode_context(encoded.context)
        if draws:
            inner.restore(recovery.context)
        try:
            state = replay_log(state, increment)
        except Exception as error:
            error.add_note(
                f"trax: raised by replay_log at step {recovery.position.step} of {name!r}"
            )
            raise
        if draws:  # a log that follows a checkpoint need not say where that left them
            recovery.context |= inner.now()
    inner.restore(recovery.context)
    return state


def _stored(
    recovery: Recovery, name: str, mode: str, renames: Mapping[str, str] | None
) -> Callable[[Any, Any], Any] | None:
    """Return the function that the run was written with, or None where it has none."""
    if mode == "replace":
        return REPLACE
    checkpoint = recovery.checkpoint
    if checkpoint is None or "replay_log" not in checkpoint.parts:
        return None
    encoded = checkpoint.parts["replay_log"]
    loaded: list[Callable[[Any, Any], Any]] = []

    def replay_log(state: Any, increment: Any) -> Any:
        if not loaded:  # only where there is something to replay must it be loadable
            loaded.append(decode(encoded, f"the replay_log of the run {name!r}", renames))
            if not callable(loaded[0]):
                raise recovery.damaged_base("what it has as replay_log cannot be called")
            tell_changed_code(
                name,
                checkpoint.meta,
                fingerprint({"replay_log": loaded[0]}),
                "the present code replays the log",
            )
        return loaded[0](state, increment)

    return replay_log


def load(
    store: Store,
    name: str,
    create: Callable[[], Any] | None,
    replay_log: Callable[[Any, Any], Any] | None,
    *,
    renames: Mapping[str, str] | None = None,
    migration: Migration | None = None,
) -> Replayed[Any] | None:
    """Read a run without holding it; None where nothing is stored. See `replay`.

    The run may be written meanwhile. Where a file that was about to be read has just been pruned,
    or the run was begun afresh, or a checkpoint has come that what was read does not lead to,
    the reading begins anew.
    """
    while True:
        seen = store.look(name)
        try:
            recovery = store.recover(name)
            if recovery is None or not recovery.found:
                return None
            return replay(recovery, name, create, replay_log, renames=renames, migration=migration)
        except (FileNotFoundError, CorruptionError, StorageError):
            if store.look(name) == seen:
                raise
