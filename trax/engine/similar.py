"""Finds a stored run that a new one may be meant to resume: under another name, or elsewhere.

A function that was renamed, or called in another working directory, would silently begin again.
Only the newest of many runs are read, without locks, and only when the first run of a function in
this process begins.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.calls.arguments import differences
from trax.calls.script import is_defined_beside, path_of
from trax.errors import TraxError
from trax.storage.filenames import is_default

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.storage.store import Store

__all__ = ["tell_similar"]

_RUNS = 100
_PARENTS = 5
_told: set[tuple[str, str, str]] = set()  # stores and functions of this process


def tell_similar(call: Call, store: Store) -> None:
    """Give a notice if the run that is about to begin looks like one that is stored."""
    if not call.script:
        return
    key = store.path, call.function.__module__, call.function.__qualname__
    finds = [_find_unnamed] if key in _told else [_find_renamed, _find_unnamed, _find_elsewhere]
    _told.add(key)
    if hint := next(filter(None, (find(call, store) for find in finds)), ""):
        notices.info(f"{call.name} begins, since nothing is stored as {call.name!r}; {hint}")


def _find_unnamed(call: Call, store: Store) -> str:
    """Return the hint to the run of the same arguments from before there was a template.

    Other runs of the template may have begun meanwhile, in this process too.
    """
    name = call.function.__name__
    if not call.options.is_template or name == call.name:
        return ""
    meta = store.peek(name)
    is_it = _is_of_function(call, meta) and _is_same_work(call, meta)
    return _hint(call, store, name, meta["name"]) if is_it else ""


def _hint(call: Call, store: Store, name: str, owner: str) -> str:
    """Return the hint to a run that has another name; a template stays, and the run is copied.

    `owner` is the name by which its files were written: they were moved if it is not that of now.
    """
    hint = f"the run {name!r} of this script has the same arguments: to resume that one, "
    if owner == name and not call.options.is_template:
        return f"{hint}give name={name!r}"
    where = [] if is_default(store.path) else ["--dir", store.path]
    commands = [["trax", "rm", call.name, *where], ["trax", "fork", name, call.name, *where]]
    if owner != name:  # it cannot be read there
        commands[1] = ["mv", store.run_path(name), store.run_path(owner)]
        if owner != call.name:
            commands = commands[1:]
    return f"{hint}stop this one, and: {' && '.join(map(shlex.join, commands))}"


def _find_renamed(call: Call, store: Store) -> str:
    """Return the hint to a run of the same script that had another name; empty if there is none."""
    for name in store.newest_runs(_RUNS):
        meta = store.peek(name)
        if _is_of_function(call, meta) and call.fits_name(name):
            return ""  # as in a sweep: neither the function was renamed, nor its runs
        former = meta.get("function", "").rpartition(".")[2]
        if _is_same_work(call, meta) and _is_former_name(call, name, former):
            return _hint(call, store, name, meta["name"])
    return ""


def _is_former_name(call: Call, name: str, function: str) -> bool:
    """Return whether a run's name may be the one that the call's run had before."""
    mine = call.function.__name__
    if function != mine:
        has_default = name == function and not call.options.is_named
        return has_default and not is_defined_beside(call.function, function)
    return name == mine or call.options.is_template or not call.options.is_named


def _find_elsewhere(call: Call, store: Store) -> str:
    """Return the hint to a run in another directory of the same name; empty if there is none."""
    for path in _other_paths(call, store):
        try:
            meta = store.at(path).peek(call.name)
        except (TraxError, OSError):
            continue
        if _is_of_function(call, meta) and _is_same_work(call, meta):
            return (
                f"{path} has a run of that name with the same arguments: "
                f"to resume that one, give traxdir={str(path)!r}"
            )
    return ""


def _other_paths(call: Call, store: Store) -> Iterator[Path]:
    """Yield the stores that the call would have used in other working directories."""
    given = call.options.traxdir or os.environ.get("TRAX_DIR") or ".trax"
    name = os.path.expanduser(os.fspath(given))
    if os.path.isabs(name):
        return
    script, here = path_of(call.function), Path.cwd()
    directories = [script.parent] if script else []
    for directory in dict.fromkeys([*directories, *list(here.parents)[:_PARENTS]]):
        path = directory / name
        if path.is_dir() and os.path.realpath(path) != store.path:
            yield path


def _is_of_function(call: Call, meta: dict[str, Any]) -> bool:
    return meta.get("function") == call.function.__qualname__


def _is_same_work(call: Call, meta: dict[str, Any]) -> bool:
    return (
        meta.get("script") == call.script
        and "arguments" in meta
        and not differences(meta["arguments"], call.described)
    )
