"""What any released trax has written opens forever; what a newer one writes is left alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import old_loops
import pytest
from support import of_version

import trax
from trax import FormatVersionError
from trax.storage.records import FORMAT_VERSION
from trax.storage.store import Store

DATA = Path(__file__).parents[1] / "data"
STORES = sorted(path.relative_to(DATA).as_posix() for path in DATA.glob("format-*/*"))


@pytest.fixture
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a copy of an old store here, as a checkout may have mangled its modes; name its run."""
    where = DATA / request.param
    shutil.copytree(where, ".", dirs_exist_ok=True)
    for path in Path("store").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    Path("store").chmod(0o700)
    monkeypatch.setenv("TRAX_KEY", old_loops.KEY if where.name == "signed" else "")
    (name,) = os.listdir("store/runs")
    return name


def test_there_are_stores_of_every_version_and_mode() -> None:
    """A new format version brings files of its own."""
    kinds = {"asynchronous", "core", "finished", "function", "none", "public", "replace", "signed"}
    assert set(STORES) >= {
        f"format-{version}/{kind}" for version in range(1, FORMAT_VERSION + 1) for kind in kinds
    }
    for path in DATA.glob("format-*/*/store/runs/*/*"):
        version = int(path.relative_to(DATA).parts[0].removeprefix("format-"))
        assert struct.unpack_from("<I", path.read_bytes(), 8) == (version,)


@pytest.mark.parametrize("run", STORES, indirect=True)
def test_an_old_store_gives_its_state(run: str) -> None:
    """By reading alone."""
    state = trax.load(run, traxdir="store", replay_log=old_loops.meaning(run))
    assert old_loops.described(state) == json.loads(Path("state.json").read_text())


@pytest.mark.parametrize("run", STORES, indirect=True)
def test_an_old_run_goes_on(run: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """To the same state and the same output as a run that is begun and ended by this trax."""
    if run == "core":
        with trax.Trax("store") as store:
            store.log(core="the next one")
        assert trax.Trax("store").recover("core") == "the next one"
        return
    loop = old_loops.LOOPS[run]
    old_loops.drive(loop, old_loops.STEPS + 1)
    mine = trax.load(run, traxdir="store")
    with contextlib.chdir(tmp_path_factory.mktemp("new")):
        random.seed(1)
        old_loops.drive(loop, old_loops.STEPS + 1)
        new = trax.load(run, traxdir="store")
        output = Path("out.txt").read_text() if run == "function" else ""
    assert old_loops.described(mine) == old_loops.described(new)
    assert mine["step"] == old_loops.STEPS
    if output:
        assert Path("out.txt").read_text() == output


def everybody(run: str) -> list[Callable[[], object]]:
    """Return all that reads a run, or goes on with it."""
    loop = old_loops.LOOPS.get(run)
    return [
        lambda: trax.load(run, traxdir="store"),
        lambda: trax.Trax("store").recover(run),
        lambda: trax.Trax("store").log(**{run: 1}),
        lambda: trax.Trax("store").checkpoint(**{run: 1}),
        lambda: old_loops.drive(loop, 1) if loop else Store("store").recover(run),
    ]


@pytest.mark.parametrize("kind", ["log", "checkpoint"])
@pytest.mark.parametrize("run", STORES, indirect=True)
def test_a_store_of_a_newer_trax_is_left_alone(run: str, kind: str) -> None:
    """Whoever opens it: the error names the file and both versions, and nothing is touched."""
    directory = Path("store/runs", run)
    newest = max(directory.glob(f"{kind}-*"))
    newest.write_bytes(of_version(newest.read_bytes(), FORMAT_VERSION + 1))
    before = {path: path.read_bytes() for path in directory.iterdir()}
    expected = rf"{newest} is of format version {FORMAT_VERSION + 1}; .*up to {FORMAT_VERSION}\n"
    for act in everybody(run):
        with pytest.raises(FormatVersionError, match=expected) as caught:
            act()
        assert caught.value.path == str(newest.resolve())
        assert {path: path.read_bytes() for path in directory.iterdir()} == before
