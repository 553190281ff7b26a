"""The options of `resumable`: their declarations, defaults and checks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import trax
from trax.calls.options import GivenWithState, Options, check_option

PARAMETERS = {
    name: parameter
    for name, parameter in inspect.signature(trax.resumable).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}


def good(state: int, n: int) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_steps": 0}, "every_steps"),
        ({"every_seconds": -1}, "every_seconds"),
        ({"policy": 1}, "policy must be callable"),
        ({"create": 1}, "create must be callable"),
        ({"replay_log": 1}, "replay_log must be callable"),
        ({"create": 0}, "Write create=int or create=lambda: 0"),
        ({"replay_log": lambda state: state}, "called with 2 arguments, which .*<lambda> does not"),
        ({"replay_log": lambda: 0}, "Write a function that does, as in replay_log=lambda state, "),
        ({"policy": lambda: True}, "policy is called with 1 argument,"),
        ({"version": 2, "migrate": lambda state: state}, "migrate is called with 2 arguments"),
        ({"create": lambda seed: seed}, "create needs 'seed'"),
        ({"create": lambda state: state}, "create needs 'state'"),
        ({"name": "run-{state}"}, "'state', which is not an argument"),
        ({"varying": "state"}, "varying names 'state'"),
        ({"name": "../../x"}, "looks like a path"),
        ({"name": ""}, "must not be empty"),
        ({"name": "a" * 300}, "too long"),
        ({"name": "run-{m}"}, "'m', which is not an argument"),
        ({"name": "run-{"}, "not a template"),
        ({"varying": ("m",)}, "varying names 'm'"),
        ({"sync": "never"}, "sync must be one of"),
        ({"replica": 1}, "replica must be a URL or a directory"),
        ({"replica": "S3:bucket"}, "a replica cannot be at S3:bucket"),
        ({"replica": "file://tmp/x"}, "a replica cannot be at file://tmp/x"),
        ({"replica": "s4://bucket/x"}, "a replica cannot be at s4://bucket/x"),
        ({"replica_seconds": 0}, "replica_seconds must be a number above 0"),
        ({"replica_seconds": True}, "replica_seconds must be a number above 0"),
        ({"replica_seconds": float("inf")}, "replica_seconds must be a number above 0"),
        ({"keep": 0}, "keep"),
        ({"background": 1}, "background must be True or False"),
        ({"renames": "m.A"}, "renames must be a mapping"),
        ({"renames": {"m.A": 1}}, "renames has 1,"),
        ({"renames": {"m.f.<locals>.A": "m.A"}}, "which is not a name with its module"),
        ({"renames": {"m.A": "m:A"}}, "renames has 'm:A'"),
        ({"version": 0}, "version must be a whole number"),
        ({"version": True}, "version must be a whole number"),
        ({"version": "2"}, "version must be a whole number"),
        ({"version": 2, "migrate": 1}, "migrate must be callable"),
        ({"migrate": lambda state, version: state}, r"Give version=2\."),
        ({"rng": 1}, "rng takes RNGs"),
        ({"signals": "SIGKILL"}, "signals names SIGKILL"),
        ({"time_limit": 0}, "time_limit must be a positive number"),
    ],
)
def test_an_option_that_cannot_work_is_refused_at_once(
    options: dict[str, Any], message: str, store_here: Path
) -> None:
    """The decorator itself raises; nothing is stored."""
    with pytest.raises(trax.UsageError, match=message):
        trax.resumable(**{"create": int, **options})(good)
    assert not store_here.exists()


@pytest.mark.parametrize("options", [{"create": None}, {"create": None, "replay_log": max}])
def test_create_is_left_out_or_a_function(options: dict[str, Any]) -> None:
    """None could mean either of two things, so the error names both."""
    with pytest.raises(trax.UsageError, match=r"not None.\nLeave it out, .*\n.*=lambda: None"):
        trax.resumable(**options)(good)


@pytest.mark.parametrize("replay_log", [None, max, lambda state, increment: state])
def test_replay_log_needs_create(replay_log: Any) -> None:
    """Without it the loop's local variables are the state, into which nothing is folded."""
    with pytest.raises(trax.UsageError, match=r"^replay_log needs create.*\n.*\nOr leave out both"):
        trax.resumable(replay_log=replay_log)(good)  # type: ignore[call-overload]


def test_without_create_all_parameters_are_arguments() -> None:
    """Of the options that name some, too."""
    loop: Any = trax.resumable(name="run-{state}", varying="state")(good)
    assert loop(1, 2).result() == 1
    with pytest.raises(trax.UsageError, match=r"'m', which is not an argument.*\n.*: state, n"):
        trax.resumable(name="run-{m}")(good)


def test_the_default_of_create_says_what_the_state_is() -> None:
    """As `help` and an editor show it."""
    assert "create: Callable[..., Any] = <the loop's local variables>" in re.sub(
        r"collections\.abc\.|typing\.", "", str(inspect.signature(trax.resumable))
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("every_step", r"\. Did you mean 'every_steps'\?"),
        ("init", r"\nIts options: create, replay_log, every_steps, .*, check\."),
    ],
)
def test_an_unknown_option_is_a_type_error_at_once(name: str, hint: str) -> None:
    """As of any function, with the option that was probably meant."""
    options: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'{hint}$"):
        trax.resumable(**options)


@pytest.mark.parametrize(
    ("call", "name", "hint"),
    [
        ("map", "exector", r"\. Did you mean 'executor'\?"),
        ("map", "progress", r"\nFor a bar, give the map to one: .*tqdm\(trax\.map\(\.\.\.\)\)\."),
        ("map", "zzz", r"\nIts options: executor, name, .*, time_limit\."),
        ("sweep", "in_fligth", r"\. Did you mean 'in_flight'\?"),
        ("sweep", "grids", r"\nIts options: executor, in_flight, progress, fresh\."),
    ],
)
def test_an_unknown_option_of_a_map_or_a_sweep_is_told(call: str, name: str, hint: str) -> None:
    options: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=rf"^{call}\(\) got .*argument '{name}'{hint}$"):
        getattr(trax, call)(abs, [], **options)


def test_the_signature_shows_every_option_with_its_type_and_default() -> None:
    """Also that of a decorator which has some of them already."""
    assert list(PARAMETERS) == list(GivenWithState.__annotations__)
    hints = get_type_hints(GivenWithState)
    assert {name: PARAMETERS[name].annotation for name in PARAMETERS} == hints
    assert get_type_hints(trax.resumable).items() >= hints.items()
    assert (PARAMETERS["keep"].default, PARAMETERS["sync"].default) == (2, "interval")
    partial: Any = trax.resumable(keep=3)
    assert inspect.signature(partial).parameters["keep"].default == 3


def test_every_option_is_documented_in_order() -> None:
    """Each has its paragraph in the docstring of `resumable`."""
    documented = (inspect.getdoc(trax.resumable) or "").partition("Returns\n---")[0]
    assert re.findall(r"^(\w+) : ", documented, re.MULTILINE) == list(PARAMETERS)


def test_the_defaults_are_checked_like_what_is_given() -> None:
    """Left out or given as it is, a default comes to the same."""
    defaults: Any = {name: parameter.default for name, parameter in PARAMETERS.items()}
    left_out = Options.check({}, "good", ["n"])
    given = Options.check(defaults, "good", ["n"])
    for field in fields(Options):
        if field.name != "policy":  # made anew for each
            assert getattr(given, field.name) == getattr(left_out, field.name)
    assert (left_out.name, left_out.is_named) == ("good", False)


def test_a_policy_is_made_of_the_three_options_for_it() -> None:
    """One that is due is enough; where there is one alone, it is used as it is."""

    def often(since: trax.Since) -> bool:
        return since.step == 2

    assert Options.check({"policy": often}, "good", ["n"]).policy is often
    policy = Options.check({"policy": often, "every_steps": 5}, "good", ["n"]).policy
    since = trax.Since(0, 0.0)
    due = []
    for since.step in range(7):
        due.append(policy(since))
    assert due == [False, False, True, False, False, True, True]


@pytest.mark.parametrize("function", [trax.Trax, trax.load])
def test_the_store_shares_the_options_of_the_decorator(function: Any) -> None:
    """An option of the same name has the same default and the same check."""
    shared = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name in ("traxdir", "sync", "replica", "replica_seconds", "keep", "renames")
    }
    assert {"traxdir", "renames"} <= set(shared)
    for name, parameter in shared.items():
        assert parameter.default == PARAMETERS[name].default
    wrongs = {"keep": 0, "sync": "never", "replica": 1, "replica_seconds": 0, "renames": "m.A"}
    for name, wrong in wrongs.items():
        if name in shared:
            with pytest.raises(trax.UsageError, match=name):
                function(**({"name": "x"} if function is trax.load else {}), **{name: wrong})


def test_one_option_can_be_checked_alone() -> None:
    """It has the type that the checked options have."""
    assert check_option("renames", None) == {}
    assert check_option("varying", "n") == ("n",)


def test_a_builtin_without_a_signature_is_taken_as_it_is() -> None:
    """Nobody knows what it takes."""
    trax.resumable(create=int, replay_log=max)(good)
