"""A progress bar on standard error, drawn by tqdm."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from trax.errors import UsageError

try:
    from tqdm.auto import tqdm
except ImportError as error:
    raise UsageError(
        "progress=True needs tqdm: pip install 'trax-resumable[progress]', or leave progress out"
    ) from error

if TYPE_CHECKING:
    from trax.engine import Engine

__all__ = ["Bar"]

_SECONDS_IN_A_FILE = 30.0  # a log file of a batch job is not a screen


class Bar:
    """Shows how far a run is, from the first step that it is told of."""

    def __init__(self) -> None:
        self._bar: Any = None

    def update(self, engine: Engine) -> None:
        """Show the engine's step and, if the loop has told it, the total."""
        if self._bar is None:
            self._bar = tqdm(
                desc=engine.name,
                initial=engine.step,
                total=engine.total,
                unit="step",
                dynamic_ncols=True,
                mininterval=0.1 if sys.stderr.isatty() else _SECONDS_IN_A_FILE,
            )
        self._bar.update(engine.step - self._bar.n)

    def close(self, engine: Engine) -> None:
        """Show the last step and leave the bar as it is."""
        if self._bar is not None:
            self._bar.update(engine.step - self._bar.n)
            self._bar.close()
