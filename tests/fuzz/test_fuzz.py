"""Stores that no trax would write: each is an error by name, or what it says, and nothing else.

``tests/fuzz/run.py`` looks for more of them, guided by what code they reach.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz.mutate import mutate
from fuzz.recipe import Store, build, parse, songs, write
from fuzz.run import NAMES
from fuzz.targets import TARGETS, Target, attempt, watch

CORPUS = Path(__file__).parent / "corpus"
# How many recipes are made anew in each run of the tests.
MUTATIONS = {
    "log": 500,
    "checkpoint": 500,
    "run": 300,
    "context": 500,
    "lock": 200,
    "names": 500,
    "load": 120,
    "core": 80,
    "resume": 60,
    "verify": 100,
    "repair": 80,
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is reported is not looked at, and what sang in another test is forgotten."""
    logging.disable()
    songs.clear()
    yield
    logging.disable(logging.NOTSET)


def corpus(name: str) -> list[Any]:
    """Return the recipes that are tried every time."""
    return [parse(path.read_bytes()) for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_every_recipe_of_the_corpus(name: str, count: Callable[[str, int], None]) -> None:
    """Each was found by a fuzzer and once did harm, or is a store as trax writes it."""
    recipes = corpus(name)
    for recipe in recipes:
        tried(TARGETS[name], recipe, "of the corpus")
    count("fuzz executions", len(recipes))


@pytest.mark.parametrize("name", TARGETS)
def test_recipes_made_anew(name: str, count: Callable[[str, int], None]) -> None:
    """Other ones in each run; what fails can be made again from its seed."""
    recipes = corpus(name)
    seed = random.randrange(1 << 32)
    for number in range(MUTATIONS[name]):
        rng = Random(seed + number)
        recipe = mutate(rng.choice(recipes), rng, rng.choice(recipes))
        tried(TARGETS[name], recipe, f"of the seed {seed + number}")
    count("fuzz executions", MUTATIONS[name])


def tried(target: Target, recipe: Any, origin: str) -> None:
    """Try one, and say on failure which it was."""
    text = write(recipe)
    try:
        attempt(target, parse(text))
    except BaseException as error:
        error.add_note(f"the recipe {origin}: {text.decode(errors='backslashreplace')}")
        raise


# -- the fuzzer itself ---------------------------------------------------------------------


def test_the_corpus_is_small_and_of_the_targets() -> None:
    """It is tried in every run of the tests, and read by people."""
    files = list(CORPUS.rglob("*.json"))
    assert {path.parent.name for path in files} == set(TARGETS) == set(NAMES)
    assert len(files) < 200
    assert sum(path.stat().st_size for path in files) < 300_000


_WITH_CANARIES = ("checkpoint-00000002", "log-00000003")


def canary(**changes: Any) -> Any:
    """Return a recipe of a checkpoint and a log, with a canary in each."""
    recipe = parse((CORPUS / "load" / "started.json").read_bytes())
    files = recipe["files"]
    for record in files["checkpoint-00000002"]["records"]:
        if record[0] == 129:
            record[1] = "@canary"
    files["log-00000003"]["records"].append([129, "@canary"])
    for name, change in changes.items():
        files[name].update(change)
    return recipe


def loaded(recipe: Any) -> set[int]:
    """Load a recipe; return the canaries that sang."""
    songs.clear()
    TARGETS["load"].read(TARGETS["load"].prepare(recipe))
    return set(songs)


def test_a_canary_sings_when_it_is_loaded() -> None:
    """Else that none does would prove nothing."""
    recipe = canary()
    assert loaded(recipe) == build(recipe).allowed
    assert len(build(recipe).allowed) == 2


@pytest.mark.parametrize("name", _WITH_CANARIES)
def test_no_canary_sings_whose_checksum_does_not_hold(name: str) -> None:
    """Whichever byte in front of it is changed."""
    size = len(build(canary()).files[name])
    for offset in random.sample(range(size), 40):
        recipe = canary(**{name: {"changes": [[offset, 1 << random.randrange(8)]]}})
        tried(TARGETS["load"], recipe, f"in which byte {offset} is changed")


def test_of_a_signed_store_no_canary_sings_that_somebody_without_the_key_has_touched() -> None:
    """All checksums hold; what is changed or moved behind a signature is not loaded."""
    signed = canary() | {"signed": True}
    assert len(loaded(signed)) == len(build(signed).allowed) == 2
    for name, file in signed["files"].items():
        for _ in range(5):
            part, other = random.randrange(9), random.randrange(9)
            change = [part, random.randrange(1024), 1 << random.randrange(8)]
            for forged in ([change], [[part, other]], [change, [part, other]]):
                touched = signed | {"files": signed["files"] | {name: file | {"forged": forged}}}
                tried(TARGETS["load"], touched, f"in which {name} is forged")
        for signer in (False, "other"):
            touched = signed | {"files": signed["files"] | {name: file | {"signed": signer}}}
            tried(TARGETS["load"], touched, f"in which {name} is signed by {signer}")
            assert len(build(touched).allowed) == 1 + (name not in _WITH_CANARIES)


def test_reading_is_watched() -> None:
    """A reader that raises what it should not, takes too much or cannot decide is caught."""

    def raising(store: Store) -> None:
        raise KeyError

    def greedy(store: Store) -> None:
        bytes(1 << 24)

    answers = iter(range(9))
    readers: list[Callable[[Any], Any]] = [raising, greedy, lambda store: next(answers)]
    for read in readers:
        with pytest.raises((KeyError, AssertionError)):
            attempt(Target(build, read), {})


@pytest.mark.parametrize(
    ("name", "least"), [("load", 3), ("core", 4), ("resume", 4), ("verify", 9), ("repair", 12)]
)
def test_targets_reach_the_disk(name: str, least: int) -> None:
    """Where all that they write is refused, they find nothing."""
    watch()
    target = TARGETS[name]
    answers = [str(target.read(target.prepare(recipe))) for recipe in corpus(name)]
    assert sum("Error:" not in answer for answer in answers) >= least


def test_every_seed_of_the_corpus_is_read() -> None:
    """What trax has written so is no error: changes of it lead beyond the first check."""
    read = 0
    for recipe in corpus("run"):
        found = TARGETS["run"].read(build(recipe))
        read += not isinstance(found, str)
    assert read >= 8
