"""Context managers of the blocks around a yield: which are stored, and which are entered again."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from trax.frames.directories import StoredDirectory
from trax.frames.remade_kinds import is_data
from trax.frames.sites import Site

__all__ = ["held_managers", "stored_slots"]

_DIRECTORIES: Final = (tempfile.TemporaryDirectory, StoredDirectory)


def held_managers(
    site: Site, values: Mapping[str, Any], slots: list[Any], can_store: Callable[[Any], bool]
) -> tuple[frozenset[int], set[str]]:
    """Return the blocks around a yield whose managers are stored, and the variables of others.

    A manager is stored, and only exited later, where the variable of the block is the manager
    itself and can be stored. So is a temporary directory, since steps have put files there. Any
    other block is entered again: its variable then has the new object, unless it is data, such as
    a path, which is stored.

    Parameters
    ----------
    site : Site
        The yield.
    values : mapping
        All variables that have values.
    slots : list
        The context managers and iterators, as in `Frame`.
    can_store : callable
        Whether a value can be stored.

    Returns
    -------
    held : frozenset of int
        The numbers of the blocks whose managers are stored.
    remade : set of str
        The variables that get new objects when the others are entered again.
    """
    held, remade = set[int](), set[str]()
    for number, block in enumerate(site.blocks):
        if block.kind != "with":
            continue
        target = getattr(block.node, "optional_vars", None)
        names = [one.id for one in ast.walk(target) if isinstance(one, ast.Name)] if target else []
        is_own = isinstance(target, ast.Name) and values.get(target.id) is slots[number]
        if isinstance(slots[number], _DIRECTORIES) or (is_own and can_store(slots[number])):
            held.add(number)
        else:
            remade |= {name for name in names if not is_data(values.get(name))}
    return frozenset(held), remade


def stored_slots(site: Site, slots: list[Any], held: Collection[int]) -> list[Any]:
    """Return slots as they are stored, with None for managers that are entered again."""
    stored = [*slots]
    for number, block in enumerate(site.blocks):
        if block.kind == "with":
            stored[number] = _stored(slots[number]) if number in held else None
    return stored


def _stored(manager: Any) -> Any:
    if not isinstance(manager, tempfile.TemporaryDirectory):
        return manager
    return StoredDirectory(manager.name, is_kept=not getattr(manager, "_delete", True))
