"""The errors: one family, which can be sent to other processes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import trax
from trax import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_are_one_family_and_survive_pickling(name: str) -> None:
    """A worker process can hand them to its parent."""
    kind: Any = getattr(trax, name)
    if name == "Preempted":  # it stands beside them; see test_signals.py
        assert not issubclass(kind, Exception)
        return
    assert issubclass(kind, trax.TraxError)
    is_about_file = name in ("CorruptionError", "FormatVersionError")
    error = kind("message", "path", 7) if is_about_file else kind("message")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "message"
    if is_about_file:
        assert (again.path, again.offset) == ("path", 7)


def test_an_error_can_be_sent_to_another_process() -> None:
    """As multiprocessing does; nothing of it is lost."""
    error = trax.CorruptionError("what happened", "/a/file", 17)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.offset) == ("what happened", "/a/file", 17)
    assert isinstance(again, trax.TraxError)
