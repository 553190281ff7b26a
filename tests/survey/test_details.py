"""All that is known of one run."""

from __future__ import annotations

from collections.abc import Generator

import pytest

import trax
from trax.survey import details as module
from trax.survey.details import Details, details
from trax.survey.runs import Survey


@trax.resumable(create=int, every_steps=4, varying=("to",))
def fit(n: int, to: int, lr: float = 0.1) -> Generator[int, int, None]:
    for _ in trax.steps(to):
        n = yield n + 1


def of(name: str, *, verify: bool | None = None) -> Details:
    found = details(Survey(), name, verify=verify)
    assert found is not None
    return found


def test_the_call_and_the_checkpoint() -> None:
    run = fit(10)
    for _ in range(6):
        next(run)
    found = of("fit")
    assert found.arguments == {"to": "10", "lr": "0.1"}
    assert (found.checkpoint, found.info.step, found.info.state) == (4, 6, "running")
    assert found.good is True
    run.close()
    fit(10).result()
    assert [event["event"] for event in of("fit").events] == ["began", "stopped", "resumed"]
    assert of("fit").as_dict()["state"] == "done"


def test_large_runs_are_verified_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fit(10).result()
    monkeypatch.setattr(module, "_SOON", 10)
    assert of("fit").good is None
    assert of("fit", verify=True).good is True


def test_nothing_stored_is_none() -> None:
    assert details(Survey(), "nothing") is None
