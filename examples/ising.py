"""A magnet in a plain loop: its local variables survive kill -9.

Run it, kill it when you like (``kill -9``), and run it again::

    python ising.py                      # a few seconds
    python ising.py --sweeps 100000      # a longer run, with a name of its own

This is the Ising model in two dimensions, by Metropolis sweeps over a checkerboard, slightly below
its critical temperature. The loop is written as one always writes it. What survives is what it
keeps in its local variables: the spins, the random generator, the sums, and the number of the
sweep. The last lines are those of a run that nobody disturbed, to the last bit.
"""

import argparse
from collections.abc import Generator

import numpy as np

import trax

SIZE = 64
BLACK = np.indices((SIZE, SIZE)).sum(axis=0) % 2 == 0


def neighbours(spins: np.ndarray) -> np.ndarray:
    """Sum over the four neighbours of each spin, on a torus."""
    total: np.ndarray = np.roll(spins, 1, axis=0) + np.roll(spins, -1, axis=0)
    total += np.roll(spins, 1, axis=1) + np.roll(spins, -1, axis=1)
    return total


@trax.resumable(name="ising-{sweeps}")
def magnetise(sweeps: int, temperature: float = 2.2) -> Generator[float, None, tuple[float, float]]:
    rng = np.random.default_rng(1)
    spins = np.ones((SIZE, SIZE), dtype=np.int8)
    magnetisation = energy = 0.0
    for _ in range(sweeps):
        for colour in (BLACK, ~BLACK):
            cost = 2 * spins * neighbours(spins)
            flips = rng.random(spins.shape) < np.exp(-cost / temperature)
            spins[flips & colour] *= -1
        magnetisation += abs(spins.mean())
        energy -= (spins * neighbours(spins)).mean() / 2
        yield float(spins.mean())
    return float(magnetisation / sweeps), float(energy / sweeps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=20_000)

    magnetisation, energy = magnetise(parser.parse_args().sweeps).result()

    print("magnetisation", magnetisation)
    print("energy       ", energy)
