"""`trax.calls.in_place`: the name of a method as replay_log."""

from __future__ import annotations

import pickle
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from support import run_script

import trax
from trax.calls.in_place import InPlace

KINDS = {
    "append": ("list", "i"),
    "add": ("set", "i % 3"),
    "update": ("dict", "{i: str(i)}"),
    "extend": ("list", "[i, i]"),
}


def remove_newest_checkpoint() -> None:
    max(Path(".trax/runs/loop").glob("checkpoint-*")).unlink()


LOOP = """
import os, signal, sys
import trax

@trax.resumable(create={create}, replay_log={method!r}, every_steps=4)
def collect(state, n):
    for i in trax.steps(n):
        state = yield {increment}

for increment in (run := collect(n=10)):
    if run.step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
print(run.state)
"""


@pytest.mark.parametrize("method", KINDS)
def test_a_method_of_the_state_replays_the_log(method: str) -> None:
    create, increment = KINDS[method]
    script = LOOP.format(create=create, increment=increment, method=method)
    assert run_script(script, "6", check=False).returncode == -signal.SIGKILL
    resumed = run_script(script, "0")
    assert " resumed at step 6" in resumed.stderr
    expected: Any = {"list": list, "set": set, "dict": dict}[create]()
    for i in range(10):
        getattr(expected, method)(eval(increment, {"i": i}))
    assert resumed.stdout.strip() == repr(expected)


def test_the_state_is_changed_in_place() -> None:
    @trax.resumable(create=Counter, replay_log="update")
    def count(state: Counter[str], words: list[str]) -> Generator[list[str], Counter[str], None]:
        for word in trax.remaining(words):
            yield [word]

    run = count(words=["to", "be", "to"])
    states = [run.state for _ in run]
    assert states[0] is states[2] is run.result()
    assert states[0] == Counter(to=2, be=1)


def test_the_core_takes_a_name_too() -> None:
    store = trax.Trax()
    assert store.recover("seen", create=set, replay_log="add") == set()
    store.log(seen=3)
    assert store.recover("seen", replay_log="add") == {3}
    store.close()


@pytest.mark.parametrize(
    ("create", "method", "cause"),
    [
        (int, "add", "'int' has none.*operator.add"),
        (list, "apend", "'list' has none"),
        (lambda: frozenset({1}), "union", "returned another object.*frozenset.union"),
        (lambda: [1, [2]], "index", "of type 'int'.*function that calls index and returns the st"),
    ],
)
def test_a_method_that_does_not_fit_is_named(create: Any, method: str, cause: str) -> None:
    """At the first step, and nothing of it is stored."""

    @trax.resumable(create=create, replay_log=method)
    def loop(state: Any) -> Generator[Any, Any, None]:
        while True:
            yield [2]

    with pytest.raises(trax.UsageError, match=f"(?s)replay_log='{method}'.*{cause}"):
        next(loop())
    assert trax.load("loop") == create()


@pytest.mark.parametrize("is_closed", [True, False], ids=["checkpoint", "log"])
def test_a_stored_state_that_lacks_the_method_is_called_that(is_closed: bool) -> None:
    """Another `create` does not help then, neither at the next step nor where the log is read."""

    def loop(state: Any) -> Generator[int, Any, None]:
        while True:
            state = yield len(state)

    def begin(create: Any, replay_log: str) -> Any:
        return trax.resumable(create=create, replay_log=replay_log, every_steps=1)(loop)()

    run = begin(list, "append")
    next(run)
    run.close()
    if not is_closed:
        remove_newest_checkpoint()
    with pytest.raises(trax.UsageError, match="'list' has none") as caught:
        next(begin(set, "add"))
    assert "the state is the stored one" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("text", ["", "a b", "state.append"])
def test_a_text_that_is_no_name_is_refused_at_the_decoration(text: str) -> None:
    with pytest.raises(trax.UsageError, match="name of a method"):
        trax.resumable(create=list, replay_log=text)(lambda state: (yield))
    with pytest.raises(trax.UsageError, match="name of a method"):
        trax.Trax().recover("x", replay_log=text)


def test_it_is_pickled_and_shown_by_its_name() -> None:
    copy = pickle.loads(pickle.dumps(InPlace("add")))
    assert repr(copy) == "'add'"
    assert copy({1}, 2) == {1, 2}
