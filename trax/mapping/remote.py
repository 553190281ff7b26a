"""Calls a function in another process, and sends back what it returns or raises.

An executor of processes breaks when it gets an object that cannot be loaded, such as an exception
whose class has an ``__init__`` of its own. So results are sent as bytes, and such an exception as
its class, its arguments and its attributes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from trax.errors import CodecError
from trax.storage.codec import PROTOCOL
from trax.storage.definitions import full_name

__all__ = ["Remote", "received"]


class Remote:
    """A function that is called in another process; `received` loads its results.

    Parameters
    ----------
    function : callable
        The function.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, item: Any) -> bytes:
        """Call the function, and return its result as bytes."""
        try:
            return pickle.dumps(self._function(item), PROTOCOL)
        except Exception as error:
            if _can_be_sent(error):
                raise
            raise _Carried(error) from error


def received(sent: bytes) -> Any:
    """Return a result that `Remote` has sent.

    Raises
    ------
    CodecError
        It cannot be loaded.
    """
    try:
        return pickle.loads(sent)
    except Exception as error:
        raise CodecError(
            f"a result came from its process, and cannot be loaded: {error}\n"
            "Let its class pass all arguments to super().__init__(...), or give it a __reduce__."
        ) from error


class _Carried(Exception):  # noqa: N818  # it becomes the exception that it carries
    """Carries an exception whose own pickle does not load."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        kind = type(error)
        attributes = {name: one for name, one in vars(error).items() if _can_be_sent(one)}
        args = tuple(one if _can_be_sent(one) else str(one) for one in error.args)
        self._parts: tuple[Any, ...] = kind, args, attributes
        if not _can_be_sent(self):
            self._parts = RuntimeError, (f"{full_name(kind)}: {error}",), {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, self._parts


def _unpack(kind: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any]) -> Exception:
    """Return an exception of a class, without a call of its ``__init__``."""
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


def _can_be_sent(value: Any) -> bool:
    try:
        pickle.loads(pickle.dumps(value, PROTOCOL))
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return False
    return True
