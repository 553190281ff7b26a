"""Context managers whose source tells if entering them changes anything outside of a loop."""

from __future__ import annotations

import contextlib
import decimal
import logging
import os
import random
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

from trax.frames.entering import acts_outside, changed_state

TABLE: dict[str, int] = {}
LOGGER = logging.getLogger("entering")
LOCK = threading.Lock()
DEPTH = 0


class Tally:
    """An object whose methods change it."""

    total: ClassVar[int] = 0

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def raise_own(self) -> None:
        self.count += 1

    def raise_all(self) -> None:
        type(self).total += 1

    def __enter__(self) -> None:
        self.names = list(self.names)
        self.count += 1

    def __exit__(self, *error: object) -> None: ...

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        self.raise_own()
        self.names.append("in")
        yield

    @contextlib.contextmanager
    def raised_for_all(self) -> Iterator[None]:
        self.raise_all()
        yield


@contextlib.contextmanager
def saved(state: dict[str, int]) -> Iterator[None]:
    old = state["v"]
    state["v"] = 2 * old
    yield
    state["v"] = old


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    position = random.getstate()
    random.seed(seed)
    yield
    random.setstate(position)


@contextlib.contextmanager
def inside(path: str) -> Iterator[None]:
    old = os.getcwd()
    os.chdir(path)
    os.environ["INSIDE"] = path
    yield
    os.chdir(old)


@contextlib.contextmanager
def helped(log: list[str]) -> Iterator[None]:
    note(log)
    with LOCK:  # a block of its own, which is entered again by itself
        print("in")
        yield


def note(log: list[str]) -> None:
    log.append("in")


@contextlib.asynccontextmanager
async def awaited(log: list[str]) -> AsyncIterator[None]:
    log.append("in")
    yield


class Kept:
    """A manager that changes an object of the loop's."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.old: list[str] = []

    def __enter__(self) -> None:
        self.old = [*self.log]
        self.log.append("in")

    def __exit__(self, *error: object) -> None:
        self.log[:] = self.old


def begun(manager: Any) -> Any:
    """Return a manager as it is in its block."""
    if hasattr(manager, "__enter__"):
        manager.__enter__()
    else:
        with pytest.raises(StopIteration):
            manager.__aenter__().send(None)
    return manager


@pytest.mark.parametrize(
    "manager",
    [
        lambda: saved({"v": 1}),
        lambda: seeded(1),
        lambda: inside("."),
        lambda: helped([]),
        lambda: awaited([]),
        lambda: Kept([]),
        lambda: Tally().raised(),
        lambda: contextlib.suppress(KeyError),
        contextlib.ExitStack,
    ],
)
def test_what_changes_only_the_loop_is_inside(manager: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("INSIDE", "")
    position = random.getstate()
    one = begun(manager())
    assert not acts_outside(one)
    random.setstate(position)


@contextlib.contextmanager
def registered(name: str) -> Iterator[None]:
    TABLE[name] = 1
    yield


@contextlib.contextmanager
def put(table: dict[str, int], name: str) -> Iterator[None]:
    table[name] = 1
    yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    setattr(owner, name, value)
    yield


@contextlib.contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    logger.setLevel(logging.ERROR)
    yield


@contextlib.contextmanager
def helped_outside(name: str) -> Iterator[None]:
    register(TABLE, name)
    yield


def register(table: dict[str, int], name: str) -> None:
    table[name] = 1


@contextlib.contextmanager
def counted() -> Iterator[None]:
    global DEPTH  # noqa: PLW0603  # that is the case
    DEPTH += 1
    yield


@contextlib.contextmanager
def held() -> Iterator[None]:
    has_lock = LOCK.acquire(blocking=False)
    yield
    assert has_lock


@contextlib.contextmanager
def precise(digits: int) -> Iterator[None]:
    context = decimal.getcontext()
    context.prec = digits
    yield


class Patched:
    """A manager that changes a class."""

    def __enter__(self) -> None:
        self._start()

    def __exit__(self, *error: object) -> None:
        pass

    def _start(self) -> None:
        Tally.total = 0


def stack_of(manager: Any) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    stack.enter_context(manager)
    return stack


@pytest.mark.parametrize(
    "manager",
    [
        lambda: registered("a"),
        lambda: put(TABLE, "a"),
        lambda: replaced(os, "entering", 1),
        lambda: replaced(Tally, "entering", 1),
        lambda: quiet(LOGGER),
        lambda: helped_outside("a"),
        counted,
        held,
        lambda: precise(9),
        lambda: Tally().raised_for_all(),
        Patched,
        threading.Lock,
        lambda: contextlib.redirect_stdout(None),
        lambda: contextlib.chdir("."),
        decimal.localcontext,
        lambda: stack_of(registered("a")),
    ],
)
def test_what_changes_the_process_is_outside(manager: Any) -> None:
    with contextlib.ExitStack() as undo, decimal.localcontext():
        undo.callback(LOGGER.setLevel, LOGGER.level)
        one = begun(manager())
        undo.push(one)
        assert acts_outside(one)
    if LOCK.locked():
        LOCK.release()


def test_what_would_be_changed_again_is_named() -> None:
    """Only objects of the loop count, and their parts; not what the manager keeps for itself."""
    log: list[str] = []
    tally = Tally()
    state = {"v": 1}
    assert changed_state(begun(Kept(log)), [log]) == "self.log"
    assert changed_state(begun(Kept(log)), [state]) == ""
    assert changed_state(begun(helped(log)), [log]) == ""  # not seen: a function does it
    assert changed_state(begun(awaited(log)), [log]) == "log"
    assert changed_state(begun(saved(state)), [log, state]) == "state['v']"
    assert changed_state(begun(tally.raised()), [tally]) == "self.names"
    assert changed_state(begun(held()), [LOCK]) == ""
    LOCK.release()
    assert changed_state(begun(tally), [tally]) == ""
    assert changed_state(begun(tally), [tally], is_kept=True) == "self.count"
