"""Finds the calls before the loops whose effects are not there when a loop is resumed."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from types import CodeType
from typing import Final

from trax.display import shorten
from trax.frames.names import own_nodes, read, root
from trax.frames.prologue import has_yield, is_harmless, prologue
from trax.frames.repeated import is_lasting, is_setting, local_names
from trax.frames.sites import Site

__all__ = ["unrepeated", "unrepeated_notice"]

# They change what they are given, or are known in another way.
_OTHERS: Final = ("bisect", "heapq", "logging", "np", "numpy", "super")


def unrepeated(code: CodeType, site: Site, remade: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each call before the loops that may be missed then.

    It stands alone, so its effect is not in a variable; it is not run again, and no setting of
    the process that is known.
    """
    local = local_names(code)
    for _, node in prologue(site):
        if has_yield(node) or read(node) & {*remade}:
            continue
        for one in own_nodes(node):
            if isinstance(one, ast.Expr) and _matters(one, local):
                yield one.lineno, ast.unparse(one)


def unrepeated_notice(label: str, line: int, text: str) -> str:
    """Return the line to be said of one such call when a loop goes on in another process."""
    return (
        f"{label}: line {line} runs only when the run begins: {shorten(text)}; "
        "put it outside of the function, or into a with"
    )


def _matters(node: ast.Expr, local: Collection[str]) -> bool:
    value = node.value.value if isinstance(node.value, ast.Await) else node.value
    if not isinstance(value, ast.Call) or root(value.func) in (*local, *_OTHERS):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else root(value.func) or ""
    if is_setting(node, local) or is_lasting(node) or name in ("chdir", "putenv", "unsetenv"):
        return False
    return not is_harmless(name)
