"""Explains exceptions of a loop that arise from a misunderstanding of how trax runs it."""

from __future__ import annotations

import dis
from traceback import walk_tb
from types import TracebackType
from typing import Any

from trax.calls.in_place import note_stored
from trax.calls.migration import note_new_attribute
from trax.errors import ArgumentsChangedError, LockedError, StorageError, UsageError
from trax.tracking.references import is_of_trax

__all__ = ["is_about_call", "note_fold", "note_state", "yield_from_error"]


def yield_from_error(error: BaseException) -> UsageError | None:
    """Return the error for ``yield from`` an iterator that cannot take the state, or None."""
    iterator = getattr(error, "obj", None)
    if not isinstance(error, AttributeError) or error.name != "send" or hasattr(iterator, "send"):
        return None
    place = _last(error.__traceback__)
    code = place.tb_frame.f_code
    if dis.opname[code.co_code[place.tb_lasti]] != "SEND":  # the loop itself asked for it
        return None
    return UsageError(
        f"{code.co_name}(), line {place.tb_lineno}: yield from a {type(iterator).__name__} cannot "
        "take the state\n"
        "Hand the increments out one by one: 'for increment in ...: state = yield increment'.\n"
        "For numbers and items, go through trax.steps(total) or trax.remaining(items), which leave "
        "out those that are done."
    )


def is_about_call(error: BaseException) -> bool:
    """Return whether an error refuses the call, and comes from trax alone.

    The frames of trax that it has passed say nothing then, and would hide the user's line.
    """
    kinds = ArgumentsChangedError, LockedError, UsageError
    is_refusal = isinstance(error, kinds) or type(error) is StorageError
    frames = walk_tb(error.__traceback__)
    return is_refusal and all(is_of_trax(one.f_code.co_filename) for one, _ in frames)


def note_state(error: BaseException, state: Any, first: type, *, is_resumed: bool) -> None:
    """Add a note to a `TypeError` or `AttributeError` if the state explains it.

    `first` is the type of the state with which the call began.
    """
    if not isinstance(error, (TypeError, AttributeError)) or isinstance(error, UsageError):
        return
    if is_resumed:
        note_new_attribute(error)
    if type(state) is not first and f"'{type(state).__name__}'" in str(error):
        error.add_note(
            f"trax: the state is of type {type(state).__name__!r}, and was of type "
            f"{first.__name__!r} when the call began.\n"
            "replay_log must return the state; without it each increment must be the new state."
        )


def note_fold(error: Exception, state: Any, increment: Any, *, is_resumed: bool) -> None:
    """Add a note to an exception of ``replay_log`` that shows how it was called."""
    if is_resumed:
        note_stored(error)
    error.add_note(
        "trax: raised by replay_log(state, increment), called with the types "
        f"{type(state).__name__!r} and {type(increment).__name__!r}"
    )


def _last(traceback: TracebackType | None) -> TracebackType:
    assert traceback is not None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback
