import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import Score
from unsnarl.measures._sap import sap


def problem(n=900, seed=0):
    """Codes of very different scale and offset, with factors of two, five and four (skewed) values."""
    rng = np.random.default_rng(seed)
    skewed = rng.choice(4, p=[0.7, 0.2, 0.07, 0.03], size=n)
    factors = np.stack([rng.integers(2, size=n), rng.integers(5, size=n), skewed], axis=1)
    codes = rng.normal(size=(n, 6))
    codes[:, 0] += factors[:, 0]
    codes[:, 1] = 50 * codes[:, 1] + 30 * factors[:, 1]
    codes[:, 2] = 0.01 * codes[:, 2] + 0.02 * factors[:, 2] + 3
    codes[:, 3] = np.round(codes[:, 3] + factors[:, 1])
    codes[:, 4] = 2.0
    return codes, factors


def converged(codes, factors, new_codes, new_factors, C=0.01):
    scores = np.empty((codes.shape[1], factors.shape[1]))
    for i in range(codes.shape[1]):
        for j in range(factors.shape[1]):
            machine = LinearSVC(C=C, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000)
            scores[i, j] = machine.fit(codes[:, [i]], factors[:, j]).score(new_codes[:, [i]], new_factors[:, j])
    return scores


@pytest.mark.parametrize(("seed", "C"), [(0, 0.01), (1, 0.01), (2, 1.0), (3, 1e-4)])
def test_equals_converged_support_vector_machines(seed, C):
    codes, factors = problem(seed=seed)
    parts = codes[:600], factors[:600], codes[600:], factors[600:]
    score = sap(*parts[:2], test_codes=parts[2], test_factors=parts[3], kinds="discrete", C=C)
    expected = converged(*parts, C=C)
    expected[4, 0] = score.matrix[4, 0]  # balanced classes on a constant latent: the machine cannot decide
    np.testing.assert_allclose(score.matrix, expected, rtol=0, atol=1e-6)
    assert score.matrix[4, 0] == np.mean(parts[3][:, 0] == 0)  # and takes the lower class
    top = np.sort(expected, axis=0)
    assert score == pytest.approx((top[-1] - top[-2]).mean(), abs=1e-9)
    np.testing.assert_allclose(score.per_factor, top[-1] - top[-2], atol=1e-9)
    assert isinstance(score, Score)


def test_continuous_factors_use_squared_correlation():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(500, 2))
    codes = np.column_stack([factors @ [[1.0], [0.4]], factors[:, 1] * 1e-8, factors[:, 0] ** 2, np.full(500, 3.0)])
    score = sap(codes, factors)
    expected = np.corrcoef(codes[:, [0, 2]].T, factors.T)[:2, 2:] ** 2
    np.testing.assert_allclose(score.matrix[[0, 2]], expected, atol=1e-12)
    np.testing.assert_array_equal(score.matrix[[1, 3]], 0)  # variance below 1e-12, as published
    gap = np.sort(score.matrix, axis=0)[-1] - np.sort(score.matrix, axis=0)[-2]
    assert score == pytest.approx(gap.mean())


def test_mixed_factors_and_a_copied_latent():
    rng = np.random.default_rng(0)
    factors = pd.DataFrame({"hue": rng.normal(size=800), "kind": rng.choice(["cat", "dog"], size=800)})
    codes = np.column_stack([factors["hue"], factors["kind"] == "dog"]) * 4.0
    score = sap(codes, factors)
    assert score.per_factor[0] > 0.95  # squared correlation 1 against near 0
    assert 0.35 < score.per_factor[1] <= 0.55  # accuracy 1 against chance
    assert sap(np.repeat(codes, 2, axis=1), factors) == pytest.approx(0)


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([None, 2, 4]))
@settings(max_examples=25, deadline=None)
def test_order_does_not_matter_and_the_score_is_a_fraction(seed, levels):
    rng = np.random.default_rng(seed)
    codes, factors = problem(120, seed)
    factors[:8, 2] = [0, 0, 1, 1, 2, 2, 3, 3]
    if levels:
        codes = np.floor(levels * rng.random(codes.shape))
    held = {"test_codes": codes[:60], "test_factors": factors[:60]}
    plain = sap(codes, factors, kinds="discrete", **held)
    assert 0 <= plain <= 1
    assert ((plain.matrix >= 0) & (plain.matrix <= 1)).all()
    rows, latents, order = rng.permutation(120), rng.permutation(6), rng.permutation(3)
    held = {"test_codes": codes[:60][:, latents], "test_factors": factors[:60][:, order]}
    other = sap(codes[rows][:, latents], factors[rows][:, order], kinds="discrete", **held)
    np.testing.assert_allclose(plain.matrix[latents][:, order], other.matrix, atol=1e-9)


def test_same_seed_same_number_and_halves_give_an_interval():
    codes, factors = problem(400)
    one, two = (sap(codes, factors, seed=1, bootstrap=20) for _ in range(2))
    assert (one, one.interval) == (two, two.interval)
    assert one.low < one < one.high < one.low + 0.3
    assert sap(codes, factors, seed=1).interval is None


def test_one_latent_has_no_second_best():
    codes, factors = problem(200)
    with pytest.warns(UserWarning, match="single one"):
        score = sap(codes[:, :1], factors)
    assert np.isnan(score)
    assert score.matrix.shape == (1, 3)


def test_bad_input_is_named():
    codes, factors = problem(100)
    with pytest.raises(DataError, match="codes has 100, factors has 99"):
        sap(codes, factors[:-1])
    bad = codes.copy()
    bad[3, 2] = np.inf
    with pytest.raises(DataError, match="infinite at row 3, column 2"):
        sap(bad, factors)
    with pytest.raises(DataError, match="'factor 0' has the same value"):
        sap(codes, factors * [0, 1, 1])
    rare = factors.copy()
    rare[7, 1] = 9
    with pytest.raises(DataError, match="'factor 1' has the value 9 in one row only"):
        sap(codes, rare)
    with pytest.raises(OptionError, match="C=0"):
        sap(codes, factors, C=0)
    with pytest.raises(OptionError, match="given together"):
        sap(codes, factors, test_factors=factors)
