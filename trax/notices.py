"""One-line notices to the user.

They go through the logger ``trax``. If logging is not configured, they appear on standard error, so
that a user who runs a script again sees that it resumed.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["info", "warn"]

_logger = logging.getLogger("trax")


def info(line: str) -> None:
    """Report an event."""
    _tell(logging.INFO, line)


def warn(line: str) -> None:
    """Report a problem, or that one was fixed."""
    _tell(logging.WARNING, line)


def _tell(level: int, line: str) -> None:
    if _logger.hasHandlers() or _logger.level:
        _logger.log(level, line)
    elif sys.stderr is not None:
        print(f"trax: {line}", file=sys.stderr, flush=True)
