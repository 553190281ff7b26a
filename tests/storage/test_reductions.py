"""Sentinels, global RNGs and iterators come back as what they were; see also test_array_memory."""

from __future__ import annotations

import functools
import gc
import itertools
import random
import sys
import warnings
import weakref
from collections import OrderedDict
from fractions import Fraction
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any, Self

import numpy as np
import pytest
from support import stored

from trax.errors import CodecError
from trax.storage.codec import decode_finding, encode, encode_finding
from trax.storage.records import CLOUDPICKLE, PICKLE
from trax.storage.reductions import Reductions
from trax.tracking.rngs import rng_types

EMPTY = object()


class Options:
    UNSET = object()

    class Inner:
        UNSET = object()


class Missing:
    """A class whose only object says that a value is missing."""


MISSING = Missing()
AGENT = Missing()
AGENT.name = "agent"  # type: ignore[attr-defined]


class Kind(tuple[str, ...]):
    """A kind of token, whose parent is an attribute."""

    def __new__(cls, parent: tuple[str, ...], name: str) -> Self:
        made = super().__new__(cls, (*parent, name))
        made.parent = parent  # type: ignore[attr-defined]
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self[:-1], self[-1]


WORD = Kind((), "word")
VERB = Kind(WORD, "verb")


class Report:
    """Its summary is made once."""

    def __init__(self) -> None:
        self.made = 0

    @functools.cached_property
    def summary(self) -> list[int]:
        self.made += 1
        return [self.made]


class Counted(random.Random):
    """It counts its draws, and has to be given its seed."""

    __slots__ = ("last",)

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.draws = 0

    def random(self) -> float:
        self.draws += 1
        self.last = super().random()
        return self.last


# -- sentinels -----------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [None, lambda: 1], ids=["plain", "beside a lambda"])
def test_a_sentinel_of_a_module_is_the_same_object(beside: Any) -> None:
    """Or one of a class in it, as it is compared with ``is``."""
    sentinels = [EMPTY, Options.UNSET, Options.Inner.UNSET, MISSING]
    assert encode([sentinels, beside], "state").kind == (CLOUDPICKLE if beside else PICKLE)
    back, _ = stored([[*sentinels, EMPTY], beside])
    for one, other in zip([*sentinels, EMPTY], back, strict=True):
        assert one is other


def test_a_text_or_tuple_of_a_module_that_has_attributes_is_the_same_object() -> None:
    """It is no value. One that is not there is a copy, but what it leads to is not."""
    word, verb, other = stored([WORD, VERB, Kind(VERB, "past")])
    assert word is WORD
    assert verb is VERB
    assert other == ("word", "verb", "past")
    assert other.parent is VERB


def test_other_objects_are_stored_as_ever() -> None:
    """A bare object that no name leads to, and one of a module that has attributes."""
    one, agent, other, again = stored([nameless := object(), AGENT, Missing(), nameless])
    assert type(one) is object
    assert one is again
    assert agent is not AGENT
    assert agent.name == "agent"
    assert other is not MISSING


def test_a_sentinel_whose_variable_changes_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up each time, so it never leads to another object."""
    module = ModuleType("sentinels")
    monkeypatch.setitem(sys.modules, "sentinels", module)
    first = module.FIRST = object()  # type: ignore[attr-defined]
    assert stored(first) is first
    module.SECOND, module.FIRST = first, object()  # type: ignore[attr-defined]
    assert stored(first) is first
    module.SECOND = None  # type: ignore[attr-defined]
    assert stored(first) is not first
    assert stored(module.FIRST) is module.FIRST


# -- RNGs ----------------------------------------------------------------------------------


def global_bits() -> Any:
    return np.random.get_bit_generator()  # type: ignore[attr-defined]  # its types lack it


def test_a_bound_draw_stays_bound_to_the_global_rng() -> None:
    """By its name, as do the RNG itself and a partial call."""
    state = [
        random.random,
        random.gauss,
        random._inst,
        np.random.normal,
        np.random.mtrand._rand,
        global_bits(),
        partial(random.gauss, 0, 1),
    ]
    back = stored(state)
    assert back[:6] == state[:6]
    assert back[6].func == random.gauss
    assert [one is other for one, other in zip(back[2:6], state[2:6], strict=True)].count(True) == 3
    if np.__version__ >= "2":  # before, NumPy itself copies the bit generator
        assert stored(np.random.Generator(global_bits())).bit_generator is state[5]


def test_only_other_rngs_count_as_those_of_the_state() -> None:
    """The global ones are tracked as such."""
    own = random.Random(3)
    encoded, found = encode_finding(
        [random.random, np.random.mtrand._rand, own, own.random, np.random.default_rng(1).normal],
        "state",
        rng_types(),
    )
    assert {"Random", "Generator"} <= {type(rng).__name__ for rng in found.values()}
    assert random._inst not in found.values()
    assert np.random.mtrand._rand not in found.values()
    _, parts = decode_finding(encoded, "state", list(found))
    assert [type(part) for part in parts] == [type(part) for part in found.values()]
    assert encode_finding([random.random], "state", rng_types())[1] == {}


# -- iterators -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        itertools.count,
        lambda: itertools.count(-(10**30)),
        lambda: itertools.count(5, -2),
        lambda: itertools.count(0.1, 0.1),
        lambda: itertools.repeat("a"),
        lambda: itertools.repeat("a", 7),
        lambda: itertools.repeat("a", 3),
        lambda: itertools.repeat(itertools.repeat, 5),
        lambda: iter([*"abcdefgh"]),
        lambda: iter(range(3, 80, 2)),
        lambda: iter("abcdefgh"),
        lambda: enumerate([*"abcdefgh"]),
        lambda: zip([*"abcdefgh"], range(6), strict=False),
        lambda: reversed([*"abcdefgh"]),
    ],
)
def test_an_iterator_comes_back_at_its_position(make: Any) -> None:
    """Silently, and the one that was stored is not advanced."""
    iterator = make()
    for _ in range(3):
        next(iterator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back, same = stored([iterator, iterator])
    assert back is same
    assert type(back) is type(iterator)
    rest = list(itertools.islice(back, 10))
    assert rest == list(itertools.islice(iterator, 10))
    assert rest == list(itertools.islice(make(), 3, 13))


def test_an_iterator_still_shares_its_list() -> None:
    """So an item that is appended later is met."""
    items = [1, 2, 3]
    iterator = iter(items)
    next(iterator)
    back, rest = stored([items, iterator])
    back.append(4)
    assert list(rest) == [2, 3, 4]


class Node:
    """An object that can be referred to weakly."""


class Registry(weakref.WeakValueDictionary[str, Node]):
    """A mapping of another class."""


def test_mappings_with_weak_references_come_back_with_their_items() -> None:
    """As far as something else keeps the objects; those of other classes are refused as ever."""
    nodes = [Node(), Node(), Node()]
    by_name = weakref.WeakValueDictionary(zip("abc", nodes, strict=True))
    numbers = weakref.WeakKeyDictionary(zip(nodes, range(3), strict=True))
    back, found, counted = stored([nodes[:2], by_name, numbers])
    gc.collect()
    assert {**found} == {"a": back[0], "b": back[1]}
    assert {**counted} == {back[0]: 0, back[1]: 1}
    with pytest.raises(CodecError):
        stored([nodes, Registry(a=nodes[0])])


def test_a_repeat_still_shares_its_object() -> None:
    """It is no copy."""
    row = [1]
    back, repeat = stored([row, itertools.repeat(row, 2)])
    assert next(repeat) is back


def test_a_counter_of_other_numbers_goes_on() -> None:
    """Its representation does not tell them exactly."""
    (counter,) = stored([itertools.count(Fraction(1, 3), Fraction(1, 7))])
    assert [next(counter), next(counter)] == [Fraction(1, 3), Fraction(10, 21)]


# -- views and properties ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [dict, OrderedDict])
@pytest.mark.parametrize("view", ["keys", "values", "items"])
def test_a_view_of_a_dict_shows_its_changes(kind: Any, view: str) -> None:
    """The copy is one of the copied dict, whichever of them is stored first."""
    ages = kind(ann=3)
    for order in (1, -1):
        parts = stored([ages, getattr(ages, view)()][::order])
        copied, seen = parts[::order]
        copied["bob"] = 4
        assert type(seen) is type(getattr(ages, view)())
        assert list(seen) == list(getattr(copied, view)())


def test_a_read_only_view_of_a_mapping_shows_its_changes() -> None:
    """That of a class is a copy."""
    ages = {"ann": 3}
    copied, seen = stored([ages, MappingProxyType(ages)])
    copied["bob"] = 4
    assert type(seen) is MappingProxyType
    assert seen == {"ann": 3, "bob": 4}
    assert stored(vars(Missing))["__doc__"] == Missing.__doc__


def test_a_cached_property_of_a_class_without_a_name_is_stored() -> None:
    """In Python 3.11 it has a lock."""

    class Inner(Report):
        @functools.cached_property
        def other(self) -> list[int]:
            """Return the summary again."""
            return [*self.summary, 2]

    report = Inner()
    assert report.summary == [1]
    report.summary.append(5)
    (copied,) = stored([report])
    assert (copied.summary, copied.other, copied.made) == ([1, 5], [1, 5, 2], 1)
    assert type(copied).other.__doc__ == "Return the summary again."


def test_an_object_that_lost_its_slots_is_stored_as_one_that_has_them() -> None:
    """cloudpickle makes such copies of classes; the script has the class with slots."""
    copy: Any = type("Copy", (), {})
    copy.__slots__ = ("given", "unset")
    objects = [copy() for _ in range(3)]
    vars(objects[1]).update(given=[1])
    vars(objects[2]).update(given=2, other=3)
    states = [Reductions({})[copy](each)[2] for each in objects]
    assert states == [None, (None, {"given": [1]}), ({"other": 3}, {"given": 2})]


def test_an_rng_of_a_subclass_keeps_its_attributes() -> None:
    """Pickle would call its class without arguments, and store the position only."""
    rng = Counted(3)
    rng.gauss()
    (copied,) = stored([rng])
    assert type(copied) is Counted
    assert (copied.draws, copied.last) == (rng.draws, rng.last)
    assert [copied.gauss(), copied.random()] == [rng.gauss(), rng.random()]
