"""The rank of a process, as its launcher tells it."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from support import write_script

import trax
from trax import ranks

NAMES = [name for one in ranks._VARIABLES for name in one]


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, 3),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, 1),
        ({"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}, 7),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, 2),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "5"}, None),
        ({"RANK": "first", "WORLD_SIZE": "2"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "RANK": "1", "WORLD_SIZE": "4"}, 1),
    ],
)
def test_a_rank_is_that_of_the_launcher(
    environment: dict[str, str], rank: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of one task is no rank, and a variable alone may be somebody else's."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = ranks.find_rank()
    assert (None if found is None else found.rank) == rank
    assert trax.rank() == (rank or 0)


LAUNCHED = """
import trax

@trax.resumable(name="train-{rank}")
def train(rank, epochs):
    for epoch in range(epochs):
        yield epoch
    return rank

print(train(trax.rank(), epochs=2).result())
"""


def test_the_processes_of_torchrun_have_a_run_each() -> None:
    pytest.importorskip("torch.distributed.run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    launched = subprocess.run(
        [*launcher, "--master-addr=127.0.0.1", f"--master-port={port}", write_script(LAUNCHED)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(launched.stdout.split()) == ["0", "1"]
    assert trax.load("train-0").step == trax.load("train-1").step == 2
