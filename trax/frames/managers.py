"""Context managers of the blocks around a yield: which are stored, and which are entered again."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from trax.errors import CodecError
from trax.frames.directories import StoredDirectory
from trax.frames.entering import acts_outside, changed_state
from trax.frames.names import root, target_names
from trax.frames.remade_kinds import is_data, is_stack
from trax.frames.sites import Site

__all__ = ["held_managers", "stored_slots"]

_DIRECTORIES: Final = (tempfile.TemporaryDirectory, StoredDirectory)


def held_managers(
    site: Site, values: Mapping[str, Any], slots: list[Any], can_store: Callable[[Any], bool]
) -> tuple[frozenset[int], set[str]]:
    """Return the blocks around a yield whose managers are stored, and the variables of others.

    A manager is stored, and only exited later, if it can be stored, and if either the variable of
    the block is the manager itself, or to enter it changes nothing outside of the loop. So is a
    temporary directory, since steps have put files there. Any other block is entered again: its
    variable then has the new object, unless it is data, such as a path, which is stored.

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

    Raises
    ------
    CodecError
        A block can neither be stored nor entered again.
    """
    held, remade = set[int](), set[str]()
    for number, item in site.entered:
        target = item.optional_vars
        is_own = isinstance(target, ast.Name) and values.get(target.id) is slots[number]
        expression = item.context_expr
        is_new = isinstance(expression, ast.Call)
        is_kept = not is_new and root(expression) in values
        # One that is neither is an object that all of the module use.
        if (is_new or is_kept) and _is_held(slots[number], can_store, is_own=is_own):
            held.add(number)
        elif place := changed_state(slots[number], values.values(), is_kept=is_kept):
            raise CodecError(_entered_twice(expression, place))
        else:
            remade |= {n for n in target_names(target) if not is_data(values.get(n))}
    return frozenset(held), remade


def _is_held(manager: Any, can_store: Callable[[Any], bool], *, is_own: bool) -> bool:
    if isinstance(manager, _DIRECTORIES):
        return True
    is_inside = (is_own and not is_stack(manager)) or not acts_outside(manager)
    return is_inside and can_store(manager)


def _entered_twice(expression: ast.expr, place: str) -> str:
    return (
        f"line {expression.lineno}: `with {ast.unparse(expression)}` would change {place} again.\n"
        "After a crash it is entered once more: it cannot be stored, or it changes the process.\n"
        f"Change {place} before the block or in it, or leave the rest to another context manager."
    )


def stored_slots(site: Site, slots: list[Any], held: Collection[int]) -> list[Any]:
    """Return slots as they are stored, with None for managers that are entered again."""
    stored = [*slots]
    for number, _ in site.entered:
        stored[number] = _stored(slots[number]) if number in held else None
    return stored


def _stored(manager: Any) -> Any:
    if not isinstance(manager, tempfile.TemporaryDirectory):
        return manager
    return StoredDirectory(manager.name, is_kept=not getattr(manager, "_delete", True))
