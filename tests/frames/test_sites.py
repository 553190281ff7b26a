"""The yields of functions, and the obstacles to going on after them."""

from __future__ import annotations

import ast
from textwrap import dedent, indent

import pytest

from trax.frames.sites import find_sites, start_of
from trax.frames.source import Function


def function(text: str) -> Function:
    (node,) = ast.parse(dedent(text)).body
    assert isinstance(node, Function)
    return node


OBSTACLES = {
    "yield x": "",
    "a = yield x": "",
    "a[b()] = c = yield x": "",
    "a: int = yield x": "",
    "return (yield x)": "",
    "if (yield x): pass": "",
    "if not (y := (yield x)) == 3: pass": "",
    "match (yield x):\n case 1: pass": "",
    "for a in (yield x): pass": "",
    "with (yield x) as a: pass": "",
    "raise (yield x)": "",
    "a = (yield x) or 3": "",
    "a = yield from x": "",
    "a += yield x": "a yield inside of a larger expression",
    "a(b, (yield x))": "a yield inside of a larger expression",
    "a = b + (yield x)": "a yield inside of a larger expression",
    "while (yield x): pass": "a yield inside of a larger expression",
    "assert a, (yield x)": "a yield inside of a larger expression",
    "a[(yield x)] = 1": "a yield inside of a larger expression",
    "with a, (yield x): pass": "a yield inside of a larger expression",
    "def inner(a=(yield x)): pass": "a yield inside of a larger expression",
    "class inner(metaclass=(yield x)): pass": "a yield inside of a larger expression",
    "[a for a in (yield x)]": "a yield inside of a larger expression",
    "f'{(yield x)}'": "a yield inside of a larger expression",
    "try: pass\nfinally: yield x": "a yield in `finally`",
    "try: pass\nfinally:\n for a in b: yield x": "a yield in `finally`",
    "try: pass\nexcept* ValueError: yield x": "a yield in `except*`",
    "try: yield x\nexcept* ValueError: pass": "",
    "with a as b: yield x": "",
    "with a as a: yield x": "a `with` reads 'a', which changes inside of it",
    "with a(b):\n b = 1\n yield x": "a `with` reads 'b', which changes inside of it",
    "with a(b):\n yield x\n for b in c: pass": "a `with` reads 'b', which changes inside of it",
    "with a() as b, c(b): yield x": "",
    "with a(c), b() as c: yield x": "a `with` reads 'c', which changes inside of it",
    "with a(n): yield x\ndef g():\n nonlocal n\n n = 1": (
        "a `with` reads 'n', which changes inside of it"
    ),
    "for b in c:\n with a(b): yield x": "",
}


@pytest.mark.parametrize("text", OBSTACLES)
def test_obstacles(text: str) -> None:
    (site,) = find_sites(function("def f():\n" + "\n".join(f" {x}" for x in text.splitlines())))
    assert site.obstacle == OBSTACLES[text]


def test_a_yield_in_async_for_is_an_obstacle() -> None:
    (site,) = find_sites(function("async def f(a):\n async for x in a:\n  yield x"))
    assert site.obstacle == "a yield in `async for`"


def test_sites_have_numbers_in_the_order_of_the_text_and_the_blocks_around_them() -> None:
    node = function("""
        def f(a):
            for x in a:
                with x as y, y as z:
                    yield 1
                while y:
                    try:
                        yield 2
                    except ValueError:
                        yield from 3
                    finally:
                        pass
                else:
                    yield 4
            def inner():
                yield 5
            return [(yield_) for yield_ in a], lambda: (yield 6)
    """)
    sites = find_sites(node)
    assert [(site.number, [block.kind for block in site.blocks]) for site in sites] == [
        (0, ["for", "with", "with"]),
        (1, ["for", "while"]),
        (2, ["for", "while", "handler", "from"]),
        (3, ["for"]),
    ]
    assert [step.part for step in sites[2].path] == ["body", "body", "handlers 0", ""]
    assert start_of(node).number == -1
    assert start_of(node).blocks == ()


def test_the_with_blocks_around_a_yield() -> None:
    """Each item of them has a number among all blocks."""
    (site,) = find_sites(function("def f():\n for x in a:\n  with b, c as d:\n   yield x"))
    assert [(n, ast.unparse(item)) for n, item in site.entered] == [(1, "b"), (2, "c as d")]


TURNS = {
    "for n in range(9): yield n": True,
    "for n in range(9):\n a = b(n)\n yield a\n c()": True,
    "for n in range(9):\n for m in a: b(m)\n yield n": True,
    "if a:\n for n in range(9): yield n": True,
    "with a, b as c:\n for n in range(9): yield n": True,
    "try:\n for n in range(9): yield n\nfinally: a()": True,
    "for n in range(9):\n try: a()\n except b: c()\n yield n": True,
    "for n in trax.steps(9):\n if a: break\n yield n": True,
    "for n in steps(9): yield n": True,
    "yield n": False,
    "for n in a: yield n": False,
    "for n in a.range(9).b: yield n": False,
    "a = iter(range(9))\nfor n in a: yield next(a)": False,
    "for n in range(9): a = yield n": False,
    "for n in range(9): yield from a": False,
    "for n in range(9): a or (yield n)": False,
    "for n in range(9):\n if n: yield n": False,
    "for n in range(9):\n with a: yield n": False,
    "for n in range(9):\n try: yield n\n finally: a()": False,
    "for n in range(9):\n if a: break\n yield n": False,
    "for n in range(9):\n if a: continue\n yield n": False,
    "for n in range(9):\n if a: return\n yield n": False,
    "for n in range(9):\n for m in a: yield n": False,
    "for m in a:\n for n in range(9): yield n": False,
    "while a:\n for n in range(9): yield n": False,
    "while a: yield n": False,
    "for n in range(9): pass\nelse: yield n": False,
    "try:\n for n in range(9): yield n\nexcept a: pass": False,
    "try: a()\nexcept b:\n for n in range(9): yield n": False,
}


@pytest.mark.parametrize("text", TURNS)
def test_a_yield_that_each_turn_of_a_range_comes_by_once(text: str) -> None:
    (site,) = find_sites(function("def f():\n" + indent(text, " ")))
    assert site.is_once_a_turn is TURNS[text]
