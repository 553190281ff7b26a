"""Turns a stored run into a state: loads the checkpoint, and replays the log on it."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from trax import notices
from trax.calls.content import DONE
from trax.calls.fingerprint import changed_names, fingerprint
from trax.calls.log_mode import Fold, Frames, LogMode, NoLog, Replace
from trax.engine.stored_loop import StoredLoop, load_locals
from trax.errors import CodecError, CorruptionError, NotFoundError, StorageError
from trax.frames.packed import unpack
from trax.storage.codec import Encoded, Names, decode, decode_finding
from trax.storage.context import FOLDED, FRAME, decode_context
from trax.storage.process import process
from trax.storage.records import PICKLE
from trax.storage.run_reader import Torn
from trax.storage.stored_steps import no_state, stored_steps
from trax.tracking.rng_discovery import InnerRngs
from trax.tracking.rngs import canonical, is_rng

if TYPE_CHECKING:
    from trax.calls.migration import Migration
    from trax.storage.run_reader import RunReader
    from trax.storage.store import Store

__all__ = ["Replayed", "decode_increment", "load", "replay", "stored_version", "tell_changed_code"]

S = TypeVar("S")

_told: set[tuple[str, Torn | None]] = set()


@dataclass(frozen=True, slots=True)
class Replayed(Generic[S]):
    """A recovered state, with its origin.

    Attributes
    ----------
    state : object
        The state.
    step : int
        Increments since the run began.
    replayed : int
        The number of increments that were replayed.
    seconds : float
        The duration of loading and replaying, in seconds.
    load_seconds : float
        The duration of loading alone.
    age : float
        The time since the checkpoint was stored, in seconds.
    meta : dict
        The checkpoint's meta record; empty if there is no checkpoint.
    recovery : RunReader
        The reader of the stored run.
    inner : InnerRngs
        The RNGs in the state, at their positions.
    migrated_from : int or None
        The version of the stored state, if that is not the present one.
    """

    state: S
    step: int
    replayed: int
    seconds: float
    load_seconds: float
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
    names: Names | None = None,
    migration: Migration | None = None,
) -> Replayed[Any]:
    """Read a stored run to its end and fold it into a state.

    `create` makes the state to replay on if increments were logged before any checkpoint. `names`
    tells which classes and functions of the script are meant. `migration` migrates a state of an
    older version: the state of the checkpoint, before anything is replayed on it; or the last
    increment, if increments are states.

    Raises
    ------
    NotFoundError
        There are increments but no checkpoint, and neither `create` nor the mode gives a state.
    CodecError
        A stored object cannot be loaded.
    CorruptionError
        The stored run is damaged.
    """
    begun = process.monotonic()
    checkpoint = recovery.checkpoint
    meta = recovery.meta
    version = stored_version(meta)
    forward = migration.since(version) if migration else None
    mode = _resolve(mode, recovery, name, names)
    if mode.stores_frames:
        return _find_frame(recovery, begun, forward)
    inner = InnerRngs({})
    if checkpoint:
        places = meta.get("generators", {})
        label = f"the state of the run {name!r}"
        encoded = checkpoint.parts["state"]
        with _way_back(recovery):
            state, found = decode_finding(encoded, label, list(places.values()), names)
        if not all(map(is_rng, map(canonical, found))):
            raise recovery.damaged_base("the RNGs in the state are not at their stored places")
        inner = InnerRngs(dict(zip(map(int, places), found, strict=True)))
        inner.restore(recovery.context)
    elif create is not None:
        state = create()
    elif mode.replaces_state:
        state = None
    else:
        raise NotFoundError(
            f"the run {name!r} has increments but no checkpoint before them.\n"
            "Recover it with Trax(...).recover(name, create=..., replay_log=...), with the "
            "arguments it was begun with."
        )
    loaded = process.monotonic()
    if forward and checkpoint and not mode.replaces_state:
        state = forward(state)
    state = mode.replay(
        state,
        chain.from_iterable(_with_context(recovery, inner)),
        partial(decode_increment, recovery, name, names),
        lambda: f"step {recovery.step} of {name!r}",
        pickle.loads if names is None or names.are_plain else None,
    )
    if forward and mode.replaces_state and (checkpoint or recovery.replayed):
        state = forward(state)
    written = checkpoint.fields["written"] if checkpoint else process.time()
    return Replayed(
        state=state,
        step=recovery.step,
        replayed=recovery.replayed,
        seconds=process.monotonic() - begun,
        load_seconds=loaded - begun,
        age=max(0.0, process.time() - written),
        meta=meta,
        recovery=recovery,
        inner=inner,
        migrated_from=version if forward else None,
    )


def _find_frame(
    recovery: RunReader, begun: float, forward: Callable[[Any], Any] | None
) -> Replayed[StoredLoop]:
    """Read a run of a plain loop to its end; nothing of it is loaded yet."""
    checkpoint = recovery.checkpoint
    loop = StoredLoop(
        encoded=checkpoint.parts["state"] if checkpoint else None,
        step=recovery.step,
        context=dict(recovery.context),
        migrate=forward,
    )
    loaded = process.monotonic()
    packed = None
    for increment in recovery.increments():
        loop.last = increment
        loop.behind.append(increment)
        if FRAME in recovery.context:
            packed = recovery.context.pop(FRAME)
            loop.step, loop.context = recovery.step, dict(recovery.context)
            loop.behind.clear()
    if packed is not None:
        loop.encoded = unpack(packed)
    written = checkpoint.fields["written"] if checkpoint else process.time()
    return Replayed(
        state=loop,
        step=recovery.step,
        replayed=recovery.replayed,
        seconds=process.monotonic() - begun,
        load_seconds=loaded - begun,
        age=max(0.0, process.time() - written),
        meta=recovery.meta,
        recovery=recovery,
        inner=InnerRngs({}),
        migrated_from=stored_version(recovery.meta) if forward else None,
    )


def decode_increment(
    recovery: RunReader, name: str, names: Names | None, encoded: bytes | Encoded
) -> Any:
    """Load the increment that was read last."""
    try:
        return decode(encoded, "increment", names)
    except CodecError:  # only then the step must be known
        label = f"the increment of step {recovery.step} of the run {name!r}"
        with _way_back(recovery):
            return decode(encoded, label, names)


@contextlib.contextmanager
def _way_back(recovery: RunReader) -> Iterator[None]:
    """Add a way on to an error of loading: to go back to the step before."""
    try:
        yield
    except CodecError as error:
        cause = error.__cause__
        if isinstance(cause, (AttributeError, ImportError)) or not recovery.step:
            raise  # a name is missing, and can be given
        ways = "Correct its class, so that it loads.\n" + recovery.way_back(recovery.step - 1)
        raise CodecError(f"{error}\n{ways}") from cause


def stored_version(meta: dict[str, Any]) -> int:
    """Return the version of the script in a checkpoint's meta record."""
    version: int = meta.get("version", 1)
    return version


def tell_changed_code(
    name: str,
    meta: dict[str, Any],
    code: dict[str, str],
    consequence: str,
    tell: Callable[[str], None] = notices.info,
) -> None:
    """Give a notice of the functions whose code has changed since the run was stored.

    `code` has the digests of the present code, and `consequence` is the end of the notice.
    """
    if changed := changed_names(meta.get("code", {}), code):
        listed = " and ".join(filter(None, [", ".join(changed[:-1]), changed[-1]]))
        tell(f"{name}: the code of {listed} has changed since the run was stored; {consequence}")


def _with_context(recovery: RunReader, inner: InnerRngs) -> Iterator[Iterable[bytes | Encoded]]:
    """Yield the increments in batches; at each, set the RNGs in the state as they were in the loop.

    The digests of the keys that are done are gathered; of all else the newest value counts.
    """
    stored = recovery.context.pop(DONE, None)
    done = None if stored is None else bytearray(stored)
    for batch in recovery.batches():
        if not isinstance(batch, tuple):  # there is no context
            yield batch
            continue
        if DONE in recovery.context:
            done = done or bytearray()
            done += recovery.context.pop(DONE)
        draws = bool(inner.tracked) and FOLDED in decode_context(batch[0].context)
        if draws:
            inner.restore(recovery.context)
        kind, payload, buffers, _ = batch[0]
        is_plain = kind == PICKLE and not buffers and type(payload) is bytes
        yield (payload,) if is_plain else batch
        if draws:  # a log after a checkpoint may lack the positions after this fold
            recovery.context |= inner.now()
    if done is not None:
        recovery.context[DONE] = bytes(done)
    inner.restore(recovery.context)


def _resolve(mode: LogMode, recovery: RunReader, name: str, names: Names | None) -> LogMode:
    """Return the mode to replay a log in: the stored mode of the run, if none was given."""
    # Without replay_log=, Trax.recover replays with the stored function if the run has one.
    word = recovery.meta.get("replay_log", "unknown")
    if word == Frames.word or mode.stores_frames:
        return Frames()
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
        if not loaded:  # it must be loadable only if there are increments to replay
            try:
                loaded.append(decode(encoded, f"the replay_log of the run {name!r}", names))
            except CodecError as error:
                way_on = "Or give replay_log=, the function that the run was written with."
                raise CodecError(f"{error}\n{way_on}") from error.__cause__
            if not callable(loaded[0]):
                raise recovery.damaged_base("its stored replay_log cannot be called")
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
    names: Names | None = None,
    migration: Migration | None = None,
    step: int | None = None,
) -> Replayed[Any] | None:
    """Read a run without locking it, as `replay` does; return None if nothing is stored.

    With `step` it is the state of that step; of a plain loop, that of the newest frame until then.

    Another process may write to the run meanwhile: it may prune a file before it is read, start the
    run over, or store a checkpoint that the files read so far do not lead to. Then the reading
    starts over.

    Raises
    ------
    NotFoundError
        Nothing that is stored leads to `step`.
    """
    while True:
        seen = store.look(name)
        try:
            recovery = store.recover(name, until=step)
            if recovery is None or not (recovery.found or (step is not None and recovery.highest)):
                return None
            if step is not None and not recovery.found:
                _refuse_step(store, name, step)
            replayed = replay(recovery, name, create, mode, names=names, migration=migration)
            if step is not None and recovery.step != step:
                _refuse_step(store, name, step)
            _tell_end(store, name, replayed)
            if isinstance(replayed.state, StoredLoop):
                replayed = dataclasses.replace(replayed, state=load_locals(replayed.state, names))
        except (FileNotFoundError, CorruptionError, StorageError, NotFoundError):
            if store.look(name) == seen:
                raise
        else:
            return replayed


def _refuse_step(store: Store, name: str, step: int) -> NoReturn:
    reader = store.recover(name)
    ranges = []
    if reader is not None:
        with store.reading(name) as directory:
            ranges = stored_steps(directory, reader)
    raise no_state(name, store.path, step, ranges)


def _tell_end(store: Store, name: str, replayed: Replayed[Any]) -> None:
    """Say once that the log has an end that was not read, unless a writer is just writing it."""
    torn = replayed.recovery.torn
    key = (store.run_path(name), torn)
    if torn is None or key in _told or (torn.is_cut_short and store.is_held(name)):
        return
    again = store.recover(name)
    if again is None:
        return
    again.read()
    if again.torn != torn:  # it was being written meanwhile
        return
    _told.add(key)
    are = "are not a whole increment" if torn.is_cut_short else "are damaged and are not read"
    notices.warn(
        f"{key[0]}/{torn.name}: the last {torn.size:,} bytes, from offset {torn.offset}, {are} "
        f"({torn.flaw}); the state is that of step {replayed.step:,}"
    )
