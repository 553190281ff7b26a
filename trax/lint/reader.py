"""Reads a function when it is decorated, and warns of what would not resume exactly."""

from __future__ import annotations

import warnings
from types import FunctionType
from typing import Final

from trax.calls.options import Options
from trax.errors import ResumeWarning
from trax.lint.carried import carried, found_again
from trax.lint.changes import changes
from trax.lint.compared import compared
from trax.lint.declared_loop import DeclaredLoop, is_method
from trax.lint.findings import Finding
from trax.lint.outdated import outdated
from trax.lint.positions import positions
from trax.lint.set_up import set_up
from trax.lint.side_effects import effects
from trax.lint.trees import forget, function_tree

__all__ = ["findings", "made_again", "warn"]

_MOST: Final = 3  # warnings for one function; its author will look at it anyway


def findings(function: FunctionType, options: Options) -> list[Finding]:
    """Return the reasons for which a loop would not resume exactly, the most certain ones first.

    Without its source nothing is known, and nothing is said.
    """
    try:
        loop = _read(function, options)
        if loop is None:
            return []
        finders = (positions, carried, compared, changes, outdated, set_up, effects)
        found: dict[str, Finding] = {}
        for one in sorted((one for find in finders for one in find(loop)), key=_rank):
            found.setdefault(one.subject, one)
        return [*found.values()]
    finally:
        forget()


def made_again(function: FunctionType, options: Options) -> set[str]:
    """Return the variables that a resumed run makes from the state, and the caches."""
    try:
        loop = _read(function, options)
        return set() if loop is None else {*found_again(loop)}
    except Exception:  # noqa: BLE001  # what cannot be read, such as too deep a tree, can be run
        return set()
    finally:
        forget()


def _read(function: FunctionType, options: Options) -> DeclaredLoop | None:
    code = function.__code__
    node = function_tree(code)
    if node is None or code.co_argcount <= is_method(code):  # there is no parameter for the state
        return None
    return DeclaredLoop(function, node, options)


def _rank(finding: Finding) -> tuple[int, int]:
    return finding.rank, finding.line


def warn(function: FunctionType, options: Options) -> None:
    """Warn of what would not resume exactly, in the lines that are the cause."""
    try:
        found = findings(function, options)
    except Exception:  # noqa: BLE001  # what cannot be read, such as too deep a tree, can be run
        return
    for one in found[:_MOST]:
        text = "\n".join([f"{function.__name__}: {one.cause}.", *one.ways])
        warnings.warn_explicit(
            text,
            ResumeWarning,
            function.__code__.co_filename,
            one.line,
            module=function.__module__,
            registry=function.__globals__.setdefault("__warningregistry__", {}),
        )
