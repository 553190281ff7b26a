"""Crashes that can be enumerated, for tests of loops and of trax itself.

`check_resume` and `check_power_cut` are for a test of your own loop: they interrupt it at every
possible place, resume it, and compare it with an uninterrupted run.
"""

from trax._public import publish
from trax.testing.checks import Checked, check_power_cut, check_resume

__all__ = ["Checked", "check_power_cut", "check_resume"]

publish(__name__, {name: globals()[name] for name in __all__})
