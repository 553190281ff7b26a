"""Stand-ins: instances with their attributes, names, and keys, of which nothing is called."""

from __future__ import annotations

import os
from typing import Any

import pytest
from plain_kinds import Body, Colour, Frozen, Metrics, Point, Slotted, Stack, decoded, ways

from trax.plain.data import shown
from trax.plain.stand_ins import Instance, Named, Unhashed


def test_instances_show_their_class_and_their_attributes() -> None:
    """Whatever way they are pickled in."""
    for found in ways(Body(1.5, (1, 2))):
        assert found.type == "plain_kinds.Body"
        assert found.fields == {"mass": 1.5, "velocity": (1, 2)}
        assert shown(found) == "Body(mass=1.5, velocity=(1, 2))"
    assert decoded(Slotted(2.5)).fields in ({"mass": 2.5}, {"0": 2.5})
    assert list(decoded(Frozen(2.5, "a")).fields.values()) == [2.5, "a"]
    assert decoded(Point(1.0, 2.0)).fields == {"0": 1.0, "1": 2.0}
    assert shown(decoded(Point(1.0, 2.0))) == "Point(1.0, 2.0)"
    assert 1 in decoded(Colour.RED).fields.values() or decoded(Colour.RED).name.endswith("RED")


def test_subclasses_of_containers_have_their_items_and_their_attributes() -> None:
    """Both are fields."""
    stack, metrics = Stack([1, 2]), Metrics(loss=0.5)
    stack.name, metrics.step = "a", 3  # type: ignore[attr-defined]
    assert decoded(stack).fields == {"0": 1, "1": 2, "name": "a"}
    assert decoded(metrics).fields == {"loss": 0.5, "step": 3}


def test_functions_and_classes_are_names() -> None:
    """They are not looked up."""
    for found in ways([Body, os.path.join, len, Body.__init__]):
        assert found[0] == Named("plain_kinds.Body")
        assert found[1] == Named("posixpath.join")
        assert shown(found[0]) == "plain_kinds.Body"
        assert {type(each) for each in found} == {Named}


def test_stand_ins_have_short_representations() -> None:
    """Although what they stand for may be huge, or contain itself."""
    body = Instance("m.Body", ([],))
    body.items.append(body)
    assert repr(body) == "<m.Body instance>"
    assert repr(Named("m.f")) == "<m.f>"
    assert repr(Unhashed([body])) == "<key of type list>"


def test_names_are_equal_if_they_are_the_same() -> None:
    """As what they lead to; keys that are not hashed are equal to themselves alone."""
    assert {Named("m.f"): 1}[Named("m.f")] == 1
    assert Named("m.f") != Named("m.g")
    assert Unhashed("a") != Unhashed("a")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        ((None, {"b": 2}), {"b": 2}),
        (({"a": 1}, None), {"a": 1}),
        ([1, 2], {"0": 1, "1": 2}),
        ((1, 2), {"state": (1, 2)}),
        ((1, {"a": 2}), {"state": (1, {"a": 2})}),
        ({1: "a"}, {"1": "a"}),
        ("text", {"state": "text"}),
    ],
)
def test_states_are_fields(state: Any, expected: dict[str, Any]) -> None:
    """In each form that pickle knows, and others as they are."""
    found = Instance("m.Body")
    found.build(state)
    assert found.fields == expected


def test_an_object_has_few_states() -> None:
    """A pickle could give it the same one a million times."""
    found = Instance("m.Body")
    for n in range(8):
        found.build({str(n): 1})
    with pytest.raises(ValueError, match="too many states"):
        found.build({"a": 1})
    assert len(found.fields) == 8
