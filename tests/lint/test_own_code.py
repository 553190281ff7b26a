"""What is read in the user's own functions and classes."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest
from read_loops import function_of

from trax.lint.own_code import (
    attributes_read,
    built_attributes,
    changed_attributes,
    changed_parameters,
    gives_rng,
    has_nonlocals,
    only_reports,
)
from trax.lint.trees import function_tree

TEXT = """
import random
class Numbers:
    def __init__(self, seed):
        self.last, self.calls, self.names = 0, 0, []
        self.rng = random.Random(seed)
        self.cache = {}
    def take(self):
        self.calls += 1
        self.last += 1
        if self.calls > 9: print(self.calls)
        return self.last
    def name(self, name): self.names.append(name)
    def keep(self, n): self.cache[n] = n
    def draw(self): return self.rng.random()
class Fixed:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.slope = self.rng.random()
def sampler(seed):
    rng = random.Random(seed)
    return lambda: rng.random()
def value(seed):
    rng = random.Random(seed)
    return rng.random()
def counter():
    count = 0
    def up():
        nonlocal count
        count += 1
    return up
def move(points, by):
    for point in points: point[0] += by
def tell(text): print(text)
def last(): return {name}
"""


@pytest.fixture
def own() -> dict[str, Any]:
    function = function_of(TEXT.replace("{name}", "0"))
    return function.__globals__


def test_what_methods_build_up_and_read(own: dict[str, Any]) -> None:
    """What is only told, or only added to, decides nothing."""
    kind = own["Numbers"]
    assert built_attributes(kind.take.__code__) == {"calls", "last"}
    assert built_attributes(kind.name.__code__) == {"names"}
    assert "last" in attributes_read(kind)
    assert attributes_read(kind).isdisjoint({"calls", "names"})


def test_what_methods_and_functions_change(own: dict[str, Any]) -> None:
    """Caches do not count."""
    kind = own["Numbers"]
    assert changed_attributes(kind.take.__code__, kind)
    assert not changed_attributes(kind.keep.__code__, kind)
    assert changed_parameters(own["move"].__code__) == {0}
    assert has_nonlocals(own["counter"].__code__)
    assert not has_nonlocals(own["value"].__code__)


def test_which_functions_only_report(own: dict[str, Any]) -> None:
    """They return nothing."""
    assert only_reports(function_tree(own["tell"].__code__))
    assert not only_reports(function_tree(own["value"].__code__))


def test_what_draws_from_an_rng_of_its_own(own: dict[str, Any]) -> None:
    """A number that was drawn does not; nor does an object that is done with it."""

    def is_given(name: str) -> bool:
        kind = own[name] if isinstance(own[name], type) else None
        function = own[name] if kind is None else vars(kind)["__init__"]
        assert isinstance(function, FunctionType)
        return gives_rng(function, kind)

    assert [name for name in ("Numbers", "Fixed", "sampler", "value") if is_given(name)] == [
        "Numbers",
        "sampler",
    ]
