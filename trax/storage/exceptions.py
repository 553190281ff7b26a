"""Stores exceptions together with the causes and contexts that led to them, which pickle drops.

Tracebacks are not stored: they refer to frames.

Pickles refer to the public functions of this module by name.
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["complete_exception", "reduce_exception"]

_PROTOCOL = 5


def reduce_exception(error: BaseException) -> Any:
    """Reduce an exception; a cause or a context that pickle refuses is left out."""
    reduced = error.__reduce_ex__(_PROTOCOL)
    links = _storable(error.__cause__), _storable(error.__context__)
    if links == (None, None) or not isinstance(reduced, tuple) or len(reduced) > 3:
        return reduced
    make, arguments, *attributes = reduced
    state = [*attributes, None][0], links, error.__suppress_context__
    return make, arguments, state, None, None, complete_exception


def complete_exception(
    error: BaseException,
    state: tuple[Any, tuple[BaseException | None, BaseException | None], bool],
) -> None:
    """Give an exception its attributes, and the exceptions that led to it."""
    attributes, (error.__cause__, error.__context__), error.__suppress_context__ = state
    if attributes is not None:
        error.__setstate__(attributes)


def _storable(error: BaseException | None) -> BaseException | None:
    """Return an exception, if pickle can store and load it by itself."""
    try:
        pickle.loads(pickle.dumps(error, _PROTOCOL))
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None
    return error
