"""The names that statements read and bind, and what they lead to."""

from __future__ import annotations

import ast
import datetime
import textwrap
from collections import OrderedDict

import pytest

from trax.frames.names import (
    assigned,
    assignments,
    bound_inside,
    loaded,
    read,
    resolved,
    root,
    target_names,
)


def statement(text: str) -> ast.stmt:
    """Return the tree of a statement."""
    return ast.parse(textwrap.dedent(text)).body[0]


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
    assert assigned(statement(text)) == names


def test_what_functions_inside_bind() -> None:
    """They do so when they are called, whenever that is."""
    tree = statement("def f():\n    nonlocal a\n    def g():\n        nonlocal b, c")
    assert assigned(tree) == {"f"}
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
    assert loaded(statement(text)) == names


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


def test_names_that_are_read_and_bound() -> None:
    tree = ast.parse("a, *b = [c for d in e if (f := d)]; g[h], i.j = k; lambda l: m")
    assert loaded(tree) == {"c", "e", "g", "h", "i", "k"}
    assert assigned(tree) == {"a", "b", "f"}
    text = "import a.b, c as d\nfrom e import f\ndef g(): h = 1\nclass i: j = 1"
    assert assigned(ast.parse(text)) == {"a", "d", "f", "g", "i"}
    (statement,) = ast.parse("(a, [b, *c]), d.e, f[g] = h").body
    assert isinstance(statement, ast.Assign)
    assert target_names(statement.targets[0]) == {"a", "b", "c"}


def test_assignments_with_their_values() -> None:
    """Each target has the value; an annotation alone has none."""
    tree = ast.parse("a = b.c = 1\nd: int = 2\ne: int\nf += 3\nprint(g := 4)\ndef h(): i = 5")
    found = [(ast.unparse(one), ast.unparse(value)) for one, value in assignments(tree)]
    assert found == [("a", "1"), ("b.c", "1"), ("d", "2"), ("f", "3"), ("g", "4")]


def test_what_names_outside_of_a_function_lead_to() -> None:
    """Names of the module, of functions around and of Python, and attributes of these."""
    around = OrderedDict

    def inner() -> None:
        ast = around  # noqa: F841
        print(datetime)

    def found(text: str) -> object:
        return resolved(ast.parse(text, mode="eval").body, inner)  # type: ignore[arg-type]

    assert found("datetime.datetime.now") is vars(datetime.datetime)["now"]
    assert found("around") is OrderedDict
    assert found("print") is print
    assert found("ast") is None  # a variable of its own
    assert found("unknown") is found("datetime.unknown") is found("print()") is None
