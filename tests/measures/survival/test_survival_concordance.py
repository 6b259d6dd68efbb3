"""Concordance, its interval, curves, risk groups and scores of curves."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy import stats

from unsnarl.errors import DataError, MissingExtraError, OptionError
from unsnarl.measures.survival import concordance, dynamic_auc, integrated_brier, kaplan_meier, log_rank, risk_groups
from unsnarl.measures.survival._concordance import _pairs, bootstrap_concordance


def patients(n=120, seed=0, effect=1.0):
    rng = np.random.default_rng(seed)
    risk = rng.standard_normal(n)
    died, left = rng.exponential(np.exp(-effect * risk)), rng.exponential(1.5, n)
    return np.round(np.minimum(died, left), 2) + 0.01, died <= left, risk  # rounded: ties


def by_hand(time, event, risk) -> float:
    good = total = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
                total += 1
                good += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    return good / total


def test_without_the_package(monkeypatch):
    for module in ("sksurv", "sksurv.metrics", "sksurv.nonparametric"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"unsnarl\[survival\]"):
        concordance([1, 2], [True, False], [1, 0])
    with pytest.raises(MissingExtraError):
        kaplan_meier([1, 2], [True, False])


def test_pair_matrices_give_harrells_c():
    time, event, risk = patients(50)
    risk = np.round(risk, 1)
    comparable, concordant = _pairs(time, event, risk, slice(0, 50))
    assert concordant.sum() / comparable.sum() == pytest.approx(by_hand(time, event, risk))


def test_the_bootstrap_is_that_of_drawn_patients():
    time, event, risk = patients(40)
    low, high = bootstrap_concordance(time, event, risk, 400, seed=3)
    rng = np.random.default_rng(3)
    values = []
    for w in rng.multinomial(40, np.full(40, 1 / 40), size=400):
        rows = np.repeat(np.arange(40), w)
        values.append(by_hand(time[rows], event[rows], risk[rows]))
    np.testing.assert_allclose([low, high], np.quantile(values, [0.025, 0.975]), atol=1e-6)


def test_the_interval_covers():
    # the C of a large sample lies in about 95% of the intervals of small ones
    big = bootstrap_concordance(*patients(1500, seed=99), 2, level=0.01)
    truth = np.mean(big)
    inside = 0
    for seed in range(100):
        low, high = bootstrap_concordance(*patients(60, seed=seed), 100, seed=seed)
        inside += low <= truth <= high
    assert inside >= 88


def test_concordance_against_counting_pairs():
    pytest.importorskip("sksurv")
    time, event, risk = patients()
    score = concordance(time, event, np.round(risk, 1), bootstrap=100)
    assert score == pytest.approx(by_hand(time, event, np.round(risk, 1)))
    assert score.low < score < score.high
    assert score.pairs > 1000
    assert concordance(time, event, -risk) == pytest.approx(1 - concordance(time, event, risk))
    assert concordance(time, event, np.zeros(120)) == 0.5
    assert concordance(torch.tensor(time), torch.tensor(event), torch.tensor(risk)) == pytest.approx(
        concordance(time, event, risk)
    )
    assert concordance(time, event, risk).interval is None


def test_what_concordance_refuses():
    pytest.importorskip("sksurv")
    time, event, risk = patients(20)
    with pytest.raises(DataError, match="19 values for 20"):
        concordance(time, event, risk[:-1])
    with pytest.raises(DataError, match="not finite"):
        concordance(time, event, np.full(20, np.nan))
    with pytest.raises(DataError, match="no two patients"):
        concordance([1, 2, 3], [0, 0, 1], [1, 2, 3])
    with pytest.raises(OptionError, match="bootstrap"):
        concordance(time, event, risk, bootstrap=-1)
    with pytest.raises(DataError, match="no draw"):
        bootstrap_concordance(np.array([1.0, 2, 3]), np.array([False, False, True]), np.ones(3), 5)


def test_a_curve_by_hand():
    pytest.importorskip("sksurv")
    curve = kaplan_meier([1, 2, 2, 3, 5], [True, True, False, True, False])
    np.testing.assert_allclose(curve.time, [0, 1, 2, 3, 5])
    np.testing.assert_allclose(curve.survival, [1, 0.8, 0.8 * 3 / 4, 0.6 / 2, 0.3])
    np.testing.assert_array_equal(curve.at_risk, [5, 5, 4, 2, 1])
    assert curve.median == 3
    np.testing.assert_allclose(curve([0.5, 1, 2.9, 5]), [1, 0.8, 0.6, 0.3])
    assert np.isnan(curve(5.1))
    assert (curve.low <= curve.survival).all()
    assert (curve.survival <= curve.high).all()
    # log-log interval at the first event: S ** exp(+- z se), se = sqrt(Greenwood sum) / |log S|
    reach = 1.959964 * np.sqrt(1 / (5 * 4)) / abs(np.log(0.8))
    np.testing.assert_allclose([curve.low[1], curve.high[1]], 0.8 ** np.exp([reach, -reach]), rtol=1e-5)
    assert np.isnan(kaplan_meier([1, 2, 3, 4], [True, False, False, False]).median)
    assert "5 patients, 3 events" in repr(curve)


def test_risk_groups():
    pytest.importorskip("sksurv")
    time, event, risk = patients(200)
    halves = risk_groups(time, event, risk)
    assert [curve.n for curve in halves.curves] == [100, 100]
    assert halves.names == ("low", "high")
    assert halves.curves[0](1.0) > halves.curves[1](1.0) + 0.2
    assert halves.p < 1e-4
    thirds = risk_groups(time, event, risk, groups=3)
    assert [curve.n for curve in thirds.curves] == [67, 66, 67]
    np.testing.assert_array_equal(thirds.group == 2, risk > thirds.thresholds[1])
    given = risk_groups(time, event, risk, thresholds=[-1.0, 0.0, 1.0])
    assert given.names[0] == "group 1"
    with pytest.raises(DataError, match="hold nobody"):
        risk_groups(time, event, risk, thresholds=[50.0])
    with pytest.raises(OptionError, match="ascend"):
        risk_groups(time, event, risk, thresholds=[1.0, 0.0])
    with pytest.raises(DataError):
        risk_groups(time, event, np.zeros(200))


def test_a_group_without_events_has_a_flat_curve():
    pytest.importorskip("sksurv")
    groups = risk_groups([1, 2, 3, 4, 5, 6], [1, 1, 1, 0, 0, 0], [6, 5, 4, 3, 2, 1])
    assert (groups.curves[0].survival == 1).all()
    assert groups.curves[0].events == 0


def test_the_log_rank_p_is_uniform_without_a_difference():
    pytest.importorskip("sksurv")
    ps = []
    for seed in range(60):
        time, event, _ = patients(60, seed=seed)
        ps.append(log_rank(time, event, np.arange(60) % 2)[1])
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    with pytest.raises(DataError, match="at least two groups"):
        log_rank([1, 2], [1, 0], [1, 1])


def test_scores_of_curves():
    pytest.importorskip("sksurv")
    time, event, risk = patients(400)
    y = np.empty(400, dtype=[("event", "?"), ("time", "<f8")])
    y["event"], y["time"] = event, time
    times = np.array([0.3, 0.6, 0.9])
    true = np.exp(-times[None] * np.exp(risk)[:, None])
    flat = np.tile(true.mean(0), (400, 1))
    assert integrated_brier(y, y, true, times) < integrated_brier(y, y, flat, times) - 0.02
    auc = dynamic_auc(y, y, risk, times)
    assert 0.75 < auc < 0.95
    assert auc.auc.shape == (3,)
    assert dynamic_auc(y, y, -risk, times) == pytest.approx(1 - auc)
    with pytest.raises(DataError, match=r"expected \(400, 3\)"):
        integrated_brier(y, y, true[:, :2], times)
    with pytest.raises(DataError, match="must lie in"):
        integrated_brier(y, y, 2 * true, times)
    with pytest.raises(DataError, match="cannot be computed"):
        integrated_brier(y, y, true, [0.3, 0.6, 99.0])
    with pytest.raises(DataError, match="cannot be computed"):
        dynamic_auc(y, y, risk, [99.0])
    with pytest.raises(OptionError, match="SurvivalData"):
        dynamic_auc(np.ones(3), y, risk, times)
