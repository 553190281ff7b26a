"""The texts of files, and their trees."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from trax.calls.source_text import children, files_of, statements, texts_of, tree_of

TEXT = inspect.getsource(sys.modules[__name__])


def code_of(text: str) -> CodeType:
    """Return the code of a file that is written anew."""
    path = Path("edited.py").resolve()
    path.write_text(text)
    return compile(text, str(path), "exec")


def test_each_version_of_a_file_that_was_read_is_there() -> None:
    first = code_of("one = 1\n")
    assert [*texts_of(first)] == [("one = 1\n",)]
    second = code_of("two = 2  # longer\n")
    assert [*texts_of(second)] == [("one = 1\n",), ("two = 2  # longer\n",)]
    Path("edited.py").unlink()
    assert [*texts_of(first)] == [("one = 1\n",), ("two = 2  # longer\n",)]


def test_a_code_without_a_file_has_no_text() -> None:
    assert [*texts_of(compile("1", "<nowhere>", "exec"))] == []


def test_a_file_is_parsed_once() -> None:
    lines = ("def f():\n", "    yield\n")
    assert tree_of(lines, "one.py") is tree_of((*lines,), "one.py")
    with pytest.raises(SyntaxError):
        tree_of(("def\n",), "one.py")


def test_the_nodes_in_a_node() -> None:
    """All but operators and the contexts of names, which are the same object everywhere."""
    marks = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
    for node in ast.walk(ast.parse(TEXT)):
        expected = [one for one in ast.iter_child_nodes(node) if not isinstance(one, marks)]
        assert isinstance(node, marks) or children(node) == expected


def test_the_statements_in_a_tree() -> None:
    tree = ast.parse(TEXT + "try:\n    pass\nexcept A:\n    a\nelse:\n    b\nfinally:\n    c\n")
    kinds = (ast.mod, ast.stmt, ast.excepthandler, ast.match_case)
    expected = {one for one in ast.walk(tree) if isinstance(one, kinds)}
    assert {*statements(tree)} == expected
    assert len([*statements(tree)]) == len(expected)


def example(value: object) -> int:
    """Have a statement of each kind that has others in it."""
    match value:
        case 1:
            return 1
        case _:
            with open("x") as file:
                while file:
                    return 2
    return 3


def test_the_files_of_a_notebook_are_those_of_its_functions() -> None:
    """Wherever they are; a module that has a file has that one."""
    cells = [
        "def wrapped(function):\n    def inner(): return function()\n    return inner",
        "@wrapped\ndef counted(): ...",
        "class Outer:\n    class Inner:\n        @staticmethod\n        def method(): ...",
        "import functools, json\n@functools.cache\ndef cached(): ...",
        "LATER = 3",
    ]
    variables: dict[str, Any] = {"__name__": "cells"}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"<cell {number}>", "exec"), variables)
    assert {*files_of(variables)} == {"<cell 0>", "<cell 1>", "<cell 2>", "<cell 3>"}
    assert files_of({**variables, "__file__": "cells.py"}) == ["cells.py"]
