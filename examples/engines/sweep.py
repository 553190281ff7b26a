"""Twelve runs on the engine that you have; kill -9 a worker or all of it, and run it again.

    python sweep.py                    # processes of this machine
    python sweep.py --engine dask      # or joblib, ray, submitit; or here, one after the other

Each run is a random walk with a drift and a seed. The sweep needs only ``submit`` of an engine.
What was done is answered from the store, and what was broken off goes on.
"""

import argparse
import random
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import trax


@trax.resumable(name="walk-{drift}-{seed}")
def walk(drift: float, seed: int, steps: int) -> Generator[float, None, float]:
    rng, place = random.Random(seed), 0.0
    for _ in range(steps):
        place += sum(rng.gauss(drift, 1) for _ in range(1000))
        yield place
    return place


@contextmanager
def here(workers: int) -> Iterator[Any]:
    yield None


@contextmanager
def processes(workers: int) -> Iterator[Any]:
    with ProcessPoolExecutor(workers) as pool:
        yield pool


@contextmanager
def joblib(workers: int) -> Iterator[Any]:
    from joblib.externals.loky import get_reusable_executor

    yield get_reusable_executor(max_workers=workers)


@contextmanager
def dask(workers: int) -> Iterator[Any]:
    from dask.distributed import Client  # or Client("scheduler:8786"), of a cluster that is there

    with Client(n_workers=workers, threads_per_worker=2, dashboard_address=None) as client:
        yield client


@contextmanager
def ray(workers: int) -> Iterator[Any]:
    import ray

    call = ray.remote(lambda function, *arguments: function(*arguments))

    class Pool:
        def submit(self, function: Any, *arguments: Any) -> Any:
            return call.remote(function, *arguments).future()

    with ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False):
        yield Pool()


@contextmanager
def submitit(workers: int) -> Iterator[Any]:
    import submitit

    executor = submitit.AutoExecutor("jobs", cluster="local")  # "slurm" on a cluster
    executor.update_parameters(timeout_min=60)
    yield executor


ENGINES = {engine.__name__: engine for engine in (here, processes, joblib, dask, ray, submitit)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, default="processes")
    parser.add_argument("--steps", type=int, default=2_000)
    given = parser.parse_args()

    grid = {"drift": [-0.5, 0.0, 0.5], "seed": range(4), "steps": [given.steps]}
    with ENGINES[given.engine](2) as engine:
        cases = sorted(
            trax.sweep(walk, grid, executor=engine, progress=True), key=lambda case: case.name
        )
    for case in cases:
        print(case.name, case.error or case.result)
