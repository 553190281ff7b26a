"""What a run keeps beside its state, so that both go on from the same step.

These are the positions of random generators, in the state and outside of it, and the lengths of
output files.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from types import FrameType
from typing import Any

from trax import notices
from trax.calls.call import Call
from trax.engine.replay import Replayed
from trax.storage.codec import Encoded, encode, encode_finding
from trax.storage.process import process
from trax.storage.records import CONTEXT, decode_context, encode_context
from trax.storage.run_reader import OUTPUT
from trax.tracking.rng_discovery import INNER, Inner, Strays, import_for, outer
from trax.tracking.rng_state import canonical, defaults, kinds, put_back, watch
from trax.tracking.tracker import FOLDED, Context, Parts, Tracked, values

__all__ = ["Positions"]

_open: weakref.WeakSet[Positions] = weakref.WeakSet()

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
    run : str
        The run's name.
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
        self.run = call.name
        self._call = call
        self._is_off = call.options.rng is None
        self._context = Context(_moved(stored) if stored else set())
        self.watched = self._context.watched
        self._inner = stored.inner if stored else Inner({})
        self._places = stored.meta.get("generators", {}) if stored else {}
        self._known: dict[int, str] = {}
        self._strays = Strays()
        self._modules = 0

    def begin(self, identity: str, *, done: bool) -> None:
        """Set the generators outside of the state to where they stood, and follow all.

        Of a run that is done, only those are set that it drew from, and only the first time in a
        process that has no part in it: the script goes on as if it had been run just now.
        """
        is_known = identity in process.runs
        process.runs.add(identity)
        if self._is_off or (done and is_known):
            return
        if not done:
            _open.add(self)
        drawn = _generators(self._context.changed)
        for name in drawn:
            import_for(name)
        call = self._call
        found = set()
        for place, generator in outer(call.options.rng or (), call.arguments, call.function):
            watched = watch(generator)
            name = f"{place}: {watched.kind}"
            found.add(name)
            stood = tuple(values(self.recovered, name))
            if stood and (name in drawn or not done):
                self._check_open(name, generator)
                put_back(name, watched, stood)
            self._follow(name, generator, watched)
        self._follow_inner(self._inner.stored(self.recovered))
        lost = sorted(name for name in drawn - found if not name.startswith(INNER))
        if lost and not done:
            notices.warn(
                f"{self.run} drew random numbers from {', '.join(lost)}, which is not there any "
                "more: what it draws from another generator is not what it would have drawn"
            )

    def _check_open(self, name: str, generator: Any) -> None:
        """Look for another run that is going on and draws from the same generator."""
        others = [one.run for one in _open if one is not self and one.draws_from(name, generator)]
        if others:
            notices.warn(
                f"{self.run} sets {name} to where it stood, and {', '.join(others)}, which is "
                "going on, draws from it, too: neither draws what it would have drawn. Let runs "
                "that take turns draw from generators of their own"
            )

    def draws_from(self, name: str, generator: Any) -> bool:
        """Return whether the run has drawn from a generator outside of its state."""
        return name in self._context.changed and id(generator) in self._known

    def end(self) -> None:
        """Set nothing and follow nothing any more."""
        _open.discard(self)

    # -- at every step ---------------------------------------------------------------------

    def delta(self) -> bytes:
        """Return what has changed since the step before, as a context."""
        return self._context.delta()

    def undo(self, context: bytes) -> None:
        """Take back what `delta` has noted as stored, where the step was refused."""
        self._context.undo(context)

    def folded(self) -> bytes:
        """Return what to add to the context where folding drew from generators in the state."""
        return _FOLDED if self._context.moved(INNER) else b""

    # -- now and then ----------------------------------------------------------------------

    def drawn_outside(self) -> list[str]:
        """Return the generators outside of the state that were drawn from since `delta`."""
        return [name for name in self._known.values() if self._context.moved(name)]

    def notice_imports(self) -> None:
        """Follow the global generators of what was imported after the run was opened."""
        if len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        for place, generator in () if self._is_off else defaults():
            if id(generator) not in self._known:
                watched = watch(generator)
                self._follow(f"{place}: {watched.kind}", generator, watched, ())

    @property
    def newborn(self) -> bool:
        """Whether there are generators in the state, as it was last encoded, not yet followed."""
        return not self._inner.generators.keys() <= {*self._context.names}

    def check_shared(self) -> None:
        """Look for generators that are one object now, and two once the run is resumed."""
        shared = [name for place, name in self._known.items() if place in self._inner.known]
        if shared:
            notices.warn(
                f"{self.run}: a random generator in the state is {', '.join(shared)}, too. "
                "In a resumed run they are two, and what is drawn from one does not count for the "
                "other: draw from that in the state alone, or keep it out of the state"
            )

    def check_resumed(self, state: Any, replays: bool, migrated: bool) -> bool:
        """Return whether a resumed state has generators that its checkpoint did not know."""
        before = self._inner.generators.keys()
        if self._is_off:  # where they stood is not stored any more
            return any(not key.startswith(OUTPUT) for key in self.recovered)
        if not self._call.log_mode.has_function:
            return False
        if before and not (replays or migrated):
            return False  # it is the state of the checkpoint
        self.encode_state(state)
        if replays and migrated and not before <= self._inner.generators.keys():
            notices.warn(
                f"{self.run}: migrate has replaced a random generator in the state, and "
                "what was drawn since the checkpoint was not drawn from the new one: what it draws "
                "now may not be what it would have drawn. Let migrate pass on the same object"
            )
        elif replays and self.newborn:
            notices.warn(
                f"{self.run}: replay_log has put a random generator into the state since "
                "the checkpoint, and what was drawn from it is not known: what it draws now may "
                "not be what it would have drawn. Let create= make it, or name it with rng="
            )
        return self.newborn

    def check_locals(self, frame: FrameType | None, state: Any) -> None:
        """Look, at two steps, for generators that a resumed loop would make anew."""
        if self._is_off:
            return
        found = self._strays.look(frame, self._inner.known | self._known.keys())
        if found:
            contained = encode_finding(state, "state", kinds())[1].values()
            inner = {id(canonical(generator)) for generator in contained}
            found = {name: value for name, value in found.items() if id(value) not in inner}
        if found:
            notices.warn(
                f"{self.run} keeps a random generator in the local variable "
                f"{', '.join(found)}; a resumed loop would make it anew and draw the same numbers "
                "again. Keep it in the state, take it as an argument, or name it with rng="
            )

    # -- output files ----------------------------------------------------------------------

    def add(self, name: str, tracked: Tracked) -> None:
        """Follow something whose present position is stored already."""
        self._context.add(name, tracked)

    def drop(self, name: str) -> None:
        """Follow one less, and remember where it was."""
        for number, part in enumerate(self.last(name) or ()):
            self.recovered[f"{name}#{number}"] = part
        self._context.drop(name)

    def last(self, name: str) -> Parts | None:
        """Return where one thing stood when it was last stored; None if it is not yet followed."""
        return self._context.last().get(name)

    # -- checkpoints -----------------------------------------------------------------------

    def encode_state(self, state: Any) -> Encoded:
        """Pickle the state, and remember which generators are in it."""
        if self._is_off or not self._call.log_mode.has_function:
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
            if key.startswith(OUTPUT)
            or not (self._is_off or key.startswith(INNER) or key.rpartition("#")[0] in taken)
        }
        for name, parts in taken.items():
            entries |= {f"{name}#{number}": part for number, part in enumerate(parts)}
        entries.pop(FOLDED, None)
        changed = set() if self._is_off else self._context.changed_by(taken)
        meta = {"drawn": sorted(_generators(changed)), "generators": self._places}
        return meta, Encoded(CONTEXT, encode_context(entries.items()), [])

    def keep(self, taken: dict[str, Parts]) -> None:
        """Note that a checkpoint has what was taken."""
        self._context.keep(taken)
        self._follow_inner({})

    def _follow(
        self, name: str, generator: Any, watched: Tracked, stored: Parts | None = None
    ) -> None:
        self._known[id(generator)] = name
        self._context.add(name, watched, stored)

    def _follow_inner(self, stored: Mapping[str, Parts]) -> None:
        """Follow just the generators in the state as it was last encoded."""
        wanted = self._inner.generators
        followed = {name for name in self._context.names if name.startswith(INNER)}
        for name in followed - wanted.keys():
            self._context.drop(name)
        for name, generator in wanted.items():
            if name not in followed:
                self._context.add(name, generator, stored.get(name))
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
