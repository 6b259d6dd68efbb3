"""One door to the estimators of mutual information, and what they return when there is nothing to find."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped

from unsnarl.arrays import check_choice, check_range, check_same_length, to_numpy
from unsnarl.errors import DataError
from unsnarl.information._categories import category_columns, row_codes
from unsnarl.information._continuous import as_points, check_neighbors, condition, generator
from unsnarl.information._discrete import count_information
from unsnarl.information._reliability import EstimatorWarning
from unsnarl.information._units import nats_per_unit

Estimator = Literal["plugin", "miller-madow", "ksg1", "ksg2", "ross", "gaussian"]
ESTIMATORS = ("plugin", "miller-madow", "ksg1", "ksg2", "ross", "gaussian")


def mutual_information(
    x: Shaped[np.ndarray, "n *dx"] | Any,
    y: Shaped[np.ndarray, "n *dy"] | Any,
    *,
    estimator: Estimator | str = "plugin",
    n_neighbors: int = 3,
    discrete: Literal["x", "y"] | str | None = None,
    standardize: bool = True,
    clip: bool = False,
    jitter: float = 0.0,
    seed: int = 0,
    base: float = math.e,
) -> float:
    """Mutual information I(X; Y) of two variables of one or several columns.

    | estimator      | x and y                   | source                                                        |
    |----------------|---------------------------|---------------------------------------------------------------|
    | "plugin"       | both discrete             | observed frequencies; biased by about +(Kx-1)(Ky-1)/2n        |
    | "miller-madow" | both discrete             | Miller 1955: that bias removed to first order                 |
    | "ksg1", "ksg2" | both continuous           | Kraskov et al. 2004, equations 8 and 9 (different estimators) |
    | "ross"         | one discrete, one not     | Ross 2014, equation 2                                         |
    | "gaussian"     | both continuous           | closed form for jointly Gaussian variables                    |

    The columns of a matrix are taken together as one variable; `pairwise_mutual_information` takes them one by one.
    A constant shares nothing: exactly 0. "plugin" and "gaussian" are never negative. The others subtract estimates
    from each other and scatter around the truth, so a small negative number means "about 0"; it is returned as it is,
    because clipping before averaging makes independent variables look dependent. `clip=True` replaces it by 0, as
    scikit-learn's `mutual_info_classif` does. `shuffled_baseline` says how large an estimate chance alone gives.

    Values that repeat (ties) break the neighbour estimators' assumption of a density: they count the repeats in a way
    that does not depend on the order of the samples, and warn when more than 1% of the points are affected. `jitter`
    breaks ties with a little seeded noise (scikit-learn adds 1e-10); by default nothing is random.

    Args:
        x: n observations: shape (n,) or (n, dx).
        y: n observations: shape (n,) or (n, dy).
        estimator: see the table.
        n_neighbors: k of "ksg1", "ksg2" and "ross"; more neighbours lower the variance and raise the bias.
        discrete: which of the two holds categories for "ross"; by default the one that does not hold floats.
        standardize: give each continuous column unit deviation before neighbours are sought ("ksg1", "ksg2", and
            "ross" in several columns); without it the unit of a column changes the estimate.
        clip: replace a negative estimate by 0.
        jitter: standard deviation of Gaussian noise added to continuous columns, in standard deviations of each.
        seed: of the noise.
        base: unit of the result; e gives nats, 2 gives bits.

    Raises:
        DataError: different lengths, not finite, measurements where categories are needed, categories that all occur
            once, or (for "ross") it is not clear which input is discrete.
        OptionError: unknown estimator, n_neighbors not in 1..n-1, base not above 1.

    Warns:
        EstimatorWarning: more table cells than observations; 3 or more continuous dimensions with fewer than 20 * 2^d
            observations; tied values; an estimate near the largest that n observations can give.

    Cost: "plugin" O(n log n); neighbours O(n log n) in few dimensions and O(n^2 (dx + dy)) in many, O(n) memory;
    "gaussian" O(n (dx + dy)^2).

    >>> round(mutual_information([0, 0, 1, 1] * 5, ["a", "a", "b", "b"] * 5, base=2), 6)
    1.0
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=2_000)
    >>> y = 0.8 * x + 0.6 * rng.normal(size=2_000)  # truth: -log(0.6) = 0.511
    >>> bool(abs(mutual_information(x, y, estimator="ksg1") - 0.511) < 0.05)
    True
    >>> sign = (x > 0).astype(int)
    >>> bool(abs(mutual_information(x, sign, estimator="ross") - np.log(2)) < 0.02)
    True
    """
    check_choice(estimator, ESTIMATORS, "estimator")
    check_range(jitter, "jitter", low=0)
    unit = nats_per_unit(base)
    if estimator in ("plugin", "miller-madow"):
        information = count_information(x, y, estimator)
    elif estimator == "ross":
        information = _of_labels(x, y, n_neighbors, discrete, standardize, jitter, seed)
    else:
        information = _of_points(x, y, estimator, n_neighbors, standardize, jitter, seed)
    return (max(information, 0.0) if clip else information) / unit


def _of_points(x: Any, y: Any, estimator: str, n_neighbors: int, standardize: bool, jitter: float, seed: int) -> float:
    points = as_points(x, "x"), as_points(y, "y")
    n = check_same_length(x=points[0], y=points[1])
    if estimator == "gaussian":
        from unsnarl.information._gaussian import gaussian_information

        return gaussian_information(*points)
    from unsnarl.information._ksg import ksg_information

    check_neighbors(n_neighbors, n)
    rng = generator(seed)
    variables = [
        condition(values, name, standardize=standardize, jitter=jitter, rng=rng)
        for values, name in zip(points, ("x", "y"), strict=True)
    ]
    return ksg_information(variables, int(n_neighbors), second=estimator == "ksg2")


def _of_labels(
    x: Any,
    y: Any,
    n_neighbors: int,
    discrete: str | None,
    standardize: bool,
    jitter: float,
    seed: int,
) -> float:
    from unsnarl.information._ross import ross_information

    if which_is_discrete(x, y, discrete) == "x":
        labels, label_name, values, name = x, "x", y, "y"
    else:
        labels, label_name, values, name = y, "y", x, "x"
    points = as_points(values, name)
    codes, _ = category_columns(labels, label_name)
    n = check_same_length(**{name: points, label_name: codes})
    check_neighbors(n_neighbors, n)
    points = condition(
        points,
        name,
        standardize=standardize and points.shape[1] > 1,
        jitter=jitter,
        rng=generator(seed),
    )
    return ross_information(points, row_codes(codes)[0], int(n_neighbors), label_name)


def which_is_discrete(x: Any, y: Any, discrete: str | None) -> str:
    """Which of two inputs holds categories: the one named, or the one that does not hold floats.

    Raises:
        OptionError: `discrete` names neither.
        DataError: both or none hold floats.
    """
    check_choice(discrete, ("x", "y", None), "discrete")
    if discrete is not None:
        return discrete
    names = _holds_labels(x), _holds_labels(y)
    if names[0] == names[1]:
        held, other = ("categories", "'plugin'") if names[0] else ("floats", "'ksg1'")
        raise DataError(
            f"estimator 'ross' needs one discrete and one continuous input, but x and y both hold {held}; "
            f"say which one is discrete with discrete='x' or discrete='y', or choose estimator {other}"
        )
    return "x" if names[0] else "y"


def _holds_labels(values: Any) -> bool:
    kind = getattr(values, "dtype", None)
    if hasattr(values, "to_numpy") and kind is not None:
        return getattr(kind, "kind", "O") != "f"  # a pandas column, perhaps of text
    return to_numpy(values, "input").dtype.kind != "f"


class ShuffledBaseline(NamedTuple):
    """What an estimator returns for the same columns without any dependence between them."""

    mean: float
    std: float


def shuffled_baseline(
    x: Shaped[np.ndarray, "n *dx"] | Any,
    y: Shaped[np.ndarray, "n *dy"] | Any,
    *,
    estimator: Estimator | str = "plugin",
    repeats: int = 20,
    seed: int = 0,
    **options: Any,
) -> ShuffledBaseline:
    """Mean and standard deviation of the estimate when the rows of y are shuffled, so that the truth is 0.

    The mean is the estimator's bias at independence (subtract it, or at least look at it); an estimate within two
    standard deviations of the mean is no evidence of dependence.

    Args:
        x: as in `mutual_information`.
        y: as in `mutual_information`.
        estimator: as in `mutual_information`.
        repeats: number of shuffles, at least 2.
        seed: of the shuffles.
        **options: further options of `mutual_information`.

    Raises:
        DataError: as `mutual_information`.
        OptionError: as `mutual_information`; fewer than 2 repeats.

    Cost: `repeats` times that of `mutual_information`.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.integers(20, size=(2, 1_000))  # the plug-in bias is about 19 * 19 / 2,000 = 0.18 nats
    >>> baseline = shuffled_baseline(x, y)
    >>> round(baseline.mean, 1), baseline.std < 0.02
    (0.2, True)
    """
    check_range(repeats, "repeats", low=2, integer=True)
    rng = generator(seed)
    if not hasattr(y, "iloc"):
        y = to_numpy(y, "y")
    estimates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)
        for _ in range(int(repeats)):
            order = rng.permutation(len(y))
            shuffled = y.iloc[order] if hasattr(y, "iloc") else y[order]
            estimates.append(mutual_information(x, shuffled, estimator=estimator, **options))
    return ShuffledBaseline(float(np.mean(estimates)), float(np.std(estimates, ddof=1)))
