"""The turns of loops around yields."""

from __future__ import annotations

import ast
import textwrap

import pytest

from trax.lint.turns import (
    bodies,
    ends_without_yield,
    exits,
    increments,
    loops_around_yields,
    tail,
    yields_in,
)


def body_of(text: str) -> list[ast.stmt]:
    return ast.parse(textwrap.dedent(text)).body


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("yield", {1}),
        ("yield; yield", {2}),
        ("if a: yield", {0, 1}),
        ("if a: continue\nyield", {0, 1}),
        ("if a: break\nyield", {1}),
        ("try:\n  yield\nexcept E: pass", {0, 1}),
        ("try:\n  a()\nexcept E: raise\nyield", {1}),
        ("with a: yield", {1}),
        ("for b in c: yield", {2}),
        ("for b in c: pass\nyield", {1}),
        ("match a:\n  case 1: yield\n  case _: yield", {0, 1}),
        ("yield from a", {2}),
    ],
)
def test_the_number_of_increments(text: str, numbers: set[int]) -> None:
    """On all ways through a turn."""
    assert increments(body_of(text)) == numbers


def test_the_last_part_of_a_turn() -> None:
    """It is what comes after the last yield, inside of blocks too."""
    body = body_of("a()\nwith b:\n  yield\n  c()\nif d: break\n")
    assert [ast.unparse(one) for one in tail(body)] == ["c()", "if d:\n    break"]
    assert [one.text for one in exits(tail(body))] == ["d"]
    assert tail(body_of("for a in b: yield")) == []


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("if a:\n  yield\n  break\nb()", ["break"]),
        ("if a:\n  yield\nelse:\n  return\nb()", ["b()"]),
        ("if a:\n  yield\n  continue\nelse:\n  yield\nb()", ["continue", "b()"]),
        ("with a:\n  if c:\n    yield\n    raise d\nb()", ["raise d"]),
    ],
)
def test_what_no_way_leads_to_from_the_yield_is_not_after_it(text: str, after: list[str]) -> None:
    """Such as what follows a branch that jumps away."""
    assert [ast.unparse(one) for one in tail(body_of(text))] == after


def test_loops_around_yields_come_from_the_outside() -> None:
    """Others are left out."""
    body = body_of("for a in b:\n  for c in d: pass\n  while e:\n    yield\nfor f in g: pass\n")
    assert [len(around) for around in loops_around_yields(body)] == [1, 2]
    assert len(yields_in(body)) == 1
    assert [len(one) for one in bodies(body[0])] == [2, 0, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = s > 1\nif not a: yield", True),
        ("if s > 1: a = True\nelse: yield", True),
        ("if s > 1:\n  a = True\n  continue\nyield", True),
        ("a = s > 1\nif a: break\nyield", True),
        ("a = s > 1\nyield", False),
        ("yield\na = s > 1", False),
        ("if s > 1: a = True\nyield", False),
        ("with b: a = f()\nif not a: yield", True),
        ("for c in b: yield\na = True", False),
    ],
)
def test_a_variable_that_ends_a_loop(text: str, expected: bool) -> None:
    """It is set in turns that hand nothing out, or not at all."""
    (loop,) = body_of("while not a:\n" + textwrap.indent(text, "  "))
    assert isinstance(loop, ast.While)
    assert ends_without_yield(loop) == expected
