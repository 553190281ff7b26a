"""The statements before the loops around a yield, and what they do to variables."""

from __future__ import annotations

import ast
import textwrap

import pytest

from trax.frames.prologue import (
    bound,
    bound_inside,
    changed,
    has_yield,
    prologue,
    read,
    read_at_once,
    rest,
    root,
    used,
)
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
    assert bound(rest(first)) == {"f", "g", "h", "i", "j"}
    assert bound(rest(second)) == {"b", "c", "d", "e", "f", "g", "h", "i", "j"}


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
    assert bound(rest(site)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a = b.c = d[0] = 1", {"a"}),
        ("a, (b, *c) = x", {"a", "b", "c"}),
        ("a: int = 1", {"a"}),
        ("a += 1", {"a"}),
        ("del a", {"a"}),
        ("import a.b, c as d", {"a", "d"}),
        ("from a import b, c as d", {"b", "d"}),
        ("def a(b): c = 1", {"a"}),
        ("class A: b = 1", {"A"}),
        ("for a in b: c = 1", {"a", "c"}),
        ("with x as (a, b): c = 1", {"a", "b", "c"}),
        ("try: a = 1\nexcept E as b: c = 1", {"a", "b", "c"}),
        ("print(a := 1)", {"a"}),
        ("print([b := a for a in x])", {"b"}),
        ("f = lambda a: a", {"f"}),
    ],
)
def test_what_a_statement_binds(text: str, names: set[str]) -> None:
    """Every way to give a variable a value counts."""
    assert bound(statement(text)) == names


def test_what_functions_inside_bind() -> None:
    """They do so when they are called, whenever that is."""
    tree = statement("def f():\n    nonlocal a\n    def g():\n        nonlocal b, c")
    assert bound(tree) == {"f"}
    assert bound_inside(tree) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a = b.c(d[0])", {"b", "d"}),
        ("a = [b(x) for x in c if x]", {"b", "c"}),
        ("a = {k: v for k, v in c.items() for z in k}", {"c"}),
        ("a = lambda x, *y: x + y + b", {"b"}),
        ("def f(x=a):\n    y = x\n    return y + b", {"a", "b"}),
        ("def f():\n    nonlocal a\n    a = a + b", {"a", "b"}),
        ("class A(b):\n    x = c", {"b", "c"}),
    ],
)
def test_what_a_statement_reads(text: str, names: set[str]) -> None:
    """Variables that belong to functions and comprehensions in it are not meant."""
    assert read(statement(text)) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def f(x=a, *, y=b): return c", {"a", "b"}),
        ("@a\ndef f(): return c", {"a"}),
        ("f = partial(lambda x=a: b, c)", {"a", "c", "partial"}),
        ("f = [a for x in b]", {"a", "b"}),
    ],
)
def test_what_a_statement_reads_at_once(text: str, names: set[str]) -> None:
    """The bodies of functions run later."""
    assert read_at_once(statement(text)) == names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", "a"),
        ("a.b[0].c()(d)", "a"),
        ("(await a.b)", "a"),
        ("'x'.join(a)", None),
        ("[a]", None),
    ],
)
def test_the_variable_that_an_expression_begins_with(text: str, name: str | None) -> None:
    """Whatever is done to it."""
    assert root(ast.parse(text, mode="eval").body) == name


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
