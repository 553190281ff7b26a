"""Checks the fields of the JSON texts in header blocks and meta records.

A valid checksum does not mean that a text makes sense: another program may have written it, or
another version of this one. Such a text counts as damage, and is found here before anything depends
on it. Unknown fields are ignored.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, get_args

from trax.storage.filenames import GENERATIONS
from trax.storage.process import Sync
from trax.storage.records import Damage

__all__ = ["check_checkpoint", "check_log", "check_meta"]

_STEPS = 10**18
_OFFSET = 16  # where the JSON text of a header block begins

_Check = Callable[[Any], bool]


def check_log(fields: dict[str, Any]) -> None:
    """Raise `Damage` unless these are the fields of a log's header block."""
    _check(fields, _LOG, _OFFSET)
    if fields["after"][0] >= fields["generation"]:
        raise Damage("it comes after itself, or after a later log", _OFFSET)


def check_checkpoint(fields: dict[str, Any]) -> None:
    """Raise `Damage` unless these are the fields of a checkpoint's header block."""
    _check(fields, _CHECKPOINT, _OFFSET)


def check_meta(meta: dict[str, Any], offset: int) -> None:
    """Raise `Damage` unless the layers above can use the meta record at `offset`."""
    _check(meta, {key: is_right for key, is_right in _META.items() if key in meta}, offset)
    _check(meta, _PARTS, offset)


def _check(fields: dict[str, Any], checks: Mapping[str, _Check], offset: int) -> None:
    for key, is_right in checks.items():
        if key not in fields:
            raise Damage(f"its {key!r} is missing", offset)
        if not is_right(fields[key]):
            raise Damage(f"its {key!r} cannot be {reprlib.repr(fields[key])}", offset)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e18  # false for NaN


def _is_below(end: int, begin: int = 0) -> _Check:
    return lambda value: type(value) is int and begin <= value < end


def _is_digits(count: int) -> _Check:
    pattern = re.compile(f"[0-9a-f]{{{count}}}")
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_one_of(*words: str) -> _Check:
    return lambda value: isinstance(value, str) and value in words


def _is_mapping(of: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _is_list(of: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _is_names(value: Any) -> bool:
    return _is_list(_is_text)(value) and len(set(value)) == len(value)


def _is_described(value: Any) -> bool:
    return _is_mapping(_is_text)(value) and {"text", "digest"} <= value.keys()


def _is_places(value: Any) -> bool:
    are_numbers = isinstance(value, dict) and all(re.fullmatch("[0-9]{1,18}", key) for key in value)
    return are_numbers and _is_mapping(_is_step)(value)


def _is_position(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    return _is_below(GENERATIONS)(value[0]) and _is_step(value[1]) and _is_chain(value[2])


_is_step = _is_below(_STEPS)
_is_chain = _is_digits(16)
_is_arguments = _is_mapping(_is_described)

_BOTH: dict[str, _Check] = {
    "run": _is_digits(32),
    "name": _is_text,
    "generation": _is_below(GENERATIONS, 1),
}
_LOG = _BOTH | {
    "after": _is_position,
    "origin": _is_one_of("checkpoint", "create", "repair"),
    "derived": _is_switch,
    "sync": _is_one_of(*get_args(Sync)),
    "boot": _is_text,
    "nonce": _is_digits(16),
}
_CHECKPOINT = _BOTH | {
    "step": _is_step,
    "chain": _is_chain,
    "log": _is_chain,
    "written": _is_number,
}
_PARTS: dict[str, _Check] = {"parts": _is_names}
_META: dict[str, _Check] = {
    "step": _is_step,
    "done": _is_switch,
    "replay_log": _is_one_of("function", "replace", "none", "frames", "unknown"),
    "arguments": _is_arguments,
    "varying": _is_arguments,
    "code": _is_mapping(_is_text),
    "helpers": _is_mapping(_is_text),
    "function": _is_text,
    "script": _is_text,
    "version": _is_below(_STEPS, 1),
    "drawn": _is_list(_is_text),
    "generators": _is_places,
}
