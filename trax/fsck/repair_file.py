"""The plan of a repair, kept in a file of its own until it is carried out.

While that file is there, nobody reads the run. So a crash at any instant leaves the run as damaged
as it was, or with an error that asks to continue the repair, or repaired.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict
from hmac import compare_digest
from typing import Any

from xxhash import xxh3_64_hexdigest

from trax.fsck.preview import KeptLog
from trax.fsck.repair_plan import Plan
from trax.storage.filenames import REPAIR, FileName
from trax.storage.filesystem import Directory, closing_quietly, copy, new_file, write_all
from trax.storage.records import Damage, decode_text, encode_header
from trax.storage.schema import check_log

__all__ = ["carry_out", "read_plan", "write_plan"]


def write_plan(directory: Directory, plan: Plan) -> None:
    """Begin a repair: from now on the run is read only once the plan is carried out."""
    text = json.dumps(asdict(plan)).encode()
    with new_file(directory, REPAIR) as output:
        write_all(output, _digest(directory, text) + b"\n" + text)


def read_plan(directory: Directory) -> Plan | None:
    """Return the plan of a repair that was begun; None if there is no valid one."""
    if REPAIR not in directory.list():
        return None
    source = directory.open(REPAIR)
    with closing_quietly(source):
        digest, _, text = bytes(source.read_at(0, source.size)).partition(b"\n")
    if not compare_digest(digest, _digest(directory, text)):
        return None
    try:
        return _decode(text)
    except (Damage, ValueError):
        return None


def carry_out(directory: Directory, plan: Plan) -> None:
    """Carry out a plan, whether part of it is done already or not."""
    for name in plan.remove:
        assert FileName.parse(name), name
        with contextlib.suppress(FileNotFoundError):
            directory.remove(name)
    directory.sync()
    if plan.log:
        assert FileName.parse(plan.log), plan.log
        log = KeptLog(directory, plan)
        with closing_quietly(log), new_file(directory, plan.log) as output:
            copy(log, output, 0, log.size)
    directory.remove(REPAIR)
    directory.sync()


def _digest(directory: Directory, text: bytes) -> bytes:
    """Return the checksum of a plan, or its signature if there is a key."""
    key = directory.key
    return (key.sign(text).hex() if key else xxh3_64_hexdigest(text)).encode()


def _decode(text: bytes) -> Plan:
    """Return the plan in a text; a valid checksum does not prove that it makes sense."""
    found = decode_text(text, 0)
    is_plan = found.keys() == _CHECKS.keys()
    if not is_plan or not all(is_right(found[key]) for key, is_right in _CHECKS.items()):
        raise ValueError("this is not a plan")
    plan = Plan(**found)
    if plan.fields is not None:
        check_log(plan.fields)
        encode_header("log", plan.fields)  # raises ValueError if they do not fit
    return plan


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10**18


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and FileName.parse(value) is not None


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "step": _is_number,
    "lost": _is_number,
    "is_exact": lambda value: isinstance(value, bool),
    "actions": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "remove": lambda value: isinstance(value, list) and all(map(_is_file, value)),
    "log": lambda value: value == "" or _is_file(value),
    "end": _is_number,
    "durable": _is_number,
    "fields": lambda value: value is None or isinstance(value, dict),
    "aside": _is_text,
}
