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
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final

from trax.frames.names import read, target_names
from trax.frames.prologue import changed
from trax.frames.source import Function
from trax.lint.trees import function_tree, key_of, scope_nodes

__all__ = ["MUTATORS", "Callees", "dotted", "is_cache"]

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
# Those of them that are never called for anything else.
_BUILDING: Final = frozenset(
    ["append", "appendleft", "extend", "insert", "pop", "popleft", "remove", "step"]
)
# Methods that change objects of some makers alone: queues, buffers, and databases in memory.
_OF_MADE: Final = (
    (re.compile(r".*queue.*", re.IGNORECASE), {"get", "get_nowait", "task_done"}),
    (re.compile(r"(io\.)?(StringIO|BytesIO)\("), {"write", "writelines"}),
    (re.compile(r"(.*\.)?connect\(':memory:'"), {"execute", "executemany", "executescript"}),
)
_QUERY: Final = re.compile(r"f?['\"]+\s*(select|pragma|explain)\b", re.IGNORECASE)
# Functions that change their first argument.
_FIRST: Final = re.compile(
    r"(.*\.)?(next|anext|setattr|delattr|heap(push|pop|ify|replace|pushpop)|insort(_left|_right)?"
    r"|((np\.)?random|rng|rand|gen|generator)\.shuffle|shuffle"
    r"|\w+\.(copyto|fill_diagonal|putmask|place|(add|subtract|multiply|maximum|minimum)\.at))"
)
_REPORT: Final = re.compile(
    r"(.*\.)?(print|pprint|log|debug|info|warning|warn|error|exception|critical|sleep|pause"
    r"|set_description(_str)?|set_postfix(_str)?|refresh|collect|empty_cache|close|flush|shutdown)"
    r"|(.*\.)?_?(log|logger|logging|bar|pbar|progress\w*|tqdm|console|rich|warnings|gc|plt)\.\w+"
    r"|sys\.(stdout|stderr)\.\w+"
)
_MEMO: Final = re.compile(r"(functools\.)?(cache|lru_cache|cached|memoize)\b")
_REMOVING: Final = re.compile(r"((os|shutil)\.)?(renames?|unlink|move)|os\.(replace|remove)")
_BAR: Final = re.compile("tqdm|progress|alive_bar|logg", re.IGNORECASE)
_CLOCK: Final = re.compile(
    r"(.*\.)?(time\.(time|perf_counter|monotonic|process_time|thread_time)(_ns)?"
    r"|(perf_counter|monotonic|process_time)(_ns)?|(datetime|date)\.(now|utcnow|today)"
    r"|time\.(ctime|localtime|gmtime|strftime|asctime)|default_timer"
    r"|uuid[14]|urandom|getpid|token_(hex|bytes|urlsafe)|secrets\.\w+|SystemRandom)"
)
_RNG: Final = re.compile(
    r"(.*\.)?(default_rng|Random|RandomState|Generator|PCG64|Philox|MT19937|PRNGKey)"
)
_SHARED_RNG: Final = re.compile(
    r"(np\.|numpy\.)?random\.\w+|(.*\.)?_?(rng|prng|random_state|generator)\.\w+|torch\.rand\w*"
)
_SEED: Final = re.compile(
    r"(random|np\.random|numpy\.random)\.seed|(.*\.)?(manual_seed|seed_everything|set_seed)|seed"
)
_HELPERS: Final = re.compile(r"(trax\.)?(steps|remaining|step)")
_COUNTING: Final = {"steps", "remaining"}
_NUMBERS: Final = {"range", "steps", "step", "count", "int", "float", "len", "round", "abs", "sum"}
_BINDING: Final = (
    *(ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign, ast.For, ast.AsyncFor),
    *(ast.comprehension, ast.withitem),
)
_DEEP: Final = 3  # methods that call others
_CACHE: Final = re.compile("cache|memo", re.IGNORECASE)
_THROUGH: Final = {"enumerate", "zip", "reversed", "iter", "list"}
_WRITING: Final = re.compile(r"(?=.*[wax])[rwaxbtU+]{1,4}")


def dotted(node: ast.expr) -> str:
    """Return a name and its attributes such as ``np.random.seed``; a call in it is ``()``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "()"


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
        nodes = [*scope_nodes(*node.body)]
        self.inner = {one.name: one for one in nodes if isinstance(one, Function)}
        self._kinds = kinds
        self._bases: dict[str, set[str]] = {}
        self._makers: dict[str, list[ast.expr]] = {}
        for one in (one for one in nodes if isinstance(one, _BINDING)):
            for target, value in _bindings(one):
                self._makers.setdefault(target, []).append(value)

    # -- objects that names lead to --------------------------------------------------------

    def resolved(self, node: ast.expr) -> Any:
        """Return the object that a name or an attribute of a module or class leads to, or None."""
        if isinstance(node, ast.Name):
            if node.id in self._closure:
                try:
                    return self._closure[node.id].cell_contents
                except ValueError:
                    return None
            if node.id in self._local:
                return None
            given = self._function.__globals__
            return given.get(node.id, getattr(builtins, node.id, None))
        if isinstance(node, ast.Attribute):
            owner = self.resolved(node.value)
            if isinstance(owner, ModuleType | type):
                return vars(owner).get(node.attr)
        return None

    def maker(self, name: str) -> ast.expr | None:
        """Return the value of the only assignment to a local variable."""
        values = self._makers.get(name, ())
        return values[0] if len(values) == 1 else None

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
        if call.args and _FIRST.fullmatch(dotted(func)):
            yield call.args[0]
        for given in call.keywords:
            is_file = given.arg == "file" and self._is_of_made("write", given.value)
            if given.arg == "out" or is_file:
                yield given.value
        found = self.resolved(func)
        if isinstance(found, FunctionType) and self.is_near(found):
            numbers = _changed_parameters(found.__code__)
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
            return bool(self._changed_attributes(method.__code__, kind))
        if name in MUTATORS or name in _ADVANCING:
            return True
        is_query = bool(call.args) and _QUERY.match(ast.unparse(call.args[0]))
        return self._is_of_made(name, func.value) and not is_query

    def _is_of_made(self, method: str, node: ast.expr) -> bool:
        """Whether a method of a variable is one that changes what its maker has made."""
        if not any(method in methods for _, methods in _OF_MADE):
            return False
        made = self.maker(node.id) if isinstance(node, ast.Name) else None
        opened = made.func if isinstance(made, ast.Call) else None
        if isinstance(opened, ast.Attribute) and opened.attr == "cursor":
            return self._is_of_made(method, opened.value)
        text = ast.unparse(made) if isinstance(made, ast.Call) else ""
        return any(maker.match(text) and method in methods for maker, methods in _OF_MADE)

    def built_up(self, node: ast.AST) -> set[str]:
        """Return the objects that a statement or call surely changes bit by bit, without caches."""
        given: list[ast.expr] = []
        if isinstance(node, ast.AugAssign):
            given = [node.target]
        elif isinstance(node, ast.Assign):
            given = [one for one in node.targets if isinstance(one, ast.Subscript)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [node.func.value] if node.func.attr in _BUILDING else []
        keys = {
            key_of(one)
            for one in given
            if not isinstance(one, ast.Name) or not isinstance(node, ast.AugAssign)
        }
        roots = {key: ast.Name(key.partition(".")[0], ast.Load()) for key in keys if key}
        return {
            key for key, root in roots.items() if not is_cache(key) and not self._is_module(root)
        }

    def _changes_when_called(self, func: ast.Name) -> bool:
        """Whether a local variable is an object or a closure that a call of it changes."""
        kind = self._kind(func)
        method = vars(kind).get("__call__") if kind is not None else None
        if isinstance(method, FunctionType) and self.is_near(method):
            return bool(self._changed_attributes(method.__code__, kind))
        made = self.maker(func.id)
        found = self.resolved(made.func) if isinstance(made, ast.Call) else None
        if not isinstance(found, FunctionType) or not self.is_near(found):
            return False
        node = function_tree(found.__code__)
        return node is not None and any(isinstance(one, ast.Nonlocal) for one in ast.walk(node))

    def _changed_attributes(
        self, code: CodeType, kind: type | None, depth: int = _DEEP
    ) -> set[str]:
        """Return the attributes of its object that a method visibly changes, without caches."""
        node = function_tree(code)
        if node is None or not code.co_argcount:
            return set()
        own = code.co_varnames[0]
        body = ast.Module(node.body, [])
        found = {part for name, part in changed(body) if name == own and not is_cache(part)}
        for one in ast.walk(body) if depth else ():
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
                is_own = isinstance(one.func.value, ast.Name) and one.func.value.id == own
                method = getattr(kind, one.func.attr, None) if is_own else None
                if isinstance(method, FunctionType):
                    found |= self._changed_attributes(method.__code__, kind, depth - 1)
        return found

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
        if any(one.arg == "file" for one in call.keywords):
            return False
        name = dotted(call.func)
        made = self.maker(name.partition(".")[0])
        is_bar = isinstance(made, ast.Call) and bool(_BAR.search(dotted(made.func)))
        if _REPORT.fullmatch(name) or is_bar:
            return True
        found = self.resolved(call.func)
        if name in self.inner:
            return self._only_reports(self.inner[name])
        if isinstance(found, FunctionType) and self.is_near(found):
            node = function_tree(found.__code__)
            return node is not None and self._only_reports(node)
        return False

    def _only_reports(self, node: Function) -> bool:
        calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
        reports = [bool(_REPORT.fullmatch(dotted(one.func))) for one in calls]
        body = ast.Module(node.body, [])
        return (
            any(reports)
            and not changed(body)
            and not any(
                isinstance(one, ast.Global | ast.Nonlocal | ast.Return | ast.With)
                for one in ast.walk(body)
            )
        )

    def is_clock(self, call: ast.Call) -> bool:
        """Whether a call gives something else in every process."""
        name = dotted(call.func)
        found = self.resolved(call.func)
        if isinstance(found, BuiltinFunctionType) and found.__module__ == "time":
            name = f"time.{found.__name__}"
        if found in (hash, id):
            return not all(map(self._is_number, call.args))
        return bool(_CLOCK.fullmatch(name))

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
        """Whether a call makes an RNG."""
        return bool(_RNG.fullmatch(dotted(call.func)))

    def remembers_noise(self, function: FunctionType) -> str:
        """Return the variable in which a function remembers random numbers, or nothing."""
        node = function_tree(function.__code__)
        if node is None:
            return ""
        inner = Callees(function, node, {})
        kept: list[tuple[str | None, ast.AST]] = [
            (key_of(target), part)
            for one in ast.walk(node)
            if isinstance(one, ast.If) and any(map(_is_not_in, ast.walk(one.test)))
            for part in one.body
            if isinstance(part, ast.Assign)
            for target in part.targets
            if isinstance(target, ast.Subscript)
        ]
        kept += [(node.name, node) for one in node.decorator_list if _MEMO.match(ast.unparse(one))]
        for name, part in kept:
            calls = (one for one in ast.walk(part) if isinstance(one, ast.Call))
            if name and name not in inner._local and any(map(inner.draws, calls)):
                return name
        return ""

    def draws(self, call: ast.Call) -> bool:
        """Whether a call draws from an RNG that the function has not made."""
        name = dotted(call.func)
        if not _SHARED_RNG.fullmatch(name) or self.makes_rng(call) or self.seeds(call):
            return False
        root = name.partition(".")[0]
        if root in ("random", "np", "numpy", "torch"):
            return isinstance(self.resolved(ast.Name(root, ast.Load())), ModuleType)
        return not self._makers.get(root)

    def seeds(self, call: ast.Call) -> bool:
        """Whether a call seeds an RNG that is shared, such as that of the module `random`."""
        if not _SEED.fullmatch(dotted(call.func)):
            return False
        root = key_of(call.func) or ""  # a part of a package may not be loaded yet
        return self.resolved(ast.Name(root.partition(".")[0], ast.Load())) is not None

    def helper(self, call: ast.Call) -> str:
        """Return the name of trax's function that counts steps, if it is called; or nothing."""
        found = self.resolved(call.func)
        module = getattr(found, "__module__", None)
        if module is not None and module.partition(".")[0] == "trax":
            name = getattr(found, "__name__", "")
            return name if _HELPERS.fullmatch(name) else ""
        name = dotted(call.func)
        is_trax = name.startswith("trax.") and found is None
        return name.partition(".")[2] if is_trax and _HELPERS.fullmatch(name) else ""

    def counts_inside(self, call: ast.Call) -> bool:
        """Whether a call leads to a function in which trax's functions that count are called."""
        found = self.resolved(call.func)
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in self.inner:
            calls = (one for one in ast.walk(self.inner[name]) if isinstance(one, ast.Call))
            return any(map(self.helper, calls))
        return isinstance(found, FunctionType) and self._counts(found)

    def _counts(self, function: FunctionType, depth: int = _DEEP) -> bool:
        names = {*function.__code__.co_names}
        if names & _COUNTING:
            return True
        called = [function.__globals__.get(name) for name in names] if depth else []
        for cell in function.__closure__ or () if depth else ():
            with contextlib.suppress(ValueError):  # it is empty
                called.append(cell.cell_contents)
        return any(
            isinstance(one, FunctionType) and self.is_near(one) and self._counts(one, depth - 1)
            for one in called
        )

    def removes(self, call: ast.Call) -> bool:
        """Whether a call removes or renames a file, as far as it can be seen."""
        func = call.func
        if _REMOVING.fullmatch(dotted(func)):
            return True
        if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
            return False
        is_item = isinstance(self.maker(func.value.id), ast.Subscript)  # and no table of pandas
        return func.attr in ("unlink", "rename") and is_item

    def opens_output(self, call: ast.Call) -> bool:
        """Whether a call is `trax.open`."""
        found = self.resolved(call.func)
        return dotted(call.func) == "trax.open" or (
            getattr(found, "__module__", "")
            in (
                "trax.engine.helpers",
                "trax",
            )
            and getattr(found, "__name__", "") == "open"
        )

    def opened_mode(self, call: ast.Call) -> str:
        """Return the mode in which a call opens a file for writing; empty if it does not."""
        if self.opens_output(call):
            return ""
        func = call.func
        is_method = isinstance(func, ast.Attribute) and not self._is_module(func.value)
        if is_method and getattr(func, "attr", "") != "open":
            return ""
        if not is_method and self.resolved(func) is not io.open and dotted(func) != "gzip.open":
            return ""
        modes = [*call.args[not is_method : 2]]
        modes += [one.value for one in call.keywords if one.arg == "mode"]
        for mode in modes:
            text = mode.value if isinstance(mode, ast.Constant) else ""
            if isinstance(text, str) and _WRITING.fullmatch(text):
                return text
        return ""


def _is_not_in(node: ast.AST) -> bool:
    return isinstance(node, ast.NotIn)


@lru_cache(maxsize=1 << 8)
def _changed_parameters(code: CodeType) -> set[int]:
    """Return the numbers of the parameters whose objects a function visibly changes."""
    node = function_tree(code)
    if node is None:
        return set()
    body = ast.Module(node.body, [])
    roots = {name for name, part in changed(body) if not is_cache(name + part)}
    nodes = [*ast.walk(body)]
    for one in nodes:  # the items of an object are parts of it
        if isinstance(one, ast.For) and roots & target_names(one.target):
            roots |= read(one.iter)
    names = [one for one in nodes if isinstance(one, ast.Name)]
    roots -= {one.id for one in names if isinstance(one.ctx, ast.Store)}
    parameters = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    return {number for number, name in enumerate(parameters) if name in roots}


def is_cache(name: str) -> bool:
    """Whether a variable is named like a cache."""
    return bool(_CACHE.search(name))


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
    elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        yield node.optional_vars.id, node.context_expr
