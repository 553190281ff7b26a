"""The syntax tree of a function, from its source, and functions compiled from a changed tree."""

from __future__ import annotations
import __future__

import ast
import dis
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any, Final

from trax.calls.bytecode import content
from trax.calls.source_text import children, inner_statements, texts_of, tree_of
from trax.errors import UsageError
from trax.storage.parsing import alone

__all__ = [
    "Function",
    "Source",
    "compile_function",
    "nested_codes",
    "node_of",
    "place",
    "rewritten",
    "source_of",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef

_FUTURE: Final = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
_GENEXPR: Final = "<genexpr>"
_MADE: Final = "@"  # begins the names of variables that pytest puts into a test's ``assert``


@dataclass(frozen=True, slots=True)
class Source:
    """The source of one function.

    Attributes
    ----------
    code : CodeType
        The function's code, as Python compiled it.
    node : FunctionDef or AsyncFunctionDef
        Its tree, with the lines and columns of the file. A generator expression becomes a function
        with one parameter, ``.0``, as it is for Python itself.
    classes : tuple of str
        The names of the classes around it, from the outermost.
    imports: tuple of str
        The names that its module imports. Python compiles calls of their attributes differently.
    lines: tuple of str
        The lines of its file.
    """

    code: CodeType
    node: Function
    classes: tuple[str, ...]
    imports: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    def mangled(self, name: str) -> str:
        """Return a name as it is in the code, where names private to a class are changed."""
        if not (self.classes and name.startswith("__")) or name.endswith("__"):
            return name
        owner = self.classes[-1].lstrip("_")
        return f"_{owner}{name}" if owner else name


class _Candidate:
    """A function or generator expression in a file, which may be that of a code."""

    def __init__(
        self,
        node: Function | ast.GeneratorExp,
        classes: tuple[str, ...],
        imports: tuple[str, ...],
    ) -> None:
        self.node = node
        self._classes = classes
        self._imports = imports

    def source(self, code: CodeType) -> Source | None:
        """Return the source, if the code was compiled from it."""
        found = None
        # A notebook compiles each statement of a cell alone, and so without the imports before it.
        for imports in dict.fromkeys([self._imports, ()]):
            source, made = self._compiled(code, imports)
            if _is_same(made, code):
                if content(made) == content(code):
                    return source
                found = found or source
        return found

    def _compiled(self, code: CodeType, imports: tuple[str, ...]) -> tuple[Source, CodeType]:
        """Compile the text as that of a code in a module with some imports."""
        if isinstance(self.node, ast.GeneratorExp):
            node = _as_function(self.node, code)
            source = Source(code, node, self._classes, imports)
            body: list[ast.stmt] = [ast.copy_location(ast.Expr(self.node), self.node)]
            around = _function(ast.AsyncFunctionDef, ".around", [], body, self.node)
            made = _compile(source, around, _GENEXPR)
        else:
            source = Source(code, self.node, self._classes, imports)
            made = compile_function(source, self.node.body, self.node.args)
        return source, made


def place(code: CodeType, line: int) -> str:
    """Return where a line of a function is, to begin a message with."""
    name = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{code.co_qualname.rpartition('.<locals>.')[2]}, line {line} of {name}"


def source_of(code: CodeType) -> Source:
    """Return the source of a function's code.

    Raises
    ------
    UsageError
        There is no source, or it is not that of the code.
    """
    find = _expressions if code.co_name == _GENEXPR else _functions
    is_there = False
    for text in texts_of(code):
        candidates = find(text, code.co_filename)
        is_there = is_there or bool(candidates)
        for candidate in candidates.get((code.co_name, code.co_firstlineno), ()):
            source = candidate.source(code)
            if source is not None:
                return replace(source, lines=text)
    raise UsageError(_no_source(code, is_there=is_there))


def node_of(code: CodeType) -> Function | None:
    """Return the tree of the function in whose place a code is; it may be compiled from a part."""
    for text in texts_of(code):
        found = _functions(text, code.co_filename).get((code.co_name, code.co_firstlineno), ())
        for one in found:
            if isinstance(one.node, Function):
                return one.node
    return None


def _no_source(code: CodeType, *, is_there: bool) -> str:
    if code.co_name == "<lambda>":
        return f"{place(code, code.co_firstlineno)}: a lambda cannot be a loop.\nWrite it with def."
    if is_there:
        return (
            f"{place(code, code.co_firstlineno)}: its source has changed since it was loaded.\n"
            "Start the program again.\n"
            "If an import hook changes the code of its module, leave this module out."
        )
    return (
        f"{code.co_name} has no source, which a loop without create= needs.\n"
        "Put it into a file, or into a cell of a notebook.\n"
        "Or declare its state, as in @trax.resumable(create=...)."
    )


_Candidates = dict[tuple[str, int], list[_Candidate]]


@functools.lru_cache(maxsize=64)
def _functions(lines: tuple[str, ...], filename: str) -> _Candidates:
    """Return the functions of a file by name and first line."""
    return _find(lines, filename, Function, inner_statements)


@functools.lru_cache(maxsize=64)
def _expressions(lines: tuple[str, ...], filename: str) -> _Candidates:
    """Return the generator expressions of a file by name and first line."""
    return _find(lines, filename, ast.GeneratorExp, children)


def _find(
    lines: tuple[str, ...],
    filename: str,
    kinds: Any,
    inner: Callable[[ast.AST], Iterable[ast.AST]],
) -> _Candidates:
    found: _Candidates = {}
    try:
        tree = tree_of(lines, filename)
    except (SyntaxError, ValueError):
        return found
    imports = tuple(_imported(tree))
    waiting: list[tuple[Any, tuple[str, ...]]] = [(tree, ())]
    while waiting:
        node, classes = waiting.pop()
        if isinstance(node, ast.ClassDef):
            classes = (*classes, node.name)
        if isinstance(node, kinds):
            key = getattr(node, "name", _GENEXPR), _first_line(node)
            found.setdefault(key, []).append(_Candidate(node, classes, imports))
        waiting += [(child, classes) for child in inner(node)]
    return found


def _imported(module: ast.Module) -> Iterator[str]:
    """Yield the names that a module imports, outside of its functions and classes."""
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (one.asname or one.name.partition(".")[0] for one in node.names)
            yield from (name for name in names if name != "*")
        elif not isinstance(node, Function | ast.ClassDef | ast.expr):
            waiting += children(node)


def _first_line(node: Function | ast.GeneratorExp) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _as_function(node: ast.GeneratorExp, code: CodeType) -> Function:
    handed_out = ast.copy_location(ast.Yield(node.elt), node.elt)
    if sys.version_info < (3, 12):  # the place of the yield is that of any part
        for position in _yields(code):
            if position and position.col_offset is not None:
                vars(handed_out).update(position._asdict())
    body: list[ast.stmt] = [ast.copy_location(ast.Expr(handed_out), node.elt)]
    for number, part in reversed([*enumerate(node.generators)]):
        for test in reversed(part.ifs):
            body = [ast.copy_location(ast.If(test, body, []), test)]
        source = ast.Name(".0", ast.Load()) if not number else part.iter
        kind = ast.AsyncFor if part.is_async else ast.For
        loop = kind(part.target, ast.copy_location(source, part.iter), body, [])
        body = [ast.copy_location(loop, part.target)]
    is_async = any(part.is_async for part in node.generators)
    function = ast.AsyncFunctionDef if is_async else ast.FunctionDef
    return _function(function, _GENEXPR, [".0"], body, node)


def _function(
    kind: type[Function], name: str, names: list[str], body: list[ast.stmt], node: ast.AST
) -> Function:
    made: Function = kind(name, _parameters(names), body, [])
    return ast.copy_location(made, node)


def _parameters(names: Sequence[str]) -> ast.arguments:
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])


def _is_same(made: CodeType, code: CodeType) -> bool:
    """Whether two codes are compiled from the same text.

    pytest compiles a test module from a changed tree: its ``assert`` statements call more. What
    counts in that case are the variables, and the places of the yields.
    """
    ours, theirs = made.co_varnames, code.co_varnames
    if len(theirs) > len(ours) or code.co_names != made.co_names:
        if not any(name.startswith(_MADE) for name in (*code.co_names, *theirs)):
            return False
        given = tuple(name for name in theirs if not name.startswith(_MADE))
        return (
            given == ours
            and made.co_freevars == code.co_freevars
            and made.co_cellvars == code.co_cellvars
            and _yields(made) == _yields(code)
        )
    return (
        made.co_names == code.co_names
        and ours == theirs
        and made.co_freevars == code.co_freevars
        and _small_numbers(made) == _small_numbers(code)
        and {*made.co_positions()} == {*code.co_positions()}
        and len(made.co_consts) == len(code.co_consts)
        and all(map(_is_same_constant, made.co_consts, code.co_consts))
    )


def _small_numbers(code: CodeType) -> list[int | None]:
    """Return the numbers that are no constants, from Python 3.14 on."""
    if "LOAD_SMALL_INT" not in dis.opmap:
        return []
    return [one.arg for one in dis.get_instructions(code) if one.opname == "LOAD_SMALL_INT"]


def _yields(code: CodeType) -> set[dis.Positions | None]:
    return {one.positions for one in dis.get_instructions(code) if one.opname == "YIELD_VALUE"}


def _is_same_constant(one: object, other: object) -> bool:
    if inspect.iscode(one) and inspect.iscode(other):
        return _is_same(one, other)
    if isinstance(one, frozenset):
        return one == other
    return type(one) is type(other) and repr(one) == repr(other)


def compile_function(
    source: Source,
    body: list[ast.stmt],
    parameters: ast.arguments | Sequence[str],
    *,
    outer: Sequence[str] = (),
) -> CodeType:
    """Compile a function that has a name, place and surroundings like those of another.

    Parameters
    ----------
    source : Source
        That one's source.
    body : list of stmt
        The statements.
    parameters : arguments or sequence of str
        Its parameters.
    outer : sequence of str
        Names that are variables of a function around it, beside those that were so already.
    """
    node, name = source.node, source.code.co_name
    arguments = parameters if isinstance(parameters, ast.arguments) else _parameters(parameters)
    if set(outer) - set(source.code.co_freevars):
        body = [ast.Nonlocal([*outer]), *body]
    line = _first_line(node)  # a function begins where its decorators do
    mark = ast.Constant(None, lineno=line, end_lineno=line, col_offset=0, end_col_offset=0)
    marks: list[ast.expr] = [mark] if line < node.lineno else []
    function = ast.copy_location(type(node)(name, _bare(arguments), body, marks), node)
    return _compile(source, function, name, outer)


def _compile(source: Source, function: Function, name: str, outer: Sequence[str] = ()) -> CodeType:
    """Compile a function, and return its code, or the first one of this name in it."""
    around: ast.stmt = function
    for one in reversed(source.classes):
        around = ast.ClassDef(one, [], [], [around], [])
    names = dict.fromkeys([*source.code.co_freevars, *outer])
    names.pop("__class__", None)
    own = source.classes[0] if source.classes else name
    top: list[ast.stmt] = [] if own in names else [ast.Global([own])]  # it may refer to itself
    factory = ast.FunctionDef(".factory", _parameters([*names]), [*top, around], [])
    imports: list[ast.stmt] = [ast.Import([ast.alias(one)]) for one in source.imports]
    module = ast.Module([*imports, factory], [])
    _locate(module, source.node)
    flags = source.code.co_flags & _FUTURE
    with alone():
        whole = compile(module, source.code.co_filename, "exec", flags=flags, dont_inherit=True)
    functions = (one for one in nested_codes(whole) if one.co_flags & inspect.CO_OPTIMIZED)
    code = next(one for one in functions if one.co_name == name)
    return _renamed(code, code.co_qualname, source.code.co_qualname)


def _renamed(code: CodeType, old: str, new: str) -> CodeType:
    """Return a code in which functions and classes have qualified names that begin in another way.

    The code of a class has its qualified name among its constants.
    """

    def change(constant: Any) -> Any:
        if inspect.iscode(constant):
            return _renamed(constant, old, new)
        if isinstance(constant, str) and constant.startswith(f"{old}."):
            return new + constant.removeprefix(old)
        return constant

    name = new + code.co_qualname.removeprefix(old)
    return code.replace(co_qualname=name, co_consts=tuple(map(change, code.co_consts)))


def _locate(tree: ast.AST, node: ast.AST) -> None:
    """Give a place to the nodes that have none: the beginning of the node around them."""
    waiting = [(tree, node)]
    while waiting:
        one, around = waiting.pop()
        if hasattr(one, "lineno"):
            around = one
        elif isinstance(
            one, ast.stmt | ast.expr | ast.ExceptHandler | ast.arg | ast.pattern | ast.alias
        ):
            ast.copy_location(one, around)
            one.end_lineno, one.end_col_offset = one.lineno, one.col_offset
        waiting += [(child, around) for child in children(one)]


def _bare(arguments: ast.arguments) -> ast.arguments:
    """Return parameters without defaults and annotations, which belong to the code around."""

    def bare(one: ast.arg) -> ast.arg:
        return ast.copy_location(ast.arg(one.arg), one)

    return ast.arguments(
        posonlyargs=[bare(one) for one in arguments.posonlyargs],
        args=[bare(one) for one in arguments.args],
        vararg=bare(arguments.vararg) if arguments.vararg else None,
        kwonlyargs=[bare(one) for one in arguments.kwonlyargs],
        kw_defaults=[None] * len(arguments.kwonlyargs),
        kwarg=bare(arguments.kwarg) if arguments.kwarg else None,
        defaults=[],
    )


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the codes of the functions and classes in a code, and those in them."""
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield constant
            yield from nested_codes(constant)


def rewritten(node: ast.AST, change: Callable[[ast.AST], ast.AST | None]) -> Any:
    """Return a copy of a tree in which some nodes are others.

    Parameters
    ----------
    node : AST
        The tree; it stays as it is.
    change : callable
        Returns what stands for a node, which is not looked into any more; None if the node stays.
    """
    made = change(node)
    if made is not None or isinstance(node, ast.expr_context):
        return made or node
    made = type(node).__new__(type(node))
    fields = vars(made)
    fields.update(vars(node))
    for name in node._fields:
        value = fields.get(name)
        if isinstance(value, ast.AST):
            fields[name] = rewritten(value, change)
        elif isinstance(value, list):
            fields[name] = [_rewritten_item(one, change) for one in value]
    return made


def _rewritten_item(item: Any, change: Callable[[ast.AST], ast.AST | None]) -> Any:
    return rewritten(item, change) if isinstance(item, ast.AST) else item
