"""What single statements read, bind and change."""

from __future__ import annotations

import pytest
from read_loops import declared

from trax.lint.facts import keys_read, related

TEXT = (
    "def loop(state, a, b):\n    def inner(): a.append(b)\n    {statement}\n    state = yield 1\n"
)


@pytest.mark.parametrize(
    ("statement", "binds", "changes", "matters"),
    [
        ("a = b", {"a"}, set(), False),
        ("a, (b, *c) = 1, state", {"a", "b", "c"}, set(), False),
        ("a += b", {"a"}, set(), False),
        ("a.x = b", set(), {"a.x"}, False),
        ("a.x[0] += b", set(), {"a.x"}, False),
        ("a[b] = 1", set(), {"a"}, False),
        ("a.append(b)", set(), {"a"}, False),
        ("print(a)", set(), set(), False),
        ("unknown(a)", set(), set(), True),
        ("inner()", set(), {"a"}, True),
        ("for a in b: pass", {"a"}, set(), False),
        ("with a as b: pass", {"b"}, set(), False),
        ("c = (d := a)", {"c", "d"}, set(), False),
    ],
)
def test_facts(statement: str, binds: set[str], changes: set[str], matters: bool) -> None:
    """Of a compound statement they are those of its head."""
    loop = declared(TEXT.format(statement=statement))
    facts = loop.facts(loop.node.body[1])
    assert (facts.binds, facts.changes, facts.matters) == (binds, changes, matters)


def test_what_is_written_is_not_read() -> None:
    """Only the places that lead to it."""
    loop = declared(TEXT.format(statement="a[b] = state.x"))
    assert keys_read(loop.node.body[1]) == {"b", "state.x"}


def test_a_change_of_one_attribute_is_none_of_another() -> None:
    """But it is one of the whole."""
    assert related("a.x", {"a.x"})
    assert related("a.x", {"a"})
    assert related("a", {"a.x"})
    assert not related("a.x", {"a.y"})
