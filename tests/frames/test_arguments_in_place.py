"""Arguments that a loop has changed come back in place, and all others are the caller's own."""

from __future__ import annotations

import itertools
import random
import selectors
import socket
import subprocess
import sys
import threading
import weakref
import zlib
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import XMLPullParser

import numpy as np
import pytest
from support import run_script

from trax import ArgumentsChangedError, CodecError
from trax.frames.arguments import Arguments
from trax.storage.codec import decode, encode


class Frame:
    """A call whose arguments a loop has changed, and what is stored of it."""

    def __init__(self, make: Callable[[], dict[str, Any]], **options: Any) -> None:
        self.named = make()
        self._make, self._options = make, options
        self.arguments = Arguments(self.named, **options)

    def __getitem__(self, name: str) -> Any:
        return self.named[name]

    def contents(self) -> dict[str, Any]:
        return self.arguments.contents()

    def store(self, local: Any = None) -> Any:
        pair = self.contents(), local
        return encode(pair, "frame", outside=self.arguments.outside).copied()

    def resume(self, local: Any = None, make: Any = None) -> tuple[dict[str, Any], Any]:
        """Return the arguments of another call of the same script, and the local variables."""
        encoded = self.store(local)
        named = (make or self._make)()
        again = Arguments(named, **self._options)
        contents, local = decode(encoded, "frame", outside=again.objects)
        again.restore(contents, {})
        return named, local


@dataclass
class Solver:
    step: int = 0
    rows: list[Any] = field(default_factory=list)
    inner: Any = None


class Slotted:
    __slots__ = ("_hidden", "x", "y")

    def __init__(self) -> None:
        self.x, self._hidden = 1, [1]


class Derived(Slotted):
    """It has slots and a dictionary."""


class NamedList(list[Any]):
    pass


class NamedDict(dict[Any, Any]):
    pass


def changed(make: Callable[[], Any], change: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return an argument that is changed, and the caller's new one after a resume."""
    frame = Frame(lambda: {"it": make()})
    change(frame["it"])
    named, _ = frame.resume()
    return frame["it"], named["it"]


# -- objects that did not change -----------------------------------------------------------


def test_an_argument_that_did_not_change_is_the_callers_own() -> None:
    """It is referred to, wherever it is met, and takes no room."""
    frame = Frame(lambda: {"data": np.ones(100_000), "rows": [[1], {"a": [2]}], "f": lambda: 1})
    data, rows, function = frame["data"], frame["rows"], frame["f"]
    assert frame.contents() == {}
    local = SimpleNamespace(all=[data, rows, function], one=rows[0], two=rows[1]["a"], d=rows[1])
    assert frame.store(local).nbytes < 1000
    named, local = frame.resume(local)
    assert local.all == [named["data"], named["rows"], named["f"]] or local.all[0] is named["data"]
    assert local.all[1] is named["rows"]
    assert local.all[2] is named["f"]
    assert local.one is named["rows"][0]
    assert local.two is named["rows"][1]["a"]
    assert local.d is named["rows"][1]


def test_what_cannot_be_stored_is_referred_to() -> None:
    """Nothing else is asked of an object that does not change."""
    frame = Frame(
        lambda: {"lock": threading.Lock(), "self": SimpleNamespace(lock=threading.Lock())}
    )
    frame["self"].count = 1
    named, local = frame.resume([frame["lock"], frame["self"].lock])
    assert local[0] is named["lock"]
    assert local[1] is named["self"].lock
    assert named["self"].count == 1


def test_a_weak_reference_is_referred_to() -> None:
    """It is compared by value, and yet cannot be stored."""

    def make() -> dict[str, Any]:
        solver = Solver()
        return {"self": SimpleNamespace(solver=solver, weak=weakref.ref(solver), count=0)}

    frame = Frame(make)
    frame["self"].count = 1
    named, weak = frame.resume(frame["self"].weak)
    assert named["self"].count == 1
    assert weak is named["self"].weak
    assert weak() is named["self"].solver


def test_numbers_and_short_texts_are_values() -> None:
    """And a long text is referred to."""
    text, small = "x" * 100_000, "y"
    frame = Frame(lambda: {"n": 1000, "text": text, "small": small, "none": None})
    assert frame.store([1000, text, small, None]).nbytes < 1000
    assert frame.resume([1000, text, small])[1] == [1000, text, small]


# -- objects that did ----------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "list": (lambda: [1, 2], lambda it: it.append([3])),
    "empty list": (list, lambda it: it.extend("ab")),
    "cleared list": (lambda: [1, [2]], lambda it: it.clear()),
    "inner list": (lambda: [[1], [2]], lambda it: it[1].append(3)),
    "reordered list": (lambda: [[1], [2]], lambda it: it.reverse()),
    "dict": (lambda: {"a": 1}, lambda it: it.update(b=[2])),
    "order of a dict": (lambda: {"a": 1, "b": 2}, lambda it: it.update(a=it.pop("a"))),
    "dict in a dict": (lambda: {"a": {1: {}}}, lambda it: it["a"][1].update(x=1)),
    "keys of a dict": (lambda: {(1, 2): [3], 1.5: [4]}, lambda it: it[1.5].append(5)),
    "set": (lambda: {1, 2}, lambda it: it.add(3)),
    "set of tuples": (lambda: {(1, 2)}, lambda it: it.discard((1, 2))),
    "deque": (lambda: deque([1, 2, 3], 3), lambda it: it.append(4)),
    "bytearray": (lambda: bytearray(b"ab"), lambda it: it.extend(b"c")),
    "array": (lambda: array("d", [1.0]), lambda it: it.append(2.0)),
    "item of an array": (lambda: array("d", [1.0]), lambda it: it.__setitem__(0, -0.0)),
    "NumPy array": (lambda: np.zeros((2, 3)), lambda it: it.__setitem__((1, 2), np.nan)),
    "transposed array": (lambda: np.zeros((2, 3)).T, lambda it: it.__setitem__((2, 1), 5)),
    "array of dates": (lambda: np.zeros(3, "M8[s]"), lambda it: it.__setitem__(1, 7)),
    "array without dimensions": (lambda: np.zeros(()), lambda it: it.__setitem__((), 7)),
    "array of records": (lambda: np.zeros(2, "i4,f8"), lambda it: it.__setitem__(1, (7, 8))),
    "array of objects": (
        lambda: np.array([[1], {2}, None], object),
        lambda it: it.__setitem__(2, it[0]),
    ),
    "list in an array of objects": (
        lambda: np.array([[1], {2}], object),
        lambda it: it[0].append(3),
    ),
    "namespace": (lambda: SimpleNamespace(a=1), lambda it: it.__dict__.update(b=[2])),
    "deleted attribute": (lambda: SimpleNamespace(a=1, b=2), lambda it: it.__delattr__("a")),
    "dataclass": (Solver, lambda it: it.rows.append(Solver(step=3))),
    "deque of objects": (lambda: deque([Solver()]), lambda it: setattr(it[0], "step", 4)),
    "defaultdict": (lambda: defaultdict(list), lambda it: it["a"].append(1)),
    "Counter": (lambda: Counter("aab"), lambda it: it.update("bbb")),
    "tuple": (lambda: ([1], 2), lambda it: it[0].append(2)),
    "tuple in a tuple": (lambda: (1, ([1],)), lambda it: it[1][0].append(2)),
    "list in a list in a tuple": (lambda: ([[1]],), lambda it: it[0][0].append(2)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_comes_back_in_place(name: str) -> None:
    """It is the caller's own object, with the content that the loop has left in it."""
    make, change = CHANGES[name]
    frame = Frame(lambda: {"it": make()})
    old, before = frame["it"], make()
    change(old)
    encoded = frame.store(old)
    new = make()
    assert type(new) is type(before)
    again = Arguments({"it": new})
    contents, local = decode(encoded, "frame", outside=again.objects)
    again.restore(contents, {})
    assert local is new
    np.testing.assert_equal(np_list(new), np_list(old))


def np_list(one: Any) -> Any:
    """Return something that `assert_equal` compares with the order of a dictionary."""
    return [*one.items()] if isinstance(one, dict) else one


def test_an_ordered_dict_comes_back_with_its_links() -> None:
    """It keeps the order in a list of its own."""
    old, new = changed(lambda: OrderedDict(a=1, b=2), lambda it: it.move_to_end("a"))
    new.move_to_end("b")
    assert [*new] == ["a", "b"]
    assert [*reversed(new)] == ["b", "a"]
    assert [*old] == ["b", "a"]


def test_slots_come_back_in_place() -> None:
    """Of a base as well, those not set included, with a dictionary beside them."""

    def change(it: Any) -> None:
        it.y = [5]
        it._hidden.append(2)
        del it.x

    for kind in (Slotted, Derived):
        _, new = changed(kind, change)
        assert new.y == [5]
        assert new._hidden == [1, 2]
        assert not hasattr(new, "x")
    _, new = changed(Derived, lambda it: setattr(it, "z", it._hidden))
    assert new.z is new._hidden


def test_a_subclass_of_a_container_has_items_and_attributes() -> None:
    """Its own methods are not called."""

    def change(it: Any, add: Callable[[Any], None]) -> None:
        it.name = "b"
        it.link = it
        add(it)

    _, new = changed(lambda: NamedList([1]), lambda it: change(it, it.append))
    assert (new[0], new[1], new.name, new.link) == (1, new, "b", new)
    _, new = changed(lambda: NamedDict(a=1), lambda it: change(it, lambda one: it.update(b=one)))
    assert (new["a"], new["b"], new.name) == (1, new, "b")


def test_objects_that_refer_to_each_other() -> None:
    """And to themselves."""

    def make() -> Any:
        one, two = Solver(), Solver()
        one.inner, two.inner = two, one
        one.rows.append(one.rows)
        return one

    _, new = changed(make, lambda it: setattr(it.inner, "step", 3))
    assert new.inner.step == 3
    assert new.inner.inner is new
    assert new.rows[0] is new.rows


def test_a_long_chain() -> None:
    """Its length is no limit, and paths stay short."""

    def make() -> Any:
        first = last = Solver()
        for _ in range(3000):
            last.inner = Solver()
            last = last.inner
        return first

    def change(it: Any) -> None:
        while it.inner is not None:
            it.step += 1
            it = it.inner
        it.step = 7

    frame = Frame(lambda: {"it": make()})
    change(frame["it"])
    assert frame.store().nbytes < 1_000_000
    new = frame.resume()[0]["it"]
    count = 0
    while new.inner is not None:
        assert new.step == 1
        new, count = new.inner, count + 1
    assert (new.step, count) == (7, 3000)


# -- sharing -------------------------------------------------------------------------------


def test_inner_objects_stay_the_callers() -> None:
    """A local variable, another argument and the caller's own references see the same object."""
    kept: list[Any] = []

    def make() -> dict[str, Any]:
        shared = [1]
        kept.append(shared)
        return {"a": {"x": shared, "y": Solver(rows=shared)}, "b": [shared], "c": shared}

    frame = Frame(make)
    frame["c"].append(2)
    frame["a"]["y"].step = 3
    named, (local, solver) = frame.resume((frame["a"]["x"], frame["a"]["y"]))
    assert local == [1, 2]
    for one in (named["a"]["x"], named["a"]["y"].rows, named["b"][0], named["c"], kept[-1]):
        assert one is local
    assert solver is named["a"]["y"]
    assert solver.step == 3


def test_new_objects_are_shared_with_the_local_variables() -> None:
    """One pickle has both."""
    frame = Frame(lambda: {"it": [], "other": {}})
    new = [1]
    frame["it"].append(new)
    frame["other"]["x"] = new
    named, (local, it) = frame.resume((new, frame["it"]))
    assert named["it"][0] is named["other"]["x"] is local
    assert it is named["it"]


def test_an_argument_that_moved_into_another() -> None:
    """And one that is an element of the other from the beginning."""

    def make() -> dict[str, Any]:
        one = Solver()
        return {"one": one, "all": [one], "into": []}

    frame = Frame(make)
    frame["one"].step = 5
    frame["into"].append(frame["one"])
    named, _ = frame.resume()
    assert named["into"] == [named["one"]] == named["all"]
    assert named["into"][0] is named["one"] is named["all"][0]
    assert named["one"].step == 5


def test_an_object_that_left_its_place_is_still_the_callers() -> None:
    """What was taken from a list at the call is found there by the next call."""
    frame = Frame(lambda: {"queue": [Solver(step=1), Solver(step=2)]})
    first = frame["queue"].pop(0)
    first.step = 10
    expected: list[Any] = []

    def make() -> dict[str, Any]:
        expected[:] = [Solver(step=1), Solver(step=2)]
        return {"queue": [*expected]}

    named, local = frame.resume(first, make)
    assert local is expected[0]
    assert local.step == 10
    assert named["queue"] == [expected[1]]


def test_variables_of_a_function_that_is_given() -> None:
    """A callback, a bound method and a partial change what they refer to."""

    def make() -> dict[str, Any]:
        seen: list[int] = []
        count = 0

        def call(x: int) -> list[int]:
            nonlocal count
            count += 1
            seen.append(x)
            return [count, *seen]

        solver = Solver()
        return {"call": call, "append": solver.rows.append, "method": Counter().update}

    frame = Frame(make)
    frame["call"](5)
    frame["append"](6)
    frame["method"]("a")
    named, local = frame.resume([frame["call"], frame["append"]])
    assert local == [named["call"], named["append"]]
    assert named["call"](7) == [2, 5, 7]
    assert named["append"].__self__ == [6]
    assert named["method"].__self__ == {"a": 1}


def test_a_dictionary_of_attributes_is_that_of_the_object() -> None:
    """``vars(obj)`` as a local variable."""
    frame = Frame(lambda: {"self": Solver()})
    frame["self"].step = 2
    named, local = frame.resume(vars(frame["self"]))
    assert local is vars(named["self"])
    local["step"] = 3
    assert named["self"].step == 3


# -- memory --------------------------------------------------------------------------------


def test_an_array_is_written_into_so_that_the_callers_views_see_it() -> None:
    """And views among the local variables share its memory again."""
    views: list[Any] = []

    def make() -> dict[str, Any]:
        data = np.zeros(10)
        views.append(data[2:5])
        return {"data": data, "part": data[5:]}

    frame = Frame(make)
    frame["data"][:] = range(10)
    named, (row, part) = frame.resume((frame["data"][4:8], frame["part"]))
    assert views[-1].tolist() == [2, 3, 4]
    assert part is named["part"]
    assert np.shares_memory(row, named["data"])
    assert row.tolist() == [4, 5, 6, 7]


def test_a_view_of_an_argument_that_is_a_view() -> None:
    """The memory that both lie in stays the caller's."""
    frame = Frame(lambda: {"part": np.zeros(10)[::2]})
    frame["part"][1] = 7
    named, local = frame.resume(frame["part"][1:3])
    assert np.shares_memory(local, named["part"])
    assert local.tolist() == [7, 0]


def test_an_array_of_another_shape_is_refused() -> None:
    """By name, at the frame; and where the caller gives another one, before anything changes."""
    frame = Frame(lambda: {"rows": [1], "data": np.zeros(3)})
    frame["data"][0] = 1
    frame["rows"].append(2)

    def other() -> dict[str, Any]:
        return {"rows": rows, "data": np.zeros(4)}

    rows = [1]
    with pytest.raises(ArgumentsChangedError, match=r"'data' .* was float64 of shape \(3,\)"):
        frame.resume(make=other)
    assert rows == [1]
    frame["data"].resize(5, refcheck=False)
    with pytest.raises(CodecError) as caught:
        frame.contents()
    first, second, *_ = str(caught.value).splitlines()
    assert first == "argument 'data' (numpy.ndarray) changed and cannot be put back in place:"
    assert second == "it was float64 of shape (3,), and is float64 of shape (5,)."


def test_an_inner_object_that_cannot_be_put_back_is_replaced() -> None:
    """Together with each reference to it."""
    frame = Frame(lambda: {"self": Solver(inner=np.zeros(3)), "ids": [itertools.count(5)]})
    frame["self"].inner.resize(5, refcheck=False)
    next(frame["ids"][0])
    named, (array_, ids) = frame.resume((frame["self"].inner, frame["ids"]))
    assert named["self"].inner.shape == (5,)
    assert array_ is named["self"].inner
    assert ids is named["ids"]
    assert next(ids[0]) == 6


# -- RNGs, files, protocols ----------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: random.Random(3),
        lambda: np.random.default_rng(3),
        lambda: np.random.RandomState(3),
        lambda: np.random.PCG64(3),
    ],
)
def test_an_rng_goes_on(make: Callable[[], Any]) -> None:
    """The caller's own draws what the other would have drawn."""

    def draw(rng: Any) -> Any:
        name = next(name for name in ("random_raw", "random") if hasattr(rng, name))
        return getattr(rng, name)()

    old, new = changed(make, draw)
    assert [draw(old) for _ in range(3)] == [draw(new) for _ in range(3)]


def test_a_file_that_is_read_goes_on(tmp_path: Any) -> None:
    """And one whose position is hidden is refused."""
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")
    with path.open() as old, path.open() as new:
        files = iter([old, new])
        frame = Frame(lambda: {"file": next(files)})
        old.readline()
        named, local = frame.resume(old)
        assert local is named["file"] is new
        assert new.readline() == "two\n"
        for _ in old:
            break
        with pytest.raises(CodecError, match="its position is hidden while a `for` reads it"):
            frame.contents()


class Author:
    """It says itself what its state is."""

    def __init__(self) -> None:
        self.count, self.handle, self.rows = 0, threading.Lock(), [1]

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count, "rows": self.rows, "twice": [self.count] * 2}

    def __setstate__(self, state: dict[str, Any]) -> None:
        assert state["twice"] == [state["count"]] * 2
        self.count, self.rows = state["count"], state["rows"]


def test_an_object_with_a_state_of_its_own_is_given_it() -> None:
    """What it leaves out stays as the caller has made it."""
    frame = Frame(lambda: {"it": Author()})
    frame["it"].count = 3
    frame["it"].rows.append(2)
    named, (rows, handle) = frame.resume((frame["it"].rows, frame["it"].handle))
    assert named["it"].count == 3
    assert named["it"].rows == [1, 2]
    assert rows is named["it"].rows
    assert handle is named["it"].handle


class Stateless(Author):
    """All of it is in its slots and in what makes it, as its state says by being None."""

    def __getstate__(self) -> Any:
        return None

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("pickle sets no state that is None")


def test_an_object_whose_state_is_none_is_given_none() -> None:
    """Beside another one that has changed, it is as the caller has made it."""
    frame = Frame(lambda: {"it": SimpleNamespace(one=Stateless(), rows=[1])})
    frame["it"].rows.append(2)
    named, one = frame.resume(frame["it"].one)
    assert named["it"].rows == [1, 2]
    assert one is named["it"].one


class Trained:
    """It has a ``state_dict``, and parts that do not pickle."""

    def __init__(self) -> None:
        self.weights, self.step = np.zeros(2), 0
        self.function = lambda: self.weights

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights[:] = state["weights"]
        self.step = state["step"]


class Nested(Author):
    """Its state has its parts inside of something else."""

    def __getstate__(self) -> dict[str, Any]:
        return {"all": (self.count, self.rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.count, self.rows = state["all"]


@pytest.mark.parametrize("is_changed", [False, True])
def test_parts_of_a_state_are_those_of_the_object(is_changed: bool) -> None:
    """Whether they are the caller's or come from the frame."""
    frame = Frame(lambda: {"it": Nested()})
    if is_changed:
        frame["it"].rows.append(2)
    named, (rows, handle) = frame.resume((frame["it"].rows, frame["it"].handle))
    assert rows is named["it"].rows
    assert rows == ([1, 2] if is_changed else [1])
    assert handle is named["it"].handle


def test_an_object_with_a_state_dict_loads_it() -> None:
    """Its parts stay the caller's, and those among the local variables are these."""
    frame = Frame(lambda: {"it": Trained()})
    assert frame.contents() == {}
    frame["it"].weights += 1
    frame["it"].step = 3
    frame["it"].cursor = threading.Lock()
    named, weights = frame.resume(frame["it"].weights)
    assert named["it"].step == 3
    assert named["it"].weights.tolist() == [1, 1]
    assert weights is named["it"].weights


def test_an_iterator_is_a_part_of_the_frame() -> None:
    """The caller's new one begins at its beginning, so it is not used."""
    frame = Frame(lambda: {"ids": iter([1, 2, 3]), "self": SimpleNamespace(it=iter("abc"))})
    next(frame["ids"])
    next(frame["self"].it)
    named, (ids, letters) = frame.resume((frame["ids"], frame["self"].it))
    assert [*ids] == [2, 3]
    assert named["self"].it is letters
    assert [*letters] == ["b", "c"]


class Forward:
    """A chain of references, of the user's."""

    def __reduce__(self) -> Any:
        return Forward, ()


def test_an_object_of_the_users_is_its_attributes_whatever_pickle_makes_of_it() -> None:
    """``__reduce__`` would make another one."""
    _, new = changed(Forward, lambda it: setattr(it, "x", [1]))
    assert new.x == [1]


def test_a_service_that_does_not_pickle_is_referred_to() -> None:
    """Whatever it does to itself; and beside it the rest comes back."""
    pools = [ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
    made = iter(pools)
    frame = Frame(lambda: {"self": SimpleNamespace(pool=next(made), count=0)})
    assert frame["self"].pool.submit(int, "3").result() == 3
    frame["self"].count = 1
    assert not frame.arguments.services
    named, pool = frame.resume(frame["self"].pool)
    assert pool is named["self"].pool is pools[1]
    assert named["self"].count == 1
    assert frame.arguments.services == []
    for pool in pools:
        assert pool.submit(int, "4").result() == 4
        pool.shutdown()


def test_a_service_that_steps_change_is_told_and_a_parser_is_refused() -> None:
    """A new pool is as good, a new selector not quite, and half of a document is useless."""
    frame = Frame(lambda: {"ready": selectors.PollSelector()})
    with socket.socket() as one:
        frame["ready"].register(one, selectors.EVENT_READ)
        frame.resume()
        assert frame.arguments.services == ["argument 'ready' (selectors.PollSelector)"]
    frame = Frame(lambda: {"parser": XMLPullParser()})
    frame["parser"].feed("<a>")
    with pytest.raises(CodecError) as caught:
        frame.resume()
    cause, way, *_ = str(caught.value).splitlines()
    assert cause == (
        "argument 'parser' (xml.etree.ElementTree.XMLPullParser) changed and cannot be stored: "
        "its state cannot be read."
    )
    assert way.startswith("Keep what it is made from")
    frame = Frame(lambda: {"packer": zlib.compressobj()})
    with pytest.raises(CodecError, match=r"'packer' .zlib.Compress. .*\n.*cannot be read"):
        frame.resume()


def test_an_event_or_a_queue_comes_back() -> None:
    """They hold locks, which stay the caller's, and plain data besides."""
    frame = Frame(lambda: {"event": threading.Event(), "jobs": Queue()})
    frame["event"].set()
    frame["jobs"].put([1])
    frame["jobs"].put([2])
    named, _ = frame.resume()
    assert named["event"].is_set()
    assert named["jobs"].get() == [1]
    named["jobs"].put(3)
    assert [named["jobs"].get(), named["jobs"].get()] == [[2], 3]
    assert frame.arguments.services == []


# -- what is stored ------------------------------------------------------------------------


def test_of_plain_data_only_the_changed_part_is_stored() -> None:
    """The rest was compared with the stored call."""
    frame = Frame(lambda: {"data": {"big": np.ones(100_000), "seen": 0}})
    frame["data"]["seen"] = 1
    assert frame.store().nbytes < 1000
    named, _ = frame.resume()
    assert named["data"]["seen"] == 1


@pytest.mark.parametrize("kind", ["object", "varying"])
def test_of_other_arguments_everything_is_stored(kind: str) -> None:
    """Random weights are others in each process: a mixture of both would be no state at all."""
    values = iter([1.0, 2.0])

    def make() -> dict[str, Any]:
        weights = [np.full(2, next(values)), np.zeros(2)]
        return {"it": Solver(rows=weights) if kind == "object" else weights}

    frame = Frame(make, varying=("it",) if kind == "varying" else ())
    rows = frame["it"].rows if kind == "object" else frame["it"]
    rows[1] += 5
    new = frame.resume()[0]["it"]
    rows = new.rows if kind == "object" else new
    assert [row.tolist() for row in rows] == [[1, 1], [5, 5]]


def test_constants_of_other_arguments_are_stored_as_well() -> None:
    """A text, a tuple and a time that differ from process to process."""
    numbers = itertools.count()

    def make() -> dict[str, Any]:
        number = next(numbers)
        values = [f"{number}" * 5000, (number, [number]), frozenset({number})]
        return {"it": Solver(rows=values, inner=np.datetime64(number, "D"))}

    frame = Frame(make)
    frame["it"].step = 1
    frame["it"].rows[1][1].append(5)
    named, (text, pair) = frame.resume(frame["it"].rows[:2])
    assert named["it"].rows == ["0" * 5000, (0, [0, 5]), {0}]
    assert named["it"].inner == np.datetime64(0, "D")
    assert text == "0" * 5000
    assert pair is named["it"].rows[1]


def test_a_part_that_can_only_be_made_anew_must_be_the_same() -> None:
    """It is not stored, so one that differs is refused."""
    numbers = itertools.count()
    frame = Frame(lambda: {"it": Solver(inner=ValueError(next(numbers)))})
    frame["it"].step = 1
    with pytest.raises(ArgumentsChangedError, match=r"'it.inner' .*: it is another one"):
        frame.resume()


def test_an_object_that_changes_its_class_is_refused() -> None:
    """By name."""
    frame = Frame(lambda: {"it": Solver()})
    frame["it"].__class__ = Forward
    with pytest.raises(CodecError, match=r"'it' \(.*Forward\) changed .*\n.*class was .*Solver"):
        frame.contents()


@pytest.mark.parametrize("is_changed", [False, True])
def test_objects_in_a_set_come_from_the_frame(is_changed: bool) -> None:
    """No path leads to them; so those in a frozenset are refused."""
    frame = Frame(lambda: {"all": {Slotted()}})
    if is_changed:
        next(iter(frame["all"])).x = 5
    named, local = frame.resume(next(iter(frame["all"])))
    assert named["all"] == {local}
    assert local.x == (5 if is_changed else 1)
    frame = Frame(lambda: {"all": frozenset({Forward()})})
    with pytest.raises(CodecError, match=r"'all' \(builtins.frozenset\) changed and cannot"):
        frame.contents()


def test_a_third_process_gets_all_changes() -> None:
    """The second one compares with what its caller made, not with what came back."""
    frame = Frame(lambda: {"rows": [1], "self": Solver()})
    frame["rows"].append(2)
    frame["self"].step = 1
    encoded = frame.store()
    for count in (3, 4):
        named: dict[str, Any] = {"rows": [1], "self": Solver()}
        arguments = Arguments(named)
        contents, _ = decode(encoded, "frame", outside=arguments.objects)
        arguments.restore(contents, {})
        assert len(named["rows"]) == count - 1
        named["rows"].append(count)
        pair = arguments.contents(), None
        encoded = encode(pair, "frame", outside=arguments.outside).copied()
        assert named["self"].step == 1


def test_a_change_that_does_not_pickle_is_named() -> None:
    """Where the codec finds it."""
    frame = Frame(lambda: {"self": Solver()})
    frame["self"].inner = threading.Lock()
    with pytest.raises(CodecError, match=r"\['self'\].*'inner'.*_thread.lock\) cannot be stored"):
        frame.store()


def test_a_change_that_cannot_be_put_back_is_refused_by_name() -> None:
    """An object of a class in C, alone, or inside of what cannot change itself."""
    import hashlib

    frame = Frame(lambda: {"hash": hashlib.sha256()})
    frame["hash"].update(b"x")
    with pytest.raises(CodecError, match=r"argument 'hash' \(_hashlib.HASH\) changed and cannot"):
        frame.contents()
    frame = Frame(lambda: {"pair": (1, np.zeros(3))})
    frame["pair"][1].resize(4, refcheck=False)
    with pytest.raises(CodecError, match=r"'pair' \(builtins.tuple\).*\n.*'pair\[1\]'"):
        frame.contents()


def test_a_caller_that_gives_something_else_is_refused() -> None:
    """By name, before anything is changed."""
    frame = Frame(lambda: {"it": Solver(inner=Solver())})
    frame["it"].inner.step = 3
    others = {
        "refers to it.inner.rows, which is not in the arguments": Solver(),
        r"'it.inner' .* run: it was a .*Solver, and is a .*Forward": Solver(inner=Forward()),
    }
    [*others.values()][1].inner.rows = []
    for why, other in others.items():
        with pytest.raises(ArgumentsChangedError, match=why):
            frame.resume(make=lambda other=other: {"it": other})
        assert other.step == 0


def test_in_another_process(tmp_path: Any) -> None:
    """With a set of strings, whose order is another one there."""
    (tmp_path / "script.py").write_text(SCRIPT_OF_TWO)
    for number in range(3):
        done = subprocess.run(
            [sys.executable, "script.py", str(number)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr


SCRIPT_OF_TWO = """
import pickle, random, sys
from pathlib import Path
import numpy as np
from trax.frames.arguments import Arguments
from trax.storage.codec import decode, encode

class Model:
    def __init__(self):
        self.weights = {"a": np.random.default_rng().random(3)}
        self.words = set()
        self.layer = [0]

def train(model, out):
    layer = model.layer
    for step in range(6):
        model.weights["a"] += step
        model.words.add(f"word {step}")
        layer[0] += 1
        out.append((step, model, layer))
        yield layer

model, out = Model(), []
arguments = Arguments({"model": model, "out": out})
store = Path("frame")
layer, begin = model.layer, int(sys.argv[1]) * 2
if store.exists():
    encoded = pickle.loads(store.read_bytes())
    contents, layer, weights = decode(encoded, "frame", outside=arguments.objects)
    arguments.restore(contents, {})
    assert model.weights["a"].tolist() == weights
    assert layer is model.layer
    assert model.words == {f"word {n}" for n in range(begin)}
    assert [one[0] for one in out] == [*range(begin)]
    assert all(one[1] is model and one[2] is layer for one in out)
for step in range(begin, begin + 2):
    model.weights["a"] += step
    model.words.add(f"word {step}")
    layer[0] += 1
    out.append((step, model, layer))
state = arguments.contents(), layer, model.weights["a"].tolist()
encoded = encode(state, "frame", outside=arguments.outside).copied()
store.write_bytes(pickle.dumps(encoded))
"""


RENAMED = """
import sys
import trax

class Model:
    def __init__(self):
        self.total = 0

@trax.resumable(renames={"__main__": "fitting"})
def fit(model, steps):
    for i in range(steps):
        model.total += i
        yield model.total

if __name__ == "__main__":
    run = fit(Model(), steps=10)
    for _ in run:
        if run.step == int(sys.argv[1]):
            break
"""


@pytest.mark.parametrize("step", [5, 11])
def test_an_argument_whose_class_was_renamed_gets_its_content_back(step: int) -> None:
    """A script was run, and its function is called from elsewhere: `renames` says where it is."""
    Path("fitting.py").write_text(RENAMED)
    subprocess.run([sys.executable, "fitting.py", str(step)], check=True)
    script = """
import sys
sys.path.insert(0, "")
import fitting
model = fitting.Model()
print(fitting.fit(model, steps=10).result(), model.total)
"""
    assert run_script(script).stdout == "45 45\n"
