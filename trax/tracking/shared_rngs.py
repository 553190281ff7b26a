"""Stores RNGs that are in the state and outside of it as references to the ones outside.

So they are one RNG in a resumed run as well. The reference is the place outside of the state, with
a copy beside it for readers that do not have that place, such as `trax.load`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from trax.storage.context import Key
from trax.tracking.rng_discovery import outer_key
from trax.tracking.rng_state import track
from trax.tracking.rngs import canonical, numpy_random

__all__ = ["at_hand", "outer_rng", "reductions"]

_at_hand: ContextVar[Iterable[tuple[str, Any]]] = ContextVar("at_hand", default=())

Reduction = Callable[[Any], Any]


@contextlib.contextmanager
def at_hand(rngs: Iterable[tuple[str, Any]]) -> Iterator[None]:
    """Let states that are loaded in this block contain these RNGs, given with their places."""
    token = _at_hand.set(rngs)
    try:
        yield
    finally:
        _at_hand.reset(token)


def outer_rng(name: str, make: Callable[..., Any], args: tuple[Any, ...], state: Any) -> Any:
    """Return the RNG at a place outside of the state; if there is none, a copy of the stored one.

    A pickle calls this: `make`, `args` and `state` are the copy, as its ``__reduce_ex__`` gave it.
    """
    for place, rng in _at_hand.get():
        if outer_key(place, track(rng)).name == name:
            return rng
    copy = make(*args)
    if state is not None:
        copy.__setstate__(state)
    return copy


def reductions(keys: Mapping[int, Key], rngs: Iterable[Any]) -> dict[type, Reduction]:
    """Return how RNGs are taken apart when a state is pickled, by type.

    Parameters
    ----------
    keys : mapping of int to Key
        The keys of the RNGs outside of the state, by identity; it may grow later.
    rngs : iterable
        Those RNGs.
    """

    def reduce(rng: Any) -> Any:
        reduced = rng.__reduce_ex__(4)
        key = keys.get(id(rng))
        if key is None or isinstance(reduced, str):
            return reduced
        make, args, state = (*reduced, None)[:3]
        return outer_rng, (key.name, make, args, state)

    found: dict[type, Reduction] = {type(rng): reduce for rng in rngs}
    numpy = numpy_random()
    if numpy is not None:
        found[numpy.Generator] = _reduce_generator
    return found


def _reduce_generator(rng: Any) -> Any:
    # In some versions of NumPy, its own reduction copies the bit generator.
    return type(rng), (canonical(rng),)
