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
    if name == "ResumeWarning":
        assert issubclass(kind, UserWarning)
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


HOSTILE = {
    "a\x1b]0;owned\x07": r"a\x1b]0;owned\x07",
    "C1 \x9b31m \x85 \x7f": r"C1 \x9b31m \x85 \x7f",
    "\u202egnp.exe\u2066\u200f\u2028": r"\u202egnp.exe\u2066\u200f\u2028",
    "\r\b\udcff": r"\r\x08\udcff",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_no_error_can_steer_a_terminal(text: str, shown: str) -> None:
    """Whatever it quotes: escapes of a terminal, text that runs the other way, half characters."""
    for error in (trax.TraxError(text), trax.CorruptionError(text, "path"), trax.UsageError(text)):
        assert str(error) == error.args[0] == shown
        assert str(pickle.loads(pickle.dumps(error))) == shown
    assert str(trax.Preempted(text, 1, "SIGTERM")).startswith(f"{shown} was stopped")


def test_ordinary_text_of_any_script_is_shown_as_it_is() -> None:
    """With the joiners that some need, and the newlines and tabs of a message."""
    text = "cause:\n\tErdős Ωμέγα 日本語 שלום नमस्ते क्\u200dष 👩\u200d🔬 ❤\ufe0f \\x1b"
    assert errors.printable(text) == text
    assert errors.one_line(text) == text.replace("\n", r"\n").replace("\t", r"\t")
