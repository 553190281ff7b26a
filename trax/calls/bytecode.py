"""The bytecode of functions, which depends on the version of Python."""

from __future__ import annotations

from types import CodeType
from typing import Any

__all__ = ["content"]


def content(code: CodeType) -> tuple[Any, ...]:
    """Return the instructions, names and constants of bytecode, without its place in a file."""
    constants = [
        content(value) if isinstance(value, CodeType) else _stable(value)
        for value in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants


def _stable(value: Any) -> Any:
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value
