"""The arguments of a call, described for storage and compared with the stored ones.

The description of an argument is a short text for people and a digest. Digests of version 1
contain the first names of trax's own classes and functions, even if these were renamed since.
"""

from __future__ import annotations

import contextlib
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from trax.calls.digest import are_comparable, digest_value, version_of
from trax.errors import ArgumentsChangedError, CodecError, UsageError, one_line
from trax.storage.former_names import FORMER_NAMES

__all__ = ["changed_error", "check_argument", "describe", "describe_where_possible", "differences"]

# A change between numbers or words, from which a name can be made.
_PLAIN = re.compile(r"'?[\w.+-]+'? -> '?[\w.+-]+'?")
_OWN_NAMES = {public: original for original, public in FORMER_NAMES.items()}
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def describe(
    values: dict[str, Any], names: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Return the description of each argument that is stored: a text and a digest.

    `names` has other names for classes, functions and modules, by their present ones; see
    `present_name`.

    Raises
    ------
    CodecError
        An argument cannot be taken apart; the error names it.
    """
    described = {}
    names = {**_OWN_NAMES, **(names or {})}
    for name, value in values.items():
        try:
            digest = digest_value(value, names)
        except Exception as error:
            raise CodecError(
                f"the argument {name!r} cannot be compared with that of a later call: {error}\n"
                f"If it may differ from call to call, give varying=({name!r},)."
            ) from error
        described[name] = {"text": _ADDRESS.sub("", _repr.repr(value)), "digest": digest}
    return described


def describe_where_possible(
    values: dict[str, Any], names: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Return the same, without arguments that cannot be taken apart."""
    described = {}
    for name, value in values.items():
        with contextlib.suppress(CodecError):
            described.update(describe({name: value}, names))
    return described


def differences(stored: dict[str, Any], given: dict[str, Any]) -> dict[str, str]:
    """Return, for each argument that has changed, a text that shows the change."""
    missing = {"text": "(not given)", "digest": ""}
    found = {}
    for name in dict.fromkeys([*stored, *given]):
        old, new = stored.get(name, missing), given.get(name, missing)
        if old["digest"] != new["digest"]:
            found[name] = one_line(f"{old['text']} -> {new['text']}{_remark(old, new)}")
    return found


def _remark(old: dict[str, str], new: dict[str, str]) -> str:
    if not are_comparable(old["digest"], new["digest"]):
        version = version_of(old["digest"])
        return f" (stored by a newer trax: its digest of version {version} cannot be compared)"
    return " (other content)" if old["text"] == new["text"] else ""


def changed_error(
    run: str, template: str, function: str, changed: dict[str, str]
) -> ArgumentsChangedError:
    """Return the error for a run that is called with other arguments.

    `template` is that of the run's name, and `changed` has the differences by argument.
    """
    lines = [f"the run {run!r} is stored with other arguments:"]
    lines += [f"  {name}: {text}" for name, text in changed.items()]
    lines.append("To resume it, call it with the stored arguments.")
    plain = [name for name, text in changed.items() if _PLAIN.fullmatch(text)]
    if plain:
        longer = template + "".join(f"-{{{name}}}" for name in plain)
        lines.append(f"To keep a run for each value, give name={longer!r}.")
    lines.append(f"To allow the change, give varying={tuple(changed)!r}.")
    lines.append(f"To start over, call {function}.fresh(...).")
    return ArgumentsChangedError("\n".join(lines))


def check_argument(name: str, arguments: Sequence[str], who: str) -> None:
    """Refuse a name that is not among the arguments; `who` refers to it, such as "create needs"."""
    if name not in arguments:
        raise UsageError(
            f"{who} {name!r}, which is not an argument of the function.\n"
            f"Its arguments: {', '.join(arguments) or 'none'}."
        )
