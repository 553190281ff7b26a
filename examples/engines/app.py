"""An app of Hydra whose jobs are runs: kill -9 it, give the same command, and it goes on.

    python app.py -m seed=0,1,2 size=10,20

The run's name is made from the configuration. Jobs that are done return their stored results. All
of them have one store: Hydra leaves the working directory alone, since its version 1.2.
"""

import random
from collections.abc import Generator
from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore

import trax


@dataclass
class Config:
    """The configuration; the command line changes it."""

    seed: int = 0
    size: int = 10
    steps: int = 500


@trax.resumable(name="coupons-{seed}-{size}")
def collect(seed: int, size: int, steps: int) -> Generator[int, None, float]:
    """Return the mean number of draws until each of the coupons was drawn."""
    rng, total = random.Random(seed), 0
    for _ in range(steps):
        missing = set(range(size))
        while missing:
            missing.discard(rng.randrange(size))
            total += 1
        yield total
    return total / steps


@hydra.main(version_base="1.2", config_path=None, config_name="config")  # type: ignore[untyped-decorator]  # Hydra is not always here
def main(config: Config) -> None:
    print(config.seed, config.size, collect(config.seed, config.size, config.steps).result())


if __name__ == "__main__":
    ConfigStore.instance().store("config", Config)
    main()
