"""Two objects are compared to the last bit, by identity where that is asked for, and only read."""

from __future__ import annotations

import array
import gc
import pickle
import random
import struct
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import run_script

from trax.comparing import (
    IDENTITY,
    OPAQUE,
    VALUE,
    Visitor,
    difference,
    differences,
    freeze,
    frozen_difference,
    is_value,
)

DEEP = 20_000


class Walker:
    """A state with an RNG of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.path = np.zeros((1, 2))


class Slots:
    __slots__ = ("one", "two")

    def __init__(self, one: Any) -> None:
        self.one = one


class Listed(list[int]):
    extra = 0


class Grid(np.ndarray):
    """An array of a class of one's own."""


class Node:
    """It hashes by its identity."""

    def __init__(self, value: Any, after: Any = None) -> None:
        self.value = value
        self.after = after


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, 5))


def grid(*values: float) -> Grid:
    return np.array(values).view(Grid)


def loop_in_itself(value: int) -> list[Any]:
    made: list[Any] = [value]
    made.append(made)
    return made


def chain(length: int) -> Node | None:
    node = None
    for number in range(length):
        node = Node(number, node)
    return node


def counting() -> tuple[Callable[[], int], Callable[[], int]]:
    n = 0

    def add() -> int:
        nonlocal n
        n += 1
        return n

    return add, lambda: n


# -- values --------------------------------------------------------------------------------

SAME: list[Callable[[], Any]] = [
    lambda: float("nan"),
    lambda: {"a": [1, (2.5, {3, 4}), "x"], "b": None},
    lambda: np.arange(6.0).reshape(2, 3),
    lambda: np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    lambda: np.arange(12)[::2],
    lambda: np.array([], dtype="S0"),
    lambda: np.array([1, 2], dtype="datetime64[s]"),
    lambda: np.array([(1, 2.5)], dtype=[("a", "i1"), ("b", "f8")]),
    lambda: np.float32(1.5),
    lambda: np.array([1, "two", [3]], dtype=object),
    lambda: grid(1.0, 2.0),
    lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
    lambda: random.Random(1),
    lambda: np.random.default_rng(1),
    lambda: loop_in_itself(1),
    lambda: Slots([1, 2]),
    lambda: Walker(1),
    lambda: [len, Walker, np, lambda x: x + 1],
    lambda: [counting(), [].append],
    lambda: {f"{n}" for n in range(100)},
    lambda: {Node(n, {Node(m) for m in range(3)}) for n in range(20)},
    lambda: {float("nan"), frozenset({1, (2,)})},
    lambda: complex(1, -0.0),
    lambda: bytearray(b"abc"),
]

OTHER: list[tuple[Any, Any, str]] = [
    (0.0, -0.0, "x: live 0.0, resumed -0.0"),
    (1, 1.0, "x: live 1, resumed 1.0"),
    (True, 1, "x: live True, resumed 1"),
    ([1, [2, 3]], [1, [2, 4]], "x[1][1]: live 3, resumed 4"),
    ([1], [1, 2], "x: live 1 items, resumed 2; only resumed: 2"),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "the keys of x[0]: live 'a', resumed 'b'"),
    ({"a": {"b": 1}}, {"a": {"b": 2}}, "x['a']['b']: live 1, resumed 2"),
    ({float("nan"): 1}, {float("nan"): 2}, "x[nan]: live 1, resumed 2"),
    ({1, 2}, {1, 3}, "x: only live {2}, only resumed {3}"),
    ({1}, {True}, "an element of x: live 1, resumed True"),
    ({Node(1), Node(2)}, {Node(1), Node(3)}, "x: only live {<"),
    ({Node([[[[1]]]])}, {Node([[[[2]]]])}, "an element of x.value[0][0][0][0]: live 1, resumed 2"),
    (np.zeros(3), np.array([0.0, 0.0, -0.0]), "x.flat[2]: live 0.0, resumed -0.0"),
    (np.zeros((2, 2)).T, np.array([[0, 0], [1.0, 0]]), "x.flat[2]: live 0.0, resumed 1.0"),
    (np.zeros(99_999), np.eye(1, 99_999, 99_998)[0], "x.flat[99998]: live 0.0, resumed 1.0"),
    (np.float64(0), np.float64(1), "x: live 0.0, resumed 1.0"),
    (np.zeros(3), np.zeros((3, 1)), "x: live float64 of shape (3,), resumed float64 of shape"),
    (grid(1.0), grid(2.0), "x.flat[0]: live 1.0, resumed 2.0"),
    (bytearray(b"a"), bytearray(b"b"), "x: live bytearray(b'a'), resumed bytearray(b'b')"),
    (Walker(1), Walker(2), "x.rng"),
    (Slots(1), Slots(2), "x.one: live 1, resumed 2"),
    (Listed([1]), Listed([2]), "x (as it is pickled)[2][0]: live 1, resumed 2"),
    (loop_in_itself(1), loop_in_itself(2), "x[0]: live 1, resumed 2"),
    (random.Random(1), random.Random(2), "x (as it is pickled)"),
    (Walker, Slots, "x: live <class"),
    (lambda x: x + 1, lambda x: x + 2, "the function x[0]"),
    (complex(0, 0.0), complex(0, -0.0), "x[1]: live 0.0, resumed -0.0"),
]


@pytest.mark.parametrize("make", SAME)
def test_what_is_the_same_is_the_same_whatever_shares_memory(make: Callable[[], Any]) -> None:
    """Equal parts may be one object or two."""
    one, two = make(), make()
    for value, other in ((one, two), ([one, one], [one, two])):
        assert difference(value, other, "x") == ""
        assert frozen_difference(freeze(value), freeze(other), "x") == ""


@pytest.mark.parametrize(("one", "two", "said"), OTHER)
def test_a_difference_is_shown_with_its_place(one: Any, two: Any, said: str) -> None:
    """The first one, by the path that leads there."""
    assert difference(one, two, "x").startswith(said)
    assert frozen_difference(freeze(one), freeze(two), "x").startswith(said)


def test_an_attribute_that_one_lacks_is_named() -> None:
    """With the side that has it."""
    one, two = Node(1), Node(1)
    two.more = 2  # type: ignore[attr-defined]
    assert difference(one, two, "x") == "x.more: only in the resumed one"
    assert difference(two, one, "x") == "x.more: only in the live one"


def test_the_sides_have_the_words_that_are_given() -> None:
    """In every kind of message."""
    words = ("original", "loaded")
    row = [0]
    said = [
        difference(one, two, "x", sides=words, identity=True)
        for one, two in (
            (1, 2),
            ([], [1]),
            ({1}, {2}),
            (np.zeros(1), np.ones(1)),
            ([row, row], [[0], [0]]),
        )
    ]
    assert said == [
        "x: original 1, loaded 2",
        "x: original 0 items, loaded 1; only loaded: 1",
        "x: only original {1}, only loaded {2}",
        "x.flat[0]: original 0.0, loaded 1.0",
        "x[0] and x[1]: original one object, loaded two",
    ]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.floats(), inner)
        | st.frozensets(st.integers() | st.floats() | st.tuples(st.text()))
        | inner.map(Node)
        | inner.map(Slots)
    ),
)


@given(plain)
def test_any_copy_is_the_same(value: Any) -> None:
    """By its values, and by the identities of its parts."""
    again = copied(value)
    assert difference(value, again, "x", identity=True) == difference(value, again, "x") == ""


def test_a_set_of_nans_is_the_same_in_any_order() -> None:
    """They differ in their bits alone, and are hashed by their identities."""
    bits = range(0x7FF8_0000_0000_0000, 0x7FF8_0000_0000_0020)
    nans = [struct.unpack("<d", struct.pack("<Q", one))[0] for one in bits]
    pairs = [complex(0.0, nan) for nan in nans]
    for values in (nans, pairs):
        again = copied(values)[::-1]
        assert difference(frozenset(values), frozenset(again), "x", identity=True) == ""
        assert difference(frozenset(values), frozenset(again[1:]), "x")


@given(plain, plain)
def test_what_differs_does_so_both_ways(one: Any, two: Any) -> None:
    """And at the same place, with the sides exchanged."""
    there = difference(one, two, "x", sides=("A", "B"))
    back = difference(two, one, "x", sides=("B", "A"))
    assert bool(there) == bool(back)
    assert there.partition(":")[0] == back.partition(":")[0]


nested = st.recursive(
    st.integers(),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1),
)


@given(nested, st.data())
def test_the_path_leads_to_the_part_that_differs(value: Any, data: st.DataObject) -> None:
    """It is Python: what it gives of either object is what the message shows."""
    holder = {"value": copied(value)}
    changed: Any = holder
    key: Any = "value"
    while isinstance(changed[key], (list, dict)):
        changed = changed[key]
        keys = list(changed) if isinstance(changed, dict) else range(len(changed))
        key = data.draw(st.sampled_from(list(keys)))
    changed[key] += 1
    said = difference(value, holder["value"], "x")
    path, _, _ = said.rpartition(": live ")
    was, now = eval(path, {"x": value}), eval(path, {"x": holder["value"]})
    assert now == changed[key] == was + 1


# -- identities ----------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=8, max_size=8))
def test_a_copy_of_any_graph_has_its_identities(edges: list[list[int]]) -> None:
    """With cycles and all; and a graph of which one node was doubled has others."""
    nodes: list[list[Any]] = [[] for _ in edges]
    for node, targets in zip(nodes, edges, strict=True):
        node.extend(nodes[target] for target in targets)
    again = copied(nodes)
    assert difference(nodes, again, "x", identity=True) == ""
    if not edges[0]:
        return
    again[0][0] = list(again[0][0])  # the same, and another object
    said = difference(nodes, again, "x", identity=True)
    assert said.endswith(": live one object, resumed two")
    assert difference(again, nodes, "x", identity=True).endswith(": live two, resumed one object")


def test_both_paths_to_an_object_are_named() -> None:
    """The one where it was met first, and the one where it should be again."""
    row = [0]
    one, two = {"a": row, "b": (1, row)}, {"a": [0], "b": (1, [0])}
    expected = "x['a'] and x['b'][1]: live one object, resumed two"
    assert difference(one, two, "x", identity=True) == expected
    assert difference(one, two, "x") == ""


def test_a_part_of_one_object_is_looked_at_also_where_that_is_the_same() -> None:
    """An object that both sides have may have a part that only one of them has elsewhere."""
    shared = Node([1])
    one, two = [shared, shared.value], [shared, [1]]
    said = difference(one, two, "x", identity=True)
    assert said == "x[0].value and x[1]: live one object, resumed two"


@pytest.mark.parametrize(
    "value",
    [1 << 70, 2.5, "text" * 9, b"bytes", None, 1j, (), (1, "a"), frozenset({1}), len, Walker, np],
)
def test_the_identity_of_what_cannot_change_does_not_count(value: Any) -> None:
    """Python shares it, and shares it not, as it pleases."""
    other = value if callable(value) or value is np else copied(value)
    assert difference([value, value], [value, other], "x", identity=True) == ""
    assert difference([np.float64(1)] * 2, [np.float64(1), np.float64(1)], "x", identity=True) == ""


def test_a_function_without_a_name_is_an_object_as_any_other() -> None:
    """Nothing else leads to it."""
    made = [lambda: None for _ in range(2)]
    said = difference([made[0]] * 2, made, "x", identity=True)
    assert said == "x[0] and x[1]: live one object, resumed two"
    assert difference([made[0]] * 2, made, "x") == ""


def test_functions_that_share_a_variable_are_told_from_those_that_do_not() -> None:
    """One of them counts, the other one reads."""
    one, two = counting(), (counting()[0], counting()[1])
    assert difference(one, counting(), "x", identity=True) == ""
    assert "one object" in difference(one, two, "x", identity=True)
    assert difference(one, two, "x") == ""


@pytest.mark.parametrize("buffer", [bytearray(64), array.array("d", [0.0] * 8)])
def test_an_array_over_another_buffer_shares_its_memory(buffer: Any) -> None:
    """Of whatever type that is; a pickle stores them apart."""
    for state in [buffer, np.frombuffer(buffer)], [np.ndarray(8, buffer=buffer), buffer]:
        said = difference(state, copied(state), "x", identity=True)
        assert said == "x[0] and x[1]: live shared memory, resumed separate"
        assert difference(state, state, "x", identity=True) == ""
    apart = [buffer, np.zeros(8), bytearray()]
    assert difference(apart, copied(apart), "x", identity=True) == ""


def test_a_view_beside_its_base_shares_its_memory() -> None:
    """A copy of both does not, for a pickle stores them apart."""
    base = np.zeros(10)
    state = {"base": base, "view": base[2:4]}
    said = difference(state, copied(state), "x", identity=True)
    assert said == "x['base'] and x['view']: live shared memory, resumed separate"
    said = difference(copied(state), state, "x", identity=True)
    assert said == "x['base'] and x['view']: live separate, resumed shared memory"
    again = base.copy()
    assert difference(state, {"base": again, "view": again[2:4]}, "x", identity=True) == ""
    halves = [base[:5], base[5:]]  # of one array, and with no memory in common
    assert difference(halves, copied(halves), "x", identity=True) == ""


# -- what it does not do -------------------------------------------------------------------


@pytest.mark.parametrize("identity", [False, True])
def test_a_long_linked_list_is_compared_to_its_end(identity: bool) -> None:
    """Its depth is no limit, and its path is shown in short."""
    one, two = chain(DEEP), chain(DEEP)
    last: Any = two
    while last.after:
        last = last.after
    last.value = "other"
    said = difference(one, two, "x", identity=identity)
    assert said.startswith("x.after.after")
    assert said.endswith(".after.value: live 0, resumed 'other'")
    assert len(said) < 300


def test_cycles_of_other_lengths_end() -> None:
    """Whoever follows them never sees a difference; only identities tell."""
    one, two = loop_in_itself(1), [1, loop_in_itself(1)]
    assert difference(one, two, "x") == ""
    assert difference(one, two, "x", identity=True) != ""


class Untouchable:
    """It can be taken apart; nobody may put it together."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __getstate__(self) -> dict[str, int]:
        return {"value": self.value}

    def __setstate__(self, state: dict[str, int]) -> None:
        raise AssertionError("it was unpickled")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("it was asked whether it is equal")

    __hash__ = None  # type: ignore[assignment]


def test_objects_are_only_looked_into() -> None:
    """They are not loaded again, and not asked."""
    assert difference(Untouchable(1), Untouchable(1), "x", identity=True) == ""
    assert difference(Untouchable(1), Untouchable(2), "x") == "x.value: live 1, resumed 2"


def test_what_cannot_be_taken_apart_is_no_silent_success() -> None:
    """The path and the reason are in the answer."""
    said = difference([threading.Lock()], [threading.Lock()], "x")
    assert said == "x[0] cannot be compared: cannot pickle '_thread.lock' object"


def test_nothing_is_kept() -> None:
    """The objects go as soon as their owner lets them, without a garbage collection."""
    one, two = Node(Node(1)), Node(Node(2))
    gone = [weakref.ref(one), weakref.ref(two.value)]
    gc.disable()
    try:
        assert difference(one, two, "x", identity=True)
        del one, two
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [np.zeros, lambda size: grid(*[0.0] * size)])
def test_large_arrays_are_not_copied(make: Callable[[int], Any]) -> None:
    """Neither of the two, nor those of a class of one's own."""
    one = make(1_000_000)
    two = one.copy()
    tracemalloc.start()
    try:
        assert difference({"a": one}, {"a": two}, "x") == ""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < one.nbytes / 10


def test_a_value_that_cannot_be_shown_differs_all_the_same() -> None:
    """Long integers have no decimal text."""
    one, two = difference([10**5000], [10**5000 + 1], "x").split(", ")
    assert one.startswith("x[0]: live 0x31e2")
    assert two.startswith("resumed 0x31e2")


# -- all differences -----------------------------------------------------------------------


@dataclass(frozen=True)
class Frozen:
    """It hashes by value and cannot be changed."""

    x: int


@dataclass(unsafe_hash=True)
class Keyed:
    """It hashes by value, and its attributes can be set all the same."""

    x: int


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (Path("a"), False),
        (Fraction(1, 3), False),
        (Frozen(1), False),
        ([].append, False),
        (Keyed(1), True),
        (Node(1), True),
        ([1], True),
        (np.zeros(1), True),
    ],
)
def test_the_identity_counts_of_what_can_be_changed(value: Any, counts: bool) -> None:
    """Other objects may be shared as anyone pleases."""
    assert is_value(value) is not counts
    if not callable(value):
        said = difference([value, value], [copied(value), copied(value)], "x", identity=True)
        assert bool(said) is counts


def test_a_tree_of_scipy_whose_pickle_has_addresses() -> None:
    """It is the same as its copy, and another one is not."""
    spatial = pytest.importorskip("scipy.spatial")
    points = np.random.default_rng(1).random((50, 2))
    trees = [spatial.KDTree(points), spatial.cKDTree(points)]
    assert difference(trees, copied(trees), "x", identity=True) == ""
    assert difference(trees[0], spatial.KDTree(points * 2), "x").startswith("x[0].flat[0]: live ")


def test_all_differences_are_found_one_after_the_other() -> None:
    """With their kinds, their paths and both values."""
    row = [0]
    one = {"a": 1, "b": [row, row], "c": threading.Lock(), "d": 2}
    two = {"a": 2, "b": [[0], [0]], "c": threading.Lock(), "d": 2}
    found = [*differences(one, two, "x", identity=True)]
    assert [(each.kind, each.path) for each in found] == [
        (VALUE, "x['a']"),
        (IDENTITY, "x['b'][0] and x['b'][1]"),
        (OPAQUE, "x['c'] cannot be compared"),
    ]
    assert found[0].line == "x['a']: live 1, resumed 2"


def test_objects_of_some_types_are_passed_over_on_request() -> None:
    """Whatever they contain."""
    one, two = [random.Random(1), 1], [random.Random(2), 1]
    assert [*differences(one, two, "x")] != []
    assert [*differences(one, two, "x", ignored=(random.Random,))] == []
    assert [*differences([iter([1])], [iter((1,))], "x", ignored=(Iterator,))] == []


def test_weak_references_are_compared_without_an_order() -> None:
    """Nor are sets: objects that were met before are recognized."""
    one, two = ([Node(number) for number in range(50)] for _ in range(2))
    for node in (*one, *two):
        node.value = 0
    assert [*differences([one, {*one}], [two, {*two}], "x", identity=True)] == []
    first, second = [one, weakref.WeakSet(one)], [two, weakref.WeakSet(two)]
    assert [*differences(first, second, "x", identity=True)] == []
    numbers, others = (weakref.WeakKeyDictionary({x: x.value for x in all_}) for all_ in (one, two))
    assert [*differences([one, numbers], [two, others], "x", identity=True)] == []
    others.popitem()
    assert [*differences([one, numbers], [two, others], "x", identity=True)] != []


class Spy(Visitor):
    """It sees all nodes, and passes over one attribute."""

    def visit(self, one: Any, two: Any) -> Any:
        if type(one) is Node and one.value == 7:
            yield "seven", ".value", 7, two.value

    def skips(self, kind: type, name: str, one: Any, two: Any) -> bool:
        return (kind, name) == (Node, "value")


def test_a_visitor_adds_differences_and_passes_over_others() -> None:
    """Deep inside as well."""
    one, two = [Node(1, Node(7))], [Node(2, Node(8))]
    (found,) = differences(one, two, "x", visitor=Spy())
    assert (found.kind, found.line) == ("seven", "x[0].after.value: live 7, resumed 8")


def test_a_comparison_ends_when_its_time_is_over() -> None:
    """The rest is passed over."""
    one = [[n] for n in range(10_000)]
    two = [*one[:-1], ["other"]]
    assert [*differences(one, two, "x", seconds=-1.0)] == []
    assert len([*differences(one, two, "x", seconds=60.0)]) == 1


AGAIN = """
from trax.comparing import difference

def define():
    class World:
        def __init__(self, x):
            self.x = x
    World.__qualname__ = "World"
    return World

World = define()
old = World(1)
World = define()
print(difference(old, World(1), "state"))
print(difference(old, World(2), "state"))
print(difference(World(1), old, "state"))
"""


def test_objects_of_a_class_that_was_defined_again_are_compared_by_their_content() -> None:
    """Their copies are objects of the newer class."""
    same, other, back = run_script(AGAIN).stdout.splitlines()
    assert same == ""
    assert other == "state.x: live 1, resumed 2"
    assert back.startswith("state: live <")
