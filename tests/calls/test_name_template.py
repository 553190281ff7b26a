"""Names of runs, made from templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trax
from trax.calls.name_template import check_template, fits_template, format_name


def test_the_name_is_a_template_over_the_arguments() -> None:
    """There is one run for each value, and load finds each."""

    @trax.resumable(create=int, name="sweep-{seed}-{rate:.2f}")
    def sweep(n: int, seed: int, rate: float = 0.5) -> Iterator[int]:
        yield seed * 10

    assert [sweep(seed=seed).result() for seed in (1, 2)] == [10, 20]
    assert trax.load("sweep-2-0.50") == 20
    assert sweep.load(seed=1) == 10


@pytest.mark.parametrize("part", ["../../x", "a/b", "\0", ""])
def test_a_template_never_leads_out_of_the_store(part: str, tmp_path: Path) -> None:
    """A name made of an argument is checked when the call is made."""

    @trax.resumable(create=int, name="{part}")
    def loop(n: int, part: str) -> Iterator[int]:
        yield 1

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(trax.UsageError, match="a run's name"):
        loop(part)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_differs_in_every_process_is_refused() -> None:
    """The run would silently start over each time."""

    @trax.resumable(create=int, name="run-{model}")
    def loop(n: int, model: Any) -> Iterator[int]:
        yield 1

    with pytest.raises(trax.UsageError, match="would differ in every process"):
        loop(object())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (7, "name must be a str"),
        ("run-{", "not a template"),
        ("run-{m}", "'m', which is not an argument"),
        ("run-{m.size}", "'m', which is not an argument"),
        ("run-{m[0]}", "'m', which is not an argument"),
        ("a/b", "looks like a path"),
    ],
)
def test_a_template_that_cannot_work_is_refused(template: Any, message: str) -> None:
    """Before any call is made."""
    with pytest.raises(trax.UsageError, match=message):
        check_template(template, ["n"])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("run-{m}", "needs the argument 'm'"),
        ("run-{n.size}", "cannot be formatted: 'int' object has no attribute 'size'"),
        ("run-{n:word}", "cannot be formatted: Invalid format specifier"),
    ],
)
def test_a_name_that_cannot_be_made_is_an_error(template: str, message: str) -> None:
    """It says what is missing from the call, or wrong with its arguments."""
    with pytest.raises(trax.UsageError, match=message):
        format_name(template, {"n": 1})


def test_a_name_fits_the_template_that_it_was_made_from() -> None:
    """With whatever values."""
    assert fits_template("lorenz-3", "lorenz-{seed}")
    assert fits_template("a.b-0.1-x", "a.b-{x}-{y!r:>3}")
    assert fits_template("plain", "plain")
    assert not fits_template("lorenz-3", "lorenz-{seed}-{dt}")
    assert not fits_template("other", "plain")
