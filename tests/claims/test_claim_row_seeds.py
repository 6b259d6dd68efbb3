"""Rows that use fewer seeds than their claim."""

import dataclasses

import pytest

from unsnarl.claims import Row, run_claim
from unsnarl.errors import OptionError


def test_an_ablation_may_use_the_first_seeds_only(tiny, tmp_path, ran):
    rows = [dataclasses.replace(r, seeds=2) if r.name == "ablation" else r for r in tiny.claim.rows]
    claim = dataclasses.replace(tiny.claim, rows=rows)
    record = run_claim(claim, seeds=4, runs=tmp_path / "runs", records=tmp_path, progress=False)
    by_name = {row["name"]: row for row in record["rows"]}
    assert by_name["ablation"]["seeds"] == [0, 1]
    assert len(by_name["ablation"]["system"]) == len(by_name["ablation"]["baseline"]) == 2
    assert by_name["score"]["seeds"] == [0, 1, 2, 3]
    assert by_name["ablation"]["system"] == by_name["score"]["system"][:2]
    # learner and peer in two conditions for four seeds, the ablation for two, and six tuning runs
    assert len(ran()) == 4 * 4 + 2 + 6


def test_a_row_that_decides_uses_all_seeds():
    with pytest.raises(OptionError, match="decides the claim and so uses all seeds"):
        Row("x", metric="score", system="a", baseline="b", seeds=2)
