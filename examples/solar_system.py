"""The planets for five hundred years, and no kill -9 can stop them.

Run it, kill it when you like (``kill -9``), and run it again::

    python solar_system.py                  # about half a minute
    python solar_system.py --years 1000     # later: goes on from where that one ended

It resumes at the very step at which it was killed, and its last lines and its picture,
solar_system.png, are those of a run that nobody disturbed, to the last bit.

Expensive in a step are the accelerations, so these are what the loop yields and what trax
logs. After a kill, `World.advance` applies the logged ones; none is computed again.
"""

import argparse
import json
from collections.abc import Generator
from pathlib import Path
from typing import Self

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import trax

DATA = json.loads(Path(__file__).with_name("solar_system.json").read_text())  # JPL's DE421
NAMES = [body["name"] for body in DATA["bodies"]]
DT, YEAR = 1.0, 365.25  # days; lengths are in au
W = 1 / (4 - 4 ** (1 / 3))
STAGES = [W * DT, W * DT, (1 - 4 * W) * DT, W * DT, W * DT]  # of fourth order: Suzuki (1990)
SAMPLES = 2048  # the most that a track may hold


class World:
    """Point masses under Newton's gravity, and where they have been.

    Each step is one of leapfrog; the five of STAGES, in turn, make a step DT of fourth order.
    """

    def __init__(self, gm: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> None:
        self.gm, self.position, self.velocity = gm, position, velocity
        self.step, self.stride = 0, len(STAGES)  # the track has every stride-th step
        self.track = np.zeros((SAMPLES, *position.shape))
        self.energies = np.zeros(SAMPLES)
        self.remember()

    @classmethod
    def at_j2000(cls) -> Self:
        columns = ([b[key] for b in DATA["bodies"]] for key in ("gm", "position", "velocity"))
        return cls(*map(np.array, columns))

    @property
    def dt(self) -> float:
        return STAGES[self.step % len(STAGES)]

    @property
    def years(self) -> float:
        return self.step / len(STAGES) * DT / YEAR

    def accelerations(self) -> np.ndarray:
        """What every body feels half a step ahead: the expensive part, and the increment."""
        position = self.position + self.dt / 2 * self.velocity
        to = position - position[:, None]  # [i, j]: from body i to body j
        distance2 = np.einsum("ijk,ijk->ij", to, to)
        np.fill_diagonal(distance2, np.inf)  # nobody attracts itself
        total: np.ndarray = np.einsum("ij,ijk->ik", self.gm * distance2**-1.5, to)
        return total

    def advance(self, accelerations: np.ndarray) -> Self:
        """Drift half a step, kick, drift half a step: cheap, and the same live and in replay."""
        dt = self.dt
        self.position += dt / 2 * self.velocity
        self.velocity += dt * accelerations
        self.position += dt / 2 * self.velocity
        self.step += 1
        if self.step % self.stride == 0:
            self.remember()
        return self

    def remember(self) -> None:
        if self.step == SAMPLES * self.stride:  # full: every second sample goes
            self.track[: SAMPLES // 2] = self.track[::2]
            self.energies[: SAMPLES // 2] = self.energies[::2]
            self.stride *= 2
        sample = self.step // self.stride
        self.track[sample], self.energies[sample] = self.position, self.energy()

    def energy(self) -> float:
        """Kinetic and potential, times the gravitational constant: au^5/day^4."""
        distance = np.linalg.norm(self.position - self.position[:, None], axis=2)
        np.fill_diagonal(distance, np.inf)
        kinetic = self.gm @ (self.velocity**2).sum(axis=1) / 2
        return float(kinetic - self.gm @ (1 / distance) @ self.gm / 2)


@trax.resumable(
    create=World.at_j2000,
    replay_log=World.advance,
    every_steps=50_000,
    varying=("steps",),
    progress=True,
)
def simulate(world: World, steps: int) -> Generator[np.ndarray, World, None]:
    for _ in trax.steps(steps):
        world = yield world.accelerations()


def plot(world: World, path: str) -> None:
    samples = world.step // world.stride + 1
    years = np.arange(samples) * world.stride / len(STAGES) * DT / YEAR
    error = world.energies[:samples] / world.energies[0] - 1
    tilt = np.radians(84381.448 / 3600)  # of the ecliptic against the equator at J2000.0
    to_ecliptic = np.array([[1, 0], [0, np.cos(tilt)], [0, np.sin(tilt)]])
    positions = np.append(world.track[:samples], [world.position], axis=0)
    x, y = ((positions - positions[:, :1]) @ to_ecliptic).T  # from the Sun
    longitude, distance = np.arctan2(y, x), np.hypot(x, y)

    plt.style.use("dark_background")
    figure = plt.figure(figsize=(12, 6), layout="constrained")
    orbits = figure.add_subplot(1, 2, 1, projection="polar")
    for i, colour in enumerate(plt.cm.rainbow_r(np.linspace(0, 1, len(NAMES) - 1)), start=1):
        radius = np.log10(distance[i])
        orbits.plot(longitude[i], radius, ".", ms=2, mew=0, color=colour)
        orbits.plot(longitude[i, -1], radius[-1], "o", color=colour, mec="w", label=NAMES[i])
    orbits.set(ylim=(-0.9, 1.75), xticks=[], yticks=[0, 1], yticklabels=["1 au", "10 au"])
    orbits.grid(alpha=0.3)
    orbits.set_title(f"{world.years:,.0f} years from J2000.0, seen from the Sun")
    figure.legend(loc="outside lower center", ncols=len(NAMES), frameon=False)

    energy = figure.add_subplot(1, 2, 2)
    energy.plot(years, error, ".", ms=3, mew=0, color="orange")
    energy.set(xlabel="years (the waves: Mercury's 88 days, as sampled)", ylabel="$E / E_0 - 1$")
    energy.set_title("energy: a narrow band, and no drift")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=float, default=500)
    years = parser.parse_args().years

    world = simulate(steps=len(STAGES) * round(years * YEAR / DT)).result()

    matplotlib.use("Agg")
    plot(world, "solar_system.png")
    print(f"energy  {float(world.energy() / world.energies[0] - 1)!r} (relative change)")
    print("Mercury", *map(repr, world.position[1].tolist()), "au, after", world.years, "years")
