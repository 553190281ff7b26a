"""Loops for the tests of the single parts of the reader, each as a text."""

from __future__ import annotations

import ast
import textwrap
from types import FunctionType
from typing import Any

from broken_off import define

import trax
from trax.calls.options import Options
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.findings import Finding
from trax.lint.reader import findings
from trax.lint.trees import function_tree
from trax.lint.turns import Loop

_CREATE = {"create": int}


def function_of(text: str, **names: Any) -> FunctionType:
    """Return the last function that a text defines."""
    from pathlib import Path

    made = define(textwrap.dedent(text), Path("read.py"), trax=trax, **names)
    return [one for one in made.values() if isinstance(one, FunctionType)][-1]


def declared(text: str, **options: Any) -> DeclaredLoop:
    """Return what is known of the last function in a text; its first parameter is the state."""
    function = function_of(text)
    node = function_tree(function.__code__)
    assert node is not None
    return DeclaredLoop(function, node, _options(function, options))


def found(text: str, **options: Any) -> list[Finding]:
    """Return what is found in the last function of a text."""
    function = function_of(text)
    return findings(function, _options(function, options))


def kinds(text: str, **options: Any) -> list[tuple[str, str]]:
    """Return the kinds and the subjects of what is found."""
    return [(one.kind, one.subject) for one in found(text, **options)]


def _options(function: FunctionType, options: dict[str, Any]) -> Options:
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    return Options.check(_CREATE | options, function.__name__, names)


def statement(text: str) -> ast.stmt:
    """Return the only statement of a text."""
    (node,) = ast.parse(textwrap.dedent(text)).body
    return node


def only_loop(loop: DeclaredLoop) -> Loop:
    """Return the only loop around a yield."""
    ((node,),) = loop.loops
    return node
