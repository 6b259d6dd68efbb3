"""The algebra of two sources against hand-computed terms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.information._pointwise_pid import TERMS, pid_levels, pointwise_pid
from unsnarl.information._reliability import EstimatorWarning

BIT = math.log(2)


def terms(found):
    return [float(getattr(found, name)) for name in TERMS]


@pytest.mark.parametrize(
    ("i1", "i2", "i12", "expected"),
    [
        (BIT, BIT, BIT, [BIT, 0, 0, 0]),  # copy
        (0, 0, BIT, [0, 0, 0, BIT]),  # exclusive or
        (BIT, 0, BIT, [0, BIT, 0, 0]),  # only the first tells
        (2.0, 0.5, 3.0, [0.5, 1.5, 0.0, 1.0]),
    ],
)
def test_min(i1, i2, i12, expected):
    assert terms(pointwise_pid(float(i1), float(i2), float(i12))) == pytest.approx(expected)


@given(st.lists(st.tuples(*[st.floats(-5, 5)] * 3), min_size=1, max_size=6), st.sampled_from(["min", "mean"]))
def test_the_four_terms_add_up(rows, kind):
    i1, i2, i12 = np.array(rows).T
    found = pointwise_pid(i1, i2, i12, kind if kind == "min" else lambda a, b, c: (a + b) / 2)
    assert found.redundancy + found.unique_1 == pytest.approx(i1)
    assert found.redundancy + found.unique_2 == pytest.approx(i2)
    assert sum(found.as_dict().values()) == pytest.approx(i12)


@given(st.tuples(*[st.floats(0, 5)] * 2), st.floats(0, 5))
def test_min_of_informations_is_never_negative(pair, more):
    found = pointwise_pid(*pair, max(pair) + more)
    assert min(terms(found)) >= 0
    assert float(found.synergy) == pytest.approx(more, abs=1e-9)


def test_specificity_and_ambiguity_by_hand():
    # h = (1, 3), i = (0.5, 2.8): specificities 1 and 3, ambiguities 0.5 and 0.2
    found = pointwise_pid(0.5, 2.8, 3.0, "specificity-ambiguity", surprisals=(1.0, 3.0))
    assert terms(found) == pytest.approx([0.8, -0.3, 2.0, 0.5])
    with pytest.warns(EstimatorWarning, match="larger of both"):
        equal = pointwise_pid(0.5, 2.8, 3.0, "specificity-ambiguity")
    assert float(equal.redundancy) == pytest.approx(2.8)  # the maximum, so that u is never above 0
    assert max(float(equal.unique_1), float(equal.unique_2)) == 0
    # priors that differ by more than the informations: all that the likelier word tells
    far = pointwise_pid(
        np.array([0.1, -0.2]),
        np.array([0.3, 0.2]),
        np.array([0.3, 0.3]),
        "specificity-ambiguity",
        surprisals=(1.0, 9.0),
    )
    assert far.redundancy == pytest.approx([0.1, -0.2])


def test_both_levels():
    i1, i2 = np.array([[[1.0, 0.0], [0.0, 2.0]]]), np.array([[[0.0, 3.0], [0.0, 1.0]]])
    maps, by_place, whole = pid_levels(i1, i2, i1 + i2)
    assert maps.redundancy[0].tolist() == [[0, 0], [0, 1]]
    assert by_place.redundancy.tolist() == [1]
    assert whole.redundancy.tolist() == [3]
    assert sum(by_place.as_dict().values()) == pytest.approx(sum(whole.as_dict().values()))
    assert by_place.shares()["redundancy"] == pytest.approx(1 / 7)
    assert maps.mean().redundancy == pytest.approx(0.25)


def test_tensors_and_shares_of_nothing():
    found = pointwise_pid(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]), torch.tensor([2.0, 2.0]))
    assert found.redundancy.tolist() == [1.0, 1.0]
    assert all(math.isnan(share) for share in pointwise_pid(0.0, 0.0, 0.0).shares().values())


def test_bad_input():
    one = np.ones(3)
    with pytest.raises(DataError, match="one shape"):
        pointwise_pid(one, one, np.ones(4))
    with pytest.raises(DataError, match="i2"):
        pointwise_pid(one, one * math.nan, one)
    with pytest.raises(OptionError, match="redundancy='max'"):
        pointwise_pid(one, one, one, "max")
    with pytest.raises(DataError, match="must return the shape"):
        pointwise_pid(one, one, one, lambda a, b, c: a[:2])
    with pytest.raises(DataError, match="not finite"):
        pointwise_pid(one, one, one, lambda a, b, c: a * math.inf)
    for bad in ((1.0,), (1.0, -2.0), (1.0, math.inf)):
        with pytest.raises(OptionError, match="surprisals"):
            pointwise_pid(one, one, one, "specificity-ambiguity", surprisals=bad)
