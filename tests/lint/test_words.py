"""Functions that are known by their names."""

from __future__ import annotations

import pytest

from trax.lint import words


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("next", "changes_first_argument"),
        ("heapq.heappush", "changes_first_argument"),
        ("rng.shuffle", "changes_first_argument"),
        ("np.copyto", "changes_first_argument"),
        ("np.add.at", "changes_first_argument"),
        ("self.logger.info", "is_report"),
        ("progress_bar.advance", "is_report"),
        ("sys.stderr.fileno", "is_report"),
        ("rich.progress.track", "is_bar"),
        ("time.time_ns", "is_clock"),
        ("datetime.datetime.now", "is_clock"),
        ("secrets.randbelow", "is_clock"),
        ("os.urandom", "is_clock"),
        ("np.random.default_rng", "makes_rng"),
        ("np.random.normal", "draws_from_shared"),
        ("self._rng.normal", "draws_from_shared"),
        ("torch.randn", "draws_from_shared"),
        ("torch.manual_seed", "seeds"),
        ("seed", "seeds"),
        ("os.remove", "removes_file"),
        ("shutil.rmtree", "cleans_up"),
        ("client.post", "stores"),
        ("frame.to_csv", "stores"),
        ("model.save_weights", "stores"),
        ("weights_to_disk", "stores"),
        ("tempfile.mkdtemp", "is_temporary"),
        ("json.load", "reads_file"),
        ("_memo_of_rows", "is_cache"),
        ("memoized", "is_cache"),
        ("lookupCache", "is_cache"),
    ],
)
def test_a_name_tells(name: str, asked: str) -> None:
    """Whatever module or object the function belongs to."""
    assert getattr(words, asked)(name)


@pytest.mark.parametrize(
    "name",
    [
        *("copyto", "at", "().at", "().place", "nextra", "insorted", "reported", "times"),
        *("today", "event.time", "Randomness", "torch.rand.x", "model.seed", "table.rename"),
        *("saved", "save_", "to_disk", "other.mkdtemp", "a.b", "replay_memory", "Memories"),
    ],
)
def test_a_name_that_is_only_alike_tells_nothing(name: str) -> None:
    """Neither a part of a name, nor one of another module."""
    asked = {*words.__all__} - {"NOISE", "stores" if name == "table.rename" else ""}
    assert not [one for one in sorted(asked) if getattr(words, one)(name)]
