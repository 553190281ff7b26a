"""Functions, and what they are bound to."""

from __future__ import annotations

import functools
import threading
from typing import Any

from trax.mapping.identity import Identity

limit, calls = 3, 0


def counted(n: int) -> int:
    global calls  # noqa: PLW0603  # that is the case
    calls += 1
    return min(n, limit)


class Holder:
    """An object that does not pickle as a whole."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.size = 4

    def __call__(self, n: int) -> int:
        return n


def of(function: Any) -> Identity:
    return Identity(function, {})


def test_a_function_of_a_module_is_bound_to_nothing() -> None:
    """The numbers that it reads there are told apart from those that it changes."""
    identity = of(counted)
    assert (identity.name, identity.script, identity.bound) == ("counted", "test_identity", {})
    assert list(identity.constants) == ["limit"]


def test_what_is_bound_has_the_names_of_the_program() -> None:
    """Those that are there twice are told apart."""

    def inner(n: int, *, step: int = 1, args: int = 2) -> int:
        return n + step + args

    identity = of(functools.partial(inner, 1, step=5))
    assert list(identity.bound) == ["args", "step", "step'", "args'"]
    assert of(Holder()).bound.keys() == {"self", "self.size"}
    assert of(Holder).bound == {}


def test_a_function_that_refers_to_itself_has_an_end() -> None:
    def down(n: int) -> int:
        return down(n - 1) if n else limit

    assert of(down).bound["down"]["text"].endswith("down'")


def test_renamed_classes_are_known() -> None:
    stored = of(functools.partial(max, key=Holder)).bound
    renames = {f"{__name__}.Holder": f"{__name__}.Other"}
    try:
        Holder.__qualname__ = "Other"
        assert of(functools.partial(max, key=Holder)).bound != stored
        assert (
            Identity(functools.partial(max, key=Holder), renames).bound["key"]["digest"]
            == (stored["key"]["digest"])
        )
    finally:
        Holder.__qualname__ = "Holder"
