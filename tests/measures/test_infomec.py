import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import digamma
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unsnarl.data import FactorTable
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures import infomec

NAMES = ("modularity", "explicitness", "compactness")


def entangled(n=1200, values=(4, 3, 2), latents=5, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(v, size=n) for v in values], axis=1)
    codes = factors @ rng.standard_normal((len(values), latents)) + noise * rng.standard_normal((n, latents))
    return codes, factors


def grid(*sizes, repeats=1):
    return np.repeat(np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1), repeats, axis=0)


# The definition again, written from the equations.


def plug_in(a, b):
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1 / len(a))
    product = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    return np.sum(table[table > 0] * np.log(table[table > 0] / product[table > 0]))


def ross(z, s, k):
    """Ross 2014, equation 2, from the whole distance matrix."""
    distance = np.abs(z[:, None] - z[None, :])
    psi_m, psi_n = [], []
    for i in range(len(z)):
        radius = np.sort(distance[i, s == s[i]])[k]  # entry 0 is the point itself
        psi_m.append(digamma(np.sum(distance[i] <= radius) - 1))
        psi_n.append(digamma(np.sum(s == s[i])))
    return max(0.0, digamma(len(z)) - np.mean(psi_n) + digamma(k) - np.mean(psi_m))


def softmax_log_loss(x, y):
    """Multinomial logistic regression with one logit a class, also for two classes, through scipy's L-BFGS-B."""
    n, classes = len(y), y.max() + 1
    weight = (1 / (classes * np.bincount(y)))[y]
    x = np.hstack([x, np.ones((n, 1))])
    own = np.eye(classes)[y]

    def objective(w):
        logits = x @ w.reshape(-1, classes)
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -weight @ (log_p * own).sum(axis=1), (x.T @ (weight[:, None] * (np.exp(log_p) - own))).ravel()

    start = np.zeros(x.shape[1] * classes)
    options = {"maxiter": 100, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}
    w = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    logits = x @ w.reshape(-1, classes)
    return np.mean(np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1) - logits[own == 1])


def by_hand(codes, factors, discrete, *, k=10, divisor=20):
    n_factors, n_latents = factors.shape[1], codes.shape[1]
    nmi = np.empty((n_factors, n_latents))
    for i in range(n_factors):
        for j in range(n_latents):
            if discrete:
                information = plug_in(factors[:, i], codes[:, j])
            else:
                information = ross((codes[:, j] - codes[:, j].mean()) / codes[:, j].std(), factors[:, i], k)
            nmi[i, j] = information / plug_in(factors[:, i], factors[:, i])
    extent = np.ptp(codes, axis=0)
    active = extent > 0 if discrete else extent > extent.max() / divisor
    kept = nmi[:, active]
    m = ((kept.max(0) / kept.sum(0)).mean() - 1 / n_factors) / (1 - 1 / n_factors)
    c = ((kept.max(1) / kept.sum(1)).mean() - 1 / active.sum()) / (1 - 1 / active.sum())
    x = OneHotEncoder(sparse_output=False).fit_transform(codes) if discrete else StandardScaler().fit_transform(codes)
    h = np.array([softmax_log_loss(x, s) for s in factors.T])
    h0 = np.log(factors.max(0) + 1)
    return m, np.mean((h0 - h) / h0), c, nmi, active


@pytest.mark.parametrize("discrete", [False, True])
def test_the_definition_written_again_gives_the_same_numbers(discrete):
    codes, factors = entangled()
    codes[:, 4] *= 0.01  # not active among continuous codes
    if discrete:
        codes = np.clip(np.round(codes * [1, 1, 1, 1, 100]).astype(int), -2, 2) + 2
    scores = infomec(codes, factors)
    m, e, c, nmi, active = by_hand(codes, factors, discrete)
    assert scores.discrete is discrete
    assert scores.nmi.shape == (3, 5)
    np.testing.assert_allclose(scores.nmi, nmi, atol=1e-9)
    np.testing.assert_array_equal(scores.active, active)
    assert active.sum() == (5 if discrete else 4)
    np.testing.assert_allclose([scores.modularity, scores.compactness], [m, c], atol=1e-9)
    # Stopped after 100 iterations, the probe on (rank-deficient) one-hot codes carries its rounding along.
    assert scores.explicitness == pytest.approx(e, abs=1e-5 if discrete else 1e-7)


@pytest.mark.parametrize(("noise", "discrete"), [(0.3, False), (0.3, True), (1e-3, False)])
def test_probe_agrees_with_scikit_learn_on_several_classes(noise, discrete):
    codes, factors = entangled(values=(5, 3), noise=noise, latents=3)
    x = StandardScaler().fit_transform(codes)
    if discrete:
        codes = np.clip(np.round(codes), -2, 2).astype(int)
        x = OneHotEncoder().fit_transform(codes)
    expected = []
    for s in factors.T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(C=np.inf, class_weight="balanced").fit(x, s)
            null = LogisticRegression(C=np.inf, class_weight="balanced").fit(np.zeros(x.shape), s)
        h0 = log_loss(s, null.predict_proba(np.zeros(x.shape)))
        expected.append((h0 - log_loss(s, model.predict_proba(x))) / h0)
    np.testing.assert_allclose(infomec(codes, factors).explicitness_per_factor, expected, atol=1e-6)


def test_balanced_null_loss_is_log_of_the_number_of_classes_for_a_skewed_factor():
    s = np.repeat([0, 1, 2, 3], [900, 60, 30, 10])
    x = np.zeros((1000, 4))
    model = LogisticRegression(C=np.inf, class_weight="balanced").fit(x, s)
    assert log_loss(s, model.predict_proba(x)) == pytest.approx(math.log(4), abs=1e-12)
    assert softmax_log_loss(x, s) == pytest.approx(math.log(4), abs=1e-12)


def test_hand_computed_values_on_a_full_grid():
    factors = grid(3, 4, 2, repeats=50)
    perfect = infomec(factors, factors)
    assert perfect.modularity == pytest.approx(1)
    assert perfect.compactness == pytest.approx(1)
    assert perfect.explicitness > 0.999
    # One factor in two latents: its largest share is 1/2, so C = ((1 + 1 + 1/2) / 3 - 1/4) / (3/4) = 7/9.
    doubled = infomec(factors[:, [0, 1, 2, 2]], factors)
    assert doubled.modularity == pytest.approx(1)
    assert doubled.compactness == pytest.approx(7 / 9)
    # One latent tells of factors 0 and 1 whole: its largest share is 1/2, so M = ((1/2 + 1) / 2 - 1/3) / (2/3) = 5/8.
    joined = infomec(np.stack([factors[:, 0] * 4 + factors[:, 1], factors[:, 2]], axis=1), factors)
    assert joined.modularity == pytest.approx(5 / 8)
    gap = infomec(factors[:, [0, 1, 2, 2]], factors, statistic="gap")
    assert gap.modularity == pytest.approx(1)
    assert gap.compactness == pytest.approx(2 / 3)


def test_synergy_shows_in_explicitness_alone():
    factors = grid(4, 4, 4, repeats=30)
    mixed = np.stack([factors[:, 0], (factors[:, 0] + factors[:, 1]) % 4, factors[:, 2]], axis=1)
    with pytest.warns(UserWarning, match="shared no information with anything") as caught:
        scores = infomec(mixed, factors)
    assert [str(w.message) for w in caught] == [
        "1 active latent shared no information with anything and was left out of modularity",
        "1 factor shared no information with anything and was left out of compactness",
    ]
    assert scores.modularity == pytest.approx(1)
    assert scores.explicitness < 0.7


def test_training_log_variant():
    codes, factors = entangled(latents=4)
    codes[:, 3] *= 0.1
    scores = infomec(codes, factors, variant="training-log")
    m, _, c, nmi, active = by_hand(codes, factors, False, k=3, divisor=8)
    np.testing.assert_allclose(scores.nmi, nmi, atol=1e-9)
    assert active.sum() == 3
    np.testing.assert_allclose([scores.modularity, scores.compactness], [m, c], atol=1e-9)
    assert infomec(codes, factors).active.sum() == 4
    top = np.sort(nmi, axis=1)
    gap = infomec(codes, factors, variant="training-log", statistic="gap")
    assert gap.compactness == pytest.approx((top[:, -1] - top[:, -2]).mean(), abs=1e-9)  # over all latents
    top = np.sort(nmi[:, :3], axis=0)
    assert gap.modularity == pytest.approx((top[-1] - top[-2]).mean(), abs=1e-9)


def test_training_log_reads_discrete_codes_as_numbers_and_prunes_them():
    codes, factors = entangled(noise=0.3)
    book = np.linspace(-0.5, 0.5, 5)
    indices = np.clip(np.round(codes) + 2, 0, 4).astype(int)
    values = book[indices]
    values[:, 4] /= 20
    logged = infomec(values, factors, discrete=True, variant="training-log")
    x = StandardScaler().fit_transform(values)
    h = np.array([softmax_log_loss(x, s) for s in factors.T])
    assert logged.explicitness == pytest.approx(np.mean(1 - h / np.log([4, 3, 2])), abs=1e-6)
    assert logged.active.sum() == 4
    published = infomec(values, factors, discrete=True)
    assert published.active.sum() == 5
    assert infomec(values, factors, discrete=True, prune=20).active.sum() == 4
    np.testing.assert_allclose(published.nmi, infomec(indices, factors).nmi)
    assert published.explicitness > logged.explicitness


def test_regression_probe_is_the_coefficient_of_determination():
    codes, factors = entangled(values=(6, 4))
    expected = [LinearRegression().fit(codes, s).score(codes, s) for s in factors.T]
    np.testing.assert_allclose(infomec(codes, factors, probe="regression").explicitness_per_factor, expected, atol=1e-9)
    indices = np.clip(np.round(codes), -2, 2).astype(int)
    x = OneHotEncoder(sparse_output=False).fit_transform(indices)
    expected = [LinearRegression().fit(x, s).score(x, s) for s in factors.T]
    found = infomec(indices, factors, probe="regression").explicitness_per_factor
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_regression_probe_sees_the_continuous_values():
    codes, _ = entangled(latents=2)
    angle = codes @ [1.0, 2.0]
    scores = infomec(codes, {"angle": angle, "side": (codes[:, 0] > 0)}, probe="regression", factor_bins=5)
    assert scores.explicitness_per_factor[0] == pytest.approx(1)


def test_continuous_factors_need_bins():
    codes, factors = entangled()
    table = {"shape": factors[:, 0], "angle": codes[:, 0]}
    with pytest.raises(
        DataError, match=r"InfoMEC is defined for discrete factors only, but 'angle' is continuous; pass"
    ):
        infomec(codes, table)
    binned = infomec(codes, table, factor_bins=4)
    cut = np.searchsorted(np.quantile(codes[:, 0], [0.25, 0.5, 0.75]), codes[:, 0], side="right")
    assert binned == infomec(codes, {"shape": factors[:, 0], "angle": cut})
    with pytest.raises(OptionError, match="factor_bins=1 must be an integer at least 2"):
        infomec(codes, table, factor_bins=1)


def test_kinds_decide_how_a_factor_is_read():
    codes, factors = entangled()
    half_steps = FactorTable.of(factors / 2)
    assert infomec(codes, half_steps) == infomec(codes, factors)
    with pytest.raises(DataError, match="'factor 0' is continuous"):
        infomec(codes, factors, kinds={"factor 0": "continuous"})


def test_inputs_of_other_libraries():
    codes, factors = entangled()
    expected = infomec(codes, factors)
    colours = pd.DataFrame({"colour": np.array(list("abcd"))[factors[:, 0]], "b": factors[:, 1], "c": factors[:, 2]})
    assert infomec(torch.tensor(codes), colours) == expected
    assert infomec(pd.DataFrame(codes), torch.tensor(factors)) == expected
    assert infomec(codes, colours).factor_names == ["colour", "b", "c"]
    assert not infomec(codes.astype(np.float32), factors).discrete


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.ones((9, 2)), np.arange(8), r"all inputs must have one row an observation, but codes has 9, factors has 8"),
        (np.ones(9), np.arange(9), r"codes must be 2-D"),
        (
            [[0.0, np.nan]] * 9,
            np.arange(9),
            r"codes has 9 values that are not finite \(first: NaN at row 0, column 1\)",
        ),
        (np.ones((9, 2)), np.ones((9, 1), int), r"factor 'factor 0' has the same value in every row"),
        (np.ones((9, 2)), [1.0, np.nan, *range(7)], r"factor 'factor 0' has 1 missing value \(first at row 1\)"),
        (np.array([["a"]] * 9), np.arange(9), r"codes must hold numbers"),
        (np.ones((0, 2)), np.ones((0, 1)), r"codes needs at least 2 rows, got 0"),
        (np.array([[1e-320], [2e-320]] * 5), np.arange(10) % 2, r"latent 0 of codes has values too large or too small"),
        (np.array([[1e308], [-1e308]] * 5), np.arange(10) % 2, r"latent 0 of codes has values too large or too small"),
    ],
)
def test_arrays_that_cannot_be_scored(codes, factors, message):
    with pytest.raises(DataError, match=message):
        infomec(codes, factors)


def test_discrete_flag_on_quantities():
    codes, factors = entangled()
    with pytest.raises(
        DataError, match=r"discrete=True, but latent 0 of codes takes 1,200 different values in 1,200 rows"
    ):
        infomec(codes, factors, discrete=True)


@pytest.mark.parametrize("variant", ["published", "training-log"])
def test_quantities_that_take_few_values_tell_what_they_tell(variant):
    factors = grid(3, 4, 2, repeats=50)
    scores = infomec(factors, factors, discrete=False, variant=variant)
    assert not scores.discrete
    assert scores.modularity > 0.96
    assert scores.compactness > 0.96
    assert np.diag(scores.nmi).min() > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "sum"}, "statistic='sum' is not allowed; choose one of 'ratio', 'gap'"),
        ({"probe": "svm"}, "probe='svm' is not allowed"),
        ({"variant": "paper"}, "variant='paper' is not allowed; choose one of 'published', 'training-log'"),
        ({"n_neighbors": 0}, "n_neighbors=0 must be an integer at least 1"),
        ({"prune": 0.5}, "prune=0.5 must be a number at least 1"),
        ({"bootstrap": 1}, "bootstrap=1 must be an integer at least 2"),
        ({"bootstrap": -1}, "bootstrap=-1 must be an integer at least 0"),
    ],
)
def test_options_out_of_range(options, message):
    codes, factors = entangled()
    with pytest.raises(OptionError, match=message):
        infomec(codes, factors, **options)


def test_undefined_numbers_are_nan_with_a_warning():
    codes, factors = entangled()
    alone = codes * [1, 0.01, 0.01, 0.01, 0.01]
    with pytest.warns(UserWarning, match="compactness is nan: 1 latent of 5 is active"):
        scores = infomec(alone, factors)
    assert math.isnan(scores.compactness)
    assert np.isfinite([scores.modularity, scores.explicitness]).all()
    assert scores.to_dict()["compactness"]["value"] is None
    with pytest.warns(UserWarning, match="modularity and compactness are nan: no latents of 5 are active"):
        scores = infomec(codes * 0, factors)
    assert math.isnan(scores.modularity)
    assert scores.explicitness == pytest.approx(0, abs=1e-12)
    with pytest.warns(UserWarning, match="modularity is nan: it compares factors, and there is one only"):
        scores = infomec(codes, factors[:, 0])
    assert math.isnan(scores.modularity)
    assert 0 <= scores.compactness <= 1


def test_few_observations_of_continuous_codes_warn():
    codes, factors = entangled(n=900)
    with pytest.warns(EstimatorWarning, match="InfoMEC of continuous codes from 900 observations is unreliable"):
        infomec(codes, factors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infomec(np.clip(np.round(codes), -2, 2).astype(int), factors)
        infomec(*entangled())


def test_constant_latents_and_duplicates_are_no_trouble():
    codes, factors = entangled()
    scores = infomec(np.column_stack([codes, np.zeros(len(codes))]), factors)
    assert not scores.active[5]
    assert (scores.nmi[:, 5] == 0).all()
    np.testing.assert_allclose(scores.modularity, infomec(codes, factors).modularity)


def test_noise_says_nothing():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(2000, 3))
    scores = infomec(rng.integers(4, size=(2000, 4)), factors)
    assert scores.nmi.max() < 0.02
    assert abs(scores.explicitness) < 0.02
    with pytest.warns(UserWarning, match="shared no information with anything and was left out of modularity"):
        assert infomec(rng.standard_normal((2000, 4)), factors).explicitness < 0.02


def test_intervals():
    codes, factors = entangled(n=600, noise=1.0, values=(3, 2))
    scores = infomec(np.clip(np.round(codes), -2, 2).astype(int), factors, bootstrap=8, seed=3)
    for name in NAMES:
        assert scores[name].low < scores[name] < scores[name].high
        assert scores[name].high - scores[name].low < 0.3
    again = infomec(np.clip(np.round(codes), -2, 2).astype(int), factors, bootstrap=8, seed=3)
    assert again.intervals == scores.intervals


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), discrete=st.booleans())
def test_order_labels_scale_and_place_do_not_matter(seed, discrete):
    rng = np.random.default_rng(seed)
    codes, factors = entangled(n=1000, seed=seed)
    if discrete:
        codes = np.clip(np.round(codes), -2, 2).astype(int) + 2
    scores = infomec(codes, factors)
    assert all(0 <= scores[name] <= 1 for name in NAMES)
    rows, latents, names = rng.permutation(1000), rng.permutation(5), rng.permutation(3)
    relabel = rng.permutation(4)
    moved = codes[rows][:, latents]
    moved = rng.permutation(5)[moved] if discrete else 3.7 * moved + rng.standard_normal(5)
    other = infomec(moved, relabel[factors][rows][:, names])
    np.testing.assert_allclose(other.nmi, scores.nmi[names][:, latents], atol=1e-8)
    for name in NAMES:  # where the probe stops depends a little on the order of its inputs
        assert other[name] == pytest.approx(scores[name], abs=1e-8 if name != "explicitness" else 2e-4)
