import copy
import json
import math
import pickle

import numpy as np
import pytest

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import Score, Scores, half_sample_intervals


def test_a_score_is_a_float():
    score = Score(0.25, name="mig", interval=(0.2, 0.3), matrix=np.eye(2), extra={"parents": [1, 0]})
    assert isinstance(score, float)
    assert score + 1 == 1.25
    assert f"{score:.1f}" == "0.2"
    assert repr(score) == "Score(mig=0.250 [0.200, 0.300])"
    assert json.dumps(score) == "0.25"
    assert score.parents == [1, 0]


def test_a_score_without_interval():
    score = Score(0.25, name="sap")
    assert score.interval is None
    assert math.isnan(score.low)
    assert repr(score) == "Score(sap=0.250)"
    with pytest.raises(AttributeError, match="the score has no 'parents'; it has low, high, matrix, per_factor"):
        _ = score.parents


@pytest.mark.parametrize("twin", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy])
def test_copies_keep_everything(twin):
    score = twin(Score(0.25, name="mig", interval=(0.2, 0.3), per_factor=np.ones(3), extra={"parents": [1, 0]}))
    assert (score, score.interval, score.name, score.parents) == (0.25, (0.2, 0.3), "mig", [1, 0])
    assert score.per_factor.tolist() == [1, 1, 1]
    scores = twin(Scores({"a": 0.5}, matrices={"m": np.eye(2)}, extra={"active": [True]}, measure="x"))
    assert scores.a == 0.5
    assert scores.m.shape == (2, 2)
    assert scores.active == [True]


def test_scores_are_a_mapping_with_attributes():
    scores = Scores({"a": 0.5, "b": math.nan}, intervals={"a": (0.4, 0.6)}, matrices={"m": np.eye(2)}, measure="test")
    assert list(scores) == ["a", "b"]
    assert scores["a"].interval == scores.a.interval == (0.4, 0.6)
    assert scores["a"].matrix is scores.m
    assert repr(scores) == "test(a=0.500 [0.400, 0.600], b=nan)"
    assert {"a", "b", "m"} <= set(dir(scores))
    assert json.loads(json.dumps(scores.to_dict())) == {
        "a": {"value": 0.5, "interval": [0.4, 0.6]},
        "b": {"value": None, "interval": None},
    }
    with pytest.raises(AttributeError, match="test has no 'c'; it has a, b, m"):
        _ = scores.c
    with pytest.raises(KeyError):
        _ = scores["c"]


def test_intervals_cover_the_truth_as_often_as_they_say():
    """The mean of 400 values has standard error s / 20; 95% intervals should cover it in about 95% of 300 samples."""
    rng = np.random.default_rng(0)
    covered, width = 0, []
    for _ in range(300):
        x = rng.exponential(size=400)
        interval = half_sample_intervals(
            lambda rows, x=x: {"mean": x[rows].mean()}, {"mean": x.mean()}, 400, repeats=100, seed=0
        )["mean"]
        covered += interval[0] < 1 < interval[1]
        width.append(interval[1] - interval[0])
    assert 0.90 < covered / 300 < 0.98
    assert np.mean(width) == pytest.approx(2 * 1.96 / 20, rel=0.08)


def test_halves_have_no_repeats_and_undefined_halves_are_left_out():
    seen = []

    def estimate(rows):
        seen.append(rows)
        return {"a": math.nan if len(seen) % 2 else len(seen), "never": math.nan, "other": 1.0}

    intervals = half_sample_intervals(estimate, {"a": 3.0, "never": 1.0}, 21, repeats=10)
    assert all(len(rows) == len(np.unique(rows)) == 10 for rows in seen)
    assert list(intervals) == ["a"]


def test_intervals_out_of_range():
    with pytest.raises(OptionError, match="bootstrap=1 must be an integer at least 2"):
        half_sample_intervals(lambda rows: {}, {}, 100, repeats=1)
    with pytest.raises(DataError, match="an interval needs at least 8 observations, got 7"):
        half_sample_intervals(lambda rows: {}, {}, 7, repeats=10)
