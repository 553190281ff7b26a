"""The state of a plain loop: its local variables by name, as they were after one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from trax._public import public
from trax.display import as_html, show

__all__ = ["Locals"]

_SHOWN = 40  # characters of a value


def _say_missing(name: str) -> str:
    return f"no local variable {name!r} is stored"


@public
class Locals(Mapping[str, Any]):
    """The state of a plain loop: its local variables by name, as they were after one step.

    It contains those that the loop needs in order to go on, and cannot be changed. It belongs to
    its step: the variables of later steps are those of another one.

    Parameters
    ----------
    values : mapping of str to object
        The variables by name.
    step : int
        The step after which they were so.
    missing : callable, optional
        ``missing(name) -> str``: the message of the `KeyError` for a name that is not there. It is
        left behind if the object is pickled or copied.
    result : object, optional
        The result of a loop that has ended.

    Attributes
    ----------
    step, result
        As above; `result` is None as long as the loop has not ended.

    Examples
    --------
    >>> import trax
    >>> state = trax.Locals({"epoch": 3, "best": 0.25}, step=4)
    >>> state
    Locals({'epoch': 3, 'best': 0.25}, step=4)
    >>> state["best"], state.step
    (0.25, 4)
    """

    __slots__ = ("_missing", "_result", "_step", "_values")

    def __init__(
        self,
        values: Mapping[str, Any],
        step: int,
        missing: Callable[[str], str] = _say_missing,
        *,
        result: Any = None,
    ) -> None:
        self._result = result
        self._values = dict(values)
        self._step = step
        self._missing = missing

    @property
    def step(self) -> int:
        return self._step

    @property
    def result(self) -> Any:
        return self._result

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        raise KeyError(self._missing(name))

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _repr_html_(self) -> str:
        shown = {name: show(value, 2 * _SHOWN) for name, value in self.items()}
        if self._result is not None:
            shown["result"] = show(self._result, 2 * _SHOWN)
        return as_html(f"Local variables after step {self._step:,}", shown)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name!r}: {show(value, _SHOWN)}" for name, value in self.items())
        result = "" if self._result is None else f", result={show(self._result, 2 * _SHOWN)}"
        return f"Locals({{{shown}}}, step={self.step}{result})"

    def __reduce__(self) -> tuple[Callable[..., Locals], tuple[dict[str, Any], int]]:
        made = type(self) if self._result is None else partial(type(self), result=self._result)
        return made, (self._values, self._step)
