"""Nodes that are killed and lose their disks: a little of ``python tests/replica_storm.py``.

Emulators that are not installed are skipped; ``.ci/run`` installs them, and runs all cases.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from object_stores import is_here
from replica_loops import KINDS
from replica_storm import Place, Round, place_of

ANY_TIME = 1e9  # a slow machine is no failure


@contextlib.contextmanager
def a_round(place: str, kind: str, directory: Path) -> Iterator[tuple[Round, Place]]:
    """Run a store of objects for a ``with`` block, and end the nodes that are left then."""
    if place != "directory" and not is_here(place):
        pytest.skip(f"{place} or obstore is not installed")
    seed = random.randrange(1 << 32)
    print("seed", seed)  # shown if it fails
    with place_of(place, directory / "place") as objects:
        one = Round(directory / "nodes", objects, kind, random.Random(seed), ANY_TIME)
        try:
            yield one, objects
        finally:
            one.end()


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["output", *sorted({*KINDS} - {"output"})])
def test_a_run_survives_its_nodes_and_their_disks(
    kind: str, tmp_path: Path, count: Callable[[str, int], None]
) -> None:
    with a_round("directory", kind, tmp_path) as (one, _):
        one.run(4)
    count("nodes killed, most of them with their disks", 4)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("place", "kind"), [("moto", "waiting"), ("azurite", "plain"), ("moto", "large")]
)
def test_a_run_survives_its_nodes_beside_a_store_in_the_cloud(
    place: str, kind: str, tmp_path: Path
) -> None:
    """Which is stopped, restarted, late, and fails."""
    with a_round(place, kind, tmp_path) as (one, _):
        one.run(4)


@pytest.mark.parametrize("place", ["moto", "azurite"])
def test_a_slow_store_has_all_of_a_run_that_is_stopped(place: str, tmp_path: Path) -> None:
    """It has enough time before it is killed."""
    with a_round(place, "output", tmp_path) as (one, objects):
        node = one.start()
        assert node.wait_for(50)
        with objects.troubles["late"]():
            one.stop(node)
        one.finish()
