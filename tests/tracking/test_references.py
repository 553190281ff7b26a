"""The variables that functions refer to are found without running them."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from support import run_script

from trax.tracking.references import references

count = 3
unused = 4


class Order:
    made = 0
    names: list[str] = []  # noqa: RUF012  # shared on purpose

    def __init__(self) -> None:
        Order.made += 1

    @property
    def total(self) -> int:
        return helper() + self.made

    @classmethod
    def make(cls) -> Order:
        return cls()


limits = {"a": 1}


def helper(start: int = 7) -> int:
    helper.calls += 1  # type: ignore[attr-defined]
    return limits["a"] + start


helper.calls = 0  # type: ignore[attr-defined]


class Counter:
    ticks = 0

    def tick(self) -> None:
        self.ticks += 1


def inner_of(number: int) -> int:
    return number + limits["a"]


def loop(orders: list[Any]) -> int:
    orders.append(Order())
    return count + itertools.count().__next__()


def test_variables_of_the_module_its_classes_and_functions_are_found() -> None:
    """Those that are used, in functions and methods that are called as well."""
    found = references([loop]).variables
    assert found == {
        "count": 3,
        "Order.made": Order.made,
        "Order.names": [],
        "limits": limits,
        "helper.calls": 0,
        "a default of helper": 7,
    }


x = 5


class Walker:
    def __init__(self) -> None:
        self.x = 0


def test_an_attribute_is_no_variable_of_its_name() -> None:
    """A script often has both."""

    def inner() -> int:
        return Walker().x

    assert references([inner]).variables == {}


def test_a_closure_and_what_it_calls_are_searched() -> None:
    """Functions in functions, too."""
    kept: list[int] = []

    def inner() -> None:
        kept.append(count)

    def outer() -> None:
        inner()

    assert references([outer]).variables == {"kept": kept, "count": 3}


def test_a_module_of_ones_own_is_searched_and_no_installed_one() -> None:
    """The names that are used as its attributes."""
    run_script("""
import pathlib, sys
pathlib.Path("settings.py").write_text('''
count = 1
other = 2
def bump():
    global count
    count += 1
''')
sys.path.insert(0, "")
import collections, numpy, settings
from trax.tracking.references import references
def loop():
    settings.bump()
    return collections.OrderedDict, numpy.pi
found = references([loop])
assert found.variables == {"settings.count": 1}, found
assert found.libraries >= {"collections", "numpy"}
assert {"settings", "bump", "pi"} <= found.names
def imports():
    import settings
    settings.bump()
assert references([imports]).variables == {"settings.count": 1}
pathlib.Path("package").mkdir()
pathlib.Path("package/settings.py").write_text("count = 1")
import package.settings
package.settings.package = package
def nested():
    return package.settings.count
assert references([nested]).variables == {"package.settings.count": 1}
""")


def test_modules_are_searched_however_they_are_reached() -> None:
    """By relative imports, in objects and classes, and as attributes of each other."""
    run_script("""
import pathlib, sys
sys.path.insert(0, "")
pathlib.Path("settings.py").write_text("count, other = 1, 2")
pathlib.Path("between.py").write_text("import settings, json")
pathlib.Path("package/inner").mkdir(parents=True)
pathlib.Path("package/settings.py").write_text("count = 1")
pathlib.Path("package/inner/__init__.py").write_text('''
def whole():
    from .. import settings
    return settings.count
def part():
    from ..settings import count
    return count
''')
import between, package.inner, package.settings, settings
from trax.tracking.references import references
class Model:
    backend = settings
class Other:
    def __init__(self):
        self.backend = settings
one, table = Other(), {"a": settings}
def in_class():
    return Model.backend.count
def in_object():
    return one.backend.count
def in_table():
    return table["a"].count
def in_module():
    return between.settings.count, between.json.tool
for loop in (in_class, in_object, in_table, in_module):
    found = references([loop])
    assert found.variables.get("settings.count") == 1, (loop, found)
    assert "settings.other" not in found.variables
    assert not any(place.startswith("json") for place in found.variables)
for loop in (package.inner.whole, package.inner.part):
    found = references([loop]).variables
    assert found.get("package.settings.count") == 1, (loop, found)
""")


class Move:
    """One of those that are looked up below a class."""


class Shift(Move):
    """The only one."""

    made = 0


def test_classes_below_another_are_searched_where_the_code_asks_for_them() -> None:
    """And nowhere else."""

    def asks() -> Any:
        return Move.__subclasses__()

    def makes() -> Any:
        return Move()

    assert references([asks]).variables == {"Shift.made": 0}
    assert references([makes]).variables == {}


def test_what_objects_refer_to_is_searched() -> None:
    """Their classes, the objects of methods, and the functions in them."""
    counter: Any = {"row": [Counter().tick, partial(inner_of, 1)]}

    def inner() -> Any:
        return counter["row"][0]()

    found = references([inner]).variables
    assert found == {"counter": counter, "Counter.ticks": 0, "limits": limits}
    assert references([inner, Counter()]).variables == found
    method: Any = Counter().tick

    def bound() -> Any:
        return method()

    assert references([bound]).variables["method.__self__"] is method.__self__


def test_a_class_whose_module_is_no_text_is_not_ones_own() -> None:
    """As that of a proxy, which has the module of what is in it."""
    kind = type("Proxy", (), {"__module__": property(lambda self: "json"), "count": 1})
    proxy = kind()

    def inner() -> Any:
        return proxy, kind

    assert references([inner]).variables == {"proxy": proxy}


def test_functions_that_lead_to_each_other_end() -> None:
    """Each is searched once; something that is no function is passed over."""

    def first() -> Any:
        return second

    def second() -> Any:
        return first

    assert references([first, print, 3, None]).variables == {}


def test_a_partial_function_is_a_variable_and_a_method_is_none() -> None:
    """It has parts, among them an RNG or a list at times."""
    kept: list[int] = []
    adding, method = partial(kept.append, 1), str.upper

    def inner() -> Any:
        return adding, method

    assert references([inner]).variables == {"adding": adding}


def test_the_script_and_what_came_from_another_process_are_ones_own() -> None:
    """The program of a worker is an installed one, and the module is not here."""
    text = """
import sys
from trax.tracking.references import is_own
sys.modules["__main__"].__file__ = __import__("json").__file__
print([is_own(name) for name in ("__main__", "__mp_main__", "not_here", "json", "sys", "", "trax")])
"""
    assert run_script(text).stdout == "[True, True, True, False, False, False, False]\n"
