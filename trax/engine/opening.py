"""Opens the session of a run from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trax.engine.pulse import Pulse
from trax.engine.session import Session
from trax.hooks import check_display
from trax.policies import Since
from trax.storage.process import process
from trax.tracking.output_files import OutputFiles

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.deferral import Deferral
    from trax.engine.resume import Opened
    from trax.hooks import Hooks
    from trax.interrupts.stop_request import StopRequest
    from trax.storage.context import Key
    from trax.storage.held_run import HeldRun
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["open_session"]


def open_session(
    call: Call,
    opened: Opened,
    hold: HeldRun,
    store_path: str,
    tracking: RngTracking,
    stop_request: StopRequest,
    deferral: Deferral,
    hooks: Hooks,
) -> Session:
    """Create an open run from its parts; nothing is stored yet."""
    options, writer = call.options, hold.writer
    since = _measurements(opened)
    since.is_logged = call.log_mode.is_logged
    outputs = OutputFiles(
        store_path,
        tracking.recovered,
        always=options.disk_sync == "always" and not deferral.is_deferred,
        aside=hold.aside,
        note=writer.note,
        track=tracking.add,
        untrack=tracking.drop,
        expected=_expected_outputs(call, opened),
    )
    writer.before_sync = outputs.sync
    display = None
    if options.progress is not None:
        display = options.progress(call.name, since.step)
        check_display(display)
    on_checkpoint = getattr(display, "on_checkpoint", None)
    is_misleading = call.is_plain and getattr(display, "counts_on_replay", False)
    if on_checkpoint and not is_misleading:
        hooks.add("checkpoint", on_checkpoint)
    pulse = Pulse(since, options.policy, stop_request, writer, outputs, display, opened.log_bytes)
    pulse.total = hold.journal.total = call.total
    writer.on_suspect = pulse.wake
    kind: type[Session] = Session
    if call.is_plain:
        from trax.engine.plain_session import PlainSession

        kind = PlainSession
    return kind(call, opened, hold, tracking, outputs, pulse, deferral, hooks)


def _expected_outputs(call: Call, opened: Opened) -> dict[Key, bytes] | None:
    """Return the context in which output files are, if the loop runs stored steps again."""
    stored = opened.stored
    return stored.recovery.context if stored is not None and call.is_plain else None


def _measurements(opened: Opened) -> Since:
    """Return the measurements with which a call begins."""
    stored = opened.stored
    if stored is None:
        return Since(0, process.monotonic())
    since = Since(stored.step, process.monotonic())
    since.resume(stored.replayed, stored.seconds, stored.age)
    recovery = stored.recovery
    since.checkpoints = int(recovery.checkpoint is not None)
    since.checkpoint_bytes = recovery.checkpoint_bytes
    # To load a checkpoint takes about as long as to store it; the first one stored corrects this.
    since.checkpoint_seconds = opened.load_seconds
    since.logs = len(recovery.generations)
    return since
