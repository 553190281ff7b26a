"""What an object refers to is found, in its attributes and items and in what C keeps to itself."""

from __future__ import annotations

import contextvars
import functools
import itertools
import runpy
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trax.tracking.object_parts import items, parts

_kept: contextvars.ContextVar[list[int]] = contextvars.ContextVar("kept", default=[1])  # noqa: B039


class Table(dict[str, Any]):
    """A dictionary that shows nothing of its items."""

    def items(self) -> Any:
        raise AssertionError


class Sealed:
    """An object without a dictionary."""

    __slots__ = ("inside",)

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def method(self) -> None:
        """Do nothing."""


def _counting(inside: Any) -> Iterator[int]:
    for number in itertools.count():
        yield number if inside else 0


def _started(inside: Any) -> Iterator[int]:
    generator = _counting(inside)
    next(generator)
    return generator


def _around(inside: Any) -> Callable[[], Any]:
    return lambda: inside


@pytest.mark.parametrize(
    ("step", "make"),
    [
        ("['a']", lambda inside: {"a": inside}),
        ("['a']", lambda inside: Table(a=inside)),
        ("[1]", lambda inside: [0, inside]),
        ("[0]", lambda inside: (inside,)),
        ("[0]", lambda inside: deque([inside])),
        (".inside", lambda inside: SimpleNamespace(inside=inside)),
        (".inside", Sealed),
        (".__self__", lambda inside: inside.append),
        (".inside", _started),
        (".inside", _around),
        (".args", lambda inside: functools.partial(print, inside)),
        ("()", weakref.ref),
    ],
)
def test_a_part_has_the_place_that_leads_to_it(step: str, make: Callable[[Any], Any]) -> None:
    class Own(list[int]):
        """A list that can be referred to weakly."""

    inside = Own([1])
    found = dict(parts("x", make(inside)))
    part = found[f"x{step}"]
    assert part is inside or part == (inside,)


@pytest.mark.parametrize(
    "make", [lambda inside: itertools.cycle([inside]), lambda inside: map(print, [inside])]
)
def test_iterators_lead_to_their_sources(make: Callable[[Any], Any]) -> None:
    inside = [1]
    level = [make(inside)]
    for _ in range(4):
        level = [part for one in level for _, part in parts("", one)]
        if any(part is inside for part in level):
            return
    raise AssertionError(level)


def test_a_variable_of_the_context_leads_to_its_value() -> None:
    assert dict(parts("kept", _kept))["kept.get()"] is _kept.get()


def test_plain_values_modules_and_classes_have_no_parts() -> None:
    for value in (1, "a", None, pytest, Sealed):
        assert parts("x", value) == []
    assert parts("x", [1, "a", None, Sealed, pytest]) == [("x[3]", Sealed), ("x[4]", pytest)]


def test_large_containers_and_sets_of_several_are_left_out() -> None:
    """A set has another order in each process, and so no places."""
    inside = object()
    assert list(items([inside] * 5000)) == list(enumerate([inside] * 5000))
    assert [*items([inside] * 5001), *items({inside, object()}), *items(3)] == []
    assert list(items({inside})) == [(0, inside)]


def test_an_object_that_cannot_be_read_has_no_parts() -> None:
    class Broken:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise OSError

    assert [place for place, _ in parts("x", Broken()) if "weakref" not in place] == []


# -- RNGs that are reached by them -----------------------------------------------------------

SAMPLER = """
class Sampler:
    rng = random.Random(5)
    def draw(self):
        return self.rng.random()
    @property
    def number(self):
        return self.rng.random()
    @classmethod
    def make(cls):
        return cls.rng.random()
    def __call__(self):
        return self.rng.random()

class Own:
    def __init__(self):
        self.rng = random.Random(5)
    def draw(self, factor=1):
        return self.rng.random()

class Kind(type):
    rng = random.Random(5)
    def draw(cls):
        return cls.rng.random()

class Drawn(metaclass=Kind):
    pass

class Holder:
    def __init__(self, part):
        self.part = part

def closed():
    rng = random.Random(5)
    return lambda: rng.random()

def logged(function):
    rng = random.Random(5)
    @functools.wraps(function)
    def wrapper():
        return function() + rng.random()
    return wrapper

@logged
def wrapped():
    return 0.0

@wrapt.decorator
def adding(function, instance, arguments, named):
    return function() + one_more.draw()

one_more = Own()

@adding
def proxied():
    return 0.0

class Number:
    def __init__(self):
        self.rng = random.Random(5)
    def __get__(self, instance, owner):
        return self.rng.random()

class Numbered:
    number = Number()

@functools.singledispatch
def dealt(kind):
    return 0.0

@dealt.register
def _(kind: int):
    return one_more.draw()

class Lazy:
    def __init__(self, find):
        self.__dict__["find"] = find
    def __getattr__(self, name):
        return getattr(self.find(), name)
    @property
    def __class__(self):
        return type(self.find())
"""
KINDS = {
    "a class by an object": "one = Sampler()\ndef draw(): return one.draw()",
    "a property": "one = Sampler()\ndef draw(): return one.number",
    "an object that is called": "draw = Sampler()",
    "a class by a method": "draw = Sampler().draw",
    "a class method": "draw = Sampler.make",
    "a metaclass": "def draw(): return Drawn.draw()",
    "a method's object": "draw = Own().draw",
    "a partial method": "draw = functools.partial(Own().draw, 2)",
    "a method of an RNG": "draw = random.Random(5).random",
    "a partial method of an RNG": "draw = functools.partial(random.Random(5).uniform, 0, 1)",
    "a method of NumPy's": "draw = numpy.random.default_rng(5).random",
    "objects in a table": "table = {'a': Sampler()}\ndef draw(): return table['a'].draw()",
    "objects in a deque": "row = deque([Own()])\ndef draw(): return row[0].draw()",
    "a class in a table": "table = {'a': [Sampler]}\ndef draw(): return table['a'][0]().draw()",
    "functions in a table": "table = {'a': closed()}\ndef draw(): return table['a']()",
    "two closures": "row = [closed(), closed()]\ndef draw(): return row[0]() - row[1]() + row[1]()",
    "a function in an object": "one = Holder(closed())\ndef draw(): return one.part()",
    "an object in an object": "one = Holder(Holder(Sampler()))\ndef draw(): return one.part.part()",
    "a decorator": "draw = wrapped",
    "an object around a function": "draw = proxied",
    "a descriptor": "one = Numbered()\ndef draw(): return one.number",
    "an array": "row = numpy.array([Own()])\ndef draw(): return row[0].draw()",
    "one of many": "row = [Own() for _ in range(2000)]\ndef draw(): return row[1999].draw()",
    "an iterator": "row = iter(random.Random(5).random, None)\ndef draw(): return next(row)",
    "a context": "kept = ContextVar('kept', default=Own())\ndef draw(): return kept.get().draw()",
    "an overload": "def draw(): return dealt(1)",
    "a proxy": "draw = Lazy(lambda: one_more.rng).random",
    "a lazy one": "one = Lazy(lambda: one_more.rng)\ndef draw(): return one.random()",
    "a weak reference": "own = Own()\nweak = weakref.ref(own)\ndef draw(): return weak().draw()",
}
LOOPS = """
@trax.resumable(every_steps=1)
def plain():
    for _ in range(6):
        yield draw()

@trax.resumable(create=float, replay_log=lambda total, x: total + x, every_steps=1)
def declared(total):
    for _ in trax.steps(6):
        yield draw()
"""
IMPORTS = """
import functools, random, weakref
from collections import deque
from contextvars import ContextVar
import numpy, wrapt
import trax
"""


def _start(text: str) -> dict[str, Any]:
    """Run a script as a new process would; a function of one is no other's."""
    Path("script.py").write_text(IMPORTS + SAMPLER + text + LOOPS)
    return runpy.run_path("script.py", run_name="script")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loop", ["plain", "declared"])
def test_an_rng_goes_on_wherever_it_is_reached(kind: str, loop: str) -> None:
    """Although no step is run again after the crash."""
    whole = list(_start(KINDS[kind])[loop]())
    with _start(KINDS[kind])[loop].fresh() as run:
        begun = [next(run) for _ in range(3)]
    assert [*begun, *_start(KINDS[kind])[loop]()] == whole


UNREADABLE = """
class Shut:
    def __getattribute__(self, name):
        raise RuntimeError(name)

class Table(dict):
    def items(self):
        raise RuntimeError
    __iter__ = __len__ = items

class Asked(type):
    def __getattr__(cls, name):
        raise RuntimeError(name)

class Odd(metaclass=Asked):
    pass

shut, table, odd, own = Shut(), Table(a=1), Odd(), Own()
things = [shut, table, odd]
def draw():
    return one_more.draw() + len([shut, table, odd, things])
"""


@pytest.mark.parametrize(
    "last", ["", "shut = weakref.proxy(own)\ndel own"], ids=["raising", "gone"]
)
@pytest.mark.parametrize("loop", ["declared", "plain"])
def test_what_cannot_be_read_ends_no_run(last: str, loop: str) -> None:
    """Nor does a reference to an object that is gone."""
    text = UNREADABLE + last
    whole = list(_start(text)[loop]())
    with _start(text)[loop].fresh() as run:
        begun = [next(run) for _ in range(3)]
    assert [*begun, *_start(text)[loop]()] == whole


MADE = {
    "made": """
made = None
def draw():
    global made
    made = made or random.Random(5)
    return made.random()
""",
    "one.rng": """
class One:
    @functools.cached_property
    def rng(self):
        return random.Random(5)
one = One()
def draw(): return one.rng.random()
""",
    "rng(": """
@functools.cache
def rng(): return random.Random(5)
def draw(): return rng().random()
""",
    "row.rng": """
def rows():
    rng = random.Random(5)
    while True:
        yield rng.random()
row = rows()
def draw(): return next(row)
""",
}


@pytest.mark.parametrize("place", MADE)
@pytest.mark.parametrize("loop", ["plain", "declared"])
def test_an_rng_that_is_made_when_it_is_first_used_is_told(
    place: str, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A resumed run makes it again."""
    list(_start(MADE[place])[loop]())
    (line,) = [line for line in caplog.messages if "is not stored" in line]
    assert f"variable {place}" in line
    list(_start(MADE[place].replace("random.Random(5)", "random"))[loop].fresh())
    assert len([line for line in caplog.messages if "is not stored" in line]) == 1
