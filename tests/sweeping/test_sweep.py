"""The call of a sweep: what is refused, and the types that come out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, assert_type

import pytest

import trax
from trax.sweeping.sweep_driver import Plan


@trax.resumable(name="returns-{n}")
def returns(n: int) -> Generator[int, None, str]:
    yield n
    return str(n)


@trax.resumable(name="yields-{n}")
def yields(n: int) -> Iterator[float]:
    yield n / 2


@trax.resumable(create=list[int], replay_log="append", name="gathers-{n}")
def gathers(state: list[int], n: int) -> Generator[int, list[int], None]:
    yield n


@trax.resumable(name="awaits-{n}", time_limit=60, signals="SIGUSR1")
async def awaits(n: int) -> AsyncIterator[bytes]:
    yield bytes(n)


@trax.resumable(name="untyped-{n}")
def untyped(n):  # type: ignore[no-untyped-def]  # as in a script
    yield n


class Holder:
    """Has a method."""

    @trax.resumable(name="method-{n}")
    def method(self, n: int) -> Generator[int, None, str]:
        yield n
        return str(n)


def plain(n: int) -> int:
    return n


CALLED = yields(1)
CALLED.close()


def plan(**given: Any) -> Plan:
    checked: Plan = trax.sweep(returns, {"n": [1]}, **given)._plan
    return checked


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"function": plain}, "decorated with resumable, not <function plain>"),
        ({"function": plain}, "use trax.map"),
        ({"function": returns.__wrapped__}, "Write @trax.resumable above def returns."),
        ({"function": awaits.__wrapped__}, "Write @trax.resumable above def awaits."),
        ({"function": returns.fresh}, "Give returns itself"),
        ({"function": returns.fresh}, "To start over, add fresh=True."),
        ({"function": Holder().method.load}, "Give method itself"),
        ({"function": partial(returns, n=3)}, "all of its arguments in the grid"),
        ({"function": CALLED}, "Give the function, and not a call of it"),
        ({"fresh": 1}, "fresh must be True or False, not 1"),
        ({"grid": 3}, "must be a mapping of arguments to their values, not 3"),
        ({"grid": {"n": [1, 1]}}, "a case comes twice"),
        ({"executor": 4}, "executor must have a method submit"),
        ({"executor": ThreadPoolExecutor}, "as pool: ... trax.sweep(..., executor=pool)"),
        ({"executor": ThreadPoolExecutor(), "in_flight": 0}, "whole number of at least 1, not 0"),
        ({"in_flight": 2}, "in_flight needs an executor"),
        ({"progress": 3}, "progress must be callable"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_at_the_call(
    arguments: dict[str, Any], said: str
) -> None:
    sweep: Callable[..., Any] = trax.sweep
    with pytest.raises(trax.UsageError) as caught:
        sweep(**({"function": returns, "grid": {"n": [1]}} | arguments))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()[0]) <= 100


def test_what_is_in_flight_is_as_much_as_the_workers_need() -> None:
    class Client:
        def submit(self, function: Any, *arguments: Any) -> Any: ...

    assert plan().in_flight == 1
    assert plan(executor=ThreadPoolExecutor(5)).in_flight == 10
    assert plan(executor=ThreadPoolExecutor(5), in_flight=3).in_flight == 3
    assert plan(executor=Client()).in_flight == 256


def test_the_options_of_the_function_count() -> None:
    """The time of a run is not that of the sweep."""
    swept = trax.sweep(awaits, {"n": [1]})
    checked: Plan = swept._plan
    assert (checked.name, checked.time_limit) == ("awaits", None)
    assert [one.name for one in checked.signals or ()] == ["SIGUSR1"]
    assert (plan().time_limit, plan().progress) == ("auto", None)
    swept.close()


def test_the_types_are_those_of_the_results() -> None:
    for case in trax.sweep(returns, {"n": [3]}):
        assert_type(case, trax.Case[str])
        assert_type(case.result, str | None)
        assert_type(case.error, BaseException | None)
        assert case.result == "3"
    assert_type(trax.sweep(yields, [{"n": 1}]), trax.Sweep[float]).close()
    assert_type(trax.sweep(gathers, {"n": range(2)}), trax.Sweep[list[int]]).close()
    assert_type(trax.sweep(awaits, {"n": range(2)}), trax.Sweep[bytes]).close()
    assert_type(trax.sweep(untyped, {"n": range(2)}), trax.Sweep[Any]).close()
    assert_type(trax.sweep(Holder().method, {"n": range(2)}), trax.Sweep[str]).close()
    with ThreadPoolExecutor(1) as pool:
        assert_type(next(trax.sweep(returns, {"n": [3]}, executor=pool)), trax.Case[str])
