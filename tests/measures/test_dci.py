import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import Scores
from unsnarl.measures._dci import _concentration, _weighted, dci


def mixed(n=900, seed=0, noise=0.6):
    """Three discrete factors and codes that mix them, in three steps so that no node has two best splits."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(3, size=n), rng.integers(2, size=n), rng.integers(4, size=n)], axis=1)
    mixing = np.array([[1.0, 0.2, 0.0, 0.3], [0.0, 1.5, 0.5, 0.0], [0.1, 0.0, 0.8, 0.4]])
    codes = np.clip(np.round(factors @ mixing + noise * rng.normal(size=(n, 4))), 0, 2)
    return codes, np.where(rng.random((n, 3)) < 0.1, 0, factors)


def published(codes, factors, new_codes, new_factors, random_state):
    importance, train, test = np.empty((codes.shape[1], factors.shape[1])), [], []
    for j in range(factors.shape[1]):
        model = GradientBoostingClassifier(random_state=random_state).fit(codes, factors[:, j])
        importance[:, j] = np.abs(model.feature_importances_)
        train.append(model.score(codes, factors[:, j]))
        test.append(model.score(new_codes, new_factors[:, j]))
    latents, count = importance.shape
    per_latent = np.array([1 - entropy(row + 1e-11, base=count) for row in importance])
    per_factor = np.array([1 - entropy(column + 1e-11, base=latents) for column in importance.T])
    return {
        "disentanglement": per_latent @ importance.sum(axis=1) / importance.sum(),
        "completeness": per_factor @ importance.sum(axis=0) / importance.sum(),
        "informativeness": np.mean(test),
        "informativeness_train": np.mean(train),
        "importance": importance,
    }


def test_equals_the_published_definition():
    codes, factors = mixed()
    parts = codes[:600], factors[:600], codes[600:], factors[600:]
    one, other = published(*parts, 0), published(*parts, 1)
    assert np.abs(one["importance"] - other["importance"]).max() < 1e-9  # no ties
    ours = dci(*parts[:2], test_codes=parts[2], test_factors=parts[3])
    for name in ("disentanglement", "completeness", "informativeness", "informativeness_train"):
        assert ours[name] == pytest.approx(one[name], abs=1e-6), name
    np.testing.assert_allclose(ours.importance, one["importance"], rtol=0, atol=1e-6)
    assert isinstance(ours, Scores)
    assert ours.informativeness < ours.informativeness_train


def test_entropies_by_hand():
    even, one = np.full((2, 4), 0.25), np.eye(4)[:2]
    np.testing.assert_allclose(_concentration(even), [0, 0], atol=1e-9)
    np.testing.assert_allclose(_concentration(one), [1, 1], atol=1e-8)
    two = np.array([[0.5, 0.5, 0, 0]])
    assert _concentration(two)[0] == pytest.approx(1 - np.log(2) / np.log(4), abs=1e-8)
    assert _weighted(np.array([[3.0, 0, 0], [0.5, 0.5, 0]])) == pytest.approx(0.75 + 0.25 * (1 - np.log(2) / np.log(3)))
    assert _weighted(np.zeros((2, 3))) == pytest.approx(0)


@given(seed=st.integers(0, 10_000), latents=st.integers(2, 6), factors=st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_scores_of_an_importance_matrix_are_fractions_and_ignore_order(seed, latents, factors):
    rng = np.random.default_rng(seed)
    importance = rng.exponential(size=(latents, factors)) ** 3
    value = _weighted(importance)
    assert -1e-9 <= value <= 1
    shuffled = importance[rng.permutation(latents)][:, rng.permutation(factors)]
    assert _weighted(shuffled) == pytest.approx(value, abs=1e-12)
    assert _weighted(7 * importance) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("model", ["trees", "lasso"])
def test_a_permuted_copy_of_the_factors_is_disentangled_and_complete(model):
    rng = np.random.default_rng(0)
    factors = pd.DataFrame(
        {"shape": rng.integers(2, size=600), "size": rng.normal(size=600), "on": rng.random(600) < 0.5}
    )
    codes = factors[["size", "on", "shape"]].to_numpy(float) * [3, -1, 2]
    scores = dci(codes, factors, model=model)
    assert scores.disentanglement > 0.95
    assert scores.completeness > 0.95
    assert scores.informativeness > 0.98
    np.testing.assert_array_equal(scores.importance.argmax(axis=0), [2, 0, 1])
    assert np.isnan(scores.nrmse_per_factor[[0, 2]]).all()
    assert scores.nrmse_per_factor[1] ** 2 == pytest.approx(1 - scores.informativeness_per_factor[1])
    np.testing.assert_allclose(scores.disentanglement_per_latent, 1, atol=0.1)


def test_a_rotated_code_scores_lower_and_noise_scores_nothing():
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(600, 2))
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    plain, turned, noise = (dci(c, factors) for c in (factors, factors @ turn, rng.normal(size=(600, 2))))
    assert plain.disentanglement > 0.99
    assert turned.disentanglement < 0.5
    assert turned.informativeness > 0.8
    assert noise.disentanglement < 0.2
    assert noise.informativeness < 0.35


@pytest.mark.parametrize("model", ["trees", "lasso"])
def test_order_of_samples_latents_and_factors(model):
    codes, factors = mixed(300)
    rng = np.random.default_rng(1)
    rows, latents, order = rng.permutation(200), rng.permutation(4), rng.permutation(3)
    held = {"test_codes": codes[200:], "test_factors": factors[200:]}
    plain = dci(codes[:200], factors[:200], model=model, **held)
    held = {"test_codes": codes[200:][:, latents], "test_factors": factors[200:][:, order]}
    # the folds of the lasso are drawn by position, and copies of integer codes make ties between latents for trees
    same_rows = np.arange(200) if model == "lasso" else rows
    other = dci(codes[same_rows][:, latents], factors[same_rows][:, order], model=model, **held)
    tolerance = 1e-3 if model == "lasso" else 0.02
    np.testing.assert_allclose(plain.importance[latents][:, order], other.importance, rtol=0, atol=tolerance)
    assert plain.disentanglement == pytest.approx(other.disentanglement, abs=tolerance)
    assert plain.informativeness == pytest.approx(other.informativeness, abs=tolerance)


def test_same_seed_same_numbers_and_halves_give_intervals():
    codes, factors = mixed(240)
    one, two = (dci(codes, factors, seed=4, bootstrap=10) for _ in range(2))
    assert one.to_dict() == two.to_dict()
    for name in one:
        score = one[name]
        assert score.low < score < score.high, name
        assert score.high - score.low < 0.6
    assert dci(codes, factors, seed=5).informativeness != one.informativeness


def test_one_factor_or_one_latent_leaves_one_score_undefined():
    codes, factors = mixed(200)
    with pytest.warns(UserWarning, match="disentanglement compares factors"):
        scores = dci(codes, factors[:, :1])
    assert np.isnan(scores.disentanglement)
    assert 0 <= scores.completeness <= 1
    with pytest.warns(UserWarning, match="completeness compares latents"):
        scores = dci(codes[:, :1], factors)
    assert np.isnan(scores.completeness)
    assert 0 <= scores.disentanglement <= 1


def test_constant_codes_score_zero():
    factors = np.random.default_rng(0).integers(2, size=(100, 2))
    for model in ("trees", "lasso"):
        scores = dci(np.ones((100, 3)), factors, model=model)
        assert scores.disentanglement == pytest.approx(0)
        assert scores.completeness == pytest.approx(0)


def test_lasso_of_independent_continuous_factors_finds_the_mixing():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2000, 3))
    codes = factors[:, [2, 0, 1]] + 1e-3 * rng.normal(size=(2000, 3))
    scores = dci(codes, factors, model="lasso")
    np.testing.assert_allclose(scores.importance, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=0.01)
    assert scores.informativeness > 0.999


def test_a_class_seen_only_in_the_test_rows_counts_as_missed():
    codes, factors = mixed(200)
    last = np.full((4, 3), 3)
    scores = dci(codes, np.minimum(factors, 2), kinds="discrete", test_codes=codes[:4], test_factors=last)
    assert scores.informativeness == 0


def test_bad_input_is_named():
    codes, factors = mixed(100)
    with pytest.raises(DataError, match="codes has 100, factors has 99"):
        dci(codes, factors[:-1])
    with pytest.raises(DataError, match="NaN at row 0"):
        dci(np.where(codes == codes[0, 0], np.nan, codes), factors)
    with pytest.raises(DataError, match="'factor 1' has the same value"):
        dci(codes, factors * [1, 0, 1])
    rare = factors.copy()
    rare[7, 2] = 9
    with pytest.raises(DataError, match="'factor 2' has the value 9 in one row only"):
        dci(codes, rare)
    with pytest.raises(OptionError, match="model='forest'"):
        dci(codes, factors, model="forest")
    with pytest.raises(OptionError, match="test_size"):
        dci(codes, factors, test_size=1.5)
    with pytest.raises(OptionError, match="bootstrap"):
        dci(codes, factors, bootstrap=1)
    with pytest.raises(OptionError, match="given together"):
        dci(codes, factors, test_codes=codes)
    with pytest.raises(DataError, match="codes has 4 columns but test_codes has 3"):
        dci(codes, factors, test_codes=codes[:, :3], test_factors=factors)
    with pytest.raises(DataError, match="factors has 3 columns but test_factors has 2"):
        dci(codes, factors, test_codes=codes, test_factors=factors[:, :2])
    with pytest.raises(DataError, match="test_codes has 100, test_factors has 99"):
        dci(codes, factors, test_codes=codes, test_factors=factors[1:])
    with pytest.raises(DataError, match="'factor 0' has the same value in all 100 training rows"):
        dci(codes, np.zeros(100), test_codes=codes, test_factors=np.arange(100) % 2, kinds="discrete")
