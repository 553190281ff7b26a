"""Yields that are found again in an edited function."""

from __future__ import annotations

import linecache
import textwrap
from types import FunctionType

import pytest

from trax.frames.program import Program, program_of
from trax.frames.spots import find_spot, missing, spot_of

TEXT = """
def loop(n):
    a = 1
    for i in range(n):
        yield a
        yield i
    yield a
"""


def program(text: str) -> Program:
    """Return the program of the function in a text."""
    text = textwrap.dedent(text)
    name = f"<{hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    made: dict[str, FunctionType] = {}
    exec(compile(text, name, "exec"), {}, made)  # a function with this text
    return program_of(made["loop"].__code__)


@pytest.mark.parametrize(
    ("old", "new", "numbers"),
    [
        ("", "", [0, 1, 2]),
        ("a = 1", "a = 2", [0, 1, 2]),
        ("        yield i\n", "", [0, None, 1]),
        ("        yield a\n", "        yield a\n        yield 0\n", [0, 2, 3]),
        ("        yield a\n", "        yield a + 1\n", [0, 1, 2]),
        ("    for i", "    yield 0\n    for i", [1, 2, 3]),
        ("range(n)", "range(n + 1)", [0, 1, 2]),
        ("    for i in range(n):", "    while a:", [None, None, 1 + 1]),
    ],
)
def test_yields_are_found_by_their_text_and_the_blocks_around(
    old: str, new: str, numbers: list[int | None]
) -> None:
    """Or by their number, where the blocks are the same; else they are gone."""
    before, after = program(TEXT), program(TEXT.replace(old, new) if old else TEXT)
    assert [find_spot(after, spot_of(before, number)) for number in range(3)] == numbers


def test_a_yield_that_needs_more_variables_says_which() -> None:
    """They were not needed when the frame was stored."""
    before, after = program(TEXT), program(TEXT.replace("yield i", "yield i + b + c"))
    after = program(TEXT.replace("a = 1", "a = b = c = 1").replace("yield i", "yield i + b + c"))
    assert missing(after, 0, spot_of(before, 0)) == ["b", "c"]
    assert missing(before, 0, spot_of(before, 0)) == []
