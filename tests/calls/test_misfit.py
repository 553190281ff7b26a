"""Arguments that do not fit: the message names the first mistake, and how to call the function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import trax

Loop = Iterator[int]


def plain(state: int, n: int, to: int = 5) -> Loop:
    yield 1


def keywords(s: int, *, n: int, to: int = 5) -> Loop:
    yield 1


def several(s: int, /, a: int, b: int, *rest: int, c: int, **others: int) -> Loop:
    yield 1


def nothing() -> Loop:
    yield 1


def alone(n: int) -> Loop:
    yield 1


CASES: list[tuple[Callable[..., Loop], tuple[Any, ...], dict[str, Any], str, str]] = [
    (plain, (), {}, "plain() is missing the argument 'n'", "plain(n, to=5)"),
    (plain, (0, 1, 2), {}, "plain() got 3 positional arguments and takes 2", "plain(n, to=5)"),
    (plain, (1,), {"m": 2}, "plain() has no argument 'm'", "plain(n, to=5)"),
    (plain, (1,), {"n": 2}, "plain() got the argument 'n' twice", "plain(n, to=5)"),
    (plain, (1,), {"state": 2}, "plain() got the argument 'state', and that", "plain(n, to=5)"),
    (keywords, (1,), {}, "keywords() got 1 positional arguments and", "keywords(*, n, to=5)"),
    (keywords, (), {}, "keywords() is missing the argument 'n'", "keywords(*, n, to=5)"),
    (several, (1,), {}, "several() is missing the arguments 'b', 'c'", "several(a, b, *rest, c,"),
    (alone, (), {"n": 3}, "alone() got the argument 'n', and that is the state", "alone()"),
    (alone, (3,), {}, "alone() got 1 positional arguments and takes 0", "alone()"),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "cause", "usage"), CASES)
@pytest.mark.parametrize("way", ["", "fresh"])
def test_the_mistake_and_the_right_call_are_shown(
    function: Any, args: Any, kwargs: Any, cause: str, usage: str, way: str
) -> None:
    """At the call, with trax's own error, which is a `TypeError` as of any function."""
    call: Any = trax.resumable(create=int)(function)
    with pytest.raises(TypeError) as caught:
        (getattr(call, way) if way else call)(*args, **kwargs)
    assert isinstance(caught.value, trax.UsageError)
    first, second, *_ = str(caught.value).splitlines()
    assert first.startswith(cause)
    assert len(first) <= 100
    assert second.startswith(f"Call it as {usage}")
    assert "trax supplies its first parameter" in second


PLAIN_CASES: list[tuple[Callable[..., Loop], tuple[Any, ...], dict[str, Any], str, str]] = [
    (plain, (), {}, "plain() is missing the arguments 'state', 'n'", "plain(state, n, to=5)"),
    (plain, (0, 1, 2, 3), {}, "plain() got 4 positional arguments and takes 3", "plain(state, n,"),
    (plain, (1,), {"m": 2}, "plain() has no argument 'm'", "plain(state, n, to=5)"),
    (plain, (1,), {"state": 2}, "plain() got the argument 'state' twice", "plain(state, n,"),
    (several, (1,), {"s": 2}, "several() is missing the arguments 'a', 'b', 'c'", "several(s, /,"),
    (nothing, (1,), {}, "nothing() got 1 positional arguments and takes 0", "nothing()"),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "cause", "usage"), PLAIN_CASES)
@pytest.mark.parametrize("way", ["", "fresh"])
def test_without_create_the_call_is_shown_as_the_function_is_written(
    function: Any, args: Any, kwargs: Any, cause: str, usage: str, way: str
) -> None:
    """No parameter is the state, and nothing is said of one."""
    call: Any = trax.resumable(function)
    with pytest.raises(trax.CallError) as caught:
        (getattr(call, way) if way else call)(*args, **kwargs)
    first, second = str(caught.value).splitlines()
    assert first == cause
    assert second.startswith(f"Call it as {usage}")
    assert "as the state" not in second


def test_a_state_that_was_meant_to_be_an_argument_is_explained() -> None:
    """The function lacks a parameter for the state."""
    with pytest.raises(
        trax.UsageError, match=r"before it, as in def alone\(state, n\)\.\nOr leave out create="
    ):
        trax.resumable(create=int)(alone)(n=3)  # type: ignore[call-arg]


def test_arguments_that_do_fit_are_none() -> None:
    """Also those that go into **others, of any name."""
    loop = trax.resumable(create=int)(several)
    assert list(loop(1, 2, 3, c=4, d=5, s=6)) == [1]


def test_a_method_is_shown_without_self() -> None:
    """It is bound already."""

    class Simulation:
        @trax.resumable(create=int)
        def run(self, state: int, n: int) -> Loop:
            yield n

    with pytest.raises(trax.UsageError, match=r"Call it as run\(n\): trax supplies .* 'state'"):
        Simulation().run(0, 3)  # type: ignore[call-arg]
    unbound: Any = Simulation.run
    with pytest.raises(trax.UsageError, match="Call it on an object"):
        unbound(3)
