"""PyTorch's generators and tensors, where it is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import run_script, stored

import trax
from trax import CodecError
from trax.calls.arguments import describe, differences
from trax.calls.content import Contents
from trax.engine.fidelity import flaws
from trax.frames.memory import TensorMemory, arrays_of
from trax.storage import reductions
from trax.storage.codec import decode, decode_finding, encode, encode_finding
from trax.tracking.rng_state import track
from trax.tracking.rngs import rng_types

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
    options: dict[str, Any] = {"replay_log": None, "every_steps": 1}
    if mode == "function":
        options = {"replay_log": lambda numbers, x: [*numbers, x]}

    @trax.resumable(create=list, **options)
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


# -- tensors in the state ------------------------------------------------------------------


class Net(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not typed here
    """A model with a shared weight, and an optimiser beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x) - self.mean)


@pytest.mark.parametrize("beside", [None, lambda: 1], ids=["plain", "beside a lambda"])
def test_gradients_come_back(beside: Any) -> None:
    """Of parameters, which the model and its optimiser still share, and of other tensors."""
    net = Net()
    optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    leaf = torch.ones(3, requires_grad=True)
    for _ in range(2):
        (net(torch.ones(2, 3)).sum() * leaf.sum()).backward()
    back, other, tensor, _ = stored([net, optimiser, leaf, beside])
    assert back.first.weight is back.second.weight is other.param_groups[0]["params"][0]
    for before, after in zip(net.parameters(), back.parameters(), strict=True):
        assert after.requires_grad
        assert torch.equal(after, before)
        assert torch.equal(after.grad, before.grad)
    assert torch.equal(tensor.grad, leaf.grad)
    other.step()
    optimiser.step()
    assert torch.equal(back.first.weight, net.first.weight)


def test_a_tensor_with_a_graph_is_refused() -> None:
    """It would come back as a leaf that leads nowhere."""
    weight = torch.ones(3, requires_grad=True)
    with pytest.raises(CodecError) as caught:
        encode({"loss": weight.sum()}, "state")
    assert str(caught.value) == (
        "state['loss'] (torch.Tensor) cannot be stored: it is part of a graph of gradients\n"
        "Yield after backward(), and store its item() or detach() instead."
    )
    assert stored({"loss": weight.sum().detach()})["loss"].item() == 3


@pytest.mark.parametrize(
    ("value", "result", "name"),
    [("loss", "None", "increment"), ("loss.item()", "float(loss)", "loss: loss cannot be kept")],
)
def test_a_loss_with_its_graph_is_refused_at_the_first_step(
    value: str, result: str, name: str
) -> None:
    """Both as an increment and in a variable, with what to keep instead."""
    script = f"""
import torch
import trax

@trax.resumable
def loss():
    weight = torch.ones(3, requires_grad=True)
    for _ in range(3):
        loss = weight.sum()
        loss.backward()
        yield {value}
    return {result}

loss().result()
"""
    failed = run_script(script, check=False).stderr
    assert f"trax.CodecError: {name}" in failed
    assert "part of a graph of gradients" in failed
    assert "its item() or detach() instead." in failed
    assert "after step 0" in failed


def test_a_scaler_that_is_set_up_when_it_is_needed_is_no_loss() -> None:
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(1))
    assert [*flaws(scaler, stored(scaler), "scaler", {}, 60.0)] == []


def test_views_of_one_tensor_come_back_as_such() -> None:
    """Also those of other types, and NumPy arrays of the same memory."""
    base = torch.arange(10.0)
    array = np.arange(6.0)
    state = [base, base[2:5], base.view(2, 5).T, base.view(torch.int32), base.numpy(), base.data]
    back = stored([*state, array, torch.from_numpy(array)[1:]])
    back[1].fill_(7)
    back[-1].fill_(8)
    base[2:5] = 7
    array[1:] = 8
    for one, other in zip(back, [*state, array, torch.from_numpy(array)[1:]], strict=True):
        assert one.tolist() == other.tolist()
        assert one.shape == other.shape


def test_without_numpy_tensors_share_their_storage_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PyTorch itself then stores it, as it does that of other devices than the CPU."""
    modules = {name: module for name, module in sys.modules.items() if name != "numpy"}
    monkeypatch.setattr(reductions, "sys", SimpleNamespace(modules=modules))
    base = torch.arange(6.0)
    encoded = encode([base, base[2:]], "state")
    assert encoded.buffers == []
    back, view = decode(encoded, "state")
    back += 1
    assert view.tolist() == [3, 4, 5, 6]


def test_a_model_is_written_from_its_own_memory() -> None:
    """It comes back in memory that PyTorch can resize, aligned as any other."""
    model = torch.zeros(10_000)
    (buffer,) = encode(model, "state").buffers
    assert np.shares_memory(np.frombuffer(buffer), model.numpy())
    back = stored([model, torch.zeros(0)])[0]
    assert back.data_ptr() % 64 == 0
    assert back.resize_(20_000).shape == (20_000,)


VIEWS: dict[str, Any] = {
    "plain": lambda tensor: tensor,
    "with a gradient": lambda tensor: tensor.requires_grad_(),
    "part": lambda tensor: tensor[3:9],
    "transposed": lambda tensor: tensor.view(50, 2).T,
    "bfloat16": lambda tensor: tensor.bfloat16(),
    "complex": lambda tensor: torch.view_as_complex(tensor.view(50, 2)).conj(),
    "empty": lambda tensor: tensor[:0],
    "shared": lambda tensor: tensor.share_memory_(),
    "without memory": lambda _: torch.zeros(0),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_tensor_can_be_resized_after_each_look_at_it(view: Any) -> None:
    """As an argument, an item of a data set, a state, and an object that is changed in place."""
    tensor = view(torch.arange(100.0))
    back = stored(tensor)
    assert differences(describe({"x": tensor}), describe({"x": back})) == {}
    assert Contents().of(tensor) == Contents().of(back)
    assert [*flaws(tensor, back, "tensor", {}, 60.0)] == []
    facet = TensorMemory()
    assert facet.mark(tensor) == facet.mark(back)
    facet.restore(back, (*facet.about(tensor), bytes(facet.content(tensor)[2]), False, None))
    assert arrays_of(tensor, "x")[0][1].nbytes == tensor.untyped_storage().nbytes()
    assert tensor.untyped_storage().resizable()
    assert back.untyped_storage().resizable()


def test_a_tensor_in_shared_memory_is_shared_again() -> None:
    """Processes that are started later see its changes."""
    plain, shared = stored([torch.ones(3), torch.ones(3).share_memory_()])
    assert not plain.is_shared()
    assert shared.is_shared()
    assert shared.tolist() == [1, 1, 1]


def test_the_default_generator_in_the_state_is_the_default_one() -> None:
    """It is tracked as such."""
    own = torch.Generator()
    encoded, found = encode_finding([torch.default_generator, own], "state", rng_types())
    assert list(found.values()) == [own]
    back, _ = decode_finding(encoded, "state", [])
    assert back[0] is torch.default_generator


ACCUMULATE = """
import os, sys
import torch
import trax

torch.manual_seed(0)

class Trainer:
    def __init__(self):
        self.model = torch.nn.Linear(4, 1)
        self.optimiser = torch.optim.SGD(self.model.parameters(), 0.01)

@trax.resumable(create=Trainer, replay_log=None, every_steps=5)
def train(trainer, n):
    for i in trax.steps(n):
        x = torch.randn(8, 4)
        ((trainer.model(x) - x.sum(1, keepdim=True)) ** 2).mean().backward()
        if i % 4 == 3:
            trainer.optimiser.step()
            trainer.optimiser.zero_grad()
        yield i

run = train(n=40)
for i in run:
    if sys.argv[1] == "die" and i == 17:
        os.kill(os.getpid(), 9)
print(*[p.tolist() for p in run.result().model.parameters()])
"""


def test_a_killed_run_goes_on_with_its_gradients() -> None:
    """It was killed between two steps of the optimiser, with gradients of some batches."""
    expected = run_script(ACCUMULATE, "go").stdout
    shutil.rmtree(".trax")
    assert run_script(ACCUMULATE, "die", check=False).returncode == -9
    assert run_script(ACCUMULATE, "go").stdout == expected


WITH_WORKERS = """
import os, sys, torch, trax
from multiprocessing import get_context

def work(weights, begun, over):
    while not over.is_set():
        weights[::999] += 1
        begun.set()

def create():
    return {"weights": torch.zeros(4_000_000).share_memory_(), "steps": 0}

@trax.resumable(create=create, replay_log=None, every_steps=1)
def train(state, steps):
    fork = get_context("fork")
    begun, over = fork.Event(), fork.Event()
    worker = fork.Process(target=work, args=(state["weights"], begun, over), daemon=True)
    worker.start()
    begun.wait()
    try:
        for step in trax.steps(steps):
            state["steps"] += 1
            yield step
            if sys.argv[1] == "dies" and step == 4:
                over.set()
                worker.join()
                os._exit(9)
    finally:
        over.set()
        worker.join()

state = train(6).result()
print(state["steps"], state["weights"][999].item() > 0, state["weights"][1].item())
"""


def test_weights_that_other_processes_change_are_stored_without_damage() -> None:
    """The checksum of a checkpoint is that of its bytes, although they change meanwhile."""
    assert run_script(WITH_WORKERS, "dies", check=False).returncode == 9
    assert run_script(WITH_WORKERS, "ends").stdout.split()[-3:] == ["6", "True", "0.0"]


GROWING = """
import os, sys, torch, trax

def last(step):
    if sys.argv[1] == "dies" and step == 5:
        os._exit(9)

def create():
    return {"rows": torch.zeros(100_000)}

@trax.resumable(create=create, replay_log=None, every_steps=2)
def declared(state, steps):
    for step in trax.steps(steps):
        state["rows"].resize_(100_000 + step)[-1] = step
        yield step
        last(step)

@trax.resumable(every_steps=2)
def plain(rows, steps):
    own = torch.zeros(100_000)
    for step in range(steps):
        rows = rows.clone().resize_(100_000 + step)
        own.resize_(100_000 + step)[-1] = step
        rows[-1] = step
        yield step
        last(step)
    return own, rows

if sys.argv[2] == "declared":
    print(declared(8).result()["rows"].nonzero().tolist())
else:
    rows = torch.ones(100_000)
    own, others = plain(rows, 8).result()
    print(own.nonzero().tolist(), others[:2].tolist(), len(others), rows.resize_(5).shape)
"""


@pytest.mark.parametrize("kind", ["declared", "plain"])
def test_a_loop_that_resizes_its_tensors_is_resumed(kind: str) -> None:
    """It does so in a resumed process as in the first one."""
    expected = run_script(GROWING, "ends", kind).stdout
    shutil.rmtree(".trax")
    assert run_script(GROWING, "dies", kind, check=False).returncode == 9
    assert run_script(GROWING, "ends", kind).stdout == expected
