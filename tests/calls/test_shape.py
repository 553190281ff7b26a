"""Data is compared by content, and other objects by their types and shapes."""

from __future__ import annotations

import argparse
import datetime
import threading
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trax.calls.arguments import describe, differences, renewed
from trax.calls.content import Contents
from trax.calls.shape import is_data, shape_of


@dataclass
class Config:
    lr: float = 0.1
    more: Any = None


@dataclass(slots=True)
class Slotted:
    lr: float = 0.1


class Model:
    def __init__(self, size: int = 3) -> None:
        self.weights = np.random.default_rng().random(size)


class Table:
    """An array of some library."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.dtype = shape, "f8"

    def area(self) -> int:
        return int(np.prod(self.shape))

    def copied(self) -> Table:
        return Table(*self.shape)


Pair = namedtuple("Pair", "a b")  # noqa: PYI024

DATA = [
    *(1, "a", None, [1, (2, {"a": {3}})], np.arange(3), np.float64(1), Path("a"), Pair(1, [2])),
    *(Config(more=[1]), SimpleNamespace(a=1), argparse.Namespace(b=2), datetime.date(2020, 1, 1)),
    np.array([1, "a"], object),
]
OTHERS = [
    *(
        Model(),
        [Model()],
        {"a": Model()},
        Config(more=Model()),
        lambda: 1,
        threading.Lock(),
        iter([]),
    ),
    *(Pair(1, Model()), np.array([Model()], object), Slotted),
]


def test_data_is_numbers_texts_arrays_and_containers_of_these() -> None:
    """And of nothing else, however deep inside."""
    assert [value for value in DATA if not is_data(value)] == []
    assert [value for value in OTHERS[:-1] if is_data(value)] == []
    loop: list[Any] = [1]
    loop.append(loop)
    assert is_data(loop)


def changes(one: Any, two: Any) -> list[str]:
    """Return the names of arguments that differ, compared by shape."""
    return [*differences(*(describe({"it": v}, by_shape=True) for v in (one, two)))]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1, 2], [1, 3]),
        (Config(), Config(lr=0.2)),
        (Model(), Config()),
        ({"lr": 0.1, "model": Model()}, {"lr": 0.2, "model": Model()}),
        ([Model()], [Model(), Model()]),
        (Table(2, 3), Table(2, 4)),
        (test_data_is_numbers_texts_arrays_and_containers_of_these, changes),
        (len, sum),
        (str.upper, str.lower),
        (Table(1).area, Table(1).copied),
    ],
)
def test_another_content_of_data_and_another_type_or_shape_differ(one: Any, two: Any) -> None:
    """Data inside of a container with other objects, too."""
    assert changes(one, two) == ["it"]


@pytest.mark.parametrize(
    "make",
    [
        Model,
        threading.Lock,
        lambda: lambda: 1,
        lambda: {"lr": 0.1, "model": Model()},
        lambda: Table(2, 3),
        lambda: iter([1, 2]),
        lambda: len,
        lambda: str.upper,
        lambda: [].append,
        lambda: vars(Model)["__init__"].__get__(Model()),
        lambda: Table(1).area,
    ],
)
def test_another_object_of_the_same_type_and_shape_is_as_good(make: Any) -> None:
    """Whatever its content is."""
    assert changes(make(), make()) == []


def test_an_object_that_contains_itself_has_a_shape() -> None:
    """It ends where it begins again."""
    one: list[Any] = [Model()]
    one.append(one)
    assert shape_of(one) == (list, [(Model, ()), ("cycle", 0)])


def test_arguments_with_another_content_are_told() -> None:
    """Those whose content is known to be the same are not."""
    model = Model()
    stored = describe({"m": model, "n": Model(), "lock": threading.Lock(), "x": 1}, by_shape=True)
    given = describe({"m": model, "n": Model(), "lock": threading.Lock(), "x": 1}, by_shape=True)
    assert differences(stored, given) == {}
    assert renewed(stored, given) == {"n": [], "lock": []}


def test_numbers_and_texts_in_them_are_shown_where_they_differ() -> None:
    """Arrays are not: the weights of a model are others in each process."""

    def simulation(rate: float, name: str) -> Any:
        made = Model()
        made.rate, made.options = rate, {"name": name, "table": Table(2, 3)}  # type: ignore[attr-defined]
        return made

    stored = describe({"s": simulation(0.5, "a")}, by_shape=True)
    given = describe({"s": simulation(0.25, "b")}, by_shape=True)
    assert differences(stored, given) == {}
    assert renewed(stored, given) == {"s": ["s.rate: 0.5 -> 0.25", "s.options['name']: 'a' -> 'b'"]}
    assert renewed({"s": {**stored["s"], "outline": ""}}, given) == {"s": []}


class Word(tuple[str, ...]):
    """It makes an attribute of each name that it is asked for, as those of parsers do."""

    def __getattr__(self, name: str) -> Word:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Word((*self, name))
        setattr(self, name, made)
        return made


def test_no_attribute_is_asked_for_that_an_object_may_make_up() -> None:
    """The description would not end, or be another one the next time."""
    word = Word()
    assert word.sql.name == ("sql", "name")
    once = describe({"it": [word, SimpleNamespace(word=word), Model()]}, by_shape=True)
    assert [*vars(word)] == ["sql"]
    assert [*vars(word.sql)] == ["name"]
    assert (
        differences(
            once, describe({"it": [word, SimpleNamespace(word=word), Model()]}, by_shape=True)
        )
        == {}
    )
    describe({"it": word})
    Contents().of(word)
    assert [*vars(word)] == ["sql"]
