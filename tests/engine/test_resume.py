"""A call begins with a stored result, with what is stored of its run, or with nothing."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script
from test_decorator import add_up, count

import trax
from trax.engine.resume import Opened, load_finished, open_held
from trax.storage.process import process
from trax.storage.records import DURABLE_OFFSET, HEADER_SIZE, encode_durable
from trax.storage.store import Store


def test_a_call_is_opened_anew_or_at_the_step_of_a_stored_run() -> None:
    """A state that was just created comes from no step."""
    store, call = Store(), count(to=3)._lifecycle._call

    def opened() -> Opened:
        held = store.hold("count", sync="os", keep=2, report=print)
        try:
            return open_held(call, store, held)
        finally:
            held.close()

    new = opened()
    assert (new.state, new.stored, new.resumed_at, new.log_bytes, new.done) == (0, None, None, 0, 0)
    with count(to=3) as run:
        next(run), next(run)
        run_id = run._lifecycle.session.run_id
    stored = opened()
    assert (stored.state, stored.resumed_at, stored.run_id, stored.done) == (2, 2, run_id, False)
    assert stored.log_bytes > 0
    assert load_finished(call, store) is None
    count(to=3).result()
    for finished in (opened(), load_finished(call, store)):
        assert finished is not None
        assert (finished.state, finished.result, finished.done) == (3, 3, True)
        assert (finished.resumed_at, finished.run_id) == (3, run_id)


def test_a_finished_run_runs_nothing_again() -> None:
    """The body of the function is not entered once the result is stored."""
    entered = []

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        entered.append(n)
        yield n + 1

    assert list(loop()) == [1]
    run = loop()
    assert list(run) == []
    assert (run.result(), run.done, run.step, entered) == (1, True, 1, [0])


def test_a_run_of_another_function_is_not_taken_for_ones_own() -> None:
    """Two methods of the same name need names of their own."""

    class One:
        @trax.resumable(create=int)
        @staticmethod
        def run(n: int) -> Iterator[int]:
            yield 1

    class Two:
        @trax.resumable(create=int)
        @staticmethod
        def run(n: int) -> Iterator[int]:
            yield 2

    One.run().result()
    with pytest.raises(trax.UsageError, match=r"was written by .*One\.run, and this is .*Two\.run"):
        Two.run().result()


@pytest.mark.parametrize("is_renamed", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_another_function_that_is_given_the_same_name_is_told(
    done: bool, is_renamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless its code is the same: then it was renamed."""
    caplog.set_level(logging.INFO, "trax")

    def first(n: int) -> Iterator[int]:
        yield from range(n)

    def renamed(n: int) -> Iterator[int]:
        yield from range(n)

    def other(n: int) -> Iterator[int]:
        yield from range(0, 2 * n, 2)

    def call(function: Any) -> Any:
        return trax.resumable(name="same")(function)(4)

    with call(first) as run:
        next(run)
        if done:
            run.result()
    caplog.clear()
    with call(renamed if is_renamed else other) as run:
        next(run, None)
    told = "same was written by first, and this is other, whose code is not the same"
    assert (told in caplog.text) is not is_renamed
    assert ("give it a name= of its own" in caplog.text) is not is_renamed


def test_a_run_that_is_done_is_not_read_as_one_of_another_kind() -> None:
    """The result of a plain loop is no state of a declared one."""

    def plain(n: int) -> Iterator[int]:
        yield n

    def declared(state: int, n: int) -> Iterator[int]:
        yield n + 1

    trax.resumable(name="same")(plain)(1).result()
    with pytest.raises(trax.UsageError, match="was written with replay_log and create left out"):
        trax.resumable(name="same", create=int)(declared)(1).result()


@pytest.mark.parametrize("create", [None, int])
@pytest.mark.parametrize("done", [True, False])
def test_a_constant_that_has_changed_is_told(
    done: bool, create: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Functions that the same lines make have one name, and so have their runs."""
    caplog.set_level(logging.INFO, "trax")

    def make(power: int) -> Any:
        def plain() -> Iterator[int]:
            for n in trax.steps(4):
                yield n**power

        def declared(state: int) -> Generator[int, int, None]:
            for n in trax.steps(4):
                state = yield state + n**power

        if create is None:
            return trax.resumable(plain)()
        return trax.resumable(create=create)(declared)()

    with make(2) as run:
        next(run)
        if done:
            run.result()
    for power, is_told in ((2, False), (3, True)):
        caplog.clear()
        with make(power) as run:
            next(run, None)
            assert ("power: 2 -> 3 since the run was stored" in caplog.text) is is_told
    assert ("the result is the old one" if done else "the present code runs") in caplog.text


def test_an_unreadable_store_is_never_begun_afresh(store_here: Path) -> None:
    """A damaged run is refused by name and file, and every byte of it stays."""
    with add_up(n=10) as run:
        next(run)
    checkpoints = sorted(store_here.glob("runs/add_up/checkpoint-*"))
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        damaged = bytearray(checkpoint.read_bytes())
        damaged[-20] ^= 1
        checkpoint.write_bytes(damaged)
    first_log = min(store_here.glob("runs/add_up/log-*"))
    first_log.write_bytes(first_log.read_bytes()[:2000])
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*")}
    with pytest.raises(trax.CorruptionError) as caught:
        add_up(n=10).result()
    assert caught.value.path == str(checkpoints[-1])
    assert "fresh" in str(caught.value)
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*")} == before


def test_a_store_that_is_a_file_is_a_clear_error(store_here: Path) -> None:
    """It says which path, and nothing is overwritten."""
    store_here.write_text("precious")
    with pytest.raises(trax.TraxError, match="not a directory"):
        count(to=3).result()
    assert store_here.read_text() == "precious"


def test_a_finished_run_says_that_its_code_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    """The stored result is that of the former code, and `fresh` is the way to the new one."""

    def make(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(f"def loop(n):\n    yield n + {source}", names)
        names["loop"].__module__ = __name__
        return trax.resumable(create=int)(names["loop"])

    make("1")().result()
    with caplog.at_level(logging.INFO, "trax"):
        assert make("2")().result() == 1
    assert "the code of loop has changed" in caplog.text
    assert "loop.fresh(...)" in caplog.text


SCRIPT = """
import trax

class World:
    def __init__(self):
        self.steps = 0
    def advance(self, increment):
        {method}
        return self

@trax.resumable(create=World, replay_log=World.advance, every_steps=20)
def simulate(world):
    while world.steps < 80:
        world = yield world.steps

run = simulate()
print(run.resumed_at, type(run.state) is World)
print(run.result().steps, getattr(run.state, "fixed", None))
"""


def test_fix_and_run_again(tmp_path: Path) -> None:
    """The state comes back as the script's present class, the fixed method runs, 50 steps stay."""
    bug = "self.steps += 1 if self.steps < 50 else 1 / 0"
    fix = "self.steps += 1; self.fixed = True"
    script = tmp_path / "script.py"

    def run(method: str) -> subprocess.CompletedProcess[str]:
        script.write_text(SCRIPT.format(method=method))
        return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    first = run(bug)
    assert "ZeroDivisionError" in first.stderr
    second = run(fix)
    assert second.stdout.split() == ["50", "True", "80", "True"], second.stderr
    assert "resumed at step 50" in second.stderr
    assert "the code of replay_log has changed" in second.stderr


HELPED = """
import os, sys, trax
import physics

def again(x):
    return physics.World().move(x) + sum(map(lambda y: y, [1]))

@trax.resumable(create=int, every_steps=1)
def declared(state):
    for i in trax.steps(4):
        if sys.argv[2:] == [str(i)]:
            os._exit(1)
        state = yield again(state)

@trax.resumable(every_steps=1)
def plain():
    x = 0
    for i in range(4):
        if sys.argv[2:] == [str(i)]:
            os._exit(1)
        x = again(x)
        yield x

loop = globals()[sys.argv[1]]
loop().result()
loop().result()
"""
PHYSICS = """
class World:
    def move(self, x):
        return x + {speed}

    def rest(self):
        pass
"""


@pytest.mark.parametrize("loop", ["declared", "plain"])
def test_other_functions_that_have_changed_are_told(loop: str) -> None:
    """In other modules and in classes; when the run goes on, and when it is done."""
    module = Path("physics.py")
    module.write_text(PHYSICS.format(speed=1))
    run_script(HELPED, loop, "2", check=False)
    module.write_text("# moved\n" + PHYSICS.format(speed=1))
    assert "has changed" not in run_script(HELPED, loop, "3", check=False).stderr
    module.write_text(PHYSICS.format(speed=20))
    told = "the code of physics.World.move has changed since the run was stored; the present"
    assert run_script(HELPED, loop).stderr.count(told) == 1
    module.write_text(PHYSICS.format(speed=300))
    told = "the code of physics.World.move has changed since the run was stored; the result is"
    assert run_script(HELPED, loop).stderr.count(told) == 1


def test_many_other_functions_that_have_changed_are_told_in_one_line() -> None:
    """Three of them, and how many more."""
    many = "".join(f"def f{n}(x): return x + SPEED\n" for n in range(5))
    called = " + ".join(f"f{n}(x)" for n in range(5))
    text = HELPED.replace("def again(x):\n", f"{many}\ndef again(x):\n    return {called}\n")
    Path("physics.py").write_text(PHYSICS.format(speed=1))
    run_script(text.replace("SPEED", "1"), "plain")
    said = run_script(text.replace("SPEED", "2"), "plain").stderr
    assert "the code of f0, f1, f2 and 2 more has changed" in said


@pytest.mark.parametrize("is_name_first", [True, False])
def test_a_replay_log_that_is_another_now_is_told(
    is_name_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also between the name of a method and a function: the present one replays the log."""
    kinds: list[Any] = ["append", lambda state, increment: [*state, increment]]

    def run(replay_log: Any) -> Any:
        @trax.resumable(create=list, replay_log=replay_log)
        def loop(state: list[int]) -> Generator[int, list[int], None]:
            while len(state) < 5:
                state = yield len(state)

        return loop()

    kinds = kinds if is_name_first else kinds[::-1]
    with run(kinds[0]) as first:
        next(first)
    caplog.set_level(logging.INFO)
    run(kinds[0]).close()
    assert "replay_log has changed" not in caplog.text
    assert run(kinds[1]).result() == [0, 1, 2, 3, 4]
    assert "loop: the code of replay_log has changed" in caplog.text


def test_a_result_of_old_code_is_a_warning_once_for_each_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a notebook a cell is changed, and run, again and again; all changes are in one line."""

    def run(replay_log: Any, is_edited: bool) -> None:
        def loop(state: int) -> Generator[int, int, None]:
            assert (yield 1) >= state

        def edited(state: int) -> Generator[int, int, None]:
            assert (yield 1 + state) > state

        edited.__name__, edited.__qualname__ = loop.__name__, loop.__qualname__
        function = edited if is_edited else loop
        trax.resumable(name="loop", create=int, replay_log=replay_log)(function)().result()

    run(lambda state, increment: state + increment, False)
    for _ in range(2):
        run(lambda state, increment: state - increment, False)
    for _ in range(2):
        run(lambda state, increment: state * increment, True)
    run(lambda state, increment: state // increment, False)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    stays = (
        "has changed since the run was stored; the result is the old one; loop.fresh(...) starts"
    )
    assert [record.message for record in told] == [
        f"loop: the code of replay_log {stays} over",
        f"loop: the code of loop and replay_log {stays} over",
        f"loop: the code of replay_log {stays} over",
    ]


SIMULATE = """
import trax

@trax.resumable(create=float)
def simulate(x, n):
    for i in trax.steps(n):
        x = yield x + STEP

if __name__ == "__main__":
    print(simulate(n=3).result())
"""


def python(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=check)


def test_a_function_of_another_script_is_an_error() -> None:
    """Its result is never taken for one's own; the message has both names, and the ways on."""
    Path("pi.py").write_text(SIMULATE.replace("STEP", "3.0"))
    Path("e.py").write_text(SIMULATE.replace("STEP", "2.0"))
    assert python("pi.py").stdout == "9.0\n"
    other = python("e.py", check=False)
    assert other.stdout == ""
    for part in (
        "pi.simulate, and this is e.simulate (pi.py and e.py)",
        "name='e-simulate'",
        "traxdir=",
        ".fresh(",
    ):
        assert part in other.stderr
    Path("e.py").write_text(SIMULATE.replace("STEP", "2.0").replace("float)", "float, name='e')"))
    assert python("e.py").stdout == "6.0\n"
    Path("e.py").write_text(SIMULATE.replace("float)", "float, name='simulate')"))
    assert python("e.py").stdout == "9.0\n"  # its author says that it is the same


def test_a_script_is_the_same_however_it_is_run() -> None:
    """By its path, by `python -m`, imported, and in a notebook, which has no name."""
    Path("pkg").mkdir()
    Path("pkg/pi.py").write_text(SIMULATE.replace("STEP", "3.0"))
    assert python("pkg/pi.py").stdout == "9.0\n"
    for arguments in (
        ["-m", "pkg.pi"],
        ["-c", "from pkg.pi import simulate; print(simulate(n=3).result())"],
        ["-c", SIMULATE],
    ):
        done = python(*arguments)
        assert done.stdout == "9.0\n"
        assert "is done, at step 3" in done.stderr


def test_a_run_without_a_step_does_not_stand_in_the_way_of_other_arguments(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mistake that is found before the first step is corrected, and the call begins anew."""

    @trax.resumable(create=int, check=False)
    def loop(state: int, n: Any) -> Iterator[int]:
        for number in range(n):
            yield number + 1

    caplog.set_level(logging.INFO)
    with pytest.raises(TypeError):
        loop(n="3").result()
    assert loop(n=3).result() == 3
    (record,) = caplog.records
    assert record.message == (
        "loop starts over with other arguments, since it had no step; the stored run is kept in "
        f"{Path('.trax/aside/loop~1').resolve()}"
    )
    with pytest.raises(trax.ArgumentsChangedError):
        loop(n=4).result()


@pytest.mark.parametrize("replay_log", [None, lambda state, increment: state])
def test_a_run_with_a_step_stands_in_the_way_of_other_arguments(replay_log: Any) -> None:
    """And so does one that was done in no step."""

    @trax.resumable(create=list, replay_log=replay_log, check=False)
    def loop(state: list[int], n: int) -> Iterator[int]:
        yield from range(n)

    loop(n=0).result()
    with pytest.raises(trax.ArgumentsChangedError):
        loop(n=3).result()
    run = loop.fresh(n=3)
    next(run)
    run.close()
    with pytest.raises(trax.ArgumentsChangedError):
        loop(n=4).result()


BEGUN = """
import os, random, signal, sys
import numpy as np
import trax

random.seed(SEED)
generator = np.random.default_rng(SEED)

@trax.resumable(OPTIONS, check=False)
def walk(STATE n):
    PREPARE
    for i in trax.steps(n):
        if FAILS:
            END
        yield round(random.random() + generator.random(), 9)

print(walk(n=3).result())
"""

ENDS = {"raises": "raise ValueError(i)", "killed": "os.kill(os.getpid(), signal.SIGKILL)"}
OPTIONS = {
    "append": ("create=lambda: [CREATED], replay_log='append'", "state,"),
    "replace": ("create=lambda: CREATED", "state,"),
    "None": ("create=lambda: [CREATED], replay_log=None", "state,"),
    "plain": ("name='walk'", ""),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_run_without_a_step_begins_anew(kind: str, end: str) -> None:
    """With the state that `create` makes now, and random numbers from the present seeds."""

    def run(seed: int, created: str, fails: bool) -> subprocess.CompletedProcess[str]:
        options, state = OPTIONS[kind]
        script = BEGUN.replace("OPTIONS", options).replace("STATE", state)
        script = script.replace("CREATED", created).replace("SEED", str(seed))
        script = script.replace("END", ENDS[end]).replace("FAILS", str(fails))
        # A change that only a declared state survives: another local variable.
        script = script.replace("PREPARE", f"start = {created!r}" if state else "pass")
        script = script.replace("yield ", "state.append(i); yield ") if kind == "None" else script
        done = run_script(script, check=False)
        assert (done.returncode == 0) is not fails, done.stderr
        return done

    run(1, "1", True)
    again = run(2, "'another'", True)  # once more, and that one replaces it again
    assert "walk: no step was stored yet; it begins again" in again.stderr
    again = run(3, "(3,)", False)
    assert "walk: no step was stored yet; it begins again" in again.stderr
    shutil.rmtree(".trax")
    assert run(3, "(3,)", False).stdout == again.stdout


def test_an_attempt_without_a_step_that_cannot_begin_anew_stays_as_it_is() -> None:
    """An exception of `create` changes nothing: the first state is there until another is."""
    created: list[Any] = [0]

    @trax.resumable(create=lambda: 1 // created[0] if created else 5, check=False)
    def loop(state: int, n: int) -> Iterator[int]:
        for i in trax.steps(n):
            yield state + i

    created.clear()
    with loop(n=2) as run:
        assert run.state == 5
    created.append(0)
    with pytest.raises(ZeroDivisionError):
        loop(n=2).result()
    assert trax.load("loop") == 5
    created[0] = 1
    run = loop(n=2)
    assert (next(run), run.resumed_at, run.state) == (1, None, 1)


def test_output_files_of_an_attempt_without_a_step_are_used_again() -> None:
    """They stay files of the run, and what that attempt has written to them goes."""
    attempts: list[int] = []

    @trax.resumable(create=list, replay_log="append", check=False)
    def loop(state: list[int], n: int) -> Iterator[int]:
        with trax.open("new.txt", "x") as new, trax.open("old.txt", "a") as old:
            for i in trax.steps(n):
                print(i, len(attempts), file=new)
                print(i, len(attempts), file=old)
                attempts.append(i)
                if len(attempts) <= 2:
                    raise ValueError(i)
                yield i

    Path("old.txt").write_text("before\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="0"):
            loop(n=2).result()
    loop(n=2).result()
    assert Path("new.txt").read_text() == "0 2\n1 3\n"
    assert Path("old.txt").read_text() == "before\n0 2\n1 3\n"


def test_a_power_cut_while_a_resumed_run_writes_to_a_new_file_leaves_no_output_of_that_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process before was killed before it had marked that the note of the file was forced."""
    aside = Path("aside").absolute()
    attempts: list[int] = []

    @trax.resumable(create=int, check=False)
    def loop(state: int) -> Iterator[int]:
        if state == 0:
            trax.open("old.txt").close()
            yield 1
        with trax.open("new.txt", "a") as file:
            print(len(attempts), file=file, flush=True)
            attempts.append(state)
            if len(attempts) == 1:
                raise ValueError("the first")
            if len(attempts) == 2:
                shutil.copytree(".", aside)
        yield 2

    with pytest.raises(ValueError, match="the first"):
        loop().result()
    log = max(Path(".trax/runs/loop").glob("log-*"))
    content = log.read_bytes()
    log.write_bytes(content[:DURABLE_OFFSET] + encode_durable(0) + content[HEADER_SIZE - 8 :])
    assert loop().result() == 2
    monkeypatch.chdir(aside)
    monkeypatch.setattr(process, "boot_id", lambda: "the next boot")
    assert loop().result() == 2
    assert Path("new.txt").read_text() == "2\n"


def test_a_run_without_a_step_keeps_its_keys_for_others() -> None:
    """An effect of its first step may have happened."""
    keys: list[str] = []

    @trax.resumable(create=int, check=False)
    def loop(state: int) -> Iterator[int]:
        keys.append(trax.step().key)
        if len(keys) == 1:
            raise ValueError
        yield 1

    with pytest.raises(ValueError):  # noqa: PT011  # it has no message
        loop().result()
    assert loop().result() == 1
    assert keys[0] == keys[1]


MOOD = """
import enum, sys
import trax

def make(is_told):
    class Mood(enum.Enum):
        GOOD = 1

    kept = [Mood.GOOD] if is_told else [None]

    @trax.resumable(create=lambda: kept, replay_log=None, every_steps=2)
    def loop(state, n):
        for i in trax.steps(n):
            yield i
    return loop, Mood

loop, Mood = make(sys.argv[1] == "told")
if sys.argv[1] == "hidden":
    del Mood
run = loop(n=9)
next(run)
next(run)
next(run)
print(run.state[0])
run.close()
"""


def test_a_class_that_is_no_longer_at_hand_is_said() -> None:
    """Then its stored code is used, and that is another class."""
    assert "not found in" not in run_script(MOOD, "told").stderr
    assert "not found in" not in run_script(MOOD, "told").stderr
    done = run_script(MOOD, "hidden")
    assert done.stdout == "Mood.GOOD\n"
    assert done.stderr.count("make.<locals>.Mood is not found in the present code") == 1


def test_an_argument_that_was_renamed_has_a_way_on() -> None:
    """The error leads there; without the new version nothing is let through."""

    def first(n: int, t0: int) -> Iterator[int]:
        for i in range(n):
            yield i + t0

    def second(n: int, start: int) -> Iterator[int]:
        for i in range(n):
            yield i + start

    run = trax.resumable(name="walk")(first)(n=4, t0=10)
    assert [next(run), next(run)] == [10, 11]
    run.close()
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        next(trax.resumable(name="walk")(second)(n=4, start=20))
    ways = str(caught.value).splitlines()
    assert ways[1:3] == ["  t0: 10 -> (not given)", "  start: (not given) -> 20"]
    given = "version=2, migrate=lambda state, version: state, varying=('start',)"
    assert f"To go on without t0, give {given}." in ways
    assert not any(line.startswith("To allow the change") for line in ways)
    options = eval(f"dict({given})")
    with pytest.raises(trax.UsageError, match="now needs start"):
        next(trax.resumable(name="walk", **options)(second)(n=4, start=20))
    options["migrate"] = lambda variables, version: {**variables, "start": 20}
    again = trax.resumable(name="walk", **options)(second)(n=4, start=20)
    assert list(again) == [22, 23]


def test_an_argument_that_is_gone_needs_a_new_version_alone() -> None:
    """A declared state goes on without it, too."""

    def first(n: int, to: int, unused: int) -> Generator[int, int, None]:
        while n < to:
            n = yield n + 1

    def second(n: int, to: int) -> Generator[int, int, None]:
        while n < to:
            n = yield n + 1

    run = trax.resumable(name="walk", create=int)(first)(to=4, unused=1)
    next(run)
    run.close()
    with pytest.raises(
        trax.ArgumentsChangedError, match=r"To go on without unused, give version=2, "
    ):
        next(trax.resumable(name="walk", create=int)(second)(to=4))
    newer = trax.resumable(
        name="walk", create=int, version=2, migrate=lambda state, version: state
    )(second)
    assert list(newer(to=4)) == [2, 3, 4]
