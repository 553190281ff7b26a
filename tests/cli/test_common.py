"""Names mean runs: exactly, or by a pattern."""

from __future__ import annotations

import click
import pytest

import trax
from trax.cli.common import matching
from trax.survey.runs import Survey


def test_each_run_is_meant_once_and_none_by_mistake() -> None:
    with trax.Trax() as store:
        store.log(**dict.fromkeys(("fit", "fit-1", "fit-2", "[f]it", "FIT"), 0))
    present = Survey()
    assert matching(present, ["fit"]) == ["fit"]
    assert matching(present, ["fit-?", "fit*"]) == ["fit-1", "fit-2", "fit"]
    assert matching(present, ["[f]it"]) == ["[f]it"]
    assert matching(present, ["[fF]*"]) == ["FIT", "fit", "fit-1", "fit-2"]
    for nothing in ("fit-", "", "../fit", "/", "*/x", "\x1b"):
        with pytest.raises(click.ClickException, match="no run "):
            matching(present, [nothing])
    with pytest.raises(click.ClickException, match=r"no run 'fitt' in .*: did you mean fit\?"):
        matching(present, ["fitt"])


def test_a_store_that_is_not_there_is_not_taken_for_an_empty_one() -> None:
    with pytest.raises(
        click.ClickException, match=r"there is no store /.*/\.trax: .*--dir.*TRAX_DIR"
    ):
        matching(Survey(), ["fit"])
