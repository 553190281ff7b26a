"""The arguments of a loop's call: which of them the loop has changed, and how they come back.

The variables of functions around the loop are treated as arguments are; they are in cells.

Strategy: at the call, everything that the arguments lead to is found, each object with a path such
as ``model.layers[0]``. A frame refers to these objects by their paths, so they stay the caller's
own. For those that have changed since the call, it also has their content, and this is put back in
place. What cannot be put back becomes a part of the content of the object that refers to it.

Of plain data only the parts that have changed are stored: the caller has made the same data again,
which is compared at the call. Of other arguments, such as a model with random weights, all parts
are stored as soon as one has changed.
"""

from __future__ import annotations

import pickle
import sys
from collections import deque
from collections.abc import Container, Iterator, Mapping
from operator import is_
from types import CellType, FunctionType
from typing import Any, NamedTuple

from trax.errors import ArgumentsChangedError, CodecError
from trax.frames.contents import PLAIN, VALUES, Contents, is_iterator, is_trained
from trax.frames.facets import Attributes, Facet
from trax.frames.memory import arrays_of
from trax.frames.remade_kinds import fault, is_stateless
from trax.storage.codec import Limited
from trax.storage.definitions import full_name
from trax.storage.outside import NOTHING, Outside
from trax.storage.unpickler import present_name

__all__ = ["Arguments"]

_DEPTH = 16  # steps of a path; an object further inside has a number
_TRIAL = 1 << 20  # bytes
_TEXTS = (str, bytes)
_CONSTANTS = (*_TEXTS, tuple, frozenset)
_LONG = 4096  # a longer text is referred to
_CELL = ".cell_contents"
_BAGS = ("types.SimpleNamespace", "argparse.Namespace", "collections.UserDict")
_WAYS = "Make it inside of the function, and return it if the caller needs it."


class _Node:
    """One object that the arguments lead to.

    Attributes
    ----------
    obj : object
        The object.
    kind : type
        Its type at the call.
    path : str
        Its path, such as ``model.layers[0]``.
    outer : _Node or None
        The object by which it was found; None for an argument.
    owner : _Node or None
        The object whose content this is a part of, if it has none of its own.
    root : _Node
        The argument.
    depth : int
        The number of steps from the argument.
    unit : _Node or None
        The object of a package that this is a part of; that is stored as a whole or not at all.
    facets : tuple of Facet
        Its content; none if the object is only referred to.
    values : list of list
        The values of each facet at the call; alive, so that no id is used again.
    marks : list
        The marks of each facet at the call.
    """

    __slots__ = (
        "depth",
        "facets",
        "kind",
        "marks",
        "obj",
        "outer",
        "owner",
        "path",
        "root",
        "unit",
        "values",
    )

    def __init__(self, obj: Any, label: str, outer: _Node | None, number: int) -> None:
        self.obj = obj
        self.kind = type(obj)
        self.outer = outer
        self.owner: _Node | None = None
        self.root: _Node = outer.root if outer else self
        self.depth: int = outer.depth + 1 if outer else 0
        self.path: str = f"{outer.path}{label}" if outer else label
        if self.depth > _DEPTH:
            self.path = f"{self.root.path}#{number}"
        self.unit: _Node | None = None
        self.facets: tuple[Facet, ...] = ()
        self.values: list[list[Any]] = []
        self.marks: list[Any] = []

    def read(self, facets: tuple[Facet, ...]) -> None:
        """Take the content at the call."""
        self.values = [facet.values(self.obj) for facet in facets]
        self.marks = [facet.mark(self.obj) for facet in facets]
        self.facets = facets

    def forget(self) -> None:
        """Only refer to the object from now on."""
        self.facets, self.values, self.marks = (), [], []

    def belong(self) -> None:
        """Be a part of the object by which this one was found."""
        self.forget()
        self.owner = self.outer and (self.outer.owner or self.outer)

    def inner(self) -> Iterator[tuple[int, str, Any]]:
        """Yield what the object led to at the call: the facet's number, a label and the object."""
        for number, (facet, values, mark) in enumerate(self._content()):
            for index, value in enumerate(values):
                kind = type(value)
                if kind in VALUES and not (kind in _TEXTS and len(value) > _LONG):
                    continue
                label = facet.label(values, mark, index)
                if label is not None:
                    yield number, label, value

    def obstacle(self) -> str | None:
        """Return why the present content cannot be put back in place; None if it is as before."""
        if type(self.obj) is not self.kind:
            return f"its class was {full_name(self.kind)}"
        found = None
        for facet, values, mark in self._content():
            now = facet.mark(self.obj)
            if now != mark or not _are_same(values, facet.values(self.obj)):
                found = found or facet.obstacle(self.obj, mark, now)
        return found

    def obstacle_to(self, number: int) -> str:
        """Return why one of the facets cannot be given other values; empty if it can."""
        mark = self.facets[number].mark(self.obj)
        return self.facets[number].obstacle(self.obj, mark, mark)

    def can_be_restored(self) -> bool:
        """Return whether the object has content that can be put back as it was at the call."""
        obstacles = [facet.obstacle(self.obj, mark, mark) for facet, _, mark in self._content()]
        return bool(obstacles) and not any(obstacles)

    def stored(self) -> tuple[str, list[Any]]:
        """Return the type and the present content, to be pickled."""
        return full_name(type(self.obj)), [facet.content(self.obj) for facet in self.facets]

    def _content(self) -> Iterator[tuple[Facet, list[Any], Any]]:
        return zip(self.facets, self.values, self.marks, strict=True)


def _are_same(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(map(is_, one, two))


class _Found(NamedTuple):
    """An object that was met, by which one, and the label that leads from there to it."""

    obj: Any
    label: str
    outer: _Node | None


class _Change(NamedTuple):
    """An object that is replaced, not put back in place; the one to blame, and the reason.

    An iterator needs no reason: it is a part of each frame, with its position.
    """

    node: _Node
    cause: _Node
    reason: str


class Arguments:
    """The arguments of one call, as they were when it was made.

    Parameters
    ----------
    named : mapping of str to object
        The arguments by name, with what they contain at the call.
    varying : container of str
        The names of those that are not compared with the stored call.
    """

    def __init__(self, named: Mapping[str, Any], varying: Container[str] = ()) -> None:
        self._contents = Contents()
        self._nodes: dict[int, _Node] = {}
        self._referrers: dict[int, list[tuple[_Node, int]]] = {}  # with the number of the facet
        self._replaced: dict[int, _Change] = {}
        self._stored: set[int] = set()
        self._memory: list[tuple[str, Any]] = []  # arrays made for `outside`
        self._fragile: set[int] = set()  # ids of units that do not pickle
        self._services: dict[int, _Node] = {}
        self._find([_Found(value, name, None) for name, value in named.items()])
        opaque = {node.root.path for node in self._nodes.values() if not _is_plain(node.obj)}
        self._plain = {name for name in named if name not in varying and name not in opaque}

    # -- the call --------------------------------------------------------------------------

    def _find(self, given: list[_Found]) -> None:
        """Find all that the arguments lead to, nearer objects first."""
        waiting, others = deque(given), deque[_Found]()
        while waiting:
            node = self._add(waiting.popleft())
            if node is not None:
                waiting.extend(self._read(node))
                others.extend(_others(node))
        while others:
            node = self._add(others.popleft())
            if node is not None:
                others.extend([*self._read(node), *_others(node)])
                node.belong()

    def _add(self, found: _Found) -> _Node | None:
        """Add an object that was met for the first time and is no value."""
        obj = found.obj
        is_long = type(obj) in _TEXTS and len(obj) > _LONG
        if id(obj) in self._nodes or (not is_long and self._contents.is_value(obj)):
            return None
        node = self._nodes[id(obj)] = _Node(*found, len(self._nodes))
        return node

    def _read(self, node: _Node) -> list[_Found]:
        """Read the content of an object, if it can be stored; return what it leads to."""
        facets = self._contents.facets(node.obj) or ()
        if is_iterator(node.obj):
            return []
        node.unit = self._unit(node, facets)
        try:
            node.read(facets)
            found = [*node.inner()]
        except Exception:  # noqa: BLE001  # such as that of a __getstate__
            node.forget()
            return []
        for number, _, value in found:
            self._referrers.setdefault(id(value), []).append((node, number))
        return [_Found(value, label, node) for _, label, value in found]

    def _unit(self, node: _Node, facets: tuple[Facet, ...]) -> _Node | None:
        """Return the outermost object of a package around an object, if it has no other around."""
        kind = type(node.obj)
        if not self._contents.is_installed(kind):
            return None
        if node.outer is not None and node.outer.unit is not None:
            return node.outer.unit
        has_only_attributes = [type(facet) for facet in facets] == [Attributes]
        if not has_only_attributes or is_trained(kind) or full_name(kind) in _BAGS:
            return None
        if not _pickles(node.obj, NOTHING):
            self._fragile.add(id(node))
        return node

    # -- a frame ---------------------------------------------------------------------------

    def contents(self) -> dict[str, Any]:
        """Return the content of the objects that have changed since the call, by their paths.

        It must be pickled at once, and together with all that shares objects with it.

        Raises
        ------
        CodecError
            An argument has changed, and the change cannot be put back in place.
        """
        if not self._nodes:  # all of them are constants
            return {}
        changed = self._without_services(self._compare())
        roots = {node.root.path for node in changed.values()} - self._plain
        for key, node in self._nodes.items():
            is_left = key in self._replaced or id(node.unit) in self._services
            if node.root.path in roots and not is_left and node.can_be_restored():
                changed.setdefault(key, node)
        self._stored.clear()
        self._stored.update(changed)
        return {node.path: node.stored() for node in changed.values()}

    def _compare(self) -> dict[int, _Node]:
        """Return the objects to be put back in place; keep in mind those that are replaced."""
        self._replaced.clear()
        changed: dict[int, _Node] = {}
        waiting: list[_Change] = []
        for key, node in self._nodes.items():
            reason = "" if is_iterator(node.obj) else _obstacle(node)
            if reason or is_iterator(node.obj):
                waiting.append(_Change(node, node, reason or ""))
            elif reason is not None:
                changed[key] = node
        while waiting:
            change = waiting.pop()
            key = id(change.node.obj)
            if key not in self._replaced:
                self._replaced[key] = change
                changed.pop(key, None)
                waiting.extend(self._spread(change, changed))
        return changed

    def _without_services(self, changed: dict[int, _Node]) -> dict[int, _Node]:
        """Leave out objects of packages that do not pickle, such as a client, with all their parts.

        The caller makes a new one; a part of the old one in it would do harm.
        """
        units = {id(node.unit): node.unit for node in changed.values() if node.unit is not None}
        for key, unit in units.items():
            stored = [node.stored() for node in changed.values() if node.unit is unit]
            if key in self._fragile and not _pickles(stored, self.outside):
                _check_service(unit)
                self._services[key] = unit
        for key, change in [*self._replaced.items()]:
            if id(change.node.unit) in self._services:
                del self._replaced[key]
        return {key: node for key, node in changed.items() if id(node.unit) not in self._services}

    @property
    def services(self) -> list[str]:
        """The changed objects of packages that do not pickle, so their changes are not stored.

        Those whose kind tells that steps do not change what they are, such as a pool, are left out.
        """
        return [_shown(one) for one in self._services.values() if not is_stateless(one.obj)]

    def _spread(self, change: _Change, changed: dict[int, _Node]) -> Iterator[_Change]:
        """Let an object that is replaced be a change of all that refer to it."""
        node, cause, reason = change
        if node.outer is None and reason:
            raise _refusal(node, cause, reason)
        for referrer, number in self._referrers.get(id(node.obj), []):
            key = id(referrer.obj)
            if not referrer.facets or key in self._replaced:
                continue
            if referrer.obstacle_to(number):
                yield _Change(referrer, cause, reason)
            else:
                changed[key] = referrer

    @property
    def outside(self) -> Outside:
        """The objects that a frame refers to; ask for `contents` first."""
        if not self._nodes:
            return NOTHING
        nodes = {key: node for key, node in self._nodes.items() if self._is_outside(key, node)}
        self._memory[:] = (one for node in nodes.values() for one in arrays_of(node.obj, node.path))
        paths = {id(array): path for path, array in self._memory}
        paths |= {key: node.path for key, node in nodes.items()}
        return Outside(paths, [array for _, array in self._memory])

    def _is_outside(self, key: int, node: _Node) -> bool:
        """Return whether an object is referred to; constants may be others in another process."""
        if key in self._replaced:
            return False
        if node.kind in _CONSTANTS and node.root.path not in self._plain:
            return False
        owner = node.owner
        if owner is None or all(facet.keeps_others for facet in owner.facets):
            return True
        is_stored = id(owner.obj) in self._stored or id(owner.obj) in self._replaced
        return not is_stored or not _pickles(node.obj, NOTHING)

    # -- a resumed call --------------------------------------------------------------------

    @property
    def objects(self) -> dict[str, Any]:
        """The objects that a frame refers to, by their paths."""
        nodes = self._nodes.values()
        arrays = {path: array for node in nodes for path, array in arrays_of(node.obj, node.path)}
        return arrays | {node.path: node.obj for node in nodes}

    def restore(self, contents: Mapping[str, Any], renames: Mapping[str, str]) -> None:
        """Put the content of a frame, or of a finished run, back in place.

        For `renames` see `present_name`.

        Raises
        ------
        ArgumentsChangedError
            An argument is not like the stored one. Nothing was changed.
        """
        nodes = {node.path: node for node in self._nodes.values()}
        work: list[tuple[Facet, Any, Any]] = []
        for path, (kind, stored) in contents.items():
            if path not in nodes:
                raise _unlike(path, "it is not there")
            obj = nodes[path].obj
            if full_name(type(obj)) not in (kind, present_name(kind, renames)):
                raise _unlike(path, f"it was a {kind}, and is a {full_name(type(obj))}")
            for facet, content in zip(self._contents.facets(obj) or (), stored, strict=True):
                misfit = facet.misfit(obj, content)
                if misfit:
                    raise _unlike(path, misfit)
                work.append((facet, obj, content))
        for facet, obj, content in sorted(work, key=lambda one: one[0].rank):
            facet.restore(obj, content)


def _others(node: _Node) -> Iterator[_Found]:
    for facet in node.facets:
        for label, value in facet.others(node.obj):
            yield _Found(value, label, node)


def _is_plain(obj: Any) -> bool:
    """Return whether the call is compared with the stored one by the content of an object."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and type(obj) is numpy.ndarray:
        return not obj.dtype.hasobject
    return type(obj) in PLAIN or type(obj) in VALUES


# -- objects that do not pickle ------------------------------------------------------------


def _pickles(obj: Any, outside: Outside) -> bool:
    """Return whether an object can be stored; memory and functions can."""
    try:
        _Trial(outside).dump(obj)
    except OverflowError:
        return True
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return False
    return True


def _leave(buffer: pickle.PickleBuffer) -> None:
    """Keep a buffer out of a pickle."""


class _Trial(pickle.Pickler):
    def __init__(self, outside: Outside) -> None:
        super().__init__(Limited(_TRIAL), pickle.HIGHEST_PROTOCOL, buffer_callback=_leave)
        self._outside = outside

    def persistent_id(self, obj: Any) -> str | None:
        is_known = isinstance(obj, FunctionType) or arrays_of(obj, "")
        return "" if is_known else self._outside.path(obj)


# -- errors --------------------------------------------------------------------------------


def _check_service(node: _Node) -> None:
    """Refuse an object that is of no use as the caller makes it, such as a parser."""
    if found := fault(node.obj):
        raise CodecError(f"{_shown(node)} changed and cannot be stored: {found[0]}.\n{found[1]}")


def _obstacle(node: _Node) -> str | None:
    try:
        return node.obstacle()
    except Exception as error:
        raise CodecError(f"{_shown(node)} cannot be stored: {error}\n{_WAYS}") from error


def _refusal(root: _Node, cause: _Node, reason: str) -> CodecError:
    inner = "" if cause is root else f"because of {_shown(cause)}: "
    return CodecError(
        f"{_shown(root)} changed and cannot be put back in place:\n{inner}{reason}.\n{_WAYS}"
    )


def _shown(node: _Node) -> str:
    kind = "variable" if node.root.kind is CellType else "argument"
    return f"{kind} {node.path.replace(_CELL, '')!r} ({full_name(type(node.obj))})"


def _unlike(path: str, why: str) -> ArgumentsChangedError:
    return ArgumentsChangedError(
        f"argument {path!r} is not like that of the stored run: {why}.\n"
        "Call the function with an argument that is made in the same way."
    )
