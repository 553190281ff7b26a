"""Simulate a magnet on a cluster, in as many jobs as it takes, to the same last bit.

Submit ``job.sh`` for one temperature, or ``array.sh`` for several at once; or run it here::

    python simulate.py --temperature 2.27

The model: the two-dimensional Ising model, a checkerboard of spins that is updated by the heat
bath. A step is a hundred sweeps over all spins. It changes the state in place and its increments
cannot be replayed (``replay_log=None``), so nothing is logged, and what is not in a checkpoint is
lost. The scheduler's signals are what makes that right: the step that is being done is finished,
a checkpoint is stored, and the script ends with the exit status 75: unfinished, run me again.
"""

import argparse
from collections.abc import Generator

import numpy as np

import trax

SIZE, SWEEPS = 64, 100
EVEN = np.indices((SIZE, SIZE)).sum(axis=0) % 2 == 0


class Magnet:
    """Spins of plus and minus one, and the sum of what was measured."""

    def __init__(self, temperature: float, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.spins = np.ones((SIZE, SIZE))
        self.temperature = temperature
        self.total = 0.0

    def sweep(self) -> None:
        for sublattice in (EVEN, ~EVEN):
            s = self.spins
            field = sum(np.roll(s, shift, axis) for axis in (0, 1) for shift in (1, -1))
            up = 1 / (1 + np.exp(-2 * field / self.temperature))
            chosen = np.where(self.rng.random(s.shape) < up, 1.0, -1.0)
            self.spins = np.where(sublattice, chosen, s)


@trax.resumable(
    create=Magnet,
    replay_log=None,
    name="magnet-{temperature}",
    every_seconds=600,
    signals=("SIGTERM", "SIGUSR1"),
)
def simulate(magnet: Magnet, temperature: float, steps: int) -> Generator[float, Magnet, None]:
    for _ in trax.steps(steps):
        for _ in range(SWEEPS):
            magnet.sweep()
        magnetisation = abs(float(magnet.spins.mean()))
        magnet.total += magnetisation
        yield magnetisation


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()

    magnet = simulate(options.temperature, options.steps).result()
    print("temperature", options.temperature, "magnetisation", magnet.total / options.steps)
