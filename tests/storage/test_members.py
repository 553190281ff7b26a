"""Attributes are read although a class answers for them, and closures although some are empty."""

from __future__ import annotations

import argparse
import dis
import inspect
from functools import partial, update_wrapper
from types import CodeType
from typing import Any

from trax.storage.culprit import find_part
from trax.storage.members import attributes, closure, global_names, is_routine, slots


def test_attributes_are_read_without_calling_code() -> None:
    """In the dictionary of an object, and in its slots as far as they are set."""

    class Slotted:
        __slots__ = ("set", "unset")

    class Both(Slotted):
        @property
        def never(self) -> None:
            raise AssertionError

    both = Both()
    both.set = 1  # type: ignore[attr-defined]
    both.other = 2  # type: ignore[attr-defined]
    assert sorted(attributes(both)) == [("other", 2), ("set", 1)]


def test_an_object_that_answers_for_every_name_has_its_slots() -> None:
    """The part of a state that cannot be stored is looked for in such objects, too."""

    class Proxy:
        __slots__ = ("__part",)

        def __init__(self, part: Any) -> None:
            self.__part = part

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    part = object()
    assert attributes(Proxy(part)) == [("_Proxy__part", part)]
    assert find_part(Proxy(part), "state", lambda one: one is part) == ("state._Proxy__part", part)


def test_attributes_that_python_itself_declares_may_be_left_out() -> None:
    """Such as the function of a partial one."""
    assert dict(attributes(partial(print, 1)))["args"] == (1,)
    assert attributes(partial(print, 1), builtin=False) == []


def test_slots_are_those_of_all_classes() -> None:
    """And of classes written in C, if they are asked for."""

    class Inner:
        __slots__ = ("a", "b")

    class Outer(Inner):
        __slots__ = ("c",)

    assert [name for name, _ in slots(Outer)] == ["c", "a", "b"]
    assert slots(partial) == []
    assert "args" in dict(slots(partial, builtin=True))


def test_variables_of_a_closure_are_found_unless_they_are_empty() -> None:
    """One that is assigned later has no value yet."""
    kept: list[int] = []

    def inner() -> None:
        kept.append(later)

    assert closure(inner) == {"kept": kept}
    later = 1
    assert closure(inner) == {"kept": kept, "later": 1}
    assert closure(print) == {}


def test_a_partial_function_is_no_routine() -> None:
    """Not even one that has the name of the function inside."""
    assert all(map(is_routine, (print, str.upper, "a".upper, closure)))
    assert not any(
        map(is_routine, (partial(print), update_wrapper(partial(closure, 1), closure), 3))
    )


def _names_by_dis(code: CodeType) -> set[tuple[str, str]]:
    found = {(one.opname, one.argval) for one in dis.get_instructions(code)}
    return found.union(*(_names_by_dis(c) for c in code.co_consts if isinstance(c, CodeType)))


def test_variables_of_the_module_are_those_that_dis_shows() -> None:
    """In each version of Python, also where a code has more than 256 names."""
    text = "".join(f"    name_{number}\n" for number in range(700))
    many = compile(f"def f():\n    global last\n{text}    last = last.attribute", "f", "exec")
    classes = compile("import a.b\nclass A:\n    b = c\n    del d", "c", "exec")
    members = inspect.getmembers(argparse, inspect.isfunction)
    for code in (many, classes, *(function.__code__ for _, function in members)):
        used = global_names(code)
        shown = {(name, one) for name, one in _names_by_dis(code) if name in used}
        assert {(name, one) for name in used for one in used[name]} == shown
    assert "attribute" not in global_names(many)["LOAD_GLOBAL"]
    assert global_names(many)["STORE_GLOBAL"] == {"last"}
