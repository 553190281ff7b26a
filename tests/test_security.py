"""Attacks: what somebody can do who writes where the store lies, and what trax does then."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import trax
from trax import TraxError

KEYS = pytest.mark.parametrize("key", ["11" * 32, ""], ids=["with a key", "without"])


def append(state: str, increment: str) -> str:
    return state + increment


# -- files of one run, at different times --------------------------------------------------


@KEYS
def test_a_mixture_of_two_histories_gives_no_state_that_never_was(
    key: str, monkeypatch: pytest.MonkeyPatch, store_here: Path, count: Callable[[str, int], None]
) -> None:
    """A store was put back to an earlier day and gone on with; files of both are there."""
    monkeypatch.setenv("TRAX_KEY", key)
    directory = store_here / "runs" / "x"

    def states() -> str:
        with trax.Trax() as store:
            return store.recover("x", replay_log=append)

    with trax.Trax() as store:
        store.checkpoint(x="-")
        store.log(x="0")
    earlier = {path.name: path.read_bytes() for path in directory.iterdir()}
    stored, histories = {"-", "-0"}, [earlier]
    for letter in "AB":
        shutil.rmtree(directory)
        directory.mkdir(0o700)
        for name, content in earlier.items():
            (directory / name).touch(0o600)
            (directory / name).write_bytes(content)
        with trax.Trax() as store:
            store.log(x="1")
            stored.add("-01")
            store.checkpoint(x=letter)
            stored.add(letter)
            for increment in (f"{letter}2", "3"):
                store.log(x=increment)
                stored.add(states())
        histories.append({path.name: path.read_bytes() for path in directory.iterdir()})
    names = sorted(set().union(*histories))
    choices = [{content.get(name) for content in histories} | {None} for name in names]
    mixtures = 0
    for mixture in itertools.product(*choices):
        shutil.rmtree(directory)
        directory.mkdir(0o700)
        for name, found in zip(names, mixture, strict=True):
            if found is not None:
                (directory / name).touch(0o600)
                (directory / name).write_bytes(found)
        with contextlib.suppress(TraxError):
            assert states() in stored
        mixtures += 1
    assert mixtures > 50
    count("mixtures of files read", mixtures)
