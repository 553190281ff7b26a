"""A copy that is not like its original is described in one line, and a good copy in none."""

from __future__ import annotations

import functools
import pickle
import random
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier

from trax.engine.fidelity import flaws

NOWHERE = object()


def found(live: Any, landmarks: dict[int, str] | None = None) -> dict[str, str]:
    """Return the flaws of the copy of an object."""
    loaded = pickle.loads(pickle.dumps(live, 5))
    return dict(flaws(live, loaded, "state", landmarks or {}, 60.0))


# -- less than there was -------------------------------------------------------------------


class Kept:
    """Stores all attributes but those whose names it is given."""

    def __init__(self, *dropped: str, **attributes: Any) -> None:
        self.dropped = dropped
        self.__dict__.update(attributes)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in self.dropped}


class Emptied(Kept):
    """Sets what it has not stored to the beginning."""

    begin: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**dict.fromkeys(state["dropped"], self.begin), **state})


class Listed(Emptied):
    """Begins with nothing in a list."""

    begin: Any = ()


class Zero(Emptied):
    """Begins to count at zero."""

    begin = 0


class Scaler(Emptied):
    """Stores its scale as the one to begin with, as PyTorch's scaler of gradients does."""

    _begin: Any
    _scale: Any

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_begin": self.state_dict()}

    def state_dict(self) -> Any:
        return self._begin if self._scale is None else self._scale

    def load_state_dict(self, scale: Any) -> None:
        self._scale = scale


class Slots:
    """Has two slots, and stores one."""

    __slots__ = ("_hash", "best", "step")

    def __init__(self) -> None:
        self.step, self.best, self._hash = 1, [2.5], 77

    def __reduce__(self) -> Any:
        return _unslot, (self.step,)


def _unslot(step: int) -> Slots:
    made = Slots.__new__(Slots)
    made.step = step
    return made


class Grid(np.ndarray[Any, Any]):
    """An array with a unit, which NumPy does not store."""

    unit: Any

    def __array_finalize__(self, other: Any) -> None:
        self.unit = getattr(other, "unit", None)


def metres() -> Grid:
    """Return an array with a unit."""
    made: Grid = np.zeros(3).view(Grid)
    made.unit = "m"
    return made


class Counting(random.Random):
    """An RNG with a count, which `random` does not store."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls = 0


def counted() -> Counting:
    """Return one that was called."""
    made = Counting()
    made.calls = 3
    return made


def draws() -> Iterator[int]:
    """Be a generator, which cannot be stored."""
    yield from range(9)


LESS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Kept("best", best=[1]), "state.best does not come back (live [1], loaded nothing)"),
    (lambda: Emptied("best", best=1.5), "state.best does not come back (live 1.5, loaded None)"),
    (lambda: Listed("best", best=[1]), "state.best does not come back (live [1], loaded ())"),
    (lambda: Zero("count", count=7), "state.count does not come back (live 7, loaded 0)"),
    (lambda: Emptied("es", es=draws()), "state.es does not come back (live <generator object"),
    (lambda: Kept("_es", _es=iter([1])), "state._es does not come back"),
    (lambda: [1, {"a": Kept("best", best=[1])}], "state[1]['a'].best does not come back"),
    (lambda: Kept(inner=Kept("best", best={1: 2})), "state.inner.best does not come back"),
    (lambda: Kept("memory", memory=[1]), "state.memory does not come back (live [1]"),
    (Slots, "state.best does not come back (live [2.5], loaded nothing)"),
    (metres, "state.unit does not come back (live 'm', loaded None)"),
    (counted, "state.calls does not come back (live 3, loaded 0)"),
]


@pytest.mark.parametrize(("make", "line"), LESS)
def test_an_attribute_that_does_not_come_back_is_named(make: Callable[[], Any], line: str) -> None:
    """Wherever it is, and whatever leaves it out; the line says what to do."""
    flaw = found(make())
    assert flaw.keys() == {"less"}
    assert flaw["less"].startswith(line)
    assert "__getstate__" in flaw["less"]


class Lazy:
    """Computes a property when it is asked for it, and does not store it."""

    @functools.cached_property
    def norm(self) -> list[float]:
        return [1.0]

    def __getstate__(self) -> dict[str, Any]:
        return {}


def lazy() -> Lazy:
    """Return one that was asked."""
    made = Lazy()
    assert made.norm
    return made


class Locked:
    """Makes its lock and its table anew."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.table_cache = {1: 2}
        self.owner = weakref.ref(type(self))

    def __reduce__(self) -> Any:
        return Locked, ()


class More(Kept):
    """Fills in what it had left open."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "best": [1], "extra": 1})


def fitted(model: Any) -> Any:
    """Fit a model of scikit-learn."""
    rows = np.arange(40.0).reshape(20, 2)
    return model.fit(rows, np.arange(20) % 2)


COMPLETE: list[Callable[[], Any]] = [
    lazy,
    Locked,
    lambda: Kept("lock", lock=threading.Lock()),
    lambda: Kept("hook", hook=print),
    lambda: Emptied("best", best=None),
    lambda: Emptied("best", best=[]),
    lambda: Emptied("best", best=np.zeros(0)),
    lambda: Kept("memo", memo={1: 2}),
    lambda: More(best=None),
    lambda: Kept("_warned", _warned=True),
    lambda: Kept(best=float("nan"), rows={"a": [1, 2]}),
    lambda: [random.Random(1), np.random.default_rng(1), np.random.RandomState(1)],
    lambda: [np.ma.masked_array([1.0, 2.0], [True, False]), np.zeros(2, "i4,f8")],
    lambda: [OrderedDict(a=1), defaultdict(list, a=[1]), deque([1], 3), Path("a"), ValueError(1)],
    lambda: fitted(SGDClassifier()),
    lambda: fitted(RandomForestClassifier(3)),
]


@pytest.mark.parametrize("make", COMPLETE)
def test_what_is_made_again_when_it_is_needed_is_no_loss(make: Callable[[], Any]) -> None:
    """Caches, locks, callbacks, and what was empty anyway; libraries that pickle well."""
    assert found(make()) == {}


# -- sets ----------------------------------------------------------------------------------


def worn(kind: type[set[int]] = set) -> Any:
    """Return a set that has lost elements, so that its copy is smaller inside."""
    made = kind(range(1000))
    made.difference_update(range(990))
    made.update((2**20, 5))
    return made


def test_a_set_that_iterates_otherwise_is_named() -> None:
    """Whatever it has become in its life is not stored, only its elements."""
    made = worn()
    assert list(made) != list(pickle.loads(pickle.dumps(made)))
    assert found({"ill": made})["order"].startswith("the set state['ill'] iterates in another")
    assert found([Kept(ill=worn())])["order"].startswith("the set state[0].ill iterates")
    assert found({"ill": frozenset(made)}).keys() <= {"order"}


class Ill(set[int]):
    """A set of a class of one's own."""


def test_a_set_of_another_class_is_named_as_well() -> None:
    """With its attributes."""
    made = worn(Ill)
    assert found(made).keys() == {"order"}


def test_a_set_that_iterates_alike_is_not_reported() -> None:
    """A young one of numbers, and constants of texts, which differ in each process anyway."""
    assert found([{1, 2, 3}, set(range(100)), set(), {"a"}, {(1, 2)}, {np.float64(1)}]) == {}
    words = frozenset(f"word {n}" for n in range(50))
    assert found([words, Kept(words=words)]) == {}


# -- identity, values and landmarks --------------------------------------------------------


def test_views_that_come_back_apart_are_named() -> None:
    """Plain pickle does this to them."""
    grid = np.zeros(10)
    flaw = found({"grid": grid, "inner": grid[1:-1]})
    assert flaw.keys() == {"identity"}
    assert "state['grid'] and state['inner'] do not come back as they are" in flaw["identity"]


def test_a_value_that_changes_on_the_way_is_named() -> None:
    """Here a pickle stores a text of it."""
    flaw = found([Rounded(1.26)])
    assert flaw["value"].startswith("state[0]._x comes back with another value (live 1.26, loaded")


class Rounded:
    """Forgets digits."""

    def __init__(self, x: float) -> None:
        self._x = x

    def __setstate__(self, state: dict[str, float]) -> None:
        self._x = round(state["_x"], 1)


def test_a_variable_that_is_compared_by_is_is_named() -> None:
    """Its copy is another object."""
    flaw = found([1, NOWHERE], {id(NOWHERE): "NOWHERE"})
    assert "state[1] comes back as another object than the variable NOWHERE" in flaw["landmark"]
    assert found([1, NOWHERE]) == {}


def test_each_kind_is_named_once_and_all_of_them() -> None:
    """The first one of each."""
    grid = np.zeros(3)
    made = [Kept("a", a=[1]), Kept("b", b=[1]), worn(), worn(), [grid, grid[1:]], [grid[:2]]]
    assert {kind: line.split()[0] for kind, line in found(made).items()} == {
        "less": "state[0].a",
        "order": "the",
        "identity": "state[4][0]",
    }


def test_a_comparison_ends_in_time() -> None:
    """However many parts there are."""
    many = [[n] for n in range(100_000)]
    other = [*many[:-1], ["other"]]
    assert [*flaws(many, other, "state", {}, 0.0)] == []
    assert len([*flaws(many, other, "state", {}, 60.0)]) == 1


def test_an_object_may_say_by_its_state_dict_that_nothing_is_lost() -> None:
    scaler = Scaler("_scale", _scale=[4.0], _begin=[8.0])
    assert "less" not in found(scaler)
    assert "less" in found(Emptied("_scale", _scale=[4.0]))
