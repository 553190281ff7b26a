"""PyTorch's generators, where it is installed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import trax
from trax.tracking.rng_state import track

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")


def draw(generator: Any) -> list[Any]:
    uniform, normal = torch.rand(3, generator=generator), torch.randn(5, generator=generator)
    return [*uniform.tolist(), *normal.tolist()]


@pytest.mark.parametrize("own", [True, False])
def test_what_was_restored_draws_the_same_again(own: bool) -> None:
    """Also in the middle of a block of words, and with a normal number kept for later."""
    generator = torch.Generator().manual_seed(3) if own else torch.default_generator
    tracked = track(generator)
    for count in range(30):
        for _ in range(count * 17 % 23):
            draw(generator)
        parts = tracked.parts()
        expected = [draw(generator) for _ in range(3)]
        assert tracked.parts() != parts
        tracked.restore(parts)
        assert tracked.parts() == parts
        assert [draw(generator) for _ in range(3)] == expected


@pytest.mark.parametrize("mode", ["function", "none"])
@pytest.mark.parametrize("stop", [3, 7])
def test_a_resumed_loop_draws_what_it_would_have_drawn(mode: str, stop: int) -> None:
    """Whatever the script seeds it with at its top."""
    options: dict[str, Any] = {"replay_log": None, "create": list, "every_steps": 1}
    if mode == "function":
        options = {"replay_log": lambda numbers, x: [*numbers, x], "create": list}

    @trax.resumable(**options)
    def loop(numbers: list[float], steps: int) -> Generator[float, Any, None]:
        for _ in trax.steps(steps):
            number = torch.randn(3).sum().item()
            if mode == "none":
                numbers.append(number)
                yield number
            else:
                numbers = yield number

    torch.manual_seed(5)
    whole = loop(steps=10).result()
    rest = torch.rand(1).item()
    torch.manual_seed(5)
    with loop.fresh(steps=10) as run:
        for _ in run:
            if run.step == stop:
                break
    torch.manual_seed(5)
    assert loop(steps=10).result() == whole
    assert torch.rand(1).item() == rest
