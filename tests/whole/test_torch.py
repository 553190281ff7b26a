"""PyTorch's generators, where it is installed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import trax
from trax.calls.arguments import describe, differences
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


def test_a_tensor_is_compared_by_its_data() -> None:
    """As an argument: its arrangement in memory does not count; its type and its gradients do."""
    tensor = torch.arange(6.0).reshape(2, 3)
    same = [tensor.clone(), tensor.t().contiguous().t()]
    half, tracked = tensor.to(torch.bfloat16), tensor.clone().requires_grad_()
    others = [tensor + 1, tensor.reshape(3, 2), half, tracked, tensor.to_sparse()]
    stored = describe({"x": tensor})
    assert [differences(stored, describe({"x": other})) for other in same] == [{}, {}]
    assert all(differences(stored, describe({"x": other})) for other in others)
    assert differences(describe({"x": half}), describe({"x": half.clone()})) == {}


def test_a_generator_is_compared_by_its_seed() -> None:
    """Its position is stored with the run."""
    generator = torch.Generator().manual_seed(4)
    stored = describe({"x": generator})
    torch.rand(3, generator=generator)
    assert differences(stored, describe({"x": generator})) == {}
    assert differences(stored, describe({"x": torch.Generator().manual_seed(5)}))


def test_the_option_of_an_optimiser_that_has_changed_is_named() -> None:
    """And not only the optimiser."""
    optimiser = torch.optim.Adam(torch.nn.Linear(2, 3).parameters(), lr=0.1)
    stored = describe({"opt": optimiser})
    optimiser.param_groups[0]["lr"] = 0.2
    assert differences(stored, describe({"opt": optimiser})) == {
        "opt": ["opt.param_groups[0]['lr']: 0.1 -> 0.2"]
    }
