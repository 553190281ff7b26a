"""What a person sees of the package: names, types, errors, and what the import costs."""

from __future__ import annotations

import inspect
import pickle
import pickletools
import subprocess
import sys
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, assert_type

import pytest
import wrapt
from support import PUBLIC, run_script

import trax
import trax.testing


class World:
    """A state."""

    x = 0.0

    @classmethod
    def at_rest(cls, seed: int = 0) -> World:
        return cls()

    def advance(self, increment: float) -> World:
        self.x += increment
        return self


@trax.resumable(create=World.at_rest, replay_log=World.advance)
def simulate(world: World, steps: int, seed: int = 0) -> Generator[float, World, None]:
    for _ in trax.steps(steps):
        yield 0.5


@trax.resumable(create=lambda: None)
def returns(state: int | None, n: int) -> Generator[int, int, str]:
    yield n
    return "the end"


@trax.resumable(create=int)
def iterates(state: int) -> Iterator[bytes]:
    yield b""


@trax.resumable(create=int, renames={"m.A": "n.B"}, version=2, migrate=lambda state, _: state)
def versioned(state: int) -> Iterator[bytes]:
    yield b""


@trax.resumable(create=World.at_rest, replay_log=World.advance)
async def fetch(world: World, steps: int) -> AsyncGenerator[float, World]:
    yield 0.5


@trax.resumable(create=lambda: None)
async def listens(state: int | None, n: int) -> AsyncIterator[int]:
    yield n


class Holder:
    """Has methods."""

    @trax.resumable(create=World)
    async def listens(self, world: World, n: int) -> AsyncIterator[World]:
        yield world

    @trax.resumable(create=World)
    def method(self, world: World, n: int) -> Generator[World, World, World]:
        yield world
        return world


def test_an_editor_knows_the_types() -> None:
    """State, increment and result; mypy checks these lines, running them does nothing more."""
    run = simulate(steps=3)
    assert_type(run, trax.Run[World, float, None])
    assert_type(run.state, World)
    assert_type(next(iter(run)), float)
    assert_type(run.result(), World)
    assert_type(simulate.fresh(steps=3), trax.Run[World, float, None])
    assert_type(simulate.load(), World)
    assert_type(returns(3).result(), str)
    assert_type(iterates().result(), int)
    assert_type(versioned().result(), int)
    assert_type(trax.step, Callable[[], trax.Step])
    assert_type(trax.verify("simulate").generations[0].number, int)
    assert_type(trax.repair("simulate"), trax.Repaired)
    assert_type(Holder().method(n=1), trax.Run[World, World, World])
    assert_type(fetch(steps=3), trax.AsyncRun[World, float])
    assert_type(fetch(steps=3).state, World)
    assert_type(fetch.fresh(steps=3), trax.AsyncRun[World, float])
    assert_type(fetch.load(), World)
    assert_type(listens(3), trax.AsyncRun[int | None, int])
    assert_type(Holder().listens(n=1), trax.AsyncRun[World, World])


async def check_async_types() -> None:
    """The same behind an `await`; only mypy reads these lines."""
    assert_type(await fetch(steps=3).result(), World)
    async with fetch(steps=3) as run:
        assert_type(run, trax.AsyncRun[World, float])
        assert_type(await anext(run), float)
        assert_type([increment async for increment in run], list[float])


def test_everything_public_is_listed_and_documented() -> None:
    """`__all__` is complete, sorted, and each name has a docstring."""
    assert trax.__all__ == sorted(trax.__all__)
    for name in trax.__all__:
        if name != "__version__":
            assert getattr(trax, name).__doc__, name


def parts(public: Any) -> Iterator[Any]:
    """Yield a class or a function, and the public functions of the class."""
    yield public
    for name in dir(public) if isinstance(public, type) else ():
        member = inspect.getattr_static(public, name)
        member = member.fget if isinstance(member, property) else getattr(public, name)
        is_public = inspect.isfunction(member) and not name.startswith("_")
        if is_public and member.__module__.startswith("trax"):  # others are a library's
            yield member


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_what_is_public_says_so_and_is_pickled_by_that_name(package: Any, name: str) -> None:
    """A store never contains in which module of trax something is."""
    public = getattr(package, name)
    assert (public.__module__, public.__qualname__) == (package.__name__, name)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(public, protocol)
        assert pickle.loads(pickled) is public
        said = [text for _, text, _ in pickletools.genops(pickled) if isinstance(text, str)]
        assert " ".join(said) == f"{package.__name__} {name}"


@pytest.mark.parametrize(
    "value",
    [
        trax.Step(3, "key"),
        trax.Since(1, 2.0),
        trax.CorruptionError("message", "path", 7),
        trax.Preempted("name", 3, "SIGTERM"),
        trax.testing.Checked(1, 2),
    ],
)
def test_nor_do_objects_of_public_classes_say_so(value: Any) -> None:
    """Of any class that can be pickled."""
    pickled = pickle.dumps(value)
    said = [text for _, text, _ in pickletools.genops(pickled) if isinstance(text, str)]
    assert {text for text in said if text.startswith("trax")} == {type(value).__module__}
    assert type(pickle.loads(pickled)) is type(value)


def test_a_verification_is_pickled_with_all_that_it_contains() -> None:
    """By public names alone, too."""
    trax.Trax().checkpoint(a=1)
    found = trax.verify("a")
    pickled = pickle.dumps(found)
    assert pickle.loads(pickled) == found
    assert b"trax." not in pickled.replace(b".trax", b"")


def type_hints(public: Any) -> dict[str, Any]:
    """Return the annotations of a class or a function, evaluated."""
    if isinstance(public, type) and issubclass(public, wrapt.FunctionWrapper):
        return inspect.get_annotations(public, eval_str=True)  # those of wrapt break typing's
    return typing.get_type_hints(public)


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_what_is_public_has_type_hints_and_functions_have_their_source(
    package: Any, name: str
) -> None:
    """As if it were defined where it says."""
    for public in parts(getattr(package, name)):
        hints = type_hints(public)
        assert not any(isinstance(hint, str) for hint in hints.values())
        if inspect.isfunction(public):
            assert f"def {public.__name__}" in inspect.getsource(public)


def test_the_import_is_light() -> None:
    """It pulls in none of the heavy modules that only some users need."""
    script = (
        "import sys, cloudpickle, wrapt\n"
        "before = set(sys.modules)\n"
        "import trax\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "tqdm", "matplotlib", "asyncio", "sklearn", "multiprocessing", "hypothesis"}
    imported = done.stdout.split()
    assert "trax" in imported
    assert not heavy & set(imported)


def test_an_isolated_subinterpreter_is_refused_by_name() -> None:
    """Where there are such: modules that trax needs cannot be imported there, or crash later."""
    script = """
import importlib, sys
module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
try:
    interpreters = importlib.import_module(module)
except ModuleNotFoundError:
    sys.exit()
code = f"import sys; sys.path[:] = {sys.path}" + '''
try:
    import trax
except ImportError as error:
    print(error, flush=True)
'''
ended = interpreters.run_string(interpreters.create(), code)
assert ended is None, ended
"""
    done = run_script(script)
    if sys.version_info >= (3, 12):
        assert done.stdout.startswith("trax cannot be imported in an isolated subinterpreter.\n")
        assert "ProcessPoolExecutor" in done.stdout
