"""What is left out of the frames of one loop, from its first step to its last."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator
from types import CellType
from typing import Any

import pytest
from remaking import Stored, begin, can_store, stored_after

from trax.errors import CodecError, UsageError
from trax.frames.program import program_of
from trax.frames.remake import empty_cells, notice
from trax.frames.remakes import Remakes

Increments = Iterator[Any]


def plain(n: int) -> Increments:
    total = 0
    for i in range(n):
        total += i
        yield total


def with_lock(n: int) -> Increments:
    name = "x" * n
    lock = {"name": name, "lock": threading.Lock()}
    for i in range(n):
        yield i, lock["name"]


def committed(path: str) -> Increments:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS items (number)")
    for i in itertools.count():
        connection.execute("INSERT INTO items VALUES (?)", [i])
        if i % 3 == 0:
            connection.commit()
        yield i


def remakes_of(function: Any) -> Remakes:
    """Return what is made again of a loop."""
    program = program_of(function.__code__, provides_iterators=True)
    return Remakes(program, "loop", can_store)


def test_nothing_is_planned_for_a_loop_whose_frames_can_be_stored() -> None:
    """The frame is left as it is."""
    remakes, loop = remakes_of(plain), begin(plain, 3)
    next(loop)
    frame = program_of(plain.__code__, provides_iterators=True).snapshot(loop)
    assert remakes.stored(loop, frame) is frame
    assert remakes.plan_of(frame.site).names == set()
    assert remakes.needs == set()


def test_a_plan_is_kept_for_all_further_frames() -> None:
    """With the variables that are needed for it alone."""
    remakes, loop = remakes_of(with_lock), begin(with_lock, 3)
    program = program_of(with_lock.__code__, provides_iterators=True)
    next(loop)
    first = remakes.plan(loop, program.snapshot(loop))
    assert "lock" not in first.values
    assert first.values["name"] == "xxx"
    assert "name" in remakes.needs
    next(loop)
    second = remakes.stored(loop, program.snapshot(loop, remakes.needs))
    assert second.values.keys() == first.values.keys()


def test_rows_that_are_not_committed_refuse_single_frames() -> None:
    """The frame of a step that has committed them is stored again."""
    remakes, loop = remakes_of(committed), begin(committed, "rows.db")
    program = program_of(committed.__code__, provides_iterators=True)
    next(loop)
    remakes.plan(loop, program.snapshot(loop))
    next(loop)
    with pytest.raises(CodecError, match=r"^loop: connection cannot be kept: it has changes"):
        remakes.stored(loop, program.snapshot(loop))
    next(loop)
    next(loop)
    assert "connection" not in remakes.stored(loop, program.snapshot(loop)).values
    loop.gi_frame.f_locals["connection"].close()


def test_a_variable_that_no_line_makes_any_more_is_told() -> None:
    """The function was edited between the crash and the next run."""
    program = program_of(plain.__code__, provides_iterators=True)
    function: Any = plain
    assert notice(program, program.sites[0], "loop", (), function) == ""
    with pytest.raises(UsageError, match=r"^loop: client is needed .*no line makes it now\.\n"):
        notice(program, program.sites[0], "loop", ["client"], function)


def test_cells_of_other_variables_are_stored_with_their_contents() -> None:
    """Also those without a value, and one that contains itself."""
    one, other, without = CellType(1), CellType(2), CellType()
    reduce = empty_cells(["one"], [], {"one": one, "other": other})
    for empty in (one, without):
        make, arguments, *others = reduce(empty)
        assert others == []
        assert make(*arguments) == CellType()
    assert reduce(other)[2] == (2,)


def functions(base: str) -> Increments:
    lock = threading.Lock()
    calls: list[str] = []

    def call(name: str) -> str:
        with lock:
            calls.append(name)
            return base + name

    both = {"call": call, "calls": calls}
    for i in range(4):
        yield both["call"](str(i)), [*calls]  # type: ignore[operator]


def test_functions_share_the_cells_of_what_is_made_again() -> None:
    """And those of all else."""
    undisturbed = [*begin(functions, "x")]
    resumed = stored_after(functions, 2, "x").resume()
    assert [*resumed] == undisturbed[2:]


def test_a_chain_of_resumes() -> None:
    """What is resumed can be stored again, at each step."""
    loop: Any = begin(functions, "x")
    items = [next(loop)]
    for _ in range(3):
        loop = Stored(functions, loop, {}).resume()  # type: ignore[arg-type]
        items.append(next(loop))
    assert items == [*begin(functions, "x")]
