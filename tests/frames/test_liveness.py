"""The variables that are needed at a yield: all of them, and few others."""

from __future__ import annotations

import linecache
import time
from typing import Any

import pytest

from trax.frames.program import Program, program_of

# The names of the live variables stand in a comment beside each yield.
FUNCTIONS = {
    "loops": """
        def f(n, unused):
            a = b = 1
            for i in range(n):
                c = a
                yield c  # a b e i
                d = a
                a = i
            else:
                yield d  # b e
            while b < 3:
                b += 1
                if b == 2:
                    e = 5
                    continue
                yield e  # b e
            return b
    """,
    "both branches": """
        def f(a, b, c):
            yield 1  # a b c
            if a:
                yield b  # c
                b = 3
            else:
                yield 1  # b c
                print(b)
            yield c  #
    """,
    "an exception before the variable is set": """
        def f(a):
            b = 1
            try:
                yield 1  # a b
                b = a()
                yield 2  # b
            except ValueError as e:
                yield e  # b
                yield b  #
            finally:
                print("end")
    """,
    "what finally reads": """
        def f(a, b):
            for i in a:
                try:
                    yield i  # b i
                    if i:
                        break
                    if i == 2:
                        return
                finally:
                    b()
    """,
    "break and return through finally": """
        def f(a, b, c):
            while True:
                try:
                    yield 1  # a b c
                    if a:
                        break
                    return b
                finally:
                    yield_ = 1
            return c
    """,
    "with": """
        def f(a, b, c):
            with open(a) as x, open(b) as y:
                yield 1  # a b c x
                print(x)
            print(c)
            with a.lock, b as c.attribute:
                yield 2  # a b c
    """,
    "an error that a with suppresses": """
        def f(a, b):
            with a:
                c = b
                yield 1  # a c
                c = a()
            print(c)
    """,
    "match": """
        def f(a, b):
            while True:
                match a:
                    case [x, *rest] if b:
                        yield x  # a b rest
                        print(rest)
                    case {"k": y, **more}:
                        yield y  # a b
                    case str() as z:
                        yield 1  # a b z
                        print(z)
    """,
    "walrus and comprehensions": """
        def f(a, b):
            if a and (c := b):
                d = 1
            yield 1  # a c
            return c, [x for x in a if x]
    """,
    "deleted and set in part": """
        def f(a, b, c):
            yield 1  # a b c
            del a
            b += 1
            c[0] = 1
            yield 2  # b
            print(b)
    """,
    "tuples, star and chained targets": """
        def f(a):
            b, (c, *d) = e = a
            yield 1  # a b c d e
            b, (c, *d) = e = a, b, c, d, e
            yield 2  # e
            for b, (c, *d) in e:
                yield 3  # b c d
                print(b, c, d)
    """,
    "a comprehension binds a name of its own": """
        def f(a, x):
            yield 1  # a x
            a[[x for x in a][0]] = 1
            yield x  #
    """,
    "locals() may read all": """
        def f(a):
            b = 1
            yield b  # a b
            print(locals())
    """,
    "a method named eval reads no variables": """
        def f(model, a):
            yield a  # model
            model.eval()
    """,
    "a value that is sent": """
        def f(a, b, c):
            c[a] = yield b  # a c
    """,
    "nested handlers": """
        def f(a, b, c):
            try:
                try:
                    yield 1  # a b c
                except KeyError:
                    yield 2  # a b c
                    a()
                except a:
                    yield 3  # b c
            except ValueError:
                print(b)
            print(c)
    """,
}


def _program(text: str, name: str) -> Program:
    indent = len(text) - len(text.lstrip()) - 1
    text = "\n".join(line[indent:] for line in text.strip("\n").splitlines()) + "\n"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    variables: dict[str, Any] = {}
    exec(compile(text, name, "exec"), variables)
    return program_of(variables["f"].__code__, provides_iterators=False)


@pytest.mark.parametrize("case", FUNCTIONS)
def test_live_variables(case: str) -> None:
    text = FUNCTIONS[case]
    program = _program(text, f"<{case}>")
    expected = [
        set(line.partition("#")[2].split()) for line in text.splitlines() if "yield " in line
    ]
    # From Python 3.12 on the names of comprehensions are among those of the function.
    names = set(program.source.code.co_varnames) - {"x"} if "comprehensions" in case else None
    live = [program.live[site.number] for site in program.sites]
    assert [one & names if names else one for one in live] == expected


SURELY = """
    def f(n):
        before = []
        for i in range(n):
            lock = made(i)
            with pool() as p:
                jobs = [p.submit(lock, k) for k in range(i)]
            total = sum(job.result() for job in jobs)
            def add(x):
                with lock:
                    return x
            yield add(total)  # before
        def last():
            return before
        yield last  #
"""


def test_what_is_needed_if_no_block_suppresses_an_exception() -> None:
    """Functions read their variables where they are defined."""
    program = _program(SURELY, "<surely>")
    own = {"n", "before", "i", "lock", "p", "jobs", "total", "add", "last"}
    expected = [{*line.partition("#")[2].split()} for line in SURELY.splitlines() if "#" in line]
    live = [program.surely_live[site.number] & own for site in program.sites]
    assert live == expected
    assert "jobs" in program.live[0]


def test_deep_nesting_is_no_matter() -> None:
    """By plain recursion over loops in loops it would take minutes."""
    lines = ["def f(n):"]
    for depth in range(20):
        lines.append(f"{' ' * depth} for i{depth} in range(n):")
        lines.append(f"{' ' * depth}  x{depth} = i{depth}")
    lines.append(f"{' ' * 20} yield i0")
    lines += [f"{' ' * depth}  print(x{depth})" for depth in reversed(range(20))]
    begin = time.process_time()
    program = _program("\n" + "\n".join(lines), "<deep>")
    (live,) = (program.live[site.number] for site in program.sites)
    assert time.process_time() - begin < 5  # it takes milliseconds
    assert live == {"n", "i0", *(f"x{depth}" for depth in range(20))}
