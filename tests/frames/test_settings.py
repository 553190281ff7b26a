"""Settings of the process that a loop has made come back when it is resumed."""

from __future__ import annotations

import contextlib
import decimal
import locale
import os
import pickle
import socket
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remaking import runs, stored_after
from support import run_script

from trax.frames import settings

Increments = Iterator[Any]


@pytest.fixture(autouse=True)
def settings_of_before() -> Iterator[None]:
    """Put all settings back."""
    with warnings.catch_warnings(), decimal.localcontext(), np.errstate(), np.printoptions():
        path, limit, timeout = [*sys.path], sys.getrecursionlimit(), socket.getdefaulttimeout()
        environment, digits = dict(os.environ), sys.get_int_max_str_digits()
        language = locale.setlocale(locale.LC_ALL)
        yield
        sys.path[:] = path
        sys.setrecursionlimit(limit)
        sys.set_int_max_str_digits(digits)
        socket.setdefaulttimeout(timeout)
        locale.setlocale(locale.LC_ALL, language)
        os.environ.clear()
        os.environ.update(environment)


def _directory() -> None:
    Path("inner").mkdir(exist_ok=True)
    os.chdir("inner")


def _flags() -> None:
    decimal.getcontext().flags[decimal.Inexact] = True


def _ignore() -> None:
    warnings.filterwarnings("ignore", "some text", DeprecationWarning)


SETTERS: dict[str, Callable[[], Any]] = {
    "directory": _directory,
    "environment": lambda: os.environ.update(TRAX_TEST="1"),
    "environment ": lambda: os.environ.pop("HOME"),
    "path of modules": lambda: sys.path.insert(0, "/some/where"),
    "warnings": _ignore,
    "recursion limit": lambda: sys.setrecursionlimit(5000),
    "digits of integers": lambda: sys.set_int_max_str_digits(10_000),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "decimal": lambda: setattr(decimal.getcontext(), "prec", 50),
    "decimal ": lambda: decimal.getcontext().traps.update({decimal.Inexact: True}),
    "decimal  ": _flags,
    "timeout of sockets": lambda: socket.setdefaulttimeout(7.5),
    "numpy errors": lambda: np.seterr(divide="raise"),
    "numpy printing": lambda: np.set_printoptions(precision=3),
}


@pytest.mark.parametrize("name", SETTERS)
def test_a_setting_comes_back(name: str) -> None:
    """It is stored if it has changed, and set again in a process that has it as it was."""
    before = settings.now()
    SETTERS[name]()
    after = settings.now()
    changed = settings.changed(before, after)
    assert {*changed} == {name.strip()}
    loaded = pickle.loads(pickle.dumps(changed))
    _undo(before, changed)
    assert settings.restore(loaded) == []
    assert settings.now() == after
    assert settings.restore(loaded) == []
    assert settings.now() == after


def _undo(before: dict[str, Any], changed: dict[str, Any]) -> None:
    (name,) = changed
    if name == "path of modules":
        sys.path[:] = before[name]
    elif name == "warnings":
        warnings.filters[:] = before[name]  # type: ignore[index]  # it is a list
    elif name == "environment":
        settings.restore({name: {key: before[name].get(key) for key in changed[name]}})
    else:
        settings.restore({name: before[name]})
    assert settings.now() == before


def test_nothing_is_stored_that_did_not_change() -> None:
    """A frame has no settings, in most loops."""
    before = settings.now()
    assert settings.changed(before, settings.now()) == {}


def test_only_the_items_that_changed_are_stored() -> None:
    """A process that has other variables in its environment keeps them."""
    os.environ["TRAX_GONE"] = "1"
    before = settings.now()
    os.environ["TRAX_TEST"] = "1"
    del os.environ["TRAX_GONE"]
    changed = settings.changed(before, settings.now())
    assert changed == {"environment": {b"TRAX_GONE": None, b"TRAX_TEST": b"1"}}


def test_a_filter_of_warnings_counts_at_once() -> None:
    """Python notices that it was set."""
    before = settings.now()
    warnings.simplefilter("ignore", FutureWarning)
    changed = settings.changed(before, settings.now())
    warnings.filters[:] = before["warnings"]  # type: ignore[index]  # it is a list
    warnings.simplefilter("error")
    settings.restore(changed)
    warnings.warn("future", FutureWarning, stacklevel=1)


def test_what_cannot_be_set_is_told() -> None:
    """By its name; all else is set."""
    stored = {"directory": "/no/such/place", "recursion limit": 5000, "of a later trax": 1}
    assert settings.restore(stored) == ["directory"]
    assert sys.getrecursionlimit() == 5000


# -- with loops ----------------------------------------------------------------------------


def exact() -> Increments:
    decimal.getcontext().prec = 40
    with decimal.localcontext() as context:
        context.prec += 10
        for _ in range(3):
            yield decimal.getcontext().prec, str(1 / decimal.Decimal(3))
    yield decimal.getcontext().prec


def strict_and_stricter() -> Increments:
    np.seterr(divide="raise", over="print")
    with np.errstate(divide="ignore"):
        for _ in range(3):
            yield np.geterr()["divide"], np.geterr()["over"]
    yield np.geterr()["divide"], np.geterr()["over"]


def set_by_a_function() -> Increments:
    _set_up()
    for _ in range(3):
        yield np.geterr()["divide"], os.environ["TRAX_TEST"]


def _set_up() -> None:
    np.seterr(divide="raise")
    os.environ["TRAX_TEST"] = "here"


def set_by_a_function_and_a_block() -> Increments:
    _set_up()
    _set_precision()
    with np.errstate(divide="ignore"), decimal.localcontext() as context, np.errstate(over="raise"):
        context.prec = 5
        for _ in range(3):
            yield np.geterr()["divide"], decimal.getcontext().prec
    yield np.geterr()["divide"], np.geterr()["over"], decimal.getcontext().prec


def _set_precision() -> None:
    decimal.getcontext().prec = 50


def changed_in_the_loop() -> Increments:
    for i in range(4):
        decimal.getcontext().prec += i
        yield decimal.getcontext().prec


LEVEL: ContextVar[Any] = ContextVar("LEVEL", default=0)


def in_a_context() -> Increments:
    token = LEVEL.set([1])
    for i in range(3):
        LEVEL.get().append(i)
        yield [*LEVEL.get()]
        LEVEL.set(np.array(LEVEL.get()))
        yield LEVEL.get().sum()
        LEVEL.set([*LEVEL.get()])
    LEVEL.reset(token)
    yield LEVEL.get()


@pytest.mark.parametrize(
    "loop",
    [
        in_a_context,
        exact,
        strict_and_stricter,
        set_by_a_function,
        changed_in_the_loop,
        set_by_a_function_and_a_block,
    ],
)
def test_loops_go_on_with_their_settings(loop: Any) -> None:
    """Inside of blocks that change some of them, and behind these."""
    precision, errors = decimal.getcontext().prec, np.geterr()
    items = runs(loop, 5)
    undisturbed = next(items)
    for _ in undisturbed[1:]:
        decimal.getcontext().prec = precision
        np.seterr(**errors)
        os.environ.pop("TRAX_TEST", None)
        assert next(items) == undisturbed


def in_a_directory() -> Increments:
    os.makedirs("data", exist_ok=True)
    os.chdir("data")
    connection = sqlite3.connect("rows.db")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (number)")
    for i in range(3):
        with connection:
            connection.execute("INSERT INTO rows VALUES (?)", [i])
        yield connection.execute("SELECT count(*) FROM rows").fetchone(), os.getcwd()


def test_what_is_made_again_is_made_in_the_right_directory(tmp_path: Path) -> None:
    """A database elsewhere would be empty."""
    stored = stored_after(in_a_directory, 2)
    os.chdir(tmp_path)
    resumed = stored.resume()
    assert next(resumed) == ((3,), str(tmp_path / "data"))
    assert [*Path(tmp_path).glob("*.db")] == []


def entered_directory() -> Increments:
    with contextlib.chdir("inner"):
        for _ in range(3):
            yield os.getcwd()
    yield os.getcwd()


def test_a_directory_of_a_block_is_left_for_the_one_of_before(tmp_path: Path) -> None:
    """It is entered again from there, too."""
    Path("inner").mkdir()
    stored = stored_after(entered_directory, 2)
    os.chdir("/")
    assert [*stored.resume()] == [str(tmp_path / "inner"), str(tmp_path)]


def test_settings_of_torch() -> None:
    """Where it is installed."""
    pytest.importorskip("torch")
    script = """
import pickle
import torch
from trax.frames import settings

def now():
    return {name: value for name, value in settings.now().items() if name.startswith("torch")}

before = now()
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.set_default_device("meta")
torch.set_num_threads(1 + before["torch threads"])
torch.use_deterministic_algorithms(True)
torch.set_float32_matmul_precision("high")
torch.backends.cudnn.deterministic = True
after = now()
changed = pickle.loads(pickle.dumps(settings.changed(before, after)))
print(len(changed), settings.restore(before), now() == before)
print(settings.restore(changed), now() == after)
manager = torch.enable_grad()
with manager:
    print(settings.outside({}, before, [manager]))
"""
    assert run_script(script).stdout.splitlines() == [
        "7 [] True",
        "[] True",
        "{'torch gradients': False}",
    ]
