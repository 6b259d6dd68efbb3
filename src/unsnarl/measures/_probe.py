"""How much of a factor can be read off a representation by a linear map: the probe of Alain and Bengio 2017."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import as_matrix, as_vector, check_choice, check_range, check_same_length
from unsnarl.errors import DataError

KINDS = ("discrete", "continuous")
STRENGTHS = np.logspace(-4, 2, 7)  # of the logistic model: inverse penalties
PENALTIES = np.logspace(-2, 6, 17)  # of ridge regression, on standardised features

Features = Float[np.ndarray, "_ feature"]


def linear_probe(
    train_features: Features | Any,
    train_target: Any,
    test_features: Features | Any,
    test_target: Any,
    kind: str = "discrete",
    *,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """Accuracy or R2 on test rows of a linear model whose penalty is chosen by cross-validation on the training rows.

    Features are standardised with the mean and deviation of the training rows; constant ones are left out. A discrete target
    gets multinomial logistic regression (up to 7 penalties, from strong to weak, folds stratified where each class has enough rows), a continuous one ridge
    regression (17 penalties). The test rows are looked at once, at the end.

    Args:
        train_features: shape (n, feature).
        train_target: shape (n,): classes (numbers or text) or values.
        test_features: shape (m, feature).
        test_target: shape (m,); a class that the training rows lack counts as missed.
        kind: "discrete" for accuracy, "continuous" for R2.
        folds: number of folds.
        seed: seed of the folds.

    Returns:
        The accuracy in [0, 1]; or R2 = 1 - squared error / squared deviation from the test mean, 1 at best, 0 for a guess of the
        mean, negative for worse. Compare an accuracy with chance: the share of the most frequent class.

    Raises:
        DataError: unusable arrays, unequal numbers of rows or features, fewer training rows than folds, a target with one value.
        OptionError: an unknown kind, folds or seed out of range.

    Cost: ridge O(folds * n * feature * min(n, feature)); logistic up to 35 fits, seconds for a few thousand rows of a few hundred features.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> codes = rng.normal(size=(400, 5))
        >>> value = codes @ np.arange(5.0)
        >>> round(linear_probe(codes[:300], value[:300], codes[300:], value[300:], "continuous"), 3)
        1.0
    """
    check_choice(kind, KINDS, "kind")
    check_range(folds, "folds", low=2, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    train, test = as_matrix(train_features, "train_features"), as_matrix(test_features, "test_features")
    target, truth = as_vector(train_target, "train_target"), as_vector(test_target, "test_target")
    check_same_length(train_features=train, train_target=target)
    check_same_length(test_features=test, test_target=truth)
    if train.shape[1] != test.shape[1]:
        raise DataError(f"train_features has {train.shape[1]} columns but test_features has {test.shape[1]}")
    if len(train) < folds:
        raise DataError(f"{folds} folds need at least as many training rows, got {len(train)}")
    if (target == target[0]).all():
        raise DataError("train_target has the same value in every row, so there is nothing to probe for")
    train, test = train.astype(np.float64), test.astype(np.float64)
    mean, spread = train.mean(axis=0), train.std(axis=0)
    vary = spread > 1e-9 * np.maximum(1, np.abs(mean))
    train, test = ((part[:, vary] - mean[vary]) / spread[vary] for part in (train, test))
    if kind == "discrete":
        return _accuracy(train, target, test, truth, int(folds), int(seed))
    for name, values in (("train_target", target), ("test_target", truth)):
        if values.dtype.kind not in "iufb":
            raise DataError(f"{name} holds {values.dtype} values and cannot be continuous; use kind='discrete'")
    if np.ptp(truth.astype(np.float64)) == 0:
        raise DataError("test_target has the same value in every row, so R2 is not defined")
    return _r2(train, target.astype(np.float64), test, truth.astype(np.float64), int(folds), int(seed))


def _r2(
    train: Features,
    target: Float[np.ndarray, " n"],
    test: Features,
    truth: Float[np.ndarray, " m"],
    folds: int,
    seed: int,
) -> float:
    part = np.random.default_rng(seed).permutation(len(train)) % folds
    error = np.zeros(len(PENALTIES))
    for fold in range(folds):
        held = part == fold
        guesses = _ridge(train[~held], target[~held], train[held], PENALTIES)
        error += ((guesses - target[held]) ** 2).sum(axis=1)
    guess = _ridge(train, target, test, PENALTIES[[np.argmin(error)]])[0]
    return float(1 - ((guess - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def _ridge(
    train: Features, target: Float[np.ndarray, " n"], test: Features, penalties: Float[np.ndarray, " p"]
) -> Float[np.ndarray, "p m"]:
    """Predictions under each penalty, by one eigendecomposition of the smaller of X'X and XX' (features centred)."""
    centre, mean = train.mean(axis=0), target.mean()
    x, z = train - centre, test - centre
    if x.shape[0] >= x.shape[1]:
        scale, axes = np.linalg.eigh(x.T @ x)
        return mean + (axes.T @ (x.T @ (target - mean))) / (scale + penalties[:, None]) @ (z @ axes).T
    scale, axes = np.linalg.eigh(x @ x.T)
    return mean + (axes.T @ (target - mean)) / (scale + penalties[:, None]) @ (z @ x.T @ axes).T


def _accuracy(train: Features, target: np.ndarray, test: Features, truth: np.ndarray, folds: int, seed: int) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    part = _stratified(np.unique(target, return_inverse=True)[1], folds, seed)
    held = [part == fold for fold in range(folds)]
    held = [rows for rows in held if (target[~rows] != target[~rows][0]).any()]  # two classes to learn from
    models = [LogisticRegression(max_iter=100, warm_start=True) for _ in held]
    right: list[int] = []
    with warnings.catch_warnings():
        # the steps allowed from the last penalty's solution come close enough
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in STRENGTHS:
            hits = 0
            for model, rows in zip(models, held, strict=True):
                guess = model.set_params(C=strength).fit(train[~rows], target[~rows]).predict(train[rows])
                hits += int((guess == target[rows]).sum())
            right.append(hits)
            if max(right[:-2], default=-1) >= max(right[-2:]):  # two weaker penalties were no better, and cost most
                break
        model = LogisticRegression(max_iter=300, C=STRENGTHS[int(np.argmax(right))]).fit(train, target)
    return float(np.mean(model.predict(test) == truth))


def _stratified(classes: Int[np.ndarray, " n"], folds: int, seed: int) -> Int[np.ndarray, " n"]:
    """A fold for each row, such that the rows of a class are dealt out evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    dealt = shuffled[np.argsort(classes[shuffled], kind="stable")]
    part = np.empty(len(classes), dtype=np.int64)
    part[dealt] = np.arange(len(classes)) % folds
    return part
