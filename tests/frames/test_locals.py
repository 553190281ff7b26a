"""The state of a plain loop is a mapping that cannot be changed, and knows its step."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import trax

STATE = trax.Locals({"epoch": 3, "best": 0.25}, 4)


def test_it_is_a_mapping() -> None:
    """With all that one has, in the order in which it was made."""
    assert isinstance(STATE, Mapping)
    assert {**STATE} == STATE == {"epoch": 3, "best": 0.25}
    assert (list(STATE), len(STATE), STATE["best"], STATE.step) == (["epoch", "best"], 2, 0.25, 4)
    assert ("epoch" in STATE, "loss" in STATE) == (True, False)
    assert (STATE.get("epoch"), STATE.get("loss"), STATE.get("loss", 7)) == (3, None, 7)
    match STATE:
        case {"epoch": epoch, **rest}:
            assert (epoch, rest) == (3, {"best": 0.25})


def test_it_cannot_be_changed() -> None:
    """Neither by itself, nor through the mapping that it was made of."""
    values = {"epoch": 3}
    state: Any = trax.Locals(values, 4)
    values["epoch"] = 5
    assert state["epoch"] == 3
    with pytest.raises(TypeError, match="item assignment"):
        state["epoch"] = 5
    with pytest.raises(TypeError, match="item deletion"):
        del state["epoch"]
    for name in ("step", "epoch"):
        with pytest.raises(AttributeError):
            setattr(state, name, 5)


def test_a_name_that_is_not_there_is_explained() -> None:
    """By whoever made it; whether a name is there is asked without that."""
    asked = []

    def missing(name: str) -> str:
        asked.append(name)
        return f"{name} is not needed"

    state = trax.Locals({}, 4, missing)
    with pytest.raises(KeyError, match="loss is not needed"):
        state["loss"]
    assert asked == ["loss"]
    assert "loss" not in state
    assert asked == ["loss"]
    with pytest.raises(KeyError, match="no local variable 'loss' is stored"):
        STATE["loss"]


def test_its_text_has_every_name_and_shortens_the_values() -> None:
    """In one line, also where a value has many or cannot be shown."""

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    values = {"n": 1, "grid": np.zeros((9, 9)), "words": ["word"] * 99, "broken": Broken()}
    text = repr(trax.Locals({**values, **dict.fromkeys("abcdefghij")}, step=12))
    assert text.startswith("Locals({'n': 1, 'grid': array(")
    assert all(f"'{name}': " in text for name in [*values, *"abcdefghij"])
    assert text.endswith("'j': None}, step=12)")
    assert "\n" not in text
    assert len(text) < 500


def pickled(state: trax.Locals) -> Any:
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_it_is_copied_and_pickled_without_its_explanation(again: Any) -> None:
    """That belongs to the run; a local function cannot be pickled either."""
    made = again(trax.Locals({"epoch": [3]}, 4, lambda name: name))
    assert type(made) is trax.Locals
    assert made == {"epoch": [3]}
    assert (made.step, repr(made)) == (4, "Locals({'epoch': [3]}, step=4)")
    with pytest.raises(KeyError, match="no local variable 'loss'"):
        made["loss"]


def test_the_result_of_a_loop_that_has_ended() -> None:
    """Whoever loads it has no call that could return it."""
    state = trax.Locals({}, 4, result={"loss": 0.25})
    assert state.result == {"loss": 0.25}
    assert repr(state) == "Locals({}, step=4, result={'loss': 0.25})"
    assert "<th>result</th>" in state._repr_html_()
    made = pickle.loads(pickle.dumps(state))
    assert (made.result, made.step, dict(made)) == ({"loss": 0.25}, 4, {})
    assert STATE.result is None
    assert "result" not in repr(STATE) + STATE._repr_html_()


@pytest.mark.parametrize("returned", [None, "best"])
def test_a_loop_that_has_ended_has_its_result_in_its_state(returned: str | None) -> None:
    """By name, by the function, by the core and of the run itself; in a later process, too."""

    @trax.resumable
    def fit(n: int, start: list[int]):  # type: ignore[no-untyped-def]
        best = start
        for k in range(n):
            yield k
        if returned:
            return best
        return None

    run = fit(5, [7])
    next(run)
    assert run.state.result is None
    assert trax.load("fit").result is None
    run.close()
    run = fit(5, [7])
    result = run.result()
    assert result == ([7] if returned else 4)
    assert run.state.result == result
    for state in (fit(5, [7]).state, fit.load(), trax.load("fit"), trax.Trax().recover("fit")):
        assert (state.step, dict(state)) == (5, {})
        if returned:
            assert state.result is not None  # it is one of the arguments, which nobody gave
        else:
            assert state.result == result
    with pytest.raises(KeyError, match="attribute `result`"):
        trax.load("fit")["best"]
