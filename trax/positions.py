"""What a run keeps beside its state, so that both go on from the same step.

These are the positions of random generators, in the state and outside of it, and the lengths of
output files.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import Any

from trax.call import Call
from trax.context import FOLDED, Context, Parts, Tracked
from trax.randomness import canonical, defaults, kinds, watch
from trax.replay import Replayed
from trax.sources import INNER, Inner, Strays, import_for, outer, restore
from trax.storage.codec import Encoded, encode, encode_finding
from trax.storage.frames import CONTEXT, decode_context, encode_context
from trax.storage.recovery import OUTPUT

__all__ = ["Positions"]

_FOLDED = encode_context([(FOLDED, b"")])


class Positions:
    """The positions of one run, followed from its opening to its end.

    Parameters
    ----------
    call : Call
        The call that opens the run.
    stored : Replayed or None
        What was recovered, if anything.

    Attributes
    ----------
    recovered : dict of str to bytes
        The context that was recovered.
    watched : list
        What is looked at after every step, see `Context`.
    inner : bool
        Whether generators in the state are followed.
    """

    def __init__(self, call: Call, stored: Replayed[Any] | None) -> None:
        self.recovered = stored.recovery.context if stored else {}
        self.inner = False
        self._call = call
        self._is_off = call.options.rng is None
        self._context = Context(_moved(stored) if stored else set())
        self.watched = self._context.watched
        self._inner = stored.inner if stored else Inner({})
        self._places = stored.meta.get("generators", {}) if stored else {}
        self._known: dict[int, str] = {}
        self._strays = Strays()

    def begin(self, *, done: bool = False) -> list[str]:
        """Set the generators outside of the state to where they stood, and follow all.

        Of a run that is done, only those are set that it drew from. Returns the names of those that
        it drew from and that are not there any more.
        """
        if self._is_off:
            return []
        drawn = _generators(self._context.changed)
        for name in drawn:
            import_for(name)
        call = self._call
        found = dict(outer(call.options.rng or (), call.arguments, call.function))
        for name, generator in found.items():
            if name in drawn or not done:
                restore(generator, name, self.recovered)
            self._follow(name, generator)
        self._follow_inner(self._inner.stored(self.recovered))
        return sorted(name for name in drawn - found.keys() if not name.startswith(INNER))

    # -- at every step ---------------------------------------------------------------------

    def delta(self) -> bytes:
        """Return what has changed since the step before, as a context."""
        return self._context.delta()

    def folded(self) -> bytes:
        """Return what to add to the context where folding drew from generators in the state."""
        return _FOLDED if self._context.moved(INNER) else b""

    # -- now and then ----------------------------------------------------------------------

    def drawn_outside(self) -> list[str]:
        """Return the generators outside of the state that were drawn from since `delta`."""
        return [name for name in self._known.values() if self._context.moved(name)]

    def notice_imports(self) -> None:
        """Follow the global generators of what was imported after the run was opened."""
        for name, generator in () if self._is_off else defaults():
            if name not in self._context.names:
                self._follow(name, generator, ())

    @property
    def in_state(self) -> set[str]:
        """The names of the generators in the state, as it was last encoded or loaded."""
        return {*self._inner.named()}

    @property
    def shared(self) -> list[str]:
        """The names of generators outside of the state that are in it as well."""
        inside = {id(generator) for generator in self._inner.objects.values()}
        return [name for place, name in self._known.items() if place in inside]

    @property
    def newborn(self) -> bool:
        """Whether there are generators in the state, as it was last encoded, not yet followed."""
        return not self.in_state <= {*self._context.names}

    def strays(self, frame: FrameType | None, state: Any) -> list[str]:
        """Return the local variables whose generators a resumed loop would make anew."""
        if self._is_off:
            return []
        inner = {id(generator) for generator in self._inner.objects.values()}
        found = self._strays.look(frame, inner | self._known.keys())
        if found:
            contained = encode_finding(state, "state", kinds())[1].values()
            inner = {id(canonical(generator)) for generator in contained}
        return [name for name, generator in found.items() if id(generator) not in inner]

    # -- output files ----------------------------------------------------------------------

    def add(self, name: str, tracked: Tracked) -> None:
        """Follow something whose present position is stored already."""
        self._context.add(name, tracked)

    def last(self, name: str) -> Parts:
        """Return where one thing stood when it was last stored."""
        return self._context.last()[name]

    # -- checkpoints -----------------------------------------------------------------------

    def encode_state(self, state: Any) -> Encoded:
        """Pickle the state, and remember which generators are in it."""
        if self._is_off or self._call.mode != "function":
            self._places = {}
            return encode(state, "state")
        encoded, found = encode_finding(state, "state", kinds())
        self._places = self._inner.renew(found)
        return encoded

    def take(self) -> dict[str, Parts]:
        """Return where everything stands now."""
        self.notice_imports()
        return self._context.take()

    def describe(self, taken: dict[str, Parts]) -> tuple[dict[str, Any], Encoded]:
        """Return what a checkpoint stores of positions: in its meta record, and as a part."""
        entries = {
            key: value
            for key, value in self.recovered.items()
            if not key.startswith(INNER) and key.rpartition("#")[0] not in taken
        }
        for name, parts in taken.items():
            entries |= {f"{name}#{number}": part for number, part in enumerate(parts)}
        entries.pop(FOLDED, None)
        changed = self._context.changed_by(taken)
        meta = {"drawn": sorted(_generators(changed)), "generators": self._places}
        return meta, Encoded(CONTEXT, encode_context(entries.items()), [])

    def keep(self, taken: dict[str, Parts]) -> None:
        """Note that a checkpoint has what was taken."""
        self._context.keep(taken)
        self._follow_inner({})

    def _follow(self, name: str, generator: Any, stored: Parts | None = None) -> None:
        self._known[id(generator)] = name
        self._context.add(name, watch(generator), stored)

    def _follow_inner(self, stored: Mapping[str, Parts]) -> None:
        """Follow just the generators in the state as it was last encoded."""
        wanted = self._inner.named()
        followed = {name for name in self._context.names if name.startswith(INNER)}
        for name in followed - wanted.keys():
            self._context.drop(name)
        for name, generator in wanted.items():
            if name not in followed:
                self._context.add(name, watch(generator), stored.get(name))
        self.inner = bool(wanted)


def _generators(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith(OUTPUT)}


def _moved(stored: Replayed[Any]) -> set[str]:
    """Return the names of what has changed since the run began."""
    checkpoint = stored.recovery.checkpoint
    part = checkpoint.parts.get("context") if checkpoint else None
    before = decode_context(part.payload) if part else {}
    context = stored.recovery.context
    moved = {key.rpartition("#")[0] for key in context if context[key] != before.get(key)}
    return {name for name in moved if name} | set(stored.meta.get("drawn", ()))
