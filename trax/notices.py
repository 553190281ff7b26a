"""What trax tells the person, one line each.

The lines go through the logger ``trax``. Where nobody has configured logging they still
appear, on standard error, so that a person who runs a script again sees what happened.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["info", "warn"]

_logger = logging.getLogger("trax")


def info(line: str) -> None:
    """Tell what happened."""
    _tell(logging.INFO, line)


def warn(line: str) -> None:
    """Tell what went wrong and was put right."""
    _tell(logging.WARNING, line)


def _tell(level: int, line: str) -> None:
    if _logger.hasHandlers() or _logger.level:
        _logger.log(level, line)
    elif sys.stderr is not None:
        print(f"trax: {line}", file=sys.stderr, flush=True)
