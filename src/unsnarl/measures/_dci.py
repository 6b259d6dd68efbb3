"""Disentanglement, completeness and informativeness (Eastwood and Williams 2018)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.measures._boosting import boost, labels_of, single_precision
from unsnarl.measures._boosting_arrays import Columns
from unsnarl.measures._held_out import HeldOut
from unsnarl.measures._scores import Scores, half_sample_intervals

_SMALL = 1e-11  # added to importances before their entropy, as in the published code


def dci(
    codes: Any,
    factors: Any,
    *,
    kinds: Any = None,
    model: str = "trees",
    test_codes: Any = None,
    test_factors: Any = None,
    test_size: float = 0.25,
    bootstrap: int = 0,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """How far each latent serves one factor, each factor is served by one latent, and how well factors are predicted.

    One predictor a factor is fitted on all latents; the importance of latent i for factor j is R_ij (Eastwood and
    Williams 2018, "A framework for the quantitative evaluation of disentangled representations", Section 2; the tree
    ensembles and the constant 1e-11 are those of Locatello et al. 2019). With K factors and D latents:

    - disentanglement: sum_i rho_i (1 - H_K(P_i.)), P_ij = R_ij / sum_k R_ik, the entropy H_K to base K, rho_i = sum_j
      R_ij / sum R;
    - completeness: sum_j rho_j (1 - H_D(P_.j)), P_ij = R_ij / sum_k R_kj, to base D, rho_j = sum_i R_ij / sum R;
    - informativeness: mean over factors of the accuracy on held-out rows (discrete factors) or of the coefficient of
      determination R^2 (continuous ones, which the published code does not know). The paper reports a normalised root
      mean squared error E instead: `nrmse_per_factor`, in units of the factor's standard deviation, so E^2 = 1 - R^2
      and E = 1 for guessing the mean.

    Args:
        codes: representation, shape (n, latent); arrays, tensors or data frames.
        factors: factor values, shape (n, factor); any mixture of discrete and continuous columns.
        kinds: "discrete" or "continuous" for all or by name; inferred where absent.
        model: "trees" for 100 stages of gradient-boosted depth-3 trees, importances by decrease of squared error (the
            published code; a latent that copies another shares its importance at random, by `seed`); "lasso" for the
            paper's linear predictor: L1 penalty chosen by 5-fold cross-validation on standardised latents, importances
            |coefficient|. A discrete factor is then predicted by one lasso a class on its indicator, and the
            importances are averaged over classes; the paper's regression on the value itself is had by declaring the
            factor continuous.
        test_codes: codes of held-out rows, shape (m, latent).
        test_factors: their factors, shape (m, factor); give both or neither.
        test_size: share of rows held out at random when there are no test rows.
        bootstrap: number of random halves for 95% intervals (training and test rows halved alike), 0 for none; each
            costs half a run.
        seed: of the split, of choices between equally good splits, and of the halves.
        threads: threads that grow trees; numba's setting when None.
        progress: called as progress(done, total) while trees grow (not for the halves).

    Returns:
        `Scores` with `disentanglement`, `completeness`, `informativeness` (test), `informativeness_train`, the matrix
        `importance` of shape (latent, factor), and `disentanglement_per_latent`, `completeness_per_factor`,
        `informativeness_per_factor`, `nrmse_per_factor` (nan where discrete). The first two lie in [0, 1], 1 is best.
        Accuracy lies in [0, 1] with the share of the commonest class as its floor; R^2 is at most 1 and below 0 for a
        predictor worse than the mean. With one factor disentanglement is undefined, with one latent completeness is:
        nan, and a warning.

    Raises:
        DataError: lengths differ, a value is not finite, a factor is constant, or a class has one member.
        OptionError: an option is out of range.

    Number of latents: the base of completeness is D, so the same spread scores higher in a wider code (a factor on two
    latents alike has completeness 1 - log 2 / log D: 0 for D = 2, 0.67 for 8, 0.83 for 64). The base of
    disentanglement is K, and unused latents get little weight; but trees find some use for every column, so many noise
    latents lower both. Compare codes of one size. Trees see codes in single precision, and values within 1e-7 of each
    other as equal.

    Cost: trees grow in O(stages * classes * n * latents), summed over factors: about 15 CPU seconds for 10,000 x 64
    codes and 8 factors of 10 classes, less for integer codes; 10 bytes a code and 16 bytes a row and class of memory.

    Examples:
        >>> factors = np.random.default_rng(0).integers(4, size=(400, 3))
        >>> scores = dci(factors[:, ::-1], factors)
        >>> scores.disentanglement > 0.95, scores.completeness > 0.95, scores.importance.argmax(axis=0)
        (True, True, array([2, 1, 0]))
    """
    check_choice(model, ("trees", "lasso"), "model")
    if bootstrap:
        check_range(bootstrap, "bootstrap", low=2, integer=True)
    if threads is not None:
        check_range(threads, "threads", low=1, integer=True)
    options = {"test_codes": test_codes, "test_factors": test_factors, "test_size": test_size, "seed": seed}
    split = HeldOut.of(codes, factors, kinds=kinds, **options)
    if split.codes.shape[1] == 1:
        warnings.warn("completeness compares latents and is undefined (nan) for a single one", stacklevel=2)
    if len(split.factors.names) == 1:
        warnings.warn("disentanglement compares factors and is undefined (nan) for a single one", stacklevel=2)
    fit = partial(_by_trees, seed=seed, threads=threads) if model == "trees" else partial(_by_lasso, seed=seed)
    found = fit(split, progress=progress) if model == "trees" else fit(split)
    values = _values(*found)
    intervals = {}
    if bootstrap:

        def estimate(rows: np.ndarray) -> dict[str, float]:
            half = split.some(rows)
            try:
                half.require_learnable()
                return _values(*fit(half))
            except DataError:
                return {}

        intervals = half_sample_intervals(estimate, values, len(split.codes), repeats=bootstrap, seed=seed)
    importance, test, _, error = found
    extra = {
        "disentanglement_per_latent": _concentration(importance),
        "completeness_per_factor": _concentration(importance.T),
        "informativeness_per_factor": test,
        "nrmse_per_factor": error,
        "factor_names": split.factors.names,
        "model": model,
    }
    return Scores(values, intervals, {"importance": importance}, extra, "dci")


_Found = tuple[Float[np.ndarray, "latent factor"], np.ndarray, np.ndarray, np.ndarray]
"""Importances; quality of the prediction of each factor on test and on training rows; normalised error on test rows."""


def _values(importance: np.ndarray, test: np.ndarray, train: np.ndarray, _error: np.ndarray) -> dict[str, float]:
    return {
        "disentanglement": _weighted(importance),
        "completeness": _weighted(importance.T),
        "informativeness": float(test.mean()),
        "informativeness_train": float(train.mean()),
    }


def _concentration(importance: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " row"]:
    """1 - entropy of each row as a distribution over the columns, to the base of their number; nan for one column."""
    columns = importance.shape[1]
    if columns == 1:
        return np.full(len(importance), np.nan)
    share = importance + _SMALL
    share = share / share.sum(axis=1, keepdims=True)
    return 1 + (share * np.log(share)).sum(axis=1) / np.log(columns)


def _weighted(importance: Float[np.ndarray, "row column"]) -> float:
    """Concentration of the rows, weighted by their importance."""
    weight = importance.sum(axis=1)
    if weight.sum() == 0:
        weight = np.ones_like(weight)
    return float((_concentration(importance) * weight).sum() / weight.sum())


def _by_trees(
    split: HeldOut, *, seed: int, threads: int | None, progress: Callable[[int, int], None] | None = None
) -> _Found:
    rows = single_precision(split.codes)
    columns = Columns.of(rows[split.train])
    others = np.ascontiguousarray(rows[~split.train].T)
    targets, classes, levels = [], [], []
    for name, discrete in zip(split.factors.names, split.factors.discrete, strict=True):
        values = split.factors.column(name)[split.train]
        if discrete:
            present, values = np.unique(values, return_inverse=True)
            levels.append(present)
            classes.append(len(present))
        else:
            levels.append(np.array([values.mean(), values.std()]))
            values = (values - levels[-1][0]) / levels[-1][1]  # trees do not depend on it, but "variance 0" does
            classes.append(0)
        targets.append(values)
    ensembles = boost(columns, targets, classes, seed=seed, threads=threads, progress=progress)
    quality = []
    for name, trees, kind, level in zip(split.factors.names, ensembles, classes, levels, strict=True):
        values = split.factors.column(name)
        predicted = np.empty(len(values))
        for part, raw in ((split.train, trees.raw), (~split.train, trees.raw_predictions(others))):
            predicted[part] = level[labels_of(raw)] if kind else level[0] + level[1] * raw[0]
        quality.append(_quality(name, values, predicted, bool(kind), split.train))
    importance = np.abs(np.stack([e.importances for e in ensembles], axis=1))
    return importance, *np.array(quality).T


def _by_lasso(split: HeldOut, *, seed: int) -> _Found:
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import KFold

    train = split.train
    if train.sum() < 10:
        raise DataError(f"model='lasso' cross-validates and needs 10 training rows or more, got {train.sum()}")
    mean, spread = split.codes[train].mean(axis=0), split.codes[train].std(axis=0)
    rows = (split.codes - mean) / np.where(spread > 0, spread, 1.0)
    folds = list(KFold(5, shuffle=True, random_state=seed).split(rows[train]))
    importance, quality = [], []
    for name, discrete in zip(split.factors.names, split.factors.discrete, strict=True):
        values = split.factors.column(name)
        present = np.unique(values[train])
        if not discrete:
            wanted = values[:, None]
        elif len(present) == 2:
            wanted = (values == present[1])[:, None].astype(float)
        else:
            wanted = (values[:, None] == present).astype(float)
        middle, scale = wanted[train].mean(axis=0), wanted[train].std(axis=0)
        predicted, weights = np.empty_like(wanted), []
        for k in range(wanted.shape[1]):
            lasso = LassoCV(cv=folds, max_iter=10_000).fit(rows[train], (wanted[train, k] - middle[k]) / scale[k])
            predicted[:, k] = middle[k] + scale[k] * lasso.predict(rows)
            weights.append(np.abs(lasso.coef_))
        importance.append(np.mean(weights, axis=0))
        if not discrete:
            guess = predicted[:, 0]
        else:
            guess = present[(predicted[:, 0] > 0.5).astype(int) if len(present) == 2 else predicted.argmax(axis=1)]
        quality.append(_quality(name, values, guess, bool(discrete), train))
    return np.stack(importance, axis=1), *np.array(quality).T


def _quality(
    name: str, values: np.ndarray, predicted: np.ndarray, discrete: bool, train: np.ndarray
) -> tuple[float, float, float]:
    """Accuracy or R^2 on test and on training rows, and the normalised error on test rows (nan if discrete)."""
    if discrete:
        hit = values == predicted
        return float(hit[~train].mean()), float(hit[train].mean()), np.nan
    explained = []
    for part in (~train, train):
        spread = values[part].var()
        if spread == 0:
            raise DataError(f"factor {name!r} has the same value in all {part.sum():,} test rows, so R^2 is undefined")
        explained.append(1 - float(((values[part] - predicted[part]) ** 2).mean() / spread))
    return explained[0], explained[1], float(np.sqrt(1 - explained[0]))
