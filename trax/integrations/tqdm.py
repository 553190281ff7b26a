"""A progress bar on standard error, drawn by tqdm."""

from __future__ import annotations

from typing import Any

from trax.errors import UsageError

try:
    from tqdm.auto import tqdm
except ImportError as error:
    raise UsageError(
        "progress=True needs tqdm: pip install 'trax-resumable[progress]', or leave progress out"
    ) from error

__all__ = ["Bar"]


class Bar:
    """Shows how far a run is.

    Parameters
    ----------
    name : str
        The run's name.
    step : int
        The step at which the bar begins.
    """

    def __init__(self, name: str, step: int) -> None:
        self._bar: Any = tqdm(desc=name, initial=step, unit="step", dynamic_ncols=True)

    def update(self, engine: Any) -> None:
        """Show the engine's step and, once the loop has told it, the total."""
        if self._bar.total != engine.total:
            self._bar.total = engine.total
            self._bar.refresh()
        self._bar.update(engine.step - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
