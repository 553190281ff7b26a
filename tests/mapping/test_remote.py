"""Results and exceptions that come from another process."""

from __future__ import annotations

import pickle
from typing import Any, Self

import pytest

import trax
from trax.mapping import remote
from trax.mapping.remote import Remote, received


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


def test_a_worker_that_was_asked_to_stop_computes_no_other_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever an executor gives it; the process of the map itself may go on."""
    stopped = list[str]()
    monkeypatch.setattr(remote, "_stopped", stopped)
    interrupted = Remote(fail, "map")
    with pytest.raises(KeyboardInterrupt):
        interrupted(KeyboardInterrupt())
    assert stopped == ["SIGINT"]
    assert received(Remote(str, "map")(3)) == "3"
    elsewhere = Remote(str, "map")
    monkeypatch.setattr(elsewhere, "_maker", -1)
    with pytest.raises(trax.Preempted, match="map was stopped at step 0 by SIGINT"):
        elsewhere(3)
