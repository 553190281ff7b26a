"""Digests of values: what counts as equal, and what does not."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import trax
import trax.testing
from trax.calls.arguments import describe, differences
from trax.calls.digest import are_comparable, version_of
from trax.engine.replay import tell_changed_code


def test_equal_arguments_are_the_same_however_they_are_given() -> None:
    """Defaults, keywords and equal values of other identity are no change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any, options: Any = None) -> Iterator[int]:
        yield 1

    text = "abc"[:2]
    loop([np.arange(3), text, text], {"x": 1, "y": {"p", "q"}}).result()
    assert loop(options={"y": {"q", "p"}, "x": 1}, data=[np.arange(3), "ab", "a" + "b"]).done


def cell(n: int) -> Any:
    """Return a function that differs from its siblings in its closure alone."""
    return lambda: n


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x**2, lambda x: x**3),
        (lambda x, k=1: x, lambda x, k=2: x),
        (cell(1), cell(2)),
        ({"a": 1}.get, {"a": 2}.get),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    ],
)
def test_functions_and_objects_are_told_apart_by_what_they_are(one: Any, other: Any) -> None:
    """The same call goes on; another function or another content is a change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(one).result()
    assert loop(one).done
    with pytest.raises(trax.ArgumentsChangedError):
        loop(other).result()


def test_an_argument_may_contain_itself() -> None:
    """A cycle is a structure like any other."""
    data: dict[str, Any] = {"list": [1]}
    data["self"] = data
    data["list"].append(data)

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data).result()
    assert loop(data).done


@pytest.mark.parametrize("other", [[1, 3], (1, 2), [1, 2.0], [1, np.int64(2)], {1, 2}, None])
def test_unequal_arguments_are_told_apart(other: Any) -> None:
    """Another value is a change, and so is another type."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data=[1, 2]).result()
    with pytest.raises(trax.ArgumentsChangedError, match="data"):
        loop(data=other).result()


# As the first trax stored them.
DIGESTS: list[tuple[Any, str]] = [
    (trax.Step(3, "k"), "4cd711fc840a19b1a26c04a6f8510430"),
    (trax.Trax, "025705277d1f314080ec7a3b7ef1b89c"),
    (trax.Trax.log, "d968c4035c777d6dea9a97c4ccb85052"),
    (trax.UsageError("m"), "fbc4ffa014a3beb7d82215686cff2afe"),
    ([trax.TraxError, trax.Preempted], "c7fbe12594c451000b9e62c611d6a70f"),
    (trax.open, "52e4e1802abfee203c32ffa1edb5be5d"),
    (trax.resumable, "b4bd22ed907b40e1443895762e7533ef"),
    (trax.Resumable, "6e86a091da49420dbee77845a2e0ea98"),
    (trax.Since(1, 2.0), "e8c7e36e465175ac94445a692114ffce"),
    (trax.automatic, "eb8de4d014e7236ec29a819ef2e6267b"),
    (trax.testing.Checked(1, 2), "fe3bbfb5809ce981fb97b040623abfa9"),
]


@pytest.mark.parametrize(("value", "digest"), DIGESTS)
def test_a_digest_is_what_it_was(value: Any, digest: str) -> None:
    """Wherever trax's own classes and functions have moved since."""
    assert describe({"a": value})["a"]["digest"] == digest


def test_a_digest_without_a_version_is_of_version_1() -> None:
    """Those that were stored before there were versions have none."""
    assert [version_of(digest) for digest in ("", "9f0c", "1:9f0c", "2:9f0c")] == list("1112")
    assert are_comparable("9f0c", "1:ffff")
    assert not are_comparable("9f0c", "2:9f0c")


def test_a_digest_of_another_version_is_never_taken_for_the_same() -> None:
    """A changed argument must not be overlooked, and the reason is shown."""
    given = describe({"a": 1})
    stored = {"a": {"text": "1", "digest": "2:" + given["a"]["digest"]}}
    assert differences(given, given) == {}
    assert differences(stored, given) == {
        "a": "1 -> 1 (stored by a newer trax: its digest of version 2 cannot be compared)"
    }


def test_code_whose_digest_is_of_another_version_is_not_said_to_have_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody can know; one of the same version is compared."""
    caplog.set_level(logging.INFO)
    tell_changed_code("run", {"code": {"loop": "2:9f0c"}}, {"loop": "ffff"}, "it runs")
    assert not caplog.records
    tell_changed_code("run", {"code": {"loop": "9f0c"}}, {"loop": "ffff"}, "it runs")
    assert "the code of loop has changed" in caplog.text
