"""Tells if the function of a map is the one whose results are stored, and what has changed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from trax import notices
from trax.calls.arguments import differences
from trax.calls.digest import digest_value
from trax.engine.replay import tell_changed_code
from trax.errors import ArgumentsChangedError

if TYPE_CHECKING:
    from trax.mapping.identity import Identity
    from trax.mapping.map_call import MapCall

__all__ = ["check_function", "described", "find_changes", "note_left"]

Descriptions = dict[str, dict[str, str]]
Changes = dict[str, list[str]]

_FUNCTION = "function"  # the name of the function itself beside what it is bound to
_CONSEQUENCE = "the present code computes what is left"


class _Left(NamedTuple):
    """What a function was bound to when its map was left, and the object that has that."""

    owner: Callable[[], Any]
    bound: Descriptions


# Of the runs that this process has left: calls of a function may change what it is bound to.
_left: dict[str, _Left] = {}


def note_left(call: MapCall, run: str) -> None:
    """Note what the function is bound to now that its run, by its path, is left."""
    if call.bound:
        owner, bound = call.identity.owner, call.identity.bound
        try:
            _left[run] = _Left(weakref.ref(owner), bound)
        except TypeError:  # it has no place for weak references
            _left[run] = _Left(lambda: None, bound)


def described(call: MapCall) -> dict[str, Any]:
    """Return the fields of the meta record from which a later call tells if it is the same."""
    identity = call.identity
    return {
        "arguments": {
            _FUNCTION: {
                "type": _FUNCTION,
                "text": identity.name,
                "digest": digest_value(identity.name),
            },
            **call.bound,
        },
        "varying": identity.constants,
        "code": identity.code,
        "script": identity.script,
    }


def check_function(call: MapCall, run: str, meta: dict[str, Any]) -> None:
    """Refuse to go on with the results of another function; give notices of other changes.

    `run` is the path of the run, and `meta` its meta record.

    Raises
    ------
    ArgumentsChangedError
        The function is bound to other values; or it has another name, and the run has its name.
    """
    identity = call.identity
    changed, moved = find_changes(call, run, meta)
    for lines in moved.values():
        notices.warn(f"{call.name}: {lines[0]} since its results were stored; {_CONSEQUENCE}")
    changed = changed | differences(meta["varying"], identity.constants)
    for line in (one for lines in changed.values() for one in lines):
        notices.info(f"{call.name}: {line} since its results were stored; {_CONSEQUENCE}")
    tell_changed_code(call.name, meta, identity.code, _CONSEQUENCE)


def find_changes(call: MapCall, run: str, meta: dict[str, Any]) -> tuple[Changes, Changes]:
    """Return the changes of values that the function is bound to, and those of its name.

    Raises
    ------
    ArgumentsChangedError
        They are refused.
    """
    identity, left = call.identity, _left.get(run)
    stored = {name: one for name, one in meta["arguments"].items() if name != _FUNCTION}
    changed = differences(stored, call.bound)
    if left is not None and left.bound == call.bound:
        changed = {}  # its own calls have changed them
    refused = changed
    if left is not None and left.owner() is identity.owner:
        refused = {}  # its user has changed them since
    moved = _moved(identity, meta)
    if not call.is_named:  # its user tells the runs apart
        refused = refused | moved
    refused = {k: lines for k, lines in refused.items() if k.split(".")[0] not in call.varying}
    if refused:
        raise _other_function(call.name, refused)
    return changed, moved


def _moved(identity: Identity, meta: dict[str, Any]) -> dict[str, list[str]]:
    """Return a line with the change of the function's name or place, if there is one."""
    theirs, mine = meta["arguments"][_FUNCTION]["text"], identity.name
    scripts = meta["script"], identity.script
    if theirs == mine:
        if scripts[0] == scripts[1] or not all(scripts):
            return {}
        theirs, mine = f"{scripts[0]}.{theirs}", f"{scripts[1]}.{mine}"
    return {_FUNCTION: [f"{_FUNCTION}: {theirs} -> {mine}"]}


def _other_function(name: str, changed: dict[str, list[str]]) -> ArgumentsChangedError:
    other = (
        "another function" if _FUNCTION in changed else "a function that is bound to other values"
    )
    varying = tuple(dict.fromkeys(each.split(".")[0] for each in changed))
    allowed = "If it was only moved or renamed" if _FUNCTION in changed else "To allow the change"
    lines = [
        f"the run {name!r} has the results of {other}:",
        *(f"  {line}" for found in changed.values() for line in found),
        "To go on with it, map the stored function.",
        "To keep the results of both, give this one another name, as in name='pages'.",
        f"{allowed}, give varying={varying!r}.",
        "To start over, give fresh=True.",
    ]
    return ArgumentsChangedError("\n".join(lines))
