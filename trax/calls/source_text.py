"""The text of a code's file, and its syntax tree, which is parsed once for all functions in it."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Iterable, Iterator
from types import CodeType

__all__ = ["children", "inner_statements", "remember", "statements", "texts_of", "tree_of"]

_MARKS = {"ctx", "op", "ops"}
_fields: dict[type[ast.AST], list[str]] = {ast.Name: [], ast.Constant: []}
_FIELDS = ("body", "orelse", "finalbody", "handlers", "cases")


_texts: dict[str, list[tuple[str, ...]]] = {}


def texts_of(code: CodeType) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the file of a code, in each version that this process has read.

    The file may have changed since the code was loaded, and so may what was loaded.
    """
    path = code.co_filename
    texts = _texts.setdefault(path, [])
    yield from texts
    linecache.checkcache(path)
    lines = linecache.getlines(path)
    if not lines:  # the loader of its module may have them, as that of a zip file has
        module = inspect.getmodule(code)
        lines = linecache.getlines(path, vars(module)) if module else []
    text = tuple(lines)
    if text and text not in texts:
        texts.append(text)
        yield text


def remember(code: CodeType, texts: Iterable[tuple[str, ...]]) -> None:
    """Remember texts of the file of a code that comes from another process."""
    known = _texts.setdefault(code.co_filename, [])
    known += [text for text in texts if text not in known]


@functools.lru_cache(maxsize=64)
def tree_of(lines: tuple[str, ...], filename: str) -> ast.Module:
    """Return the syntax tree of a file, which nobody may change.

    Raises
    ------
    SyntaxError, ValueError
        It is no program.
    """
    from trax.storage.parsing import parse  # seldom needed

    return parse("".join(lines), filename)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and the statements in it, with those in functions and classes."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += inner_statements(one)


def inner_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements that are directly in one, and handlers and cases."""
    for field in _FIELDS:
        yield from getattr(node, field, ())


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes in a node, without marks such as operators and the contexts of names."""
    found: list[ast.AST] = []
    kind = type(node)
    if kind not in _fields:
        _fields[kind] = [name for name in kind._fields if name not in _MARKS]
    for name in _fields[kind]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [one for one in value if isinstance(one, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found
