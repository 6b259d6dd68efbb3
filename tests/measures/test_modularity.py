import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.preprocessing import label_binarize

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import modularity_explicitness


def entangled(n=900, seed=0, values=(4, 3), latents=4):
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(v, size=n) for v in values], axis=1)
    mixing = rng.standard_normal((len(values), latents))
    return factors @ mixing + 0.8 * rng.standard_normal((n, latents)), factors


def test_the_definition_written_again_gives_the_same_numbers():
    codes, factors = entangled(values=(4, 3, 5))
    scores = modularity_explicitness(codes, factors)
    binned = [np.digitize(z, np.histogram(z, 20)[1][:-1]) for z in codes.T]
    m = np.array([[mutual_info_score(z, s) for s in factors.T] for z in binned])
    np.testing.assert_allclose(scores.mutual_information, m, atol=1e-12)
    modularity = []
    for row in m:
        template = np.where(np.arange(3) == row.argmax(), row.max(), 0)
        modularity.append(1 - np.sum((row - template) ** 2) / (row.max() ** 2 * 2))
    np.testing.assert_allclose(scores.modularity_per_latent, modularity, atol=1e-12)
    assert scores.modularity == pytest.approx(np.mean(modularity), abs=1e-12)

    train = scores.train_rows
    test = np.setdiff1d(np.arange(900), train)
    assert len(train) == 600
    x = (codes - codes[train].mean(axis=0)) / codes[train].std(axis=0)
    areas = []
    for s in factors.T:
        p = LogisticRegression().fit(x[train], s[train])
        areas.append(
            [
                roc_auc_score(label_binarize(s[rows], classes=p.classes_), p.predict_proba(x[rows]))
                for rows in (train, test)
            ]
        )
    np.testing.assert_allclose(scores.explicitness_per_factor, np.array(areas)[:, 1], atol=1e-9)
    np.testing.assert_allclose([scores.explicitness_train, scores.explicitness], np.mean(areas, axis=0), atol=1e-9)


def test_two_valued_factors():
    codes, factors = entangled(values=(2, 2))
    scores = modularity_explicitness(codes, factors)
    test = np.setdiff1d(np.arange(900), scores.train_rows)
    x = (codes - codes[scores.train_rows].mean(axis=0)) / codes[scores.train_rows].std(axis=0)
    model = LogisticRegression().fit(x[scores.train_rows], factors[scores.train_rows, 0])
    area = roc_auc_score(factors[test, 0], model.predict_proba(x[test])[:, 1])
    assert scores.explicitness_per_factor[0] == pytest.approx(area, abs=1e-12)


def test_published_examples_of_modularity():
    """Latents that carry one factor, all factors alike, half and half, and none."""
    grid = np.stack(np.unravel_index(np.arange(64), (4, 4, 4)), axis=1)
    grid = np.repeat(grid, 10, axis=0)
    one, pair = grid[:, 0], grid[:, 0] * 4 + grid[:, 1]
    everything = pair * 4 + grid[:, 2]
    constant = np.zeros(len(grid), int)
    scores = modularity_explicitness(np.stack([one, pair, everything, constant], axis=1), grid)
    np.testing.assert_allclose(scores.modularity_per_latent, [1, 1 / 2, 0, 0], atol=1e-9)
    assert scores.modularity == pytest.approx(0.375)


def test_perfect_codes_and_noise():
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(3000, 2))
    scores = modularity_explicitness(factors.astype(float), factors)
    assert scores.explicitness == 1
    assert scores.modularity > 0.999
    noise = modularity_explicitness(rng.standard_normal((3000, 4)), factors)
    assert noise.explicitness == pytest.approx(0.5, abs=0.03)
    assert noise.explicitness_train > noise.explicitness


def test_constant_latent_and_rare_value_are_no_trouble():
    codes, factors = entangled()
    codes = np.column_stack([codes, np.ones(len(codes))])
    factors[:, 0] = np.where(np.arange(900) == 5, 9, factors[:, 0])  # a value in one part of the split only
    scores = modularity_explicitness(codes, factors)
    assert scores.modularity_per_latent[-1] == 0
    assert 0.5 < scores.explicitness < 1


def test_one_factor_has_no_modularity():
    codes, factors = entangled()
    with pytest.warns(UserWarning, match="modularity is nan: it compares factors, and there is one only"):
        scores = modularity_explicitness(codes, factors[:, 0])
    assert math.isnan(scores.modularity)
    assert scores.explicitness > 0.6


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.ones((9, 2)), np.arange(8), "codes has 9, factors has 8"),
        ([[0.0, np.nan]] * 9, np.arange(9), "codes has 9 values that are not finite"),
        (np.ones((9, 2)), np.ones(9, int), "'factor 0' has the same value in every row"),
        (np.ones((90, 2)), np.linspace(0, 1, 90), "modularity is defined for discrete factors only, but 'factor 0' is"),
        (np.ones((9, 2)), [[1, 1]] + [[0, 0]] * 8, "no factor takes two values in both parts of the split"),
        (
            np.arange(400).reshape(200, 2),
            np.arange(200) % 2,
            "latent 0 of codes takes 200 different values in 200 rows",
        ),
    ],
)
def test_arrays_that_cannot_be_scored(codes, factors, message):
    with pytest.raises(DataError, match=message):
        modularity_explicitness(codes, factors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins=0 must be an integer at least 2"),
        ({"train_fraction": 1e-4}, "train_fraction=0.0001 leaves no row of 900 to learn from"),
        ({"train_fraction": 0}, "train_fraction=0 must be a number above 0"),
        ({"train_fraction": 1}, "train_fraction=1 leaves no row of 900 to test on"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        modularity_explicitness(*entangled(), **options)


def test_intervals():
    scores = modularity_explicitness(*entangled(), bootstrap=15)
    assert scores.modularity.low < scores.modularity < scores.modularity.high
    assert scores.explicitness.low < scores.explicitness < scores.explicitness.high


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), power=st.integers(-8, 8))
def test_order_labels_scale_and_place_do_not_matter(seed, power):
    rng = np.random.default_rng(seed)
    codes, factors = entangled(n=300, seed=seed, values=(4, 3, 2))
    codes = np.round(codes, 3)
    scores = modularity_explicitness(codes, factors)
    assert all(0 <= value <= 1 for value in scores.values())
    latents, names = rng.permutation(4), rng.permutation(3)
    other = modularity_explicitness(codes[:, latents] * 2.0**power, rng.permutation(4)[factors][:, names])
    assert other.modularity == pytest.approx(scores.modularity, abs=1e-12)
    assert other.explicitness == pytest.approx(scores.explicitness, abs=2e-3)  # the fit stops at a tolerance
