"""Loops that could not go on are refused when they are decorated, with the line and the remedy."""

from __future__ import annotations

import io
import linecache
import sys
import textwrap
from typing import Any

import pytest

from trax.errors import UsageError
from trax.frames.program import program_of
from trax.frames.refusals import check

REFUSED = {
    "the value of a yield is used": [
        "while True: x = yield x",
        "return (yield x)",
        "x += yield 1",
        "print((yield x))",
        "while (yield x): pass",
    ],
    "a yield in `finally`": ["try: pass\nfinally:\n    yield x"],
    "a yield in `except*`": ["try: pass\nexcept* ValueError: yield x"],
    "a yield inside of a larger expression": ["x += yield from [1]", "print((yield from [1]))"],
    "a `with` reads 'x', which changes inside of it": ["with x.lock:\n    x = 3\n    yield x"],
    "the global variable 'y' is assigned to": [
        "global y\ny = 1\nyield x",
        "def inner():\n    global y\n    y = 1\nyield x",
        "global y\nfor y in x: pass\nyield x",
    ],
    "the nonlocal variable 'outside' is assigned to": [
        "nonlocal outside\noutside = 1\nyield x",
        "def inner():\n    nonlocal outside\n    outside += 1\nyield x",
        "def inner():\n    def most():\n        nonlocal outside\n        outside = 1\nyield x",
        "def o(outside): pass\ndef inner():\n    nonlocal outside\n    del outside\nyield x",
    ],
    "a file that is written stays open across a yield": [
        "with open('x', 'w') as f:\n    yield x",
        "with open('x', mode='at') as f: yield x",
        "with io.open('x', 'r+b') as f: yield x",
        "with x.open('x') as f: yield x",
        "f = open('x', 'w')\nyield x\nf.write('')",
        "f: object = open('x', 'a')\nyield x\nprint(f)",
        "while (f := open('x', 'w')):\n    yield x\n    f.close()",
        "w = csv.writer(open('x', 'w'))\nyield x\nw.writerow(x)",
    ],
}
ACCEPTED = [
    "yield x",
    "x = yield from [1]",
    "total = 0\ndef add():\n    nonlocal total\n    total += 1\nyield x",
    "total = 0\ndef inner():\n    def add():\n        nonlocal total\n        total += 1\nyield x",
    "def inner(n):\n    def add():\n        nonlocal n\n        n += 1\nyield x",
    "def inner(n):\n  class A:\n    def f(self):\n      nonlocal n\n      n = 1\nyield x",
    "global y\nyield y",
    "with open('x') as f: yield f.read()",
    "with open('x', 'w') as f: f.write('')\nyield x",
    "f = open('x', 'w')\nf.close()\nyield x",
    "open('x', 'w').close()\nyield x",
    "with trax.open('x', 'w') as f: yield x",
    "with gzip.open('x', 'w') as f: yield x",
    "text = open('x', 'r+').read()\nyield x\nprint(text)",
]


def _loop(body: str, head: str = "def loop(x):") -> Any:
    lines = [head, *textwrap.indent(body, "    ").splitlines()]
    if "nonlocal outside" in body:
        lines = ["def around():", *(f"    {line}" for line in ["outside = 0", *lines])]
        lines += ["    return loop", "loop = around()"]
    text = "import csv, gzip, io, trax\n" + "\n".join(lines) + "\n"
    name = f"/somewhere/{abs(hash(text))}.py"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    variables: dict[str, Any] = {}
    exec(compile(text, name, "exec"), variables)
    return variables["loop"]


def _check(loop: Any) -> None:
    check(loop, program_of(loop.__code__, provides_iterators=True))


@pytest.mark.parametrize(
    ("reason", "body"), [(reason, body) for reason, bodies in REFUSED.items() for body in bodies]
)
def test_refused(reason: str, body: str) -> None:
    with pytest.raises(UsageError) as caught:
        _check(_loop(body))
    first, *ways = str(caught.value).splitlines()
    assert first.startswith("loop, line ")
    assert first.endswith(f".py: {reason}.")
    assert ways


@pytest.mark.parametrize("body", ACCEPTED)
def test_accepted(body: str) -> None:
    _check(_loop(body))


def test_async_for_around_a_yield_is_refused() -> None:
    with pytest.raises(UsageError, match=r"loop, line 3 of \d+.py: a yield in `async for`"):
        _check(_loop("async for y in x: yield y", "async def loop(x):"))
    _check(_loop("async for y in x: pass\nyield y", "async def loop(x):"))


def test_a_name_for_trax_open_is_no_other_open() -> None:
    import trax

    loop = _loop("with open('x', 'w') as f: yield x")
    loop.__globals__["open"] = trax.open
    _check(loop)
    loop.__globals__["open"] = io.open
    with pytest.raises(UsageError, match="stays open across a yield"):
        _check(loop)


def test_a_decorator_in_between_is_refused() -> None:
    import functools

    loop = _loop("yield x")

    @functools.wraps(loop)
    def wrapper(*args: Any) -> Any:
        yield from loop(*args)

    with pytest.raises(UsageError, match="another decorator stands between trax and the function"):
        check(wrapper, program_of(loop.__code__, provides_iterators=True))  # type: ignore[arg-type]


def test_a_forgotten_create_is_explained() -> None:
    with pytest.raises(UsageError, match=r"declare that: @trax.resumable\(create=...\)"):
        _check(_loop("while True: x = yield x + 1"))


def test_a_lambda_is_refused() -> None:
    with pytest.raises(UsageError, match="a lambda cannot be a loop"):
        _check(lambda: (yield))


def many_yields(count: int) -> Any:
    """Return a function with so many yields, of which several are in one block."""
    block = (
        "with open(str(total)) as f{0}:\n    for x{0} in f{0}:\n        yield x{0}\n        yield 1"
    )
    body = ["total = 0", *(block.format(number) for number in range(count))]
    text = "def loop():\n    with open('x') as f:\n" + textwrap.indent("\n".join(body), " " * 8)
    name = f"<many {count}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    variables: dict[str, Any] = {}
    exec(compile(text, name, "exec"), variables)
    return variables["loop"]


def calls_to_check(count: int) -> int:
    """Return how many functions are called to check a function with so many yields."""
    function, calls = many_yields(count), 0

    def tell(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(tell)
    try:
        check(function, program_of(function.__code__, provides_iterators=True))
    finally:
        sys.setprofile(before)
    return calls


def test_the_cost_of_a_check_grows_with_the_text_and_no_more() -> None:
    assert calls_to_check(40) < 2.3 * calls_to_check(20)


def test_what_only_a_resumed_loop_needs_is_not_found_out_by_a_check() -> None:
    function = many_yields(3)
    program = program_of(function.__code__, provides_iterators=True)
    check(function, program)
    assert {"live", "code"}.isdisjoint(vars(program))
