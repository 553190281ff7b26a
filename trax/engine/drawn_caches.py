"""Finds caches that hold random draws: in a resumed run they are empty, and others are drawn."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

from trax.lint.callees import Callees
from trax.lint.trees import forget, function_tree
from trax.storage.members import closure, global_names
from trax.tracking.rngs import rng_types

__all__ = ["draws", "holds_draws"]


def draws(function: Any) -> bool:
    """Whether a function, or one that it calls by its name, draws from an RNG of others."""
    try:
        return isinstance(function, FunctionType) and any(
            map(_draws_itself, _with_called(function))
        )
    finally:
        forget()


def holds_draws(name: str, functions: Iterable[Any]) -> bool:
    """Whether one of some functions puts what it draws into a variable, if it is not there yet."""
    try:
        return any(
            name in (*one.__code__.co_names, *one.__code__.co_freevars) and _remembered(one) == name
            for one in functions
            if isinstance(one, FunctionType)
        )
    finally:
        forget()


def _remembered(function: FunctionType) -> str:
    node = function_tree(function.__code__)
    return Callees(function, node, {}).remembers_noise(function) if node is not None else ""


def _with_called(function: FunctionType) -> Iterator[FunctionType]:
    yield function
    node = function_tree(function.__code__)
    if node is not None:
        names = {*function.__code__.co_names, *function.__code__.co_freevars}
        yield from Callees(function, node, {}).near(names)


def _draws_itself(function: FunctionType) -> bool:
    names = set().union(*global_names(function.__code__).values())
    outside = [*closure(function).values(), *map(function.__globals__.get, names)]
    if any(isinstance(one, rng_types()) for one in outside):
        return True
    node = function_tree(function.__code__)
    if node is None:
        return False
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    return any(map(Callees(function, node, {}).draws, calls))
