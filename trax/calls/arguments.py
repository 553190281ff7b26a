"""The arguments of a call: bound, named, and compared with those of the call before.

What is stored of an argument is a short text for people and a digest. The digest is made from
the value's structure, as pickle would take it apart, and not from a pickle's bytes: those
depend on which equal objects happen to be the same one. Digests of version 1 contain the names
that trax's own classes and functions had first.
"""

from __future__ import annotations

import contextlib
import copyreg
import inspect
import os
import re
import reprlib
import string
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

from xxhash import xxh3_128

from trax.calls.digests import are_comparable, version_of
from trax.calls.fingerprint import content
from trax.errors import ArgumentsChangedError, CodecError, UsageError
from trax.storage.former_names import ORIGINAL_NAMES
from trax.storage.unpickler import present_name
from trax.tracking.rng_state import canonical, seed_of

__all__ = [
    "call_with",
    "changed_error",
    "check_names",
    "check_template",
    "describe",
    "describe_where_possible",
    "differences",
]

# A change between numbers or words, of which a name can be made.
_PLAIN = re.compile(r"'?[\w.+-]+'? -> '?[\w.+-]+'?")
_OWN_NAMES = {public: original for original, public in ORIGINAL_NAMES.items()}
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def describe(
    values: dict[str, Any], names: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Return what is stored of each argument: a text and a digest.

    Parameters
    ----------
    values : dict
        The arguments.
    names : mapping of str to str, optional
        Names for classes, functions and modules, by those that they have; see `present_name`.

    Raises
    ------
    CodecError
        Where an argument cannot be taken apart; it names the argument.
    """
    described = {}
    names = {**_OWN_NAMES, **(names or {})}
    for name, value in values.items():
        try:
            digest = _digest(value, names)
        except Exception as error:
            raise CodecError(
                f"the argument {name!r} cannot be compared with that of a later call: {error}. "
                f"If it may differ from call to call, say varying=({name!r},)."
            ) from error
        described[name] = {"text": _ADDRESS.sub("", _repr.repr(value)), "digest": digest}
    return described


def describe_where_possible(
    values: dict[str, Any], names: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Return the same, leaving out what cannot be taken apart."""
    described = {}
    for name, value in values.items():
        with contextlib.suppress(CodecError):
            described.update(describe({name: value}, names))
    return described


def differences(stored: dict[str, Any], given: dict[str, Any]) -> dict[str, str]:
    """Return, for each argument that is not what it was, a text that shows it."""
    missing = {"text": "(not given)", "digest": ""}
    found = {}
    for name in dict.fromkeys([*stored, *given]):
        old, new = stored.get(name, missing), given.get(name, missing)
        if old["digest"] != new["digest"]:
            found[name] = f"{old['text']} -> {new['text']}{_remark(old, new)}"
    return found


def _remark(old: dict[str, str], new: dict[str, str]) -> str:
    if not are_comparable(old["digest"], new["digest"]):
        version = version_of(old["digest"])
        return (
            f" (a newer trax stored a digest of version {version}, which this one cannot compare)"
        )
    return " (other content)" if old["text"] == new["text"] else ""


def changed_error(
    run: str, template: str, function: str, changed: dict[str, str]
) -> ArgumentsChangedError:
    """Return the error for a run that is called with other arguments, with the ways on."""
    lines = "".join(f"\n  {name}: {text}" for name, text in changed.items())
    ways = [
        f"allow the change, with varying={tuple(changed)!r}",
        f"start over, with {function}.fresh(...)",
    ]
    plain = [name for name, text in changed.items() if _PLAIN.fullmatch(text)]
    if plain:
        longer = template + "".join(f"-{{{name}}}" for name in plain)
        ways.insert(0, f"keep a run for each value, with name={longer!r}")
    return ArgumentsChangedError(
        f"the run {run!r} is stored with other arguments:{lines}\n"
        f"Call it as before to go on; or {'; or '.join(ways)}."
    )


def check_template(template: str, parameters: Iterable[str]) -> None:
    """Refuse a name template that refers to something that is not a parameter."""
    if not isinstance(template, str):
        raise UsageError(f"name must be a str, not {template!r}")
    try:
        fields = [part[1] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise UsageError(f"name={template!r} is not a template: {error}") from None
    known = list(parameters)
    for field in fields:
        root = field.partition(".")[0].partition("[")[0]
        if root not in known:
            raise UsageError(
                f"name={template!r} refers to {root!r}, which is not an argument of the call; "
                f"there are {', '.join(known) or 'none'}"
            )


def check_names(function: Callable[..., Any], available: Iterable[str], what: str) -> None:
    """Refuse a function that needs an argument which the call does not have."""
    known = set(available)
    for parameter in _parameters(function).values():
        if (
            parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            and parameter.name not in known
        ):
            raise UsageError(
                f"{what} needs {parameter.name!r}, which is not an argument of the call; there "
                f"are {', '.join(sorted(known)) or 'none'}"
            )


def call_with(function: Callable[..., Any], values: dict[str, Any]) -> Any:
    """Call `function` with those of `values` that it names."""
    args, kwargs = [], {}
    for parameter in _parameters(function).values():
        if parameter.kind is parameter.VAR_KEYWORD:
            kwargs.update({name: value for name, value in values.items() if name not in kwargs})
        elif parameter.name not in values:
            continue
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            args.append(values[parameter.name])
        else:
            kwargs[parameter.name] = values[parameter.name]
    return function(*args, **kwargs)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin, such as dict, that does not say
        return {}


def _digest(value: Any, names: Mapping[str, str], above: tuple[int, ...] = ()) -> str:
    digest = xxh3_128()
    _feed(digest.update, value, names, above)
    return digest.hexdigest()


def _feed(
    update: Callable[[Any], None], value: Any, names: Mapping[str, str], above: tuple[int, ...]
) -> None:
    """Feed the structure of a value; `above` are the objects that it lies in."""

    def head(kind: str, size: int) -> None:
        update(f"{kind}:{size};".encode())

    def leaf(kind: str, content: Any) -> None:
        view = memoryview(content).cast("B")
        head(kind, len(view))
        update(view)

    inside = (*above, id(value))

    def each(values: Iterable[Any]) -> None:
        for part in values:
            _feed(update, part, names, inside)

    def unordered(values: Iterable[Any]) -> None:
        for digest in sorted(_digest(part, names, inside) for part in values):
            leaf("part", digest.encode())

    kind = type(value)
    if id(value) in above:
        head("cycle", above[::-1].index(id(value)))
    elif kind is int:
        leaf("int", hex(value).encode())
    elif value is None or kind in (bool, float, complex):
        leaf(kind.__name__, repr(value).encode())
    elif kind is str:
        leaf("str", value.encode("utf-8", "surrogatepass"))
    elif kind in (bytes, bytearray):
        leaf(kind.__name__, value)
    elif isinstance(value, PurePath):
        leaf("path", os.fsencode(value))
    elif kind in (tuple, list):
        head(kind.__name__, len(value))
        each(value)
    elif kind in (set, frozenset):
        head(kind.__name__, len(value))
        unordered(value)
    elif kind is dict:
        head("dict", len(value))
        unordered(value.items())
    elif (seed := seed_of(value)) is not None:  # where it stands is stored with the run
        each([kind, type(canonical(value)), seed.entropy, seed.spawn_key])
    elif isinstance(value, ModuleType):
        leaf("module", present_name(value.__name__, names).encode())
    elif isinstance(value, type) or inspect.isroutine(value):
        name = f"{value.__module__}.{value.__qualname__}"
        leaf("name", present_name(name, names).encode())
        each(_distinctions(value))
    else:
        reduce = copyreg.dispatch_table.get(kind)
        reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        head("object", 1)
        if isinstance(reduced, str):
            each([kind, reduced])
        else:
            function, args, *rest = reduced
            state, items, pairs = [*rest, None, None, None][:3]
            each([function, args, state, list(items or ())])
            each([list(pairs)] if isinstance(value, OrderedDict) else [dict(pairs or ())])


def _distinctions(routine: Any) -> list[Any]:
    """Return what else makes a function what it is, where its name does not lead to it."""
    owner = getattr(routine, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        return [owner]
    if isinstance(routine, FunctionType) and "<" in routine.__qualname__:
        cells = [cell.cell_contents for cell in routine.__closure__ or ()]
        code = repr(content(routine.__code__))
        return [code, routine.__defaults__, routine.__kwdefaults__, cells]
    return []
