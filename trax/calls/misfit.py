"""Says how the arguments of a call do not fit the function, and how to call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature

from trax.errors import CallError

__all__ = ["misfit"]

_GATHERING = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def misfit(
    function: str,
    state: Parameter | None,
    others: Sequence[Parameter],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> CallError:
    """Return the error for arguments that do not fit.

    `state` is the parameter for which trax supplies a declared state, and `others` are those of the
    caller, without ``self`` or ``cls``.
    """
    bare = [other.replace(annotation=Parameter.empty) for other in others]
    cause = f"{function}() {_cause(state, others, args, kwargs)}"
    usage = f"Call it as {function}{Signature(bare)}"
    if state is None:
        return CallError(f"{cause}\n{usage}.")
    lines = [
        cause,
        f"{usage}: trax supplies its first parameter, {state.name!r}, as the state.",
    ]
    if state.name in kwargs and state.kind is not Parameter.POSITIONAL_ONLY:
        lines.append(
            f"If {state.name!r} is not the state, add a parameter for that before it, as in "
            f"def {function}(state, {state.name}).\n"
            "Or leave out create=, and the loop's local variables are the state."
        )
    return CallError("\n".join(lines))


def _cause(
    state: Parameter | None,
    others: Sequence[Parameter],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> str:
    """Return the first reason for which the arguments do not fit."""
    kinds = {parameter.kind for parameter in others}
    positional = [p for p in others if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_keyword = {p.name for p in others if p.kind not in (p.POSITIONAL_ONLY, *_GATHERING)}
    named = kwargs.keys() & by_keyword
    if state and state.name in kwargs and Parameter.VAR_KEYWORD not in kinds:
        return f"got the argument {state.name!r}, and that is the state"
    if len(args) > len(positional) and Parameter.VAR_POSITIONAL not in kinds:
        besides = ", besides the state" if state else ""
        return f"got {len(args)} positional arguments and takes {len(positional)}{besides}"
    given = {parameter.name for parameter, _ in zip(positional, args, strict=False)}
    unknown = [name for name in kwargs if name not in by_keyword]
    if unknown and Parameter.VAR_KEYWORD not in kinds:
        return f"has no argument {unknown[0]!r}"
    twice = sorted(given & named)
    if twice:
        return f"got the argument {twice[0]!r} twice"
    needed = [p.name for p in others if p.default is p.empty and p.kind not in _GATHERING]
    missing = [repr(name) for name in needed if name not in given | named]
    noun = "arguments" if len(missing) > 1 else "argument"
    return f"is missing the {noun} {', '.join(missing)}"
