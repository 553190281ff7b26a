"""An object of a module that is in the state is the same object in a resumed run."""

from __future__ import annotations

import pytest
from support import run_script

SCRIPT = """
import os, signal, sys
import trax

class Species:
    def __init__(self, name, of=None):
        self.name, self.eats = name, of

class Equal(Species):
    def __eq__(self, other):
        return type(other) is Equal and self.name == other.name
    __hash__ = None

class Animal:
    def __init__(self, species):
        self.species, self.age = species, 0

    def __eq__(self, other):
        return self.age == other.age

class Zoo:
    first = Species("lion", "gnu")

KIND = {kind}
FOX, HARE = KIND("fox", "hare"), KIND("hare")
FOX.eats, HARE.eats = HARE, FOX
TABLE = {{"fox": FOX, "row": [KIND("owl", ("mice", frozenset({{1, 2}}))), HARE]}}

MANY = [KIND(number) for number in range(5)]

def read(fox):
    return {read}

def animals(fox=None):
    return [Animal(read(fox)), Animal(HARE), Animal(KIND("fox", HARE))]

def count(animals, fox):
    return [animal.species {test} for animal in animals]

def kill(i):
    if sys.argv[2] == str(i):
        os.kill(os.getpid(), signal.SIGKILL)

@trax.resumable(every_steps=3, traxdir=sys.argv[3])
def plain(fox):
    mine = animals(fox)
    for i in range(10):
        kill(i)
        yield count(mine, fox)
        mine.append(Animal(read(fox)))

def folded(state, increment):
    state.append(increment)
    return state

def declared(every_steps, replay_log="append"):
    store = sys.argv[3]
    @trax.resumable(create=animals, every_steps=every_steps, replay_log=replay_log, traxdir=store)
    def loop(state, fox):
        for i in trax.steps(10):
            kill(i)
            new = Animal(read(fox))
            if replay_log is None:
                state.append(new)
            new.seen = count(state, fox)
            yield new
    return loop

loops = dict(
    plain=plain,
    unlogged=declared(3, None),
    appended=declared(3),
    folded=declared(100, folded),
)

fox = KIND("argument")
with loops[sys.argv[1]](fox) as run:
    for increment in run:
        pass
print(getattr(increment, "seen", increment))
"""

READ = {
    "a variable": ("FOX", "is FOX"),
    "by its equality": ("FOX", "== FOX"),
    "a key": ("FOX", "in {FOX: 1}"),
    "an item of a dictionary": ('TABLE["fox"]', 'is TABLE["fox"]'),
    "an item of a list in it": ('TABLE["row"][0]', 'is TABLE["row"][0]'),
    "an attribute of a class": ("Zoo.first", "is Zoo.first"),
    "a part of another object": ("FOX.eats", "is FOX.eats"),
}
LOOPS = ["plain", "unlogged", "appended", "folded"]


def resumed(
    loop: str, kind: str, read: str, test: str, edit: tuple[str, str] = ("", "")
) -> tuple[str, str]:
    """Return what a loop prints that is killed and resumed with an edited text, and says."""
    text = SCRIPT.format(kind=kind, read=read, test=test)
    assert run_script(text, loop, "5", "store", check=False).returncode < 0
    done = run_script(text.replace(*edit), loop, "", "store", check=False)
    return done.stdout, done.stderr


def undisturbed(loop: str, kind: str, read: str, test: str) -> str:
    """Return what a loop prints that is not killed."""
    return run_script(SCRIPT.format(kind=kind, read=read, test=test), loop, "", "other").stdout


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("where", READ)
def test_it_is_one_object(loop: str, where: str) -> None:
    """In whatever place, and in the state or in increments; nothing is said of it."""
    shown, said = resumed(loop, "Species", *READ[where])
    assert shown == undisturbed(loop, "Species", *READ[where])
    assert "True" in shown
    assert said.count("trax:") == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_whether_its_class_says_what_is_equal_or_not(loop: str) -> None:
    shown, _ = resumed(loop, "Equal", *READ["a variable"])
    assert shown == undisturbed(loop, "Equal", *READ["a variable"])


@pytest.mark.parametrize("loop", LOOPS[1:])
def test_an_argument_in_a_declared_state_is_one_object(loop: str) -> None:
    """As it is in a plain loop."""
    shown, _ = resumed(loop, "Species", "fox or FOX", "is fox")
    assert shown == undisturbed(loop, "Species", "fox or FOX", "is fox")


@pytest.mark.parametrize("loop", LOOPS)
def test_one_that_has_changed_is_another_object_and_is_told(loop: str) -> None:
    """The state has it as it was, and the module as it is now."""
    edit = "FOX.eats, HARE.eats = HARE", 'FOX.eats, HARE.eats = "nothing"'
    shown, said = resumed(loop, "Species", "FOX", "is FOX", edit)
    assert "FOX, HARE had other content when the run was stored" in said
    assert "False" in shown or "went another way" in said


def test_many_that_have_changed_are_told_in_one_line() -> None:
    """Three of them, and the number of the others."""
    edit = "range(5)", "range(1, 6)"
    _, said = resumed("unlogged", "Species", "MANY", "is MANY[0]", edit)
    assert "MANY[0], MANY[1], MANY[2] and 2 more had other content" in said


FOLDED = """
import sys, trax

class Species:
    def __init__(self, name):
        self.name, self.seen, self.deep = name, 0, {deep}

FOX = Species("fox")

def fold(state, increment):
    state.append(increment)
    increment.seen += 1
    {change}
    return state

@trax.resumable(create=list, replay_log=fold)
def loop(state, n):
    for _ in trax.steps(n):
        yield FOX

loop.fresh(5).result()
print(FOX.seen, FOX.deep)
"""


@pytest.mark.parametrize(
    ("deep", "change", "shown"),
    [
        ("[0]", "increment.deep.append(1)", "5 [0, 1, 1, 1, 1, 1]"),
        ("[[0]]", "increment.deep[0].append(1)", "5 [[0, 1, 1, 1, 1, 1]]"),
        (
            "None",
            "increment.deep = increment.deep or []; increment.deep.append(1)",
            "5 [1, 1, 1, 1, 1]",
        ),
        ("{}", "increment.deep.setdefault('a', []).append(1)", "5 {'a': [1, 1, 1, 1, 1]}"),
    ],
)
def test_proofs_do_not_change_it(deep: str, change: str, shown: str) -> None:
    """A proof folds the first increments once more, and puts it back, or has a copy."""
    text = FOLDED.format(deep=deep, change=change)
    assert run_script(text).stdout == f"{shown}\n"


PARTS = """
import trax

class Living:
    {slots}

class Species(Living):
    eaten = 0
    def __init__(self, names):
        self.names = names

NAMES = {names}
FOX = Species(NAMES)

@trax.resumable(create=lambda: [FOX, FOX.names], replay_log=None, every_steps=1)
def loop(state):
    assert NAMES
    while True:
        yield
        {change}

with loop() as run:
    next(run), next(run)
print(run.state[0] is FOX, type(NAMES) is str or run.state[0].names is run.state[1])
"""


@pytest.mark.parametrize(
    ("names", "slots", "is_one"),
    [
        ("'fox'", "pass", True),
        ("['fox']", "pass", False),
        ("({'fox'},)", "pass", False),
        ("'fox'", "__slots__ = ('age',)", False),
    ],
)
def test_one_with_a_part_that_may_be_in_the_state_too_is_a_copy(
    names: str, slots: str, is_one: bool
) -> None:
    """So the part is one there, as it was."""
    text = PARTS.format(change="pass", names=names, slots=slots)
    assert run_script(text).stdout == "True True\n"
    assert run_script(text).stdout == f"{is_one} True\n"


def test_of_one_that_the_loop_changes_others_tell() -> None:
    """Once, and not again at each resume."""
    text = PARTS.format(change="FOX.eaten += 1", names="'fox'", slots="pass")
    assert "changes it" in run_script(text).stderr
    resumed = run_script(text)
    assert resumed.stdout == "False True\n"
    assert "other content" not in resumed.stderr


EDITED = """
import os, sys, trax

class {kind}:
    def __init__(self, weight):
        self.weight = weight

FOX = {kind}(int(sys.argv[1]))

def fold(state, increment):
    state.append((increment.weight, increment is FOX, state[0].weight, state[0] is FOX))
    return state

@trax.resumable(create=lambda: [FOX], replay_log=fold, every_steps=100, {more})
def loop(state):
    while True:
        yield FOX

run = loop()
steps = iter(run)
next(steps)
print(run.state[1:-1])
next(steps)
print(run.state[1:], flush=True)
os._exit(1)
"""


def test_what_was_stored_with_other_content_stays_apart() -> None:
    """Replaying gives what the loop had: the object of before the edit, and that of since."""
    text = EDITED.format(kind="Species", more="")
    run_script(text, "1", check=False)
    _, edited = run_script(text, "2", check=False).stdout.splitlines()
    assert edited == str([(1, False, 1, False)] * 2 + [(2, True, 1, False)] * 2)
    replayed, _ = run_script(text, "2", check=False).stdout.splitlines()
    assert replayed == edited


def test_a_class_that_was_renamed_has_the_same_objects() -> None:
    """Its content is loaded by the names that the options give."""
    run_script(EDITED.format(kind="Species", more=""), "1", check=False)
    more = 'renames={"__main__.Species": "__main__.Animal"}'
    done = run_script(EDITED.format(kind="Animal", more=more), "1", check=False)
    assert done.stdout.splitlines()[1] == str([(1, True, 1, True)] * 4)
    assert "other content" not in done.stderr


READER = """
import trax

class Species:
    eaten = 0
    def __init__(self, *names):
        self.names = names

FOX = Species("fox")
PAIR = {Species("gnu"), Species("gnu")}

def fold(state, increment):
    state[0].eaten += increment
    return state

@trax.resumable(create=lambda: [FOX, *PAIR], replay_log=fold, every_steps=1)
def loop(state, n):
    assert PAIR
    for _ in trax.steps(n):
        yield 1
"""


def test_readers_get_a_copy() -> None:
    """What they change does not reach the module."""
    end = "loop(3).result()\nFOX.eaten = 0\nprint(loop.load(3)[0].eaten, FOX.eaten)"
    assert run_script(READER + end).stdout == "3 0\n"


def test_an_element_of_a_set_is_a_copy() -> None:
    """It has no place of its own, and must not be taken for another one of the same content."""
    step = "with loop(9) as run:\n    next(run)\n"
    assert run_script(READER + step + "    print(len({*run.state, *PAIR}))").stdout == "3\n"
    assert run_script(READER + step + "    print(len({*run.state, *PAIR}))").stdout == "5\n"


WHOLE = """
import trax

class Part:
    pass

class Table(dict):
    pass

class Given:
    def __setstate__(self, state):
        vars(self).update(state)

def chain(end):
    for _ in range({length}):
        part = Part()
        part.next = end
        end = part
    return end

END = {end}
END.weight = 1
LEADS = chain(END)

def last(part):
    return last(part.next) if hasattr(part, "next") else part

@trax.resumable(create=lambda: [LEADS, last(LEADS)], replay_log=None, every_steps=1)
def loop(state):
    while True:
        yield

with loop() as run:
    next(run)
print(last(run.state[0]) is run.state[1], LEADS in run.state)
"""


@pytest.mark.parametrize(
    ("length", "end", "is_one"),
    [(1, "Part()", True), (5, "Part()", False), (1, "Table(a=1)", False), (1, "Given()", False)],
)
def test_what_it_leads_to_is_one_object_in_the_state(length: int, end: str, is_one: bool) -> None:
    """If that cannot come from the module as well, all of it is a copy, as it was."""
    text = WHOLE.format(length=length, end=end)
    assert run_script(text).stdout == "True True\n"
    assert run_script(text).stdout == f"True {is_one}\n"


def test_one_without_attributes_comes_along() -> None:
    """It is in no variable of its own."""
    text = WHOLE.format(length=1, end="Part()").replace("END.weight = 1\n", "").replace("END", "E")
    text = text.replace("E = Part()", "").replace("chain(E)", "chain(Part())")
    assert run_script(text).stdout == run_script(text).stdout == "True True\n"
