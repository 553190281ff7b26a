"""One call: its arguments, the name of its run, and what is stored of it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import trax
from trax.calls.call import Call
from trax.calls.options import Options


class Simulation:
    """Has a method."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    @trax.resumable(create=int, name="sim-{self.rate}")
    def run(self, state: int, n: int) -> Generator[int, int, None]:
        """Run it."""
        while state < n:
            state = yield state + self.rate


@trax.resumable(create=int, check=False)
def add_up(state: int, n: int) -> Iterator[int]:
    """Add up the numbers below n."""
    for i in trax.steps(n):
        yield state + i


def test_arguments_that_do_not_fit_are_a_type_error_of_the_call() -> None:
    """As for any function, at the call and not at the first next."""
    with pytest.raises(TypeError, match="missing the argument 'n'"):
        add_up()  # type: ignore[call-arg]


def test_a_method_called_through_its_class_is_the_same_call() -> None:
    """`self` counts among the arguments and for the name, however it is given."""
    run: Any = Simulation.run
    assert run(Simulation(3), n=9).result() == 9
    assert Simulation(3).run(n=9).done


def test_another_object_is_another_argument() -> None:
    """The attributes of self count among the arguments."""

    class Walk:
        def __init__(self, step: int) -> None:
            self.step = step

        @trax.resumable(create=int)
        def go(self, state: int) -> Iterator[int]:
            yield state + self.step

    Walk(1).go().result()
    with pytest.raises(trax.ArgumentsChangedError, match="self"):
        Walk(2).go().result()


def test_arguments_that_do_not_fit_are_said_where_only_the_name_is_needed() -> None:
    """As `load` needs it."""
    with pytest.raises(trax.UsageError, match="got 2 positional arguments"):
        add_up.load(1, 2)


def test_what_a_decorator_has_made_of_the_generator_is_named() -> None:
    """Not that it lacks an attribute which only trax looks for."""

    @trax.resumable(create=int)  # type: ignore[type-var]
    @contextlib.contextmanager
    def managed(state: int) -> Iterator[int]:
        yield state

    with pytest.raises(trax.UsageError, match=r"managed\(\) returned '_GeneratorContextManager'"):
        managed().result()  # type: ignore[misc]


def test_a_method_under_another_decorator_may_return_its_generator() -> None:
    """As one that only looks at the arguments does."""

    def checked(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    @trax.resumable(create=int)
    @checked
    def loop(state: int, n: int) -> Iterator[int]:
        yield n

    assert loop(n=3).result() == 3


def test_code_is_digested_once_a_call() -> None:
    """Every checkpoint stores the same digests."""

    def loop(state: Any) -> Iterator[int]:
        yield 1

    call = Call(Options.check({"create": int}, "loop", []), loop, loop, None, (), {})
    assert call.code
    assert call.code is call.code
