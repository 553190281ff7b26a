"""Classes and functions that no name leads to, found again in the code that they belong to.

No name leads to a class that is defined in a function. A copy of it, built from its stored code,
is another class: ``is``, ``isinstance`` and the equality of Enum members fail without a word. So a
pickle refers to the class by its module and its qualified name, with the code beside that. If the
loop, ``create``, ``replay_log``, ``migrate``, the arguments or a variable of the module lead to the
one class of that name, it is loaded. Elsewhere, such as in another script that only looks at a
state, the class is built from its code.

Strategy: the writer refers only to what is at hand by identity. So a class that a function makes
anew with each call is never mistaken for another one of the same name.

cloudpickle gives functions that it sends variables of their own: those of its module that its code
names, and no others. So not all that belongs to the module is found by its name. The texts of the
module's files, which are sent along, have the rest.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import linecache
import pickle
import sys
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

__all__ = [
    "Definitions",
    "Sent",
    "Texts",
    "at_hand",
    "by_name",
    "full_name",
    "home",
    "is_sent",
    "present",
    "reachable",
    "sent_of",
    "stored_code",
]

_SEARCHED = 10_000  # objects
_ITEMS = 1000  # of one container

_SENT = "__trax_sent__"  # among the variables of a module

Texts = Mapping[str, list[tuple[str, ...]]]
"""The lines of files by path, in each version that the other process has read."""

_live: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def at_hand(module: str, name: str, token: str, values: dict[str, str], code: bytes) -> Any:  # noqa: ARG001
    """Return a class or a function of this process, or build it from its code.

    Pickles refer to this function; see `Definitions.reference`.
    """
    live = _live.get(token)
    return live if live is not None else pickle.loads(stored_code(module, name, code))


def stored_code(module: str, name: str, code: bytes) -> bytes:
    """Return the code of a class or a function, if it is stored."""
    if not code:
        raise AttributeError(f"the code of {module}.{name} could not be stored beside its name")
    return code


def present(definition: Any) -> Any:
    """Return a class or a function; pickles refer to this function where one was redefined."""
    return definition


def by_name(definition: Any) -> Any:
    """Return what the name of a class or a function leads to now, if it may stand in for it.

    That is the class or the function itself, as a rule. Or it is a newer one: a cell of a notebook
    was run again, or a module was reloaded. None stands for no such thing.
    """
    found: Any = sys.modules.get(definition.__module__)
    for part in definition.__qualname__.split("."):
        # A module may make other attributes when they are asked for, and warn.
        is_module = isinstance(found, ModuleType)
        found = vars(found).get(part) if is_module else getattr(found, part, None)
    return found if found is definition or _is_newer(found, definition) else None


def _is_newer(new: Any, old: Any) -> bool:
    """Whether one definition replaces another, and does not only wrap it or overload its name."""
    if isinstance(new, type) and isinstance(old, type):
        is_same_name = (new.__module__, new.__qualname__) == (old.__module__, old.__qualname__)
        is_made_of_it = any(one is old for one in (*new.__mro__, *vars(new).values()))
        return is_same_name and not is_made_of_it and not is_sent_class(old)
    if type(new) is not FunctionType or type(old) is not FunctionType:
        return False
    before, after = old.__code__, new.__code__
    is_same_name = before.co_qualname == after.co_qualname == old.__qualname__
    is_same_module = new.__globals__ is old.__globals__
    return is_same_name and is_same_module and not _is_in_source(before, after)


def _is_in_source(old: CodeType, new: CodeType) -> bool:
    """Whether the file of a newer function still has the older one, or may have it, elsewhere."""
    file = old.co_filename
    if file != new.co_filename or old.co_firstlineno == new.co_firstlineno:
        return False
    from trax.storage.parsing import parse  # seldom needed

    linecache.checkcache(file)
    try:
        tree = parse("".join(linecache.getlines(file)))
    except SyntaxError:  # it is being written
        return True
    functions = [one for one in ast.walk(tree) if isinstance(one, _FUNCTIONS)]
    firsts = [(one.name, (*one.decorator_list, one)[0].lineno) for one in functions]
    return not firsts or (old.co_name, old.co_firstlineno) in firsts


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Definitions:
    """The classes and functions at hand, without those that a name leads to.

    Parameters
    ----------
    roots : callable
        Returns the objects that lead to them, such as functions with closures.

    Attributes
    ----------
    copied : dict of str to None
        The names of those that were pickled as a copy of their code.
    met : dict of str to None
        The names of all that were pickled.
    missed : dict of str to None
        The names of those that a pickle asked for and that are not at hand.
    """

    def __init__(self, roots: Callable[[], Iterable[Any]] = tuple) -> None:
        self.copied: dict[str, None] = {}
        self.met: dict[str, None] = {}
        self.missed: dict[str, None] = {}
        self._roots = roots
        self._classes: dict[str, tuple[Any, ...]] = {}

    def find(self, module: str, name: str) -> Any:
        """Return the one definition of this name that is at hand; None if there is not one."""
        own = self.find_own(module, name)
        if own is not None:
            return own
        found = self._found.get((module, name), [])
        variables = vars(sys.modules[module]).values() if module in sys.modules else ()
        others = [
            one
            for one in list(variables)
            if issubclass(type(one), _KINDS) and _place(one) == (module, name)
        ]
        different = {id(one): one for one in (*found, *others)}
        return different.popitem()[1] if len(different) == 1 else None

    def reference(
        self, definition: Any, copy_code: Callable[[Any], bytes]
    ) -> tuple[Any, ...] | None:
        """Return a reduction that refers to a definition at hand; None if it is not at hand.

        `copy_code` pickles its code, or returns nothing if that is not possible.
        """
        token = _tokens.get(definition, "")
        if token in self._classes:
            return at_hand, self._classes[token]
        values = self._values(definition) if self._has(definition) else None
        if values is None:
            return None
        token = _tokens.setdefault(definition, uuid.uuid4().hex)
        _live[token] = definition
        self.met[full_name(definition)] = None
        module, name = _place(definition)
        details = module, name, token, values, copy_code(definition)
        if isinstance(definition, type):  # what a function is bound to may change
            self._classes[token] = details
        return at_hand, details

    def load(self, module: str, name: str, token: str, values: dict[str, str]) -> Any:
        """Return what `reference` refers to; None if that is not at hand."""
        found = self.find(module, name)
        if found is not None and _agree(self._values(found), values):
            return found
        live = _live.get(token)
        if live is None:
            self.missed[f"{module}.{name}"] = None
        return live

    def note_copy(self, definition: Any) -> None:
        """Note that a copy of the code of a definition is stored."""
        self.copied[full_name(definition)] = self.met[full_name(definition)] = None

    def find_own(self, module: str, name: str) -> Any:
        """Return the definition to which a name leads in the loop's own module; None if to none.

        The functions that cloudpickle has sent have variables of their own. A module of their name
        may be here as well, such as a script that multiprocessing has imported for a worker, and
        has other classes.
        """
        first, *others = name.split(".")
        found = [variables.get(first) for variables in self._variables.get(module, [])]
        for part in others:
            found = [getattr(one, part, None) for one in found if isinstance(one, type)]
        different = {
            id(one): one for one in found if _is_definition(one) and _place(one) == (module, name)
        }
        if len(different) == 1:
            return different.popitem()[1]
        variables = self.sent(module)
        if variables is None:
            return None
        same = self._found.get((module, name), [])
        return same[0] if len(same) == 1 else variables.get(name)

    def sent(self, module: str) -> dict[str, Any] | None:
        """Return the variables of a module that came with the loop from another process."""
        sent = map(sent_of, itertools.chain(*self._variables.values()))
        return next((one.modules[module] for one in sent if one and module in one.modules), None)

    def variables_of(self, module: str) -> dict[str, Any] | None:
        """Return the variables of a module as the loop has them; None if they are elsewhere.

        multiprocessing copies those of the script for a worker, where the loop has the former ones.
        """
        return self.sent(module) or next(iter(self._variables.get(module, ())), None)

    @functools.cached_property
    def is_shadowed(self) -> bool:
        """Whether a name of the loop's own module leads to something else in the module here."""
        return any(map(self.sent, self._variables)) or any(
            _is_definition(value) and home(value.__module__) == module and here[name] is not value
            for module, several in self._variables.items()
            for here in [vars(sys.modules[module]) if module in sys.modules else {}]
            for variables in several
            if variables is not here
            for name, value in variables.items()
            if name in here
        )

    @functools.cached_property
    def _variables(self) -> dict[str, list[dict[str, Any]]]:
        """The variables of the modules of the functions that are roots."""
        found: dict[str, list[dict[str, Any]]] = {}
        for root in self._roots():
            if type(root) is FunctionType:
                variables = root.__globals__
                found.setdefault(home(variables.get("__name__")), []).append(variables)
        return found

    @functools.cached_property
    def _found(self) -> dict[tuple[str, str], list[Any]]:
        found: dict[tuple[str, str], list[Any]] = {}
        for one, source in reachable([*self._roots()]):
            if not _is_definition(one) or by_name(one) is one:
                continue
            same = found.setdefault(_place(one), [])
            # A dataclass with slots is made from a class whose methods still refer to that one.
            if not (same and _is_method(source, one)):
                same.append(one)
        return found

    def _has(self, definition: Any) -> bool:
        return self.find(*_place(definition)) is definition

    def _values(self, definition: Any, inside: tuple[Any, ...] = ()) -> dict[str, str] | None:
        """Return the constants that a function is bound to; None if it is bound to more.

        A variable that can change is part of the state, and a function at hand has another one.
        """
        if isinstance(definition, type):  # like a class of a module, it is not part of the state
            return {}
        values = {name: self._text(one, (*inside, definition)) for name, one in _bound(definition)}
        if None in values.values():
            return None
        return {name: text for name, text in values.items() if text}

    def _text(self, value: Any, inside: tuple[Any, ...]) -> str | None:
        """Return a constant as text, an empty one for a definition, or None for all else."""
        if type(value) in _CONSTANTS:
            return repr(value)
        if type(value) is tuple:
            texts = [self._text(one, inside) for one in value]
            return None if None in texts else f"({', '.join(map(str, texts))})"
        if type(value) is ModuleType or any(one is value for one in inside):
            return ""
        if _is_definition(value) and (by_name(value) is value or self._has(value)):
            return "" if self._values(value, inside) is not None else None
        return None


_KINDS = (type, FunctionType)
_CONSTANTS = {type(None), type(...), bool, int, float, complex, str, bytes}


def full_name(definition: Any) -> str:
    """Return the name of a class or a function with its module in front."""
    return f"{home(definition.__module__)}.{definition.__qualname__}"


def _place(definition: Any) -> tuple[Any, Any]:
    return home(definition.__module__), definition.__qualname__


def _agree(ours: dict[str, str] | None, theirs: dict[str, str]) -> bool:
    """Whether a function has the constants that it was stored with, as far as it still has them."""
    return ours is not None and all(ours[name] == theirs[name] for name in ours.keys() & theirs)


def _is_definition(one: Any) -> bool:
    return issubclass(type(one), _KINDS)


def _is_method(function: Any, kind: Any) -> bool:
    """Whether a function was defined in a class."""
    return type(function) is FunctionType and (
        function.__qualname__.startswith(f"{kind.__qualname__}.")
    )


def _bound(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function is bound to: its free variables, defaults and attributes."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, _content(cell)
    for number, value in enumerate(function.__defaults__ or ()):
        yield f"default {number}", value
    yield from (function.__kwdefaults__ or {}).items()
    yield from vars(function).items()


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # still empty
        return cell


def reachable(roots: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the objects to which the roots lead, the nearest ones first, each with its source."""
    home = {root.__module__ for root in roots if type(root) is FunctionType}
    queue = deque((root, None) for root in roots)
    seen: dict[int, Any] = {}
    while queue and len(seen) < _SEARCHED:
        one, source = queue.popleft()
        if id(one) not in seen:
            seen[id(one)] = one
            yield one, source
            queue.extend((part, one) for part in islice(_parts(one, home), _ITEMS))


def _parts(one: Any, home: set[str]) -> Iterator[Any]:
    """Yield the parts of an object; of classes and functions of libraries there are none."""
    kind = type(one)
    if kind in _CONSTANTS or (
        _is_definition(one) and one.__module__ not in home and by_name(one) is one
    ):
        return
    if kind is FunctionType:
        yield from (value for _, value in _bound(one))
        yield from _globals(one.__code__, one.__globals__)
    elif issubclass(kind, type):
        yield from (kind, *one.__bases__, *vars(one).values())
    elif issubclass(kind, (list, tuple, set, frozenset)):
        yield from one
    elif issubclass(kind, dict):
        yield from (*one.keys(), *one.values()) if len(one) < _ITEMS else ()
    if not issubclass(kind, type):
        yield kind
        yield from _attributes(one)


def _globals(code: CodeType, variables: dict[str, Any]) -> Iterator[Any]:
    """Yield the objects that the code of a function finds in its module, and in other modules."""
    for name in code.co_names:
        value = variables.get(name)
        if type(value) is ModuleType:
            yield from (vars(value).get(attribute) for attribute in code.co_names)
        else:
            yield value
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant, variables)


# What wraps a function: methods, partial functions, properties, and decorated functions.
_WRAPPED = (
    "__func__",
    "__self__",
    "__wrapped__",
    "func",
    "args",
    "keywords",
    "fget",
    "fset",
    "fdel",
)


def _attributes(one: Any) -> Iterator[Any]:
    slots = [getattr(kind, "__slots__", ()) for kind in type(one).__mro__]
    names = [name for some in slots for name in ([some] if isinstance(some, str) else some)]
    for name in (*_WRAPPED, *names):
        with contextlib.suppress(Exception):  # a property may raise anything
            yield object.__getattribute__(one, name)
    with contextlib.suppress(Exception):
        yield from vars(one).values()


# -- what came from another process ---------------------------------------------------------


class Sent:
    """What has come together.

    Parameters
    ----------
    texts : dict of str to dict
        The texts of the files of each module.

    Attributes
    ----------
    modules : dict of str to dict
        The variables of each module.
    """

    def __init__(self, texts: Mapping[str, Texts]) -> None:
        self.texts = texts
        self.modules: dict[str, dict[str, Any]] = {}
        self._settled: list[FunctionType] = []

    def add(self, function: FunctionType) -> None:
        """Add a function: its variables are those of its module."""
        variables = function.__globals__
        module = home(variables.get("__name__"))
        here = sys.modules.get(module)
        if module in self.texts and (here is None or vars(here) is not variables):
            self.modules.setdefault(module, variables)
            variables[_SENT] = self

    def settle(self, function: FunctionType, objects: Iterable[Any]) -> None:
        """Add what a function leads to, once; give the classes back their qualified names."""
        if function in self._settled:
            return
        self._settled.append(function)
        for one in objects:
            if type(one) is FunctionType:
                self.add(one)
            elif issubclass(type(one), type) and home(one.__module__) in self.texts:
                _name(one)


def sent_of(variables: Mapping[str, Any]) -> Sent | None:
    """Return what has come with these variables; None if they are those of a module here."""
    return variables.get(_SENT)


def is_sent(variables: Mapping[str, Any]) -> bool:
    """Return whether these are the variables of functions that came from another process."""
    return _SENT in variables


def is_sent_class(kind: type) -> bool:
    """Return whether a class came from another process, as far as its functions tell."""
    return any(is_sent(function.__globals__) for function in _functions(kind))


def home(module: Any) -> Any:
    """Return the name of a module, which is the same in all processes.

    The script has another one in a process that multiprocessing has spawned.
    """
    return "__main__" if module == "__mp_main__" else module


def _functions(kind: type) -> Iterator[FunctionType]:
    for value in vars(kind).values():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if type(function) is FunctionType:
            yield function


def _name(kind: type) -> None:
    """Give a class, and those in it, the qualified names that cloudpickle leaves out."""
    if kind.__qualname__ == kind.__name__:
        owners = {each.__qualname__.rpartition(".")[0] for each in _functions(kind)}
        ends = f".{kind.__name__}"
        kind.__qualname__ = next((one for one in owners if one.endswith(ends)), kind.__qualname__)
    for name, inner in [*vars(kind).items()]:
        is_inside = issubclass(type(inner), type) and inner.__module__ == kind.__module__
        if is_inside and inner.__qualname__ == name and not any(_functions(inner)):
            inner.__qualname__ = f"{kind.__qualname__}.{name}"
