"""Follows values through a function: which are made from the state, and which begin again.

A resumed run begins at the top of the function, with the state as it is then. So it finds again
whatever is made from the state or by `trax.steps` and its like. The function is walked once in its
order, and the origins of all variables are remembered at the entry of each loop.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from trax.frames.names import target_names
from trax.frames.source import Function
from trax.lint.callees import Callees, dotted
from trax.lint.facts import FactsOf, keys_read
from trax.lint.text_sets import TextSets
from trax.lint.trees import children, has_yield, key_of, scope_nodes

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

_SHAPED: Final = {"zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like"}
_EXISTS: Final = {"exists", "is_file", "isfile", "is_dir", "isdir"}
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_LISTING: Final = {"listdir", "scandir", "glob", "iglob", "rglob", "iterdir"}
_ORDERING: Final = {"iter", "list", "tuple", "enumerate", "zip", "map", "join", "choice", "sample"}
_ORDERLESS: Final = {
    "sorted",
    "len",
    "sum",
    "min",
    "max",
    "set",
    "frozenset",
    "any",
    "all",
    "Counter",
}
_REMOVING: Final = {"rename", "renames", "replace", "move", "unlink", "remove"}
_COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)

Flags = frozenset[str]
_NONE: Final[Flags] = frozenset()
Env = dict[str, Flags]


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
    stored : list
        The statements that change an object, with its variable and the origins of what it gets.
    removals : list
        The calls that remove or rename files, with the origins of what they are given.
    before_loops : list
        The statements that are in no loop around a `yield`, with the origins of the variables, and
        those of the conditions around.
    """

    def __init__(
        self, node: Function, callees: Callees, facts: FactsOf, state: str, sets: TextSets
    ) -> None:
        self._callees = callees
        self._sets = sets
        self._facts = facts
        self.entries: dict[int, Env] = {}
        self.iterables: dict[int, Flags] = {}
        self.tests: dict[int, Flags] = {}
        self.yielded: dict[int, Flags] = {}
        self.stored: list[tuple[ast.stmt, str, Flags]] = []
        self.removals: list[tuple[ast.Call, Flags]] = []
        self.before_loops: list[tuple[ast.stmt, Env, Flags]] = []
        self.skipping: set[str] = set()
        self._state = state
        self._depth = 0
        self._made: dict[int, Flags] = {}
        self._inside: list[Flags] = []  # the conditions around
        self._walk(node.body, {state: frozenset([STATE])})

    # -- expressions -----------------------------------------------------------------------

    def flags(self, node: ast.AST | None, env: Env) -> Flags:
        """Return the origins of an expression."""
        if node is None:
            return _NONE
        if isinstance(node, ast.Name):
            return env.get(node.id, _NONE)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            own = env.get(f"{node.value.id}.{node.attr}")
            return env.get(node.value.id, _NONE) if own is None else own
        if isinstance(node, ast.Call):
            return self._call_flags(node, env)
        if isinstance(node, ast.Yield | ast.YieldFrom):
            self.yielded[id(node)] = self.flags(node.value, env)
            return frozenset([STATE])
        if isinstance(node, ast.Lambda):
            return _NONE.union(*(env.get(key, _NONE) for key in keys_read(node.body)))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for one in (node.left, node.right):
                if isinstance(one, ast.List | ast.Tuple):  # its length alone comes from the other
                    return self.flags(one, env)
        if isinstance(node, _COMPREHENSIONS):
            return self._comprehension_flags(node, env)
        if isinstance(node, ast.NamedExpr):
            env[node.target.id] = self.flags(node.value, env)
            return env[node.target.id]
        parts = (self.flags(one, env) for one in children(node))
        return _NONE.union(*parts)

    def _call_flags(self, node: ast.Call, env: Env) -> Flags:
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
            self._made[id(node)] = self._made_by(node, name)
        own |= self._made[id(node)]
        if name in _REMOVING and self._callees.removes(node):
            control = _NONE.union(*self._inside) & KEPT
            self.removals.append((node, own | arguments | control))
        return own | arguments - ({UNORDERED} if name in _ORDERLESS else _NONE)

    def _made_by(self, node: ast.Call, name: str) -> Flags:
        """Return the origins that the result of a call has in any case."""
        callees = self._callees
        if callees.helper(node) or callees.counts_inside(node):
            return frozenset([PROGRESS])
        made = {
            CLOCK: callees.is_clock,
            DRAWN: callees.draws,
            RNG: callees.makes_rng,
            OUTPUT: callees.opens_output,
            FILE: callees.opened_mode,
        }
        found = [flag for flag, is_made in made.items() if is_made(node)]
        found += [UNORDERED] * self._takes_order(node, name) + [LISTED] * (name in _LISTING)
        return frozenset(found)

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

    def _comprehension_flags(self, node: ast.AST, env: Env) -> Flags:
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
                self.before_loops.append((node, dict(env), control))
            self._statement(node, env)

    def _statement(self, node: ast.stmt, env: Env) -> None:
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            self._loop(node, env)
        elif isinstance(node, ast.If):
            self._branch(node, self._test(node, node.test, env), [node.body, node.orelse], env)
        elif isinstance(node, ast.Match):
            flags = self._test(node, node.subject, env)
            self._branch(node, flags, [one.body for one in node.cases], env)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                flags = self.flags(item.context_expr, env)
                env |= dict.fromkeys(target_names(item.optional_vars), flags)
            self._walk(node.body, env)
        elif isinstance(node, ast.Try | ast.TryStar):
            self._walk(node.body, env)
            for handler in node.handlers:
                self._branch(node, _NONE, [handler.body, []], env)
            self._walk([*node.orelse, *node.finalbody], env)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            read = (env.get(key, _NONE) for key in keys_read(*node.body))
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
        if isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self._bind(node, one, flags, env)
            return
        if isinstance(target, ast.Starred):
            target = target.value
        key = key_of(target)
        if key is None:
            return
        if isinstance(target, ast.Name):
            for attribute in [name for name in env if name.startswith(f"{key}.")]:
                del env[attribute]
            env[key] = flags
        else:
            self._store(node, key, flags)
            env[key] = env.get(key, env.get(key.partition(".")[0], _NONE)) | flags

    def _store(self, node: ast.stmt, key: str, flags: Flags) -> None:
        self.stored.append((node, key.partition(".")[0], flags))

    def _test(self, node: ast.stmt, test: ast.expr, env: Env) -> Flags:
        flags = self.tests[id(node)] = self.flags(test, env)
        jumps = (ast.Continue, ast.Yield, ast.YieldFrom)
        if any(isinstance(one, jumps) for one in scope_nodes(node)):
            self.skipping.update(self._skipped(test, env))
        return flags

    def _branch(
        self, node: ast.stmt, flags: Flags, bodies: Sequence[list[ast.stmt]], env: Env
    ) -> None:
        branches = []
        self._inside.append(flags)
        for body in bodies:
            branches.append(dict(env))
            self._walk(body, branches[-1])
        self._inside.pop()
        facts = [self._facts(one) for one in _simple(node)] if flags & KEPT else []
        bound = set().union(*(one.binds | one.changes for one in facts))
        if facts and isinstance(node, _LOOPS) and not has_yield(node):
            bound |= _used_in_calls(node) & env.keys()  # such as an RNG that is wound forward
        for name in bound.union(*(dict(one.items() - env.items()) for one in branches)):
            found = _NONE.union(*(one.get(name, _NONE) for one in branches))
            env[name] = found | (flags & KEPT if name in bound else _NONE)

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
            if not isinstance(node, ast.While):
                for name in target_names(node.target):
                    env[name] = turn
            self._branch(node, flags, [node.body, []], env)
        self._depth -= is_around
        self._walk(node.orelse, env)

    # -- conditions that leave out what is done ----------------------------------------------

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


def mark_of(node: ast.AST, counter: str = "") -> str:
    """Return the mark of the values that a loop goes through, or that one of its counters has."""
    return f"turn {id(node)} {counter}"


def _counters(node: ast.AST) -> set[str]:
    """Return the variables that a loop only counts up or down."""
    stored = [one.id for one in scope_nodes(node) if isinstance(one, ast.Name) and _is_stored(one)]
    counted = {
        one.target.id
        for one in scope_nodes(node)
        if isinstance(one, ast.AugAssign)
        and isinstance(one.target, ast.Name)
        and isinstance(one.value, ast.Constant)
    }
    return {name for name in counted if stored.count(name) == 1}


def _used_in_calls(node: ast.AST) -> set[str]:
    """Return the variables whose methods a tree calls, or that it gives to a function."""
    calls = [one for one in scope_nodes(node) if isinstance(one, ast.Call)]
    used = (one for call in calls for one in (call.func, *call.args))
    names = (one.value if isinstance(one, ast.Attribute) else one for one in used)
    return {one.id for one in names if isinstance(one, ast.Name)}


def _is_stored(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Load)


def _simple(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield the simple statements in a statement."""
    for one in scope_nodes(node):
        if (
            isinstance(one, ast.stmt)
            and not hasattr(one, "body")
            and not isinstance(one, ast.Match)
        ):
            yield one
