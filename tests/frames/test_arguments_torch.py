"""Models, optimizers and schedulers that a loop trains are the caller's own, trained."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from test_arguments_in_place import Frame

from trax import ArgumentsChangedError, CodecError

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")


def make() -> dict[str, Any]:
    """Return a model with weights of its own, as each process makes them."""
    torch.seed()
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 1)
    )
    model[0].bias.requires_grad_(False)  # random, and never trained
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def train(frame: Any, steps: int) -> list[float]:
    model, optimizer, scheduler = frame["model"], frame["optimizer"], frame["scheduler"]
    losses: list[float] = []
    torch.manual_seed(3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(torch.randn(16, 4)) ** 2).mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def test_training_goes_on_to_the_bit() -> None:
    """With moments, statistics of batches, learning rate, and weights that are frozen."""
    frame = Frame(make)
    train(frame, 3)
    named, _ = frame.resume()
    for one, two in zip(
        frame["model"].state_dict().values(), named["model"].state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    assert train(named, 5) == train(frame, 5)


def test_inner_objects_are_the_callers() -> None:
    """Layers, parameters, their gradients, and the groups of the optimizer."""
    frame = Frame(make)
    train(frame, 2)
    model, optimizer = frame["model"], frame["optimizer"]
    local = [model[0], model[3].weight, optimizer.param_groups[0], model[3].weight.grad]
    named, (layer, weight, group, grad) = frame.resume(local)
    assert layer is named["model"][0]
    assert weight is named["model"][3].weight
    assert group is named["optimizer"].param_groups[0]
    assert group["params"][0] is named["model"][0].weight
    assert group["lr"] == optimizer.param_groups[0]["lr"]
    assert grad is weight.grad
    assert torch.equal(grad, model[3].weight.grad)


def test_a_model_that_is_not_trained_takes_no_room() -> None:
    """It is the caller's, as it is."""
    frame = Frame(lambda: {"model": torch.nn.Linear(300, 300)})
    encoded = frame.store([frame["model"].weight, frame["model"]])
    assert encoded.nbytes < 1000
    with torch.no_grad():
        frame["model"](torch.zeros(300))
    assert frame.contents() == {}


def test_modes_and_plain_attributes_come_back() -> None:
    """They are in no ``state_dict``."""
    frame = Frame(make)
    frame["model"].eval()
    frame["model"][0].weight.requires_grad_(False)
    frame["model"].best = [3.0]
    named, _ = frame.resume()
    assert not any(module.training for module in named["model"].modules())
    assert not named["model"][0].weight.requires_grad
    assert named["model"].best == [3.0]


def test_a_layer_that_was_replaced() -> None:
    """The new one comes from the frame, and so does an optimizer's reference to it."""
    frame = Frame(make)
    frame["model"][3] = torch.nn.Linear(8, 2)
    frame["optimizer"].add_param_group({"params": [frame["model"][3].weight]})
    named, layer = frame.resume(frame["model"][3])
    assert named["model"][3] is layer
    assert named["optimizer"].param_groups[1]["params"][0] is layer.weight


def test_views_of_memory_outside_share_it_again() -> None:
    """Of a tensor, and of a parameter's data."""
    frame = Frame(lambda: {"data": torch.zeros(10), "model": torch.nn.Linear(2, 2)})
    frame["data"][3] = 5
    local = frame["data"][2:6], frame["model"].weight.data
    named, (view, weight) = frame.resume(local)
    assert view.tolist() == [0, 5, 0, 0]
    view[0] = 7
    assert named["data"][2] == 7
    weight.fill_(3)
    assert named["model"].weight.tolist() == [[3, 3], [3, 3]]


def test_tensors_of_any_kind() -> None:
    """Other layouts in memory, types and sizes."""

    def tensors() -> dict[str, Any]:
        return {
            "t": torch.zeros(3, 2).T,
            "half": torch.zeros(3, dtype=torch.bfloat16),
            "none": torch.zeros(0, 3),
            "one": torch.tensor(0.0),
            "complex": torch.zeros(2, dtype=torch.complex64).conj(),
            "flags": torch.zeros(2, dtype=torch.bool),
        }

    frame = Frame(tensors)
    for name in ("t", "half", "one", "flags"):
        frame[name].fill_(1)
    frame["t"][0, 1] = 4
    named, _ = frame.resume()
    for name, tensor in frame.named.items():
        assert torch.equal(named[name], tensor)
        assert named[name].stride() == tensor.stride()


def test_an_rng_goes_on() -> None:
    """The caller's own."""
    frame = Frame(lambda: {"rng": torch.Generator().manual_seed(3)})
    torch.rand(3, generator=frame["rng"])
    named, local = frame.resume(frame["rng"])
    assert local is named["rng"]
    one, two = (torch.rand(3, generator=rng) for rng in (frame["rng"], named["rng"]))
    assert torch.equal(one, two)


def test_a_model_of_another_shape_is_refused() -> None:
    """By name."""
    frame = Frame(lambda: {"model": torch.nn.Linear(2, 3)})
    with torch.no_grad():
        frame["model"].weight.fill_(1)

    def other() -> dict[str, Any]:
        return {"model": torch.nn.Linear(2, 4)}

    with pytest.raises(
        ArgumentsChangedError, match=r"weight.* was torch.float32 of shape \(3, 2\)"
    ):
        frame.resume(make=other)


def test_a_tensor_in_a_graph_is_refused() -> None:
    """Its gradient would be lost."""
    frame = Frame(lambda: {"weight": torch.ones(2, requires_grad=True)})
    with pytest.raises(CodecError, match=r"(?s)frame\[1\] .*part of a graph.*after backward"):
        frame.store((frame["weight"] * 2).sum())
    (frame["weight"] * 2).sum().backward()
    named, _ = frame.resume()
    assert named["weight"].grad.tolist() == [2, 2]


@pytest.fixture(autouse=True)
def silent() -> Any:
    """Nothing that is asked of a tensor gives a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
