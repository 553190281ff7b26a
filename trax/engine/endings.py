"""Tells how a loop has ended and where its function is, as plain data for the journal."""

from __future__ import annotations

import contextlib
import os
import traceback
from itertools import chain
from types import FrameType, FunctionType
from typing import Any

from trax.display import shorten, text_of
from trax.errors import one_line
from trax.tracking.references import is_own_file

__all__ = ["outcome", "source_of"]

_LONGEST = 200  # characters of a message


def outcome(error: BaseException, signal: str = "", *, is_refused: bool = False) -> dict[str, Any]:
    """Return how a loop ends that an exception ends, or the `signal` that may have caused it.

    A call that was refused has not made the run fail.
    """
    if signal:
        return {"state": "stopped", "reason": signal}
    if isinstance(error, GeneratorExit):
        return {"state": "stopped", "reason": "closed"}
    if not isinstance(error, Exception):
        return {"state": "stopped", "reason": type(error).__name__}
    return {"state": "stopped" if is_refused else "failed", "error": _described(error)}


def _described(error: Exception) -> dict[str, Any]:
    message = shorten(one_line(text_of(error).partition("\n")[0]), _LONGEST)
    described: dict[str, Any] = {"type": type(error).__name__, "message": message}
    places = [*reversed([*traceback.walk_tb(error.__traceback__)])]
    if places:
        # The newest line of the user's code: in the loop, or else the one that has called trax.
        own = (place for place in chain(places, traceback.walk_stack(None)) if _is_own(place[0]))
        frame, line = next(own, places[0])
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
