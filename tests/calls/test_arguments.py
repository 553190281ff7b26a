"""The arguments of a call: how they are described, and compared with those that are stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import trax
from trax.calls.arguments import describe, describe_where_possible, differences


def total(state: int, increment: int) -> int:
    """Fold an increment into a sum."""
    return state + increment


@trax.resumable(create=int, replay_log=total)
def add_up(state: int, n: int) -> Iterator[int]:
    """Add up the numbers below n."""
    for i in trax.steps(n):
        yield i


def test_changed_arguments_are_an_error_that_shows_them_and_the_ways_on() -> None:
    """The difference is shown; nothing is lost; the former call still resumes."""
    with add_up(n=5) as run:
        next(run), next(run)
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        add_up(n=6).result()
    message = str(caught.value)
    for part in ("n: 5 -> 6", "add_up-{n}", "varying=('n',)", "add_up.fresh(...)"):
        assert part in message
    assert list(add_up(n=5)) == [2, 3, 4]


def test_changed_arguments_are_shown_without_addresses() -> None:
    """Which differ in every process, and say nothing."""

    @trax.resumable(create=int)
    def loop(n: int, generator: np.random.Generator) -> Iterator[int]:
        yield n + 1

    loop(np.random.default_rng(1)).result()
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        loop(np.random.default_rng(2)).result()
    shown = "generator: Generator(PCG64) -> Generator(PCG64) (other content)"
    assert shown in str(caught.value)


def test_changed_arguments_of_a_finished_run_are_an_error_too() -> None:
    """A stored result is never given for another question."""
    add_up(n=5).result()
    with pytest.raises(trax.ArgumentsChangedError):
        add_up(n=6).result()


def test_an_argument_that_cannot_be_compared_is_named_before_anything_runs() -> None:
    """The way on is `varying`, and then it works."""

    def loop(n: int, lock: Any) -> Iterator[int]:
        yield 1

    generator = (part for part in "x")
    with pytest.raises(trax.CodecError, match=r"(?s)'lock'.*varying=\('lock',\)"):
        trax.resumable(create=int)(loop)(generator)
    assert trax.resumable(create=int, varying="lock")(loop)(generator).result() == 1


def test_the_name_that_is_proposed_keeps_the_template() -> None:
    """And proposes nothing of which no name can be made."""

    @trax.resumable(create=int, name="lor-{seed}")
    def loop(state: int, seed: int, dt: float, data: Any) -> Iterator[int]:
        yield 1

    loop(3, 0.1, [1]).result()
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        loop(3, 0.2, [2]).result()
    assert "name='lor-{seed}-{dt}'." in str(caught.value)


def test_an_argument_that_cannot_be_compared_can_be_left_out() -> None:
    """Of those that may vary only a part can be described."""
    described = describe_where_possible({"n": 1, "lock": (part for part in "x")})
    assert list(described) == ["n"]
    assert differences(describe({"n": 1}), described) == {}


def test_a_difference_is_shown_for_an_argument_of_one_call_alone() -> None:
    """As where a parameter was added to the function."""
    assert differences({}, describe({"n": 1})) == {"n": ["n: (not given) -> 1"]}
    assert differences(describe({"n": 1}), {}) == {"n": ["n: 1 -> (not given)"]}


def made(source: str) -> Any:
    """Return a function `f` whose source is not there."""
    names: dict[str, Any] = {}
    exec(source, names)
    return names["f"]


def test_a_function_is_compared_by_its_bytecode_where_its_source_is_not_there() -> None:
    """As when the file was changed meanwhile; another version of Python cannot tell."""
    with_source = describe({"f": lambda x: x + 1})
    without = describe({"f": made("f = lambda x: x + 1")})
    without["f"]["code"] = with_source["f"]["code"]
    assert differences(with_source, without) == {}
    assert differences(without, with_source) == {}
    other = describe({"f": made("f = lambda x: x + 2")})
    assert differences(without, other) == {
        "f": ["f: <function <lambda>> -> <function <lambda>> (other content)"]
    }
    for part in ("digest", "code"):
        other["f"][part] = "2 of Python 3.1:" + other["f"][part].rpartition(":")[2]
    (line,) = differences(other, without)["f"]
    assert "the source of a function in it is missing" in line


def keep(state: int, data: Any) -> Iterator[int]:
    """Make one step, with any argument."""
    yield state + 1


def test_an_iterator_is_refused_since_the_first_call_uses_it_up() -> None:
    """A list, or a function, is the same for every call."""
    loop = trax.resumable(create=int)(keep)
    with pytest.raises(trax.CodecError, match=r"iterator, which the first call uses up.\nPass a l"):
        loop(part for part in "x")


def test_an_argument_that_is_nested_too_deeply_says_so() -> None:
    """In a line, and not by a traceback."""
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(trax.CodecError, match=r"'data' cannot be compared .* nested too deeply"):
        trax.resumable(create=int)(keep)(deep)


def test_of_a_long_argument_the_length_is_shown() -> None:
    """Where the beginning alone does not show what has changed."""
    for old, new, shown in (
        ([1, 2], list(range(200)), "[1, 2] -> [0, 1, 2, 3, 4, 5, ...] (200 items)"),
        (range(200), range(201), "range(0, 200) -> range(0, 201)"),
        (
            list(range(200)),
            list(range(201)),
            "[0, 1, 2, 3, 4, 5, ...] (200 items) -> [0, 1, 2, 3, 4, 5, ...] (201 items)",
        ),
        (
            set(range(200)),
            set(range(120)),
            "{0, 1, 2, 3, 4, 5, ...} (200 items) -> {0, 1, 2, 3, 4, 5, ...} (120 items)",
        ),
    ):
        stored, given = describe({"data": old}), describe({"data": new})
        assert differences(stored, given) == {"data": [f"data: {shown}"]}


def test_a_name_that_has_the_argument_already_is_not_proposed() -> None:
    """As of a fork under another name than its arguments give."""

    @trax.resumable(create=int, name="count-{k}")
    def count(n: int, k: int, to: int = 3):  # type: ignore[no-untyped-def]
        while n < to:
            n = yield n + 1

    count(1).result()
    trax.fork("count-1", "count-2")
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        count(2).result()
    assert "k: 1 -> 2" in str(caught.value)
    assert "name=" not in str(caught.value)
    with pytest.raises(trax.ArgumentsChangedError, match=r"give name='count-\{k\}-\{to\}'"):
        count(1, to=4).result()
