"""Digests of code, by which a change is noticed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

from xxhash import xxh3_64_hexdigest

from trax.calls.bytecode import content
from trax.calls.in_place import InPlace
from trax.calls.syntax import syntax_of
from trax.storage.definitions import home

__all__ = ["changed_names", "fingerprint", "under_name"]

_UNDER = " under Python "


def fingerprint(
    functions: Mapping[str, Callable[..., Any] | None], *, by_source: bool = True
) -> dict[str, str]:
    """Return digests of the code of each function that has any, by texts that name it.

    One is of its syntax tree, if there is source. The other is of its bytecode, which differs
    between versions of Python: the version is a part of the text. A function without bytecode, such
    as one of C or a method of the state, counts by its name. Without `by_source` no source is read,
    and a docstring does not count.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {}
    for name, function in functions.items():
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        bytecode = content(code) if isinstance(code, CodeType) else _name_of(function)
        if bytecode is None:
            continue
        if not by_source and isinstance(code, CodeType) and code.co_consts:
            has_doc = code.co_consts[0] == function.__doc__ and function.__doc__ is not None
            bytecode = (*bytecode[:3], [None, *bytecode[3][1:]] if has_doc else bytecode[3])
        found[f"{name}{_UNDER}{version}"] = _digest(repr(bytecode))
        syntax = syntax_of(code) if by_source and isinstance(code, CodeType) else repr(bytecode)
        if by_source and syntax is not None:
            found[name] = f"2:{_digest(syntax)}"
    return found


def under_name(digests: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    """Return digests of a function that had another name under its present one."""
    parts = ((described.partition(_UNDER), digest) for described, digest in digests.items())
    return {"".join((new if name == old else name, *rest)): d for (name, *rest), d in parts}


def _name_of(function: Any) -> tuple[str, str] | None:
    """Return what a function without bytecode counts by; None if it has no name."""
    if isinstance(function, InPlace):
        return "method of the state", function.method
    name = getattr(function, "__qualname__", None)
    return None if name is None else (home(str(getattr(function, "__module__", ""))), str(name))


def changed_names(stored: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """Return the names of the functions whose code has changed, as far as that can be known."""
    changed = []
    for described, digest in present.items():
        name, under, _ = described.partition(_UNDER)
        before = stored.get(described, digest)
        is_told = under and name in stored and name in present  # by its syntax tree
        is_comparable = before.rpartition(":")[0] == digest.rpartition(":")[0]
        if before != digest and is_comparable and not is_told:
            changed.append(name)
    return changed


def _digest(text: str) -> str:
    return xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass"))
