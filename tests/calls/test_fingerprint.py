"""Digests of code, by which a change is noticed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

from trax.calls.fingerprint import changed_names, fingerprint
from trax.calls.in_place import InPlace


def compiled(source: str, *, lines: int = 0) -> Callable[..., Any]:
    """Return a function `f` made from a source that stands some lines further down."""
    names: dict[str, Any] = {}
    exec("\n" * lines + f"def f(x):\n    {source}", names)
    made: Callable[..., Any] = names["f"]
    return made


@pytest.mark.parametrize(
    "source", ["return x + 1", "return lambda: x", "return x in {'one', 'two', 'three'}"]
)
def test_code_that_was_moved_is_the_same(source: str) -> None:
    """What a function does counts, and not where it was written."""
    assert fingerprint({"f": compiled(source)}) == fingerprint({"f": compiled(source, lines=9)})


@pytest.mark.parametrize("source", ["return x + 2", "return x - 1", "return (lambda: x)()"])
def test_code_that_does_something_else_is_another(source: str) -> None:
    """A constant, an operation, or a function within."""
    assert fingerprint({"f": compiled(source)}) != fingerprint({"f": compiled("return x + 1")})


def test_a_function_within_counts() -> None:
    """Its code is a constant of the outer one."""
    one, other = compiled("return lambda: 1"), compiled("return lambda: 2")
    assert fingerprint({"f": one}) != fingerprint({"f": other})


def test_what_has_no_bytecode_counts_by_its_name() -> None:
    """Builtins, and methods of the state; callable objects and what is not there are left out."""
    assert fingerprint({"a": Thing(), "b": None}) == {}
    pairs: list[tuple[Any, Any]] = [
        (operator.add, operator.mul),
        (InPlace("add"), InPlace("append")),
    ]
    for one, other in pairs:
        present = fingerprint({"replay_log": one})
        assert changed_names(present, fingerprint({"replay_log": one})) == []
        for changed in (other, compiled("return x")):
            assert changed_names(present, fingerprint({"replay_log": changed})) == ["replay_log"]
            assert changed_names(fingerprint({"replay_log": changed}), present) == ["replay_log"]
        assert changed_names({}, present) == []  # of a run of an older trax


class Thing:
    """It can be called, and has no name."""

    def __call__(self) -> None: ...


def test_a_method_has_the_code_of_its_function() -> None:
    """However it is reached."""

    class Thing:
        def go(self) -> None: ...

    assert fingerprint({"go": Thing().go}) == fingerprint({"go": Thing.go}) != {}


def test_a_change_is_told_by_the_syntax_where_that_is_known() -> None:
    """Bytecode tells it only under the same version of Python, and never contradicts."""
    present = fingerprint({"f": compiled})
    code, syntax = present
    assert syntax == "f"
    assert changed_names(present, present) == []
    assert changed_names({**present, code: "of a change that does nothing"}, present) == []
    assert changed_names({**present, syntax: "2:another"}, present) == ["f"]
    assert changed_names({code: "another"}, present) == ["f"]
    assert changed_names({"f under Python 3.1": "another"}, present) == []
    assert changed_names({**present, syntax: "3:of a newer trax"}, present) == []


def test_without_sources_bytecode_is_all() -> None:
    """For functions of which there may be many."""
    found = fingerprint({"f": compiled("return x")}, by_source=False)
    assert [one.startswith("f under Python 3.") for one in found] == [True]
    one, other = (compiled(f"'Return {n}.'\n    return x") for n in "ab")
    assert one.__doc__ != other.__doc__
    assert fingerprint({"f": one}, by_source=False) == fingerprint({"f": other}, by_source=False)
    changed = compiled("'Return a.'\n    return x + 1")
    assert fingerprint({"f": one}, by_source=False) != fingerprint({"f": changed}, by_source=False)
