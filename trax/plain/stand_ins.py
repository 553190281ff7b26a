"""Stand-ins for what a pickle describes and what is not built: instances, names, and some keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trax.display import show

__all__ = ["Instance", "Named", "Unhashed"]

_KEY = 40  # characters
_STATES = 8  # of one object


class Named:
    """A class, a function, or an object outside of a pickle, which refers to it by name.

    Parameters
    ----------
    name : str
        The full name, or the path of an object outside.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return type(other) is Named and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Unhashed:
    """A key of a dict, or an item of a set, which is equal to itself alone.

    Hashing the value could take forever, or is not possible without its class.

    Parameters
    ----------
    value : object
        The key.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"<key of type {type(self.value).__name__}>"


class Instance:
    """An object of a class that is not called, or what a function would return.

    Parameters
    ----------
    kind : str
        The full name of the class or the function.
    arguments : tuple
        The arguments with which it is made.

    Attributes
    ----------
    type : str
        The full name of the class or the function.
    items : list
        Its items, if it is a list or the like.
    pairs : dict
        Its keys and values, if it is a dict or the like.
    """

    __slots__ = ("_parts", "items", "pairs", "type")

    def __init__(self, kind: str, arguments: tuple[Any, ...] = ()) -> None:
        self.type = kind
        self.items: list[Any] = []
        self.pairs: dict[Any, Any] = {}
        self._parts: list[Any] = [arguments]

    def build(self, state: Any) -> None:
        """Add a state, as pickle gives it to an object: attributes, with those in slots or without.

        A list has the fields of a dataclass with slots; any other state is the field ``state``.

        Raises
        ------
        ValueError
            It has too many states; a pickle could refer to the same ones again and again.
        """
        if len(self._parts) > _STATES:
            raise ValueError("too many states")
        if type(state) is tuple and len(state) == 2 and {dict} >= {*map(type, filter(None, state))}:
            self._parts.extend(filter(None, state))
        else:
            self._parts.append(state if type(state) in (dict, list) else {"state": state})

    def named(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields with their names; a number is the name of a field without one."""
        count = 0
        for part in (*self._parts, self.items, self.pairs):
            if isinstance(part, dict):
                for key, value in part.items():
                    yield key if type(key) is str else show(key, _KEY), value
            else:
                for value in part:
                    yield str(count), value
                    count += 1

    @property
    def fields(self) -> dict[str, Any]:
        """The fields by name; see `named`."""
        return dict(self.named())

    def __repr__(self) -> str:
        return f"<{self.type} instance>"
