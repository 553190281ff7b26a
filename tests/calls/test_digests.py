"""Digests of arguments and code stay what they are, or say that they cannot be compared."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import trax
import trax.testing
from trax.calls.arguments import describe, differences
from trax.calls.digests import are_comparable, version_of
from trax.engine.replay import tell_changed_code

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
    (trax.Since(1, 2.0), "3ca9ab89f3f1072887584e5654898f4e"),
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
        "a": "1 -> 1 (a newer trax stored a digest of version 2, which this one cannot compare)"
    }


def test_code_whose_digest_is_of_another_version_is_not_said_to_have_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody can know; one of the same version is compared."""
    caplog.set_level(logging.INFO)
    tell_changed_code("run", {"code": {"loop": "2:9f0c"}}, {"loop": "ffff"}, "it runs")
    assert not caplog.records
    tell_changed_code("run", {"code": {"loop": "9f0c"}}, {"loop": "ffff"}, "it runs")
    assert "the code of loop is not what it was" in caplog.text
