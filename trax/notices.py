"""One-line notices to the person.

They go through the logger ``trax``. If nobody has configured logging they still appear, on standard
error, so that a person who runs a script again sees that it resumed.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["info", "warn"]

_logger = logging.getLogger("trax")


def info(line: str) -> None:
    """Say that something happened."""
    _tell(logging.INFO, line)


def warn(line: str) -> None:
    """Say that something went wrong, or was put right."""
    _tell(logging.WARNING, line)


def _tell(level: int, line: str) -> None:
    if _logger.hasHandlers() or _logger.level:
        _logger.log(level, line)
    elif sys.stderr is not None:
        print(f"trax: {line}", file=sys.stderr, flush=True)
