"""Tracks the RNGs of a run, and stores their positions together with those of output files."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import FrameType
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.errors import CodecError
from trax.storage.codec import Encoded, Names, encode, encode_finding
from trax.storage.context import (
    EDITION,
    FOLDED,
    FRAME,
    Key,
    Kind,
    decode_context,
    encode_context,
    parts_of,
)
from trax.storage.outside import NOTHING, Outside
from trax.storage.process import process
from trax.storage.records import CONTEXT
from trax.tracking.rng_discovery import (
    InnerRngs,
    OuterRngs,
    Strays,
    import_for,
    kept,
    outer_key,
    tracked_below,
)
from trax.tracking.rng_state import put_back, track
from trax.tracking.rngs import canonical, defaults, importing, rng_types
from trax.tracking.shared_rngs import reductions
from trax.tracking.tracker import Item, Parts, Tracked, Tracker

if TYPE_CHECKING:
    from trax.storage.run_reader import RunReader

__all__ = ["RngTracking"]

_open: weakref.WeakSet[RngTracking] = weakref.WeakSet()

_NONE: Mapping[type, Any] = {}
_FOLDED = encode_context([(FOLDED, b"")])


class RngTracking:
    """Tracks the RNGs and output files of one run while it is open.

    Parameters
    ----------
    run : str
        The run's name.
    outer : OuterRngs or None
        The RNGs outside of the state; None if random numbers are left alone.
    inner : InnerRngs
        The RNGs in the state that was recovered.
    recovery : RunReader or None
        The reader that recovered the run, if there is a stored run.
    tracks_inner : bool
        Whether RNGs in the state are tracked as well.
    names : Names, optional
        The classes and functions at hand, for pickles of the state.
    context : mapping of Key to bytes, optional
        The positions to begin with; by default those that were recovered.

    Attributes
    ----------
    run : str
        The run's name.
    recovered : dict of Key to bytes
        The context that was recovered.
    watched : list of Item
        The things that are tracked. If `seen` of one is not `known` after a step, the step stores
        its `delta`.
    inner : list of Item
        Those of them that are RNGs in the state.
    item_entries : callable or None
        Returns the entries of a checkpoint about the items of `remaining`, once it was called.
    """

    def __init__(
        self,
        run: str,
        outer: OuterRngs | None,
        inner: InnerRngs,
        recovery: RunReader | None,
        *,
        tracks_inner: bool,
        names: Names | None = None,
        context: Mapping[Key, bytes] | None = None,
    ) -> None:
        self.run = run
        if context is None:
            context = recovery.context if recovery else {}
        self.recovered = {**context}
        self.inner: list[Item] = []
        self.item_entries: Callable[[], dict[Key, bytes]] | None = None
        self._outer = outer
        self._inner = inner
        self._tracks_inner = tracks_inner
        self._names = names
        self._tracker = Tracker(_changed(recovery) if recovery else set())
        self.watched = self._tracker.items
        self._places = recovery.meta.get("generators", {}) if recovery else {}
        self._known: dict[int, Key] = {}
        self._shared: dict[type, Any] = {}
        self._left_alone: list[Item] = []
        self._strays = Strays()
        self._first_bindings: dict[str, Any] = {}
        self._last_bindings: dict[str, Any] = {}
        self._told: set[str] = set()  # the places of strays
        self._modules = 0

    def begin(self, identity: str, *, done: bool, within: AbstractSet[str] = frozenset()) -> None:
        """Set the RNGs outside of the state to their stored positions, and track all RNGs.

        If the run is done, only the RNGs that it drew from are set, and only the first time that
        this process meets the run. So the script continues as if the run had just been computed.
        `identity` is that of the run. The runs `within` whose steps it is driven to its end share
        its RNGs as a function does: their steps have drawn again what they drew before it.
        """
        is_known = identity in process.runs
        process.runs.add(identity)
        if self._outer is None or (done and is_known):
            return
        if not done:
            _open.add(self)
        drawn = {key for key in self._tracker.changed if key.kind is Kind.OUTER_RNG}
        for key in drawn:
            import_for(key.name)
        self._leave_alone(drawn)
        found = set()
        for place, rng in self._outer.followed():
            tracked = track(rng)
            key = outer_key(place, tracked)
            found.add(key)
            stored = tuple(parts_of(self.recovered, key))
            if stored and (key in drawn or not done):
                self._check_open(key, rng, within)
                put_back(key.name, tracked, stored)
            self._track(key, rng, tracked)
        self._first_bindings = self._last_bindings = self._outer.bindings()
        if not done and self._outer.missed:
            notices.warn(
                f"{self.run} may draw from RNGs that trax has not reached among very many objects, "
                f"in {self._outer.missed}: a resumed run draws other numbers. Name them with rng=, "
                "or draw from one RNG"
            )
        if not done and (libraries := self._outer.libraries()):
            notices.warn(
                f"{self.run} uses {', '.join(libraries)}, whose random numbers come from an RNG "
                "that trax cannot read: a resumed run draws others. Seed it in each step, as with "
                "seed=trax.step()"
            )
        self._track_inner(self._inner.stored(self.recovered))
        lost = sorted(key.name for key in drawn - found)
        if lost and not done:
            notices.warn(
                f"{self.run} drew random numbers from {', '.join(lost)}, which no longer exists: "
                "another RNG gives other numbers than an uninterrupted run would have drawn"
            )

    def _leave_alone(self, drawn: set[Key]) -> None:
        """Know the default RNGs that are not followed; other threads may draw from them."""
        for place, rng in self._outer.left_alone() if self._outer is not None else ():
            tracked = track(rng)
            item = Item(outer_key(place, tracked), tracked, None)
            self._know(item.key, rng)
            self._left_alone.append(item)
        for item in self._left_alone:
            if item.key in drawn:
                drawn.discard(item.key)
                self._tell_left_alone(item, is_likely=True)

    def _check_left_alone(self) -> None:
        for item in self._left_alone:
            if item.seen != item.known and not item.is_stored:
                assert self._outer is not None
                name = item.key.name.partition(":")[0]
                self._tell_left_alone(item, is_likely=self._outer.seems_to_draw(name))

    def _tell_left_alone(self, item: Item, *, is_likely: bool) -> None:
        """Say once of a default RNG that is not followed that there were draws from it.

        It is no warning unless it is likely that the loop has drawn, and not another thread.
        """
        said = "", f"draws in threads {is_likely}"
        if said not in process.said:
            process.said.add(said)
            name = item.key.name.partition(":")[0]
            (notices.warn if is_likely else notices.info)(
                f"{self.run} is driven in a thread, where draws from {name} are not followed, and "
                "there were some. If its loop draws from it, a resumed run draws other numbers: "
                f"give it an RNG of its own, or rng={name} if no other thread draws"
            )
        self._left_alone = []

    def reduce_also(self, table: Mapping[type, Any]) -> None:
        """Pickle objects of more types in a way of their own when they are in the state."""
        self._shared = {**table, **self._shared}

    def know_outer(self) -> None:
        """Know the RNGs outside of the state, to which states refer, without tracking them."""
        for place, rng in self._outer or ():
            self._know(outer_key(place, track(rng)), rng)

    def _check_open(self, key: Key, rng: Any, within: AbstractSet[str]) -> None:
        """Warn if another open run has drawn from the same RNG."""
        runs = (one for one in _open if one is not self and one.run not in within)
        others = [one.run for one in runs if one.draws_from(key, rng)]
        if others:
            notices.warn(
                f"{self.run} restored {key.name}, but the open run {', '.join(others)} uses it as "
                "well: neither run is reproducible. Give each its own RNG"
            )

    def draws_from(self, key: Key, rng: Any) -> bool:
        """Return whether the run has drawn from an RNG outside of its state."""
        return key in self._tracker.changed and id(rng) in self._known

    def end(self) -> None:
        """Stop counting as an open run that may share RNGs with others."""
        _open.discard(self)
        self.item_entries = None  # it refers to this object

    def end_catch_up(self, context: Mapping[Key, bytes]) -> str:
        """Compare the RNGs outside of the state with stored positions, and track them from there.

        Return the name of one that has another position, if any.
        """
        self.delta()
        for key, tracked in self._tracker.of(Kind.OUTER_RNG):
            stored = tuple(parts_of(context, key))
            if stored and tracked.parts() != stored:
                return key.name
        self.recovered = {**context}
        return ""

    # -- at every step ---------------------------------------------------------------------

    def delta(self) -> bytes:
        """Return the positions that have changed since the step before, as a context."""
        return self._tracker.delta()

    def undo(self, context: bytes) -> None:
        """Undo the deltas in a context after its step was refused: they are not stored."""
        self._tracker.undo(context)

    def folded(self) -> bytes:
        """Return the mark for the context if folding drew from RNGs in the state, else nothing."""
        return _FOLDED if any(self._tracker.moved(Kind.INNER_RNG)) else b""

    # -- now and then ----------------------------------------------------------------------

    def drawn_outside(self) -> list[str]:
        """Return the names of the RNGs outside of the state with draws since `delta`."""
        return [key.name for key in self._tracker.moved(Kind.OUTER_RNG)]

    def notice_imports(self) -> None:
        """Track the default RNGs of libraries that were imported after the run was opened.

        Or look if there were draws from those that are not followed.
        """
        self._check_left_alone()
        if self._outer is None or len(sys.modules) == self._modules:
            return
        self._modules = -1 if importing() else len(sys.modules)
        for place, rng in defaults() if self._outer.follows_defaults else ():
            if id(rng) not in self._known:
                tracked = track(rng)
                self._track(outer_key(place, tracked), rng, tracked, ())

    @property
    def newborn(self) -> bool:
        """Whether the state that was last encoded has RNGs that are not yet tracked."""
        return not self._inner.tracked.keys() <= {*self._tracker.keys}

    def check_resumed(self, state: Any, replays: bool, migrated: bool) -> bool:
        """Return whether a resumed run needs a new checkpoint, and warn of RNGs in its state.

        It needs one if the state has RNGs that its checkpoint did not know, or the checkpoint has
        positions of RNGs that are no longer tracked. `replays` tells whether a log was replayed,
        and `migrated` whether the state was migrated.
        """
        before = self._inner.tracked.keys()
        if self._outer is None:  # the option is now rng=None
            return any(key.kind not in (Kind.OUTPUT, Kind.ITEMS) for key in self.recovered)
        if not self._tracks_inner:
            return False
        if before and not (replays or migrated):
            return False  # it is the state of the checkpoint
        try:
            self.encode_state(state)
        except CodecError:  # each checkpoint will tell why; the log carries the run on
            return False
        if replays and migrated and not before <= self._inner.tracked.keys():
            notices.warn(
                f"{self.run}: migrate has replaced an RNG in the state. The draws since the "
                "checkpoint were not made from the new one, so its numbers may differ from those "
                "of an uninterrupted run. Let migrate pass on the same object"
            )
        elif replays and self.newborn:
            notices.warn(
                f"{self.run}: replay_log has put an RNG into the state since the checkpoint. The "
                "draws from it are not known, so its numbers may differ from those of an "
                "uninterrupted run. Let create= make it, or name it with rng="
            )
        return self.newborn

    def check_strays(self, frame: FrameType | None, inner: Callable[[], Iterable[Any]]) -> None:
        """Warn once of RNGs that the loop has made, and that a resumed loop would make again.

        `inner` returns the RNGs in the state.
        """
        if self._outer is None:
            return
        found = self._strays.find(frame, self._outer, self._inner.known | self._known.keys())
        self._check_bindings()
        found = {place: value for place, value in found.items() if place not in self._told}
        if found:
            stored = {id(canonical(rng)) for rng in inner()}
            found = {place: value for place, value in found.items() if id(value) not in stored}
        if found:
            self._told.update(found)
            notices.warn(
                f"{self.run} draws from an RNG that it has made and that is not stored, "
                f"{', '.join(found)}: a resumed loop makes it again and draws the same numbers "
                "again. Keep it in the state, or make it before the run and pass it as an argument"
            )

    def _check_bindings(self) -> None:
        """Warn once if the loop has put another RNG in the place of one that is followed.

        That is one that it has drawn from before; or another one of those that are followed, since
        a loop that makes a new RNG in each step is exact.
        """
        assert self._outer is not None
        first, last, now = self._first_bindings, self._last_bindings, self._outer.bindings()
        self._last_bindings = now
        others = {place for place, rng in now.items() if last.get(place, rng) is not rng}
        rebound = {place for place in others if id(now[place]) in self._known}
        replaced = {place: rng for place, rng in first.items() if now.get(place, rng) is not rng}
        drawn = self._tracker.changed
        rebound |= {place for place, rng in replaced.items() if self._known.get(id(rng)) in drawn}
        rebound -= self._told
        if rebound:
            self._told.update(rebound)
            notices.warn(
                f"{self.run} puts another RNG into {', '.join(sorted(rebound)[:3])}: a resumed run "
                "finds the one of the start there. Keep it in the state, or set the state of one"
            )

    def rngs_in(self, state: Any) -> Iterable[Any]:
        """Return the RNGs in a state that is pickled."""
        return encode_finding(state, "state", rng_types(), self._names)[1].values()

    # -- the source of items ---------------------------------------------------------------

    def outer_positions(self) -> bytes:
        """Return the present positions of the RNGs outside of the state, as a context."""
        self.notice_imports()
        return encode_context(
            (key.at(number), part)
            for key, tracked in self._tracker.of(Kind.OUTER_RNG)
            for number, part in enumerate(tracked.parts())
        )

    @contextlib.contextmanager
    def rewound(self, positions: bytes) -> Iterator[None]:
        """Set the RNGs outside of the state to positions in a context, while a block runs."""
        present = self.outer_positions()
        self.restore_outer(positions)
        try:
            yield
        finally:
            self.restore_outer(present)

    @contextlib.contextmanager
    def kept(self, variables: Mapping[str, Any]) -> Iterator[list[str]]:
        """Put the RNGs back at the end of a block, those in variables included; see there."""
        outer = [(key.name, rng) for key, rng in self._tracker.of(Kind.OUTER_RNG)]
        with kept([*outer, *tracked_below(variables)]) as drawn:
            yield drawn

    def restore_outer(self, positions: bytes) -> None:
        """Set the RNGs outside of the state to positions in a context."""
        context = decode_context(positions)
        for key, tracked in self._tracker.of(Kind.OUTER_RNG):
            parts = tuple(parts_of(context, key))
            if parts and parts != tracked.parts():
                put_back(key.name, tracked, parts)

    # -- output files ----------------------------------------------------------------------

    def add(self, key: Key, tracked: Tracked, stored: Parts) -> None:
        """Start to track an output file, of which these parts are stored."""
        self._tracker.add(key, tracked, stored)

    def drop(self, key: Key) -> bool:
        """Stop tracking a file and remember its position; return False if it is not yet stored."""
        if not self._tracker.is_stored(key):
            return False
        for number, part in enumerate(self.last(key) or ()):
            self.recovered[key.at(number)] = part
        self._tracker.drop(key)
        return True

    def last(self, key: Key) -> Parts | None:
        """Return the position of one thing that was last stored; None if it is not tracked."""
        return self._tracker.last(key)

    # -- checkpoints -----------------------------------------------------------------------

    def encode_state(
        self, state: Any, *, outside: Outside = NOTHING, also: Mapping[type, Any] = _NONE
    ) -> Encoded:
        """Pickle the state, and remember which RNGs are in it.

        Objects in `outside` are stored as references. `also` has reductions of more types.
        """
        shared = {**also, **self._shared} if also else self._shared
        if self._outer is None or not self._tracks_inner:
            self._places = {}
            return encode(state, "state", self._names, shared, outside)
        encoded, found = encode_finding(state, "state", rng_types(), self._names, shared)
        inner = {n: rng for n, rng in found.items() if id(canonical(rng)) not in self._known}
        self._places = self._inner.renew(inner)
        return encoded

    def snapshot(self) -> dict[Key, Parts]:
        """Return the present positions."""
        self.notice_imports()
        return self._tracker.snapshot()

    def describe(self, taken: dict[Key, Parts]) -> tuple[dict[str, Any], Encoded]:
        """Return the positions for a checkpoint: fields of its meta record, and a part."""
        entries = {key: value for key, value in self.recovered.items() if self._is_kept(key, taken)}
        for key, parts in taken.items():
            entries |= {key.at(number): part for number, part in enumerate(parts)}
        if self.item_entries is not None:
            entries |= self.item_entries()
        changed = set() if self._outer is None else self._tracker.changed_by(taken)
        drawn = sorted(str(key) for key in changed if key.kind is not Kind.OUTPUT)
        meta = {"drawn": drawn, "generators": self._places}
        return meta, Encoded(CONTEXT, encode_context(entries.items()), [])

    def _is_kept(self, key: Key, taken: dict[Key, Parts]) -> bool:
        """Return whether a checkpoint stores a recovered entry that `taken` does not replace."""
        if key.kind is Kind.OUTPUT or key == EDITION:
            return True
        if key.kind is Kind.ITEMS:
            return self.item_entries is None
        if self._outer is None or key.kind is Kind.INNER_RNG:
            return False
        return key not in (FOLDED, FRAME) and key.whole not in taken

    def is_logged(self, taken: dict[Key, Parts]) -> bool:
        """Return whether a log leads to these positions, and to all RNGs in the encoded state."""
        return not self.newborn and self._tracker.is_logged(taken)

    def mark_stored(self, taken: dict[Key, Parts]) -> None:
        """Record that a checkpoint has stored the positions that `snapshot` returned."""
        self._tracker.mark_stored(taken)
        self._track_inner({})

    def _know(self, key: Key, rng: Any) -> None:
        self._known[id(rng)] = key
        self._shared |= reductions(self._known, [rng])

    def _track(self, key: Key, rng: Any, tracked: Tracked, stored: Parts | None = None) -> None:
        self._know(key, rng)
        self._tracker.add(key, tracked, stored)

    def _track_inner(self, stored: Mapping[Key, Parts]) -> None:
        """Track exactly the RNGs in the state that was last encoded."""
        wanted = self._inner.tracked
        tracked = {key for key in self._tracker.keys if key.kind is Kind.INNER_RNG}
        for key in tracked - wanted.keys():
            self._tracker.drop(key)
        for key, rng in wanted.items():
            if key not in tracked:
                self._tracker.add(key, rng, stored.get(key))
        self.inner = [i for i in self._tracker.items if i.key.kind is Kind.INNER_RNG]


def _changed(recovery: RunReader) -> set[Key]:
    """Return the keys of everything that has changed since the run began."""
    part = recovery.checkpoint.parts.get("context") if recovery.checkpoint else None
    before = decode_context(part.payload) if part else {}
    context = recovery.context
    moved = {
        key.whole
        for key in context
        if key.kind not in (Kind.MARK, Kind.ITEMS) and context[key] != before.get(key)
    }
    return moved | set(map(Key.thing, recovery.meta.get("drawn", ())))
