"""Marks that a loop compares by ``is``, such as one for a missing value, and refers to in a frame.

In a pickle a text or an object without content is a copy, unlike the variable with which the loop
compares it. So a frame refers to it by that variable, wherever in the frame it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from trax.frames.names import resolved
from trax.storage.members import attributes

__all__ = ["find_marks", "mark_without_variable"]

_PREFIX: Final = ".mark "
_CONSTANTS: Final = (str, bytes, int, float, complex)
_LONG: Final = 200  # characters; a longer text is no mark
_OWN: Final = (type, FunctionType, ModuleType)  # these are stored by name


def find_marks(function: FunctionType, node: ast.AST) -> dict[str, Any]:
    """Return the marks that a function compares by ``is``, by the paths that frames have for them.

    Parameters
    ----------
    function : FunctionType
        The function.
    node : AST
        Its tree.

    Examples
    --------
    >>> text = "def loop(given): return given is missing"
    >>> names = {"missing": "no value"}
    >>> exec(text, names)
    >>> find_marks(names["loop"], ast.parse(text))
    {".mark missing 'no value'": 'no value'}
    """
    found = {}
    for side in _compared(node):
        value = resolved(side, function)
        if type(value) in _CONSTANTS and len(repr(value)) <= _LONG:
            found[f"{_PREFIX}{ast.unparse(side)} {value!r}"] = value
        elif _has_no_content(value):
            found[f"{_PREFIX}{ast.unparse(side)}"] = value
    return found


def mark_without_variable(path: str) -> Any:
    """Return a mark that was a text or a number, if its variable is not there.

    Raises
    ------
    KeyError
        It was neither, or the path is not one of a mark.
    """
    _, _, constant = path.removeprefix(_PREFIX).partition(" ")
    if not path.startswith(_PREFIX) or not constant:
        raise KeyError(path)
    return ast.literal_eval(constant)


def _compared(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the names, also those with dots, that are compared by ``is``."""
    for one in ast.walk(node):
        if isinstance(one, ast.Compare) and any(
            isinstance(op, ast.Is | ast.IsNot) for op in one.ops
        ):
            for side in (one.left, *one.comparators):
                if isinstance(side, ast.Name | ast.Attribute):
                    yield side


def _has_no_content(value: Any) -> bool:
    equals: Any = type(value).__eq__
    if value is None or isinstance(value, _OWN) or equals is not object.__eq__:
        return False
    is_open = type(value) is object or type(value).__module__ != "builtins"
    return is_open and not callable(value) and not attributes(value)
