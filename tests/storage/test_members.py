"""Attributes are read although a class answers for them, and closures although some are empty."""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import Any

from trax.storage.culprit import find_part
from trax.storage.members import attributes, closure, is_routine, slots


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
