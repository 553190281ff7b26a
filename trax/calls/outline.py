"""Outlines of values: short texts for their parts, so that a difference can be shown where it is.

An outline has an entry for a value and for as many of its parts as are few: a path such as
``.groups[0]['lr']``, and three texts. These are the type, a text for people, and a digest of the
parts, which is empty if they have entries of their own or if the text is all. The digest of a dict
is followed by one that does not depend on the order of its items.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from trax.calls.digest import Digester
from trax.calls.structure import LEAVES, Structure, take_apart
from trax.display import show

__all__ = ["SAME_ITEMS", "change", "compare", "decode", "encode", "outline"]

Entry = tuple[str, str, str]  # a type, a text, and a digest
Outline = dict[str, Entry]

SAME_ITEMS = "the same items in another order"

_ENTRIES = 100
_LENGTH = 40  # characters of a text
_PATH = 100  # characters of a path whose parts have entries
_DIGEST = 12  # hexadecimal digits
_NOT_THERE = ("", "(not there)", "")
_NUMBER = frozenset("0123456789+-.e")


def outline(value: Any, names: Mapping[str, str]) -> Outline:
    """Return the outline of a value whose digest can be made; `names` is that of `Digester`."""
    found: Outline = {}
    waiting: deque[tuple[str, Any, tuple[int, ...]]] = deque([("", value, ())])
    while waiting:  # those of the outer parts come first
        path, part, above = waiting.popleft()
        kind = type(part).__name__
        text = show(part, _LENGTH)
        if type(part) in LEAVES:
            is_all = len(text) < _LENGTH
            found[path] = (kind, text, "" if is_all else _digest(part, names, above))
            continue
        is_deep = id(part) in above or len(path) > _PATH
        structure = None if is_deep else take_apart(part, names)
        inner = _parts(structure) if structure is not None else None
        if inner is None or len(found) + len(waiting) + len(inner) > _ENTRIES:
            found[path] = (kind, text, _digest(part, names, above, structure))
            continue
        found[path] = (kind, "", "")
        inside = (*above, id(part))
        waiting.extend((f"{path}{label}", each, inside) for label, each in inner.items())
    return found


def _digest(
    value: Any, names: Mapping[str, str], above: tuple[int, ...], structure: Any = None
) -> str:
    digest = Digester(names).digest(value, above)[:_DIGEST]
    if structure is None or not structure.pairs:
        return digest
    inside = (*above, id(value))
    unordered = Digester(names).digest_unordered(structure.pairs, inside)
    return f"{digest} {unordered[:_DIGEST]}"


def _parts(structure: Structure) -> dict[str, Any] | None:
    """Return the parts by their labels; None if there are none, or too many."""
    count = len(structure.attributes) + len(structure.items) + len(structure.pairs)
    if not 0 < count < _ENTRIES or structure.kind in ("set", "array"):
        return None
    parts = {f".{name}": part for name, part in structure.attributes.items()}
    parts |= {f"[{index}]": part for index, part in enumerate(structure.items)}
    parts |= {f"[{show(key, _LENGTH)}]": part for key, part in structure.pairs}
    if len(parts) < count:  # two keys look the same
        return None
    if structure.kind == "partial" or (structure.kind == "object" and len(structure.origin) > 2):
        parts["(...)"] = tuple(structure.origin)
    return parts


def encode(found: Outline) -> dict[str, str]:
    """Return an outline as a part of an argument's description; nothing if it shows no parts."""
    if len(found) == 1 and not found[""][2].partition(" ")[2]:
        return {}
    return {"outline": json.dumps(found, separators=(",", ":"), ensure_ascii=False)}


def decode(described: Mapping[str, str]) -> Outline:
    """Return the outline in an argument's description; an empty one if there is none."""
    try:
        return {
            str(path): (str(kind), str(text), str(digest))
            for path, (kind, text, digest) in json.loads(described["outline"]).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def compare(old: Outline, new: Outline) -> dict[str, str]:
    """Return the differences between two outlines, by their paths; none if one is empty."""
    if not old or not new:
        return {}
    found: dict[str, str] = {}
    passed: list[str] = []
    for path in dict.fromkeys([*old, *new]):
        one, other = old.get(path, _NOT_THERE), new.get(path, _NOT_THERE)
        if _is_same(one, other) or any(_is_inside(path, outer) for outer in passed):
            continue
        passed.append(path)
        if one[0] != other[0] or _has_parts(one) == _has_parts(other):
            found[path] = _change(one, other)
        # Otherwise only one of them has entries for its parts, and nothing can be said.
    return found or _reordered(list(old), list(new))


def _is_same(one: Entry, other: Entry) -> bool:
    """Return whether two entries are the same, even if another version wrote their text."""
    if one[2] and other[2]:
        return (one[0], one[2]) == (other[0], other[2])
    return one == other


def _has_parts(entry: Entry) -> bool:
    return not entry[1]


def _is_inside(path: str, outer: str) -> bool:
    return path.startswith(outer) and path[len(outer) : len(outer) + 1] in (".", "[", "(")


def _change(one: Entry, other: Entry) -> str:
    ordered, other_ordered = one[2].partition(" "), other[2].partition(" ")
    if ordered[2] and ordered[2] == other_ordered[2]:
        return f"{one[1]} -> {other[1]} ({SAME_ITEMS})"
    return change((one[0], one[1] or one[0]), (other[0], other[1] or other[0]))


def change(old: tuple[str, str], new: tuple[str, str]) -> str:
    """Return the text for a change; each side has a type, which may be empty, and a text."""
    (old_type, old_text), (new_type, new_text) = old, new
    are_similar = old_text == new_text or _NUMBER.issuperset(old_text + new_text)
    if are_similar and old_type != new_type and old_type and new_type:
        return f"{old_text} ({old_type}) -> {new_text} ({new_type})"
    remark = " (other content)" if old_text == new_text else ""
    return f"{old_text} -> {new_text}{remark}"


def _reordered(old: list[str], new: list[str]) -> dict[str, str]:
    """Return the first place where two outlines have the same paths in another order."""
    for one, other in zip(old, new, strict=False):
        if one != other:
            outer = [path for path in old if _is_inside(one, path)]
            return {max(outer, key=len, default=""): SAME_ITEMS}
    return {}
