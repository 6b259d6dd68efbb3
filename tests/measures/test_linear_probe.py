"""The linear probe finds what is linear, no more, and looks at the test rows once."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from unsnarl.errors import DataError, OptionError
from unsnarl.measures._probe import PENALTIES, _ridge, _stratified, linear_probe


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return rng.normal(size=(600, 20)) * np.logspace(-3, 3, 20)


def halves(codes, target):
    return codes[:400], target[:400], codes[400:], target[400:]


def test_a_value_with_known_noise(codes):
    rng = np.random.default_rng(1)
    scaled = codes / np.logspace(-3, 3, 20)
    value = scaled[:, 0] + 2 * scaled[:, 19] + rng.normal(size=600)  # 5 of 6 parts of the variance
    assert linear_probe(*halves(codes, value), "continuous") == pytest.approx(5 / 6, abs=0.04)
    noise = rng.normal(size=600)
    assert -0.05 < linear_probe(*halves(codes, noise), "continuous") < 0.05
    assert linear_probe(*halves(codes, scaled[:, 0] ** 2), "continuous") < 0.1  # not linear


def test_classes(codes):
    rng = np.random.default_rng(2)
    scaled = codes / np.logspace(-3, 3, 20)
    classes = np.array(["a", "b", "c"])[np.argmax(scaled[:, :3] + 0.1 * rng.normal(size=(600, 3)), axis=1)]
    assert linear_probe(*halves(codes, classes)) > 0.9
    assert linear_probe(*halves(codes, rng.integers(4, size=600))) == pytest.approx(0.25, abs=0.1)


def test_the_choice_of_penalty_matters(codes):
    """250 features for 260 rows: without a penalty the value would be lost."""
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(600, 250))
    value = wide[:, :20].sum(axis=1) + 3 * rng.normal(size=600)
    chosen = linear_probe(wide[:260], value[:260], wide[260:], value[260:], "continuous")
    free = _ridge(wide[:260], value[:260], wide[260:], np.array([1e-8]))[0]
    assert ((free - value[260:]) ** 2).sum() > ((value[260:] - value[260:].mean()) ** 2).sum()  # worse than the mean
    assert chosen > 0.2


def test_against_scikit_learn(codes):
    value = codes[:, 3] / codes[:, 3].std() + np.random.default_rng(4).normal(size=600)
    train, target, test, truth = halves(codes, value)
    scaler = StandardScaler().fit(train)
    model = RidgeCV(PENALTIES).fit(scaler.transform(train), target)
    assert linear_probe(train, target, test, truth, "continuous") == pytest.approx(
        model.score(scaler.transform(test), truth), abs=0.01
    )
    np.testing.assert_allclose(
        _ridge(train[:, :8], target, test[:, :8], PENALTIES[[3]])[0],
        RidgeCV(PENALTIES[[3]]).fit(train[:, :8], target).predict(test[:, :8]),
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_scale_shift_and_constants_do_not_matter(codes, kind):
    target = (codes[:, 0] > 0).astype(int) if kind == "discrete" else codes[:, 0]
    moved = np.concatenate([codes * 1e4 - 7, np.full((600, 2), 3.0)], axis=1)
    plain, other = (linear_probe(*halves(c, target), kind) for c in (codes, moved))
    assert other == pytest.approx(plain, abs=1e-6)
    assert plain > 0.85


def test_other_test_rows_change_nothing_of_the_fit(codes):
    value = codes[:, 0] * 1000
    train, target, test, truth = halves(codes, value)
    both = linear_probe(train, target, np.concatenate([test, test]), np.concatenate([truth, truth]), "continuous")
    assert both == pytest.approx(linear_probe(train, target, test, truth, "continuous"), rel=1e-12)


def test_folds_hold_each_class_alike():
    classes = np.repeat([0, 1, 2], [50, 30, 7])
    part = _stratified(classes, 5, 0)
    for kind, most in ((0, 10), (1, 6), (2, 2)):
        counts = np.bincount(part[classes == kind], minlength=5)
        assert counts.max() == most
        assert counts.max() - counts.min() <= 1
    assert not (part == _stratified(classes, 5, 1)).all()


def test_rare_and_unknown_classes(codes):
    classes = (codes[:, 0] > 0).astype(int)
    classes[0] = 7  # once in the training rows
    classes[-60:] = 9  # never
    assert linear_probe(*halves(codes, classes)) == pytest.approx(0.7, abs=0.06)  # 140 of 200 can be right


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"train_target": np.zeros(300)}, DataError, "train_features has 400, train_target has 300"),
        ({"test_target": np.zeros(300)}, DataError, "test_features has 200, test_target has 300"),
        ({"test_features": np.zeros((200, 3))}, DataError, "train_features has 20 columns but test_features has 3"),
        ({"train_target": np.ones(400)}, DataError, "train_target has the same value in every row"),
        ({"test_target": np.ones(200), "kind": "continuous"}, DataError, "test_target has the same value"),
        ({"train_target": np.array(["a", "b"] * 200), "kind": "continuous"}, DataError, "cannot be continuous"),
        ({"train_features": np.full((400, 20), np.nan)}, DataError, "train_features has"),
        ({"kind": "ordinal"}, OptionError, "kind='ordinal' is not allowed"),
        ({"folds": 1}, OptionError, "folds=1"),
        ({"folds": 500}, DataError, "500 folds need at least as many training rows"),
    ],
)
def test_bad_input(codes, change, error, says):
    names = ("train_features", "train_target", "test_features", "test_target")
    given = dict(zip(names, halves(codes, codes[:, 0]), strict=True))
    with pytest.raises(error, match=says):
        linear_probe(**(given | change))
