"""Generators are read, tracked and restored, each kind alike."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trax import CodecError
from trax.tracking import rng_state
from trax.tracking.rng_state import put_back, track
from trax.tracking.rngs import defaults


class Inherited(random.Random):
    """A generator of the same state."""


class Counting(random.Random):
    """A generator with a state of its own."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def random(self) -> float:
        self.count += 1
        return self.count / 1000

    def getstate(self) -> Any:
        return self.count

    def setstate(self, state: Any) -> None:
        self.count = state


def of_python(generator: random.Random) -> list[Any]:
    return [generator.random(), generator.gauss(0, 1), generator.getrandbits(7)]


def of_numpy(generator: np.random.Generator) -> list[Any]:
    return [generator.random(), generator.integers(9, dtype=np.int32), *generator.normal(size=3)]


def of_old_numpy(generator: np.random.RandomState) -> list[Any]:
    return [generator.random_sample(), generator.standard_normal(), generator.randint(9)]


def bits(name: str) -> np.random.Generator:
    return np.random.Generator(getattr(np.random, name)(5))


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any], list[Any]]]] = {
    "random": (lambda: dict(defaults())["random"], of_python),
    "random.Random": (lambda: random.Random(5), of_python),
    "inherited": (lambda: Inherited(5), of_python),
    "own state": (lambda: Counting(5), lambda generator: [generator.random()]),
    "numpy.random": (lambda: dict(defaults())["numpy.random"], of_old_numpy),
    "RandomState": (lambda: np.random.RandomState(5), of_old_numpy),
    "RandomState of PCG64": (lambda: np.random.RandomState(np.random.PCG64(5)), of_old_numpy),
    **{
        name: (lambda name=name: bits(name), of_numpy)  # type: ignore[misc]
        for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
    },
}
FOUND = {"random", "random.Random", "inherited", "numpy.random", "RandomState"} | {
    "PCG64",
    "PCG64DXSM",
    "MT19937",
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, Any, Callable[[Any], list[Any]]]:
    """A generator of every kind, by name, and how to draw from it."""
    make, draw = CASES[request.param]
    return request.param, make(), draw


@pytest.fixture(params=[True, False])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without a look at the memory of generators."""
    if not request.param:
        monkeypatch.setattr(rng_state, "_find", lambda generator, content: None)
        monkeypatch.setattr(rng_state, "_find_gauss", lambda owner, bits: None)
        zeros = memoryview(bytes(5000))
        monkeypatch.setattr(rng_state, "_memory", lambda address, size: zeros[:size])
    return bool(request.param)


def test_what_was_restored_draws_the_same_again(case: Any, memory: bool) -> None:
    """At any place: in the middle of a block of words, with a number kept for later, and not."""
    _, generator, draw = case
    tracked = track(generator)
    for count in range(30):
        for _ in range(count * 17 % 23):
            draw(generator)
        parts = tracked.parts()
        expected = [draw(generator) for _ in range(3)]
        tracked.restore(parts)
        assert tracked.parts() == parts
        assert [draw(generator) for _ in range(3)] == expected


def test_every_draw_shows(case: Any, memory: bool) -> None:
    """Also one that takes a number kept for later, and one that takes a whole block of words."""
    name, generator, draw = case
    tracked = track(generator)
    single: Callable[[], Any] = getattr(generator, "gauss", None) or getattr(
        generator, "standard_normal", generator.random
    )
    calls: list[Callable[[], Any]] = [lambda: draw(generator), single, single, generator.random]
    if name not in ("own state", "RandomState of PCG64", "Philox", "SFC64", "PCG64", "PCG64DXSM"):
        calls.append(lambda: [generator.random() for _ in range(312)])  # 624 words
    if hasattr(generator, "integers"):
        calls += [lambda: generator.integers(9, dtype=np.int32)] * 3
    for call in calls * 5:
        before = tracked.parts()
        known = tracked.known
        call() if name != "own state" else generator.random()
        assert tracked.seen != known
        assert tracked.parts() != before


def test_what_draws_nothing_is_not_looked_at_closer(case: Any) -> None:
    """Where the word is found, it stays the same until something is drawn."""
    name, generator, _ = case
    generator.random()
    tracked = track(generator)
    tracked.parts()
    if hasattr(generator, "gauss_next"):
        generator.gauss_next = None
    tracked.parts()
    found = tracked.seen == tracked.known
    kept = name in ("numpy.random", "RandomState") and tracked.known is None
    assert found or kept or name not in FOUND


def test_the_parts_are_of_the_same_form_whether_the_memory_is_read_or_not(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run can be resumed where the memory cannot be read."""
    _, generator, draw = case
    draw(generator)
    fast = track(generator).parts()
    monkeypatch.setattr(rng_state, "_find", lambda generator, content: None)
    monkeypatch.setattr(rng_state, "_find_gauss", lambda owner, bits: None)
    zeros = memoryview(bytes(5000))
    monkeypatch.setattr(rng_state, "_memory", lambda address, size: zeros[:size])
    slow = track(generator)
    assert slow.known is None
    assert slow.parts() == fast


@pytest.mark.parametrize("name", ["random", "random.Random", "numpy.random", "RandomState"])
def test_seeding_shows(name: str) -> None:
    """A generator that is seeded anew is somewhere else."""
    generator = CASES[name][0]()
    generator.random()
    tracked = track(generator)
    before, known = tracked.parts(), tracked.known
    generator.seed(77)
    assert tracked.seen != known
    assert tracked.parts() != before


@pytest.mark.parametrize("name", ["random", "random.Random", "numpy.random", "RandomState"])
def test_seeding_again_shows(name: str) -> None:
    """Without a draw since it was seeded, its index is the same, and often its first word."""
    rng = CASES[name][0]()
    rng.seed(76)
    tracked = track(rng)
    tracked.parts()
    for seed in (77, 78):
        before, known = tracked.parts(), tracked.known
        assert tracked.seen == known
        rng.seed(seed)
        assert tracked.seen != known
        assert tracked.parts() != before


@pytest.mark.parametrize("index", [1, 624])
def test_words_of_zeros_are_restored(index: int, memory: bool) -> None:
    """They are words as any others, although they are drawn as zeros alone."""
    rng = random.Random(1)
    rng.setstate((3, (*[0] * 624, index), None))
    tracked = track(rng)
    parts = tracked.parts()
    assert len(parts[0]) == 4 * 624
    other = random.Random(2)
    track(other).restore(parts)
    assert other.getstate() == rng.getstate()


def test_a_step_stores_a_few_bytes() -> None:
    """The 624 words of a Mersenne Twister are stored where a step has drawn more than those."""
    for generator in (random.Random(1), np.random.RandomState(1)):
        tracked = track(generator)
        generator.random()
        before = tracked.parts()
        for draws in [*range(300), 700, 1, 2, 700, 50]:
            for _ in range(draws):
                generator.random()
            after = tracked.parts()
            size = sum(len(b) for a, b in zip(before, after, strict=True) if a != b)
            assert size == (0 if draws == 0 else 17 if draws < 312 else 17 + 2496)
            before = after


@pytest.mark.parametrize("make", [lambda: random.Random(1), lambda: np.random.RandomState(1)])
def test_words_that_were_made_anew_often_are_found_again(make: Callable[[], Any]) -> None:
    """However often that was, and also by what has not followed them."""
    generator = make()
    tracked = track(generator)
    tracked.parts()
    for count in range(1, 4200):
        for _ in range(312):
            generator.random()
        parts = tracked.parts()
        if count in (1, 2, 3, 500, 4095, 4096, 4097, 4199):
            other, same = make(), copy.deepcopy(generator)
            track(other).restore(parts)
            assert [other.random() for _ in range(700)] == [same.random() for _ in range(700)]


@pytest.mark.parametrize("make", [lambda: random.Random(1), lambda: np.random.RandomState(1)])
def test_words_that_differ_in_one_place_are_others(make: Callable[[], Any], memory: bool) -> None:
    """Even in the last one, which the next draws do not use."""
    generator, other = make(), make()
    generator.random()
    tracked = track(generator)
    before = tracked.parts()
    if isinstance(generator, random.Random):
        version, words, gauss = generator.getstate()
        generator.setstate((version, (*words[:-2], words[-2] ^ 1, words[-1] + 1), gauss))
    else:
        state = generator.get_state(legacy=False)
        state["state"]["key"][-1] ^= 1
        state["state"]["pos"] += 1
        generator.set_state(state)
    parts = tracked.parts()
    assert parts[0] != before[0]
    track(other).restore(parts)
    expected = [generator.random() for _ in range(700)]
    assert [other.random() for _ in range(700)] == expected


class PCG64(np.random.PCG64):
    """A generator of NumPy's kind that is made in another way."""

    def __init__(self, *, start: int) -> None:
        super().__init__(start)


def test_a_generator_whose_memory_cannot_be_proved_is_read_by_its_public_state() -> None:
    """Its positions are the same as those of its kind."""
    generator = np.random.Generator(PCG64(start=5))
    plain = np.random.Generator(np.random.PCG64(5))
    tracked, other = track(generator), track(plain)
    for _ in range(4):  # at the end, no half number is saved
        assert of_numpy(generator) == of_numpy(plain)
        assert tracked.parts() == other.parts()
    assert tracked.known is None
    assert other.known is not None


# -- positions that cannot be --------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_position_is_an_error_by_name(case: str) -> None:
    """Whatever it is, and soon: a number in it decides neither about memory nor about time."""
    generator = CASES[case][0]()
    whole = track(generator).parts()
    for number, part in enumerate(whole):
        is_pickle = part.startswith(b"\x80\x05")  # which ends where it says
        is_place = number == 1 and len(part) == 17
        wrong = [b"", part[:-1], b"\xff" * 17 if is_place or is_pickle else part + b"x"]
        for content in wrong:
            parts = (*whole[:number], content, *whole[number + 1 :])
            with pytest.raises(CodecError, match="the position of the RNG 'this'"):
                put_back("this", track(generator), parts)


def test_numpy_never_draws_from_beyond_its_words() -> None:
    """It believes any place that it is given, and reads the memory there."""
    for generator in (np.random.RandomState(1), np.random.MT19937(1)):
        tracked = track(generator)
        words, place = tracked.parts()
        for index in (-1, 625, 2**31 - 1):
            forged = place[:4] + index.to_bytes(4, "little", signed=True) + place[8:]
            with pytest.raises(CodecError, match="cannot be the next one"):
                put_back("this", tracked, (words, forged))


def test_a_seed_that_has_spawned_very_many_is_restored_at_once() -> None:
    """And its next child is the one that it would have been."""
    seed, other = np.random.SeedSequence(5), np.random.SeedSequence(5)
    track(seed).restore(((2**32 - 10).to_bytes(4, "little"),))
    assert seed.n_children_spawned == 2**32 - 10
    track(seed).restore(((7).to_bytes(4, "little"),))
    assert seed.n_children_spawned == 2**32 - 10
    other.spawn(3)
    third = np.random.SeedSequence(5)
    track(third).restore(track(other).parts())
    assert third.spawn(1)[0].spawn_key == other.spawn(1)[0].spawn_key == (3,)


class Buffering(random.Random):
    """Keeps what its numbers depend on in attributes, which `getstate` leaves out."""

    draws = 0

    def random(self) -> float:
        self.draws += 1
        self.buffer = [*getattr(self, "buffer", []), super().random()]
        return float(self.draws + sum(self.buffer))


def test_the_attributes_of_an_rng_of_ones_own_class_are_stored() -> None:
    """If they are plain data; others are left as they are."""
    rng = Buffering(1)
    rng.model = model = object()  # type: ignore[attr-defined]
    tracked = track(rng)
    first = tracked.parts()
    assert tracked.parts() == first
    numbers = [rng.random() for _ in range(3)]
    assert tracked.seen != tracked.known
    later = tracked.parts()
    put_back("rng", tracked, first)
    assert not hasattr(rng, "buffer")
    assert [rng.random() for _ in range(3)] == numbers
    other = Buffering(2)
    put_back("rng", track(other), later)
    assert other.random() == rng.random()
    assert rng.model is model  # type: ignore[attr-defined]
