"""From what is stored to a state: the checkpoint is loaded, the log is replayed on top."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trax import notices
from trax.calls.digest import are_comparable
from trax.calls.fingerprint import fingerprint
from trax.calls.log_mode import Fold, LogMode, NoLog, Replace
from trax.errors import CorruptionError, NotFoundError, StorageError
from trax.storage.codec import Encoded, decode, decode_finding
from trax.storage.context import FOLDED, decode_context
from trax.storage.process import process
from trax.tracking.rng_discovery import InnerRngs
from trax.tracking.rng_state import canonical, is_rng

if TYPE_CHECKING:
    from trax.calls.migration import Migration
    from trax.storage.run_reader import RunReader
    from trax.storage.store import Store

__all__ = [
    "Replayed",
    "load",
    "replay",
    "stored_version",
    "tell_changed_code",
]

S = TypeVar("S")


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
    recovery : RunReader
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
    recovery: RunReader
    inner: InnerRngs
    migrated_from: int | None = None


def replay(
    recovery: RunReader,
    name: str,
    create: Callable[[], Any] | None,
    mode: LogMode,
    *,
    renames: Mapping[str, str] | None = None,
    migration: Migration | None = None,
) -> Replayed[Any]:
    """Read a recovery to its end and fold it into a state.

    Parameters
    ----------
    recovery : RunReader
        A recovery that found something.
    name : str
        The run, for messages.
    create : callable or None
        Makes the state that the first increments are replayed on, where they were logged before
        any checkpoint.
    mode : LogMode
        How increments become state.
    renames : mapping of str to str, optional
        Where classes and functions are now, by where they were.
    migration : Migration, optional
        What brings a state forward that is of an older version. The state of the checkpoint is,
        before anything is replayed on it; or the last increment, where that is the state.
    """
    begun = process.monotonic()
    checkpoint = recovery.checkpoint
    meta = recovery.meta
    version = stored_version(meta)
    forward = migration.since(version) if migration else None
    mode = _resolve(mode, recovery, name, renames)
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
    elif mode.replaces_state:
        state = None
    else:
        raise NotFoundError(
            f"the run {name!r} has increments but no checkpoint that they follow. Recover it with "
            "Trax(...).recover(name, create=..., replay_log=...), as it was begun."
        )
    if forward and checkpoint and not mode.replaces_state:
        state = forward(state)
    state = mode.replay(
        state,
        _with_rngs(recovery, inner),
        lambda encoded: decode(encoded, f"an increment of the run {name!r}", renames),
        lambda: f"step {recovery.position.step} of {name!r}",
    )
    if forward and mode.replaces_state and (checkpoint or recovery.replayed):
        state = forward(state)
    written = checkpoint.fields["written"] if checkpoint else process.time()
    return Replayed(
        state=state,
        step=recovery.step,
        replayed=recovery.replayed,
        seconds=process.monotonic() - begun,
        age=max(0.0, process.time() - written),
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
        before = stored.get(what, digest)
        if before != digest and are_comparable(before, digest):
            notices.info(
                f"{name}: the code of {what.partition(' under ')[0]} is not what it was when the "
                f"checkpoint was stored; {consequence}"
            )


def _with_rngs(recovery: RunReader, inner: InnerRngs) -> Iterator[Encoded]:
    """Yield the increments, with the RNGs in the state where the loop had them at each."""
    for encoded in recovery.increments():
        draws = bool(inner.tracked) and FOLDED in decode_context(encoded.context)
        if draws:
            inner.restore(recovery.context)
        yield encoded
        if draws:  # a log that follows a checkpoint need not say where that left them
            recovery.context |= inner.now()
    inner.restore(recovery.context)


def _resolve(
    mode: LogMode, recovery: RunReader, name: str, renames: Mapping[str, str] | None
) -> LogMode:
    """Return the mode that a log is replayed in; that of the run itself where none was asked for.

    Left to the default, ``Trax.recover`` means the function that a loop was written with as well.
    """
    word = recovery.meta.get("replay_log", "unknown")
    if not mode.asks_stored and not (mode.replaces_state and word == "function"):
        return mode
    if word == "replace":
        return Replace()
    checkpoint = recovery.checkpoint
    if checkpoint is None or "replay_log" not in checkpoint.parts:
        return NoLog()
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

    return Fold(replay_log)


def load(
    store: Store,
    name: str,
    create: Callable[[], Any] | None,
    mode: LogMode,
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
            return replay(recovery, name, create, mode, renames=renames, migration=migration)
        except (FileNotFoundError, CorruptionError, StorageError):
            if store.look(name) == seen:
                raise
