"""Names of functions by which it is known what a call of them does.

A name is dotted, such as ``np.random.seed``. Most functions are known in any module.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "NOISE",
    "changes_first_argument",
    "cleans_up",
    "draws_from_shared",
    "is_bar",
    "is_cache",
    "is_clock",
    "is_report",
    "is_temporary",
    "makes_rng",
    "reads_file",
    "removes_file",
    "seeds",
    "stores",
]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _owner(name: str) -> str:
    """Return what the function is an attribute of, without what is before that."""
    return _last(name.rpartition(".")[0])


_FIRST: Final = {
    *("next", "anext", "setattr", "delattr", "shuffle", "insort", "insort_left", "insort_right"),
    *("heappush", "heappop", "heapify", "heapreplace", "heappushpop"),
}
_FIRST_OF_MODULES: Final = {"copyto", "fill_diagonal", "putmask", "place"}
_UFUNCS: Final = {"add", "subtract", "multiply", "maximum", "minimum"}


def changes_first_argument(name: str) -> bool:
    """Whether a function changes its first argument."""
    last, owner = _last(name), _owner(name)
    if last == "at" and owner in _UFUNCS:
        return bool(_owner(name.rpartition(".")[0]).strip("()"))
    return last in _FIRST or (last in _FIRST_OF_MODULES and bool(owner.strip("()")))


_REPORTS: Final = {
    *("print", "pprint", "log", "debug", "info", "warning", "warn", "error", "exception"),
    *("critical", "sleep", "pause", "set_description", "set_description_str", "set_postfix"),
    *("set_postfix_str", "refresh", "collect", "empty_cache", "close", "flush", "shutdown"),
}
_REPORTERS: Final = {
    *("log", "logger", "logging", "bar", "pbar", "tqdm", "console", "rich", "warnings", "gc"),
    "plt",
}


def is_report(name: str) -> bool:
    """Whether a function only tells a person something, or waits."""
    owner = _owner(name).removeprefix("_")
    is_reporter = owner in _REPORTERS or owner.startswith("progress")
    is_stream = name.rpartition(".")[0] in ("sys.stdout", "sys.stderr")
    return is_reporter or is_stream or _last(name) in _REPORTS


_BARS: Final = ("tqdm", "progress", "alive_bar", "logg")


def is_bar(name: str) -> bool:
    """Whether a function makes a progress bar, or something else that only reports."""
    return any(word in name.lower() for word in _BARS)


_CLOCKS: Final = {
    *("perf_counter", "monotonic", "process_time", "perf_counter_ns", "monotonic_ns"),
    *("process_time_ns", "default_timer", "uuid1", "uuid4", "urandom", "getpid", "token_hex"),
    *("token_bytes", "token_urlsafe", "SystemRandom"),
}
_TIMES: Final = {
    *("time", "time_ns", "thread_time", "thread_time_ns", "ctime", "localtime", "gmtime"),
    *("strftime", "asctime"),
}
_DATES: Final = {"now", "utcnow", "today"}


def is_clock(name: str) -> bool:
    """Whether a function gives something else in every process."""
    last, owner = _last(name), _owner(name)
    return (
        last in _CLOCKS
        or (owner == "time" and last in _TIMES)
        or (owner in ("datetime", "date") and last in _DATES)
        or owner == "secrets"
    )


_RNGS: Final = {
    *("default_rng", "Random", "RandomState", "Generator", "PCG64", "Philox", "MT19937"),
    "PRNGKey",
}
_RANDOM: Final = {"random", "np.random", "numpy.random"}
_SHARED: Final = {"rng", "prng", "random_state", "generator"}


def makes_rng(name: str) -> bool:
    """Whether a function makes an RNG."""
    return _last(name) in _RNGS


def draws_from_shared(name: str) -> bool:
    """Whether a function draws from an RNG that is shared, or that has the name of one."""
    owner, _, last = name.rpartition(".")
    is_torch = owner == "torch" and last.startswith("rand")
    return is_torch or owner in _RANDOM or _owner(name).removeprefix("_") in _SHARED


def seeds(name: str) -> bool:
    """Whether a function seeds a shared RNG."""
    is_seed = name == "seed" or (_last(name) == "seed" and name.rpartition(".")[0] in _RANDOM)
    return is_seed or _last(name) in ("manual_seed", "seed_everything", "set_seed")


_MOVING: Final = {"rename", "renames", "unlink", "move"}
_CLEANING: Final = {"rmtree", "cleanup", "close", "rmdir", "unlink", "remove"}


def removes_file(name: str) -> bool:
    """Whether a function removes or renames a file."""
    owner, _, last = name.rpartition(".")
    is_moving = last in _MOVING and owner in ("", "os", "shutil")
    return is_moving or (last in ("replace", "remove") and owner == "os")


def cleans_up(name: str) -> bool:
    """Whether a function closes or removes what is not needed any more."""
    return _last(name) in _CLEANING


_VERBS: Final = {
    *("save", "write", "send", "post", "upload", "publish", "notify", "commit", "store", "dump"),
    *("emit", "export", "insert", "execute", "unlink", "rename", "replace", "copyfile", "move"),
}
_WRITERS: Final = {
    *("writerow", "writerows", "writelines", "writeheader", "savetxt", "savez", "savefig"),
    *("to_csv", "to_json", "to_parquet", "to_sql", "to_pickle", "remove_file"),
}


def stores(name: str) -> bool:
    """Whether a function stores something, or hands it over to others."""
    last = _last(name)
    is_verb = last.partition("_")[0] in _VERBS and not last.endswith("_")
    is_written = last.endswith(("_to_disk", "_to_file", "_to_db"))
    return is_verb or last in _WRITERS or last.startswith("remove_file_") or is_written


_TEMPORARY: Final = {
    *("TemporaryDirectory", "TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile"),
    *("mkdtemp", "mkstemp"),
}


def is_temporary(name: str) -> bool:
    """Whether a function makes a temporary file or directory."""
    return name.removeprefix("tempfile.") in _TEMPORARY


def reads_file(name: str) -> bool:
    """Whether a function reads a file, or opens it for that."""
    return _last(name) == "open" or _last(name).startswith(("read", "load", "parse"))


# What a function uses whose result may be random, or of the process alone.
NOISE: Final = frozenset(
    [
        *(*_CLOCKS, *_TIMES, *_DATES, *_SHARED, *(f"_{name}" for name in _SHARED)),
        *("random", "secrets", "torch", "shuffle", "gauss", "normal", "uniform"),
    ]
)


_CACHE: Final = re.compile("cache|memo(?!r)", re.IGNORECASE)  # no memory: that is an input


def is_cache(name: str) -> bool:
    """Whether a variable is named like a cache."""
    return _CACHE.search(name) is not None
