"""The state of a plain loop: what its frame needs in order to go on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from types import CellType
from typing import Any, Final, NamedTuple

from trax.display import show
from trax.errors import UsageError
from trax.storage.members import contents

__all__ = ["END", "LoopState"]

END: Final = -2  # the site of a loop that has ended


class LoopState(NamedTuple):
    """The state of a plain loop at a yield; it is stored as a plain tuple.

    Attributes
    ----------
    site : int
        The number of the yield; `END` if the loop has ended.
    values : dict
        The variables that are still needed, by name.
    cells : dict
        Those that functions inside share, as cells.
    slots : list
        What the blocks around the yield keep; see `Frame`.
    contents : dict
        What the loop has changed in its arguments, and in the variables of functions around it; see
        `Arguments`.
    settings : dict
        What it has changed in the settings of the process: as they are, and as they are outside of
        the ``with`` blocks around the yield.
    remade : tuple of str
        The variables that are made again.
    increment : object
        The increment of the yield, in a checkpoint; elsewhere it is in the log.
    """

    site: int
    values: dict[str, Any]
    cells: dict[str, CellType]
    slots: list[Any]
    contents: dict[str, Any]
    settings: dict[str, Any]
    remade: tuple[str, ...] = ()
    increment: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """The variables by name, those in cells included."""
        return self.values | contents(self.cells)

    def with_variables(self, given: Mapping[str, Any]) -> LoopState:
        """Return the state with other variables, some of which may be in cells."""
        if not isinstance(given, Mapping):
            raise UsageError(
                f"migrate must return a mapping of variables by name, not {show(given)}.\n"
                "Write {**variables, 'name': value}."
            )
        for name, cell in self.cells.items():
            if name in given:
                cell.cell_contents = given[name]
        values = {name: value for name, value in given.items() if name not in self.cells}
        return self._replace(values=values)
