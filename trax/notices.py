"""One-line notices to the user.

They go through the logger ``trax``. If logging is not configured, they appear on standard error, so
that a user who runs a script again sees that it resumed. So do they where the root logger alone is
configured, whatever its format and destination, even if its level is WARNING: that is its level if
nobody has chosen one. A level or handlers of the logger ``trax`` itself are a choice.
"""

from __future__ import annotations

import logging
import sys

from trax.errors import one_line

__all__ = ["detail", "info", "warn"]

_logger = logging.getLogger("trax")


def detail(line: str) -> None:
    """Report what only somebody wants to know who has chosen the level DEBUG."""
    if _logger.isEnabledFor(logging.DEBUG) and _logger.hasHandlers():
        _tell(logging.DEBUG, line)


def info(line: str) -> None:
    """Report an event."""
    _tell(logging.INFO, line)


def warn(line: str) -> None:
    """Report a problem, or that one was fixed."""
    _tell(logging.WARNING, line)


def _tell(level: int, line: str) -> None:
    line = one_line(line)
    if _logger.hasHandlers() or _logger.level:
        if _is_wanted(level):
            _logger.handle(_logger.makeRecord(_logger.name, level, __file__, 0, line, (), None))
    elif sys.stderr is not None and not sys.stderr.closed:
        # In one piece, since other processes may write there as well.
        print(f"trax: {line}\n", end="", file=sys.stderr, flush=True)


def _is_wanted(level: int) -> bool:
    if _logger.level or _logger.handlers or _logger.manager.disable >= level:
        return _logger.isEnabledFor(level)
    return _logger.isEnabledFor(max(level, logging.WARNING))
