"""Tells how a loop has ended and where its function is, as plain data for the journal."""

from __future__ import annotations

import contextlib
import os
import traceback
from types import FrameType, FunctionType
from typing import Any

from trax.display import shorten
from trax.errors import one_line
from trax.tracking.references import is_own_file

__all__ = ["outcome", "source_of"]

_LONGEST = 200  # characters of a message


def outcome(error: BaseException, signal: str = "") -> dict[str, Any]:
    """Return how a loop ends that an exception ends, or the `signal` that may have caused it."""
    if signal:
        return {"state": "stopped", "reason": signal}
    if isinstance(error, GeneratorExit):
        return {"state": "stopped", "reason": "closed"}
    if not isinstance(error, Exception):
        return {"state": "stopped", "reason": type(error).__name__}
    return {"state": "failed", "error": _described(error)}


def _described(error: Exception) -> dict[str, Any]:
    described: dict[str, Any] = {"type": type(error).__name__, "message": ""}
    with contextlib.suppress(Exception):  # a __str__ may raise anything
        described["message"] = shorten(one_line(str(error).strip().partition("\n")[0]), _LONGEST)
    places = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if places:
        frame, line = next((place for place in reversed(places) if _is_own(place[0])), places[-1])
        described |= {"file": frame.f_code.co_filename, "line": line}
    return described


def _is_own(frame: FrameType) -> bool:
    return is_own_file(frame.f_code.co_filename)


def source_of(function: Any) -> dict[str, Any]:
    """Return the file of a function and the time at which it was changed, if there is one."""
    code = getattr(function, "__code__", None) if isinstance(function, FunctionType) else None
    if code is None or code.co_filename.startswith("<"):
        return {}
    with contextlib.suppress(OSError):
        return {
            "file": os.path.abspath(code.co_filename),
            "edited": os.stat(code.co_filename).st_mtime,
        }
    return {}
