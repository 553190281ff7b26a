"""The steps of a run whose states are stored, or follow from what is stored."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trax.errors import CorruptionError, NotFoundError
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory
from trax.storage.log import open_log
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.schema import check_log

if TYPE_CHECKING:
    from trax.storage.run_reader import RunReader

__all__ = ["describe_steps", "no_state", "stored_steps"]

_SHOWN = 5  # ranges in a message


def stored_steps(directory: Directory, reader: RunReader) -> list[range]:
    """Return the steps whose states can be had, in ascending order; `reader` is not yet read.

    Only headers are read, and the newest logs: between two of them are as many steps as were
    logged there.
    """
    with contextlib.suppress(CorruptionError):
        reader.read()
    found = []
    begin: tuple[int, int] | None = None  # a step with a state, and its position in the logs
    for log in _follow_back(directory, reader.last):
        position = log["after"][1]
        if begin is not None:
            found.append(range(begin[0], begin[0] + position - begin[1] + 1))
        step = _step_of(directory, FileName("checkpoint", log["generation"]))
        if step is not None:
            begin = step, position
        elif not log["derived"]:
            begin = None
    if reader.found:
        found.append(range(reader.step - reader.replayed, reader.step + 1))
    return _joined(found)


def _follow_back(directory: Directory, last: int) -> list[dict[str, Any]]:
    """Return the header fields of the logs that lead to the last one, oldest first."""
    files = filter(None, map(FileName.parse, directory.list()))
    older = sorted(file.generation for file in files if file.kind == "log")
    last = last or max(older, default=0)
    chain: list[dict[str, Any]] = []
    while older:
        # Before one to which its checkpoint alone leads, an empty log may have been removed.
        number = older.pop()
        if number > last:
            continue
        try:
            with open_log(directory, str(FileName("log", number))) as log:
                check_log(log.fields)
                chain.append(log.fields)
        except (Damage, Forged, NewerVersion, OSError):
            break
        last = log.fields["after"][0]
    return chain[::-1]


def _step_of(directory: Directory, name: FileName) -> int | None:
    """Return the step of a checkpoint; None if there is none that can be read."""
    try:
        step: int = read_meta(directory, name)["step"]
    except (Damage, Forged, NewerVersion, OSError, KeyError):
        return None
    return step


def _joined(ranges: Sequence[range]) -> list[range]:
    """Return ranges in ascending order without overlap."""
    joined: list[range] = []
    for one in sorted(ranges, key=lambda one: one.start):
        last = joined.pop() if joined and one.start <= joined[-1].stop else one
        joined.append(range(last.start, max(last.stop, one.stop)))
    return joined


def describe_steps(ranges: Sequence[range]) -> str:
    """Return the steps as a text, such as ``"0 to 20 and 30"``."""
    texts = [f"{one[0]:,} to {one[-1]:,}" if len(one) > 1 else f"{one[0]:,}" for one in ranges]
    if len(texts) > _SHOWN:
        texts[2:-2] = ["..."]
    return ", ".join(texts[:-1]) + " and " * (len(texts) > 1) + "".join(texts[-1:])


def no_state(name: str, path: str, step: int, ranges: Sequence[range]) -> NotFoundError:
    """Return the error for a step whose state cannot be had."""
    lines = [f"no state of step {step:,} of {name!r} is stored in {path}."]
    if ranges:
        lines.append(f"Give one of these steps: {describe_steps(ranges)}.")
    if ranges and step < ranges[-1].stop:
        lines.append("To have more of a later run, give keep='all' or another policy as keep=.")
    return NotFoundError("\n".join(lines))
