"""Descriptions of yields by which they are found again in a function that was edited."""

from __future__ import annotations

import ast
import functools
from typing import NamedTuple

from trax.frames.program import Program
from trax.frames.sites import Site

__all__ = ["Spot", "find_spot", "has_line", "missing", "spot_of"]


class Spot(NamedTuple):
    """A yield, described so that it is found again in a changed function.

    Attributes
    ----------
    number : int
        Its number in the function.
    ordinal : int
        Its number among those with the same text.
    text : str
        The texts of the blocks around it, and its own.
    kinds : tuple of str
        The kinds of those blocks.
    yields : int
        The number of yields in the function.
    needs : tuple of str
        The variables that are still needed there.
    """

    number: int
    ordinal: int
    text: str
    kinds: tuple[str, ...]
    yields: int
    needs: tuple[str, ...]

    @property
    def line(self) -> str:
        """The text of the yield alone."""
        return self.text.rpartition("\n")[2]


@functools.lru_cache(maxsize=1024)
def spot_of(program: Program, number: int) -> Spot:
    """Describe a yield of a function."""
    site = program.sites[number]
    text = _text_of(site)
    before = [_text_of(one) for one in program.sites[:number]]
    needs = tuple(sorted(program.live[number]))
    return Spot(number, before.count(text), text, _kinds(site), len(program.sites), needs)


def find_spot(program: Program, spot: Spot) -> int | None:
    """Return the number of the yield that is described, in a function that may have changed."""
    sites = program.sites
    same = [number for number, site in enumerate(sites) if _text_of(site) == spot.text]
    if spot.ordinal < len(same):
        return same[spot.ordinal]
    if spot.yields == len(sites) and _kinds(sites[spot.number]) == spot.kinds:
        return spot.number  # the same yield, with other expressions in it
    own = spot.kinds, spot.line
    alike = [n for n, one in enumerate(sites) if (_kinds(one), _line(one)) == own]
    return alike[0] if len(alike) == 1 else None


def has_line(program: Program, spot: Spot) -> bool:
    """Return whether a yield of the same text is anywhere in a function."""
    return any(_line(site) == spot.line for site in program.sites)


def missing(program: Program, number: int, spot: Spot) -> list[str]:
    """Return the variables that are needed at a yield by now, and were not before."""
    return sorted({*program.live[number]} - {*spot.needs})


def _kinds(site: Site) -> tuple[str, ...]:
    return tuple(block.kind for block in site.blocks)


def _line(site: Site) -> str:
    return ast.unparse(ast.Expr(site.node))


def _text_of(site: Site) -> str:
    heads = []
    for block in site.blocks:
        node = block.node
        if isinstance(node, ast.For | ast.AsyncFor):
            heads.append(f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}")
        elif isinstance(node, ast.While):
            heads.append(f"while {ast.unparse(node.test)}")
        elif isinstance(node, ast.ExceptHandler):
            heads.append(f"except {ast.unparse(node.type) if node.type else ''}")
        else:
            heads.append(f"{block.kind} {ast.unparse(node)}")
    return "\n".join([*heads, _line(site)])
