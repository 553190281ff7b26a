"""The ways to call a decorated function: run, run afresh, load and check.

With them comes the engine, so they are imported at the first call.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from trax.calls.call import Call
from trax.engine.async_driver import AsyncRun
from trax.engine.deferral import AtOnce, Deferred
from trax.engine.lifecycle import Lifecycle
from trax.engine.replay import load as load_run
from trax.engine.sync_driver import Run
from trax.storage.messages import not_stored
from trax.storage.store import Store
from trax.whole_numbers import check_whole

if TYPE_CHECKING:
    from trax.testing.trials import Checked

__all__ = ["Call", "check", "fresh", "given", "load", "run"]

_CHECKED = 20  # steps, and at most so many crashes of each kind


def run(call: Call, *, fresh: bool = False) -> Run[Any, Any, Any] | AsyncRun[Any, Any]:
    """Return the run of a call, which begins or resumes when it is first asked for an increment."""
    call.arguments  # noqa: B018  # arguments that do not fit are a TypeError now
    if inspect.isasyncgenfunction(call.function):
        deferred = Deferred(forces=call.forces_increments)
        return AsyncRun(Lifecycle(call, deferred, fresh=fresh), deferred, call.start)
    return Run(Lifecycle(call, AtOnce(), fresh=fresh), call.start)


def given(call: Call) -> Call:
    """Return the call itself, for a sweep that has it run elsewhere."""
    return call


def fresh(call: Call) -> Run[Any, Any, Any] | AsyncRun[Any, Any]:
    """Return the run of a call that starts over."""
    return run(call, fresh=True)


def check(call: Call) -> Checked:
    """Check that the loop of a call resumes exactly."""
    from trax.testing.checks import check_resume  # seldom needed

    return check_resume(run(call), steps=_CHECKED, limit=_CHECKED)


def load(call: Call, step: int | None = None) -> Any:
    """Return the stored state of a call, or that of an earlier step, without running its loop."""
    until = None if step is None else check_whole(step, "step", least=0)
    store, names = Store(call.options.traxdir), call.names
    replayed = load_run(
        store, call.name, None, call.log_mode, names=names, migration=call.migration, step=until
    )
    if replayed is None:
        raise not_stored(
            call.name,
            store.path,
            f"Call {call.function.__name__}(...) to begin the run.",
            "Or check the arguments and the directory.",
        )
    return replayed.state
