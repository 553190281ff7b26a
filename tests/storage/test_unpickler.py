"""Classes and functions that were moved or renamed: named where missing, found where told."""

from __future__ import annotations

import gc
import math
import os
import pickle
import sys
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle.cloudpickle
import numpy as np
import pytest
from support import run_script

import trax
from trax import CodecError
from trax.storage import codec, definitions
from trax.storage.codec import Encoded, Names, decode, encode
from trax.storage.definitions import Definitions
from trax.storage.unpickler import present_name


@pytest.mark.parametrize(
    ("name", "renames", "expected"),
    [
        ("m.A", {}, "m.A"),
        ("m.A", {"m.A": "n.B"}, "n.B"),
        ("m.A", {"m.A": "n.B", "m": "o"}, "n.B"),
        ("m.C", {"m.A": "n.B", "m": "o"}, "o.C"),
        ("m.A.move", {"m.A": "n.B"}, "n.B.move"),
        ("pkg.m.A", {"pkg": "p", "pkg.m": "q.r"}, "q.r.A"),
        ("m.AB", {"m.A": "n.B"}, "m.AB"),
        ("m.A", {"m.A": "m.B", "m.B": "m.A"}, "m.B"),
        ("m.A", {"m.A": "m.B", "m.B": "m.C"}, "m.B"),
    ],
)
def test_the_longest_name_that_fits_counts(
    name: str, renames: dict[str, str], expected: str
) -> None:
    """Classes take their methods along, modules their classes, and nothing is followed further."""
    assert present_name(name, renames) == expected


class _World:
    """Stands for a class of the modules below."""

    def __init__(self) -> None:
        self.values = np.arange(3.0)

    def advance(self, increment: float) -> Any:
        self.values += increment
        return self


def module(monkeypatch: pytest.MonkeyPatch, name: str, **classes: str) -> ModuleType:
    """Make a module that has classes of these names."""
    made = ModuleType(name)
    for class_name, inner in classes.items():
        kind = type(class_name, (_World,), {"__module__": name, "__qualname__": class_name})
        if inner:
            nested = type(inner, (), {"__module__": name, "__qualname__": f"{class_name}.{inner}"})
            setattr(kind, inner, nested)
        setattr(made, class_name, kind)
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> tuple[Encoded, ModuleType]:
    """Store an object of ``old.World`` and one of a class in it; then ``new.Planet`` is there."""
    old = module(monkeypatch, "old", World="Moon")
    encoded = encode([old.World(), old.World.Moon()], "state")
    monkeypatch.delitem(sys.modules, "old")
    return encoded, module(monkeypatch, "new", Planet="Moon", World="Moon")


def test_a_renamed_class_is_found(moved: tuple[Encoded, ModuleType]) -> None:
    """With what is in it, and with its memory writable as it was."""
    encoded, new = moved
    planet, moon = decode(encoded, "state", Names({"old.World": "new.Planet"}))
    assert type(planet) is new.Planet
    assert type(moon) is new.Planet.Moon
    assert planet.advance(1.0).values.tolist() == [1.0, 2.0, 3.0]


def test_a_moved_module_takes_its_classes_along(moved: tuple[Encoded, ModuleType]) -> None:
    """One line is enough for all of them."""
    encoded, new = moved
    world, moon = decode(encoded, "state", Names({"old": "new"}))
    assert type(world) is new.World
    assert type(moon) is new.World.Moon


def test_what_is_missing_is_named_with_the_line_that_finds_it(
    moved: tuple[Encoded, ModuleType],
) -> None:
    """Exactly the module and the name, and where the line goes."""
    with pytest.raises(CodecError) as caught:
        decode(moved[0], "the state")
    message = str(caught.value)
    assert message.startswith("the state cannot be loaded: old.World cannot be imported any more")
    for part in (
        "ModuleNotFoundError: No module named 'old'",
        "renames={'old.World': 'new.module.World'}",
        "resumable(...), trax.load(...) or Trax(...)",
    ):
        assert part in message


def test_a_missing_name_is_found_behind_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first that cannot be found is named, also in a module that is there."""
    old = module(monkeypatch, "old", Here="", Gone="Inner")
    payload = pickle.dumps([old.Here(), old.Gone.Inner()], 5)
    del old.Gone
    with pytest.raises(CodecError, match=r"old\.Gone\.Inner cannot be imported.*AttributeError"):
        decode(payload, "an increment")
    with pytest.raises(CodecError, match=r"old\.Gone\.Inner cannot be imported"):
        decode(payload, "an increment", Names({"old.Here": "old.Here"}))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("new.Comet", "AttributeError: module 'new' has no attribute 'Comet'"),
        ("newer.World", "ModuleNotFoundError: No module named 'newer'"),
        ("pkg.needy.World", "ModuleNotFoundError: No module named 'no_such_library'"),
    ],
)
def test_a_new_name_that_is_not_there_is_named(
    target: str,
    reason: str,
    moved: tuple[Encoded, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says which rename led there, and what is missing, if that is something else."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "needy.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CodecError) as caught:
        decode(moved[0], "state", Names({"old.World": target}))
    assert f"renames maps old.World to {target}, which cannot be imported" in str(caught.value)
    assert reason in str(caught.value)


def test_an_attribute_that_an_object_misses_itself_is_not_taken_for_a_name() -> None:
    """No renaming would help there."""
    with pytest.raises(CodecError) as caught:
        decode(pickle.dumps(_Restless()), "state")
    assert str(caught.value) == "state cannot be loaded: AttributeError: no spin here."


class _Restless:
    def __getstate__(self) -> Any:
        return {"x": 1}

    def __setstate__(self, state: Any) -> None:
        raise AttributeError("no spin here.")


def test_without_renames_plain_pickle_alone_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million small increments are loaded at C speed."""

    def refuse(*args: Any) -> Any:
        raise AssertionError("the slower way was taken")

    monkeypatch.setattr(codec, "Finder", refuse)
    assert decode(pickle.dumps(_World, 5), "kind") is _World
    assert decode(encode(_World, "kind"), "kind", Names({})) is _World


def test_a_module_that_a_function_by_value_uses_may_have_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """cloudpickle stores it by its name, in a way of its own."""
    names: dict[str, Any] = {"old": module(monkeypatch, "old", World="")}
    exec("def make(): return lambda: old.World", names)
    encoded = encode(names["make"](), "function")
    monkeypatch.delitem(sys.modules, "old")
    with pytest.raises(CodecError, match=r"(?s)old cannot be imported.*renames=\{'old': "):
        decode(encoded, "function")
    new = module(monkeypatch, "new", World="")
    assert decode(encoded, "function", Names({"old": "new"}))() is new.World


def test_a_local_class_may_have_a_new_name_or_use_a_module_that_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The renames hold for it, and for its stored code."""
    space: dict[str, Any] = {"old": module(monkeypatch, "old", World=""), "__name__": "script"}
    exec("def make():\n class Local(old.World): pass\n return Local", space)
    local = space["make"]()
    encoded = encode(local(), "state", Names(definitions=Definitions(lambda: [local])))
    monkeypatch.delitem(sys.modules, "old")
    # As in another process: neither trax nor cloudpickle knows the class.
    monkeypatch.setattr(definitions, "_live", {})
    monkeypatch.setattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
    new = module(monkeypatch, "new", World="", Planet="")
    with pytest.raises(CodecError, match=r"(?s)old\.World cannot be imported.*renames=\{'old"):
        decode(encoded, "state")
    assert issubclass(type(decode(encoded, "state", Names({"old": "new"}))), new.World)
    renames = {"script.make.<locals>.Local": "new.Planet"}
    assert type(decode(encoded, "state", Names(renames))) is new.Planet


# -- whole scripts -------------------------------------------------------------------------

BEFORE = """
import os, signal
import trax

class Kick:
    def __init__(self, size):
        self.size = size

class World:
    def __init__(self):
        self.total = 0
    def advance(self, kick):
        self.total += kick.size
        return self

@trax.resumable(create=World, replay_log=World.advance, every_steps=4)
def simulate(world):
    for i in trax.steps(10):
        if i == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        world = yield Kick(i)

simulate().result()
"""

MODULE = """
class Kick:
    def __init__(self, size):
        self.size = size

class Planet:
    def __init__(self):
        self.total = 0
    def advance(self, kick):
        self.total += kick.size
        return self
"""

AFTER = """
import trax
import planets

RENAMES = {"__main__.World": "planets.Planet", "__main__": "planets"}

@trax.resumable(create=planets.Planet, replay_log=planets.Planet.advance, every_steps=4,
                renames=OPTION)
def simulate(world):
    for i in trax.steps(10):
        world = yield planets.Kick(i)

if OPTION:
    assert simulate.load().total == trax.load("simulate", renames=RENAMES).total == 15
    assert type(trax.Trax(renames=RENAMES).recover("simulate")) is planets.Planet
run = simulate()
assert run.resumed_at == 6
print(run.result().total, type(run.state) is planets.Planet)
"""


def test_a_run_goes_on_after_its_classes_have_moved(store_here: Path) -> None:
    """State, increments and the stored replay_log; without renames nothing is changed."""
    assert run_script(BEFORE, check=False).returncode == -9
    Path("planets.py").write_text(MODULE)
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*")}
    failed = run_script(AFTER.replace("OPTION", "{}"), check=False)
    assert "CodecError: the state of the run 'simulate' cannot be loaded" in failed.stderr
    assert "__main__.World cannot be imported any more" in failed.stderr
    assert "another one may have stored this" in failed.stderr
    assert "renames={'__main__.World': 'new.module.World'}" in failed.stderr
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*")} == before
    done = run_script(AFTER.replace("OPTION", "RENAMES"))
    assert done.stdout == "45 True\n"


def test_the_result_of_a_run_goes_through_renames(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its state does."""
    old = module(monkeypatch, "old", World="")

    def loop(n: int) -> Generator[int, int, Any]:
        yield 1
        return old.World()

    trax.resumable(create=int)(loop)().result()
    monkeypatch.delitem(sys.modules, "old")
    new = module(monkeypatch, "new", World="")
    renamed: Any = trax.resumable(create=int, renames={"old": "new"})(loop)
    assert type(renamed().result()) is new.World


def test_an_increment_that_is_the_state_goes_through_renames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where replay_log is left out; what is stored next has the present name."""
    module(monkeypatch, "old", World="")

    def loop(world: Any) -> Iterator[Any]:
        for _ in trax.steps(3):
            yield sys.modules["new" if "new" in sys.modules else "old"].World()

    with trax.resumable(create=lambda: None)(loop)() as run:
        next(run)
    monkeypatch.delitem(sys.modules, "old")
    new = module(monkeypatch, "new", World="")
    renames = {"old.World": "new.World"}
    later: Any = trax.resumable(create=lambda: None, renames=renames)(loop)
    assert type(later.load()) is type(later().result()) is new.World
    assert type(trax.load("loop")) is new.World


def test_an_argument_whose_class_has_moved_is_the_same_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what it holds: instances, classes, their methods, and modules."""

    class Holder:
        def __init__(self, module: ModuleType, number: int) -> None:
            world = module.World
            self.parts = {"a": [world, world.advance, number], module: {world()}}

    def loop(n: int, holder: Holder, other: Any, to: int) -> Generator[int, int, None]:
        while n < to:
            n = yield n + 1

    monkeypatch.setattr(_World, "__eq__", lambda one, other: type(one) is type(other))
    monkeypatch.setattr(_World, "__hash__", lambda self: 1)
    old = module(monkeypatch, "old", World="")
    options: Any = {"create": int, "varying": "to", "name": "loop"}
    trax.resumable(**options)(loop)(Holder(old, 1), old.World(), to=2).result()
    monkeypatch.delitem(sys.modules, "old")
    new = module(monkeypatch, "new", World="")
    moved = trax.resumable(**options, renames={"old": "new"})(loop)
    with pytest.raises(trax.ArgumentsChangedError, match="holder"):
        next(trax.resumable(**options)(loop)(Holder(new, 1), new.World(), to=3))
    with pytest.raises(trax.ArgumentsChangedError, match=r"holder.*\n.*\Z") as changed:
        next(moved(Holder(new, 2), new.World(), to=3))
    assert "other:" not in str(changed.value)
    with moved(Holder(new, 1), new.World(), to=2) as run:
        assert run.done
    with moved(Holder(new, 1), new.World(), to=4) as run:
        assert next(run) == 3
        run.close()
    # What is stored now has the new names, with which the renames do no harm.
    assert moved(Holder(new, 1), new.World(), to=4).result() == 4
    again = trax.resumable(**options)(loop)
    assert again(Holder(new, 1), new.World(), to=5).result() == 5


def test_a_varying_argument_whose_class_has_moved_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that is done is not begun again for that."""

    def loop(n: int, world: Any) -> Generator[int, int, None]:
        calls.append(world)
        yield n + 1

    calls: list[Any] = []
    old = module(monkeypatch, "old", World="")
    trax.resumable(create=int, varying="world")(loop)(old.World()).result()
    monkeypatch.delitem(sys.modules, "old")
    new = module(monkeypatch, "new", World="")
    moved = trax.resumable(create=int, varying="world", renames={"old": "new"})(loop)
    assert moved(new.World()).done
    assert len(calls) == 1


def test_what_was_loaded_lives_no_longer_than_its_user_wants() -> None:
    """The finder and its memo wait for no garbage collector: a generator ends at once, say."""

    def local() -> int:
        return 1

    class Local:
        pass

    obj = [np.arange(3), local, Local(), math, os.path.join]
    encoded = encode(obj, "state")
    gc.collect()
    gc.disable()
    try:
        back = decode(encoded, "state", Names({"former.Name": "present.Name"}))
        array = weakref.ref(back[0])
        del back
        assert array() is None
    finally:
        gc.enable()
