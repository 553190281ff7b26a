"""The cases of a sweep: a grid of arguments, each of whose cases is a run of its own."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trax._public import public
from trax.calls.name_template import format_name
from trax.display import show
from trax.errors import UsageError
from trax.wrapper import call_of

__all__ = ["Case", "Grid", "check_names"]

R_co = TypeVar("R_co", covariant=True)

_SHOWN = 30  # characters of a value


@public
@dataclass(frozen=True, slots=True)
class Case(Generic[R_co]):
    """A case of a sweep that has come to an end.

    Attributes
    ----------
    name : str
        The name of its run.
    arguments : dict
        Its arguments, as the grid has them.
    result : object
        What ``run.result()`` returns; None if the run has failed.
    error : BaseException or None
        The exception with which the run has ended. If it ran elsewhere, a note has the traceback.
    """

    name: str
    arguments: dict[str, Any]
    result: R_co | None = None
    error: BaseException | None = None


class Grid:
    """The arguments of each case: all combinations of values, or those that are listed.

    Parameters
    ----------
    given : mapping or iterable
        The values by the name of the argument; or mappings of arguments.

    Raises
    ------
    UsageError
        It is neither.
    """

    def __init__(self, given: Any) -> None:
        self._values: dict[str, list[Any]] | None = None
        self._listed: list[dict[str, Any]] = []
        if isinstance(given, Mapping):
            self._values = {key: _values(key, values) for key, values in given.items()}
        elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
            self._listed = [_arguments(number, one) for number, one in enumerate(given)]
        else:
            raise UsageError(
                f"the grid must be a mapping of arguments to their values, not {show(given)}.\n"
                "Write it as in {'seed': range(100), 'n': [10_000]}.\n"
                "Or list the cases, as in [{'seed': 1, 'n': 10}, {'seed': 2, 'n': 20}]."
            )

    def __len__(self) -> int:
        if self._values is None:
            return len(self._listed)
        return math.prod(map(len, self._values.values()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._values is None:
            yield from map(dict, self._listed)
            return
        for values in itertools.product(*self._values.values()):
            yield dict(zip(self._values, values, strict=True))


def _values(key: Any, values: Any) -> list[Any]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(
            f"the grid has one value for {key!r} instead of several: {show(values)}\n"
            f"Put it into a list: {{{key!r}: [{show(values)}]}}."
        )
    return [*values]


def _arguments(number: int, one: Any) -> dict[str, Any]:
    if not isinstance(one, Mapping):
        raise UsageError(
            f"case {number} of the grid is no mapping of arguments, but {show(one)}.\n"
            "Write it as in {'seed': 1, 'n': 10}."
        )
    return dict(one)


# -- names ---------------------------------------------------------------------------------


def check_names(function: Any, grid: Grid) -> None:
    """Refuse cases whose arguments do not fit the function, and two cases of one name.

    Raises
    ------
    CallError
        The arguments of a case do not fit.
    UsageError
        Two cases would share a run.
    """
    names, template = set[str](), call_of(function, {}).options.name
    values: dict[tuple[str, ...], dict[str, Any]] = {}  # with the defaults, by what is given
    for arguments in grid:
        given = tuple(arguments)
        if given not in values:
            values[given] = call_of(function, arguments).arguments  # or an error
        name = format_name(template, values[given] | arguments)
        if name in names:
            raise _shared_error(function, grid, name, arguments)
        names.add(name)


def _shared_error(function: Any, grid: Grid, name: str, second: dict[str, Any]) -> UsageError:
    first = next(one for one in grid if call_of(function, one).name == name)
    first, second = (call_of(function, one).arguments | one for one in (first, second))
    keys = [key for key in first | second if show(first.get(key)) != show(second.get(key))]
    if not keys:
        return UsageError(
            f"a case comes twice in the grid, that of the run {name!r}.\nLeave one out."
        )
    template = call_of(function, {}).options.name
    differences = ", ".join(
        f"{key}={show(first.get(key), _SHOWN)} and {show(second.get(key), _SHOWN)}" for key in keys
    )
    missing = [key for key in keys if key not in _fields(template)]
    example = "-".join([template, *(f"{{{key}}}" for key in missing)])
    way = (
        f"Put what differs into its name, as in name={example!r}."
        if missing
        else f"Its name {template!r} shows them alike: let it show more of them."
    )
    return UsageError(f"two cases would share the run {name!r}.\nThey have {differences}.\n{way}")


def _fields(template: str) -> set[str]:
    """Return the arguments to which a template refers."""
    fields = (field for _, field, _, _ in string.Formatter().parse(template) if field)
    return {field.partition(".")[0].partition("[")[0] for field in fields}
