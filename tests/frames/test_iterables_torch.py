"""Loops over the loaders of PyTorch go on with the same batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from looping import check

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")


class Augmented(data.Dataset):  # type: ignore[misc, name-defined]
    """Draws from the RNG that the loop draws from as well."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        return index, random.random(), torch.rand(()).item()


class Stream(data.IterableDataset):  # type: ignore[misc, name-defined]
    def __iter__(self) -> Iterator[int]:
        yield from range(5)


class Buckets(data.Sampler):  # type: ignore[misc, name-defined]
    """Shuffles its list in place, each time."""

    def __init__(self) -> None:
        self.order = [*range(7)]

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Iterator[int]:
        random.shuffle(self.order)
        return iter(self.order)


def tensors() -> Any:
    return data.TensorDataset(torch.arange(7))


LOADERS: dict[str, Callable[[], Any]] = {
    "plain": lambda: data.DataLoader(tensors(), 2),
    "shuffled": lambda: data.DataLoader(tensors(), 2, shuffle=True),
    "dropping": lambda: data.DataLoader(tensors(), 2, shuffle=True, drop_last=True),
    "own_rng": lambda: data.DataLoader(
        tensors(), 2, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
    "augmented": lambda: data.DataLoader(Augmented(), 3, shuffle=True),
    "stream": lambda: data.DataLoader(Stream(), 2),
    "sampler": lambda: data.DataLoader(tensors(), 3, sampler=Buckets()),
}


def loop(loader: Any) -> Iterator[Any]:
    for epoch in range(2):
        for batch in loader:
            yield repr((epoch, batch, random.random(), torch.rand(2)))
        for number, batch in enumerate(loader):
            yield repr((number, batch))


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_go_on(name: str) -> None:
    check(loop, lambda: (LOADERS[name](),))


def once(loader: Any) -> Iterator[Any]:
    for number, batch in enumerate(loader):
        yield repr((number, batch))


@pytest.mark.parametrize("name", ["shuffled", "sampler"])
def test_loaders_with_processes_go_on(name: str) -> None:
    """They draw ahead, so they are gone through once more."""

    def make() -> Any:
        options = {"shuffle": True} if name == "shuffled" else {"sampler": Buckets()}
        return data.DataLoader(tensors(), 3, num_workers=1, **options)

    check(once, lambda: (make(),))


def test_loops_over_tensors_go_on() -> None:
    def rows(tensor: Any) -> Iterator[Any]:
        for row in tensor:
            yield row.tolist()
        for part in tensor.split(1):
            yield part.tolist()

    check(rows, lambda: (torch.arange(6).reshape(3, 2),))
