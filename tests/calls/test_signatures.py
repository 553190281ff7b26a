"""Signatures of functions, whatever their annotations name."""

from __future__ import annotations

import inspect
import sys

import pytest
from support import run_script

from trax.calls.signatures import signature


def function(state: int, /, to: Nowhere = 3, *, fast: bool) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
    """Nothing evaluates these."""


def test_a_signature_has_the_parameters() -> None:
    """With their kinds and defaults."""
    assert [*signature(function).parameters] == ["state", "to", "fast"]
    assert signature(function).parameters["to"].default == 3
    assert signature(function).parameters["fast"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.skipif(sys.version_info < (3, 14), reason="Python evaluates annotations at once")
def test_an_annotation_that_only_type_checkers_know_is_no_error() -> None:
    """Python 3.14 lets a function have it, and raises where somebody asks for it."""
    script = """
import trax

@trax.resumable(create=int)
def count(n: Nowhere, to: Nowhere) -> Nowhere:
    while n < to:
        n = yield n + 1

print(count(to=3).result())
"""
    assert run_script(script).stdout == "3\n"
