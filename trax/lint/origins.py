"""Follows values through a function: which are made from the state, and which begin again.

A resumed run begins at the top of the function, with the state as it is then. So it finds again
whatever is made from the state or by `trax.steps` and its like. The function is walked once in its
order, and the origins of all variables are remembered at the entry of each loop.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, Final

from trax.frames.names import COMPREHENSIONS, target_names
from trax.frames.source import Function
from trax.lint.callees import Callees, captures, dotted
from trax.lint.facts import FactsOf, keys_read
from trax.lint.text_sets import TextSets
from trax.lint.trees import children, function_tree, has_yield, key_of, nodes_of, remembered
from trax.lint.words import NOISE

__all__ = [
    "CLOCK",
    "DRAWN",
    "FILE",
    "KEPT",
    "LISTED",
    "OUTPUT",
    "PROGRESS",
    "RNG",
    "STATE",
    "UNORDERED",
    "Origins",
    "mark_of",
]

STATE: Final = "state"
PROGRESS: Final = "progress"  # the number of steps that are done
OUTPUT: Final = "output"  # a file opened by `trax.open`
FILE: Final = "file"  # one that is open for writing otherwise
RNG: Final = "rng"
DRAWN: Final = "drawn"  # with random numbers of an RNG that the function has not made
CLOCK: Final = "clock"
UNORDERED: Final = "unordered"  # in the order of a set of texts
LISTED: Final = "listed"  # from the names of the files in a directory
KEPT: Final = frozenset([STATE, PROGRESS])
_GIVEN: Final = "given "  # a parameter, or a part of it
_USED: Final = "used "  # the result of a method of a parameter
_DEEP: Final = 3  # functions that call others

_SHAPED: Final = {"zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like"}
_EXISTS: Final = {"exists", "is_file", "isfile", "is_dir", "isdir"}
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_COMPOUND: Final = (
    *(*_LOOPS, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
)
_LISTING: Final = {"listdir", "scandir", "glob", "iglob", "rglob", "iterdir"}
_ORDERING: Final = {"iter", "list", "tuple", "enumerate", "zip", "map", "join", "choice", "sample"}
_ORDERLESS: Final = {
    *("sorted", "len", "sum", "min", "max", "set", "frozenset", "any", "all", "Counter"),
}
_REMOVING: Final = {"rename", "renames", "replace", "move", "unlink", "remove"}

Flags = frozenset[str]
_NONE: Final[Flags] = frozenset()
_STATE: Final[Flags] = frozenset([STATE])
Found = dict[str, Flags]


class Env(dict[str, Flags]):
    """The origins of variables at a place of the function; what a branch sets can be taken back."""

    def __init__(self, given: Mapping[str, Flags]) -> None:
        super().__init__(given)
        self._former: list[tuple[str, Flags | None]] = []
        self._attributes: dict[str, set[str]] = {}

    def __setitem__(self, name: str, flags: Flags) -> None:
        self._former.append((name, self.get(name)))
        super().__setitem__(name, flags)
        root, dot, _ = name.partition(".")
        if dot:
            self._attributes.setdefault(root, set()).add(name)

    def bind(self, name: str, flags: Flags) -> None:
        """Set a variable to another object, of whose attributes nothing is known."""
        for attribute in self._attributes.get(name, ()):
            if attribute in self:
                self._former.append((attribute, self.pop(attribute)))
        self[name] = flags

    @property
    def changes(self) -> int:
        """How many there were up to now."""
        return len(self._former)

    def has_changed(self, start: int) -> bool:
        """Whether any variable has other origins than when there were so many changes."""
        former = dict(reversed(self._former[start:]))
        return any(self.get(name) != flags for name, flags in former.items())

    def branch(self, walk: Callable[[], None]) -> dict[str, Flags | None]:
        """Return what a walk sets, by name, None for what it deletes; and take it back."""
        start, found = len(self._former), dict[str, Flags | None]()
        walk()
        while len(self._former) > start:
            name, former = self._former.pop()
            found.setdefault(name, self.get(name))
            if former is None:
                self.pop(name, None)
            else:
                super().__setitem__(name, former)
        return found


class Origins:
    """The origins of the values in a function.

    Attributes
    ----------
    entries : dict of int to dict
        The origins of the variables before each loop around a `yield`, by the id of the loop.
    iterables : dict of int to frozenset
        The origins of what each of them goes through.
    tests : dict of int to frozenset
        The origins of the conditions of statements, by their ids.
    yielded : dict of int to frozenset
        The origins of the increments, by the ids of the yields.
    skipping : set of str
        The marks of loops that leave out what is done, as the state tells, and of counters.
    passing : set of stmt
        The conditions that do so.
    stored : list
        The statements that change an object, with its variable and the origins of what it gets.
    removals : list
        The calls that remove or rename files, with the origins of what they are given.
    before_loops : list
        The statements that are in no loop around a `yield`, with the origins of the variables if
        they are expressions, and those of the conditions around.
    returned : frozenset
        The origins of what the function returns.
    """

    def __init__(
        self,
        node: Function,
        callees: Callees,
        facts: FactsOf,
        state: str,
        sets: TextSets,
        given: Collection[str] = (),
        depth: int = _DEEP,
    ) -> None:
        self._callees = callees
        self._sets = sets
        self._facts = facts
        self.entries: dict[int, Found] = {}
        self.iterables: dict[int, Flags] = {}
        self.tests: dict[int, Flags] = {}
        self.yielded: dict[int, Flags] = {}
        self.stored: list[tuple[ast.stmt, str, Flags]] = []
        self.removals: list[tuple[ast.Call, Flags]] = []
        self.before_loops: list[tuple[ast.stmt, Found, Flags]] = []
        self.skipping: set[str] = set()
        self.passing: set[ast.stmt] = set()
        self._state = state
        self._depth = 0
        self._finders: dict[type[ast.AST], Callable[[Any, Found], Flags]] = {
            ast.Name: self._name_flags,
            ast.Attribute: self._attribute_flags,
            ast.Call: self._call_flags,
            ast.Yield: self._yield_flags,
            ast.YieldFrom: self._yield_flags,
            ast.Lambda: self._lambda_flags,
            ast.BinOp: self._operator_flags,
            ast.NamedExpr: self._named_flags,
            **dict.fromkeys(COMPREHENSIONS, self._comprehension_flags),
        }
        self._made: dict[int, Flags] = {}
        self._made_by_all: dict[str, Flags] = {}  # by the name of the function
        self._written: dict[int, set[str]] = {}
        self._inside: list[Flags] = []  # the conditions around
        self.returned = _NONE
        self._levels = depth  # of functions that call others
        own = {name: frozenset([_GIVEN + name]) for name in given}
        self._walk(node.body, Env({state: _STATE} | own))

    # -- expressions -----------------------------------------------------------------------

    def flags(self, node: ast.AST | None, env: Found) -> Flags:
        """Return the origins of an expression."""
        if node is None:
            return _NONE
        find = self._finders.get(type(node))
        if find is not None:
            return find(node, env)
        return _NONE.union(*[self.flags(one, env) for one in children(node)])

    def _name_flags(self, node: ast.Name, env: Found) -> Flags:
        return env.get(node.id, _NONE)

    def _attribute_flags(self, node: ast.Attribute, env: Found) -> Flags:
        if not isinstance(node.value, ast.Name):
            return self.flags(node.value, env)
        own = env.get(f"{node.value.id}.{node.attr}")
        return env.get(node.value.id, _NONE) if own is None else own

    def _yield_flags(self, node: ast.Yield | ast.YieldFrom, env: Found) -> Flags:
        self.yielded[id(node)] = self.flags(node.value, env)
        return _STATE

    def _lambda_flags(self, node: ast.Lambda, env: Found) -> Flags:
        return _NONE.union(*(env.get(key, _NONE) for key in keys_read(node.body)))

    def _operator_flags(self, node: ast.BinOp, env: Found) -> Flags:
        if isinstance(node.op, ast.Mult):
            for one in (node.left, node.right):
                if isinstance(one, (ast.List, ast.Tuple)):  # its length alone comes from the other
                    return self.flags(one, env)
        return self.flags(node.left, env) | self.flags(node.right, env)

    def _named_flags(self, node: ast.NamedExpr, env: Found) -> Flags:
        env[node.target.id] = self.flags(node.value, env)
        return env[node.target.id]

    def _call_flags(self, node: ast.Call, env: Found) -> Flags:
        name = dotted(node.func).rpartition(".")[2]
        given = [*node.args, *(one.value for one in node.keywords)]
        arguments = _NONE.union(*(self.flags(one, env) for one in given))
        if name in _SHAPED:
            return _NONE
        if isinstance(node.func, ast.Attribute):
            own = self.flags(node.func.value, env)
        else:
            own = env.get(name, _NONE)
        if id(node) not in self._made:
            self._made[id(node)] = self._made_by(node, name) | self._made_inside(node, env)
        made = self._made[id(node)]
        if own and isinstance(node.func, ast.Attribute):
            used = {_USED + one.removeprefix(_GIVEN) for one in own if one.startswith(_GIVEN)}
            if used or RNG in own:  # it is known of which RNG a method draws
                made = made - {DRAWN} | used
        own |= made
        if name in _REMOVING and self._callees.removes(node):
            control = _NONE.union(*self._inside) & KEPT
            self.removals.append((node, own | arguments | control))
        if self._takes_by_key(node):
            arguments -= {CLOCK, DRAWN, UNORDERED}
        return own | arguments - ({UNORDERED} if name in _ORDERLESS else _NONE)

    def _takes_by_key(self, node: ast.Call) -> bool:
        """Whether a call takes items by their keys, in whatever order they come."""
        has_key = any(one.arg == "key" for one in node.keywords)
        return has_key and self._callees.helper(node) == "remaining"

    def _made_by(self, node: ast.Call, name: str) -> Flags:
        """Return the origins that the result of a call has in any case."""
        callee = dotted(node.func)
        if callee not in self._made_by_all:
            self._made_by_all[callee] = frozenset(self._made_by_each(node))
        made = self._made_by_all[callee]
        if PROGRESS in made:
            return made
        clock = [CLOCK] * self._callees.is_clock(node)
        order = [UNORDERED] * self._takes_order(node, name) + [LISTED] * (name in _LISTING)
        return made.union(clock, order, [FILE] * bool(self._callees.opened_mode(node)))

    def _made_by_each(self, node: ast.Call) -> list[str]:
        """Return the origins of the results of all calls of a function."""
        callees = self._callees
        if callees.helper(node) or callees.counts_inside(node):
            return [PROGRESS]
        made = {DRAWN: callees.draws, RNG: callees.makes_rng, OUTPUT: callees.opens_output}
        return [flag for flag, is_made in made.items() if is_made(node)]

    def _made_inside(self, node: ast.Call, env: Found) -> Flags:
        """Return the origins that one of the user's functions gives its result, or its object."""
        found = self._callees.followed(node) if self._levels else None
        if found is None:
            return _NONE
        function, kind = found
        names = function.__code__.co_varnames[kind is not None : function.__code__.co_argcount]
        given = dict(zip(names, node.args, strict=False))
        given |= {one.arg: one.value for one in node.keywords if one.arg}
        is_rng = {name: self._callees.is_shared_rng(one) for name, one in given.items()}
        if not any(is_rng.values()) and not self._callees.reaches(function, kind, NOISE):
            return _NONE
        inside = _made_in(function, kind, self._levels - 1)
        made = inside & {DRAWN, CLOCK}
        for name, one in given.items():
            if _USED + name in inside:
                outer = [
                    flag.removeprefix(_GIVEN) for flag in self.flags(one, env) if _GIVEN in flag
                ]
                made |= {_USED + flag for flag in outer} or ({DRAWN} if is_rng[name] else _NONE)
        return made

    def _takes_order(self, node: ast.Call, name: str) -> bool:
        """Whether a call takes the items of a set of texts in their order."""
        if name == "pop" and isinstance(node.func, ast.Attribute) and not node.args:
            return node.func.value in self._sets
        return name in _ORDERING and any(one in self._sets for one in node.args)

    def _taint(self, call: ast.Call, env: Env) -> None:
        """Record that a call which is made for its effect may change objects by others."""
        flags = self.flags(call, env) & KEPT
        own = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        for one in (*own, *call.args) if flags else ():
            key = key_of(one) if isinstance(one, ast.Name | ast.Attribute) else None
            if key is not None and self._callees.resolved(one) is None:
                env[key] = env.get(key, _NONE) | flags

    def _comprehension_flags(self, node: ast.AST, env: Found) -> Flags:
        inner = dict(env)
        flags = _NONE
        for part in getattr(node, "generators", ()):
            source = self.flags(part.iter, inner)
            for name in target_names(part.target):
                inner[name] = source
            flags |= source.union(*(self.flags(one, inner) for one in part.ifs))
        elements = [getattr(node, one, None) for one in ("elt", "key", "value")]
        if all(one is None or isinstance(one, ast.Constant) for one in elements):
            return _NONE
        flags = flags.union(*(self.flags(one, inner) for one in elements))
        if isinstance(node, ast.SetComp | ast.DictComp):
            return flags - {UNORDERED}
        sources = (part.iter for part in getattr(node, "generators", ()))
        return flags | ({UNORDERED} if any(one in self._sets for one in sources) else _NONE)

    # -- statements ------------------------------------------------------------------------

    def _walk(self, statements: Sequence[ast.stmt], env: Env) -> None:
        for node in statements:
            if not self._depth:
                control = _NONE.union(*self._inside)
                given = dict(env) if isinstance(node, ast.Expr) else {}
                self.before_loops.append((node, given, control))
            self._statement(node, env)

    def _statement(self, node: ast.stmt, env: Env) -> None:
        if isinstance(node, _LOOPS):
            self._loop(node, env)
        elif isinstance(node, ast.If):
            flags = self._test(node, node.test, env)
            # The first call alone goes the other way, and no later one has what it sets.
            is_kept = bool(self._depth) or not self.asks_if_begun(node.test)
            self._branch(node, flags, [node.body, node.orelse], env, is_kept=is_kept)
        elif isinstance(node, ast.Match):
            flags = self._test(node, node.subject, env)
            for case in node.cases:
                for name, _ in captures(case.pattern, node.subject):
                    env.bind(name, flags)
            self._branch(node, flags, [one.body for one in node.cases], env)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                flags = self.flags(item.context_expr, env)
                for name in target_names(item.optional_vars):
                    env[name] = flags
            self._walk(node.body, env)
        elif isinstance(node, (ast.Try, ast.TryStar)):
            self._walk(node.body, env)
            for handler in node.handlers:
                self._branch(node, _NONE, [handler.body, []], env)
            self._walk([*node.orelse, *node.finalbody], env)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            read = (env.get(key, _NONE) for key in keys_read(*node.body, *defaults))
            env[node.name] = _NONE.union(*read) & KEPT
        else:
            self._simple_statement(node, env)

    def _simple_statement(self, node: ast.stmt, env: Env) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(node, target, node.value, env)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assign(node, node.target, node.value, env)
        elif isinstance(node, ast.AugAssign):
            key = key_of(node.target) or ""
            value = self.flags(node.value, env)
            self._store(node, key, value)
            env[key] = env.get(key, env.get(key.partition(".")[0], _NONE)) | value
        else:
            flags = self.flags(node, env)
            if isinstance(node, ast.Return):
                self.returned |= flags
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._taint(node.value, env)
            for key in self._facts(node).changes:
                self._store(node, key, flags)
                env[key] = env.get(key, _NONE) | flags

    def _assign(self, node: ast.stmt, target: ast.expr, value: ast.expr, env: Env) -> None:
        both = (ast.Tuple, ast.List)
        if not isinstance(target, both) or not isinstance(value, both):
            self._bind(node, target, self.flags(value, env), env)
        elif len(target.elts) == len(value.elts):
            flags = [self.flags(one, env) for one in value.elts]
            for one, given in zip(target.elts, flags, strict=True):
                self._bind(node, one, given, env)

    def _bind(self, node: ast.stmt, target: ast.expr, flags: Flags, env: Env) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                self._bind(node, one, flags, env)
            return
        if isinstance(target, ast.Starred):
            target = target.value
        key = key_of(target)
        if key is None:
            return
        if isinstance(target, ast.Name):
            env.bind(key, flags)
        else:
            self._store(node, key, flags)
            env[key] = env.get(key, env.get(key.partition(".")[0], _NONE)) | flags

    def _store(self, node: ast.stmt, key: str, flags: Flags) -> None:
        self.stored.append((node, key.partition(".")[0], flags))

    def _test(self, node: ast.stmt, test: ast.expr, env: Env) -> Flags:
        flags = self.tests[id(node)] = self.flags(test, env)
        if has_yield(node) or nodes_of(ast.Continue, node):
            skipped = {*self._skipped(test, env)}
            self.skipping |= skipped
            self.passing |= {node} if skipped else set()
        return flags

    def _branch(
        self,
        node: ast.stmt,
        flags: Flags,
        bodies: Sequence[list[ast.stmt]],
        env: Env,
        *,
        is_kept: bool = True,
    ) -> None:
        self._inside.append(flags)
        branches = [env.branch(functools.partial(self._walk, body, env)) for body in bodies]
        self._inside.pop()
        kept = flags & KEPT if is_kept else _NONE
        bound = self._written_in(node) if kept else set()
        if kept and isinstance(node, _LOOPS) and not has_yield(node):
            bound = bound | _used_in_calls(node) & env.keys()  # such as an RNG wound forward
        there = (name for one in branches for name, value in one.items() if value is not None)
        for name in bound.union(there):
            former = env.get(name)
            found = _NONE.union(*(one.get(name, former) or _NONE for one in branches))
            env[name] = found | (kept if name in bound else _NONE)

    def _written_in(self, node: ast.stmt) -> set[str]:
        """Return the variables that the simple statements in a statement bind or change."""
        if id(node) not in self._written:
            simple = (one for one in nodes_of(ast.stmt, node) if not isinstance(one, _COMPOUND))
            facts = map(self._facts, simple)
            self._written[id(node)] = set().union(*(one.binds | one.changes for one in facts))
        return self._written[id(node)]

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, env: Env) -> None:
        if isinstance(node, ast.While):
            flags = self._test(node, node.test, env)
        else:
            flags = self.flags(node.iter, env)
        is_around = has_yield(node)
        if is_around:
            self.entries[id(node)] = dict(env)
            self.iterables[id(node)] = flags
        turn = flags if flags & KEPT else flags | {mark_of(node)}
        if is_around and not isinstance(node, ast.While) and node.iter in self._sets:
            turn |= {UNORDERED}
        for name in _counters(node) if is_around else ():
            if not env.get(name, KEPT) & KEPT:
                env[name] |= {mark_of(node, name)}
        self._depth += is_around
        for _ in range(1 if is_around else 2):
            start = env.changes
            if not isinstance(node, ast.While):
                for name in target_names(node.target):
                    env[name] = turn
            self._branch(node, flags, [node.body, []], env)
            if not env.has_changed(start):
                break
        self._depth -= is_around
        self._walk(node.orelse, env)

    # -- conditions that leave out what is done ----------------------------------------------

    def asks_if_begun(self, test: ast.expr) -> bool:
        """Whether a condition tells only if the run has just begun, such as ``not state``."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test = test.operand
        if isinstance(test, ast.Compare) and _is_nothing(test.comparators[0]):
            test = test.left
        if isinstance(test, ast.Call) and dotted(test.func) == "len" and test.args:
            test = test.args[0]
        if isinstance(test, ast.Call):
            return self._callees.helper(test) == "step"
        return isinstance(test, ast.Name) and test.id == self._state

    def _skipped(self, test: ast.expr, env: Env) -> Iterator[str]:
        """Yield the marks of loops and counters that a condition compares with the state."""
        for one in ast.walk(test):
            pairs: list[tuple[Flags, Flags]] = []
            if isinstance(one, ast.Compare):
                sides = [self.flags(side, env) for side in (one.left, *one.comparators)]
                pairs = [(a, b) for a in sides for b in sides]
            elif isinstance(one, ast.Subscript):
                pairs = [(self.flags(one.slice, env), self.flags(one.value, env))]
            elif isinstance(one, ast.Call):
                pairs = self._call_pairs(one, env)
            elif isinstance(one, ast.GeneratorExp):
                sides = [self.flags(part.iter, env) for part in one.generators]
                pairs = [(self.flags(one.elt, env), side) for side in sides]
            for turn, state in pairs:
                if not turn & KEPT and state & KEPT:
                    yield from (flag for flag in turn if flag.startswith("turn "))

    def _call_pairs(self, call: ast.Call, env: Env) -> list[tuple[Flags, Flags]]:
        arguments = [self.flags(one, env) for one in call.args]
        name = dotted(call.func).rpartition(".")[2]
        if isinstance(call.func, ast.Attribute):
            own = self.flags(call.func.value, env)
            if name in _EXISTS:
                whole = own.union(*arguments)
                return [(whole - KEPT, KEPT)]
            return [(one, own) for one in arguments]
        return [(a, b) for a in arguments for b in arguments]


@remembered
def _made_in(function: FunctionType, kind: type | None, depth: int) -> Flags:
    """Return the origins of what a function returns, yields, or puts into the object it is of."""
    node = function_tree(function.__code__)
    if node is None:
        return _NONE
    own, *_ = (*function.__code__.co_varnames, "")
    callees = Callees(function, node, {own: kind} if kind is not None else {})
    number = function.__code__.co_argcount + function.__code__.co_kwonlyargcount
    names = function.__code__.co_varnames[kind is not None : number]
    sets = TextSets(callees, "", None)
    origins = Origins(node, callees, FactsOf(callees), "", sets, names, depth)
    stored = (flags for _, root, flags in origins.stored if kind is not None and root == own)
    drawn = (flags - {CLOCK} for flags in stored)  # the time is in its object alone
    return origins.returned.union(*origins.yielded.values(), *drawn)


def mark_of(node: ast.AST, counter: str = "") -> str:
    """Return the mark of the values that a loop goes through, or that one of its counters has."""
    return f"turn {id(node)} {counter}"


def _is_nothing(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value in (0, None)
    return isinstance(node, ast.List | ast.Dict | ast.Tuple) and ast.unparse(node) in (
        "[]",
        "{}",
        "()",
    )


def _counters(node: ast.AST) -> set[str]:
    """Return the variables that a loop only counts up or down."""
    names = nodes_of(ast.Name, node)
    stored = Counter(one.id for one in names if not isinstance(one.ctx, ast.Load))
    counted = {
        one.target.id
        for one in nodes_of(ast.AugAssign, node)
        if isinstance(one.target, ast.Name) and isinstance(one.value, ast.Constant)
    }
    return {name for name in counted if stored[name] == 1}


def _used_in_calls(node: ast.AST) -> set[str]:
    """Return the variables whose methods a tree calls, or that it gives to a function."""
    used = (one for call in nodes_of(ast.Call, node) for one in (call.func, *call.args))
    names = (one.value if isinstance(one, ast.Attribute) else one for one in used)
    return {one.id for one in names if isinstance(one, ast.Name)}
