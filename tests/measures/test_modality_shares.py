"""Shares of modalities on outcomes whose causes are known, and the Cox fit beneath."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from unsnarl.errors import DataError, OptionError
from unsnarl.measures._cox import fit_cox
from unsnarl.measures._modality_shares import cross_fitted_risk, modality_shares, risk_by_ridge

NOISE = math.pi**2 / 6


def outcomes(risk, seed, censored=True):
    rng = np.random.default_rng(seed)
    died = rng.exponential(np.exp(-risk))
    left = rng.exponential(2.0, len(risk)) if censored else np.full(len(risk), np.inf)
    return np.minimum(died, left), died <= left


def test_cox_maximises_the_partial_likelihood():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 2))
    time, event = outcomes(x @ [1.0, -0.5], 1)
    time = np.round(time, 1)  # ties

    def loss(beta, ridge=0.0):
        eta = x @ beta
        terms = [eta[i] - np.log(np.exp(eta[time >= time[i]]).sum()) for i in np.flatnonzero(event)]
        return -sum(terms) + 0.5 * ridge * beta @ beta

    fit = fit_cox(x, time, event)
    np.testing.assert_allclose(fit.beta, minimize(loss, np.zeros(2)).x, atol=1e-3)
    assert fit.gain == pytest.approx(loss(np.zeros(2)) - loss(fit.beta), rel=1e-9)
    step = 1e-4 * np.eye(2)
    curvature = [
        [
            (loss(fit.beta + a + b) - loss(fit.beta + a - b) - loss(fit.beta - a + b) + loss(fit.beta - a - b)) / 4e-8
            for b in step
        ]
        for a in step
    ]
    np.testing.assert_allclose(np.linalg.inv(fit.covariance), curvature, rtol=1e-3)
    ridge = fit_cox(x, time, event, ridge=20.0)
    np.testing.assert_allclose(ridge.beta, minimize(loss, np.zeros(2), (20.0,)).x, atol=1e-3)
    assert np.linalg.norm(ridge.beta) < np.linalg.norm(fit.beta)


def test_cox_survives_separation():
    x = np.arange(20.0)[:, None]
    fit = fit_cox(x, 20 - np.arange(20.0), np.ones(20, dtype=bool), ridge=1e-3)
    assert np.isfinite(fit.beta).all()
    assert fit.beta[0] > 1


@pytest.mark.parametrize("censored", [False, True])
@pytest.mark.parametrize(
    ("slide", "genes", "common"), [(1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.5, 1.0, 0.0)]
)
def test_shares_are_the_known_ones(slide, genes, common, censored):
    rng = np.random.default_rng(0)
    a, b, c, junk = rng.standard_normal((4, 8000))
    time, event = outcomes(slide * a + genes * b + common * c, 1, censored)
    first = slide * a + common * c
    second = genes * b + common * c + (junk if genes == common == 0 else 0)
    event[:450] = False  # censored at random; not all had the event
    shares = modality_shares(time, event, {"slide": first, "genes": second}, bootstrap=0)
    total = slide**2 + genes**2 + common**2 + NOISE
    want = {
        "slide alone": slide**2 / total,
        "genes alone": genes**2 / total,
        "slide and genes in common": common**2 / total,
        "together": 1 - NOISE / total,
        "none": NOISE / total,
    }
    assert dict(shares) == pytest.approx(want, abs=0.035)


def test_parts_sum_to_one_and_units_do_not_matter():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 3)) + rng.standard_normal((300, 1))
    time, event = outcomes(x.sum(1) / 2, 2)
    risks = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2]}
    shares = modality_shares(time, event, risks, bootstrap=0)
    assert list(shares) == [
        "a alone", "b alone", "c alone", "a and b in common", "a and c in common", "b and c in common",
        "a, b and c in common", "together", "none",
    ]  # fmt: skip
    assert sum(v for k, v in shares.items() if k != "together") == pytest.approx(1)
    assert shares["a, b and c in common"] > 0.1
    scaled = modality_shares(10 * time, event, {k: 5 * v - 3 for k, v in risks.items()}, bootstrap=0)
    assert dict(scaled) == pytest.approx(dict(shares), abs=1e-6)
    swapped = modality_shares(time, event, {"c": x[:, 2], "a": x[:, 0], "b": x[:, 1]}, bootstrap=0)
    assert swapped["a alone"] == pytest.approx(shares["a alone"], abs=1e-6)


def test_a_modality_without_information_has_nothing_on_average():
    rng = np.random.default_rng(2)
    found = []
    for seed in range(40):
        a, junk = rng.standard_normal((2, 100))
        time, event = outcomes(a, seed)
        found.append(list(modality_shares(time, event, {"a": a, "junk": junk}, bootstrap=0).values()))
    found = np.array(found)
    assert found[:, 1].mean() == pytest.approx(0, abs=0.006)  # 0.012 without the correction for sampling noise
    assert found[:, 0].mean() == pytest.approx(1 / (1 + NOISE), abs=0.04)


def test_intervals_cover():
    inside = 0
    for seed in range(20):
        a, b = np.random.default_rng(seed).standard_normal((2, 150))
        time, event = outcomes(a + b, seed + 100)
        low, high = modality_shares(time, event, {"a": a, "b": b}, bootstrap=30, seed=seed).intervals["a alone"]
        inside += low <= 1 / (2 + NOISE) <= high
    assert inside >= 16


def test_embeddings_become_risks_of_patients_not_seen():
    rng = np.random.default_rng(3)
    a = rng.standard_normal(300)
    time, event = outcomes(a, 4)
    embedding = np.column_stack([a, rng.standard_normal((300, 20))])
    junk = rng.standard_normal((300, 20))
    shares = modality_shares(time, event, {"good": embedding, "junk": junk}, bootstrap=0)
    assert shares["good alone"] > 0.2
    assert (
        abs(shares["junk alone"]) < 0.03
    )  # twenty columns would look informative if fitted and judged on the same patients
    assert np.corrcoef(cross_fitted_risk(embedding, time, event), a)[0, 1] > 0.8
    np.testing.assert_allclose(
        risk_by_ridge(embedding, time, event, embedding[:3]),
        risk_by_ridge(7 * embedding, time, event, 7 * embedding[:3]),
    )


def test_bad_input():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50))
    time, event = outcomes(a, 0)
    with pytest.raises(OptionError, match="2 to 6"):
        modality_shares(time, event, {"a": a})
    with pytest.raises(DataError, match="at least 10 events"):
        modality_shares(time, np.arange(50) < 4, {"a": a, "b": b})
    with pytest.raises(DataError, match="constant"):
        modality_shares(time, event, {"a": a, "b": np.ones(50)})
    with pytest.raises(DataError, match="one row an observation"):
        modality_shares(time, event, {"a": a, "b": b[:-1]})
    with pytest.raises(DataError, match="not finite"):
        modality_shares(time, event, {"a": a, "b": np.full(50, np.nan)})
