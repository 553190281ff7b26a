"""What a person is told of a file that cannot be read: what, where, and what to do next.

Those who read files find things; here a finding becomes the error that is raised.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from trax.errors import CorruptionError, FormatVersionError, UntrustedError
from trax.storage.filenames import REPAIR, FileName, store_path
from trax.storage.records import Forged, NewerVersion

__all__ = [
    "damaged",
    "in_short",
    "misplaced",
    "owner_of",
    "refusal",
    "repair_call",
    "unrepaired",
]

_UNTOUCHED = ". Nothing was changed."


def damaged(directory: str, file: FileName, name: str, offset: int, reason: str) -> CorruptionError:
    """Return the error for a file of the run `name` that is damaged."""
    path = f"{directory}/{file}"
    return CorruptionError(
        f"{path} is damaged at offset {offset}: {reason}{_UNTOUCHED} Put the file back from a copy "
        f"of the store if there is one. Otherwise {repair_call(name, directory)} keeps what is "
        "provably right, and says how many steps are lost; before that it copies everything. To "
        "begin anew, call the function's fresh(...): the files are kept.",
        path,
        offset,
    )


def in_short(error: CorruptionError) -> str:
    """Return what an error has found, without what to do next."""
    return str(error).partition(_UNTOUCHED)[0]


def unrepaired(directory: str, name: str) -> CorruptionError:
    """Return the error for a run whose repair was cut short."""
    path = f"{directory}/{REPAIR}"
    return CorruptionError(
        f"the repair of the run {name!r} was begun and did not end ({path}). Call "
        f"{repair_call(name, directory)} again: it goes on where it was.",
        path,
    )


def owner_of(file: FileName, fields: dict[str, Any], name: str, run: str) -> str:
    """Return what a file belongs to by its header block; empty where that is the run itself.

    Parameters
    ----------
    file : FileName
        What it is called.
    fields : dict
        What its header block says.
    name, run : str
        The run's name and identity; the latter is empty where it is not known yet.
    """
    if fields["name"] != name:
        return f"the run {fields['name']!r}, not to {name!r}"
    if fields["generation"] != file.generation:
        return f"generation {fields['generation']}"
    return "another run of the same name" if run and fields["run"] != run else ""


def misplaced(path: str, owner: str, then: str) -> CorruptionError:
    """Return the error for a file that belongs elsewhere; `then` is what to do once it is back."""
    return CorruptionError(
        f"{path} was moved or renamed: it belongs to {owner}{_UNTOUCHED} Move it back to "
        f"where it was, and {then}.",
        path,
        0,
    )


def repair_call(name: str, path: str) -> str:
    """Return what a person calls to repair the run whose files are in the directory `path`."""
    store = os.path.dirname(os.path.dirname(path))
    with contextlib.suppress(OSError):  # the current directory may be gone
        if not store or store == store_path():
            return f"trax.repair({name!r})"
    return f"trax.repair({name!r}, traxdir={store!r})"


def refusal(path: str, found: NewerVersion | Forged) -> FormatVersionError | UntrustedError:
    """Return the error for a file that this process must not read."""
    if isinstance(found, NewerVersion):
        message = f"{path} is of {found}. Nothing was changed. Install the trax that wrote it."
        return FormatVersionError(message, path, 0)
    return UntrustedError(
        f"{path} {found} (offset {found.offset}). Nothing was loaded or changed. {found.remedy}; "
        "or begin anew, with the function's fresh(...)."
    )
