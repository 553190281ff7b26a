"""Calls `create` with the arguments of a call that it names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from trax.calls.signatures import check_argument, signature

__all__ = ["call_create", "check_create"]


def check_create(create: Callable[..., Any], arguments: Sequence[str]) -> None:
    """Refuse a function that needs an argument which the call does not have."""
    for parameter in _parameters(create).values():
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            check_argument(parameter.name, arguments, "create needs")


def call_create(create: Callable[..., Any], values: dict[str, Any]) -> Any:
    """Return the first state, made from the `values` that `create` names."""
    args, kwargs = [], {}
    for parameter in _parameters(create).values():
        if parameter.kind is parameter.VAR_KEYWORD:
            kwargs.update({name: value for name, value in values.items() if name not in kwargs})
        elif parameter.name not in values:
            continue
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            args.append(values[parameter.name])
        else:
            kwargs[parameter.name] = values[parameter.name]
    return create(*args, **kwargs)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        parameters = signature(function).parameters
    except (TypeError, ValueError):  # a builtin without a signature, such as dict
        return {}
    names_all = function.__module__ not in sys.stdlib_module_names  # Counter(n=3) has an item n
    return {
        name: parameter
        for name, parameter in parameters.items()
        if names_all or parameter.kind is not parameter.VAR_KEYWORD
    }
