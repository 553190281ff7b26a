"""The proofs of the first steps leave no trace in a run, whatever replay_log does."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import trax
from trax.engine.undo import undone

ids = itertools.count(1)
log: list[int] = []
memo: dict[int, int] = {}
total = 0


class Order:
    made = 0

    def __init__(self) -> None:
        Order.made += 1
        self.number = Order.made


class Singleton:
    only: Any = None
    n: int

    def __new__(cls) -> Any:
        if cls.only is None:
            cls.only = super().__new__(cls)
            cls.only.n = 0
        return cls.only


class Node:
    pool: dict[str, Any] = {}  # noqa: RUF012  # shared on purpose
    v: int

    def __new__(cls, key: str) -> Any:
        if key not in cls.pool:
            node: Any = super().__new__(cls)
            cls.pool[key] = node
            node.key, node.v = key, 0
        return cls.pool[key]

    def __getnewargs__(self) -> tuple[str]:
        return (self.key,)  # type: ignore[attr-defined]


class Colour(enum.Enum):
    RED = 1


def order(state: list[int], _: int) -> list[int]:
    return [*state, Order().number]


def number(state: list[int], _: int) -> list[int]:
    return [*state, next(ids)]


def remember(state: list[int], x: int) -> list[int]:
    memo[x % 3] = memo.get(x % 3, 0) + 1
    return [*state, memo[x % 3]]


def append(state: list[int], x: int) -> list[int]:
    log.append(x)
    return [*state, len(log)]


def count(state: list[int], _: int) -> list[int]:
    global total  # noqa: PLW0603  # that is the mistake
    total += 1
    return [*state, total]


def once(state: list[Any], x: int) -> list[Any]:
    state[0].n += x
    return state


def node(state: list[Any], x: int) -> list[Any]:
    state[x % 2].v += 1
    return state


def hit(state: list[Any], _: int) -> list[Any]:
    colour: Any = state[0]
    colour.hits = getattr(colour, "hits", 0) + 1
    state[1] += colour.hits
    return state


def on_class(state: list[Any], x: int) -> list[Any]:
    state[0].total = getattr(state[0], "total", 0) + x
    return state


class Plain:
    pass


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[[Any], Any], Any]] = {
    "a counter on a class": (list, order, list, [*range(1, 9)]),
    "a counter of itertools": (list, number, list, [*range(1, 9)]),
    "a memo": (list, remember, list, [1, 1, 1, 2, 2, 2, 3, 3]),
    "a list": (list, append, list, [*range(1, 9)]),
    "a global number": (list, count, list, [*range(1, 9)]),
    "a singleton": (lambda: [Singleton()], once, lambda s: s[0].n, sum(range(8))),
    "flyweights": (lambda: [Node("a"), Node("b")], node, lambda s: [n.v for n in s], [4, 4]),
    "a member of an Enum": (lambda: [Colour.RED, 0], hit, lambda s: s[1], sum(range(1, 9))),
    "a class in the state": (lambda: [Plain], on_class, lambda s: s[0].total, sum(range(8))),
}


@pytest.mark.parametrize("case", CASES)
def test_an_undisturbed_run_is_as_without_proofs(case: str) -> None:
    """Although each of its first two steps is replayed on copies."""
    create, fold, show, expected = CASES[case]

    @trax.resumable(create=create, replay_log=fold, name="case")
    def loop(state: Any) -> Iterator[int]:
        for i in trax.steps(8):
            yield i

    assert show(loop().result()) == expected


def test_variables_their_content_and_attributes_are_put_back() -> None:
    """Those that functions refer to, in closures and classes too; nothing else is touched."""
    mine, inner = {"a": [1]}, 1
    plain = Plain()
    plain.items = [1, 2]  # type: ignore[attr-defined]

    def change() -> None:
        nonlocal inner
        global total  # noqa: PLW0603  # that is the mistake
        inner += 1
        total += 1
        mine["b"] = [2]
        plain.items.append(3)  # type: ignore[attr-defined]
        plain.other = 1  # type: ignore[attr-defined]
        Order.made += 5
        memo.clear()

    memo.update({7: 7})
    before = total, Order.made
    with undone([change], []):
        change()
    assert (total, Order.made) == before
    assert (mine, inner) == ({"a": [1]}, 1)
    assert vars(plain) == {"items": [1, 2]}
    assert memo[7] == 7
