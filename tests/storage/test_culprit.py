"""The part with a fault is found in time, and its path is one that a person can read."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from trax import CodecError
from trax.storage import culprit
from trax.storage.codec import encode
from trax.storage.culprit import find_culprit, find_part


def is_lock(obj: Any) -> Exception | None:
    """Return an error for a list that has a lock in it, at any depth."""
    while isinstance(obj, list):
        (obj,) = obj
    return TypeError("a lock") if isinstance(obj, type(threading.Lock())) else None


def nested(depth: int, obj: Any) -> Any:
    """Return lists in lists, with an object in the innermost one."""
    for _ in range(depth):
        obj = [obj]
    return obj


def test_a_long_path_is_shown_with_its_ends() -> None:
    """And the number of the steps between."""
    lock = threading.Lock()
    path, part, error = find_culprit(nested(30, lock), "state", ValueError(), is_lock)
    assert path == "state[0][0][0][0] ... 22 steps ... [0][0][0][0]"
    assert part is lock
    assert str(error) == "a lock"


def test_a_long_key_is_shortened_and_a_key_without_text_is_no_error() -> None:
    """The path stays one line."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    lock = threading.Lock()
    state = {"a" * 1000: {Mute(): lock}}
    found = find_part(state, "state", lambda part: part is lock)
    assert found is not None
    assert len(found[0]) < 250
    assert "aaa...aaa" in found[0]
    assert "Mute instance" in found[0]


def test_the_nearest_part_is_found() -> None:
    """Or none."""
    state = {"far": [[[1.5]]], "near": [2.5]}
    assert find_part(state, "state", lambda part: type(part) is float) == ("state['near'][0]", 2.5)
    assert find_part(state, "state", lambda part: type(part) is bytes) is None


def test_the_search_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the part that was found so far."""
    monkeypatch.setattr(culprit, "SECONDS", -1.0)
    state = nested(3, threading.Lock())
    assert find_culprit(state, "state", ValueError("whole"), is_lock)[:2] == ("state", state)
    assert find_part(state, "state", lambda part: part is not state) is None


def test_a_deep_state_with_a_lock_is_refused_in_few_words_and_soon() -> None:
    """With the reason, though the part may be out of reach."""
    begun = time.monotonic()
    with pytest.raises(CodecError) as caught:
        encode(nested(20_000, threading.Lock()), "state")
    assert "cannot pickle '_thread.lock' object" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert time.monotonic() - begun < 60  # a search without an end would take far longer
