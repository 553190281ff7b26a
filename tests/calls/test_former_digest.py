"""Digests of version 1, which older runs are stored with."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import old_loops
import pytest

import trax
import trax.testing
from trax.calls.arguments import FORMER_VERSION, describe
from trax.storage.store import Store

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
    (partial(int, base=2), "ffe5f273d31b2f588512aa84e4595dd0"),
]


@pytest.mark.parametrize(("value", "digest"), DIGESTS)
def test_a_digest_is_what_it_was(value: Any, digest: str) -> None:
    """Wherever trax's own classes and functions have moved since."""
    assert describe({"a": value}, version=FORMER_VERSION)["a"]["digest"] == digest


def test_a_partial_function_stays_the_same_when_its_attributes_are_read() -> None:
    value, digest = partial(int, base=2), DIGESTS[-1][1]
    assert vars(value) == {}
    assert describe({"a": value}, version=FORMER_VERSION)["a"]["digest"] == digest


def test_a_run_that_was_stored_with_them_is_compared_by_them() -> None:
    """Old runs resume, and arguments that have changed since are noticed."""
    data = Path(__file__).parents[1] / "data" / "format-1" / "public" / "store"
    shutil.copytree(data, "store")
    for path in [Path("store"), *Path("store").rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    with pytest.raises(trax.ArgumentsChangedError, match="parts: "):
        next(old_loops.public(parts=old_loops.PARTS[:2]))
    assert ":" not in stored_digest()
    with old_loops.public() as run:
        run.result()
    assert stored_digest().startswith("2:")


def stored_digest() -> str:
    """Return the digest of the argument in the newest checkpoint."""
    digest: str = Store("store").peek("public")["arguments"]["parts"]["digest"]
    return digest
