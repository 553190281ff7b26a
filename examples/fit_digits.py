"""Train a neural network on handwritten digits, and survive kill -9 while it trains.

Run it, kill it when you like (``kill -9``), and run it again::

    python fit_digits.py                    # about a quarter of a minute
    python fit_digits.py --epochs 6000      # later: trains the same network further

Gradients cannot be replayed cheaply, so nothing is logged: ``replay_log=None``. The network,
its momentum and its random generator are one object, which the loop changes as it likes and
trax saves every second. A killed run redoes the epochs since the last checkpoint, draws the
same numbers in them, and ends with the same weights, bit for bit.
"""

import argparse
import sys
from collections.abc import Generator

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import trax

images, digits = load_digits(return_X_y=True)  # 1797 images of 8 x 8 pixels, from 0 to 16
train_x, test_x, train_y, test_y = train_test_split(images / 16, digits, random_state=0)


class Network:
    """One hidden layer, trained by stochastic gradient descent with momentum."""

    def __init__(self, seed: int, hidden: int = 128) -> None:
        self.rng = np.random.default_rng(seed)
        self.weights = [
            self.rng.normal(0, (2 / n) ** 0.5, (n, m)) for n, m in [(64, hidden), (hidden, 10)]
        ]
        self.momentum = [np.zeros_like(weight) for weight in self.weights]
        self.losses: list[float] = []

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The hidden layer, and the log-probabilities of the ten digits."""
        hidden = np.maximum(x @ self.weights[0], 0)
        logits = hidden @ self.weights[1]
        return hidden, logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    def descend(self, x: np.ndarray, y: np.ndarray, rate: float = 0.01) -> float:
        """One minibatch; returns its loss."""
        hidden, log_p = self(x)
        error = (np.exp(log_p) - np.eye(10)[y]) / len(y)
        gradients = [x.T @ (error @ self.weights[1].T * (hidden > 0)), hidden.T @ error]
        for i, gradient in enumerate(gradients):
            self.momentum[i] = 0.9 * self.momentum[i] - rate * gradient
            self.weights[i] += self.momentum[i]
        return cross_entropy(log_p, y)


def cross_entropy(log_p: np.ndarray, y: np.ndarray) -> float:
    return float(-log_p[np.arange(len(y)), y].mean())


@trax.resumable(create=Network, replay_log=None, every_seconds=1, varying=("epochs",))
def fit(network: Network, epochs: int, seed: int = 0) -> Generator[float, Network, None]:
    for _ in trax.steps(epochs):
        losses = []
        for batch in np.array_split(network.rng.permutation(len(train_y)), 42):
            shift = network.rng.integers(-1, 2, size=2)  # a digit may sit a pixel off
            x = np.roll(train_x[batch].reshape(-1, 8, 8), shift, axis=(1, 2)).reshape(-1, 64)
            losses.append(network.descend(x, train_y[batch]))
        network.losses.append(float(np.mean(losses)))
        yield network.losses[-1]  # for whoever watches


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3000)

    run = fit(epochs=parser.parse_args().epochs)
    for loss in run:
        if run.step % 100 == 0:
            print(f"epoch {run.step}: loss {loss:.4f}", file=sys.stderr)
    network = run.result()

    for epoch in range(0, len(network.losses), max(1, len(network.losses) // 10)):
        print(f"epoch {epoch + 1}: loss {network.losses[epoch]!r}")
    _, log_p = network(test_x)
    print("test loss", cross_entropy(log_p, test_y))
    print("test accuracy", float((log_p.argmax(axis=1) == test_y).mean()))
