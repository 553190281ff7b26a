"""Signatures of functions, also of those with annotations that are not defined at run time."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from trax.errors import UsageError

__all__ = ["check_argument", "signature", "takes"]


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function, as `inspect.signature` does."""
    # Python 3.14 evaluates annotations only when somebody asks for them, and raises where they name
    # something that only type checkers import.
    if sys.version_info >= (3, 14):
        import annotationlib

        forward = annotationlib.Format.FORWARDREF
        return inspect.signature(function, annotation_format=forward)
    return inspect.signature(function)


def takes(function: Callable[..., Any], number: int) -> bool:
    """Return whether a function takes so many positional arguments, as far as can be known."""
    try:
        parameters = signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return True
    try:
        parameters.bind(*[None] * number)
    except TypeError:
        return False
    return True


def check_argument(name: str, arguments: Sequence[str], who: str) -> None:
    """Refuse a name that is not among the arguments; `who` refers to it, such as "create needs"."""
    if name not in arguments:
        raise UsageError(
            f"{who} {name!r}, which is not an argument of the function.\n"
            f"Its arguments: {', '.join(arguments) or 'none'}."
        )
