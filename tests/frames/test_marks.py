"""What a loop compares by ``is`` is the same object in another process, wherever it lies."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import FunctionType
from typing import Any

import pytest
from support import run_script

from trax.frames.marks import find_marks, mark_without_variable

SCRIPT = """
import os, sys
import trax

class Mark:
    pass

class Nothing:
    here = Mark()

MISSING = Mark()
TEXT = "no" + str(1)
GONE = "gone"

def make():
    inner, bare = Mark(), object()

    @trax.resumable
    def loop():
        one, rest = Nothing.here, [TEXT, {"a": inner}, (bare, MISSING), "gone"]
        for _ in range(6):
            yield (
                one is Nothing.here,
                rest[0] is TEXT,
                rest[1]["a"] is inner,
                rest[2][0] is bare,
                rest[2][1] is not MISSING,
                rest[3] == GONE,
            )
        return rest[0]

    return loop

for k, increment in enumerate(make()()):
    print(*map(int, increment))
    if sys.argv[1] == "die" and k == 2:
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
print(make()().result(), trax.load("loop"))
"""


def test_marks_in_a_frame_are_those_of_the_resumed_process() -> None:
    """Texts, objects of a class and in a closure; and a finished run gives its result again."""
    died = run_script(SCRIPT, "die", check=False)
    assert died.stdout.splitlines() == ["1 1 1 1 0 1"] * 3
    resumed = run_script(SCRIPT, "live")
    assert resumed.stdout.splitlines()[:-1] == ["1 1 1 1 0 1"] * 3
    assert resumed.stdout.splitlines()[-1].startswith("no1 ")


MISSING = "missing"
NUMBERS = [1]


class Empty:
    """An object without content, and a mark in its class."""


Empty.mark = Empty()  # type: ignore[attr-defined]


def compares(one: Any, other: Any = MISSING) -> Any:
    return (one is MISSING, one is Empty.mark, one is Empty, one is None, one is NUMBERS, other)  # type: ignore[attr-defined]


def node_of(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def test_marks_are_texts_and_objects_without_content() -> None:
    """A list has content, which belongs into the frame; a class has a name."""
    assert isinstance(compares, FunctionType)
    assert find_marks(compares, node_of(compares)) == {
        ".mark MISSING 'missing'": MISSING,
        ".mark Empty.mark": Empty.mark,  # type: ignore[attr-defined]
    }


def test_a_text_is_there_without_its_variable() -> None:
    """As it was, where there is no call, or where the variable has another text by now."""
    assert mark_without_variable(".mark MISSING 'a b'") == "a b"
    for path in (".mark Empty.mark", "model.layers[0]"):
        with pytest.raises(KeyError):
            mark_without_variable(path)
