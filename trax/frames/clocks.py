"""Finds yields whose increments come from a clock, or are unique by design.

Only what an increment visibly contains counts: a time that the loop compares, or gives to another
function, may leave no trace in it.
"""

from __future__ import annotations

import ast
import datetime
import os
import time
import uuid
from types import BuiltinFunctionType, FunctionType
from typing import Final

from trax.frames.names import assignments, resolved, root, target_names
from trax.frames.program import Program

__all__ = ["clock_lines"]

_CLOCKS: Final = (
    *(time.time, time.time_ns, time.monotonic, time.monotonic_ns, time.perf_counter),
    *(time.perf_counter_ns, time.process_time, time.process_time_ns, time.ctime),
    *(uuid.uuid1, uuid.uuid4, os.urandom, vars(datetime.date)["today"]),
    *(vars(datetime.datetime)[name] for name in ("now", "utcnow")),
)
_PASSING: Final = (dict, float, int, list, max, min, round, str, tuple)
_PLACES: Final = (ast.Attribute, ast.Subscript)


def clock_lines(function: FunctionType, program: Program) -> list[int]:
    """Return the lines of the yields whose increments come from a clock."""
    found = _Flow(function, program.source.node)
    yields = [site.node for site in program.sites]
    return [one.lineno for one in yields if isinstance(one, ast.Yield) and found.reaches(one.value)]


class _Flow:
    """The variables of a function that come from a clock, and those with a part that does."""

    def __init__(self, function: FunctionType, node: ast.AST) -> None:
        self._function = function
        self._whole: set[str] = set()
        self._partly: set[str] = set()
        targets = [*assignments(ast.Module(getattr(node, "body", []), []))]
        size = -1
        while size != len(self._whole) + len(self._partly):
            size = len(self._whole) + len(self._partly)
            for target, value in targets:
                if self.reaches(value):
                    self._whole |= target_names(target)
                    if isinstance(target, _PLACES) and (name := root(target)):
                        self._partly.add(name)

    def reaches(self, value: ast.AST | None) -> bool:
        """Whether the value of an expression contains one of a clock."""
        if isinstance(value, ast.Name):
            return value.id in self._whole | self._partly
        if isinstance(value, _PLACES):
            name = root(value)
            return self.reaches(value.value) and name not in self._partly - self._whole
        if isinstance(value, ast.Call):
            return self._call_reaches(value)
        if value is None or isinstance(value, ast.Compare | ast.Lambda):
            return False
        return any(map(self.reaches, ast.iter_child_nodes(value)))

    def _call_reaches(self, call: ast.Call) -> bool:
        function = call.func
        called = resolved(function, self._function)
        if any(called is one for one in _CLOCKS):
            return True
        parts = [function.value] if isinstance(function, ast.Attribute) else []
        if isinstance(called, type | BuiltinFunctionType) and called in _PASSING:
            parts += [*call.args, *(one.value for one in call.keywords)]
        return any(map(self.reaches, parts))
