"""The rank of this process, where several run one program together, as under MPI or torchrun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from trax._public import public

__all__ = ["find_rank", "rank"]

# The variables of the rank and of the number of ranks, by launcher.
_VARIABLES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)


class Found(NamedTuple):
    """A rank, with the number of ranks and the variable that tells it."""

    rank: int
    size: int
    variable: str


def find_rank(environment: Mapping[str, str] = os.environ) -> Found | None:
    """Return the rank of this process; None if it is the only one."""
    for variable, size_variable in _VARIABLES:
        try:
            found = Found(int(environment[variable]), int(environment[size_variable]), variable)
        except (KeyError, ValueError):
            continue
        if found.size > 1:
            return found
    return None


@public
def rank() -> int:
    """Return the rank of this process among those that run the program together; 0 if it is alone.

    The launchers of Open MPI, MPICH, Intel MPI, torchrun and SLURM tell it by variables of the
    environment. It is meant for the name of a run: each rank needs a run of its own.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(name="train-{rank}")
    ... def train(rank, epochs):
    ...     for epoch in range(epochs):
    ...         yield epoch
    >>> train(trax.rank(), epochs=2).name
    'train-0'
    """
    found = find_rank()
    return 0 if found is None else found.rank
