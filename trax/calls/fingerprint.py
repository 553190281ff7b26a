"""Digests of bytecode, by which a change of the code is noticed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

from xxhash import xxh3_64_hexdigest

__all__ = ["content", "fingerprint"]


def fingerprint(functions: Mapping[str, Callable[..., Any] | None]) -> dict[str, str]:
    """Return a digest of the bytecode of each function that has any.

    Bytecode differs between versions of Python. The version is a part of each name, so that digests
    of different versions are not compared.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {}
    for name, function in functions.items():
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if isinstance(code, CodeType):
            found[f"{name} under Python {version}"] = xxh3_64_hexdigest(
                repr(content(code)).encode()
            )
    return found


def content(code: CodeType) -> tuple[Any, ...]:
    """Return the instructions, names and constants of bytecode, without its place in a file."""
    constants = [
        content(value) if isinstance(value, CodeType) else _stable(value)
        for value in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants


def _stable(value: Any) -> Any:
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value
