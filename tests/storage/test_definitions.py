"""Classes and functions that no name leads to come back as those at hand, or as copies."""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import operator
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from support import run_script

from trax.storage.codec import Names, decode, encode
from trax.storage.definitions import Definitions, Sent, by_name
from trax.storage.records import CLOUDPICKLE, PICKLE

T = TypeVar("T")


def make() -> dict[str, Any]:
    """Define a class of each kind, as a new process does, and a function that uses them."""

    class Phase(enum.Enum):
        HEAT = 1
        COOL = 2

    class Mode(enum.Flag):
        FAST = enum.auto()
        SAFE = enum.auto()

    class Point(NamedTuple):
        x: int
        y: int

    @dataclasses.dataclass
    class Body:
        mass: float

    @dataclasses.dataclass(frozen=True, slots=True)
    class Small:
        mass: float

    class BrokenError(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(code)

    class Box(Generic[T]):
        def __init__(self, value: Any) -> None:
            self.value = value

        class Lid:
            pass

    class Planet(Body):
        class Moon(Body):
            pass

    class Meta(type):
        pass

    class Odd(metaclass=Meta):
        pass

    phase = Phase.HEAT
    kinds = [Mode, Point]

    start, boxed = Planet(1.0), functools.partial(Box, 1)

    def loop(first: Any = start, *, kind: Any = BrokenError, partial: Any = boxed) -> Any:
        return phase, kinds, Small, Odd

    values = {
        "Enum": phase,
        "Flag": Mode.FAST | Mode.SAFE,
        "namedtuple": Point(1, 2),
        "dataclass": Planet(2.0),
        "base": Body(3.0),
        "inner": [Planet.Moon(3.0), Box.Lid()],
        "slots": Small(1.0),
        "exception": BrokenError(503),
        "generic": Box[int](1),
        "metaclass": [Odd(), Meta],
        "class": Phase,
    }
    return {"loop": loop, "values": values}


def names(*roots: Any) -> Names:
    """Return names for which these objects are at hand."""
    return Names(definitions=Definitions(lambda: roots))


def types(value: Any) -> list[type]:
    """Return the class of a value, or those in it."""
    if isinstance(value, list):
        return [kind for one in value for kind in types(one)]
    return [value if isinstance(value, type) else type(value)]


@pytest.mark.parametrize("kind", make()["values"])
def test_a_class_comes_back_as_the_one_at_hand(kind: str) -> None:
    """The loop of the next process leads to it, whichever kind of class it is."""
    before, after = make(), make()
    old, new = before["values"][kind], after["values"][kind]
    writer = names(before["loop"])
    encoded = encode(old, "state", writer)
    assert encoded.kind == CLOUDPICKLE
    assert not writer.definitions.copied
    back = decode(encoded, "state", names(after["loop"]))
    assert [*map(id, types(back))] == [*map(id, types(new))]
    if kind in ("Enum", "Flag"):
        assert back is new
    elif kind in ("namedtuple", "dataclass", "slots"):
        assert back == new


def test_in_the_same_process_the_very_class_comes_back_without_names() -> None:
    """Such as where a pickle is only tried."""
    made = make()
    phase = made["values"]["Enum"]
    assert decode(encode(phase, "state", names(made["loop"])), "state") is phase


def test_a_class_that_a_function_makes_anew_is_not_taken_for_another() -> None:
    """Only the one that is at hand by identity is stored by its name, and only one of a name."""

    def make_scaled(scale: int) -> Any:
        class Scaled:
            factor = scale

        return Scaled

    one, two = make_scaled(1), make_scaled(2)
    for roots in ([lambda: two], [lambda: (one, two)]):
        writer = names(*roots)
        back = decode(encode(one(), "state", writer), "state", names(lambda: two))
        assert back.factor == 1
        assert [*writer.definitions.copied] == [f"{__name__}.{one.__qualname__}"]


def test_two_classes_of_one_name_at_hand_are_not_guessed_from() -> None:
    """Then a copy comes back, and that is noted."""
    before, one, two = make(), make(), make()
    encoded = encode(before["values"]["Enum"], "state", names(before["loop"]))
    del before
    reader = names(one["loop"], two["loop"])
    back = decode(encoded, "state", reader)
    assert back not in (one["values"]["Enum"], two["values"]["Enum"])


def test_a_class_under_another_name_of_its_module_is_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``P = namedtuple("Point", ...)``, and ``Phase = make_phase()``."""

    def make_point(**fields: Any) -> Any:
        return dataclasses.make_dataclass("Point", fields, namespace={"__module__": __name__})

    kind, other = make_point(x=int), make_point(x=int)
    for one in (kind, other):
        one.__module__ = __name__
    monkeypatch.setattr(sys.modules[__name__], "P", kind, raising=False)
    encoded = encode(kind(1), "state")
    assert type(decode(encoded, "state")) is kind
    monkeypatch.setattr(sys.modules[__name__], "P", other)
    assert type(decode(encoded, "state")) is other


# -- functions -----------------------------------------------------------------------------


def acts(scale: Any, text: str = "") -> dict[str, Callable[..., Any]]:
    """Return functions that are bound to something, and a function that leads to them all."""

    class Kind:
        pass

    count = [0]

    def free() -> Any:
        return "free"

    def constant() -> Any:
        return scale, text

    def default(x: Any = scale) -> Any:
        return x

    def definitions(again: bool = True) -> Any:
        return Kind, free(), operator.add, definitions(False) if again else None

    def counting() -> Any:
        count[0] += 1
        return count[0]

    def loop() -> Any:
        return free, constant, default, definitions, counting

    return dict(locals())


@pytest.mark.parametrize("name", ["free", "constant", "default", "definitions"])
def test_a_function_without_state_comes_back_as_the_one_at_hand(name: str) -> None:
    """It may be bound to constants and to what is at hand, and so the fixed code runs."""
    before, after = acts(2, "a"), acts(2, "a")
    encoded = encode(before[name], "state", names(before["loop"]))
    assert decode(encoded, "state", names(after["loop"])) is after[name]


@pytest.mark.parametrize(("name", "value"), [("constant", (2, "")), ("default", 2)])
def test_a_function_with_another_constant_comes_back_as_a_copy(name: str, value: Any) -> None:
    """With the constant that it was stored with."""
    before, after = acts(2), acts(3)
    encoded = encode(before[name], "state", names(before["loop"]))
    del before
    reader = names(after["loop"])
    back = decode(encoded, "state", reader)
    assert back is not after[name]
    assert back() == value


def test_a_function_with_a_variable_that_changes_is_copied_with_it() -> None:
    """That variable is part of the state."""
    before, after = acts(1), acts(1)
    assert (before["counting"](), before["counting"]()) == (1, 2)
    writer = names(before["loop"])
    encoded = encode(before["counting"], "state", writer)
    assert len(writer.definitions.copied) == 1
    assert decode(encoded, "state", names(after["loop"]))() == 3
    assert after["counting"]() == 1


# -- names that lead to a newer one ----------------------------------------------------------


def cell(monkeypatch: pytest.MonkeyPatch, text: str, file: str) -> SimpleNamespace:
    """Run a cell of a notebook in this module."""
    space = vars(sys.modules[__name__])
    for name in ("World", "Mood", "act"):
        monkeypatch.setitem(space, name, space.get(name))
    exec(compile(text, file, "exec"), space)
    return SimpleNamespace(**{name: space[name] for name in ("World", "Mood", "act")})


CELL = """
class World:
    class Inner: pass
class Mood(__import__("enum").Enum):
    GOOD = 1
def act(): return "TEXT"
"""


def test_what_was_redefined_is_stored_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes, with those inside, members of an Enum and functions, as after a restart."""
    old = cell(monkeypatch, CELL, "<cell 1>")
    state = [old.World(), old.World.Inner(), old.World, old.Mood.GOOD, old.act]
    assert encode(state, "state").kind == PICKLE
    new = cell(monkeypatch, CELL.replace("TEXT", "new"), "<cell 2>")
    writer = names()
    back = decode(encode([*state, new.World()], "state", writer), "state")
    assert [*map(type, back[:2])] == [new.World, new.World.Inner]
    assert back[2:5] == [new.World, new.Mood.GOOD, new.act]
    assert type(back[5]) is new.World
    assert not writer.definitions.copied


def test_a_module_that_is_reloaded_has_the_present_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its text has become longer meanwhile."""
    text = "class World: pass\ndef act(): return 1\n"
    (tmp_path / "planets_reloaded.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = importlib.import_module("planets_reloaded")
    state = [module.World(), module.act]
    (tmp_path / "planets_reloaded.py").write_text(f"import sys\n\n\n{text}# longer\n")
    importlib.invalidate_caches()
    importlib.reload(module)
    back = decode(encode(state, "state"), "state")
    assert type(back[0]) is module.World
    assert back[1] is module.act


def test_a_function_that_was_wrapped_or_overloaded_is_not_taken_for_the_other() -> None:
    """Its name leads to something else, which is no newer one."""
    text = """
import functools, sys
from trax.storage.codec import encode, decode

def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return "wrapped", function(*args)
    return wrapper

@logged
def act():
    return "act"

handlers = []
@handlers.append
def _():
    return "first"
first = handlers[0]
@handlers.append
def _():
    return "second"
def _():
    return "third"

class Base: pass
base = Base
class Base(base): pass

back = decode(encode([act.__wrapped__, handlers, base()], "state"), "state")
print(back[0](), [one() for one in back[1]], type(back[2]) is base)
"""
    assert run_script(text).stdout == "act ['first', 'second'] True\n"


def test_a_name_that_leads_nowhere_or_to_something_else_is_no_name() -> None:
    """Then the code is copied."""
    other = type("Gone", (), {"__module__": __name__})
    assert by_name(other) is None
    other.__qualname__ = "make"
    assert by_name(other) is None
    assert by_name(int) is int
    assert by_name(lambda: 1) is None


# -- whole scripts -------------------------------------------------------------------------

SCRIPT = """
import enum, os, signal, sys
import trax

def main():
    class Phase(enum.Enum):
        HEAT = 1
        COOL = 2
    class World:
        def __init__(self):
            self.phase, self.seen, self.act = Phase.HEAT, [], act
        def advance(self, phase):
            assert type(phase) is Phase
            self.phase = phase
            self.seen.append(act())
            return self
    def act():
        return VALUE
    @trax.resumable(create=World, replay_log=World.advance, every_steps=3)
    def loop(world, n):
        for _ in trax.steps(n):
            assert type(world) is World and world.act is act
            world = yield Phase.COOL if world.phase is Phase.HEAT else Phase.HEAT
    return loop

if __name__ == "__main__":
    run = main()(n=10)
    for k, _ in enumerate(run):
        if sys.argv[1:] == ["die"] and k == 6:
            os.kill(os.getpid(), signal.SIGKILL)
    world = run.result()
    print(world.phase, *world.seen)
"""


def test_a_killed_loop_of_local_classes_resumes_with_the_present_ones() -> None:
    """State and increments; and the fixed code runs, also in the replay of the log."""
    assert run_script(SCRIPT.replace("VALUE", "1"), "die", check=False).returncode == -9
    done = run_script(SCRIPT.replace("VALUE", "2"))
    assert done.stdout == "Phase.HEAT 1 1 1 1 1 1 2 2 2 2\n"
    assert "resumed at step 7" in done.stderr
    assert "no name leads to" not in done.stderr


def test_another_script_sees_a_copy_of_a_local_class() -> None:
    """It need not have the class to look at the state."""
    run_script(SCRIPT.replace("VALUE", "1"), "die", check=False)
    script = "import trax\nworld = trax.load('loop')\nprint(type(world).__name__, world.phase.name)"
    assert run_script(script).stdout == "World COOL\n"


NOTEBOOK = """
import os, signal, sys
import trax

CELL = '''
class World:
    def __init__(self): self.x = 0
    def advance(self, d):
        self.x += d
        return self
    def hello(self): return "WORD"
'''
exec(CELL)
@trax.resumable(create=World, replay_log=World.advance, every_steps=5)
def loop(w, n):
    while w.x < n:
        w = yield 1
run = loop(n=20)
for k, _ in enumerate(run):
    if sys.argv[1:] == ["die"]:
        if k == 2:
            exec(CELL)  # the cell is run again
        if k == 9:
            os.kill(os.getpid(), signal.SIGKILL)
w = run.result()
print(type(w) is World, w.hello(), w.x)
"""


def test_a_class_that_was_redefined_while_its_run_was_open_is_the_present_one() -> None:
    """As if it had been defined once."""
    died = run_script(NOTEBOOK.replace("WORD", "old"), "die", check=False)
    assert (died.returncode, died.stderr) == (-9, "")
    assert run_script(NOTEBOOK.replace("WORD", "new")).stdout == "True new 20\n"


def test_pickles_of_local_classes_are_loaded_without_the_codec() -> None:
    """Plain pickle gives the class, if it is alive."""
    made = make()
    payload = encode(made["values"]["Enum"], "state", names(made["loop"])).payload
    assert pickle.loads(payload) is made["values"]["Enum"]


# -- functions that were sent --------------------------------------------------------------

SENT = """
import enum

class Phase(enum.Enum):
    HEAT = 1

class Outer:
    class Inner:
        pass

def loop():
    return Phase, Outer
"""


def script_of(name: str = "script") -> dict[str, Any]:
    """Run the script; return its variables, which are those of its functions."""
    variables: dict[str, Any] = {"__name__": name}
    exec(SENT, variables)
    return variables


@pytest.mark.parametrize("kind", ["Phase.HEAT", "Outer.Inner()"])
@pytest.mark.parametrize("is_stored_by_name", [True, False])
def test_a_function_that_was_sent_gets_its_own_classes(
    kind: str, is_stored_by_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although a module of its name is here, as that of the script in a worker of Dask."""
    here = ModuleType("script")
    vars(here).update(script_of())
    monkeypatch.setitem(sys.modules, "script", here)
    sent = script_of()
    names = Names({}, Definitions(lambda: [sent["loop"]]))
    there = Names({}, Definitions(lambda: [here.loop]))
    assert names.are_plain is False
    assert there.are_plain is True
    stored = encode(
        eval(kind, vars(here) if is_stored_by_name else sent),
        "the state",
        there if is_stored_by_name else names,
    )
    assert type(decode(stored, "the state", names)) is type(eval(kind, sent))
    assert type(decode(stored, "the state", there)) is type(eval(kind, vars(here)))
    assert not names.definitions.copied


def test_what_was_sent_is_not_taken_for_another_one_of_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's own script may have a class and a function of the same names, and no others."""
    text = """
class Table:
    def method(self): ...
def function(): ...
TABLE = [Table, function]
EMPTY = object()
def loop(): return TABLE, EMPTY
"""
    here = ModuleType("script")
    exec(compile(text, "<here>", "exec"), vars(here))
    del here.loop
    monkeypatch.setitem(sys.modules, "script", here)
    sent: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "<dynamic-code>", "exec"), sent)
    Sent({"script": {}}).add(sent["loop"])
    kind, function = sent.pop("Table"), sent.pop("function")  # its code does not name them
    assert by_name(kind) is None
    assert by_name(function) is None
    names = Names({}, Definitions(lambda: [sent["loop"]]))
    stored = encode([kind(), function, kind], "the state", names)
    back = decode(stored, "the state", names)
    assert (type(back[0]), back[1], back[2]) == (kind, function, kind)
    by_script = encode([here.Table(), here.function, here.EMPTY], "the state")
    assert by_script.kind == PICKLE
    back = decode(by_script, "the state", names)
    assert (type(back[0]), back[1], back[2]) == (kind, function, sent["EMPTY"])


def test_a_script_that_was_imported_for_a_worker_has_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """multiprocessing copies the variables of the script to its module."""
    variables = script_of("__mp_main__")
    here = ModuleType("__mp_main__")
    vars(here).update(variables)
    monkeypatch.setitem(sys.modules, "__mp_main__", here)
    monkeypatch.setitem(sys.modules, "__main__", here)
    names = Names({}, Definitions(lambda: [variables["loop"]]))
    assert names.are_plain
    stored = encode(variables["Phase"].HEAT, "the state", names)
    assert decode(stored, "the state", names) is here.Phase.HEAT
