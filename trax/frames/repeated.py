"""Selects the statements of a prologue that make variables again, and those that use them there.

Statements that change settings of libraries are run again, too, if they read nothing that changes.
Only the names of the variables decide, so that a later process finds the same statements. Left out
is what has its effect outside of the process, where it lasts: changes of a database, and what is
written to output files. A statement that binds other variables, too, does so under names that
nobody sees; of one that changes other variables only the parts that use these are run.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterator
from types import CodeType
from typing import Final, NamedTuple

from trax.frames.names import assigned, loaded, own_nodes, read, root
from trax.frames.prologue import has_yield, prologue
from trax.frames.settings import SETTERS
from trax.frames.sites import Site

__all__ = [
    "Repeated",
    "is_lasting",
    "is_setting",
    "local_names",
    "needed_for",
    "opens_to_write",
    "reads_of",
    "repeated",
    "writing_mode",
]

_MODE: Final = re.compile(r"(?=.*[wax+])[rwaxbtU+]{1,3}|w-")
# A directory may be given by a path from the present one.
_SETTERS: Final = (SETTERS - {"chdir"}).union(
    ("basicConfig", "captureWarnings", "disable", "enable", "ioff", "ion", "resetwarnings"),
    ("set_default_tensor_type", "set_option", "set_style", "set_theme"),
    ("seterrcall", "signal", "switch_backend"),
)
_LIBRARIES: Final = frozenset(  # by the names under which they are imported
    [
        *("decimal", "getcontext", "jax", "matplotlib", "mp", "mpl", "mpmath", "np", "numpy"),
        *("os", "pandas", "pd", "plt", "sys", "tf", "torch", "warnings"),
    ]
)
_NEVER: Final = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom),
    *(ast.Assert, ast.Raise, ast.Return),
)
_SESSION: Final = re.compile(
    r"\s*(pragma|attach|set|load|install|use|begin|create\s+(local\s+)?temp)", re.IGNORECASE
)
_LASTING: Final = frozenset(
    [
        *("clear_all", "create_all", "create_collection", "create_index", "create_table"),
        *("delete", "drop", "drop_all", "drop_collection", "drop_database", "drop_table"),
        *("flushall", "flushdb", "insert_many", "insert_one", "purge", "remove", "rmtree"),
        *("savefig", "truncate", "unlink", "update_many", "update_one"),
    ]
)


class Repeated(NamedTuple):
    """A statement that is run again.

    Attributes
    ----------
    depth : int
        The depth of the statement in the path to the yield.
    node : stmt
        The statement in the prologue.
    parts : list of stmt
        What is run of it.
    """

    depth: int
    node: ast.stmt
    parts: list[ast.stmt]


def repeated(code: CodeType, site: Site, remade: Collection[str]) -> Iterator[Repeated]:
    """Yield the statements before the loops around a yield that make variables again, in order.

    Parameters
    ----------
    code : CodeType
        The function's code.
    site : Site
        The yield.
    remade : collection of str
        The variables; also those that a ``with`` binds when it is entered again.
    """
    names, local = {*remade}, local_names(code)
    writers = _entered_writers(site)
    for depth, node in prologue(site):
        if has_yield(node):
            continue
        made = assigned(node) & names
        if opens_to_write(node):
            writers |= assigned(node)
        if made:
            if read(node) & writers:
                writers |= made
            yield Repeated(depth, node, [_hiding(node, assigned(node) - names)])
        elif read(node) & names and not read(node) & writers and not is_lasting(node):
            parts = [*_uses(node, names, local)]
            if parts:
                yield Repeated(depth, node, parts)
        elif is_setting(node, local) and not read(node) & local - _parameters(code, site):
            yield Repeated(depth, node, [_tried(node)])


def _entered_writers(site: Site) -> set[str]:
    """Return the variables of the ``with`` blocks around a yield that are files to write to."""
    targets = [one.optional_vars for _, one in site.entered if opens_to_write(one.context_expr)]
    return {one.id for one in targets if isinstance(one, ast.Name)}


def local_names(code: CodeType) -> set[str]:
    """Return the variables of a function."""
    return {*code.co_varnames, *code.co_cellvars}


def _parameters(code: CodeType, site: Site) -> set[str]:
    """Return the parameters of a function that it does not bind anew."""
    count = code.co_argcount + code.co_kwonlyargcount
    bound_anew = {name for node in site.path[0].statements for name in assigned(node)}
    return {*code.co_varnames[:count]} - bound_anew


def is_setting(node: ast.stmt, local: Collection[str]) -> bool:
    """Whether a statement does no more than to change a setting of a library."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        name = _last_name(function)
        if name in ("update", "use") and isinstance(function, ast.Attribute):
            return _last_name(function.value) in ("config", "matplotlib", "rcParams", "style")
        return name in _SETTERS and root(function) not in local
    if not isinstance(node, ast.Assign):
        return False
    places = (ast.Attribute, ast.Subscript)
    return all(isinstance(one, places) and root(one) in _LIBRARIES for one in node.targets)


def _tried(node: ast.stmt) -> ast.stmt:
    """Return a statement that may fail: the setting may be there already, and is set later."""
    return ast.Try([node], [ast.ExceptHandler(None, None, [ast.Pass()])], [], [])


def needed_for(code: CodeType, site: Site, remade: Collection[str]) -> set[str]:
    """Return the variables that are read to make others again, and are not made again."""
    parts = [part for one in repeated(code, site, remade) for part in one.parts]
    return reads_of(parts, local_names(code)).difference(remade)


def reads_of(parts: Collection[ast.stmt], local: Collection[str]) -> set[str]:
    """Return the variables of the function that statements read when they run."""
    # The body of a class is run at once, too.
    found = (read(one) if isinstance(one, ast.ClassDef) else loaded(one) for one in parts)
    return set().union(*found).intersection(local)


def _uses(node: ast.stmt, names: set[str], local: Collection[str]) -> Iterator[ast.stmt]:
    if isinstance(node, ast.Expr):
        yield from _calls(node.value, names, local)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete):
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
        if any(root(target) in names for target in targets):
            yield _hiding(node, assigned(node))
        elif not isinstance(node, ast.Delete) and node.value is not None:
            yield from _calls(node.value, names, local)
    elif not isinstance(node, _NEVER) and not _returns(node):
        yield _hiding(node, assigned(node))


def _returns(node: ast.stmt) -> bool:
    return any(isinstance(one, ast.Return) for one in own_nodes(node))


def _calls(value: ast.expr, names: set[str], local: Collection[str]) -> Iterator[ast.stmt]:
    """Yield the calls of an expression that use variables made again, and change no others."""
    if not read(value) & names or not any(isinstance(n, ast.Call) for n in ast.walk(value)):
        return
    first = root(value)
    is_method = not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name))
    is_other = first in local if is_method else first == "print"
    if not is_other or first in names:
        yield ast.copy_location(ast.Expr(value), value)
        return
    while not isinstance(value, ast.Name):
        if isinstance(value, ast.Call):
            for argument in [*value.args, *(keyword.value for keyword in value.keywords)]:
                yield from _calls(argument, names, local)
            value = value.func
        elif isinstance(value, ast.Subscript):
            yield from _calls(value.slice, names, local)
            value = value.value
        else:
            value = value.value  # type: ignore[attr-defined]  # as `root` goes


def _hiding(node: ast.stmt, names: set[str]) -> ast.stmt:
    """Return a statement that binds no variables of these names, but others that nobody sees."""
    if not names:
        return node
    node = copy.deepcopy(node)
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign)
    for one in ast.walk(node):
        is_other = isinstance(node, simple) and isinstance(getattr(one, "ctx", None), ast.Load)
        if isinstance(one, ast.Name) and one.id in names and not is_other:
            one.id = f".{one.id}"
    return node


def is_lasting(node: ast.AST) -> bool:
    """Whether a statement changes something outside of the process, where the change lasts."""
    return any(isinstance(one, ast.Call) and _is_lasting_call(one) for one in ast.walk(node))


def _is_lasting_call(call: ast.Call) -> bool:
    name = _last_name(call.func)
    if name.startswith("execute"):
        return not (call.args and _SESSION.match(_text(call.args[0])))
    return name in _LASTING


def _text(node: ast.expr) -> str:
    """Return the constant with which an expression begins."""
    while isinstance(node, ast.JoinedStr | ast.BinOp | ast.Call):
        if isinstance(node, ast.JoinedStr):
            node = node.values[0] if node.values else ast.Constant("")
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:  # text("PRAGMA ...")
            node = node.args[0] if node.args else ast.Constant("")
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name_of(node: ast.expr) -> str:
    """Return a name with dots as it is written; empty for another expression."""
    if isinstance(node, ast.Attribute):
        before = _name_of(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def opens_to_write(node: ast.AST, *, emptying: bool = False) -> bool:
    """Whether a statement opens a file for writing; if `emptying`, only so that it is empty."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        if _name_of(call.func) == "trax.open":
            return not emptying
        name = _last_name(call.func).lower()
        first = (0 if name == "open" else 1) if "open" in name or "file" in name else 3
        if mode := writing_mode(call, first):
            return not emptying or mode[0] in "wx"
    return False


def writing_mode(call: ast.Call, first: int) -> str:
    """Return the mode in which a call opens a file, if that is a text for writing; or nothing.

    It is named, or one of the arguments from the `first` to the third.
    """
    modes = [*call.args[first:3], *(one.value for one in call.keywords if one.arg == "mode")]
    texts = (mode.value for mode in modes if isinstance(mode, ast.Constant))
    return next((one for one in texts if isinstance(one, str) and _MODE.fullmatch(one)), "")
