"""Changes a recipe: anything in it into anything else, with a taste for what hurts."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

__all__ = ["mutate"]

_NUMBERS = [
    *(0, 1, -1, 2, 3, 7, 8, 9, 128, 129, 131, 132, 133, 134, 135, 136, 255, 256, 624, 625),
    *(1008, 1016, 1023, 1024, 1025, 1040, 4096, 4097, 10**18 - 1, 10**18),
    *(2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400),
]
_WORDS = [
    *("", "0", "@", "@-1", "@-2", "@canary", "@random", "@numpy", "@twister", "@missing", "@cut"),
    *("@buffer", "@function", "0" * 16, "f" * 16, "f" * 17, "-1", "0x1", "1_0", "\0", "\ud800"),
    *("run", "log", "checkpoint", "state", "context", "result", "replay_log", "always", "os"),
    *("interval", "create", "function", "replace", "none", "unknown", "boot-1", "a" * 32),
    *(
        "output out.txt#0",
        "output ../out.txt#0",
        "output #0",
        "output \0#0",
        "folded",
        "#",
        "x" * 99,
    ),
    *("output ../runs/run/log-00000001#0", "output ../runs/run#0", "output /dev/null#0"),
    *("output runs/run/log-00000001#0", "state 0#0", "state 0#1", "random: Random#0"),
    *("random: Random#1", "numpy.random: MT19937#1", "argument generator: PCG64#0", "\x01" * 8),
    *("repair", "log-00000001", "log-00000002", "log-00000003", "log-00000000", "log-99999999"),
    *("log-999999999999999999", "log-1000000000000000000", "checkpoint-00000001"),
    *(
        "checkpoint-00000000",
        "checkpoint-00000002",
        "checkpoint-00000009",
        "checkpoint-00000003.tmp",
    ),
]
_OTHERS: list[Any] = [
    *(True, False, None, 1.5, -1e308, float("nan"), float("inf"), [], {}, [[]], [0, 0, "0" * 16]),
    {"raw": "[", "times": 100000},
    {"raw": "[", "times": 900},
    {"raw": '{"a":', "times": 100000},
    {"raw": "\0", "times": 4096},
    {"raw": "9", "times": 5000},
    {"raw": "\x01\0\0\0", "times": 624},
    [[129, 1], [129, 2]],
    [129, "@canary"],
    [135, [["output out.txt#0", "\3\0\0\0\0\0\0\0"]]],
    [136, [["output out.txt#0", "\0\0\0\0\0\0\0\0"]]],
    [131, "buffer"],
]
_LARGEST = 60_000  # nodes; what is larger is only cut down


def mutate(recipe: Any, random: Random, other: Any = None) -> Any:
    """Return a changed copy; parts of another recipe may go into it."""
    recipe = copy.deepcopy(recipe)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        recipe = _change(recipe, random, other)
    return recipe


def _change(recipe: Any, random: Random, other: Any) -> Any:
    places = list(_places(recipe))
    if not places or not random.randrange(50):
        return _like(recipe, random)
    if isinstance(recipe, dict) and "files" in recipe and not random.randrange(20):
        recipe["signed"] = not recipe.get("signed")
        return recipe
    holder, key = random.choice(places)
    action = random.randrange(10)
    if action < 5:
        holder[key] = _like(holder[key], random)
    elif action == 5:
        del holder[key]
    elif action == 6:
        _add(holder, copy.deepcopy(holder[key]), random)
    elif action == 7:
        _exchange(holder, key, random)
    elif action == 8:
        donors = list(_places(other if other is not None else recipe))
        donor, part = random.choice(donors) if donors else (holder, key)
        _add(random.choice((holder, recipe)), copy.deepcopy(donor[part]), random)
    else:
        _damage(recipe, random)
    return recipe if len(places) < _LARGEST else {}


def _places(node: Any) -> Any:
    """Yield every place in a recipe: what it lies in, and under which key."""
    if isinstance(node, (dict, list)):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


def _like(value: Any, random: Random) -> Any:
    """Return something else, more often than not of the same kind."""
    choice = random.randrange(8)
    if choice == 0:
        return copy.deepcopy(random.choice(_OTHERS))
    if choice == 1:
        return random.choice(_NUMBERS)
    if choice == 2:
        return random.choice(_WORDS)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((value + 1, value - 1, value ^ 128, -value, *_NUMBERS))
    if isinstance(value, str):
        return _text(value, random)
    return [value] if choice == 3 else copy.deepcopy(random.choice(_OTHERS))


def _text(value: str, random: Random) -> str:
    at = random.randrange(len(value) + 1)
    return random.choice(
        (
            random.choice(_WORDS),
            value[:at],
            value[at:],
            value[:at] + chr(random.randrange(256)) + value[at + 1 :],
            value[:at] + random.choice(_WORDS) + value[at:],
            value + value,
        )
    )


def _add(holder: Any, value: Any, random: Random) -> None:
    if isinstance(holder, list):
        holder.insert(random.randrange(len(holder) + 1), value)
    elif isinstance(holder, dict):
        holder[random.choice((*_WORDS, *holder))] = value


def _exchange(holder: Any, key: Any, random: Random) -> None:
    """Exchange two neighbours, or give one another name."""
    if isinstance(holder, list):
        other = random.randrange(len(holder))
        holder[key], holder[other] = holder[other], holder[key]
    else:
        holder[random.choice((*_WORDS, *holder))] = holder.pop(key)


def _damage(recipe: Any, random: Random) -> None:
    """Damage a file behind its checksums' back."""
    files = recipe.get("files") if isinstance(recipe, dict) else None
    found = (
        [file for file in (files or {}).values() if isinstance(file, dict)]
        if isinstance(files, dict)
        else []
    )
    if not found:
        return
    file = random.choice(found)
    size = 1024 + len(json.dumps(file.get("records", ()), default=str))
    choice = random.randrange(6 if recipe.get("signed") else 4)
    if choice == 0:
        file["cut"] = random.randrange(size)
    elif choice == 1:
        file["tail"] = {
            "raw": random.choice(("\0", "x", "\x81\1\0\0\0\0\0\0")),
            "times": random.randrange(64),
        }
    elif choice == 2:
        file["durable"] = random.choice(("@", 0, 1024, random.randrange(size), 2**64 - 1))
    elif choice == 3:
        _append(file, "changes", [random.randrange(size), 1 << random.randrange(8)])
    elif choice == 4:
        part, place = random.randrange(9), random.randrange(1024)
        change = [part, place, 1 << random.randrange(8)]
        _append(file, "forged", random.choice((change, [part, random.randrange(9)])))
    else:
        file["signed"] = random.choice((True, False, "other"))


def _append(file: dict[str, Any], key: str, change: Any) -> None:
    changes = file.setdefault(key, [])
    if isinstance(changes, list):
        changes.append(change)
