"""Makes long computations survive crashes.

Decorate a generator-style loop with `resumable`. After a crash, a kill or a reboot, run the same
script again, and the loop resumes as if nothing had happened. Below the decorator is `Trax`, a
store of states; each is a checkpoint and a log of increments.
"""

import importlib
from typing import TYPE_CHECKING, Any

import trax._interpreter  # noqa: F401  # before any module that is compiled
from trax._public import public
from trax._version import __version__

# A loop may call these, and it is read without running anything, the `__getattr__` below included.
from trax.engine.helpers import Step, open, remaining, step, steps
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

if TYPE_CHECKING:
    from trax.core import Trax, load
    from trax.decorator import AsyncResumable, Resumable, resumable
    from trax.engine.async_driver import AsyncRun
    from trax.engine.sync_driver import Run
    from trax.frames.locals import Locals
    from trax.fsck.fork import Forked, fork
    from trax.fsck.prune import Pruned, prune
    from trax.fsck.repair import Repaired, repair
    from trax.fsck.rewind import Rewound, rewind
    from trax.fsck.verify import Verification, verify
    from trax.hooks import Display, Event, Hook
    from trax.increments import history
    from trax.interrupts.stop_request import stop
    from trax.keep import Keep, keep_bytes, keep_every, keep_for
    from trax.mapping.async_map import AsyncMap
    from trax.mapping.function import map
    from trax.mapping.sync_map import Map
    from trax.policies import Policy, Since, automatic, every_seconds, every_steps
    from trax.ranks import rank
    from trax.survey.run_info import Failure, RunInfo
    from trax.survey.runs import runs
    from trax.sweeping.cases import Case
    from trax.sweeping.sweep import sweep
    from trax.sweeping.sweep_driver import Sweep

__all__ = [
    "ArgumentsChangedError",
    "AsyncMap",
    "AsyncResumable",
    "AsyncRun",
    "CallError",
    "Case",
    "CodecError",
    "CorruptionError",
    "Display",
    "DivergedError",
    "DurabilityError",
    "Event",
    "Failure",
    "Forked",
    "FormatVersionError",
    "Hook",
    "Keep",
    "Locals",
    "LockedError",
    "Map",
    "NotFoundError",
    "Policy",
    "Preempted",
    "Pruned",
    "Repaired",
    "Resumable",
    "ResumeWarning",
    "Rewound",
    "Run",
    "RunInfo",
    "Since",
    "Step",
    "StorageError",
    "Sweep",
    "Trax",
    "TraxError",
    "UntrustedError",
    "UsageError",
    "Verification",
    "__version__",
    "automatic",
    "every_seconds",
    "every_steps",
    "fork",
    "history",
    "keep_bytes",
    "keep_every",
    "keep_for",
    "load",
    "map",
    "open",
    "prune",
    "rank",
    "remaining",
    "repair",
    "resumable",
    "rewind",
    "runs",
    "step",
    "steps",
    "stop",
    "sweep",
    "verify",
]

# The names that are imported from these modules when they are first used. A Verification contains
# the classes without a function: it can be pickled, so they need a public address, too.
_LATER = {
    "core": "Trax load",
    "decorator": "AsyncResumable Resumable resumable",
    "engine.async_driver": "AsyncRun",
    "engine.sync_driver": "Run",
    "frames.locals": "Locals",
    "fsck.files": "CheckpointFile Generation LogFile",
    "fsck.fork": "Forked fork",
    "fsck.outputs": "OutputFile",
    "fsck.prune": "Pruned prune",
    "fsck.repair": "Repaired repair",
    "fsck.rewind": "Rewound rewind",
    "fsck.verify": "Verification verify",
    "hooks": "Display Event Hook",
    "increments": "history",
    "interrupts.stop_request": "stop",
    "keep": "Keep keep_bytes keep_every keep_for",
    "mapping.async_map": "AsyncMap",
    "mapping.function": "map",
    "mapping.sync_map": "Map",
    "policies": "Policy Since automatic every_seconds every_steps",
    "survey.run_info": "Failure RunInfo",
    "survey.runs": "runs",
    "ranks": "rank",
    "sweeping.cases": "Case",
    "sweeping.sweep_driver": "Sweep",
    "sweeping.sweep": "sweep",
}
_MODULES = {name: f"trax.{module}" for module, names in _LATER.items() for name in names.split()}

for _name in {*__all__} - {*_MODULES}:  # what comes later does so itself
    public(globals()[_name])

if not TYPE_CHECKING:  # a type checker would take any name for one of trax

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'trax' has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})
