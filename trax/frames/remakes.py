"""The variables of one loop that are made again, at each of its yields, and how they are left out.

Strategy: at most yields everything can be stored, and nothing is planned. A plan is made where a
block of a ``with`` is around the yield, or where the frame could not be encoded, and is kept for
all further frames of that yield.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import CellType, MappingProxyType, MethodType
from typing import Any, NamedTuple

from trax import notices
from trax.errors import CodecError
from trax.frames.later import path_of, reduce_method
from trax.frames.locked import CanStore, Locked, locked
from trax.frames.managers import held_managers, stored_slots
from trax.frames.names import assigned, read
from trax.frames.program import Frame, Loop, Program
from trax.frames.prologue import prologue
from trax.frames.remade_kinds import fault
from trax.frames.remake import Plan, Planner, empty_cells
from trax.frames.sites import Site
from trax.frames.suspended import variables
from trax.frames.written_files import written_file
from trax.storage.codec import Encoded
from trax.storage.members import contents

__all__ = ["Remakes"]


class _Omissions(NamedTuple):
    """What is left out of the frames of one yield.

    Attributes
    ----------
    plan : Plan
        The variables that are made again.
    held : frozenset of int
        The numbers of the blocks whose managers are stored.
    referred : frozenset of str
        The variables that are made again and that the iterators of loops need.
    dropped : frozenset of str
        The variables that cannot be stored and that nothing needs any more.
    data : dict of str to Locked
        The variables that are made again and that are data with locks in it, as they were first.
    given : frozenset of str
        The variables from which others are made again.
    """

    plan: Plan = Plan(frozenset(), frozenset(), {}, {})
    held: frozenset[int] = frozenset()
    referred: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    data: Mapping[str, Locked] = MappingProxyType({})
    given: frozenset[str] = frozenset()


class Remakes:
    """The variables of one loop that are made again when it goes on at one of its yields.

    Parameters
    ----------
    program : Program
        The loop's program.
    label : str
        The name of the loop in errors and notices.
    can_store : callable
        Stores an object, if that is possible when others are outside of it, whose paths are given
        by their ids.

    Attributes
    ----------
    needs : frozenset of str
        Variables that frames must have although the loop does not need them any more; they are
        given to `Program.snapshot`.
    outside : dict of int to str
        The objects to which the newest frame refers by paths, by their ids: they are made again,
        and iterators of loops need them.
    reductions : dict of type to callable
        The reductions for the pickle of the newest frame that `stored` has returned.
    """

    def __init__(self, program: Program, label: str, can_store: CanStore) -> None:
        self._program = program
        self._label = label
        self._can_store_outside = can_store
        self._managed = {site.number for site in program.sites if site.entered}
        self._omissions: dict[int, _Omissions] = {}
        self._told: set[str] = set()
        self._looks = 6  # at data in frames: those of two steps, as proofs take them, too
        self.needs: frozenset[str] = frozenset()
        self.outside: dict[int, str] = {}
        self.reductions: dict[type, Callable[[Any], Any]] = {}

    def plan_of(self, site: int) -> Plan:
        """Return the plan of a yield."""
        return self._omissions.get(site, _Omissions()).plan

    def omitted(self, site: int) -> frozenset[str]:
        """Return the variables that are not stored at a yield."""
        found = self._omissions.get(site, _Omissions())
        return found.plan.names | found.dropped

    def stored(self, loop: Loop, frame: Frame) -> Frame:
        """Return a frame as it is to be stored, without what is made again.

        Raises
        ------
        CodecError
            Something in it can be neither stored nor made again.
        UsageError
            Something in it is made again, and has changed: later frames would not be better.
        """
        self.outside, self.reductions = {}, {}
        if frame.site in self._omissions:
            return self._apply(frame)
        return self.plan(loop, frame) if frame.site in self._managed else frame

    def _tell(self, found: Plan) -> None:
        """Say once what will not be there after a crash."""
        for line in found.warnings(self._label):
            if line not in self._told:
                self._told.add(line)
                notices.warn(line)

    def plan(self, loop: Loop, frame: Frame) -> Frame:
        """Find out what cannot be stored of a frame, and return it without that; see `stored`."""
        site, values = self._program.site(frame.site), variables(loop)
        held, entered = held_managers(site, values, frame.slots, self._can_store)
        live = [name for name in (*frame.values, *frame.cells) if name in values]
        unstorable = {name for name in live if not self._can_store(values[name])}
        dropped = unstorable - self._program.surely_live[frame.site] - entered
        dropped -= set().union(*(read(node) | assigned(node) for _, node in prologue(site)))
        referred = self._find_referred(stored_slots(site, frame.slots, held), values)
        again = unstorable - dropped | entered | referred
        data = self._data(again, values)
        planner = Planner(self._program, site, self._label, values, self._can_store, data)
        found = planner.plan(again)
        self._check_entered(site, frame.slots, held)
        self._tell(found)
        self.needs |= found.needs | referred
        needed = {name: values[name] for name in self.needs - frame.cells.keys() if name in values}
        frame = replace(frame, values=frame.values | needed)
        given = found.needs.union(*(read(item.context_expr) for _, item in site.entered))
        data = self._data(found.made, _variables(frame), given)
        self._omissions[frame.site] = _Omissions(
            found, held, referred, frozenset(dropped), data, given
        )
        return self._apply(frame)

    def _data(
        self, names: Collection[str], values: Mapping[str, Any], given: Collection[str] = ()
    ) -> dict[str, Locked]:
        """Return the variables that are data with locks in it; what they are `given` is not."""
        outside = {id(values[name]): "" for name in {*given} - {*names} if name in values}

        def can_store(value: Any, paths: Mapping[int, str]) -> Encoded | None:
            return self._can_store_outside(value, {**outside, **paths})

        found = {name: locked(values[name], name, can_store) for name in names if name in values}
        return {name: one for name, one in found.items() if one is not None}

    def _tell_changed(self, omitted: _Omissions, values: Mapping[str, Any]) -> None:
        """Tell of data that the steps have changed and that is made again without that."""
        before = omitted.data
        for name, one in self._data(before, values, omitted.given).items():
            line = (
                f"{self._label}: steps change {name}, which is made again without that after a "
                f"crash, since {one.reason}. {' '.join(one.advice.splitlines())}"
            )
            if one.digest != before[name].digest and line not in self._told:
                self._told.add(line)
                notices.warn(line)

    def _check_entered(self, site: Site, slots: list[Any], held: Collection[int]) -> None:
        """Refuse a ``with`` whose file would be opened for writing once more."""
        for number, item in site.entered:
            written = None if number in held else written_file(slots[number], "it")
            if written:
                line = item.context_expr.lineno
                raise CodecError(
                    f"{self._label}: the with in line {line} cannot be entered again: it has a "
                    f"file open for writing.\n{written.advice}"
                )

    def _find_referred(self, slots: list[Any], values: Mapping[str, Any]) -> frozenset[str]:
        """Return the variables that iterators of loops need, and that must be made again."""
        slots = [slot for slot in slots if not self._can_store(slot)]
        if not slots:
            return frozenset()
        paths = {id(v): path_of(name) for name, v in values.items() if not self._can_store(v)}
        if not self._can_store_outside(slots, paths):
            return frozenset()  # encoding the frame tells why
        needed = (
            key
            for key in paths
            if not self._can_store_outside(slots, {k: p for k, p in paths.items() if k != key})
        )
        return frozenset(paths[key].removeprefix(path_of("")) for key in needed)

    def _can_store(self, one: Any) -> bool:
        return self._can_store_outside(one, {}) is not None

    def _apply(self, frame: Frame) -> Frame:
        omitted = self._omissions[frame.site]
        names, held, referred, dropped = omitted.plan.names, *omitted[1:4]
        if omitted.data and self._looks:
            self._looks -= 1
            self._tell_changed(omitted, _variables(frame))
        for name in names & frame.values.keys():
            if found := fault(frame.values[name]):
                raise CodecError(f"{self._label}: {name} cannot be kept: {found[0]}.\n{found[1]}")
        slots = stored_slots(self._program.site(frame.site), frame.slots, held)
        values = {k: v for k, v in frame.values.items() if k not in names | dropped}
        cells = frame.cells | {name: CellType() for name in dropped & frame.cells.keys()}
        if names or dropped:
            self.reductions[CellType] = empty_cells(names, dropped, frame.cells)
        outside = referred & frame.values.keys()
        self.outside = {id(frame.values[name]): path_of(name) for name in outside}
        if outside:
            self.reductions[MethodType] = reduce_method
        return replace(frame, values=values, cells=cells, slots=slots)


def _variables(frame: Frame) -> dict[str, Any]:
    """Return the variables in a frame, those in cells included."""
    return {**frame.values, **contents(frame.cells)}
