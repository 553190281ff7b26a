"""Verifying a run: everything that is damaged is found, and nothing that is not."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from harm import SHAPES, Count, store
from support import (
    COUNT,
    NAME,
    Writer,
    changed,
    count_to_13,
    flipped,
    of_version,
    read,
    run_script,
    start_script,
    with_next_boot,
    write,
)

import trax
from trax import CorruptionError, FormatVersionError, NotFoundError, UntrustedError
from trax.fsck.verify import Verification, examine
from trax.storage.context import Key, encode_context
from trax.storage.filenames import REPAIR
from trax.storage.filesystem import LocalDirectory
from trax.storage.records import (
    BEGINS,
    CONTEXT,
    DURABLE_OFFSET,
    HEADER_SIZE,
    PICKLE,
    Framing,
)
from trax.testing.memory import MemoryDirectory


def check(directory: MemoryDirectory) -> Verification:
    """Verify; what recovery comes to must be what it says, and nothing may be changed."""
    found = examine(directory, NAME, "store")
    assert not directory.operations
    try:
        step: int | None = read(directory)
    except CorruptionError:
        step = None
    assert found.step == step
    if step is None:
        assert found.problems
    return found


# -- what is found -------------------------------------------------------------------------


@pytest.mark.parametrize("text", SHAPES)
def test_an_undamaged_run_is_good(text: str) -> None:
    """Also after a reboot; and everything that is there is listed."""
    files = store(text)
    for directory in (MemoryDirectory(dict(files)), with_next_boot(files)):
        found = check(directory)
        assert found.problems == ()
        assert found.step == text.count("a")
        listed = [file for one in found.generations for file in (one.checkpoint, one.log) if file]
        assert {file.name: file.size for file in listed} == {
            name: len(content) for name, content in files.items()
        }
        logs = [one.log for one in found.generations if one.log]
        assert sum(log.count for log in logs) + (logs[0].begins or 0) == found.step
        assert logs[-1].is_needed


@pytest.mark.parametrize("text", SHAPES)
def test_every_byte_that_is_flipped_is_found(text: str, count: Count) -> None:
    """With the file; only the durable mark, which is only evidence, may be anything."""
    files = store(text)
    tried = 0
    for name, content in files.items():
        marked = range(DURABLE_OFFSET, DURABLE_OFFSET + 16)
        for offset in (*range(0, HEADER_SIZE, 37), *range(HEADER_SIZE, len(content), 3)):
            damaged = changed(files, name, flipped(content, offset, (1, 128, 255)[offset % 3]))
            found = check(MemoryDirectory(damaged))
            logs = [one.log for one in found.generations if one.log and one.log.is_torn]
            is_said = any(name in problem for problem in found.problems)
            assert is_said or offset in marked or [log.name for log in logs] == [name]
            tried += 1
    count("bytes flipped", tried)


@pytest.mark.parametrize("text", SHAPES)
def test_every_length_and_every_file_missing(text: str) -> None:
    """What recovery comes to is said, whatever is wrong."""
    files = store(text)
    for name, content in files.items():
        check(MemoryDirectory({other: files[other] for other in files if other != name}))
        for length in (0, 1, 1000, 1023, *range(1024, len(content), 5)):
            check(MemoryDirectory(changed(files, name, content[:length])))


def test_what_could_not_stand_in_is_found_before_it_must() -> None:
    """The run goes on, but nothing of an older checkpoint would help it."""
    files = store("caac|a|aCaaca|a")
    older = {name: files[name] for name in files if name != "log-00000005"}
    found = check(MemoryDirectory(older))
    assert found.step == 8
    assert found.problems == ("log-00000005, which continues checkpoint-00000005, is missing",)
    between = store("caa|aa|aacaa")
    name = "log-00000002"
    found = check(MemoryDirectory({other: between[other] for other in between if other != name}))
    assert found.step == 8
    assert found.problems == (f"{name}, which log-00000003 continues, is missing",)
    short = changed(between, name, between[name][:HEADER_SIZE])
    found = check(MemoryDirectory(short))
    assert found.step == 8
    assert len(found.problems) == 1


def test_a_torn_end_is_no_damage() -> None:
    """A crash does that, and nothing is lost that was acknowledged."""
    files = store("aacaaca|aasaa")
    found = check(MemoryDirectory(changed(files, "log-00000004", files["log-00000004"][:-3])))
    assert (found.step, found.problems) == (8, ())
    log = found.generations[-1].log
    assert log
    assert (log.is_torn, log.flaw, log.count) == (
        True,
        "a record of 5 bytes does not fit into the file",
        3,
    )
    cut = check(MemoryDirectory({**files, "log-00000005": b"\x89trax"}))
    assert (cut.step, cut.problems) == (9, ())


@pytest.mark.parametrize("back", [3, 10, 20, 21])  # checksum, pickle, length and kind
def test_a_last_record_that_is_all_there_and_wrong_is_damage(back: int) -> None:
    """A crash leaves the beginning of a record; only a power cut may leave something else."""
    files = store("aacaaca|aasaa")
    name = "log-00000004"
    content = files[name]
    damaged = changed(files, name, flipped(content, len(content) - back, 127 if back > 20 else 1))
    found = check(MemoryDirectory(damaged))
    offset = len(content) - 21
    [problem] = found.problems
    assert (found.step, found.good) == (8, False)
    assert problem.startswith(f"{name} is damaged at offset {offset}: ")
    assert f"DAMAGED at {offset}, steps 6 to 8" in str(found)
    assert str(found).endswith("It resumes at step 8.")
    found = check(with_next_boot(damaged))
    assert (found.step, found.good) == (8, True)
    assert f"torn at {offset}" in str(found)


def test_a_missing_log_is_listed_once() -> None:
    """Whether recovery needs it or not."""
    files = store("caac|a|aCaaca|a")
    newest = max(name for name in files if name.startswith("checkpoint"))
    name = newest.replace("checkpoint", "log")
    found = check(MemoryDirectory({other: files[other] for other in files if other != name}))
    assert found.step is None
    assert len([problem for problem in found.problems if name in problem]) == 1


def test_what_belongs_elsewhere_is_said() -> None:
    """A log of another run among these."""
    files = store("aacaaca|aasaa")
    other = MemoryDirectory()
    write(other, "aacaaca|aasaa")
    name = "log-00000002"
    found = check(MemoryDirectory(changed(files, name, other.files()[name])))
    assert found.step == 9
    assert f"{name} was moved or renamed: it belongs to another run of the same name" in (
        found.problems
    )


def test_a_repair_that_did_not_end_is_said() -> None:
    """It is the first thing to know."""
    found = check(MemoryDirectory({**store("aacaaca|aasaa"), REPAIR: b""}))
    assert found.step is None
    assert "was interrupted" in found.problems[0]
    assert found.others == (REPAIR,)


def test_a_run_that_never_began_is_no_damage() -> None:
    """A kill before its first checkpoint counts."""
    directory = MemoryDirectory()
    Writer(directory).generations._open_log()
    found = examine(directory, NAME, "store")
    assert (found.step, found.problems) == (0, ())


# -- as a person sees it -------------------------------------------------------------------


def test_the_table_and_the_dictionary(store_here: Path) -> None:
    """One line for each file, and what is wrong behind them."""
    run = count_to_13()
    (run / "checkpoint-00000001.broken").write_bytes(b"")
    found = trax.verify("count")
    assert (found.name, found.good, found.step) == ("count", True, 13)
    assert found.path == str(store_here / "runs/count")
    [output] = found.outputs
    assert (output.path, output.length, output.present) == (str(Path("out.txt").resolve()), 29, 29)
    log = run / "log-00000003"
    log.write_bytes(flipped(log.read_bytes(), 1110))
    found = trax.verify("count")
    sizes = {path.name: f"{path.stat().st_size:,}" for path in run.iterdir()}
    assert str(found).splitlines() == [
        f"count, in {found.path}: DAMAGED",
        f"  checkpoint-00000002           {sizes['checkpoint-00000002']} bytes   whole, step 5",
        f"  log-00000002                  {sizes['log-00000002']} bytes   whole, steps 6 to 10",
        f"  checkpoint-00000003           {sizes['checkpoint-00000003']} bytes   whole, step 10",
        f"  {'log-00000003':29} {sizes['log-00000003']} bytes   DAMAGED at 1102, step 11",
        "  other files: checkpoint-00000001.broken",
        "  log-00000003 is damaged at offset 1102: a record's checksum is invalid",
        "It cannot resume as it is. trax.repair('count') can help.",
    ]
    again = json.loads(json.dumps(found.as_dict()))
    assert list(again) == [
        "name", "path", "good", "step", "done", "generations", "others", "outputs", "problems",
        "remarks",
    ]  # fmt: skip
    assert (again["good"], again["step"]) == (False, None)
    assert again["generations"][1]["log"]["offset"] == 1102


def test_what_is_said_to_help_does_so_in_whatever_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call to repair a run says which store, unless that is the default."""
    run = count_to_13()
    log = run / "log-00000003"
    log.write_bytes(flipped(log.read_bytes(), 1110))
    store = Path(".trax").resolve()
    monkeypatch.setenv("TRAX_DIR", "elsewhere")
    call = f"trax.repair('count', traxdir='{store}')"
    with pytest.raises(CorruptionError, match=re.escape(call)):
        trax.load("count", traxdir=store)
    assert str(trax.verify("count", traxdir=store)).endswith(f"{call} can help.")
    eval(call)  # as the person does
    assert trax.load("count", traxdir=store) == 11


def test_a_problem_is_one_line_that_says_what_is_damaged() -> None:
    """What to do about it stands at the end, once."""
    with trax.Trax() as store:
        store.checkpoint(word="u")
        store.log(word="n")
    path = Path(".trax/runs/word/checkpoint-00000001")
    path.write_bytes(flipped(path.read_bytes(), 1100))
    found = trax.verify("word")
    [problem] = found.problems
    assert problem == (
        "checkpoint-00000001 is damaged at offset 1024: a record's checksum is invalid, and an "
        "older checkpoint does not lead to the same state"
    )
    assert str(found).count("trax.repair") == 1


def test_a_problem_is_said_once() -> None:
    """Also where the error of recovery is about the same: files of a run that was renamed."""
    run = count_to_13()
    run.rename(run.with_name("other"))
    problems = trax.verify("other").problems
    assert len(problems) == len(set(problems)) == len(list(run.with_name("other").glob("*-*")))
    assert all(re.match(r"(checkpoint|log)-\d{8} was moved", problem) for problem in problems)


def test_a_run_that_is_done_is_said_to_be() -> None:
    """It does not go on."""
    count_to_13()
    assert str(trax.verify("count")).endswith("It resumes at step 13.")
    assert not trax.verify("count").done
    run_script(COUNT + "count(to=20).result()\n")
    found = trax.verify("count")
    assert (found.done, found.step) == (True, 20)
    assert str(found).endswith("It is done, at step 20.")


def test_output_files_are_damage_until_the_run_is_done() -> None:
    """Its result needs none of them: from then on it is only said that they were changed."""
    count_to_13()
    os.truncate("out.txt", 10)
    found = trax.verify("count")
    assert (found.good, found.step) == (False, None)
    assert found.problems[0].endswith("out.txt has 10 bytes, and should have 29")
    os.remove("out.txt")
    assert "out.txt is missing, and should have 29" in str(trax.verify("count"))
    Path("out.txt").write_text("".join(f"{n}\n" for n in range(13)))
    run_script(COUNT + "count(to=20).result()\n")
    path = os.path.realpath("out.txt")
    assert (trax.verify("count").good, trax.verify("count").remarks) == (True, ())
    for change, said in (
        (lambda: Path("out.txt").write_text("x" * 50), "was changed between offset 0 and 50"),
        (lambda: os.truncate("out.txt", 10), "has 10 bytes, and should have 50"),
        (lambda: os.remove("out.txt"), "is missing, and should have 50"),
    ):
        change()
        found = trax.verify("count")
        assert (found.good, found.step, found.problems) == (True, 20, ())
        assert found.remarks == (f"the output file {path} {said}",)
        lines = str(found).splitlines()
        assert lines[0] == f"count, in {found.path}: good, but its output is not as it was written"
        assert lines[-2:] == [f"  {found.remarks[0]}", "It is done, at step 20."]


def test_what_cannot_be_about_an_output_file_is_a_problem_and_repaired() -> None:
    """Whatever the store says of them: verifying tells, and repairing goes back behind it."""
    count_to_13()
    found = trax.verify("count")
    log = Path(found.path, "log-00000003")
    content = log.read_bytes()
    (chain,) = struct.unpack("<Q", content[-8:])
    odd = encode_context([(Key.parse("output ../out.txt#0"), b"seven..")])
    records = [(CONTEXT | BEGINS, odd), (PICKLE, pickle.dumps(13))]
    log.write_bytes(content + b"".join(Framing(chain, None, 0).chunks(records)))
    found = trax.verify("count")
    assert (found.good, found.step) == (False, None)
    assert "has an impossible entry for its output file '../out.txt'" in found.problems[-1]
    assert trax.repair("count").step == 13
    assert trax.verify("count").good


def test_what_is_not_there_and_what_is_not_ours(store_here: Path) -> None:
    """An error by name, and nothing is made."""
    with pytest.raises(NotFoundError, match="nothing is stored as 'count'"):
        trax.verify("count")
    assert not store_here.exists()
    run = count_to_13()
    log = run / "log-00000003"
    content = log.read_bytes()
    log.write_bytes(of_version(content, 2))
    with pytest.raises(FormatVersionError, match="log-00000003 is of format version 2"):
        trax.verify("count")
    log.write_bytes(content)
    log.chmod(0o666)
    with pytest.raises(UntrustedError, match="can be written by other users"):
        trax.verify("count")


WRITING = """
import sys, threading, trax

@trax.resumable(create=list, replay_log=lambda state, n: [*state, n][-3000:], every_steps=7)
def busy(state):
    while True:
        yield len(state)

asked = threading.Thread(target=sys.stdin.read)
asked.start()
run = busy()
next(run)
print("running", flush=True)
for _ in run:
    if not asked.is_alive():
        break
run.close()
"""


def test_a_run_that_is_being_written_gives_no_false_alarm() -> None:
    """Logs grow, checkpoints come and old files go, all while they are read."""
    with start_script(WRITING) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        steps = []
        for _ in range(60):
            found = trax.verify("busy")
            assert found.good, str(found)
            steps.append(found.step)
        process.stdin.close()
        assert process.wait() == 0
    assert len(set(steps)) > 1
    assert trax.verify("busy").good


@pytest.mark.parametrize("at", range(1, 13))
def test_what_is_pruned_while_it_is_read_is_no_damage(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two files the writer may take some checkpoints, and remove what is older."""
    opens = 0
    open_file = LocalDirectory.open
    with trax.Trax(sync="os") as store:
        store.checkpoint(run=0)
        store.log(run=1)
        store.checkpoint(run=1)

        def opening(directory: LocalDirectory, name: str) -> Any:
            nonlocal opens
            opens += 1
            if opens == at:
                for number in range(3):
                    store.log(run=number)
                    store.checkpoint(run=number)
            return open_file(directory, name)

        monkeypatch.setattr(LocalDirectory, "open", opening)
        found = trax.verify("run")
    assert (found.good, found.step) == (True, 4)


@pytest.mark.parametrize("at", range(1, 9))
def test_what_is_half_written_while_it_is_read_is_no_damage(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large increment comes in pieces, and a reader can see some of them."""
    opens = 0
    open_file = LocalDirectory.open
    with trax.Trax() as store:
        store.checkpoint(run=0)
        store.log(run=1)
        path = Path(".trax/runs/run/log-00000001")
        size = path.stat().st_size

        whole = b""

        def opening(directory: LocalDirectory, name: str) -> Any:
            nonlocal opens, whole
            opens += 1
            if opens == at:
                store.log(run=bytes(1000))
                whole = path.read_bytes()
                os.truncate(path, (size + len(whole)) // 2)
            elif opens == at + 1:
                path.write_bytes(whole)
            return open_file(directory, name)

        monkeypatch.setattr(LocalDirectory, "open", opening)
        found = trax.verify("run")
    assert found.good, str(found)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_fresh_start_while_it_is_read_is_no_damage(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new run has files of the same names."""
    opens = 0
    open_file = LocalDirectory.open

    @trax.resumable(create=int, every_steps=5)
    def count(n: int, to: int) -> Generator[int, int, None]:
        while n < to:
            n = yield n + 1

    count(to=13).result()

    def opening(directory: LocalDirectory, name: str) -> Any:
        nonlocal opens
        opens += 1
        if opens == at:
            count.fresh(to=13).result()
        return open_file(directory, name)

    monkeypatch.setattr(LocalDirectory, "open", opening)
    found = trax.verify("count")
    assert (found.good, found.step) == (True, 13)
