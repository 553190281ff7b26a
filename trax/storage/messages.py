"""The errors for findings in files.

The first line of a message gives the cause and the place; each line after it gives a way on.
"""

from __future__ import annotations

import contextlib
import os
from itertools import islice
from typing import Any

from trax.errors import CorruptionError, FormatVersionError, NotFoundError, UntrustedError
from trax.storage.filenames import REPAIR, FileName, is_default, run_of
from trax.storage.records import Forged, NewerVersion

__all__ = [
    "CALL_AGAIN",
    "damaged",
    "in_short",
    "misplaced",
    "not_stored",
    "owner_of",
    "refusal",
    "repair_call",
    "unrepaired",
]

CALL_AGAIN = "Call the function with the same arguments: it makes the first state again."

_COMPARED = 1000  # names of runs, at most

_UNTOUCHED = "Nothing was changed."
_START_OVER = "Or start over with the function's fresh(...), which keeps the files."


def damaged(
    directory: str, file: FileName, name: str, offset: int, reason: str, *ways_on: str
) -> CorruptionError:
    """Return the error for a damaged file of the run `name`."""
    path = f"{directory}/{file}"
    return CorruptionError(
        _message(
            f"{path} is damaged at offset {offset}: {reason}",
            _UNTOUCHED,
            *ways_on,
            "Put the file back from a copy of the store, if there is one.",
            f"Or call {repair_call(name, directory)}: it copies everything first, keeps the part "
            "that is provably right, and tells how many steps are lost.",
            _START_OVER,
        ),
        path,
        offset,
    )


def in_short(error: CorruptionError) -> str:
    """Return the first line of an error: the cause and the place."""
    return str(error).partition("\n")[0]


def unrepaired(directory: str, name: str) -> CorruptionError:
    """Return the error for a run whose repair was interrupted."""
    path = f"{directory}/{REPAIR}"
    return CorruptionError(
        _message(
            f"the repair of the run {name!r} was interrupted ({path})",
            f"Call {repair_call(name, directory)} again: it continues the repair.",
        ),
        path,
    )


def not_stored(name: str, store: str, *ways_on: str) -> NotFoundError:
    """Return the error for a run that is not in the store."""
    ways_on = ways_on or (*_meant(name, store), "Check the name and the directory.")
    return NotFoundError(_message(f"nothing is stored as {name!r} in {store}.", *ways_on))


def _meant(name: str, store: str) -> list[str]:
    """Return the question for a run with a similar name, if there is one."""
    from difflib import get_close_matches  # seldom needed

    present: list[str] = []
    with contextlib.suppress(OSError):
        entries = islice(os.listdir(f"{store}/runs"), _COMPARED)
        present = list(filter(None, map(run_of, entries)))
    return [f"Did you mean {close!r}?" for close in get_close_matches(name, present, 1)]


def owner_of(file: FileName, fields: dict[str, Any], name: str, run: str) -> str:
    """Return a description of a file's owner by its header block; empty if it is the run itself.

    `name` and `run` are the run's name and identity; the latter is empty if it is not known yet.
    """
    if fields["name"] != name:
        return f"the run {fields['name']!r}, not to {name!r}"
    if fields["generation"] != file.generation:
        return f"generation {fields['generation']}"
    return "another run of the same name" if run and fields["run"] != run else ""


def misplaced(path: str, owner: str, then: str) -> CorruptionError:
    """Return the error for a file that belongs elsewhere; `then` is the step after moving it."""
    return CorruptionError(
        _message(
            f"{path} was moved or renamed: it belongs to {owner}",
            _UNTOUCHED,
            f"Move it back, and {then}.",
        ),
        path,
        0,
    )


def repair_call(name: str, path: str, step: int | None = None) -> str:
    """Return the call that repairs the run whose files are in the directory `path`.

    With a `step` it is the call that takes the run back to it.
    """
    store = os.path.dirname(os.path.dirname(path))
    arguments = [repr(name)] + ([f"step={step}"] if step is not None else [])
    if not store or is_default(store):
        return f"trax.repair({', '.join(arguments)})"
    return f"trax.repair({', '.join(arguments)}, traxdir={store!r})"


def refusal(path: str, found: NewerVersion | Forged) -> FormatVersionError | UntrustedError:
    """Return the error for a file that this process must not read."""
    if isinstance(found, NewerVersion):
        cause = f"{path} is of {found}"
        message = _message(cause, _UNTOUCHED, "Install the trax that wrote it.")
        return FormatVersionError(message, path, 0)
    return UntrustedError(
        _message(
            f"{path} {found} (offset {found.offset})",
            "Nothing was loaded or changed.",
            f"{found.remedy}.",
            _START_OVER,
        )
    )


def _message(cause: str, *lines: str) -> str:
    return "\n".join([cause, *lines])
