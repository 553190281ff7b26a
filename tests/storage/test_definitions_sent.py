"""What came from another process by value belongs to modules of its own."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest

from trax.storage.definitions import Sent, home, is_sent, is_sent_class, sent_of

TEXT = """
class Outer:
    class Empty: ...

    class Inner:
        def method(self): ...

    Alias = None

class Alias:
    def method(self): ...

Outer.Alias = Alias

def made():
    class Local:
        def method(self): ...

    return Local

def function(): ...
"""


def variables_of(module: str) -> dict[str, Any]:
    variables: dict[str, Any] = {"__name__": module}
    exec(TEXT, variables)
    return variables


def test_the_variables_of_each_module_that_came_are_known() -> None:
    """Those of a module that is here are its own."""
    first, second, third = map(variables_of, ("first_sent", "second_sent", __name__))
    sent = Sent({"first_sent": {}, "second_sent": {}})
    sent.add(first["function"])
    sent.settle(first["function"], [second["function"], third["function"], 1])
    assert sent.modules == {"first_sent": first, "second_sent": second}
    assert sent_of(first) is sent_of(second) is sent
    assert [*map(is_sent, (first, second, third))] == [True, True, False]
    assert is_sent_class(first["Alias"])
    assert not is_sent_class(third["Alias"])


def test_a_module_that_is_here_is_not_taken_for_one_that_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = ModuleType("first_sent")
    monkeypatch.setitem(sys.modules, "first_sent", here)
    exec(TEXT, vars(here))
    sent = Sent({"first_sent": {}})
    sent.add(here.function)
    assert sent.modules == {}
    assert not is_sent(vars(here))


def test_classes_have_the_qualified_names_that_they_had() -> None:
    """cloudpickle gives all of them the names of classes that are in no other."""
    variables = variables_of("first_sent")
    outer, local = variables["Outer"], variables["made"]()
    classes = [outer, outer.Empty, outer.Inner, outer.Alias, local]
    names = [one.__qualname__ for one in classes]
    for one in classes:
        one.__qualname__ = one.__name__
    Sent({"first_sent": {}}).settle(variables["function"], classes)
    assert [one.__qualname__ for one in classes] == names
    assert names[-1] == "made.<locals>.Local"


def test_what_a_function_leads_to_is_looked_through_once() -> None:
    functions: list[FunctionType] = [variables_of("first_sent")["function"] for _ in range(2)]
    sent = Sent({})
    left = iter("abcd")
    for function in (*functions, *functions):
        sent.settle(function, (next(left) for _ in range(2)))
    assert [*left] == []


def test_the_script_has_one_name() -> None:
    assert [*map(home, ("__main__", "__mp_main__", "other"))] == ["__main__", "__main__", "other"]
