"""Results and exceptions that come from another process."""

from __future__ import annotations

import contextlib
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

import trax
from trax.mapping import remote
from trax.mapping.remote import Remote, outlook, received


class Two(Exception):  # noqa: N818
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class Stubborn(Two):
    def __new__(cls, *args: Any) -> Self:
        if len(args) != 2:
            raise TypeError("two")
        return super().__new__(cls, *args)


def fail(error: BaseException) -> None:
    raise error


def sent(error: Exception) -> Exception:
    """Return an exception as it is after its way through a pipe."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        Remote(fail, "map")(error)
    found: Exception = pickle.loads(pickle.dumps(caught.value))
    return found


def test_an_exception_comes_as_what_it_is() -> None:
    """If its class lets itself be made at all."""
    for error in (Two(1, 2), OSError(2, "none"), KeyError("a")):
        found = sent(error)
        assert type(found) is type(error)
        assert str(found) == str(error)
    found = sent(Stubborn(1, 2))
    assert type(found) is RuntimeError
    assert str(found).endswith("Stubborn: 1 2")


def test_a_result_that_does_not_load_is_named() -> None:
    assert received(Remote(str, "map")(3)) == "3"
    with pytest.raises(trax.CodecError, match="cannot be loaded"):
        received(Remote(lambda _: Two(1, 2), "map")(0))


def in_worker(function: Callable[[Any], Any]) -> Remote:
    """Return a function as another process gets it."""
    found = Remote(function, "map")
    found._maker = -1
    return found


def press_ctrl_c(_: object) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The reasons for which this process is asked to stop, as a worker."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(remote, "_stopped", stopped := list[str]())
    yield stopped
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_that_was_asked_to_stop_computes_no_other_item(stopped: list[str]) -> None:
    """Whatever an executor gives it; the process of the map itself may go on."""
    with pytest.raises(KeyboardInterrupt):
        in_worker(press_ctrl_c)(1)
    assert stopped == ["SIGINT"]
    assert received(Remote(str, "map")(3)) == "3"
    with pytest.raises(trax.Preempted, match="map was stopped before its first step here"):
        in_worker(str)(3)


def test_an_interrupt_of_a_run_in_a_worker_asks_that_to_stop(stopped: list[str]) -> None:
    """It comes to the run first, which is stored."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        yield 1
        press_ctrl_c(n)
        yield 2

    with pytest.raises(KeyboardInterrupt):
        in_worker(lambda _: loop().result())(1)
    assert stopped == ["SIGINT"]
    assert trax.load("loop") == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_error_of_an_item_alone_stops_no_worker(
    kind: type[BaseException], stopped: list[str]
) -> None:
    """Even if it is one by which programs end, and an earlier call has survived a Ctrl-C."""

    def survive(item: int) -> int:
        with contextlib.suppress(KeyboardInterrupt):
            press_ctrl_c(item)
        return item

    assert received(in_worker(survive)(2)) == 2
    with pytest.raises(kind):
        in_worker(fail)(kind())
    assert received(in_worker(str)(3)) == "3"
    assert stopped == []


def test_a_handler_of_the_worker_stays(stopped: list[str]) -> None:
    """An engine may have one for a Ctrl-C that ends a call alone."""
    came = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    in_worker(press_ctrl_c)(1)
    signal.signal(signal.SIGINT, before)
    assert came == [signal.SIGINT]
    assert stopped == []


def test_the_outlook_after_a_failure_is_what_may_help() -> None:
    """To try again what is refused, or cannot be pickled, is of no use."""
    for error in (ValueError("no"), trax.LockedError("held"), AttributeError("x")):
        assert outlook(error, "try again") == "try again"
    refused = outlook(trax.UsageError("no"), "try again")
    assert refused == "the next call fails likewise: its error says what to do first"
    for lost in (lambda: None, threading.Lock()):
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError)) as caught:
            pickle.dumps(lost)
        said = outlook(caught.value, "try again")
        assert said.endswith("outside of functions, and use no lambda")
