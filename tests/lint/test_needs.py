"""The variables that increments and effects still need."""

from __future__ import annotations

import pytest
from read_loops import declared, only_loop


@pytest.mark.parametrize(
    ("body", "is_needed"),
    [
        ("a += 1; yield a", True),
        ("a += 1; print(a); yield i", False),
        ("a = i; yield a", False),
        ("b = a; a = i; yield b", True),
        ("if a: yield i", True),
        ("if a: print(i)\n        yield i", False),
        ("if a: break\n        yield i", True),
        ("if a: continue\n        yield i", True),
        ("yield i\n        if a: continue\n        print(i)", False),
        ("a.append(i); yield i", False),
        ("unknown(a); yield i", True),
        ("try: a = unknown(i)\n        except OSError: pass\n        yield a", True),
        ("while not i: a = 1; break\n        yield i", False),
        ("for k in range(3): a[k] = i\n        yield a", False),
        ("a[0] = i; yield a", True),
    ],
)
def test_a_variable_is_needed_in_the_next_turn(body: str, is_needed: bool) -> None:
    """If an increment, an effect or the way to one depends on it."""
    loop = declared(
        f"def loop(state, n):\n    a = n\n    for i in trax.steps(9):\n        {body}\n"
    )
    assert ("a" in loop.needs.at(only_loop(loop))) == is_needed


def test_a_result_is_needed() -> None:
    """At each turn, which may be the last."""
    loop = declared("def loop(s, a):\n    for i in trax.steps(9):\n        yield i\n    return a\n")
    assert "a" in loop.needs.at(only_loop(loop))
    assert loop.needs.matters(loop.node.body[-1])
    assert "i" in loop.needs.in_body(only_loop(loop))
