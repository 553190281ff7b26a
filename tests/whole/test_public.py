"""What a person sees of the package: names, types, errors, and what the import costs."""

from __future__ import annotations

import ast
import inspect
import pickle
import pickletools
import sys
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, assert_type

import pytest
import wrapt
from support import PUBLIC, run_script

import trax
import trax.testing
from trax import _MODULES as MODULES


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


LIBRARIES = "import sys, cloudpickle, wrapt\nbefore = set(sys.modules)\nimport trax\n"


def test_the_import_is_light() -> None:
    """It loads a dozen modules, and of the standard library none that is not there anyway."""
    script = "print(*sorted(set(sys.modules) - before))\n"
    imported = run_script(LIBRARIES + script).stdout.split()
    own = [name for name in imported if name.partition(".")[0] == "trax"]
    assert "trax" in own
    assert len(own) <= 12
    assert {*imported} - {*own} <= {"__future__"}


@pytest.mark.parametrize(
    "use",
    [
        "assert getattr(trax, name) is vars(trax)[name]",
        "exec(f'from trax import {name} as found'); assert found is vars(trax)[name]",
        "assert pickle.loads(f'ctrax\\n{name}\\n.'.encode()) is vars(trax)[name]",
        # An object can be pickled before anybody has asked the package for its class.
        """
found = getattr(importlib.import_module(trax._MODULES.get(name, "trax")), name)
assert (found.__module__, found.__qualname__) == ("trax", name)
assert pickle.loads(pickle.dumps(found)) is found is vars(trax)[name]
""",
    ],
)
def test_a_public_name_is_there_whatever_uses_it_first(use: str) -> None:
    """As if the package had imported it; each is tried in a process of its own."""
    names = [name for package, name in PUBLIC if package is trax]
    script = f"""
import importlib, os, pickle
for name in {names}:
    if not os.fork():
        exec({use!r})
        os._exit(0)
    if os.wait()[1]:
        print(name)
"""
    assert not run_script(LIBRARIES + script).stdout


@pytest.mark.parametrize(
    "listing",
    [
        "found = dir(trax)",
        "from trax import *; found = vars()",
        "import inspect; found = dict(inspect.getmembers(trax))",
        "import pydoc, re; found = re.findall(r'\\w+', pydoc.render_doc(trax))",
    ],
)
def test_whoever_lists_the_package_finds_all_public_names(listing: str) -> None:
    """In a process that has used none of them."""
    script = f"{listing}\nprint({{*trax.__all__}} - {{*found, '__version__'}})"
    assert run_script(LIBRARIES + script).stdout == "set()\n"


def test_a_loop_is_read_knowing_the_functions_that_it_calls() -> None:
    """Nothing is run for that, so they are attributes of the package before their first use."""
    script = """
import warnings
import trax as other
warnings.simplefilter("error")

@other.resumable(create=int, replay_log=lambda total, i: total + i)
def add_up(total, n):
    for i in other.steps(n):
        total = yield i
"""
    run_script(LIBRARIES + script)


def test_what_type_checkers_see_is_imported_later() -> None:
    """The same names from the same modules; a name that is not there is an error to both."""
    tree = ast.parse(inspect.getsource(trax))
    [block] = [node for node in tree.body if ast.unparse(node).startswith("if TYPE_CHECKING:")]
    seen = {
        alias.name: node.module
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    contained = {"CheckpointFile", "Generation", "LogFile", "OutputFile"}
    assert seen == {name: module for name, module in MODULES.items() if name not in contained}
    with pytest.raises(AttributeError, match="module 'trax' has no attribute 'nothing'"):
        trax.nothing  # type: ignore[attr-defined]  # noqa: B018


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
