"""The RNGs of a run are found, wherever they are."""

from __future__ import annotations

import dataclasses
import random
import runpy
import signal
from collections.abc import Callable, Generator
from functools import partial, update_wrapper
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import run_script
from test_rng_tracking import STEPS

import trax
from trax.tracking import rng_discovery
from trax.tracking.rng_discovery import OuterRngs


def numbers_of(*draws: Callable[[], float]) -> float:
    return sum(draw() for draw in draws)


def test_generators_are_found_in_arguments_variables_and_options() -> None:
    """As an argument, an attribute of one, a variable of a closure, and where they are named."""
    hidden = {"deep": {"down": np.random.default_rng(7)}}
    closure = random.Random(8)
    several = [random.Random(10), {"no": "generator"}]

    class Model:
        def __init__(self) -> None:
            self.rng = np.random.default_rng(9)
            self.rngs = {1: np.random.default_rng(11)}

        @trax.resumable(
            create=list, replay_log=lambda got, x: [*got, x], rng=hidden["deep"]["down"]
        )
        def loop(self, numbers: list[float], rng: Any) -> Generator[float, list[float], None]:
            while len(numbers) < STEPS:
                numbers = yield numbers_of(
                    self.rng.random,
                    self.rngs[1].random,
                    rng.random,
                    closure.random,
                    several[0].random,  # type: ignore[attr-defined]
                    hidden["deep"]["down"].random,
                )

    def restart() -> None:
        hidden["deep"]["down"].bit_generator.state = np.random.default_rng(7).bit_generator.state
        closure.seed(8)
        several[0].seed(10)  # type: ignore[attr-defined]

    whole = Model().loop(np.random.default_rng(1)).result()
    restart()
    with Model().loop.fresh(np.random.default_rng(1)) as run:
        for _ in zip(range(5), run, strict=False):
            pass
    restart()
    assert Model().loop(np.random.default_rng(1)).result() == whole


def test_a_generator_in_a_slot_of_an_argument_is_found() -> None:
    """As an attribute in a dictionary is."""

    @dataclasses.dataclass(slots=True)
    class Model:
        rng: Any
        unset: int = dataclasses.field(init=False)

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], varying=("model",))
    def loop(numbers: list[float], model: Model) -> Generator[float, list[float], None]:
        while len(numbers) < STEPS:
            numbers = yield model.rng.random()

    with loop(Model(random.Random(1))) as run:
        next(run)
    whole = random.Random(1)
    expected = [whole.random() for _ in range(STEPS)]
    assert loop(Model(random.Random(1))).result() == expected


def test_a_variable_of_a_closure_may_not_be_set() -> None:
    """It is none that a loop draws from."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        while n < 3:
            n = yield n + 1 if n < 5 else unset

    assert loop().result() == 3
    unset = 0


GONE = """
import random
import runpy
import trax
{name} = random.Random(1)

@trax.resumable(create=list, replay_log=lambda got, x: [*got, x])
def loop(numbers):
    while len(numbers) < 4:
        if len(numbers) == 2 and "{name}" == "before":
            raise SystemExit
        numbers = yield {name}.random()

loop().result()
"""


def test_a_variable_that_is_gone_is_said() -> None:
    """The script was changed, and draws from something else now."""
    run_script(GONE.replace("{name}", "before"))
    said = run_script(GONE.replace("{name}", "behind")).stderr
    assert "loop drew random numbers from variable before: Random, which no longer exists" in said


LATE = """
import os, sys
import trax

@trax.resumable(create=list, replay_log=lambda got, x: [*got, x])
def loop(numbers, stop=None):
    assert numbers or "numpy" not in sys.modules
    import numpy as np
    if not numbers:
        np.random.seed(1)
    while len(numbers) < 6:
        if len(numbers) == int(sys.argv[1]):
            os.kill(os.getpid(), 9)
        numbers = yield np.random.random()

print(loop().result())
"""


def test_a_library_that_is_imported_in_the_first_step_is_followed() -> None:
    """Nobody need import it before."""
    for stop in (1, 2, 5):
        assert run_script(LATE, str(stop), check=False).returncode == -signal.SIGKILL
    expected = np.random.RandomState(1).random_sample(6).tolist()
    assert run_script(LATE, "-1").stdout.strip() == str(expected)


LATER = """
import os, sys
import trax

@trax.resumable(create=list, replay_log=lambda got, x: [*got, x])
def loop(numbers):
    while len(numbers) < 8:
        if len(numbers) == int(sys.argv[1]):
            os.kill(os.getpid(), 9)
        number = 0.0
        if len(numbers) >= 4:
            import numpy as np
            if len(numbers) == 4:
                np.random.seed(1)
            number = np.random.random()
        numbers = yield number

print(loop().result())
"""


def test_a_library_that_is_imported_in_a_later_step_is_followed() -> None:
    """From that step on."""
    for stop in (5, 6):
        assert run_script(LATER, str(stop), check=False).returncode == -signal.SIGKILL
    expected = [0.0] * 4 + np.random.RandomState(1).random_sample(4).tolist()
    assert run_script(LATER, "-1").stdout.strip() == str(expected)


@pytest.mark.parametrize("rng", [pytest, 5, [random.Random(1), "no"], random.SystemRandom()])
def test_what_is_no_generator_is_refused(rng: Any) -> None:
    """At the definition."""
    with pytest.raises(trax.UsageError, match="rng takes RNGs"):
        trax.resumable(create=int, rng=rng)(lambda n: (yield n))


def test_a_generator_of_another_kind_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """It cannot be set to where the one before it stood."""

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], varying="rng")
    def loop(numbers: list[float], rng: Any) -> Generator[float, list[float], None]:
        while len(numbers) < 4:
            numbers = yield rng.random()

    with loop(np.random.default_rng(1)) as run:
        next(run)
    assert loop(random.Random(1)).result()
    assert "loop drew random numbers from argument rng: PCG64, " in caplog.text


class Slotted:
    """An object whose attributes are no dictionary."""

    __slots__ = ("missing", "rng")

    def __init__(self, rng: Any) -> None:
        self.rng = rng


def looping() -> tuple[Any, random.Random]:
    enclosed = random.Random(1)

    def loop() -> random.Random:
        return enclosed

    return loop, enclosed


def test_each_is_found_once_under_the_first_of_its_names() -> None:
    """The defaults, then those named, then arguments with their attributes, then variables."""
    loop, enclosed = looping()
    named, listed, slotted, held = (random.Random(n) for n in range(4))
    generator = np.random.default_rng(5)
    arguments = {
        "first": named,
        "second": [listed, 1, random.SystemRandom(), listed],
        "third": Slotted(slotted),
        "fourth": SimpleNamespace(rngs={"a#b": held}, same=enclosed),
        "fifth": generator,
        "many": [random.Random(n) for n in range(5001)],
    }
    found = dict(OuterRngs((named,), arguments, loop))
    assert list(found)[:2] == ["random", "numpy.random"]
    wanted = {
        "rng 0": named,
        "argument second[0]": listed,
        "argument third.rng": slotted,
        "argument fourth.rngs['a#b']": held,
        "argument fourth.same": enclosed,
        "argument fifth": generator.bit_generator,
        "argument fifth seed": generator.bit_generator.seed_seq,
    }
    assert {name: rng for name, rng in found.items() if "random" not in name} == wanted
    assert [name for name in found if name in wanted] == list(wanted)
    assert dict(OuterRngs((), {}, loop))["variable enclosed"] is enclosed


def test_a_second_look_finds_what_was_imported_or_made_meanwhile() -> None:
    """Loading a state can import a library, or make an RNG."""
    script = """
import random, sys
from trax.tracking import rng_discovery
from trax.tracking.rng_discovery import OuterRngs

first = random.Random(1)
rngs = OuterRngs((), {}, lambda: None)
assert "numpy.random" not in sys.modules
assert [name for name, _ in rngs] == ["random", "variable first"]
import numpy.random
second = random.Random(2)
assert [name for name, _ in rngs][:3] == ["random", "numpy.random", "variable first"]
assert dict(rngs)["variable second"] is second
"""
    run_script(script)


MADE_LATE = """
import os, random, sys
import trax

GENERATOR = None

def make(*_):
    global GENERATOR
    if GENERATOR is None:
        GENERATOR = random.Random(1)

class Model:
    def __init__(self):
        self.drawn = []
        make()

    def __setstate__(self, attributes):
        self.__dict__.update(attributes)
        if by == "loading":
            make()

def fold(model, number):
    model.drawn.append(number)
    return model

def migrate(model, version):
    global GENERATOR
    GENERATOR = random.Random(2)
    return model

by, how = sys.argv[1:]
if by == "migrating":
    make()
options = {"version": 2, "migrate": migrate} if by == "migrating" and how == "resume" else {}

@trax.resumable(create=Model, replay_log=fold, name=by, **options)
def draw(model, n):
    for _ in trax.steps(n):
        model = yield GENERATOR.random()

run = draw(n=8)
if how == "die":
    for _ in range(4):
        next(run)
    os._exit(0)
numbers = run.result().drawn
expected = random.Random(1)
assert numbers == [expected.random() for _ in range(8)], numbers
"""


@pytest.mark.parametrize("by", ["loading", "migrating"])
def test_an_rng_that_a_recovery_makes_goes_on_where_the_run_had_it(by: str) -> None:
    """A class makes it when its state is loaded, or migrate puts another one in its place."""
    run_script(MADE_LATE, by, "die")
    run_script(MADE_LATE, by, "resume")


class Part:
    """An object with other objects in it, as libraries have them."""

    np_random: Any
    rng: Any
    inner: Any

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


@pytest.mark.parametrize("place", ["variable", "argument", "closure"])
def test_an_rng_deep_in_an_object_is_found(place: str) -> None:
    """Wrappers of environments and samplers of studies have theirs some levels down."""
    made: list[Part] = []

    def make() -> Part:
        env = Part(np_random=np.random.default_rng(3))
        study = Part(samplers=[Part(_rng=Part(rng=np.random.RandomState(4)))])
        made[:] = [Part(env=Part(env=Part(env=env)), study=study)]
        return made[0]

    around = Part(inner=make())

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], varying=("given",))
    def loop(numbers: list[float], given: Part) -> Generator[float, list[float], None]:
        part = {"variable": nested, "argument": given, "closure": around.inner}[place]
        while len(numbers) < STEPS:
            sampler = part.study.samplers[0]
            numbers = yield part.env.env.env.np_random.random() + sampler._rng.rng.random_sample()

    def start(*, fresh: bool = False) -> Any:
        part = make()
        around.inner = part
        nested.__dict__.update(part.__dict__)
        return loop.fresh(part) if fresh else loop(part)

    whole = start().result()
    with start(fresh=True) as run:
        for _ in zip(range(5), run, strict=False):
            pass
    assert start().result() == whole


nested = Part()


def drawn(rng: random.Random) -> float:
    return rng.random()


class Draw(partial[float]):
    """A partial function of a class of its own."""


def dressed(rng: random.Random) -> partial[float]:
    """Return a partial function with the name and the text of the one inside."""
    draw = partial(drawn, rng=rng)
    update_wrapper(draw, drawn)
    return draw


draws: partial[float] = partial(drawn, random.Random(0))


@pytest.mark.parametrize("make", [partial(partial, drawn), partial(Draw, drawn), dressed])
@pytest.mark.parametrize("place", ["variable", "argument", "closure", "attribute"])
def test_an_rng_in_a_partial_function_is_found(
    place: str, make: Callable[[random.Random], partial[float]]
) -> None:
    """Whatever Python takes it for: since 3.14 it is a descriptor, as methods are."""
    around = make(random.Random(0))

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], varying=("given", "part"))
    def loop(
        numbers: list[float], given: partial[float], part: Part
    ) -> Generator[float, list[float], None]:
        inner = part.inner
        draw = {"variable": draws, "argument": given, "closure": around, "attribute": inner}[place]
        while len(numbers) < STEPS:
            numbers = yield draw()

    def start(*, fresh: bool = False) -> Any:
        global draws
        nonlocal around
        draws, around = make(random.Random(1)), make(random.Random(2))
        given, part = make(random.Random(3)), Part(inner=make(random.Random(4)))
        return loop.fresh(given, part) if fresh else loop(given, part)

    whole = start().result()
    with start(fresh=True) as run:
        for _ in zip(range(5), run, strict=False):
            pass
    assert start().result() == whole


def test_an_rng_that_the_loop_puts_into_an_argument_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the reset of an environment does: a resumed loop makes it again."""

    @trax.resumable(create=int, varying=("env",))
    def loop(n: int, env: Part) -> Generator[int, int, None]:
        env.np_random = random.Random(1)
        while n < 3:
            env.np_random.random()
            n = yield n + 1

    loop(Part(np_random=random.Random(0))).result()
    assert "an RNG that it has made and that is not stored, argument env.np_random" in caplog.text


def test_an_rng_in_an_object_of_a_local_variable_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """At the place that leads to it."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        sampler = Part(rng=random.Random(1))
        while n < 3:
            sampler.rng.random()
            n = yield n + 1

    loop().result()
    assert "local variable sampler.rng" in caplog.text


def test_a_library_whose_rng_cannot_be_read_is_said() -> None:
    """Where the loop draws from it; a mere import says nothing."""
    script = """
import pathlib, sys
home = pathlib.Path("site-packages")
home.mkdir(exist_ok=True)
(home / "polars.py").write_text('''
class DataFrame:
    sample = sum = lambda self: 1
''')
sys.path.insert(0, str(home))
import polars
import trax
frame = polars.DataFrame()

@trax.resumable(create=int)
def loop(n):
    while n < 3:
        n = yield n + frame.METHOD()

loop().result()
"""
    assert "loop uses polars, whose" in run_script(script.replace("METHOD", "sample")).stderr
    assert "polars" not in run_script(script.replace("METHOD", "sum")).stderr


def test_in_a_thread_a_variable_of_the_module_counts_if_the_loop_refers_to_it() -> None:
    """Directly or in a helper; others may be drawn from in the main thread meanwhile."""
    text = """
import random
import runpy
from trax.tracking import rng_discovery
from trax.tracking.rng_discovery import OuterRngs

mine, theirs = random.Random(1), random.Random(2)

def helper():
    return mine.random()

def loop():
    return helper()

found = OuterRngs((), {}, loop)
print(*(place for place, _ in found.followed() if "variable" in place))
found.follows_defaults = False
print(*(place for place, _ in found.followed()))
"""
    assert run_script(text).stdout == "variable mine variable theirs\nvariable mine\n"


class Agent:
    """An agent with an RNG of its own, beside data."""

    def __init__(self, rng: random.Random | None) -> None:
        self.rng = rng
        self.position = [[1], [2]]


def _missed(value: Any) -> str:
    loop, _ = looping()
    outer = OuterRngs((), {"value": value}, loop)
    list(outer)
    return outer.missed


def test_agents_with_an_rng_each_are_found_and_those_beyond_the_limits_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A table, or a crowd without RNGs, is never told."""
    agents = [Agent(random.Random(n)) for n in range(3000)]
    loop, _ = looping()
    found = {id(rng) for _, rng in OuterRngs((), {"agents": agents}, loop)}
    assert found >= {id(agent.rng) for agent in agents}
    assert _missed(agents) == ""
    assert _missed([random.Random(1)] * 5001) == "argument value"
    assert _missed({n: Agent(random.Random(1)) for n in range(5001)}) == "argument value"
    assert _missed([Agent(None)] * 5001) == ""
    assert _missed([(n, [n]) for n in range(5001)]) == ""

    rngs = [random.Random(1)] * 5001

    @trax.resumable(create=float)
    def drawing(total: float) -> Generator[float, float, None]:
        yield total + rngs[0].random()

    drawing().result()
    (line,) = [line for line in caplog.messages if "has not reached" in line]
    assert "in variable rngs" in line


def test_what_is_beyond_the_limit_of_objects_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If objects of its kind have RNGs, or it is of a kind that was not met."""
    monkeypatch.setattr(rng_discovery, "_OBJECTS", 60)
    assert _missed([Agent(random.Random(n)) for n in range(100)]) == "argument value[0].rng"
    assert _missed([[Agent(None)] for _ in range(100)]) == "argument value[0][0]"
    assert _missed([Agent(None) for _ in range(100)]) == ""
    assert _missed([[(n,), (n, [n])] for n in range(100)]) == ""
    assert _missed([[n] for n in range(100)]) == ""


REBOUND = {
    "drawn": "rng = random.Random(rng.random())",
    "swapped": "rng, other = other, rng",
    "shuffled": "rngs.append(rngs.pop(0))",
}
SET_UP = """
import random, trax
rng, other = random.Random(1), random.Random(2)
rngs = [random.Random(3), random.Random(4)]
def draw(step):
    global rng, other
    {}
    return rng.random() + rngs[0].random()
@trax.resumable(every_steps=1)
def plain():
    for step in range(4):
        yield draw(step)
@trax.resumable(create=float)
def declared(total):
    for step in trax.steps(4):
        total = yield total + draw(step)
"""


@pytest.mark.parametrize("loop", ["plain", "declared"])
@pytest.mark.parametrize("how", REBOUND)
def test_an_rng_in_the_place_of_another_is_told(
    how: str, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once: a resumed run finds the RNGs where they were at the start."""
    Path("script.py").write_text(SET_UP.format(REBOUND[how]))
    list(runpy.run_path("script.py", run_name="script")[loop]())
    (line,) = [line for line in caplog.messages if "puts another RNG into" in line]
    assert ("variable rngs[0]" if how == "shuffled" else "variable rng:") in line.replace(",", ":")


@pytest.mark.parametrize("loop", ["plain", "declared"])
@pytest.mark.parametrize("text", ["pass", "rng = random.Random(step)"])
def test_an_rng_that_is_made_in_each_step_is_not_told(
    loop: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is exact."""
    Path("script.py").write_text(SET_UP.format(text))
    list(runpy.run_path("script.py", run_name="script")[loop]())
    assert "another RNG" not in caplog.text
