"""The variables of one loop that are made again, at each of its yields, and how they are left out.

Strategy: at most yields everything can be stored, and nothing is planned. A plan is made where a
block of a ``with`` is around the yield, or where the frame could not be encoded, and is kept for
all further frames of that yield.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from types import CellType, MethodType
from typing import Any, Final

from trax.errors import CodecError
from trax.frames.later import path_of, reduce_method
from trax.frames.managers import held_managers, stored_slots
from trax.frames.program import Frame, Loop, Program
from trax.frames.remade_kinds import fault
from trax.frames.remake import Plan, empty_cells, plan
from trax.frames.suspended import code_of, frame_of, layout, read

__all__ = ["CanStore", "Remakes", "variables"]

CanStore = Callable[[Any, Mapping[int, str]], bool]

_NOTHING: Final = Plan(frozenset(), frozenset(), {}, {})


class Remakes:
    """The variables of one loop that are made again when it goes on at one of its yields.

    Parameters
    ----------
    program : Program
        The loop's program.
    label : str
        The name of the loop in errors and notices.
    can_store : callable
        Whether an object can be stored, if others are outside of it, whose paths are given by
        their ids.

    Attributes
    ----------
    needs : frozenset of str
        Variables that frames must have although the loop does not need them any more; they are
        given to `Program.snapshot`.
    outside : dict of int to str
        The objects to which the newest frame refers by paths, by their ids: they are made again,
        and iterators of loops need them.
    """

    def __init__(self, program: Program, label: str, can_store: CanStore) -> None:
        self._program = program
        self._label = label
        self._can_store_outside = can_store
        self._referred: dict[int, frozenset[str]] = {}
        self._plans: dict[int, Plan] = {}
        self._held: dict[int, frozenset[int]] = {}
        self._cells: Mapping[str, CellType] = {}
        self._emptied: Collection[str] = ()
        self.needs: frozenset[str] = frozenset()
        self.outside: dict[int, str] = {}

    def plan_of(self, site: int) -> Plan:
        """Return the plan of a yield."""
        return self._plans.get(site, _NOTHING)

    def stored(self, loop: Loop, frame: Frame) -> Frame:
        """Return a frame as it is to be stored, without what is made again.

        Raises
        ------
        CodecError
            Something in it can be neither stored nor made again.
        """
        self._emptied, self.outside = (), {}
        if frame.site in self._plans:
            return self._apply(frame)
        blocks = self._program.site(frame.site).blocks
        has_managers = any(block.kind == "with" for block in blocks)
        return self.plan(loop, frame) if has_managers else frame

    def plan(self, loop: Loop, frame: Frame) -> Frame:
        """Find out what cannot be stored of a frame, and return it without that; see `stored`."""
        site, values = self._program.site(frame.site), variables(loop)
        held, entered = held_managers(site, values, frame.slots, self._can_store)
        live = [name for name in (*frame.values, *frame.cells) if name in values]
        unstorable = {name for name in live if not self._can_store(values[name])} | entered
        referred = self._find_referred(stored_slots(site, frame.slots, held), values)
        found = plan(
            self._program, site, self._label, values, unstorable | referred, self._can_store
        )
        self._plans[frame.site], self._held[frame.site] = found, held
        self._referred[frame.site] = referred
        self.needs |= found.needs | referred
        needed = {name: values[name] for name in self.needs - frame.cells.keys() if name in values}
        return self._apply(replace(frame, values=frame.values | needed))

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
        return self._can_store_outside(one, {})

    def _apply(self, frame: Frame) -> Frame:
        names = self._plans[frame.site].names
        for name in names & frame.values.keys():
            if found := fault(frame.values[name]):
                raise CodecError(
                    f"{self._label}: {name} cannot be made again: {found[0]}.\n{found[1]}"
                )
        slots = stored_slots(self._program.site(frame.site), frame.slots, self._held[frame.site])
        values = {name: value for name, value in frame.values.items() if name not in names}
        self._cells, self._emptied = frame.cells, names
        outside = self._referred[frame.site] & frame.values.keys()
        self.outside = {id(frame.values[name]): path_of(name) for name in outside}
        return replace(frame, values=values, slots=slots)

    @property
    def reductions(self) -> dict[type, Callable[[Any], Any]]:
        """The reductions for the pickle of the newest frame that `stored` has returned."""
        found: dict[type, Callable[[Any], Any]] = {}
        if self._emptied:
            found[CellType] = empty_cells(self._emptied, self._cells)
        if self.outside:
            found[MethodType] = reduce_method
        return found


def variables(loop: Loop) -> dict[str, Any]:
    """Return all variables of a generator that have values."""
    frame = frame_of(loop)
    if frame is None:
        return {}
    values, cells, _ = read(loop, frame, layout(code_of(loop)))
    for name, cell in cells.items():
        with suppress(ValueError):  # it is empty
            values[name] = cell.cell_contents
    return values
