"""Whole numbers that a user gives, checked; those of NumPy become those of Python."""

from __future__ import annotations

import operator
from typing import Any

from trax.display import show
from trax.errors import UsageError

__all__ = ["as_whole", "check_whole"]


def as_whole(value: Any, least: int) -> int | None:
    """Return a whole number of at least `least`; None if the value is no such number."""
    if type(value).__name__ in ("bool", "bool_"):  # Python's, and NumPy's by either of its names
        return None
    try:
        number = operator.index(value)
    except TypeError:
        return None
    return None if number < least else number


def check_whole(value: Any, name: str, least: int = 1) -> int:
    """Return a whole number, checked.

    Raises
    ------
    UsageError
        It is no whole number, or less than `least`.
    """
    number = as_whole(value, least)
    if number is None:
        raise UsageError(f"{name} must be a whole number of at least {least}, not {show(value)}")
    return number
