"""A study of Optuna whose trials are runs: kill -9 it, run it again, and the trial goes on.

    python study.py --trials 20

The run's name is made from the parameters of a trial. Optuna leaves a killed trial in the state
RUNNING. When the script begins again it takes those back and has their parameters tried first, so
the same run goes on, with all its epochs so far. A trial that is pruned leaves its run behind.
"""

import argparse
import math
from collections.abc import Generator

import optuna
from optuna.trial import Trial, TrialState

import trax


@trax.resumable(name="fit-{rate}-{momentum}")
def fit(rate: float, momentum: float, epochs: int) -> Generator[float, None, float]:
    place, speed = 5.0, 0.0
    for _ in range(epochs):
        for _ in range(1000):
            speed = momentum * speed - rate * (2 * place + math.cos(3 * place))
            place += speed
        yield place**2 + math.sin(3 * place) / 3
    return place**2 + math.sin(3 * place) / 3


def objective(trial: Trial, epochs: int) -> float:
    run = fit(
        rate=trial.suggest_float("rate", 1e-7, 1e-2, log=True),
        momentum=trial.suggest_float("momentum", 0.0, 0.9),
        epochs=epochs,
    )
    for loss in run:
        trial.report(loss, run.step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return run.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=200)
    given = parser.parse_args()

    study = optuna.create_study(storage="sqlite:///study.db", study_name="fit", load_if_exists=True)
    for killed in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.params)
    ended = len(study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED]))
    study.optimize(lambda trial: objective(trial, given.epochs), n_trials=given.trials - ended)
    print(f"best: {study.best_value:.6f}")
