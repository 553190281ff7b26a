"""Names of runs, made from a template over the arguments such as ``"lorenz-{seed}"``."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

from trax.calls.signatures import check_argument
from trax.display import show
from trax.errors import UsageError
from trax.storage.filenames import encode_run

__all__ = ["check_template", "fits_template", "format_name"]


def check_template(template: Any, arguments: Sequence[str]) -> None:
    """Refuse a template that is malformed or refers to something that is not an argument."""
    if not isinstance(template, str):
        raise UsageError(f"name must be a str, not {show(template)}")
    try:
        fields = [part[1] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise UsageError(f"name={template!r} is not a template: {error}") from None
    for field in fields:
        root = field.partition(".")[0].partition("[")[0]
        check_argument(root, arguments, f"name={template!r} refers to")
    if "{" not in template:
        encode_run(template)


def fits_template(name: str, template: str) -> bool:
    """Return whether a template gives a name with some values."""
    parts = string.Formatter().parse(template)
    pattern = "".join(
        re.escape(text) + (".*" if field is not None else "") for text, field, _, _ in parts
    )
    return re.fullmatch(pattern, name) is not None


def format_name(template: str, values: dict[str, Any]) -> str:
    """Return the name that a template gives with the values of a call.

    Raises
    ------
    UsageError
        A value is missing, or the result is not a valid name.
    """
    try:
        name = template.format(**values)
    except KeyError as error:
        raise UsageError(
            f"the run's name {template!r} needs the argument {error.args[0]!r}.\n"
            "Give it, or take it out of name=."
        ) from None
    except Exception as error:  # a __format__ may raise anything
        raise UsageError(
            f"the run's name {template!r} cannot be formatted: {error}\n"
            "Use arguments that are short numbers or words."
        ) from error
    if " object at 0x" in name:
        raise UsageError(
            f"the run's name {template!r} would differ in every process: {name!r}\n"
            "Use arguments that are numbers or words, or their attributes, as in '{model.size}'."
        )
    encode_run(name)
    return name
