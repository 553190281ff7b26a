"""Hooks: functions that are called when a run resumes, stores a checkpoint, or stops."""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from trax import notices
from trax._public import public
from trax.errors import UsageError, one_line

__all__ = ["Display", "Event", "Hook", "Hooks", "Kind", "check_display", "check_hook"]

Kind = Literal["resume", "checkpoint", "stop"]


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a hook is told: `on_resume`, `on_checkpoint` and `on_stop` of `resumable` take one.

    Attributes
    ----------
    kind : {"resume", "checkpoint", "stop"}
        What has happened.
    run : str
        The run's name.
    step : int
        The step of the run at which it happened; a checkpoint contains it.
    loop_step : int
        The step after which the loop's body goes on. It is less than `step` at a "resume" of a loop
        without `create` if steps are run again, and equal to it otherwise.
    resumed_at : int or None
        The step at which this call resumed a stored run; None if it began one.
    seconds : float
        The time that loading the run, or storing the checkpoint, has taken; at a "stop", the time
        since the call has opened the run.
    bytes : int
        The size of the data that was loaded, or of the checkpoint; at a "stop", of the newest one.
    reason : str
        Why a run stopped: "done", "closed", the name of a signal, "the time limit", or the type and
        message of an exception. Otherwise empty.
    """

    kind: Kind
    run: str
    step: int
    loop_step: int
    resumed_at: int | None
    seconds: float
    bytes: int
    reason: str = ""


@public
class Hook(Protocol):
    """A callable that takes an `Event`; what it returns is ignored."""

    def __call__(self, event: Event, /) -> object: ...


@public
class Display(Protocol):
    """A display of the progress of one run; ``progress=`` takes what makes one.

    That is a callable ``progress(name, step)``, such as a class, with the run's name and the step
    at which this call begins. It is called when the run is opened. If a display has a method
    `on_checkpoint`, that is a hook: see `resumable`.
    """

    def update(self, step: int, total: int | None) -> None:
        """Show a step, and the total if it is known; called about once a millisecond at most.

        It is first called before the first step of this call, then after steps.
        """

    def close(self, step: int) -> None:
        """Show the last step, and end."""


def check_display(display: Any) -> None:
    """Refuse what cannot show progress."""
    for name in ("update", "close"):
        if not callable(getattr(display, name, None)):
            raise UsageError(
                f"progress must make displays, and this {type(display).__name__} has no {name}().\n"
                "Give a class with update(step, total) and close(step), or progress=True."
            )


def check_hook(hook: Any) -> Any:
    """Refuse a hook whose call would do nothing; that it can be called was checked."""
    is_generator = inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook)
    if inspect.iscoroutinefunction(hook) or is_generator:
        raise UsageError(
            f"a hook is an ordinary function, and a call of {hook.__qualname__} does nothing.\n"
            "Write def instead of async def, and no yield: it is called, and not awaited."
        )
    return hook


class Hooks:
    """The hooks of one call: an event is noted in any thread, and told in the thread of the loop.

    Attributes
    ----------
    resumed_at : int or None
        The step at which the call resumed a stored run.
    thread : int or None
        The thread in which they are called; None if work is done in no other one.
    """

    def __init__(self, run: str, hooks: dict[Kind, Hook | None]) -> None:
        self.resumed_at: int | None = None
        self.thread: int | None = None
        self._run = run
        self._hooks = {kind: [] if hook is None else [hook] for kind, hook in hooks.items()}
        self._noted: list[Event] = []

    def add(self, kind: Kind, hook: Hook) -> None:
        """Call another hook, after those that are there."""
        self._hooks[kind].append(hook)

    def note(
        self,
        kind: Kind,
        step: int,
        seconds: float,
        size: int,
        *,
        loop_step: int | None = None,
        reason: str = "",
    ) -> None:
        """Have an event told, if there is a hook for it."""
        if self._hooks[kind]:
            event = Event(
                kind=kind,
                run=self._run,
                step=step,
                loop_step=step if loop_step is None else loop_step,
                resumed_at=self.resumed_at,
                seconds=seconds,
                bytes=size,
                reason=reason,
            )
            self._noted.append(event)

    def tell(self, error: BaseException | None = None) -> None:
        """Call the hooks for each event that was noted, if this is the loop's thread.

        What a hook raises is raised here; but if an `error` is being raised, it is only told.
        """
        if self.thread not in (None, threading.get_ident()):
            return
        while self._noted:
            event = self._noted.pop(0)
            try:
                for hook in self._hooks[event.kind]:
                    hook(event)
            except Exception as failure:
                if error is None:
                    failure.add_note(
                        f"trax: raised by on_{event.kind} of the run {event.run!r}, "
                        f"at step {event.step:,}"
                    )
                    raise
                said = one_line(f"{type(failure).__name__}: {failure}")
                notices.warn(f"{event.run}: on_{event.kind} ended with {said}")
