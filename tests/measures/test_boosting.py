import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.measures._boosting import BoostedTrees, boost
from unsnarl.measures._boosting_arrays import Columns


def problem(kind, n=1500, width=5, classes=4, seed=0, levels=None):
    """Noisy labels or numbers that depend on the first three columns; `levels` makes the columns integers."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, width))
    if levels:
        x = np.floor(x * levels / 2).astype(int)
    z = 2 * x[:, 0] + 1.3 * x[:, 1] + 0.7 * x[:, 2 % width] + rng.uniform(-1, 1, size=n)
    if kind == "regressor":
        return x, z
    if kind == "unbalanced":
        return x, (z > np.quantile(z, 0.97)).astype(int)
    y = np.searchsorted(np.quantile(z, np.arange(1, classes) / classes), z)
    return x, np.where(rng.random(n) < 0.2, rng.integers(classes, size=n), y)


def reference(kind, **options):
    options = {"n_estimators": options.pop("stages", 100), "max_depth": options.pop("depth", 3), **options}
    return (GradientBoostingRegressor if kind == "regressor" else GradientBoostingClassifier)(**options)


def assert_same(ours, theirs, x):
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, rtol=0, atol=1e-6)
    if ours.kind == "regressor":
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


CASES = [
    ("classifier", 2, 100, 3, 4),
    ("classifier", 4, 100, 3, 4),
    ("regressor", 0, 100, 3, 4),
    ("classifier", 2, 100, 1, None),
    ("classifier", 3, 60, 1, None),
    ("unbalanced", 2, 100, 1, None),
    ("regressor", 0, 100, 1, None),
    ("classifier", 2, 30, 2, None),
    ("regressor", 0, 30, 2, None),
    ("classifier", 2, 20, 3, None),
    ("regressor", 0, 20, 3, None),
]


@pytest.mark.parametrize(("kind", "classes", "stages", "depth", "levels"), CASES)
def test_equals_scikit_learn_where_best_splits_are_unique(kind, classes, stages, depth, levels):
    x, y = problem(kind, classes=classes, levels=levels)
    new = problem(kind, n=500, classes=classes, levels=levels, seed=9)[0]
    options = {"stages": stages, "depth": depth}
    one, other = (reference(kind, random_state=s, **options).fit(x, y) for s in (0, 1))
    # two random states that agree show that no node of this problem has two best splits
    np.testing.assert_allclose(one.feature_importances_, other.feature_importances_, rtol=0, atol=1e-9)
    ours = BoostedTrees("regressor" if kind == "regressor" else "classifier", **options).fit(x, y)
    assert_same(ours, one, new)


def test_a_seed_gives_scikit_learns_average_where_splits_are_tied():
    x, y = problem("unbalanced", n=700)
    theirs = [reference("classifier", random_state=s).fit(x, y).feature_importances_ for s in range(6)]
    ours = [BoostedTrees(seed=s).fit(x, y).feature_importances_ for s in range(6)]
    spread = np.std(theirs, axis=0) + np.std(ours, axis=0)
    assert spread.max() > 1e-4  # there are ties
    assert (np.abs(np.mean(theirs, axis=0) - np.mean(ours, axis=0)) < 2 * spread + 1e-3).all()


def naive_trees(x, y, stages, classes):
    """Importances and raw predictions by trying every split; ties go to the lowest column, then threshold."""
    x = x.astype(np.float32)
    n, width = x.shape
    if classes == 0:
        start, labels = np.array([y.mean()]), y[None]
    else:
        prior = np.bincount(y, minlength=classes) / n
        start = np.log(prior) - np.log(prior).mean()
        labels = (y == np.arange(classes)[:, None]).astype(float)
    raw, importance = np.repeat(start[:, None], n, axis=1), np.zeros(width)

    def grow(rows, g, depth):
        h = g[rows]
        best = (1e-13, None, None)
        if depth < 3 and len(rows) > 1 and h.var() > 2.3e-16:
            for j in range(width):
                order = np.argsort(x[rows, j], kind="stable")
                v, s = x[rows, j][order], np.cumsum(h[order] - h.mean())[:-1]
                count = np.arange(1, len(rows))
                gain = np.where(v[1:] > v[:-1] + np.float32(1e-7), s**2 * len(rows) / (count * (len(rows) - count)), -1)
                if gain.max() > best[0] * (1 + 1e-9):
                    at = np.flatnonzero(gain >= gain.max() * (1 - 1e-9))[0]
                    best = (gain[at], j, (float(v[at]) + float(v[at + 1])) / 2)
        gain, j, cut = best
        if j is None:
            curve = (np.abs(h) * (1 - np.abs(h))).mean()
            step = h.mean() if classes == 0 else (classes - 1) / classes * h.mean() / curve
            update[rows] = 0.1 * step
            return
        importance[j] += gain
        goes_left = x[rows, j] <= cut
        grow(rows[goes_left], g, depth + 1)
        grow(rows[~goes_left], g, depth + 1)

    for _ in range(stages):
        odds = np.exp(raw - raw.max(axis=0))
        gradients = labels - (raw if classes == 0 else odds / odds.sum(axis=0))
        for k, g in enumerate(gradients):
            update = np.zeros(n)
            grow(np.arange(n), g, 0)
            raw[k] += update
    return importance / importance.sum(), raw


@pytest.mark.parametrize(
    ("n", "levels", "classes", "seed"),
    [(60, None, 3, 0), (300, None, 3, 1), (700, None, 0, 2), (300, 6, 4, 3), (700, 100, 3, 4), (9, None, 3, 5)],
)
def test_no_split_is_missed_and_ties_go_to_the_lowest_column(n, levels, classes, seed):
    kind = "classifier" if classes else "regressor"
    x, y = problem(kind, n=n, width=4, classes=classes, seed=seed, levels=levels)
    y = np.unique(y, return_inverse=True)[1] if classes else y
    importance, raw = naive_trees(x, y, 8, len(np.unique(y)) if classes else 0)
    ours = BoostedTrees(kind, stages=8).fit(x, y)
    np.testing.assert_allclose(ours.feature_importances_, importance, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.ensemble_.raw, raw, rtol=0, atol=1e-9)


def test_values_closer_than_the_threshold_are_not_separated():
    rng = np.random.default_rng(0)
    x = np.stack([0.5 + np.cumsum(rng.integers(0, 3, 400)) * 6e-8, np.full(400, 2.0)], axis=1)
    y = rng.normal(size=400) + np.arange(400) / 100
    theirs = reference("regressor", random_state=0, stages=20, depth=2).fit(x, y)
    assert_same(BoostedTrees("regressor", stages=20, depth=2).fit(x, y), theirs, x)


@given(seed=st.integers(0, 10_000), n=st.integers(6, 200), levels=st.sampled_from([None, 2, 5, 40]))
@settings(max_examples=25, deadline=None)
def test_row_order_labels_and_threads_do_not_matter(seed, n, levels):
    x, y = problem("classifier", n=n, classes=3, seed=seed, levels=levels)
    y = np.concatenate([[0, 1, 2], y[3:]])
    order = np.random.default_rng(seed).permutation(n)
    one = BoostedTrees(stages=5, seed=seed, threads=1).fit(x, y)
    other = BoostedTrees(stages=5, seed=seed, threads=2).fit(x[order], np.array(["a", "b", "c"])[y[order]])
    np.testing.assert_allclose(one.feature_importances_, other.feature_importances_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), rtol=0, atol=1e-9)
    assert one.feature_importances_.sum() == pytest.approx(1)
    np.testing.assert_allclose(one.ensemble_.raw, one._raw(x), rtol=0, atol=1e-9)


def test_targets_fitted_together_are_those_fitted_alone():
    x, y = problem("classifier", n=400)
    z = problem("regressor", n=400)[1]
    columns = Columns.of(x)
    together = boost(columns, [y, z, y > 1], [4, 0, 2], stages=10, seed=3, threads=2)
    for target, classes, fitted in zip([y, z, y > 1], [4, 0, 2], together, strict=True):
        (alone,) = boost(columns, [target], [classes], stages=10, seed=3, threads=1)
        np.testing.assert_array_equal(alone.importances, fitted.importances)
        np.testing.assert_array_equal(alone.raw, fitted.raw)


def test_many_columns_are_binned_in_several_blocks():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2100, 40))
    y = (x[:, 37] + 0.5 * x[:, 3] > 0).astype(int)
    columns = Columns.of(x)
    assert len(columns.block) > 2
    assert columns.counts.sum() == x.size
    assert (np.diff(columns.offset) == 128).all()
    ours = BoostedTrees(stages=10, depth=1).fit(x, y)
    assert_same(ours, reference("classifier", random_state=0, stages=10, depth=1).fit(x, y), x)


def test_constant_columns_leave_the_prior():
    y = np.array([0, 0, 1, 0, 1, 2])
    ours = BoostedTrees(stages=3).fit(np.ones((6, 2)), y)
    np.testing.assert_array_equal(ours.feature_importances_, [0, 0])
    np.testing.assert_allclose(ours.predict_proba(np.zeros((1, 2))), [[3 / 6, 2 / 6, 1 / 6]])


def test_progress_reports_every_stage():
    seen = []
    BoostedTrees(stages=4, progress=lambda done, total: seen.append((done, total))).fit(*problem("classifier", n=50))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_bad_input_is_named():
    x, y = problem("classifier", n=50)
    with pytest.raises(DataError, match="X has 50, y has 49"):
        BoostedTrees().fit(x, y[:-1])
    with pytest.raises(DataError, match="single class"):
        BoostedTrees().fit(x, np.zeros(50))
    with pytest.raises(DataError, match="not finite"):
        BoostedTrees().fit(np.where(x > 0.9, np.nan, x), y)
    with pytest.raises(DataError, match="single precision"):
        BoostedTrees().fit(x * 1e300, y)
    with pytest.raises(DataError, match="numbers"):
        BoostedTrees("regressor").fit(x, y.astype(str))
    with pytest.raises(OptionError, match="depth=11"):
        BoostedTrees(depth=11).fit(x, y)
    with pytest.raises(OptionError, match="kind='forest'"):
        BoostedTrees("forest").fit(x, y)
    with pytest.raises(NotFittedError):
        BoostedTrees().predict(x)
    with pytest.raises(DataError, match="4 columns, but fit saw 5"):
        BoostedTrees(stages=2).fit(x, y).predict(x[:, :4])
