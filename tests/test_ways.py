"""The ways to call a decorated function are loaded at its first call, and the engine with them."""

from __future__ import annotations

import pytest
from support import run_script

LOOPS = """
import asyncio, os, sys, threading
import trax

@trax.resumable
def plain(n):
    for i in range(n):
        yield i

@trax.resumable(create=int, every_steps=2)
def declared(state, n):
    while state < n:
        state = yield state + 1

@trax.resumable
async def awaited(n):
    for i in range(n):
        yield i

class Holder:
    @trax.resumable
    def method(self, n):
        for i in range(n):
            yield i

def loaded():
    return {name for name in sys.modules if name.startswith("trax.")}
"""


def test_a_function_that_is_decorated_and_not_called_needs_no_engine() -> None:
    """Nor what stores, maps, verifies or tests: a worker may only import the module."""
    done = run_script(LOOPS + "print(*loaded())")
    packages = {tuple(name.split(".")[1:]) for name in done.stdout.split()}
    engine = {module for module in packages if module[0] == "engine"}
    assert engine == {("engine",), ("engine", "helpers"), ("engine", "registry")}
    assert not {"core", "ways", "fsck", "mapping", "testing", "integrations"} & {
        package for package, *_ in packages
    }
    assert not {("storage", "codec"), ("storage", "records"), ("storage", "store")} & packages
    assert len(packages) <= 81


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("plain(n=3).result()", "2"),
        ("[*declared(n=3)]", "[1, 2, 3]"),
        ("declared.fresh(n=2).result()", "2"),
        ("declared.load(n=2)", "nothing is stored as 'declared'"),
        ("plain.check(n=3).steps", "3"),
        ("asyncio.run(awaited(n=3).result())", "2"),
        ("Holder().method(n=3).result()", "2"),
        ("Holder.method.load()", "nothing is stored as 'method'"),
        ("plain(m=3)", "plain() has no argument 'm'"),
    ],
)
def test_whichever_way_comes_first_loads_them(call: str, expected: str) -> None:
    """In a process that has only decorated functions."""
    script = f"""
try:
    print({call})
except Exception as error:
    print(error)
"""
    assert expected in run_script(LOOPS + script).stdout.splitlines()[0]


def test_the_first_calls_may_come_from_several_threads() -> None:
    """Each finds all that it needs."""
    script = """
begin = threading.Barrier(4)
found = []
def use(number):
    begin.wait()
    found.append([
        lambda: declared(n=3).result(),
        lambda: trax.Trax().recover("other", create=lambda: 3),
        lambda: len([*trax.map(abs, [1, 2, 3])]),
        lambda: plain(n=4).result(),
    ][number]())
threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
print(found)
"""
    assert run_script(LOOPS + script).stdout == "[3, 3, 3, 3]\n"


def test_a_forked_child_may_be_the_first_to_call() -> None:
    """And its parent after it."""
    script = """
child = os.fork()
if not child:
    os._exit(declared(n=3).result())
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), declared(n=3).result(), plain(n=3).result())
"""
    assert run_script(LOOPS + script).stdout == "3 3 2\n"


@pytest.mark.parametrize("module", ["trax.ways", "trax.storage.records", "trax.engine.session"])
def test_a_first_call_that_is_interrupted_while_it_loads_can_be_repeated(module: str) -> None:
    """Ctrl-C in the middle of an import leaves nothing half-loaded."""
    script = f"""
class Interruption:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interruption())
for function in (plain, plain, declared):
    try:
        print(function(n=3).result())
    except KeyboardInterrupt:
        print("interrupted")
"""
    assert run_script(LOOPS + script).stdout == "interrupted\n2\n3\n"


def test_what_a_run_needs_when_the_program_ends_is_there_before() -> None:
    """Nothing is imported while a loop goes on, ends or is closed by then."""
    script = """
import atexit

class Importing:
    def find_spec(self, name, path, target=None):
        print("imports", name)

left, other = plain(n=3), declared(n=3)
print(next(left), next(other))

@atexit.register
def close():
    print(next(left), other.result())
    left.close()
atexit.register(sys.meta_path.insert, 0, Importing())
"""
    assert run_script(LOOPS + script).stdout == "0 1\n1 3\n"
