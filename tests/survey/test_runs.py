"""What a store has is told as it is, while runs are written, killed, pruned and removed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import change_status, run_script, start_script

import trax
from trax.cli import main
from trax.storage.filesystem import LocalDirectory
from trax.survey import runs as runs_module
from trax.survey.run_info import RunInfo
from trax.survey.runs import Survey, runs

LOOP = """
import os, sys, time
import trax

@trax.resumable(create=int, every_steps=50, name="{name}")
def fit(n, name, to=100):
    for _ in trax.steps(to):
        n = yield n + 1

"""


def the_run(name: str = "fit") -> RunInfo:
    info = Survey().run(name)
    assert info is not None
    return info


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.01)


def test_each_state_is_told_as_it_is() -> None:
    """Processes that have ended in each way, and one that is going on."""
    ends = {
        "done": "fit('done').result()",
        "failed": "for n in fit('failed'):\n    if n == 41: fit = run_failing()",
        "stopped": "for n in fit('stopped'):\n    if n == 41: os.kill(os.getpid(), 15)",
        "killed": "for n in fit('killed'):\n    if n == 41: os.kill(os.getpid(), 9)",
        "left": "for n in fit('left'):\n    if n == 41: break",
    }
    for name, script in ends.items():
        text = LOOP + script
        if name == "failed":
            text = LOOP.replace("n = yield", "if n == 41: raise ValueError('loss is nan')\n"
                                "        n = yield") + "fit('failed').result()"  # fmt: skip
        run_script(text, check=False)
    live = (
        LOOP
        + "for n in fit('running', 10**9):\n    if n == 41: print(flush=True); sys.stdin.read()"
    )
    with start_script(live) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = {info.name: info for info in runs()}
    assert {name: (info.state, info.step) for name, info in found.items()} == {
        "done": ("done", 100),
        "failed": ("failed", 41),
        "killed": ("killed", 41),
        "left": ("stopped", 41),
        "running": ("running", 41),
        "stopped": ("stopped", 41),
    }
    assert {info.total for info in found.values()} <= {100, 10**9, None}
    assert list(found) == sorted(found)
    error = found["failed"].error
    assert error is not None
    assert (error.type, error.message, Path(error.file or "").name) == (
        "ValueError",
        "loss is nan",
        "script.py",
    )
    assert (found["stopped"].reason, found["left"].reason) == ("SIGTERM", "closed")
    assert (found["running"].pid, found["running"].host) == (process.pid, os.uname().nodename)
    assert all(info.eta is None for name, info in found.items() if name != "running")
    assert all(abs(time.time() - (info.last or 0)) < 600 for info in found.values())
    for name, info in found.items():
        assert info.size == sum(path.stat().st_size for path in Path(".trax/runs", name).iterdir())


def test_a_killed_run_that_is_resumed_counts_it() -> None:
    kill = LOOP + "for n in fit('fit'):\n    if n == int(sys.argv[1]): os.kill(os.getpid(), 9)"
    for number, step in enumerate((10, 20, 30)):
        run_script(kill, str(step), check=False)
        assert (the_run().state, the_run().step, the_run().resumes) == ("killed", step, number)
    run_script(LOOP + "fit('fit').result()")
    assert (the_run().state, the_run().step, the_run().resumes) == ("done", 100, 3)
    told = [event["event"] for event in Survey().events("fit")]
    assert told == ["began", "killed", "resumed", "killed", "resumed", "killed", "resumed"]


@trax.resumable(create=int, every_steps=4)
def fit(n: int, to: int):  # type: ignore[no-untyped-def]
    for _ in trax.steps(to):
        n = yield n + 1


def test_without_a_journal_the_files_tell() -> None:
    """As of older versions; how a process has left the run is not known then."""
    fit(10).result()
    for step, state in (10, "done"), (9, "stopped"):
        if step == 9:
            trax.repair("fit", step=9)
        Path(".trax/runs/fit/journal").unlink(missing_ok=True)
        info = the_run()
        assert (info.state, info.step, info.total, info.resumes) == (state, step, None, None)
        assert info.last is not None


def test_a_journal_from_before_a_change_of_the_files_tells_nothing_false() -> None:
    fit(10).result()
    trax.repair("fit", step=9)
    assert (the_run().state, the_run().step) == ("stopped", 9)
    fit.fresh(3).result()
    assert (the_run().state, the_run().step) == ("done", 3)


def test_a_run_to_which_others_can_write_is_not_trusted() -> None:
    """Its files are not damaged, as far as anybody knows."""
    fit(10).result()
    Path(".trax/runs/fit/journal").unlink()
    newest = max(Path(".trax/runs/fit").glob("log-*"))
    newest.chmod(0o666)
    info = the_run()
    assert info.state == "untrusted"
    assert newest.name in str(info.problem)


def test_old_stores_are_read() -> None:
    for store in sorted(Path(__file__).parents[1].glob("data/*")):
        if (store / "runs").is_dir():
            shutil.copytree(store, store.name)
            os.chmod(store.name, 0o700)
            for info in runs(store.name):
                assert info.state in ("done", "stopped"), info
                reader = trax.verify(info.name, traxdir=store.name)
                assert (info.step, info.state == "done") == (reader.step, reader.done)


def test_states_without_a_log_and_names_of_a_store() -> None:
    with trax.Trax() as store:
        store.checkpoint(alone=5)
        store.log(logged=1)
        assert {info.name: (info.state, info.step) for info in runs()} == {
            "alone": ("running", 0),
            "logged": ("running", 1),
        }
    assert {info.state for info in runs()} == {"stopped"}

    @trax.resumable(create=list, replay_log=None, every_steps=3, name="unlogged")
    def loop(state):  # type: ignore[no-untyped-def]
        while len(state) < 10:
            state.append(1)
            yield

    for step, _ in enumerate(loop(), 1):
        if step == 5:
            break
    assert (the_run("unlogged").state, the_run("unlogged").step) == ("stopped", 5)


def test_a_killed_run_whose_steps_are_not_logged_has_those_of_its_checkpoint() -> None:
    run_script(
        "import os, trax\n"
        "@trax.resumable(create=list, replay_log=None, every_steps=3)\n"
        "def loop(state):\n    while True:\n        state.append(1)\n        yield\n"
        "for step, _ in enumerate(loop(), 1):\n    if step == 5: os.kill(os.getpid(), 9)",
        check=False,
    )
    assert (the_run("loop").state, the_run("loop").step) == ("killed", 3)


# -- what cannot be read -------------------------------------------------------------------


def test_damage_is_a_state_of_its_own_with_the_reason() -> None:
    fit(10).result()
    log = max(Path(".trax/runs/fit").glob("log-*"))
    log.write_bytes(b"")
    info = the_run()
    assert (info.state, info.step) == ("damaged", None)
    assert info.problem == f"{log.name}: the header block is cut short (offset 0)"


@pytest.mark.parametrize(
    "changed",
    [
        *({key: value} for key in ("time", "began", "seconds", "rate") for value in (-1e17, 1e17)),
        {"rate": 1e-300, "total": 10**17},
        {"step": 10**17, "offset": 10**17, "generation": 10**17},
        {"state": "failed", "error": {"type": 3, "message": ["x"], "file": 4, "line": "5"}},
        {"state": "failed", "error": {"type": "\ud800", "message": "\x1b[2J", "line": -1}},
        {"state": "failed", "error": [], "reason": {}},
        {"length": 10**17, "pid": 10**17, "host": "\ud800"},
        {"state": "running", "total": 0, "chain": "f" * 16},
        {"state": "stopped", "change": {}, "reason": {}},
        {"state": "stopped", "change": "forked"},
        {"state": "stopped", "change": "forked", "reason": ["\ud800"]},
        {"state": "stopped", "change": "another", "reason": "\x1b[2J"},
    ],
)
@pytest.mark.parametrize("is_held", [False, True])
def test_whatever_a_journal_says_is_told(changed: dict[str, Any], is_held: bool) -> None:
    run = fit(10)
    next(run) if is_held else run.result()
    change_status("fit", changed)
    (info,) = trax.runs()
    assert info.state in ("done", "failed", "stopped", "killed", "running")
    assert "fit" in trax.runs()._repr_html_()
    assert "fit" in info._repr_html_()
    assert main(["show", "fit"]) == 0
    run.close()


def test_one_damaged_run_hides_no_other() -> None:
    fit(10).result()
    with trax.Trax() as store:
        store.log(word="u")
    for path in Path(".trax/runs/fit").iterdir():
        path.write_bytes(b"?" * 3000)
    assert [(info.name, info.state) for info in trax.runs()] == [
        ("fit", "damaged"),
        ("word", "stopped"),
    ]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_process_that_is_suspended_is_paused_and_not_gone() -> None:
    live = LOOP + "for n in fit('fit', 10**9):\n    if n == 41: print(flush=True); sys.stdin.read()"
    with start_script(live) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        info = the_run()
        assert (info.state, info.step, info.eta, info.is_open) == ("paused", 41, None, True)
        process.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, process.pid, os.WCONTINUED | os.WNOWAIT)
        assert the_run().state == "running"
    assert the_run().state == "killed"


def test_a_signed_store_without_its_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAX_KEY", "11" * 32)
    fit(10).result()
    assert the_run().state == "done"
    for key, says in (
        ("", "its file is signed, but no key is given to check it with: "),
        ("22" * 32, "its file is not signed with the key "),
    ):
        monkeypatch.setenv("TRAX_KEY", key)
        assert the_run().state == "signed"
        problem = str(the_run().problem)
        assert problem.startswith(says)
        assert problem.endswith(
            ": Give the key that the run was begun with, in TRAX_KEY or TRAX_KEY_FILE"
        )


def test_stray_files_are_no_runs() -> None:
    fit(10).result()
    there = Path(".trax/runs")
    (there / "empty").mkdir()
    (there / "file").write_text("")
    (there / "%2F").mkdir()
    (there / "dangling").symlink_to("nowhere")
    os.mkfifo(there / "fit" / "fifo")
    assert [info.name for info in runs()] == ["fit"]
    assert Survey().run("nothing") is None
    assert list(runs("elsewhere")) == []
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("key", ["", "11" * 32], ids=["unsigned", "signed"])
def test_forks_and_what_was_rewound_or_repaired_say_so(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until they are opened again; and their events do so from then on."""
    monkeypatch.setenv("TRAX_KEY", key)
    fit(10).result()
    trax.fork("fit", "fork", step=8)
    trax.rewind("fit", step=8)
    assert (the_run().state, the_run().step, the_run().reason) == ("stopped", 8, "rewound")
    fork = the_run("fork")
    assert (fork.state, fork.step, fork.reason, fork.resumes) == (
        "stopped",
        8,
        "forked from fit",
        0,
    )
    next(run := fit(10))
    run.close()
    trax.repair("fit", step=8)
    assert (the_run().step, the_run().reason) == (8, "repaired")
    told = [(one["event"], one["step"]) for one in Survey().events("fit")]
    assert told == [
        ("began", 0),
        ("done", 10),
        ("rewound", 8),
        ("resumed", 8),
        ("stopped", 9),
        ("repaired", 8),
    ]
    assert [one["event"] for one in Survey().events("fork")] == ["forked"]
    trax.rewind("fit", step=8)  # it is there already
    assert len(Survey().events("fit")) == len(told)


def test_a_fork_that_is_opened_and_killed_was_killed() -> None:
    fit(10).result()
    trax.fork("fit", "fork", step=8)
    loop = LOOP.replace('name="{name}"', "name='fork', varying=('to', 'name')")
    kill = loop + "for n in fit('fork'):\n    os.kill(os.getpid(), 9)"
    run_script(kill, check=False)
    assert (the_run("fork").state, the_run("fork").step) == ("killed", 9)
    assert [one["event"] for one in Survey().events("fork")] == ["forked", "resumed"]


def test_what_was_set_aside_is_prunable() -> None:
    fit(10).result()
    Path(".trax/runs/fit/log-00000001.torn-7").write_bytes(bytes(500))
    fit.fresh(10).result()
    assert the_run().prunable == 0
    assert Survey().aside_bytes() > 500
    Path(".trax/runs/fit/checkpoint-00000001.broken").write_bytes(bytes(300))
    assert the_run().prunable == 300


# -- while everything changes --------------------------------------------------------------


def test_a_run_that_is_written_and_pruned_is_read_all_the_time() -> None:
    """Steps only grow, and no state is told that the run was not in."""
    loop = LOOP.replace("every_steps=50", "every_steps=1, keep=3, sync='os'")
    with start_script(loop + "fit('fit', 10**9).result()") as process:
        until(lambda: bool([*runs()]))
        last = reads = 0
        while reads < 100 or last < 1000:
            info = the_run()
            assert info.state == "running", info
            assert info.step is not None
            assert info.step >= last
            last = info.step
            reads += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    info = the_run()
    assert info.state == "killed"
    assert info.step == trax.load("fit")


def test_a_listing_that_missed_a_file_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that come while a directory is listed may be in the list or not, in any order."""
    with fit(100) as run:
        next(run)
        complete = runs_module._list(the_run().path)
        incomplete = {name: size for name, size in complete.items() if name != max(complete)}
        listings = [incomplete]
        monkeypatch.setattr(
            runs_module, "_list", lambda _: listings.pop() if listings else complete
        )
        assert (the_run().step, the_run().problem) == (1, None)
        assert not listings


def test_runs_that_vanish_meanwhile_are_left_out() -> None:
    for number in range(20):
        with trax.Trax() as store:
            store.log(**{f"run-{number}": 1})
    root = Path(".trax/runs")
    kept = {
        f"run-{number}": (root / f"run-{number}").rename(f"kept-{number}") for number in range(20)
    }
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            for name, path in kept.items():
                path.rename(root / name)
                (root / name).rename(path)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(100):
            assert all((info.state, info.step) == ("stopped", 1) for info in runs())
    finally:
        is_over.set()
        thread.join()


def test_nothing_is_unpickled_and_no_file_is_opened_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal alone is opened of a run that has ended."""
    for number in range(5):
        with trax.Trax() as store:
            store.log(**{f"run-{number}": 1})
    opened: list[str] = []
    monkeypatch.setattr(LocalDirectory, "open", lambda *_: pytest.fail("a file was opened"))
    real = os.open

    def open_counted(path: str, *args: object, **options: object) -> int:
        opened.append(os.path.basename(path))
        return real(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_counted)
    assert len([*runs()]) == 5
    assert opened.count("journal") == 5
    assert len(opened) <= 3 * 5


def test_a_run_whose_files_come_and_go_all_the_time_is_not_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its journal tells the step then."""

    def gone(*_: object) -> None:
        raise FileNotFoundError

    run = fit(10)
    assert [next(run) for _ in range(3)] == [1, 2, 3]
    run.close()
    next(run := fit(10))
    monkeypatch.setattr("trax.survey.runs.count_steps", gone)
    assert (the_run().state, the_run().step) == ("running", 3)
    Path(".trax/runs/fit/journal").unlink()
    assert (the_run().state, the_run().problem) == ("damaged", "its files come and go")
    run.close()


def test_a_status_that_is_read_while_it_is_written_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit(10).result()
    whole = Path(".trax/runs/fit/journal").read_bytes()
    torn = whole[:200] + b"?" * 300 + whole[500:]
    answers = [torn, whole]
    monkeypatch.setattr("trax.survey.runs._journal", lambda *_: answers.pop(0))
    info = the_run()
    assert (info.state, info.total) == ("done", 10)


def test_a_run_is_not_called_good_unless_its_files_are_the_users_alone(tmp_path: Path) -> None:
    """Even where its journal tells all that is asked for."""
    runs = Path(".trax/runs")
    for name in ("mode", "fifo", "link"):
        with trax.Trax() as store:
            store.log(**{name: 1})
            store.checkpoint(**{name: 2})
    log = next((runs / "mode").glob("log-*"))
    log.chmod(0o666)
    checkpoint = next((runs / "fifo").glob("checkpoint-*"))
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    (runs / "link").rename(tmp_path / "elsewhere")
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    assert {info.name: info.state for info in trax.runs()} == dict.fromkeys(
        ("mode", "fifo", "link"), "untrusted"
    )


def test_a_run_that_is_just_being_rewound_is_not_damaged() -> None:
    with trax.Trax() as store:
        store.log(one=1)
        (Path(".trax/runs/one") / "repair").write_bytes(b"")
        assert trax.runs()[0].state == "running"
    assert trax.runs()[0].state == "damaged"


def test_entries_that_no_name_leads_to_are_no_runs() -> None:
    with trax.Trax() as store:
        store.log(one=1)
    for entry in (".DS_Store", "a%2Fb", "%00x", "%1B[31m", "b%63"):
        Path(".trax/runs", entry).mkdir()
    assert [info.name for info in trax.runs()] == ["one"]
    assert trax.prune(budget=0).skipped == ()
