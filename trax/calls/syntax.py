"""Finds the syntax trees of functions in their source, as texts that no version of Python changes.

Strategy: a function is found by its first line and by the positions of its instructions. The
statement around it is compiled again. If that does not give the same code, the file has changed
since the function was made, and its source is of no use.
"""

from __future__ import annotations
import __future__

import ast
from collections.abc import Collection, Iterator
from functools import lru_cache, reduce
from types import CodeType
from typing import Any

from trax.calls.source_text import texts_of, tree_of

__all__ = ["syntax_of"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Place = tuple[int, int, int, int]

# Fields that do not change the behaviour of a function, or that some versions of Python lack.
_LEFT_OUT = {"annotation", "returns", "type_comment", "type_params", "kind", "ctx"}
# Those of the function itself: its defaults are values, which are compared as such.
_OWN = {"name", "decorator_list", "defaults", "kw_defaults"}
_FUTURE = reduce(
    int.__or__,
    (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names),
)


def syntax_of(code: CodeType) -> str | None:
    """Return a text for the syntax tree of a function; None if its source is not there.

    Comments, docstrings, annotations and positions are not in it, nor are the function's own name,
    decorators and defaults.
    """
    return _syntax_of(code, code.co_filename)


@lru_cache(maxsize=256)
def _syntax_of(code: CodeType, path: str) -> str | None:  # noqa: ARG001
    # The path is a part of the key: code is equal to that of another file.
    try:
        return next(filter(None, (_syntax_in(text, code) for text in texts_of(code))), None)
    except Exception:  # noqa: BLE001  # looking at modules may raise anything
        return None


def _syntax_in(text: tuple[str, ...], code: CodeType) -> str | None:
    path = code.co_filename
    try:
        statement = next(node for node in tree_of(text, path).body if _is_within(node, code))
        node = _find(statement, code)
        compiled = compile(
            ast.Module([statement], []),
            path,
            "exec",
            flags=code.co_flags & _FUTURE,
            dont_inherit=True,
        )
    except Exception:  # noqa: BLE001  # of many kinds
        return None
    return _write(node, _OWN) if node is not None and code in _codes(compiled) else None


def _first_line(node: Any) -> int:
    """Return the line in which a node begins, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    line: int = min(part.lineno for part in (node, *decorators))
    return line


def _is_within(statement: ast.stmt, code: CodeType) -> bool:
    return _first_line(statement) <= code.co_firstlineno <= (statement.end_lineno or 0)


def _find(statement: ast.stmt, code: CodeType) -> _Function | None:
    """Return the innermost function that begins in the line of the code and has its positions."""
    fitting = [
        node
        for node in ast.walk(statement)  # from the outside inwards
        if isinstance(node, _Function)
        and _first_line(node) == code.co_firstlineno
        and getattr(node, "name", "<lambda>") == code.co_name
    ]
    places = [
        (line, column, end_line, end_column)
        for line, end_line, column, end_column in code.co_positions()
        if line is not None and end_line is not None  # the first instructions have no columns
        if column is not None and end_column
    ]
    if not places and len(fitting) > 1:
        return None
    found = [node for node in fitting if all(_contains(node, place) for place in places)]
    return found[-1] if found else None


def _contains(node: Any, place: _Place) -> bool:
    line, column, end_line, end_column = place
    if isinstance(node, ast.Lambda):
        begin = node.body.lineno, node.body.col_offset
    else:
        begin = _first_line(node), 0
    return begin <= (line, column) and (end_line, end_column) <= (
        node.end_lineno,
        node.end_col_offset,
    )


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _write(node: Any, left_out: Collection[str] = ()) -> str:
    """Return a text for a part of a syntax tree."""
    if isinstance(node, list):
        return f"[{','.join(map(_write, node))}]"
    if not isinstance(node, ast.AST):
        return hex(node) if type(node) is int else repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        has_docstring = ast.get_docstring(node, clean=False) is not None
        fields["body"] = node.body[has_docstring:]
    elif isinstance(node, ast.JoinedStr):  # Python 3.12 puts empty ones between the others
        fields["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    written = [
        f"{name}={_write(value, left_out if name == 'args' else ())}"
        for name, value in fields.items()
        if name not in _LEFT_OUT and name not in left_out and value is not None and value != []
    ]
    return f"{type(node).__name__}({','.join(written)})"
