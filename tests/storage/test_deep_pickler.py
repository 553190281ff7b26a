"""Objects of any depth are pickled, and come back as they were."""

from __future__ import annotations

import functools
import io
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax.comparing import difference
from trax.storage.codec import decode, decode_finding, encode, encode_finding
from trax.storage.deep_pickler import DeepPickler
from trax.storage.records import CLOUDPICKLE, PICKLE

LEVELS = 10_000


class Link:
    """A link of a chain, which knows both neighbours."""

    def __init__(self, value: int, below: Link | None) -> None:
        self.value = value
        self.below = below
        self.above: Link | None = None
        if below is not None:
            below.above = self


class Slotted:
    """A link that has slots."""

    __slots__ = ("below", "value")

    def __init__(self, value: int, below: Any) -> None:
        self.value, self.below = value, below


class Kin(list[Any]):
    """A list with an attribute."""

    def __init__(self, value: int, below: Any) -> None:
        super().__init__([below])
        self.value = value


def chained(link: Callable[[int, Any], Any], end: Any = None) -> Any:
    """Return a chain of many links."""
    for number in range(LEVELS):
        end = link(number, end)
    return end


def length(chain: Any, below: Callable[[Any], Any], value: Callable[[Any], int]) -> int:
    """Return the length of a chain, after a look at each of its links."""
    count = 0
    while chain:
        assert value(chain) == LEVELS - count - 1
        chain = below(chain)
        count += 1
    return count


KINDS: dict[str, tuple[Any, Any, Any]] = {
    "tuples": (lambda n, c: (n, c), lambda c: c[1], lambda c: c[0]),
    "lists": (lambda n, c: [n, c], lambda c: c[1], lambda c: c[0]),
    "dicts": (lambda n, c: {"n": n, "c": c}, lambda c: c["c"], lambda c: c["n"]),
    "keys": (
        lambda n, c: {frozenset([n]): c},
        lambda c: next(iter(c.values())),
        lambda c: min(min(c)),
    ),
    "objects": (Link, lambda c: c.below, lambda c: c.value),
    "slots": (Slotted, lambda c: c.below, lambda c: c.value),
    "subclasses": (Kin, lambda c: c[0], lambda c: c.value),
    "ordered": (lambda n, c: OrderedDict(n=n, c=c), lambda c: c["c"], lambda c: c["n"]),
    "partial": (
        lambda n, c: functools.partial(Link, n, c),
        lambda c: c.args[1],
        lambda c: c.args[0],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_chains_of_any_kind_come_back(kind: str) -> None:
    """Each link is looked at, and the pickle is one that plain pickle loads."""
    link, below, value = KINDS[kind]
    encoded = encode(chained(link), "state")
    assert encoded.kind == PICKLE
    assert length(decode(encoded, "state"), below, value) == LEVELS


def test_links_that_know_each_other_come_back_as_one_chain() -> None:
    """An object is written once, wherever it is met again."""
    top = decode(encode(chained(Link), "state"), "state")
    assert top.below.below.above.above is top


def test_sets_in_sets_come_back() -> None:
    """Their hashes are known at each level, before the next one is built."""
    nested: frozenset[Any] = frozenset()
    for _ in range(LEVELS):
        nested = frozenset([nested])
    back = decode(encode(nested, "state"), "state")
    depth = 0
    while back:
        (back,) = back
        depth += 1
    assert depth == LEVELS


def test_a_deep_object_with_a_function_by_value_comes_back() -> None:
    """cloudpickle takes such parts out, at any depth."""
    encoded = encode(chained(lambda n, c: [n, c], [0, [lambda: "found"]]), "state")
    assert encoded.kind == CLOUDPICKLE
    back = decode(encoded, "state")
    for _ in range(LEVELS):
        back = back[1]
    assert back[1][0]() == "found"


def test_memory_stays_out_of_a_deep_pickle() -> None:
    """A large array is not copied for the depth of the list that it is in."""
    array = np.arange(1000.0)
    encoded = encode(chained(lambda n, c: (n, c), (array,)), "state")
    assert len(encoded.buffers) == 1
    assert np.shares_memory(np.frombuffer(encoded.buffers[0]), array)


def test_parts_are_found_at_any_depth() -> None:
    """Their numbers are those that loading gives them."""
    rng = np.random.default_rng(7)
    encoded, found = encode_finding(
        chained(lambda n, c: [str(n), c], [rng]), "state", (np.random.Generator,)
    )
    assert [*found.values()] == [rng]
    _, parts = decode_finding(encoded, "state", [*found])
    assert parts[0].random() == rng.random()


class Sized:
    """Comes back by way of ``__newobj_ex__``."""

    def __new__(cls, *, size: int) -> Self:
        made = super().__new__(cls)
        made.size = size
        return made

    size: int

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, int]]:
        return (), {"size": self.size}


def cyclic() -> list[Any]:
    """Return objects that contain themselves."""
    one: list[Any] = []
    pair = (one, 1, 2, 3)
    one.append(pair)
    state: dict[str, Any] = {"pair": pair}
    state["self"] = state
    kin = Kin(1, None)
    kin[0] = kin
    return [pair, state, kin]


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.sampled_from([Link, len, np.float64(2.5), np.arange(3), range(3), 1 + 2j, ..., ()])
)  # fmt: skip


@settings(max_examples=50)
@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner)
            | st.lists(inner).map(tuple)
            | st.dictionaries(st.text(), inner)
            | st.frozensets(st.integers())
            | st.sets(st.text())
            | st.builds(Link, st.integers(), st.none())
            | st.builds(Slotted, st.integers(), inner)
            | st.builds(Kin, st.integers(), inner)
            | st.builds(Sized, size=st.integers())
            | st.builds(lambda value: defaultdict(list, a=value), inner)
        ),
    )
)
def test_shallow_objects_come_back_as_from_the_standard_pickler(obj: Any) -> None:
    """To the last bit, and with what is one object."""
    file = io.BytesIO()
    DeepPickler(file, pickle.Pickler(io.BytesIO(), 5)).dump(obj)
    usual = pickle.loads(pickle.dumps(obj, 5))
    assert not difference(usual, pickle.loads(file.getvalue()), "obj", identity=True)


@pytest.mark.parametrize("number", range(3))
def test_objects_that_contain_themselves_come_back(number: int) -> None:
    """As with the standard pickler, also where the parts must be there before the whole."""
    obj = cyclic()[number]
    file = io.BytesIO()
    DeepPickler(file, pickle.Pickler(io.BytesIO(), 5)).dump(obj)
    back = pickle.loads(file.getvalue())
    assert not difference(obj, back, "obj", identity=True)
