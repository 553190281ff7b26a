"""Collections that hold addresses of objects are found, whatever way these came into them."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import trax
from trax.engine.addresses import Addresses, first_held

pytestmark = pytest.mark.skipif(
    id(object()) < 1 << 40, reason="addresses are so small here that other numbers may equal them"
)


class Node:
    """An object whose hash and repr are those of `object`."""

    def __init__(self) -> None:
        self.links: list[Node] = []


HOLDERS: list[Callable[[Node], Any]] = [
    lambda node: {id(node)},
    lambda node: frozenset([id(node)]),
    lambda node: [1, id(node)],
    lambda node: deque([id(node)]),
    lambda node: {id(node): 3},
    lambda node: defaultdict(int, {id(node): 3}),
    lambda node: Counter([id(node)]),
    lambda node: OrderedDict.fromkeys([hash(node)]),
    lambda node: {hash(node)},
    lambda node: {repr(node): 1},
    lambda node: {(0, id(node)): 1},
    lambda node: [(0.5, id(node), node)],
]


@pytest.mark.parametrize("make", HOLDERS)
def test_a_collection_with_an_address_is_told(
    make: Callable[[Node], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """In the first step, long before a crash."""

    @trax.resumable
    def loop() -> Iterator[int]:
        node = Node()
        held = make(node)
        for i in range(3):
            yield i
        assert node, held

    assert next(loop()) == 0
    assert "loop: " in caplog.text
    assert "held" in caplog.text
    assert "holds the id(), hash() or repr() of an object of type Node" in caplog.text


class Memo:
    """Remembers by addresses."""

    def __init__(self) -> None:
        self.nodes = [Node()]
        self.depths: dict[int, int] = {}

    def add(self) -> int:
        """Make a node, and remember it."""
        self.nodes.append(Node())
        self.depths[id(self.nodes[-1])] = len(self.nodes)
        return len(self.nodes)


def test_a_method_of_a_declared_state(caplog: pytest.LogCaptureFixture) -> None:
    """It is the state that is looked at, not the code."""

    @trax.resumable(create=Memo, replay_log=None)
    def loop(memo: Memo) -> Iterator[int]:
        for _ in trax.steps(3):
            yield memo.add()

    loop().result()
    assert caplog.text.count("state.depths holds the id(), hash() or repr()") == 1


def test_what_does_not_outlive_a_step_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """No more than other large numbers, or texts in which an address is shown to a person."""

    @trax.resumable
    def loop() -> Iterator[int]:
        nodes, lines, numbers = [Node() for _ in range(3)], [""], {1 << 60, -(1 << 60)}
        for _ in range(3):
            seen = set()
            for node in nodes:
                if id(node) not in seen:
                    seen.add(id(node))
                    lines.append(f"saw {node}")
            yield len(seen)
        assert lines, numbers

    assert loop().result() == 3
    assert "holds" not in caplog.text


def test_only_addresses_of_objects_that_were_met() -> None:
    """Others are numbers like any."""
    addresses, node, other = Addresses(), Node(), Node()
    for one in (node, held := {id(node), id(other), 7}):
        addresses.meet(one)
    assert addresses.found() == {id(node): Node}
    assert first_held(held, addresses.found()) is Node
    assert first_held({id(other)}, addresses.found()) is None
    assert first_held(7, addresses.found()) is None
