"""Parses and compiles source text without warnings, in one thread at a time."""

from __future__ import annotations

import ast
import contextlib
import os
import threading
import warnings
from collections.abc import Iterator

__all__ = ["alone", "parse"]

_lock = threading.RLock()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Silence the compiler for a block, which one thread at a time enters.

    It has given its warnings when the code was loaded.
    """
    # Filters of warnings are those of all threads. And before Python 3.12 the compiler counts the
    # levels of all trees that are made at once together, and finds an error there.
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse(text: str, filename: str = "<unknown>") -> ast.Module:
    """Return the syntax tree of a text.

    Raises
    ------
    SyntaxError, ValueError
        It is no program.
    """
    with alone():
        return ast.parse(text, filename)


def _unlock_in_child() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_in_child)
