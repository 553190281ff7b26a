"""One directory of runs: holding, peeking, and moving aside."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from trax import LockedError, StorageError, UntrustedError, UsageError, prune, repair, rewind
from trax.storage.codec import encode
from trax.storage.held_run import HeldRun
from trax.storage.process import Sync
from trax.storage.records import HEADER_SIZE
from trax.storage.store import Store


def hold(store: Store, name: str = "run", sync: Sync = "os") -> HeldRun:
    """Hold a run."""
    return store.hold(name, sync=sync, keep=2, report=print)


# -- holding -------------------------------------------------------------------------------


def test_reading_makes_nothing(store_here: Path) -> None:
    """Neither directory nor lock."""
    store = Store()
    assert store.files("run") == []
    assert store.recover("run") is None
    assert store.peek("run") == {}
    assert not store_here.exists()


def test_a_name_is_checked_before_anything_is_made(store_here: Path) -> None:
    """Whoever asks."""
    store = Store()
    actions: list[Callable[[str], object]] = [
        store.files,
        store.recover,
        store.peek,
        store.run_path,
        lambda name: hold(store, name),
    ]
    for action in actions:
        with pytest.raises(UsageError):
            action("../run")
    assert not store_here.exists()


@pytest.mark.parametrize("place", [".", "runs", "locks", "runs/run"])
def test_a_file_in_the_place_of_a_directory_is_an_error(place: str, store_here: Path) -> None:
    """Of trax, and it names the place."""
    hold(Store()).close()
    path = store_here / place
    path.rename(store_here.parent / "away")
    path.parent.mkdir(exist_ok=True)
    path.touch(0o600)
    with pytest.raises((UntrustedError, StorageError)) as caught:
        hold(Store())
    assert str(path) in str(caught.value)


def test_a_hold_that_could_not_be_made_holds_nothing(store_here: Path) -> None:
    """The lock is released; mended, the run can be held."""
    hold(Store()).close()
    directory = store_here / "runs" / "run"
    directory.chmod(0o777)
    with pytest.raises(UntrustedError):
        hold(Store())
    directory.chmod(0o700)
    hold(Store()).close()


# -- peeking -------------------------------------------------------------------------------


def test_the_newest_checkpoint_can_be_peeked_at(store_here: Path) -> None:
    """Without reading its parts; what is damaged or not there is empty."""
    store = Store()
    held = hold(store)
    for step in range(3):
        parts = {"state": encode(step, "state")}
        held.writer.checkpoint({"step": step, "done": True}, parts, derived=True)
    held.close()
    assert store.peek("run").items() >= {"step": 2, "done": True, "name": "run"}.items()
    newest = max((store_here / "runs" / "run").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[: HEADER_SIZE + 10])
    assert store.peek("run") == {}


# -- moving aside --------------------------------------------------------------------------


def test_for_a_fresh_start_a_run_is_moved_aside_as_it_is(store_here: Path) -> None:
    """Under a number, so that nothing is ever overwritten; where nothing is, nothing is moved."""
    store = Store()
    held = store.hold("run", sync="os", keep=2, report=print, fresh=True)
    assert held.aside is None
    for number in (1, 2):
        held.writer.append(encode(number, "increment"))
        held.close()
        before = {path.name: path.read_bytes() for path in Path(store.run_path("run")).iterdir()}
        held = store.hold("run", sync="os", keep=2, report=print, fresh=True)
        assert held.aside == str(store_here / "aside" / f"run~{number}")
        assert {path.name: path.read_bytes() for path in Path(held.aside).iterdir()} == before
        assert store.files("run") == []
    held.close()


def test_a_disk_that_does_not_say_whether_a_run_is_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing begins anew in the place of what cannot be seen for now."""
    store = Store()
    held = hold(store)
    held.writer.append(encode(1, "increment"))
    held.close()

    def refuse(function: Callable[..., os.stat_result], path: Any, **how: Any) -> os.stat_result:
        if path == store.run_path("run"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return function(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", partial(refuse, os.lstat))
        patch.setattr(os, "stat", partial(refuse, os.stat))
        with pytest.raises(StorageError, match="Input/output error"):
            store.recover("run")
        with pytest.raises(StorageError, match="Input/output error"):
            store.hold("run", sync="os", keep=2, report=print, fresh=True)
    assert store.files("run") == ["log-00000001"]


def test_what_somebody_else_holds_is_not_moved_aside(store_here: Path) -> None:
    """First the lock, then the move."""
    held = hold(Store())
    held.writer.append(encode(1, "increment"))
    with pytest.raises(LockedError):
        Store().hold("run", sync="os", keep=2, report=print, fresh=True)
    assert Store().files("run") == ["log-00000001"]
    held.close()


# -- what is there -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doing", "action"),
    [
        ("removing", lambda: Store().remove("run")),
        ("rewinding", lambda: rewind("run", step=1)),
        ("repairing", lambda: repair("run")),
        ("pruning", prune),
    ],
)
def test_the_error_of_a_disk_says_what_was_tried(
    doing: str, action: Callable[[], object], store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is only read, say."""
    hold(Store()).close()
    (store_here / "runs/run/log-00000001.broken").touch()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("trax.storage.store.Lock", refuse)
    with pytest.raises(StorageError, match=f"{doing} {store_here}/runs/run failed"):
        action()


def test_a_link_to_nothing_is_refused() -> None:
    """The disk may not be mounted: what is on it must not seem to be lost."""
    Path(".trax").symlink_to("disk/store")
    with pytest.raises(StorageError, match=r"\.trax is a link to disk/store, which is not there"):
        Store()
    Path("disk/store").mkdir(parents=True, mode=0o700)
    hold(Store()).close()
    assert Path("disk/store/runs/run").is_dir()
    Path("other").symlink_to("nothing")
    with pytest.raises(StorageError, match="other is a link to nothing"):
        Store("other/inner/store")
    assert not Path("nothing").exists()


def test_the_newest_runs_are_those_that_changed_last() -> None:
    """As many as are asked for; a store that is not there has none."""
    store = Store()
    assert store.newest_runs(3) == []
    for number, name in enumerate(("b", "a", "c d")):
        hold(store, name).close()
        os.utime(store.run_path(name), (number, number))
    assert store.newest_runs(2) == ["c d", "a"]


def test_a_run_has_increments_if_its_log_has_records() -> None:
    """Its header is nothing yet, nor is a note."""
    store = Store()
    assert not store.has_increments("run")
    held = hold(store)
    held.writer.append(encode(1, "increment"))
    held.close()
    assert store.has_increments("run")
    log = Path(store.run_path("run"), "log-00000001")
    log.write_bytes(log.read_bytes()[:HEADER_SIZE])
    assert not store.has_increments("run")


def test_a_run_that_is_superseded_is_moved_aside_under_its_lock() -> None:
    """Nobody can begin it in between."""
    store = Store()
    held = hold(store)
    held.writer.append(encode(1, "increment"))
    held.close()

    def is_superseded() -> bool:
        with pytest.raises(LockedError):
            hold(Store())
        return True

    held = store.hold("run", sync="os", keep=2, report=print, is_superseded=is_superseded)
    assert held.aside is not None
    held.close()


def test_a_run_is_replaced_as_a_whole_or_not_at_all(store_here: Path) -> None:
    """The files that were there before are moved aside."""
    store = Store()
    with_a_run = Path(store.run_path("x"))
    with_a_run.mkdir(parents=True, mode=0o700)
    (with_a_run / "log-00000001").write_text("old")

    def replace(*, fails: bool) -> None:
        with store.replacing("x") as directory:
            output = directory.create("log-00000002")
            output.write(b"new")
            output.close()
            if fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replace(fails=True)
    assert store.files("x") == ["log-00000001"]
    assert not list((store_here / "aside").iterdir())
    replace(fails=False)
    assert store.files("x") == ["log-00000002"]
    assert (store_here / "aside" / "x~1" / "log-00000001").read_text() == "old"
