"""Functions that no name leads to keep what they share with others, and run the present code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from support import run_script

from trax.frames.functions import inner, reduce_function
from trax.frames.generators import Place
from trax.frames.iterators import reductions
from trax.storage.codec import decode, encode

SHARED: list[int] = []


def copied(one: Any) -> Any:
    return decode(encode(one, "it", shared=reductions()), "it")


def counter() -> tuple[Callable[[], int], Callable[[], int]]:
    count = 0

    def add(by: int = 1, *, also: int = 0) -> int:
        """Add."""
        nonlocal count
        count += by + also
        SHARED.append(count)
        return count

    def get() -> int:
        return count

    add.limit = 3  # type: ignore[attr-defined]
    return add, get


def test_variables_stay_shared() -> None:
    add, get = counter()
    add()
    again = copied((add, get, add))
    assert again[0] is again[2]
    assert again[0]() == again[1]() == 2
    assert get() == 1
    assert again[0].limit == 3
    assert (again[0].__defaults__, again[0].__kwdefaults__) == ((1,), {"also": 0})
    assert again[0].__doc__ == "Add."
    assert again[0].__qualname__ == add.__qualname__
    if sys.version_info < (3, 14):
        assert again[0].__annotations__ == add.__annotations__


def test_variables_of_the_module_are_its_own() -> None:
    add, _ = counter()
    again = copied(add)
    assert again.__globals__ is globals()
    before = len(SHARED)
    again()
    assert len(SHARED) == before + 1


def test_functions_that_lead_to_themselves() -> None:
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    def even(n: int) -> bool:
        return not n or odd(n - 1)

    def odd(n: int) -> bool:
        return bool(n) and even(n - 1)

    assert copied(factorial)(5) == 120
    again = copied([even, odd])
    assert (again[0](10), again[1](10)) == (True, False)


def test_lambdas_and_functions_in_methods_and_decorators() -> None:
    table = [lambda x, n=n: x + n for n in range(3)]
    assert [one(1) for one in copied(table)] == [1, 2, 3]

    class Local:
        def method(self) -> Any:
            return lambda: self

    local = Local()
    again = copied((local.method(), local))
    assert again[0]() is again[1]

    @contextlib.contextmanager
    def managed() -> Iterator[int]:
        yield 5

    with copied(managed)() as five:
        assert five == 5


def test_functions_without_a_place_share_their_variables_too() -> None:
    variables: dict[str, Any] = {"__name__": "nowhere"}
    exec(
        "def make():\n"
        "    n = 0\n"
        "    def add():\n"
        "        nonlocal n\n"
        "        n += 1\n"
        "        return n\n"
        "    return add, lambda: n\n",
        variables,
    )
    add, get = variables["make"]()
    assert reduce_function(add) is NotImplemented
    again = copied((add, get))
    assert again[0]() == again[1]() == 1
    assert get() == 0


MADE = """
import sys
from trax.frames.iterators import reductions
from trax.storage.codec import decode, encode

seen = []

def make(n):
    def inside():
        seen.append(n)
        return {result}
    return inside

if sys.argv[1] == "store":
    encoded = encode(make(5), "it", shared=reductions())
    open("../stored", "wb").write(encoded.payload)
    print(encoded.kind)
else:
    from trax.storage.codec import Encoded
    again = decode(Encoded(int(sys.argv[2]), open("../stored", "rb").read(), []), "it")
    print(again(), seen)
"""


def test_another_process_runs_its_own_code() -> None:
    kind = run_script(MADE.format(result="n"), "store").stdout.strip()
    assert run_script(MADE.format(result="n + 1"), "load", kind).stdout == "6 [5]\n"


LAMBDAS = """
import sys
import trax

ADDED
steps = [lambda i: i + 1, lambda i: i * 10]

@trax.resumable(every_steps=1)
def loop(n):
    step = steps[1]
    for i in range(n):
        yield step(i)

for increment in (run := loop(6)):
    print(increment)
    if run.step == int(sys.argv[1]):
        break
"""


def test_a_lambda_is_known_by_its_text_when_others_come_before_it() -> None:
    """By its number alone it would be another one: all of a file have one name."""
    begun = run_script(LAMBDAS.replace("ADDED", ""), "3").stdout
    resumed = run_script(LAMBDAS.replace("ADDED", "first = lambda: 0"), "-1").stdout
    assert (begun + resumed).split() == ["0", "10", "20", "30", "40", "50"]


def test_a_lambda_among_others_that_was_changed_is_not_guessed() -> None:
    run_script(LAMBDAS.replace("ADDED", ""), "3")
    changed = LAMBDAS.replace("ADDED", "first = lambda: 0").replace("i * 10", "i * 20")
    refused = run_script(changed, "-1", check=False)
    assert "the function <lambda> of __main__ has changed in number and text" in refused.stderr


NUMBERED = [lambda: 0, lambda: 1]


def test_a_lambda_of_an_older_version_is_known_by_its_number() -> None:
    """Its text was not stored."""
    assert inner(Place(__name__, "<lambda>", 1, ""), {})() == 1
