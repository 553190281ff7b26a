"""What a replica tells of a run is true, costs few requests, and disturbs no writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from replicas import with_checksum
from support import run_script, start_script

import trax
from trax.replica.directory import DirectoryObjects
from trax.storage.process import process
from trax.survey import replica_runs
from trax.survey.details import details
from trax.survey.replica_runs import ReplicaSurvey
from trax.survey.run_info import RunInfo

FIT = """
import os, signal, sys
import trax

@trax.resumable(every_steps=20, replica=os.path.abspath("sweep"), replica_seconds=0.02,
                name="fit-{k}", total="n", varying="n")
def fit(n, k, fails=-1):
    x = 0.0
    with trax.open(f"out-{k}.txt") as file:
        for i in range(n):
            if i == fails:
                raise ValueError("loss is nan")
            x += i
            print(i, file=file)
            yield x
    return x
"""


def survey() -> ReplicaSurvey:
    """Return the replicas here."""
    return ReplicaSurvey(f"file://{Path('sweep').resolve()}")


def the_run(name: str) -> RunInfo:
    """Return what is known of a run, which is told alone and with all others."""
    found = survey().run(name)
    assert found is not None
    assert found in survey().runs()
    return found


def test_how_each_run_has_ended() -> None:
    run_script(
        FIT
        + "fit(100, 1).result()\n"
        + "for step, _ in enumerate(fit(100, 2), 1):\n    if step == 41: break\n"
        + "try: fit(100, 3, fails=17).result()\nexcept ValueError: pass\n"
    )
    done, stopped, failed = survey().runs()
    assert (done.name, done.state, done.step, done.total) == ("fit-1", "done", 100, 100)
    assert (stopped.state, stopped.step, stopped.reason) == ("stopped", 41, "closed")
    assert (failed.state, failed.step) == ("failed", 17)
    assert failed.error is not None
    assert failed.error.message == "loss is nan"
    for local, copied in zip(trax.runs(), survey().runs(), strict=True):
        assert (local.host, local.pid, local.began) == (copied.host, copied.pid, copied.began)
        assert copied.replica is None
    assert done.path == f"{survey().path}/runs/fit-1"
    assert done.size == sum(path.stat().st_size for path in Path("sweep/runs/fit-1").iterdir())


def test_a_killed_one_was_copied_lately_and_is_silent_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its last copy is known: nobody knows if it goes on."""
    run_script(
        FIT
        + "from trax.survey.replica_runs import ReplicaSurvey\n"
        + "for step, _ in enumerate(fit(100, 1), 1):\n"
        + "    if step == 37:\n"
        + "        survey = ReplicaSurvey(f'file://{os.path.abspath(\"sweep\")}')\n"
        + "        while not (info := survey.run('fit-1')) or info.step < 37: pass\n"
        + "        os.kill(os.getpid(), 9)\n",
        check=False,
    )
    info = the_run("fit-1")
    assert (info.state, info.step, info.reason) == ("running", 37, None)
    assert info.last is not None
    monkeypatch.setattr(process, "time", partial(float, info.last + 61))
    info = the_run("fit-1")
    assert (info.state, info.step, info.eta) == ("silent", 37, None)


def test_a_run_that_was_opened_again_is_that_of_who_has_claimed_it() -> None:
    run_script(FIT + "for step, _ in enumerate(fit(100, 1), 1):\n    if step == 9: break\n")
    with start_script(
        FIT + "import time\nfor _ in fit(100, 1):\n    print(os.getpid(), flush=True)\n"
        "    sys.stdin.readline()\n"
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        info = the_run("fit-1")
        assert (info.state, info.pid, info.resumes) == ("running", other.pid, 1)
        assert info.step in (9, 10)


def test_of_steps_that_are_not_logged_the_checkpoint_counts() -> None:
    run_script(
        "import os, trax\n"
        "@trax.resumable(create=list, replay_log=None, every_steps=3, replica_seconds=0.02,"
        " replica=os.path.abspath('sweep'))\n"
        "def loop(state):\n    while True:\n        state.append(1)\n        yield\n"
        "for step, _ in enumerate(loop(), 1):\n    if step == 5: break"
    )
    assert (the_run("loop").state, the_run("loop").step) == ("stopped", 5)


def test_what_cannot_be_read_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    run_script(FIT + "fit(10, 1).result()\nfit(10, 2).result()\nfit(10, 3).result()")
    newest = {k: max(Path(f"sweep/runs/fit-{k}").glob("0*")) for k in (1, 2, 3)}
    newest[2].write_bytes(b"?" + newest[2].read_bytes()[1:])
    data = bytearray(newest[3].read_bytes())
    data[8] = 9
    newest[3].write_bytes(with_checksum(bytes(data)))
    good, damaged, newer = survey().runs()
    assert good.state == "done"
    assert (damaged.state, newer.state) == ("damaged", "damaged")
    assert f"{newest[2].name}: its checksum is invalid" in (damaged.problem or "")
    assert "has version 9" in (newer.problem or "")
    monkeypatch.setenv("TRAX_KEY", "")
    untrusted, *_ = survey().runs()
    assert untrusted.state == "untrusted"
    assert "is signed, and there is no key" in (untrusted.problem or "")


def test_an_object_that_is_missing_is_damage_for_a_list_as_well() -> None:
    run_script(FIT + "fit(9, 1).result()\nfor _ in fit(9, 2): break")
    run_script(FIT + "fit(9, 2).result()")
    directory = survey().opened.open("fit-2")
    assert directory is not None
    image, *others = directory.needed
    assert others
    path = Path(f"sweep/runs/fit-2/{image:012d}")
    path.unlink()
    good, damaged = survey().runs()
    assert (good.state, damaged.state) == ("done", "damaged")
    assert f"{path.name}: it is missing" in (damaged.problem or "")
    assert survey().run("fit-2") == damaged


def test_names_that_are_no_runs_are_left_out() -> None:
    run_script(FIT + "fit(10, 1).result()")
    Path("sweep/runs/.hidden").mkdir()
    Path("sweep/runs/.hidden/000000000001").write_bytes(b"?")
    Path("sweep/runs/empty").mkdir()
    assert [info.name for info in survey().runs()] == ["fit-1"]
    assert survey().run("nothing") is None


def test_a_directory_that_is_missing_is_not_made() -> None:
    with pytest.raises(trax.StorageError, match="is not a directory"):
        survey()
    assert not Path("sweep").exists()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the requests of each kind, and the bytes that are got."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        method = getattr(DirectoryObjects, name)

        def call(self: DirectoryObjects, *arguments: object) -> object:
            counts[name] += 1
            found = method(self, *arguments)
            counts["bytes"] += len(found) if isinstance(found, bytes | bytearray) else 0
            return found

        monkeypatch.setattr(DirectoryObjects, name, call)

    for name in ("get", "read", "list", "put", "delete"):
        counted(name)
    return counts  # type: ignore[return-value]


def test_a_list_takes_one_listing_and_a_request_for_each_run(requests: Counter[str]) -> None:
    """However large their states are: no checkpoint is got."""
    run_script(
        "import os, trax\n"
        "@trax.resumable(create=lambda: [os.urandom(10_000_000)], name='large-{k}',"
        " replica=os.path.abspath('sweep'))\n"
        "def large(state, k):\n    for n in trax.steps(9):\n        state = yield n\n"
        "for k in range(3): large(k).result()\n"
    )
    assert [info.state for info in survey().runs()] == ["done"] * 3
    assert (requests["list"], requests["get"]) == (1, 3)
    assert requests["read"] <= 3  # the beginning of an image, which names the pieces
    assert requests["put"] + requests["delete"] == 0
    assert requests["bytes"] < 100_000


LIVE = FIT + "for n, _ in enumerate(fit(10**9, 1)):\n    if n == 9: print('here', flush=True)\n"


def test_beside_a_live_writer_there_is_never_an_error_nor_a_step_that_was_not_written() -> None:
    """It copies all the time, and makes images, which delete what was there."""
    with start_script(LIVE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = _steps_seen(images=2)
    assert seen == sorted(seen)


def _steps_seen(images: int) -> list[int]:
    """Return the steps that readers tell until the writer has made some images."""
    seen: list[int] = []
    since: set[int] = set()
    while len(since) < images:
        info = survey().run("fit-1")
        if info is None:
            continue
        assert (info.state, info.problem) == ("running", None)
        found = survey().verify("fit-1")
        assert found.good, str(found)
        (local,) = trax.runs()  # read later, so it has all that was copied
        assert info.step is not None
        assert found.step is not None
        assert local.step is not None
        assert info.step <= found.step <= local.step
        shown = details(survey(), "fit-1")
        assert shown is not None
        assert shown.good
        assert shown.series is not None
        assert shown.series.problem is None
        seen += [info.step, found.step, shown.info.step or 0]
        directory = survey().opened.open("fit-1")
        assert directory is not None
        since.add(directory.head.since)
    return seen


def test_what_readers_try_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """If objects are gone whenever they are read."""
    run_script(FIT + "for step, _ in enumerate(fit(100, 1), 1):\n    if step == 9: break\n")

    def gone(*_: object) -> int:
        raise FileNotFoundError("gone")

    monkeypatch.setattr(replica_runs, "_count", gone)
    info = survey().run("fit-1")
    assert info is not None
    assert (info.state, info.problem) == ("damaged", "its objects come and go")
