"""The arguments of a call, described for storage and compared with the stored ones.

The description of an argument is its type, a short text for people, a digest, and an outline if it
has parts. All of these are texts. If it has functions that no name leads to, there is a second
digest, of their bytecode: it tells that they are the same where their source is not there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from trax.calls import outline
from trax.calls.digest import VERSION, Digester, are_comparable, version_of
from trax.calls.former_digest import former_digest
from trax.calls.shape import is_data, shape_of
from trax.calls.structure import LEAVES
from trax.display import count, show
from trax.errors import ArgumentsChangedError, CodecError, one_line
from trax.storage.former_names import FORMER_NAMES

__all__ = [
    "FORMER_VERSION",
    "changed_error",
    "describe",
    "describe_where_possible",
    "differences",
    "renewed",
]

Description = dict[str, str]

FORMER_VERSION = "1"

# A change between numbers or words, from which a name can be made.
_PLAIN = re.compile(r"\w+: '?[\w.+-]+'? -> '?[\w.+-]+'?")
# Digests of version 1 contain the first names of trax's own classes and functions.
_OWN_NAMES = {public: original for original, public in FORMER_NAMES.items()}
_BY_SHAPE = "content"  # a digest of content that may change
_CONTAINERS = (list, tuple, set, frozenset, dict)
_CUT = re.compile(r"\.\.\.[\])}]+$")
_VALUES = frozenset(kind.__name__ for kind in LEAVES)
_SHOWN = 5  # differences in one argument


def describe(
    values: dict[str, Any],
    names: Mapping[str, str] | None = None,
    *,
    version: str = "",
    by_shape: bool = False,
) -> dict[str, Description]:
    """Return the description of each argument that is stored.

    `names` has other names for classes, functions and modules, by their present ones; see
    `present_name`. With `FORMER_VERSION` as `version`, the digests are those of that version.
    With `by_shape`, arguments that are no plain data are described by their types and shapes.

    Raises
    ------
    CodecError
        An argument cannot be taken apart; the error names it.
    """
    describe_one = _describe_shape if by_shape else _describe
    if version == FORMER_VERSION:
        describe_one = _describe_formerly
    described = {}
    for name, value in values.items():
        try:
            described[name] = describe_one(value, names or {})
        except Exception as error:
            raise CodecError(
                f"{_not_comparable(name, value, error)}\n"
                f"If it may differ from call to call, give varying=({name!r},)."
            ) from error
    return described


def _describe(value: Any, names: Mapping[str, str]) -> Description:
    digester = Digester(names)
    digest = digester.digest(value)
    described = {
        "type": type(value).__name__,
        "text": _text(value),
        "digest": f"{digester.version}:{digest}",
    }
    if digester.has_functions:
        by_code = Digester(names, by_source=False)
        digest = by_code.digest(value)
        described["code"] = f"{by_code.version}:{digest}"
    return described | outline.encode(outline.outline(value, names))


def _text(value: Any) -> str:
    """Return a text for a value; with the length of a container of which it shows a part."""
    text = show(value)
    is_cut = type(value) in _CONTAINERS and _CUT.search(text)
    return f"{text} ({count(len(value), 'item')})" if is_cut else text


def _describe_shape(value: Any, names: Mapping[str, str]) -> Description:
    """Describe data by its content, and any other object by its type and shape.

    The digest of the other object's content is kept beside that, if there is one, and its outline.
    """
    if is_data(value):
        return _describe(value, names)
    described = {
        "type": type(value).__name__,
        "text": f"<{type(value).__name__}>",
        "digest": f"{VERSION}:{Digester(names).digest(('shape', shape_of(value)))}",
    }
    described[_BY_SHAPE] = ""
    with contextlib.suppress(Exception):  # it does not pickle
        described[_BY_SHAPE] = Digester(names).digest(value)
        described |= outline.encode(outline.outline(value, names))
    return described


def renewed(
    stored: Mapping[str, Description], given: Mapping[str, Description]
) -> dict[str, list[str]]:
    """Return lines on the arguments that are known only to be of the stored type and shape.

    They show the numbers and texts in an argument that are others than the stored ones.
    """
    return {
        name: _other_values(name, stored.get(name, {}), one)
        for name, one in given.items()
        if one.get(_BY_SHAPE) == "" or one.get(_BY_SHAPE) != stored.get(name, {}).get(_BY_SHAPE)
    }


def _other_values(name: str, old: Description, new: Description) -> list[str]:
    one, other = ({**outline.decode(side)} for side in (old, new))
    changes = outline.compare(one, other).items()
    return [
        one_line(f"{name}{path}: {text}")
        for path, text in changes
        if all(side.get(path, ("",))[0] in _VALUES for side in (one, other))
    ][:_SHOWN]


def _describe_formerly(value: Any, names: Mapping[str, str]) -> Description:
    return {"text": show(value), "digest": former_digest(value, {**_OWN_NAMES, **names})}


def _not_comparable(name: str, value: Any, error: Exception) -> str:
    """Return the lines for an argument that cannot be compared, without the last way on."""
    if isinstance(value, Iterator):
        return (
            f"the argument {name!r} is an iterator, which the first call uses up.\n"
            "Pass a list; or a function that makes the iterator, and call it in the loop."
        )
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"the argument {name!r} cannot be compared with that of a later call: {reason}"


def describe_where_possible(
    values: dict[str, Any],
    names: Mapping[str, str] | None = None,
    *,
    version: str = "",
    by_shape: bool = False,
) -> dict[str, Description]:
    """Return the same, without arguments that cannot be taken apart."""
    described = {}
    for name, value in values.items():
        with contextlib.suppress(CodecError):
            described.update(describe({name: value}, names, version=version, by_shape=by_shape))
    return described


def differences(
    stored: Mapping[str, Description], given: Mapping[str, Description]
) -> dict[str, list[str]]:
    """Return, for each argument that has changed, lines that show the change."""
    missing = {"text": "(not given)", "digest": ""}
    found = {}
    for name in dict.fromkeys([*stored, *given]):
        old, new = stored.get(name, missing), given.get(name, missing)
        if not _is_same(old, new):
            changes = _changes(old, new).items()
            lines = [one_line(f"{name}{path}: {text}") for path, text in changes]
            rest = len(lines) - _SHOWN
            more = [f"{name}: and {rest} more"] if rest > 0 else []
            found[name] = lines[:_SHOWN] + more
    return found


def _is_same(old: Description, new: Description) -> bool:
    return old["digest"] == new["digest"] or ("code" in old and old["code"] == new.get("code"))


def _are_comparable(old: Description, new: Description) -> bool:
    if not old["digest"] or not new["digest"]:  # it is not given
        return True
    return are_comparable(old["digest"], new["digest"]) or are_comparable(
        old.get("code", ""), new.get("code", "?:")
    )


def _changes(old: Description, new: Description) -> dict[str, str]:
    """Return the changes of one argument, by the paths of the parts that have changed."""
    if not _are_comparable(old, new):
        return {"": f"{old['text']} -> {new['text']} ({_why_not(old['digest'])})"}
    parts = outline.compare(outline.decode(old), outline.decode(new))
    if parts and "" not in parts:
        return parts
    if outline.SAME_ITEMS in parts.get("", ""):
        return {"": f"{old['text']} -> {new['text']} ({outline.SAME_ITEMS})"}
    sides = [(side.get("type", ""), side["text"]) for side in (old, new)]
    return {"": outline.change(*sides)}


def _why_not(stored: str) -> str:
    """Return the reason for which a stored digest cannot be compared with one of now."""
    version = version_of(stored)
    if version.partition(" ")[0] != VERSION:
        return f"stored by a newer trax: its digest of version {version} cannot be compared"
    return "the source of a function in it is missing, or was, so that it cannot be compared"


def changed_error(
    run: str,
    template: str,
    function: str,
    changed: dict[str, list[str]],
    *,
    present: Collection[str],
    version: int,
    can_go_on: bool,
) -> ArgumentsChangedError:
    """Return the error for a run that is called with other arguments.

    `template` is that of the run's name, `changed` has the lines for each argument, and `present`
    the names of the arguments of now; `version` is that of the script. `can_go_on` tells whether
    the run can, with other arguments.
    """
    lines = [f"the run {run!r} is stored with other arguments:"]
    lines += [f"  {line}" for found in changed.values() for line in found]
    lines.append("To resume it, call it with the stored arguments.")
    plain = [
        name
        for name, found in changed.items()
        if _PLAIN.fullmatch(found[0]) and not re.search(rf"{{{name}\b", template)
    ]
    if plain:
        longer = template + "".join(f"-{{{name}}}" for name in plain)
        lines.append(f"To keep a run for each value, give name={longer!r}.")
    may_vary = tuple(name for name in changed if name in present)
    varying = f"varying={may_vary!r}" * bool(may_vary)
    if gone := ", ".join(name for name in changed if name not in present):
        ways = [f"version={version + 1}", "migrate=lambda state, version: state", varying]
        lines.append(f"To go on without {gone}, give {', '.join(filter(None, ways))}.")
    elif can_go_on:
        lines.append(f"To allow the change, give {varying}.")
    else:
        lines.append("It has ended, and without create= it cannot be made longer.")
    lines.append(f"To start over, call {function}.fresh(...).")
    return ArgumentsChangedError("\n".join(lines))
