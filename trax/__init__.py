"""Makes long computations survive crashes.

Decorate a generator-style loop with `resumable`. After a crash, a kill or a reboot, run the same
script again, and the loop resumes as if nothing had happened. Below the decorator is `Trax`, a
store of states; each is a checkpoint and a log of increments.
"""

import trax._interpreter  # noqa: F401  # before any module that is compiled
from trax._public import publish
from trax._version import __version__
from trax.core import Trax, load
from trax.decorator import AsyncResumable, Resumable, resumable
from trax.engine.async_driver import AsyncRun
from trax.engine.helpers import Step, open, remaining, step, steps
from trax.engine.sync_driver import Run
from trax.errors import (
    ArgumentsChangedError,
    CallError,
    CodecError,
    CorruptionError,
    DivergedError,
    DurabilityError,
    FormatVersionError,
    LockedError,
    NotFoundError,
    Preempted,
    ResumeWarning,
    StorageError,
    TraxError,
    UntrustedError,
    UsageError,
)
from trax.frames.locals import Locals
from trax.fsck.files import CheckpointFile, Generation, LogFile
from trax.fsck.outputs import OutputFile
from trax.fsck.repair import Repaired, repair
from trax.fsck.verify import Verification, verify
from trax.mapping.async_map import AsyncMap
from trax.mapping.function import map
from trax.mapping.sync_map import Map
from trax.policies import Policy, Since, automatic, every_seconds, every_steps

__all__ = [
    "ArgumentsChangedError",
    "AsyncMap",
    "AsyncResumable",
    "AsyncRun",
    "CallError",
    "CodecError",
    "CorruptionError",
    "DivergedError",
    "DurabilityError",
    "FormatVersionError",
    "Locals",
    "LockedError",
    "Map",
    "NotFoundError",
    "Policy",
    "Preempted",
    "Repaired",
    "Resumable",
    "ResumeWarning",
    "Run",
    "Since",
    "Step",
    "StorageError",
    "Trax",
    "TraxError",
    "UntrustedError",
    "UsageError",
    "Verification",
    "__version__",
    "automatic",
    "every_seconds",
    "every_steps",
    "load",
    "map",
    "open",
    "remaining",
    "repair",
    "resumable",
    "step",
    "steps",
    "verify",
]

# A Verification contains these. They can be pickled, so they need a public address, too.
_CONTAINED = (CheckpointFile, Generation, LogFile, OutputFile)

publish(
    __name__,
    {name: globals()[name] for name in __all__} | {kind.__name__: kind for kind in _CONTAINED},
)
