"""The parts of a state."""

from __future__ import annotations

import ast
import textwrap

import pytest

from trax.lint.parts import Made, part_of, parts_of


@pytest.mark.parametrize(
    ("text", "part"),
    [
        *(("state", ""), ("state.x", ".x"), ("state['x']", "['x']"), ("state[0]", "[0]")),
        *(("state.x.y", None), ("state[1:]", None), ("other.x", None), ("state.x()", None)),
    ],
)
def test_which_part_of_the_state_an_expression_is(text: str, part: str | None) -> None:
    """Of one level."""
    assert part_of(ast.parse(text, mode="eval").body, "state") == part


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{'x': 1, **state, 'y': 2}", {"['x']", "['y']"}),
        ("state | {'x': 1}", {"['x']"}),
        ("replace(state, x=1)", {".x"}),
        ("(1, 2)", {"[0]", "[1]"}),
        ("(*both, 3)", {"[0]", "[1]", "[2]"}),
        ("(*unknown, 3)", set()),
        ("new", {"['x']"}),
        ("1", set()),
    ],
)
def test_the_parts_of_a_new_state(text: str, parts: set[str]) -> None:
    """As far as they are written one by one."""
    function = "def loop(state):\n    both = (1, 2) if state else (3, 4)\n    new = {'x': 1}"
    made = Made(ast.parse(function).body[0])
    assert parts_of(ast.parse(text, mode="eval").body, made).keys() == parts


@pytest.mark.parametrize(
    ("name", "is_computed"),
    [*(("a", True), ("b", True), ("c", True)), *(("d", False), ("e", False), ("f", False))],
)
def test_what_is_another_value_in_each_step(name: str, is_computed: bool) -> None:
    """Neither what is given, nor copies."""
    text = """
        def loop(state, f):
            a = state.x + 1
            b = a
            for c in range(3):
                pass
            d = state.x
            e = dict(d)
        """
    made = Made(ast.parse(textwrap.dedent(text)).body[0])
    assert made.is_computed(ast.Name(name, ast.Load())) == is_computed
