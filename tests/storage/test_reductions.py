"""Sentinels, global RNGs and iterators come back as what they were; see also test_array_memory."""

from __future__ import annotations

import itertools
import random
import sys
import warnings
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support import stored

from trax.storage.codec import decode_finding, encode, encode_finding
from trax.storage.records import CLOUDPICKLE, PICKLE
from trax.tracking.rng_state import rng_types

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


# -- sentinels -----------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [None, lambda: 1], ids=["plain", "beside a lambda"])
def test_a_sentinel_of_a_module_is_the_same_object(beside: Any) -> None:
    """Or one of a class in it, as it is compared with ``is``."""
    sentinels = [EMPTY, Options.UNSET, Options.Inner.UNSET, MISSING]
    assert encode([sentinels, beside], "state").kind == (CLOUDPICKLE if beside else PICKLE)
    back, _ = stored([[*sentinels, EMPTY], beside])
    for one, other in zip([*sentinels, EMPTY], back, strict=True):
        assert one is other


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


def test_a_repeat_still_shares_its_object() -> None:
    """It is no copy."""
    row = [1]
    back, repeat = stored([row, itertools.repeat(row, 2)])
    assert next(repeat) is back


def test_a_counter_of_other_numbers_goes_on() -> None:
    """Its representation does not tell them exactly."""
    (counter,) = stored([itertools.count(Fraction(1, 3), Fraction(1, 7))])
    assert [next(counter), next(counter)] == [Fraction(1, 3), Fraction(10, 21)]
