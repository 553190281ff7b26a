"""The function of a map: which other one is refused, and which change is only told."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import run_script

import trax

model = "A"


class Client:
    """Answers in the name of a model, and counts."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.asked = 0
        self.lock = None if model < "X" else threading.Lock()

    def ask(self, question: str) -> str:
        self.asked += 1
        return f"{self.model}: {question}"

    def __call__(self, question: str) -> str:
        return f"{self.model}! {question}"


class Other(Client):
    """Answers otherwise."""

    def ask(self, question: str) -> str:
        return "no"


def ask(question: str, model: str) -> str:
    return f"{model}: {question}"


def say(model: str, question: str) -> str:
    return f"{model}: {question}"


def of(model: str) -> Callable[[str], str]:
    def inner(question: str) -> str:
        return f"{model}: {question}"

    return inner


def through(function: Callable[[str], str]) -> Callable[[str], str]:
    @functools.wraps(function)
    def wrapped(question: str) -> str:
        return function(question)

    return wrapped


def answers(function: Any, **options: Any) -> list[Any]:
    results: trax.Map[Any, Any] = trax.map(function, "ab", **{"name": "run", **options})
    return results.result()


OTHERS: dict[str, tuple[Any, Any, str]] = {
    "a partial": (
        functools.partial(ask, model="A"),
        functools.partial(ask, model="B"),
        "model: 'A' -> 'B'",
    ),
    "a position of a partial": (
        functools.partial(say, "A"),
        functools.partial(say, "B"),
        "args[0]: 'A' -> 'B'",
    ),
    "a method": (Client("A").ask, Client("B").ask, "self.model: 'A' -> 'B'"),
    "a method of an object that does not pickle": (
        Client("X").ask,
        Client("Y").ask,
        "self.model: 'X' -> 'Y'",
    ),
    "a method of another class": (Client("A").ask, Other("A").ask, "self: "),
    "an object": (Client("A"), Client("B"), "self.model: 'A' -> 'B'"),
    "a closure": (of("A"), of("B"), "model: 'A' -> 'B'"),
    "a function in a wrapper": (through(of("A")), through(of("B")), "model: 'A' -> 'B'"),
    "another function in a wrapper": (
        through(str.upper),
        through(str.lower),
        "function': 'str.upper' -> 'str.lower'",
    ),
    "a cached function": (
        functools.lru_cache(of("A")),
        functools.lru_cache(of("B")),
        "model: 'A' -> 'B'",
    ),
    "a default of a lambda": (
        lambda q, m="A": ask(q, m),
        lambda q, m="B": ask(q, m),
        "m: 'A' -> 'B'",
    ),
    "a method of a builtin": ("x{}".format, "y{}".format, "self: 'x{}' -> 'y{}'"),
}


def test_another_function_under_a_name_that_was_given_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its user tells the runs apart, and may have renamed the function."""
    assert answers(str.upper) == ["A", "B"]
    assert answers(str.lower) == ["A", "B"]
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert line.getMessage() == (
        "run: function: str.upper -> str.lower since its results were stored; the present code "
        "computes what is left"
    )


@pytest.mark.parametrize("kind", OTHERS)
def test_results_of_another_function_are_not_handed_out(kind: str) -> None:
    """The message shows both, and each way that it names leads on."""
    first, second, line = OTHERS[kind]
    before = answers(first)
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        answers(second)
    assert f"  {line}" in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) <= 200
    assert answers(first) == before
    names = str(caught.value).partition("varying=")[2].partition(")")[0] + ")"
    allowed: tuple[str, ...] = eval(names)  # as a user would copy it
    assert answers(second, varying=allowed) == before
    assert answers(second, name="other") != before
    assert answers(second, fresh=True) != before


def test_without_a_name_too() -> None:
    """The function's own name says less than that."""
    trax.map(Client("A").ask, "ab").result()
    with pytest.raises(trax.ArgumentsChangedError, match=r"self\.model: 'A' -> 'B'"):
        trax.map(Client("B").ask, "ab").result()
    trax.map(of("A"), "ab").result()
    with pytest.raises(trax.ArgumentsChangedError, match="bound to other values"):
        trax.map(of("B"), "ab").result()


def test_a_function_of_the_same_name_elsewhere_is_another_unless_the_run_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A script may have been split; then it is told."""
    caplog.set_level(logging.INFO)

    def upper(text: str) -> str:
        return "new"

    def elsewhere() -> Callable[[str], str]:
        def upper(text: str) -> str:
            return text.upper()

        return upper

    trax.map(elsewhere(), "ab").result()
    with pytest.raises(
        trax.ArgumentsChangedError, match=r"function: .*elsewhere.*upper -> .*upper"
    ):
        trax.map(upper, "ab").result()
    results: trax.Map[str, Any] = trax.map(upper, "abc", name="upper")
    assert results.result() == ["A", "B", "new"]
    assert "upper since its results were stored" in caplog.text


def test_an_object_that_its_own_calls_change_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """In this process, where it has changed, and in a later one, where it begins again."""
    caplog.set_level(logging.INFO)
    client = Client("A")
    for _ in range(2):
        assert answers(client.ask) == ["A: a", "A: b"]
        assert client.asked == 2
    results: trax.Map[str, Any] = trax.map(client.ask, "abc", name="run")
    for _ in range(2):
        assert [text for _, text in results] == ["A: a", "A: b", "A: c"]
    results = trax.map(Client("A").ask, "abc", name="run")
    assert results.result() == ["A: a", "A: b", "A: c"]
    assert "since its results" not in caplog.text


def test_an_object_that_its_user_changes_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is the same object, such as a server in a notebook that is up again."""
    caplog.set_level(logging.INFO)
    down = {"b"}

    def fetch(name: str) -> str:
        if name in down:
            raise ConnectionError(name)
        return name

    trax.map(fetch, "abc").result()
    down.clear()
    assert trax.map(fetch, "abc").result() == ["a", "b", "c"]
    assert "fetch: down: {'b'} -> set() since its results were stored" in caplog.text


def test_a_constant_of_the_module_that_has_changed_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results may be those of another model; the code has not changed."""
    caplog.set_level(logging.INFO)

    def answer(question: str) -> str:
        return ask(question, model)

    trax.map(answer, "ab").result()
    trax.map(answer, "ab").result()
    assert "since" not in caplog.text
    monkeypatch.setitem(globals(), "model", "B")
    trax.map(answer, "abc").result()
    assert "answer: model: 'A' -> 'B' since its results were stored" in caplog.text


SCRIPT = """
import functools
import trax

def ask(question, model):
    return {body}

def inner(model):
    def answer(question):
        return {body}
    return answer

trax.map(functools.partial(ask, model="A"), "ab", name="run").result()
trax.map(inner("A"), "ab").result()
"""


def test_changed_code_of_what_is_bound_is_a_line() -> None:
    """And no error, nor is it silent."""
    run_script(SCRIPT.format(body="question + model"))
    again = run_script(SCRIPT.format(body="model + question")).stderr
    assert "the code of ask has changed" in again
    assert "the code of inner.<locals>.answer has changed" in again
    assert "since its results" not in again
