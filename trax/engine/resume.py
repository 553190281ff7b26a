"""The beginning of a call: from a stored result, from a stored run, or with a new state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.calls.arguments import FORMER_VERSION, changed_error, differences, renewed
from trax.calls.digest import version_of
from trax.calls.fingerprint import changed_names, under_name
from trax.calls.log_mode import Frames, describe
from trax.calls.script import path_of
from trax.display import count, show
from trax.engine.first_state import recreate
from trax.engine.outer_objects import OuterObjects
from trax.engine.replay import Replayed, load, replay, stored_version, tell_changed_code
from trax.engine.similar import tell_similar
from trax.engine.stored_loop import StoredLoop, recall
from trax.errors import UsageError
from trax.storage.codec import decode
from trax.storage.context import Key, Kind, has_outputs
from trax.storage.process import process
from trax.tracking.rng_discovery import InnerRngs
from trax.tracking.rng_state import track
from trax.tracking.rng_tracking import RngTracking
from trax.tracking.shared_rngs import at_hand
from trax.tracking.truncate import cut_back, extents

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.storage.held_run import HeldRun
    from trax.storage.run_reader import RunReader
    from trax.storage.store import Store

__all__ = [
    "Opened",
    "check_stored",
    "is_finished",
    "is_superseded",
    "load_finished",
    "new_tracking",
    "open_held",
]

_FIXED = (int, float, complex, str, bytes)
_SHOWN = 3  # functions in a notice, and finished runs of one function that a process tells of


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Opened:
    """The state, or the result, that a call begins with.

    Attributes
    ----------
    state : object
        The state.
    stored : Replayed or None
        The stored run that the state comes from; None if the state was created just now.
    log_bytes : int
        The size of the logs that were replayed, in bytes.
    load_seconds : float
        The duration of loading the checkpoint, in seconds.
    done : bool
        Whether the run is done.
    result : object
        The result of the run, if it is done.
    varied : tuple of str
        The arguments that have other values than in the call that stored the run.
    outputs : dict
        The lengths of the output files of an earlier attempt, whose first step was not stored.
    tell : callable
        Says from where the run goes on, or that it is done; called when that is certain.
    """

    state: Any
    stored: Replayed[Any] | None = None
    log_bytes: int = 0
    load_seconds: float = 0.0
    done: bool = False
    result: Any = None
    varied: tuple[str, ...] = ()
    outputs: dict[Key, bytes] = field(default_factory=dict)
    tell: Callable[[], None] = _nothing

    @property
    def resumed_at(self) -> int | None:
        """The step at which a stored run is resumed; None if the state was created just now."""
        return self.stored.step if self.stored is not None else None

    @property
    def run_id(self) -> str:
        """The identity of a stored run."""
        assert self.stored is not None
        return self.stored.recovery.run


def load_finished(call: Call, store: Store) -> Opened | None:
    """Return the end of a run that is done, or None; the run is not locked for that."""
    if not is_finished(call, store.peek(call.name)):
        return None
    replayed = load(
        store,
        call.name,
        None,
        call.log_mode,
        names=call.names,
        migration=call.migration,
    )
    if replayed is None or not replayed.recovery.is_done:
        return None
    return _finished(call, store, replayed)


def is_finished(call: Call, meta: dict[str, Any]) -> bool:
    """Return whether a run is done, by the meta record of its newest checkpoint alone."""
    return bool(meta.get("done")) and _is_same_call(call, meta)


def is_superseded(call: Call, store: Store) -> bool:
    """Return whether a stored run has no step, so that a call with other arguments replaces it.

    It is left behind by a mistake in the arguments that is found before the first step.
    """
    meta = store.peek(call.name)
    if not meta or meta.get("step") != 0 or meta.get("done") or store.has_increments(call.name):
        return False
    return not _other_function(call, meta) and bool(_changed_arguments(call, meta))


def check_stored(call: Call, store: Store) -> None:
    """Refuse a stored run that is not of this call, by its newest checkpoint alone."""
    meta = store.peek(call.name)
    if meta and not is_superseded(call, store):
        _check_function(call, meta)
        _check_version(call, meta)
        _check_arguments(call, meta)


def open_held(
    call: Call,
    store: Store,
    hold: HeldRun,
    *,
    fresh: bool = False,
    keeps_first_state: bool = False,
) -> Opened:
    """Recover the state of a run that is locked, or create it.

    `fresh` and `keeps_first_state` are those of `Lifecycle`.

    Raises
    ------
    ArgumentsChangedError
        The run was begun with other arguments.
    CorruptionError
        The stored run cannot be recovered.
    UsageError
        The stored run is of another function, version or log mode.
    """
    if hold.aside:
        why = "" if fresh else " with other arguments, since it had no step"
        _say(call)(f"{call.name} starts over{why}; the stored run is kept in {hold.aside}")
    begun = process.monotonic()
    recovery = store.recover(call.name, partial(recreate, call, new_tracking(call)))
    if recovery is not None and recovery.found:
        if not keeps_first_state and _is_unbegun(recovery):
            return _begin_again(call, store, hold, recovery)
        return _resume(call, store, hold, recovery, process.monotonic() - begun)
    if recovery is not None:
        hold.writer.adopt(recovery)
    if not fresh and not hold.aside:
        tell_similar(call, store)
    return Opened(_create(call))


def new_tracking(call: Call, opened: Opened | None = None) -> RngTracking:
    """Return the tracking of the RNGs of a run, new or stored; nothing is tracked yet."""
    stored = opened.stored if opened else None
    context = opened.outputs if opened and not stored else None
    if stored and call.is_plain and not stored.recovery.is_done:
        context = stored.state.context  # of the newest frame
    return RngTracking(
        call.name,
        call.outer_rngs,
        stored.inner if stored else InnerRngs({}),
        stored.recovery if stored else None,
        tracks_inner=call.log_mode.has_function,
        names=call.names,
        context=context,
    )


def _create(call: Call) -> Any:
    """Create the state; warn if the loop must change it in place but cannot."""
    if call.is_plain:
        return None
    from trax.engine.surroundings import Surroundings  # importing trax is faster without it

    outside = Surroundings(call, new_tracking(call))
    outside.begin()
    state = call.create()
    outside.check_create(state)
    if not call.log_mode.is_logged and isinstance(state, _FIXED):
        notices.warn(
            f"with replay_log=None the loop {call.name} must change its state in place, and "
            f"{show(state)} cannot be changed: nothing that the loop does is stored. Let create "
            "return an object, such as a list, a dict or a model; or leave replay_log out, and "
            "yield the new state"
        )
    return state


def _is_unbegun(recovery: RunReader) -> bool:
    """Return whether nothing is stored but the first state that a call has made.

    One that somebody has stored with `Trax.checkpoint` is kept.
    """
    meta = recovery.meta
    is_of_call = "function" in meta and recovery.is_at_first and not meta.get("done")
    return is_of_call and not (recovery.step or recovery.has_increments)


def _begin_again(call: Call, store: Store, hold: HeldRun, recovery: RunReader) -> Opened:
    """Begin a stored run anew: it has no step, so its first state may be a mistake.

    Output files that it has opened stay its own, at the lengths that they had before.
    """
    _check_function(call, recovery.meta)
    _check_arguments(call, recovery.meta)
    recovery.read()
    _cut_back(store, call.name, hold, recovery)
    hold.writer.adopt(recovery)
    hold.writer.begin_again()
    outputs = {key: part for key, part in recovery.context.items() if key.kind is Kind.OUTPUT}
    line = f"{call.name}: no step was stored yet; it begins again ({store.path})"
    return Opened(_create(call), outputs=outputs, tell=partial(_say(call), line))


def _resume(call: Call, store: Store, hold: HeldRun, recovery: RunReader, seconds: float) -> Opened:
    """Resume a stored run; to read its checkpoint took so many seconds."""
    meta = recovery.meta
    _check_function(call, meta)
    _check_version(call, meta)
    _check_arguments(call, meta)
    log_bytes = recovery.log_bytes
    _check_mode(call, meta, log_bytes)
    replayed = _replay(call, recovery)
    varied = tuple(_varied(call, meta))
    finished = recovery.is_done and _is_same_call(call, meta)
    if call.is_plain and recovery.is_done and not finished:
        raise _ended_error(call, varied)
    if not finished:
        _cut_back(store, call.name, hold, recovery)
    hold.writer.adopt(recovery)
    if finished:
        return _finished(call, store, replayed)
    if has_outputs(recovery.context.keys() - recovery.forced_context.keys()):
        # A power cut would take a file from the context, but not what the loop writes to it now.
        hold.writer.begin_log()
    loading = seconds + replayed.load_seconds
    tell = partial(_tell, call, store, replayed, is_known=recovery.run in process.runs)
    return Opened(replayed.state, replayed, log_bytes, loading, varied=varied, tell=tell)


def _cut_back(store: Store, name: str, hold: HeldRun, recovery: RunReader) -> None:
    """Give the output files the lengths that they had at the step that was recovered."""
    found = extents(store.path, recovery.context)
    hold.bring_outputs({path: extent.length for path, extent in found.items()})
    directory = store.run_path(name)
    cut_back(store.path, directory, recovery.context, recovery.forced_context)


def _say(call: Call) -> Callable[[str], None]:
    """Return what reports how a run begins; a sweep says of all of them how far they are."""
    return notices.detail if call.is_case else notices.info


def _tell(call: Call, store: Store, replayed: Replayed[Any], *, is_known: bool) -> None:
    """Tell from where the run goes on; `is_known` is whether this process has had it open."""
    meta = replayed.meta
    _tell_resumed(call, store, replayed)
    _tell_migrated(call, replayed)
    _tell_renewed(call, meta, is_known=is_known)
    _tell_changed_function(call, meta, "the present code runs", _say(call))
    _tell_changed_helpers(call, meta, "the present code runs", _say(call))


def _ended_error(call: Call, varied: tuple[str, ...]) -> UsageError:
    """Return the error for a plain loop that has ended and is called with other arguments."""
    return UsageError(
        f"{call.name} has ended, and cannot go on with another value of {', '.join(varied)}.\n"
        "A loop whose end may be moved later needs a declared state, as in create=...\n"
        f"Or start over with {call.function.__name__}.fresh(...)."
    )


def _tell_resumed(call: Call, store: Store, replayed: Replayed[Any]) -> None:
    if replayed.recovery.is_recreated:
        notices.warn(
            f"{call.name}: the first checkpoint is lost; create has made the same state again, and "
            f"the log continues it ({store.path})"
        )
    if isinstance(replayed.state, StoredLoop):
        begin, end = replayed.state.step, replayed.step
        steps = f"steps {begin + 1:,} to {end:,} are" if end - begin > 1 else f"step {end:,} is"
        how = f"; {steps} run again with the present code" if begin < end else ""
        _say(call)(f"{call.name} resumed at step {end:,}{how} ({store.path})")
        return
    how = f", {count(replayed.replayed, 'increment')} replayed" if replayed.replayed else ""
    _say(call)(
        f"{call.name} resumed at step {replayed.step:,} (checkpoint of step "
        f"{replayed.step - replayed.replayed:,}{how}, {replayed.seconds:.2f} s, {store.path})"
    )


def _replay(call: Call, recovery: RunReader) -> Replayed[Any]:
    """Replay the log; warn of copied classes, and of random numbers drawn outside of the state."""
    outer = call.outer_rngs if call.log_mode.has_function else None
    rngs = outer.followed() if outer is not None else ()
    before = [(name, tracked := track(rng), tracked.parts()) for name, rng in rngs]
    with at_hand(call.outer_rngs or ()), OuterObjects(call).at_hand():
        replayed = replay(
            recovery,
            call.name,
            call.create,
            call.log_mode,
            names=call.names,
            migration=call.migration,
        )
    missed = [*call.names.definitions.missed]
    if missed:
        notices.warn(
            f"{call.name}: {', '.join(missed)} is not found in the present code, or not only once; "
            "a copy is used, built from the stored code, which `is` and isinstance tell from the "
            "script's own. Define it in a module, outside of functions"
        )
    drawn = [name for name, tracked, parts in before if tracked.parts() != parts]
    if drawn and replayed.replayed:
        notices.warn(
            f"{call.name}: replay_log drew random numbers from {', '.join(drawn)}, and they differ "
            "from those of the loop, so the state may differ as well. Draw them in the loop and "
            "yield them; or draw from an RNG in the state"
        )
    return replayed


def _finished(call: Call, store: Store, replayed: Replayed[Any]) -> Opened:
    is_known = replayed.recovery.run in process.runs
    tell = partial(_tell_finished, call, store, replayed, is_known=is_known)
    return Opened(replayed.state, replayed, done=True, result=_result(call, replayed), tell=tell)


def _tell_finished(call: Call, store: Store, replayed: Replayed[Any], *, is_known: bool) -> None:
    _tell_done(call, store, replayed)
    _tell_migrated(call, replayed)
    stays = f"the result is the old one; {call.function.__name__}.fresh(...) starts over"
    warn = partial(_warn_once, replayed.recovery.run, call)
    _tell_changed_function(call, replayed.meta, stays, warn)
    if not is_known:  # to call a finished run again costs little
        _tell_changed_helpers(call, replayed.meta, stays, notices.warn)
        if others := _other_values(call, replayed.meta):
            notices.warn(f"{call.name}: {'; '.join(others)} since the run was stored; {stays}")


def _tell_done(call: Call, store: Store, replayed: Replayed[Any]) -> None:
    """Tell once of a run that it is done, and of some runs of a function alone."""
    name, run = call.function.__qualname__, replayed.recovery.run
    kind = f"{name} is done"
    told = {one for one, said in tuple(process.said) if said == kind}  # threads add to it
    if run in told or len(told) > _SHOWN:
        return
    process.said.add((run, kind))
    if len(told) == _SHOWN:
        notices.info(f"{name}: more of its runs are done, and are not told one by one")
        return
    notices.info(
        f"{call.name} is done, at step {replayed.step:,}; result() has its result, and no step "
        f"runs again ({store.path})"
    )


def _warn_once(run: str, call: Call, line: str) -> None:
    """Warn once of a run and of the present code, which a notebook changes again and again."""
    kind = f"{line} {call.code}"
    if (run, kind) not in process.said:
        process.said.add((run, kind))
        notices.warn(line)


def _tell_changed_function(
    call: Call, meta: dict[str, Any], consequence: str, tell: Callable[[str], None]
) -> None:
    """Tell how the function differs from the one that wrote the run: its name, code and values."""
    mine, theirs = call.function.__name__, meta.get("function", "").rpartition(".")[2]
    if theirs in ("", mine):
        tell_changed_code(call.name, meta, call.code, consequence, tell)
    elif changed_names(under_name(meta.get("code", {}), theirs, mine), call.code):
        notices.warn(
            f"{call.name} was written by {theirs}, and this is {mine}, whose code is not the same; "
            f"{consequence}. If it is another function, give it a name= of its own"
        )
    stored = {k: one for k, one in meta.get("varying", {}).items() if k in call.surrounding}
    present = {name: call.surrounding[name] for name in stored}
    for line in (one for lines in differences(stored, present).values() for one in lines):
        tell(
            f"{call.name}: {line} since the run was stored; {consequence}. If the results depend "
            "on it, pass it as an argument"
        )


def _tell_changed_helpers(
    call: Call, meta: dict[str, Any], consequence: str, tell: Callable[[str], None]
) -> None:
    """Tell which other functions of the user have changed, once for all runs of the loop."""
    changed = changed_names(meta.get("helpers", {}), call.helper_code)
    if not changed:
        return
    more = len(changed) - _SHOWN
    shown = ", ".join(changed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    line = f"the code of {shown} has changed since the run was stored; {consequence}"
    if (call.function.__qualname__, line) not in process.said:
        process.said.add((call.function.__qualname__, line))
        tell(f"{call.name}: {line}")


def _result(call: Call, replayed: Replayed[Any]) -> Any:
    checkpoint = replayed.recovery.checkpoint
    if call.is_plain and checkpoint:
        return recall(checkpoint.parts["state"], call)
    stored = checkpoint.parts.get("result") if checkpoint else None
    label = f"the result of {call.name!r}"
    return decode(stored, label, call.names) if stored else replayed.state


def _is_same_call(call: Call, meta: dict[str, Any]) -> bool:
    _check_function(call, meta)
    _check_version(call, meta)
    _check_arguments(call, meta)
    _check_mode(call, meta, 0)
    return not _varied(call, meta)


def _check_function(call: Call, meta: dict[str, Any]) -> None:
    """Refuse a run of another function, or of another script, that has the same name."""
    difference = _other_function(call, meta)
    if difference:
        raise UsageError(
            f"the run {call.name!r} was written by {difference}.\n"
            f"Give this function a name of its own, as in name={_other_name(call)!r}.\n"
            "Or give it a directory of its own, as in traxdir='.trax-2'.\n"
            f"Or, if it is the same function and was moved or renamed, give name={call.name!r}.\n"
            f"Or start over with {call.function.__name__}.fresh(...)."
        )


def _other_function(call: Call, meta: dict[str, Any]) -> str:
    """Return the difference between the function that wrote a run and the call's, if any."""
    mine, script = call.function.__qualname__, call.script
    theirs, stored = meta.get("function", mine), meta.get("script", "")
    if call.options.is_named or (mine == theirs and (script == stored or not script or not stored)):
        return ""
    if mine == theirs:
        path = path_of(call.function)
        files = f"{stored}.py and {path.name if path else f'{script}.py'}"
        return f"{stored}.{theirs}, and this is {script}.{mine} ({files})"
    return f"{theirs}, and this is {mine}"


def _other_name(call: Call) -> str:
    name = call.function.__qualname__.replace(".<locals>", "")
    if name == call.name:
        return f"{call.script}-{name}" if call.script else f"{name}-2"
    return name


def _check_version(call: Call, meta: dict[str, Any]) -> None:
    """Refuse a version that cannot be migrated, before the arguments are compared."""
    call.migration.since(stored_version(meta))


def _check_arguments(call: Call, meta: dict[str, Any]) -> None:
    changed = _changed_arguments(call, meta)
    if changed:
        raise changed_error(
            call.name,
            call.options.name,
            call.function.__name__,
            changed,
            present=call.arguments,
            version=call.options.version,
            can_go_on=not (call.is_plain and meta.get("done")),
        )


def _changed_arguments(call: Call, meta: dict[str, Any]) -> dict[str, list[str]]:
    stored = meta.get("arguments")
    if stored is None:  # it was written by `Trax`, which has no arguments
        return {}
    free = {*call.options.varying}
    if stored_version(meta) < call.options.version:
        free |= stored.keys() - call.arguments.keys()  # the older version had them
    varied = {name: one for name, one in meta.get("varying", {}).items() if name in call.described}
    kept = {name: one for name, one in (stored | varied).items() if name not in free}
    return _changed(call, kept, call.described)


def _varied(call: Call, meta: dict[str, Any]) -> dict[str, list[str]]:
    """Return the differences between the arguments that may vary, whatever could before."""
    stored = (meta.get("arguments") or {}) | meta.get("varying", {})
    known = {name: one for name, one in stored.items() if name in call.options.varying}
    return _changed(call, known, call.varying)


def _changed(call: Call, stored: dict[str, Any], given: dict[str, Any]) -> dict[str, list[str]]:
    """Return the differences between arguments, apart from renamed classes."""
    version = next(map(version_of, (one["digest"] for one in stored.values())), "")
    if version == FORMER_VERSION:
        again = call.describe_again(version=version, is_renamed=False)
        given = given | {name: one for name, one in again.items() if name in given}
    found = differences(stored, given)
    if found and call.options.renames:
        others = differences(stored, call.describe_again(version=version, is_renamed=True))
        found = {name: lines for name, lines in found.items() if name in others}
    return found


def _check_mode(call: Call, meta: dict[str, Any], log_bytes: int) -> None:
    """Refuse to replay increments in another mode than they were logged in."""
    word = meta.get("replay_log", "unknown")
    is_other = word not in ("unknown", call.log_mode.word)
    if is_other and (log_bytes or Frames.word in (word, call.log_mode.word)):
        raise UsageError(
            f"the log of {call.name!r} was written with replay_log {describe(word)}, and now it "
            f"is {call.log_mode.text}.\n"
            "Put replay_log back as it was, so that the log can be replayed.\n"
            f"Or start over with {call.function.__name__}.fresh(...)."
        )


def _other_values(call: Call, meta: dict[str, Any]) -> list[str]:
    """Return lines on numbers and texts in arguments, others than those that the run began with."""
    found = renewed(meta.get("arguments") or {}, call.described)
    return [line for lines in found.values() for line in lines]


def _tell_renewed(call: Call, meta: dict[str, Any], *, is_known: bool) -> None:
    """Say which arguments may have other content than those that the run began with.

    If this process has had the run open, they may be the same ones, and the loop has changed them.
    """
    found = renewed(meta.get("arguments") or {}, call.described)
    others = _other_values(call, meta)
    if others and not is_known:
        notices.warn(
            f"{call.name}: {'; '.join(others)} since the run was stored. Of an argument that the "
            "loop changes the stored values come back, of others the new ones count: give the "
            f"same, or start over with {call.function.__name__}.fresh(...)"
        )
    elif found:
        notices.info(
            f"{call.name}: of {', '.join(found)} trax compares only type and shape with the stored "
            "call, so give the same; the loop's own changes of it come back"
        )


def _tell_migrated(call: Call, replayed: Replayed[Any]) -> None:
    if replayed.migrated_from is not None:
        notices.info(
            f"{call.name} was migrated from version {replayed.migrated_from} to version "
            f"{call.options.version}"
        )
