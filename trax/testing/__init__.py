"""Crashes that can be enumerated, for tests of loops and of trax itself.

`check_resume` and `check_power_cut` are for a test of your own loop: they interrupt it at every
possible place, resume it, and compare it with an uninterrupted run. `check_stored` runs the stored
steps of a run again, and compares them with its log.
"""

from trax._public import public
from trax.testing.checks import Checked, check_power_cut, check_resume
from trax.testing.stored import check_stored

__all__ = ["Checked", "check_power_cut", "check_resume", "check_stored"]

for _name in __all__:
    public(globals()[_name], package=__name__)
