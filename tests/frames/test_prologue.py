"""The statements before the loops around a yield, and what they do to variables."""

from __future__ import annotations

import ast
import textwrap

import pytest

from trax.frames.names import assigned
from trax.frames.prologue import changed, has_yield, prologue, rest, used
from trax.frames.sites import Site, find_sites


def sites(text: str) -> list[Site]:
    """Return the yields of a function with a body."""
    tree = ast.parse(f"def f():\n{textwrap.indent(textwrap.dedent(text), '    ')}")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    return find_sites(function)


def statement(text: str) -> ast.stmt:
    """Return the tree of a statement."""
    return ast.parse(textwrap.dedent(text)).body[0]


BODY = """
a = 1
with a as b:
    c = b
    try:
        d = c
        if d:
            e = d
            for f in e:
                g = f
                yield g
                h = g
            i = 1
    finally:
        j = 1
yield a
"""


def test_the_prologue_ends_at_the_outermost_loop() -> None:
    """In the blocks around it, everything before it belongs to it; in the loop nothing does."""
    first, second = sites(BODY)
    assert [ast.unparse(node) for _, node in prologue(first)] == [
        "a = 1",
        "c = b",
        "d = c",
        "e = d",
    ]
    assert [depth for depth, _ in prologue(first)] == [0, 1, 2, 3]
    assert [has_yield(node) for _, node in prologue(second)] == [False, True]


def test_the_rest_is_all_but_the_prologue() -> None:
    """Handlers, `else` and what comes after the loop are the rest."""
    first, second = sites(BODY)
    assert assigned(rest(first)) == {"f", "g", "h", "i", "j"}
    assert assigned(rest(second)) == {"b", "c", "d", "e", "f", "g", "h", "i", "j"}


def test_the_prologue_in_a_case_and_the_rest_of_the_others() -> None:
    """One case of a match runs once, too."""
    (site,) = sites(
        """
        match x:
            case 1:
                a = 1
            case [b, *c] | {"k": b, **c}:
                d = 1
                while d:
                    yield d
        """
    )
    assert [ast.unparse(node) for _, node in prologue(site)] == ["d = 1"]
    assert assigned(rest(site)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("a.b = 1", {("a", ".b")}),
        ("a.b.c[0] = 1", {("a", ".b")}),
        ("a['k']['l'] = 1", {("a", "['k']")}),
        ("a[i] = 1", {("a", "")}),
        ("a += 1", {("a", "")}),
        ("a.n += 1", {("a", ".n")}),
        ("del a[0]", {("a", "[0]")}),
        ("a.append(1)", {("a", "")}),
        ("a.rows.append(1)", {("a", ".rows")}),
        ("for a.b in c: pass", {("a", ".b")}),
        ("a.b(c.d)", set()),
        ("(a, b[1]).x = 1", set()),
    ],
)
def test_what_a_statement_changes_in_place(text: str, objects: set[tuple[str, str]]) -> None:
    """As far as the text shows it, and which part of the object."""
    assert set(changed(statement(text))) == objects


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("f(a)", {("f", ""), ("a", "")}),
        ("f(a.b.c, a['k'])", {("f", ""), ("a", ".b"), ("a", "['k']")}),
        ("a.b()", {("a", ".b()")}),
        ("x = a[i]", {("a", ""), ("i", "")}),
        ("x = [a, {'k': b}, (c,), d.e]", {("d", ".e")}),
        ("x = [a, f(a)]", {("f", ""), ("a", "")}),
    ],
)
def test_which_parts_of_objects_a_statement_uses(text: str, objects: set[tuple[str, str]]) -> None:
    """A method may use all of its object."""
    assert used(statement(text)) == objects
