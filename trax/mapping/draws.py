"""Tells of functions that draw from an RNG that other items draw from as well.

After a crash the items that are left would get the numbers of those that are done. Only functions
that the caller's thread calls are watched: elsewhere other code draws at the same time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.storage.process import process
from trax.tracking.references import references
from trax.tracking.rng_discovery import OuterRngs
from trax.tracking.rng_state import track

if TYPE_CHECKING:
    from trax.mapping.map_call import MapCall

__all__ = ["Watched"]

_WATCHED = 20  # items
_PREFIX = re.compile("^(argument|variable) ")  # of a place
_SEEDING = {"seed", "manual_seed", "setstate", "set_state", "set_rng_state"}


class Watched:
    """The function of a call, which is watched for its first items.

    Parameters
    ----------
    call : MapCall
        The call.
    """

    def __init__(self, call: MapCall) -> None:
        self._name = call.name
        self._function = call.function
        identity = call.identity
        self._rngs = OuterRngs((), identity.values, identity.function)
        names = references([identity.function]).names
        self._left = _WATCHED if names.isdisjoint(_SEEDING) else 0

    def __call__(self, item: Any) -> Any:
        """Call the function."""
        if not self._left:
            return self._function(item)
        self._left -= 1
        before = self._positions()
        try:
            return self._function(item)
        finally:
            after = self._positions()
            drawn = [place for place, parts in before.items() if after.get(place) != parts]
            if drawn:
                self._tell(drawn[0])

    def _positions(self) -> dict[str, tuple[bytes, ...]]:
        return {place: track(rng).parts() for place, rng in self._rngs}

    def _tell(self, place: str) -> None:
        self._left = 0
        if (self._name, __name__) not in process.said:
            process.said.add((self._name, __name__))
            notices.warn(
                f"{self._name}: an item draws from the RNG {_PREFIX.sub('', place)}, as "
                "others do, and gets other numbers after a crash: make an RNG for each item, as in "
                "random.Random(f'{seed} {item}')"
            )
