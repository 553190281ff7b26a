"""Knows functions and methods: which change an object, only report, read a clock or open a file."""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import io
import os
import re
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from trax.frames.names import target_names
from trax.frames.source import Function, nested_codes
from trax.lint import words
from trax.lint.own_code import (
    BUILDING,
    attributes_read,
    built_attributes,
    changed_attributes,
    changed_parameters,
    gives_rng,
    has_nonlocals,
    only_reports,
)
from trax.lint.trees import dotted, function_tree, key_of, nodes_of, scope_nodes

__all__ = ["MUTATORS", "Callees", "captures", "dotted"]

# Methods of lists, sets, dicts and arrays. A call of one only adds to the object.
MUTATORS: Final = frozenset(
    [
        *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "fill"),
        *("insert", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault"),
        *("sort", "subtract", "update", "intersection_update", "difference_update"),
        *("symmetric_difference_update", "put", "put_nowait", "push", "resize"),
    ]
)
# Methods of other objects that change them.
_ADVANCING: Final = frozenset(
    [
        *("step", "partial_fit", "feed", "send", "seek", "read", "readline", "readlines"),
        *("__next__", "advance"),
    ]
)
# Methods that change objects of some makers alone: queues, buffers, and databases in memory.
_OF_MADE: Final = (
    (r"(?i).*queue.*", {"get", "get_nowait", "task_done"}),
    (r"(io\.)?(StringIO|BytesIO)\(", {"write", "writelines"}),
    (r"(.*\.)?connect\(':memory:'", {"execute", "executemany", "executescript"}),
)
_QUERY: Final = r"(?i)f?['\"]+\s*(select|pragma|explain)\b"
_MEMOS: Final = {"cache", "lru_cache", "cached", "memoize"}
_HELPERS: Final = {"steps", "remaining", "step"}
_COUNTING: Final = frozenset(["steps", "remaining"])
_NUMBERS: Final = {"range", "steps", "step", "count", "int", "float", "len", "round", "abs", "sum"}
_BINDING: Final = {
    *(ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign, ast.For, ast.AsyncFor),
    *(ast.comprehension, ast.withitem, ast.Match),
}
_RNGS: Final = {"Random", "RandomState", "Generator"}  # classes of shared ones
_DEEP: Final = 3  # methods that call others
_THROUGH: Final = {"enumerate", "zip", "reversed", "iter", "list"}
_WRITING: Final = r"(?=.*[wax])[rwaxbtU+]{1,4}"


class Callees:
    """The functions and methods that the calls in a function lead to, as far as it can be seen.

    Parameters
    ----------
    function : FunctionType
        The function.
    node : FunctionDef or AsyncFunctionDef
        Its tree.
    kinds : dict of str to type
        The classes of some local variables.
    """

    def __init__(self, function: FunctionType, node: Function, kinds: dict[str, type]) -> None:
        self._function = function
        code = function.__code__
        self._local = {*code.co_varnames, *code.co_cellvars}
        cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
        self._closure = {name: cell for name, cell in cells if name not in self._local}
        functions: list[Function] = [
            *nodes_of(ast.FunctionDef, node.body),
            *nodes_of(ast.AsyncFunctionDef, node.body),
        ]
        self.inner = {one.name: one for one in functions}
        self._kinds = kinds
        self._objects: dict[str, Any] = {}
        self._clocks: dict[str, bool] = {}  # by the name of the function
        self._followed: dict[str, tuple[FunctionType, type | None] | None] = {}
        self._attributes: dict[ast.expr, Any] = {}
        self._reaching: dict[tuple[FunctionType, frozenset[str], int], bool] = {}
        self._bases: dict[str, set[str]] = {}
        self._makers: dict[str, list[ast.expr]] = {}
        for one in scope_nodes(node.body):
            for target, value in _bindings(one) if type(one) in _BINDING else ():
                self._makers.setdefault(target, []).append(value)

    # -- objects that names lead to --------------------------------------------------------

    def resolved(self, node: ast.expr) -> Any:
        """Return the object that a name or an attribute of a module or class leads to, or None."""
        if isinstance(node, ast.Name):
            if node.id not in self._objects:
                self._objects[node.id] = self._object(node.id)
            return self._objects[node.id]
        if isinstance(node, ast.Attribute):
            if node not in self._attributes:
                owner = self.resolved(node.value)
                is_named = isinstance(owner, (ModuleType, type))
                self._attributes[node] = vars(owner).get(node.attr) if is_named else None
            return self._attributes[node]
        return None

    def _object(self, name: str) -> Any:
        if name in self._closure:
            try:
                return self._closure[name].cell_contents
            except ValueError:
                return None
        if name in self._local:
            return None
        return self._function.__globals__.get(name, getattr(builtins, name, None))

    def maker(self, name: str) -> ast.expr | None:
        """Return the value of the only assignment to a local variable."""
        values = self._makers.get(name, ())
        return values[0] if len(values) == 1 else None

    def values(self, name: str) -> list[ast.expr]:
        """Return the values of all assignments to a local variable."""
        return self._makers.get(name, [])

    def bases(self, name: str) -> set[str]:
        """Return the objects of which a variable is always a part, such as the item of a loop."""
        if name not in self._bases:
            self._bases[name] = set()  # for a variable that is made of itself
            parts = [self._part_of(value) for value in self._makers.get(name, ())]
            found = set().union(*(part for part in parts if part))
            self._bases[name] = (found if all(parts) else set()) - {name}
        return self._bases[name]

    def _part_of(self, value: ast.expr) -> set[str]:
        """Return the objects of which a value is a part, or which it is."""
        base = value
        while isinstance(base, ast.Attribute | ast.Subscript):
            base = base.value
        if isinstance(base, ast.Call) and base is not value:
            if dotted(base.func) in _THROUGH:
                parts = (ast.Subscript(one, ast.Constant(0), ast.Load()) for one in base.args)
                return set().union(*map(self._part_of, parts))
            is_view = getattr(base.func, "attr", "") in ("values", "items", "cursor")
            return self._part_of(base.func) if is_view else set()
        key = key_of(value) if isinstance(base, ast.Name) else None
        return {key} | self.bases(key.partition(".")[0]) if key else set()

    def _kind(self, node: ast.expr) -> type | None:
        """Return the class of an object, if it is one of the user's."""
        if not isinstance(node, ast.Name):
            return None
        if node.id in self._kinds:
            return self._kinds[node.id]
        made = self.maker(node.id)
        found = self.resolved(made.func) if isinstance(made, ast.Call) else None
        if found is None and made is None and node.id not in self._local:
            found = type(self.resolved(node))
        return found if isinstance(found, type) else None

    # -- calls -----------------------------------------------------------------------------

    def changes(self, call: ast.Call) -> Iterator[ast.expr]:
        """Yield the objects that a call changes in place, as far as it can be seen."""
        func = call.func
        is_method = isinstance(func, ast.Attribute) and not self._is_module(func.value)
        if is_method and isinstance(func, ast.Attribute) and self._changes_itself(call, func):
            yield func.value
        if isinstance(func, ast.Name) and self._changes_when_called(func):
            yield func
        if call.args and words.changes_first_argument(dotted(func)):
            yield call.args[0]
        for given in call.keywords:
            is_file = given.arg == "file" and self._is_of_made("write", given.value)
            if given.arg == "out" or is_file:
                yield given.value
        found = self.resolved(func)
        if isinstance(found, FunctionType) and self.is_near(found):
            numbers = changed_parameters(found.__code__)
            yield from (one for number, one in enumerate(call.args) if number in numbers)

    def _is_module(self, node: ast.expr) -> bool:
        return isinstance(self.resolved(node), ModuleType | type)

    def shares_globals(self, found: FunctionType) -> bool:
        """Whether a function has the same global variables as the loop's."""
        return found.__globals__ is self._function.__globals__

    def near(self, names: Iterable[str]) -> Iterator[FunctionType]:
        """Yield the user's own functions of some names, and those that have a cache."""
        for name in sorted(names):
            found = self.resolved(ast.Name(name, ast.Load()))
            found = inspect.unwrap(found) if callable(found) else found
            if isinstance(found, FunctionType) and self.is_near(found):
                yield found

    def names_used(self) -> set[str]:
        """Return the global names that the function uses, and those of the functions in them."""
        names = {*self._function.__code__.co_names}
        for _ in range(_DEEP):
            names.update(*(one.__code__.co_names for one in self.near(names)))
        return names

    def is_near(self, found: FunctionType) -> bool:
        """Whether a function is in the directory of the loop's, and so the user's own."""
        own, other = self._function.__code__.co_filename, found.__code__.co_filename
        return own == other or os.path.dirname(own) == os.path.dirname(other) != ""

    def _changes_itself(self, call: ast.Call, func: ast.Attribute) -> bool:
        """Whether a method changes its object."""
        name = func.attr
        kind = self._kind(func.value)
        method = getattr(kind, name, None) if kind is not None else None
        if isinstance(method, FunctionType) and self.is_near(method):
            return bool(changed_attributes(method.__code__, kind))
        if name in MUTATORS or name in _ADVANCING:
            return True
        if not self._is_of_made(name, func.value):
            return False
        return not (call.args and re.match(_QUERY, ast.unparse(call.args[0])))

    def _is_of_made(self, method: str, node: ast.expr) -> bool:
        """Whether a method of a variable is one that changes what its maker has made."""
        if not any(method in methods for _, methods in _OF_MADE):
            return False
        made = self.maker(node.id) if isinstance(node, ast.Name) else None
        opened = made.func if isinstance(made, ast.Call) else None
        if isinstance(opened, ast.Attribute) and opened.attr == "cursor":
            return self._is_of_made(method, opened.value)
        text = ast.unparse(made) if isinstance(made, ast.Call) else ""
        return any(method in methods and re.match(maker, text) for maker, methods in _OF_MADE)

    def built_up(self, node: ast.AST) -> set[str]:
        """Return the objects that a statement or call surely changes bit by bit, without caches."""
        given: list[ast.expr] = []
        if isinstance(node, ast.AugAssign):
            given = [node.target]
        elif isinstance(node, ast.Assign):
            given = [one for one in node.targets if isinstance(one, ast.Subscript)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_built = node.func.attr in BUILDING or self._counts_in_object(node.func)
            given = [node.func.value] if is_built else []
        keys = {
            key_of(one)
            for one in given
            if not isinstance(one, ast.Name) or not isinstance(node, ast.AugAssign)
        }
        roots = {key: ast.Name(key.partition(".")[0], ast.Load()) for key in keys if key}
        return {
            key
            for key, root in roots.items()
            if not words.is_cache(key) and not self._is_module(root)
        }

    def _counts_in_object(self, func: ast.Attribute) -> bool:
        """Whether a method of an object of the module builds up what others of its methods read."""
        if not isinstance(func.value, ast.Name) or func.value.id in self._local:
            return False
        kind = self._kind(func.value)
        method = getattr(kind, func.attr, None)
        if kind is None or not isinstance(method, FunctionType) or not self.is_near(method):
            return False
        return not built_attributes(method.__code__).isdisjoint(attributes_read(kind))

    def _changes_when_called(self, func: ast.Name) -> bool:
        """Whether a local variable is an object or a closure that a call of it changes."""
        kind = self._kind(func)
        method = vars(kind).get("__call__") if kind is not None else None
        if isinstance(method, FunctionType) and self.is_near(method):
            return bool(changed_attributes(method.__code__, kind))
        made = self.maker(func.id)
        found = self.resolved(made.func) if isinstance(made, ast.Call) else None
        if not isinstance(found, FunctionType) or not self.is_near(found):
            return False
        return has_nonlocals(found.__code__)

    def adds_only(self, call: ast.Call) -> bool:
        """Whether a call does nothing but change an object that holds others."""
        func = call.func
        if not isinstance(func, ast.Attribute) or self._is_module(func.value):
            return False
        method = getattr(self._kind(func.value), func.attr, None)
        is_own = isinstance(method, FunctionType) and self.is_near(method)
        return func.attr in MUTATORS or is_own

    def is_report(self, call: ast.Call) -> bool:
        """Whether a call only tells a person something, or waits."""
        given = [dotted(one.value) for one in call.keywords if one.arg == "file"]
        if not {*given} <= {"sys.stderr", "sys.stdout"}:
            return False
        name = dotted(call.func)
        made = self.maker(name.partition(".")[0])
        is_bar = isinstance(made, ast.Call) and words.is_bar(dotted(made.func))
        if words.is_report(name) or is_bar:
            return True
        found = self.resolved(call.func)
        if name in self.inner:
            return only_reports(self.inner[name])
        if isinstance(found, FunctionType) and self.is_near(found):
            return only_reports(function_tree(found.__code__))
        return False

    def is_clock(self, call: ast.Call) -> bool:
        """Whether a call gives something else in every process."""
        found = self.resolved(call.func)
        if found in (hash, id):
            return not all(map(self._is_number, call.args))
        name = dotted(call.func)
        if name not in self._clocks:
            self._clocks[name] = words.is_clock(name) or words.is_clock(_own_name(found))
        return self._clocks[name]

    def _is_number(self, node: ast.expr) -> bool:
        """Whether an expression is visibly a number, whose hash is the same in every process."""
        if isinstance(node, ast.Name):
            made = self.maker(node.id)
            return made is not None and self._is_number(made)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):  # of a loop
            node = node.value
        if isinstance(node, ast.Call):
            return dotted(node.func).rpartition(".")[2] in _NUMBERS
        if isinstance(node, ast.BinOp):
            return self._is_number(node.left) and self._is_number(node.right)
        if isinstance(node, ast.Tuple):
            return all(map(self._is_number, node.elts))
        return isinstance(node, ast.Constant) and not isinstance(node.value, str | bytes)

    def makes_rng(self, call: ast.Call) -> bool:
        """Whether a call makes an RNG, or something of the user's that draws from its own one."""
        if words.makes_rng(dotted(call.func)):
            return True
        found = self.followed(call)
        return found is not None and gives_rng(*found)

    def is_shared_rng(self, node: ast.expr) -> bool:
        """Whether an expression is named like an RNG, and the function has not made it."""
        name = dotted(node)
        is_own = bool(self._makers.get(name.partition(".")[0]))
        return not is_own and words.draws_from_shared(f"{name}.random")

    def followed(self, call: ast.Call) -> tuple[FunctionType, type | None] | None:
        """Return the user's own function that a call runs, with the class whose method it is."""
        name = dotted(call.func)
        if name not in self._followed:
            self._followed[name] = self._followed_now(call)
        return self._followed[name]

    def _followed_now(self, call: ast.Call) -> tuple[FunctionType, type | None] | None:
        found, kind = self.resolved(call.func), None
        if isinstance(found, staticmethod):
            found = found.__func__
        if isinstance(found, type):
            kind, found = found, getattr(found, "__init__", None)
        elif found is None and isinstance(call.func, ast.Attribute):
            kind = self._kind(call.func.value)
            found = getattr(kind, call.func.attr, None) if kind is not None else None
        if isinstance(found, FunctionType) and self.is_near(found):
            return found, kind
        return None

    def reaches(self, found: FunctionType, kind: type | None, names: frozenset[str]) -> bool:
        """Whether a function, or one that it calls, uses one of some names."""
        members = (found, *(vars(kind).values() if kind is not None else ()))
        functions = (one for one in members if isinstance(one, FunctionType))
        return any(self._reaches(one, names, _DEEP) for one in functions)

    def remembers_noise(self, function: FunctionType) -> str:
        """Return the variable in which a function remembers random numbers, or nothing."""
        node = function_tree(function.__code__)
        if node is None:
            return ""
        kept: list[tuple[str | None, ast.AST]] = [
            (key_of(target), part)
            for one in ast.walk(node)
            if isinstance(one, ast.If) and any(map(_is_not_in, ast.walk(one.test)))
            for part in one.body
            if isinstance(part, ast.Assign)
            for target in part.targets
            if isinstance(target, ast.Subscript)
        ]
        kept += [(node.name, node)] * any(map(_is_memo, node.decorator_list))
        if not kept:
            return ""
        inner = Callees(function, node, {})
        for name, part in kept:
            calls = (one for one in ast.walk(part) if isinstance(one, ast.Call))
            if name and name not in inner._local and any(map(inner.draws, calls)):
                return name
        return ""

    def draws(self, call: ast.Call) -> bool:
        """Whether a call draws from an RNG that the function has not made."""
        name = dotted(call.func)
        found = self.resolved(call.func)
        is_shared = found is not None and type(getattr(found, "__self__", 0)).__name__ in _RNGS
        if not (is_shared or words.draws_from_shared(name)):
            return False
        if words.makes_rng(name) or self.seeds(call):
            return False
        if is_shared:
            return True
        root = name.partition(".")[0]
        if root in ("random", "np", "numpy", "torch"):
            return isinstance(self.resolved(ast.Name(root, ast.Load())), ModuleType)
        return not self._makers.get(root)

    def seeds(self, call: ast.Call) -> bool:
        """Whether a call seeds an RNG that is shared, such as that of the module `random`."""
        if not words.seeds(dotted(call.func)):
            return False
        root = key_of(call.func) or ""  # a part of a package may not be loaded yet
        return self.resolved(ast.Name(root.partition(".")[0], ast.Load())) is not None

    def helper(self, call: ast.Call) -> str:
        """Return the name of trax's function that counts steps, if it is called; or nothing."""
        found = self.resolved(call.func)
        module = getattr(found, "__module__", None)
        if module is not None and module.partition(".")[0] == "trax":
            name = getattr(found, "__name__", "")
            return name if name in _HELPERS else ""
        owner, _, name = dotted(call.func).partition(".")
        return name if owner == "trax" and found is None and name in _HELPERS else ""

    def counts_inside(self, call: ast.Call) -> bool:
        """Whether a call leads to a function in which trax's functions that count are called."""
        found = self.resolved(call.func)
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in self.inner:
            calls = (one for one in ast.walk(self.inner[name]) if isinstance(one, ast.Call))
            return any(map(self.helper, calls))
        return isinstance(found, FunctionType) and self._reaches(found, _COUNTING, _DEEP)

    def _reaches(self, function: FunctionType, names: frozenset[str], depth: int) -> bool:
        known = function, names, depth
        if known not in self._reaching:
            self._reaching[known] = self._uses_itself_or_below(function, names, depth)
        return self._reaching[known]

    def _uses_itself_or_below(
        self, function: FunctionType, names: frozenset[str], depth: int
    ) -> bool:
        code = function.__code__
        used = {name for one in (code, *nested_codes(code)) for name in one.co_names}
        if used & names:
            return True
        called = [function.__globals__.get(name) for name in used] if depth else []
        for cell in function.__closure__ or () if depth else ():
            with contextlib.suppress(ValueError):  # it is empty
                called.append(cell.cell_contents)
        return any(
            isinstance(one, FunctionType)
            and self.is_near(one)
            and self._reaches(one, names, depth - 1)
            for one in called
        )

    def removes(self, call: ast.Call) -> bool:
        """Whether a call removes or renames a file, as far as it can be seen."""
        func = call.func
        if words.removes_file(dotted(func)):
            return True
        if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
            return False
        is_item = isinstance(self.maker(func.value.id), ast.Subscript)  # and no table of pandas
        return func.attr in ("unlink", "rename") and is_item

    def opens_output(self, call: ast.Call) -> bool:
        """Whether a call is `trax.open`."""
        found = self.resolved(call.func)
        is_own = getattr(found, "__module__", "") in ("trax", "trax.engine.helpers")
        return dotted(call.func) == "trax.open" or (
            is_own and getattr(found, "__name__", "") == "open"
        )

    def opened_mode(self, call: ast.Call) -> str:
        """Return the mode in which a call opens a file for writing; empty if it does not."""
        func = call.func
        is_method = isinstance(func, ast.Attribute) and not self._is_module(func.value)
        if is_method and getattr(func, "attr", "") != "open":
            return ""
        if not is_method and self.resolved(func) is not io.open and dotted(func) != "gzip.open":
            return ""
        if self.opens_output(call):
            return ""
        modes = [*call.args[not is_method : 2]]
        modes += [one.value for one in call.keywords if one.arg == "mode"]
        for mode in modes:
            text = mode.value if isinstance(mode, ast.Constant) else ""
            if isinstance(text, str) and re.fullmatch(_WRITING, text):
                return text
        return ""


def _own_name(found: object) -> str:
    """Return the name of a function where it is defined, such as ``time.time``."""
    name = getattr(found, "__qualname__", "") if callable(found) else ""
    return name if "." in name else f"{getattr(found, '__module__', '')}.{name}"


def _is_memo(decorator: ast.expr) -> bool:
    name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return name.removeprefix("functools.").partition(".")[0] in _MEMOS


def _is_not_in(node: ast.AST) -> bool:
    return isinstance(node, ast.NotIn)


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a statement binds, and the values; an item of a loop is a part."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            for name in target_names(target):
                yield name, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
        if isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        for name in target_names(node.target):
            yield name, ast.Subscript(node.iter, ast.Constant(0), ast.Load())
    elif isinstance(node, ast.Match):
        for case in node.cases:
            yield from captures(case.pattern, node.subject)
    elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        yield node.optional_vars.id, node.context_expr


def captures(pattern: ast.pattern, subject: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a pattern binds, and the parts of its subject that they are."""
    parts: list[tuple[ast.pattern, ast.expr]] = []
    if isinstance(pattern, ast.MatchAs):
        if pattern.name:
            yield pattern.name, subject
        parts = [(pattern.pattern, subject)] if pattern.pattern else []
    elif isinstance(pattern, ast.MatchMapping):
        keys = (ast.Subscript(subject, key, ast.Load()) for key in pattern.keys)
        parts = [*zip(pattern.patterns, keys, strict=True)]
    elif isinstance(pattern, ast.MatchSequence):
        numbers = map(ast.Constant, range(len(pattern.patterns)))
        items = (ast.Subscript(subject, number, ast.Load()) for number in numbers)
        parts = [*zip(pattern.patterns, items, strict=True)]
    elif isinstance(pattern, ast.MatchClass):
        values = (ast.Attribute(subject, name, ast.Load()) for name in pattern.kwd_attrs)
        parts = [*zip(pattern.kwd_patterns, values, strict=True)]
    for inner, part in parts:
        yield from captures(inner, part)
