"""The preview of a repair: just the files that the repair will leave."""

from __future__ import annotations

import pytest
from harm import HARMED, always, harmed, mend
from support import NAME

from trax.fsck.prefix import prefixes
from trax.fsck.preview import Preview, leads_to, recover, still_leads
from trax.fsck.repair_plan import Plan, make_plan
from trax.fsck.scan import Scan
from trax.testing.memory import MemoryDirectory


def planned(directory: MemoryDirectory) -> Plan:
    """Return the plan that keeps most, which leads where it says."""
    scan = Scan(directory, NAME)
    [best, *_] = prefixes(directory, scan, always)
    plan = make_plan(scan, best)
    assert leads_to(directory, NAME, plan, best)
    return plan


@pytest.mark.parametrize("text", HARMED)
def test_a_preview_has_the_files_that_the_repair_leaves(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte; and nothing is changed by looking."""
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)  # of a new header block
    directory = MemoryDirectory(harmed(text))
    preview = Preview(directory, planned(directory))
    seen = {}
    for name in preview.list():
        file = preview.open(name)
        seen[name] = bytes(file.read_at(0, file.size))
        assert bytes(file.read_at(1000, 100)) == seen[name][1000:1100]
        file.close()
    assert not directory.operations
    mend(directory)
    assert seen == directory.files()


@pytest.mark.parametrize("text", HARMED)
def test_a_preview_is_recovered_like_any_run(text: str) -> None:
    """The run itself is not; and a preview takes nothing."""
    directory = MemoryDirectory(harmed(text))
    plan = planned(directory)
    assert recover(directory, NAME) is None
    found = recover(Preview(directory, plan), NAME)
    assert found
    assert found.step == plan.step
    with pytest.raises(AssertionError, match="only read"):
        Preview(directory, plan).remove("log-00000001")


@pytest.mark.parametrize("text", HARMED)
def test_a_plan_leads_nowhere_once_what_it_keeps_is_gone(text: str) -> None:
    """Then it must not be carried out."""
    directory = MemoryDirectory(harmed(text))
    plan = planned(directory)
    assert still_leads(directory, NAME, plan)
    kept = [name for name in Preview(directory, plan).list() if name in directory.list()]
    for name in kept:
        directory.remove(name)
    assert not still_leads(directory, NAME, plan)
