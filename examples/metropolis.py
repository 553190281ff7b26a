"""Sample a posterior by random-walk Metropolis; kill -9 changes nothing in the chain.

Run it, kill it when you like (``kill -9``), and run it again::

    python metropolis.py                      # about half a minute
    python metropolis.py --samples 2000000    # later: the same chain, continued

The model: is a tumour benign? A logistic regression on the breast cancer data of Wisconsin.
Expensive is the posterior density at a proposed point, so this one number is what the loop
yields and what trax logs. The random generator is in the state, and only `Chain.advance`
draws from it, live and in replay alike: that is why both give the same chain, bit for bit.
"""

import argparse
from collections.abc import Generator
from typing import Self

import numpy as np
from sklearn.datasets import load_breast_cancer

import trax

FEATURES = ["mean texture", "mean area", "mean smoothness", "mean symmetry"]
data = load_breast_cancer()
x = data.data[:, [data.feature_names.tolist().index(name) for name in FEATURES]]
x = np.column_stack([np.ones(len(x)), (x - x.mean(axis=0)) / x.std(axis=0)])
y = 2 * data.target - 1  # 1: benign, -1: malignant


def log_posterior(theta: np.ndarray) -> float:
    """Of the coefficients, unnormalised; the prior is normal with a standard deviation of 5."""
    return float(-np.logaddexp(0, -y * (x @ theta)).sum() - theta @ theta / 50)


class Chain:
    """Where the chain is, the point that it considers next, and its running sums."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.theta = np.zeros(x.shape[1])
        self.density = log_posterior(self.theta)
        self.samples = self.accepted = 0
        self.sum, self.sum2 = np.zeros_like(self.theta), np.zeros_like(self.theta)
        self.propose()

    def propose(self) -> None:
        self.proposal = self.theta + self.rng.normal(0, 0.2, self.theta.size)
        self.threshold = self.density - self.rng.exponential()

    def advance(self, density: float) -> Self:
        """Go to the proposal, or stay: the only place where the chain changes."""
        if density > self.threshold:
            self.theta, self.density = self.proposal, density
            self.accepted += 1
        self.samples += 1
        self.sum += self.theta
        self.sum2 += self.theta**2
        self.propose()
        return self


@trax.resumable(create=Chain, replay_log=Chain.advance, varying=("samples",), progress=True)
def sample(chain: Chain, samples: int, seed: int = 1) -> Generator[float, Chain, None]:
    for _ in trax.steps(samples):
        chain = yield log_posterior(chain.proposal)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)

    chain = sample(samples=parser.parse_args().samples).result()

    mean = chain.sum / chain.samples
    deviation = np.sqrt(chain.sum2 / chain.samples - mean**2)
    for name, m, s in zip(["intercept", *FEATURES], mean.tolist(), deviation.tolist(), strict=True):
        print(f"{name:16} {m!r} +- {s!r}")
    print("acceptance rate ", chain.accepted / chain.samples)
