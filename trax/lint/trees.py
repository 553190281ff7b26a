"""The trees of functions, each from its own lines alone, so that a long file costs nothing."""

from __future__ import annotations

import ast
import inspect
import linecache
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from types import CodeType
from typing import Any, ParamSpec, TypeVar

from trax.calls.source_text import children as children_of
from trax.calls.source_text import texts_of
from trax.frames.source import Function, nested_codes
from trax.storage.parsing import parse

__all__ = [
    "children",
    "dotted",
    "forget",
    "function_tree",
    "has_yield",
    "key_of",
    "keyword_tree",
    "nodes_of",
    "remembered",
    "scope_nodes",
]

P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N", bound=ast.AST)

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_forgetting: list[Callable[[], None]] = []


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Remember what a function returns for codes and nodes, until all trees are forgotten."""
    kept = cache(function)
    _forgetting.append(kept.cache_clear)
    return kept  # type: ignore[return-value]  # which has the same parameters


def forget() -> None:
    """Forget the trees that were looked through."""
    for one in _forgetting:
        one()


children = remembered(children_of)


@remembered
def function_tree(code: CodeType) -> Function | None:
    """Return the tree of a function with the lines of its file; None if its source is not there."""
    if code.co_name == "<lambda>":
        return None
    here = linecache.getlines(code.co_filename)
    texts: Iterable[Sequence[str]] = [here]
    if not here:  # it came from another process, and the newest of that name came last
        texts = reversed([*texts_of(code)])
    for text in texts:
        node = _tree_in([*text[code.co_firstlineno - 1 :]], code)
        if node is not None:
            return node
    return None


def _tree_in(lines: list[str], code: CodeType) -> Function | None:
    codes = (code, *nested_codes(code))
    last = max(end or 0 for one in codes for _, end, _, _ in one.co_positions())
    node = _parse(lines[: last - code.co_firstlineno + 1], code)
    if node is None and lines:  # statements without code are at its end
        try:
            node = _parse(inspect.getblock(lines), code)
        except (SyntaxError, IndentationError):
            return None
    return node


def _parse(lines: list[str], code: CodeType) -> Function | None:
    is_indented = bool(lines) and lines[0][:1].isspace()
    above = "\n" * (code.co_firstlineno - 1 - is_indented)  # so that lines are those of the file
    text = "".join([above, "if 1:\n" * is_indented, *lines])
    try:
        module = parse(text)
    except (SyntaxError, ValueError):
        return None
    found = [one for one in module.body if is_indented or isinstance(one, Function)]
    node = found[0] if found else None
    if isinstance(node, ast.If):
        node = node.body[0]
    return node if isinstance(node, Function) and _is_of(node, code) else None


def _is_of(node: Function, code: CodeType) -> bool:
    arguments = node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    number = code.co_argcount + code.co_kwonlyargcount
    mangled = zip(names, code.co_varnames[:number], strict=False)
    return (
        node.name == code.co_name
        and len(names) == number
        and all(given.endswith(name) for name, given in mangled)
    )


def keyword_tree(node: Function, name: str) -> ast.expr | None:
    """Return the value of a keyword that a decorator of a function is called with."""
    for decorator in node.decorator_list:
        for one in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if one.arg == name:
                return one.value
    return None


class _Text:
    """The nodes of statements in the order of the text, walked once, and the places of each kind.

    What is in functions inside is left out.
    """

    def __init__(self, *nodes: ast.AST) -> None:
        self.nodes: list[ast.AST] = []
        self.kinds: dict[type, list[int]] = defaultdict(list)
        self.starts: dict[ast.AST, int] = {}
        self.ends: dict[ast.AST, int] = {}
        for node in nodes:
            self._add(node)

    def _add(self, node: ast.AST) -> None:
        _texts[node] = self
        place = self.starts[node] = len(self.nodes)
        self.nodes.append(node)
        self.kinds[type(node)].append(place)
        if isinstance(node, ast.stmt):
            self.kinds[ast.stmt].append(place)
        if not isinstance(node, _SCOPES):
            for one in children(node):
                self._add(one)
        self.ends[node] = len(self.nodes)


_texts: dict[ast.AST, _Text] = {}  # by each node
_forgetting.append(_texts.clear)


def _range(part: ast.AST | Sequence[ast.AST]) -> tuple[_Text, int, int]:
    """Return the text that a node or a body is in, with its first place and the one after it."""
    if not part:
        return _Text(), 0, 0
    body = [part] if isinstance(part, ast.AST) else part
    first, last = body[0], body[-1]
    text = _texts.get(first)
    if text is None or last not in text.starts:
        text = _Text(*body)
    return text, text.starts[first], text.ends[last]


def scope_nodes(*parts: ast.AST | Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Return the nodes in some nodes and bodies, in order, but not what is in functions inside.

    A body is all the statements of a list in the tree.
    """
    for text, start, end in map(_range, parts):
        yield from text.nodes[start:end]


def nodes_of(kind: type[N], *parts: ast.AST | Sequence[ast.AST]) -> list[N]:
    """Return those of `scope_nodes` that are of one kind, such as ``ast.Call`` or ``ast.stmt``."""
    found: list[Any] = []
    for text, start, end in map(_range, parts):
        places = text.kinds.get(kind)
        if places:
            here = places[bisect_left(places, start) : bisect_left(places, end)]
            found += [text.nodes[place] for place in here]
    return found


@remembered
def has_yield(node: ast.stmt) -> bool:
    """Whether a statement hands out increments."""
    return bool(nodes_of(ast.Yield, node) or nodes_of(ast.YieldFrom, node))


def dotted(node: ast.expr) -> str:
    """Return a name and its attributes such as ``np.random.seed``; a call in it is ``()``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "()"


def key_of(node: ast.AST) -> str | None:
    """Return the variable, or the attribute of one, with which an expression begins."""
    attribute = ""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            attribute, node = f".{node.attr}", node.value
        elif isinstance(node, (ast.Subscript, ast.Starred, ast.Await)):
            attribute, node = "", node.value
        elif isinstance(node, ast.Call):
            attribute, node = "", node.func
        else:
            return None
    return node.id + attribute
