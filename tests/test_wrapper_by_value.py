"""Decorated functions of a script travel to workers that have neither the script nor its file."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from support import run_script

import trax

# In each script `works` has functions of one argument, the number of steps.
KINDS = """
import asyncio, functools
import trax

@trax.resumable(every_steps=2)
async def plain(n):
    total = 0
    for i in range(n):
        total += i
        yield total

@trax.resumable(create=int)
async def declared(state, n):
    while state < n:
        state = yield state + 1

class Model:
    @trax.resumable
    def train(self, n):
        for i in range(n):
            yield i

    @trax.resumable
    @classmethod
    def of_class(cls, n):
        for i in range(n):
            yield cls.__name__, i

    @trax.resumable
    @staticmethod
    def static(n):
        for i in range(n):
            yield i

class Better(Model):
    pass

def outer(offset):
    @trax.resumable(name="inner")
    def inner(n):
        for i in range(n):
            yield offset + i

    return inner

@trax.resumable(name="{name}")
def loop(n, name):
    for i in range(n):
        yield i

class Task:
    def __init__(self, function):
        self.function = function

    def __call__(self, n):
        return self.function(n)

def square(i):
    return i * i

def mapped(n):
    return trax.map(square, range(n))

def loaded(n):
    loop(n, "loaded").result()
    return [loop.load(name="loaded").step]

async def listed(run):
    return [increment async for increment in run]

def drive(work, n):
    run = work(n)
    return asyncio.run(listed(run)) if hasattr(run, "__aiter__") else [*run]

works = [
    plain,
    declared,
    functools.partial(Model.train, Model()),
    Better.of_class,
    Model.static,
    outer(5),
    functools.partial(loop, name="partial"),
    Task(functools.partial(loop, name="task")),
    lambda n: loop(n, "lambda"),
    lambda n: loop.fresh(n, "fresh"),
    mapped,
    loaded,
]
works = [functools.partial(drive, work) for work in works]
"""
FOUND = [
    [0, 1, 3],
    [1, 2, 3],
    [0, 1, 2],
    [("Better", 0), ("Better", 1), ("Better", 2)],
    [0, 1, 2],
    [5, 6, 7],
    *[[0, 1, 2]] * 4,
    [(0, 0), (1, 1), (2, 4)],
    [3],
]
SEND = """
from {module} import dumps
from pathlib import Path

Path("works.pickle").write_bytes(dumps(works))
"""
WORK = """
import pickle, sys
from pathlib import Path

for work in pickle.loads(Path("works.pickle").read_bytes()):
    print(work(int(sys.argv[1])))
"""


def send(script: str, module: str = "cloudpickle") -> None:
    """Let a script send its works, and remove it."""
    run_script(script + SEND.format(module=module))
    for path in Path.cwd().glob("script-*"):
        shutil.rmtree(path)


def work(n: int, *, check: bool = True) -> list[str]:
    """Let a worker do the works that were sent."""
    return run_script(WORK, str(n), check=check).stdout.splitlines()


@pytest.mark.parametrize("module", ["cloudpickle", "engine.cloudpickle"])
def test_each_kind_of_function_travels(module: str) -> None:
    """With cloudpickle, or with the copy that an engine has of it."""
    shutil.copytree(Path(cloudpickle.__file__).parent, "engine/cloudpickle")
    send(KINDS, module)
    assert work(3) == [str(found) for found in FOUND]


FIXED = """
import dataclasses, enum, os
import trax

class Part:
    def __init__(self, i):
        self.i = i

    def show(self):
        return f"{TEXT} {self.i}"

class Other:
    def show(self):
        return TEXT

@dataclasses.dataclass
class Data:
    i: int

    def show(self):
        return TEXT

class Color(enum.Enum):
    RED = 1

    def show(self):
        return TEXT

class Registry:
    kinds = [Other]

class Factory:
    def __init__(self):
        self.make = make

def make(i):
    return Data(i)

PARTS = {"part": Part}
REGISTRY = Registry()
FACTORY = Factory()

@trax.resumable(every_steps=1)
def plain(n):
    made = []
    for i in range(n):
        if i == STOP:
            os.kill(os.getpid(), 9)
        made += [PARTS["part"](i), REGISTRY.kinds[0](), FACTORY.make(i), Color.RED]
        yield i
    return {type(one) for one in made}, [one.show() for one in made[:4]]

@trax.resumable(create=list, replay_log="append", every_steps=2)
def declared(made, n):
    while len(made) < n:
        if len(made) == STOP:
            os.kill(os.getpid(), 9)
        yield PARTS["part"](len(made))

def run_plain(n):
    kinds, texts = plain(n).result()
    return kinds == {Part, Other, Data, Color}, texts

def run_declared(n):
    made = declared(n).result()
    return {type(one) is Part for one in made}, made[0].show()

works = [run_plain, run_declared]
"""
HERE = """
for work in works:
    print(work(5))
"""
NEW = [
    "(True, ['new 0', 'new', 'new', 'new'])",
    "({True}, 'new 0')",
]


def fixed(text: str, stop: int) -> str:
    return f"TEXT, STOP = {text!r}, {stop}\n{FIXED}"


@pytest.mark.parametrize("begins_here", [False, True])
@pytest.mark.parametrize("ends_here", [False, True])
def test_fixed_code_runs_wherever_the_run_was_begun(*, begins_here: bool, ends_here: bool) -> None:
    """Also that of classes that the loop finds in data of its module.

    There are two places: the script, and workers to which it sends its functions.
    """
    for which in range(2):
        broken = f"{fixed('old', 3)}works = [works[{which}]]\n"
        if begins_here:
            assert run_script(broken + HERE, check=False).returncode == -9
        else:
            send(broken)
            assert not work(5, check=False)
    mended = fixed("new", -1)
    if ends_here:
        found = run_script(mended + HERE).stdout.splitlines()
    else:
        send(mended)
        found = work(5)
    assert found == NEW


class Thing:
    @trax.resumable
    def method(self, n: int) -> Iterator[int]:
        yield from range(n)

    @trax.resumable
    @classmethod
    def of_class(cls, n: int) -> Iterator[tuple[str, int]]:
        for i in range(n):
            yield cls.__name__, i

    @trax.resumable
    @staticmethod
    def static(n: int) -> Iterator[int]:
        yield from range(n)


class Special(Thing): ...


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_methods_travel_by_the_names_of_their_classes(dumps: Any) -> None:
    """Also if it is a class that they are taken from, instead of an object."""
    methods = Thing.method, Special.of_class, Thing.static
    method, of_class, static = pickle.loads(dumps(methods))
    assert [type(one) for one in (method, of_class, static)] == [type(one) for one in methods]
    assert [*method(Thing(), 2)] == [0, 1]
    assert [*of_class(2)] == [("Special", 0), ("Special", 1)]
    assert [*static(2)] == [0, 1]


DIRECTORIES = """
import os
import trax

@trax.resumable
def by_default(n):
    yield from range(n)

@trax.resumable(traxdir="other")
def given(n):
    yield from range(n)

class Model:
    @trax.resumable
    def method(self, n):
        yield from range(n)

def elsewhere(function, *arguments):
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    try:
        return function(*arguments, 2).result()
    finally:
        os.chdir("..")

works = [
    lambda n: elsewhere(by_default),
    lambda n: elsewhere(given),
    lambda n: elsewhere(Model.method, Model()),
]
"""


def test_the_store_of_a_function_is_that_of_the_process_that_sends_it() -> None:
    """A relative path is not that of the directory in which a worker happens to be."""
    send(DIRECTORIES)
    work(2)
    assert not Path("elsewhere/.trax").exists()
    assert trax.load("by_default").step == 2
    assert trax.load("given", traxdir="other").step == 2
    assert trax.load("method").step == 2


# -- what belongs to a loop and is found by no variable of its module ------------------------

HELPERS = """
import dataclasses

def numbers(n):
    for i in range(n):
        yield i * i

def wrapped(function):
    def wrapper(*args):
        for one in function(*args):
            yield one + 1

    return wrapper

@wrapped
def counted(n):
    yield from range(n)

def made(k):
    def inner(n):
        for i in range(n):
            yield i + k

    @dataclasses.dataclass
    class Local:
        n: int

        def items(self):
            yield from inner(self.n)

    return inner, Local

inner, Local = made(3)

class Outer:
    class Empty:
        pass

    class Inner:
        def __init__(self, n):
            self.__n = n

        def items(self):
            yield from self.__items()

        def __items(self):
            yield from range(self.__n)

@dataclasses.dataclass(slots=True)
class Slotted:
    n: int
    unset: int = dataclasses.field(init=False)

class Table:
    def items(self, n):
        yield from range(n)

def negative(n):
    for i in range(n):
        yield -i

TABLE = {"class": Table, "function": negative}
THING = Table()
ADD = [lambda i: i + 1, lambda i: i + 2]
double = lambda n: (2 * i for i in range(n))
"""
LOOPS = """
import trax

@trax.resumable(every_steps=1)
def of_functions(n):
    for items in zip(numbers(n), counted(n), inner(n), TABLE["function"](n), double(n)):
        yield items

@trax.resumable(every_steps=1)
def of_classes(n):
    all = [Local(n), Outer.Inner(n), Outer.Empty(), TABLE["class"](), Slotted(n)]
    kinds = [Local, Outer.Inner, Outer.Empty, TABLE["class"], Slotted]
    for items in zip(all[0].items(), all[1].items(), all[3].items(n), THING.items(n)):
        yield items, [type(one) is kind for one, kind in zip(all, kinds)]

@trax.resumable(every_steps=1)
def of_values(n):
    add, own = [ADD[1], numbers], lambda i: i + n
    for i in (i for i in range(n)):
        is_same_module = own.__globals__ is loops.__globals__
        yield add[0](i), own(i), add[1] is numbers, is_same_module

def loops():
    return [of_functions, of_classes, of_values]

def go(loops, stop):
    for loop in loops():
        for increment in (run := loop(6)):
            print(loop.__name__, increment, flush=True)
            if run.step == stop:
                break
        run.close()
"""
PLACES = """
import multiprocessing, sys
from pathlib import Path
import cloudpickle

if "helpers" in sys.modules:
    cloudpickle.register_pickle_by_value(sys.modules["helpers"])
if __name__ == "__main__":
    place, stop = sys.argv[1], int(sys.argv[2])
    Path("loops.pickle").write_bytes(cloudpickle.dumps((go, loops)))
    if place == "here":
        go(loops, stop)
    elif place == "spawned":
        process = multiprocessing.get_context("spawn").Process(target=go, args=(loops, stop))
        process.start()
        process.join()
"""
CELLS = """
import ast, linecache, sys
from pathlib import Path

text = Path("cells.py").read_text()
del __file__
for number, node in enumerate(ast.parse(text).body):
    first = min(one.lineno for one in (node, *getattr(node, "decorator_list", [])))
    cell = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
    linecache.cache[f"<cell {number}>"] = 1, None, cell, f"<cell {number}>"
    exec(compile("".join(cell), f"<cell {number}>", "exec"), globals())
"""
WORKER = """
import pickle, sys
from pathlib import Path
import cloudpickle

def unrelated(*_):
    raise AssertionError

numbers = wrapped = counted = negative = go = unrelated

class Outer:
    class Inner: ...

class Table: ...

go, loops = pickle.loads(Path("loops.pickle").read_bytes())
Path("loops.pickle").write_bytes(cloudpickle.dumps((go, loops)))  # it sends them on
go(loops, int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("places", "kind"),
    [
        ("here worker here", "script"),
        ("worker worker here", "script"),
        ("spawned here spawned", "script"),
        ("worker spawned worker", "script"),
        ("here worker here", "notebook"),
        ("worker worker here", "notebook"),
        ("here worker worker", "module"),
    ],
)
def test_a_loop_goes_on_wherever_it_was_begun(places: str, kind: str) -> None:
    """In the script or notebook, in workers that it sends its loops to, and in spawned ones."""
    script = HELPERS + LOOPS + PLACES
    if kind == "notebook":
        Path("cells.py").write_text(script)
        script = CELLS
    elif kind == "module":  # that is not where the workers are
        Path("helpers.py").write_text(HELPERS)
        script = f"from helpers import *\n{LOOPS}{PLACES}"
    undisturbed = run_script(script, "here", "-1").stdout.splitlines()
    assert len(undisturbed) == 3 * 6
    shutil.rmtree(".trax")
    found = []
    for place, stop in zip(places.split(), (2, 4, -1), strict=True):
        if place == "worker":
            Path("helpers.py").unlink(missing_ok=True)
        done = run_script(WORKER if place == "worker" else script, place, str(stop))
        found += done.stdout.splitlines()
        assert "not used" not in done.stderr
        assert "changed" not in done.stderr
    assert sorted(found) == sorted(undisturbed)
    assert not any("False" in line for line in found)
