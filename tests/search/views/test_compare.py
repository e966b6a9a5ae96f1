"""`posefront compare`: sweeps of one panel on one page, and nothing else."""

import pytest

from search.views import compare
from search.views.show import find
from spaces import InputError
from tests.search.simulated import simulated


def test_groups_are_names_or_repeats():
    assert compare.parse_groups(["a-1", "x=a-2,a-3"]) == {"a-1": ["a-1"], "x": ["a-2", "a-3"]}
    for given, said in (
        (["a-1"], "two sweeps or more"), (["a-1", "a-1"], "there twice"), (["x=a,b", "y=b"], "'b' is there twice"),
        (["x=", "y=b"], "should be a sweep's name"), (["=a", "b"], "should be a sweep's name"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            compare.parse_groups(given)


def test_sweeps_of_one_panel_are_compared_and_others_refused(tmp_path):
    for number in range(4):
        simulated(tmp_path, f"s-{number}", trials=5, seed=number)
    groups = {
        name: [find(tmp_path, s) for s in names] for name, names in {"a": ("s-0", "s-1"), "b": ("s-2", "s-3")}.items()
    }
    written = compare.write(groups, None, "posefront compare")
    assert written.path == tmp_path / "s-0" / "compare-a-b.html" and written.size < 15_000_000
    page = written.path.read_text(encoding="utf-8")
    assert all(f"{found.hypervolume:.4f}" in page for several in groups.values() for found in several)
    for change, said in (
        ({"subject": "puppets/person"}, "has the subject"), ({"require": ("drift < 0.2",)}, "requires drift < 0.2"),
    ):  # fmt: skip
        name = f"other-{said.split()[0]}"
        simulated(tmp_path, name, trials=2, **change)
        with pytest.raises(InputError, match=said):
            compare.page_of({"a": [groups["a"][0]], "b": [find(tmp_path, name)]}, "")
