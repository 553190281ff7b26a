"""The text of a code's file, and its syntax tree, which is parsed once for all functions in it."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

__all__ = [
    "children",
    "files_of",
    "in_file",
    "inner_statements",
    "remember",
    "statements",
    "texts_at",
    "texts_of",
    "tree_of",
]

_MARKS = {"ctx", "op", "ops"}
_fields: dict[type[ast.AST], list[str]] = {ast.Name: [], ast.Constant: []}
_FIELDS = ("body", "orelse", "finalbody", "handlers", "cases")


# Where methods and decorators keep a function.
_WRAPPED = ("__wrapped__", "__func__", "func", "fget")

_texts: dict[str, list[tuple[str, ...]]] = {}


def texts_of(code: CodeType) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the file of a code; see `texts_at`."""

    def variables() -> dict[str, Any]:
        module = inspect.getmodule(code)
        return vars(module) if module else {}

    return texts_at(code.co_filename, variables)


def texts_at(
    path: str, variables: Callable[[], dict[str, Any]] = dict
) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a file, in each version that this process has read.

    The file may have changed since its code was loaded, and so may what was loaded. `variables`
    returns those of its module, whose loader may have the lines, as that of a zip file has.
    """
    texts = _texts.setdefault(path, [])
    yield from texts
    linecache.checkcache(path)
    lines = linecache.getlines(path) or linecache.getlines(path, variables())
    text = tuple(lines)
    if text and text not in texts:
        texts.append(text)
        yield text


def files_of(variables: Mapping[str, Any]) -> list[str]:
    """Return the files of a module with some variables: each cell of a notebook is a file."""
    file = variables.get("__file__")
    if file is not None:
        return [file]
    files: dict[str, None] = {}
    met: dict[int, Any] = {}
    waiting = [*variables.values()]
    while waiting:
        one = waiting.pop(0)
        if id(one) in met:
            continue
        met[id(one)] = one
        if type(one) is FunctionType and one.__globals__ is variables:
            files[one.__code__.co_filename] = None
            for cell in one.__closure__ or ():
                with contextlib.suppress(ValueError):  # still empty
                    waiting.append(cell.cell_contents)
        elif issubclass(type(one), type) and one.__module__ == variables.get("__name__"):
            waiting += vars(one).values()
        for name in _WRAPPED:
            with contextlib.suppress(Exception):  # a property may raise anything
                waiting.append(object.__getattribute__(one, name))
    return [*files]


def in_file(code: CodeType, path: str) -> CodeType:
    """Return a code with the path of its file: cloudpickle 3.1.3 and later leave that out."""
    inner = (in_file(one, path) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=path, co_consts=(*inner,))


def remember(path: str, texts: Iterable[tuple[str, ...]]) -> None:
    """Remember texts of a file of another process."""
    known = _texts.setdefault(path, [])
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
