"""Mutual information of every column of one matrix with every column of another, without a Python loop."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Num

from unsnarl.arrays import as_matrix, check_choice, check_range, check_same_length
from unsnarl.errors import DataError, OptionError
from unsnarl.information._categories import Codes, Levels, category_columns
from unsnarl.information._continuous import Points, as_points, check_neighbors, condition, generator, varies
from unsnarl.information._digamma import digamma_table
from unsnarl.information._discrete import entropies_of_codes
from unsnarl.information._mutual_information import ESTIMATORS, Estimator, which_is_discrete
from unsnarl.information._reliability import warn_if_near_ceiling, warn_if_sparse_table, warn_if_tied
from unsnarl.information._units import nats_per_unit

PairMatrix = Float[np.ndarray, "p q"]
PairIndex = Int[np.ndarray, "pairs"]


def pairwise_mutual_information(
    x: Num[np.ndarray, "n p"] | Any,
    y: Num[np.ndarray, "n q"] | Any | None = None,
    *,
    estimator: Estimator | str = "plugin",
    n_neighbors: int = 3,
    discrete: Literal["x", "y"] | str | None = None,
    standardize: bool = True,
    clip: bool = False,
    jitter: float = 0.0,
    seed: int = 0,
    base: float = math.e,
) -> Float[np.ndarray, "p q"]:
    """Mutual information of each column of x with each column of y.

    Entry i, j is `mutual_information(x[:, i], y[:, j], ...)` with the same options (a jitter draws other noise).
    A constant column shares nothing: exactly 0.

    Args:
        x: n observations of p variables.
        y: n observations of q variables; None pairs the columns of x with each other (p, p), computing each pair
            once. The diagonal is then the entropy of the column for "plugin" and "miller-madow" and infinite for
            the estimators of continuous variables.
        estimator: as in `mutual_information`. "ross" takes continuous columns in one matrix and discrete ones in the
            other.
        n_neighbors: k of "ksg1", "ksg2" and "ross".
        discrete: which matrix holds categories for "ross"; by default the one that does not hold floats.
        standardize: give each column unit deviation before neighbours are sought (KSG).
        clip: replace negative estimates by 0.
        jitter: standard deviation of Gaussian noise added to continuous columns, in standard deviations of each.
        seed: of the noise.
        base: unit of the result; e gives nats, 2 gives bits.

    Raises:
        DataError: different lengths, not finite, or columns the estimator cannot use (named).
        OptionError: unknown estimator, n_neighbors not in 1..n-1, base not above 1.

    Warns:
        EstimatorWarning: for the worst pair, where its estimate is unreliable.

    Cost: "plugin" O(n p q); "ross" O(n log n p q), 10,000 x 64 x 8 in about half a second on two cores; KSG
    O(n sqrt(k n) p q), twenty times that; "gaussian" O(n p q). Memory O(n (p + q)).

    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    >>> pairwise_mutual_information(x, x[:, :1], base=2)
    array([[1.],
           [0.]])
    """
    check_choice(estimator, ESTIMATORS, "estimator")
    check_range(jitter, "jitter", low=0)
    unit = nats_per_unit(base)
    x = as_matrix(x, "x")
    if y is not None:
        y = as_matrix(y, "y")
        check_same_length(x=x, y=y)
    rng = generator(seed)
    if estimator in ("plugin", "miller-madow"):
        information = _from_counts(x, y, estimator)
    elif estimator == "gaussian":
        from unsnarl.information._gaussian import gaussian_pairs

        information = gaussian_pairs(as_points(x, "x"), as_points(x if y is None else y, "y"))
    else:
        check_neighbors(n_neighbors, len(x))
        if estimator == "ross":
            information = _from_labels(x, y, int(n_neighbors), discrete, jitter, rng)
        else:
            information = _from_neighbors(
                x, y, int(n_neighbors), estimator == "ksg2", standardize=standardize, jitter=jitter, rng=rng
            )
    return (np.maximum(information, 0.0) if clip else information) / unit


def _all_pairs(p: int, q: int) -> tuple[PairIndex, PairIndex]:
    left, right = np.divmod(np.arange(p * q, dtype=np.int64), q)
    return left, right


def _upper_pairs(p: int, *, diagonal: bool) -> tuple[PairIndex, PairIndex]:
    left, right = np.triu_indices(p, 0 if diagonal else 1)
    return left.astype(np.int64), right.astype(np.int64)


def _fill(shape: tuple[int, int], left: PairIndex, right: PairIndex, values: np.ndarray, mirror: bool) -> PairMatrix:
    matrix = np.zeros(shape)
    matrix[left, right] = values
    if mirror:
        matrix[right, left] = values
    return matrix


def _from_counts(x: np.ndarray, y: np.ndarray | None, estimator: str) -> PairMatrix:
    """H(X) + H(Y) - H(X, Y) from the joint counts of each pair."""
    from unsnarl.information._contingency import tabulate_pairs

    x_codes, x_levels = category_columns(x, "x")
    y_codes, y_levels = (x_codes, x_levels) if y is None else category_columns(y, "y")
    _warn_of_sparse_pair(len(x), x_levels, y_levels)
    n, p, q = len(x), len(x_levels), len(y_levels)
    left, right = _upper_pairs(p, diagonal=True) if y is None else _all_pairs(p, q)
    x_rows = np.ascontiguousarray(x_codes.T)
    y_rows = x_rows if y is None else np.ascontiguousarray(y_codes.T)
    weight, cells = tabulate_pairs(x_rows, x_levels, y_rows, y_levels, left, right)
    joint = math.log(n) - weight / n
    if estimator == "miller-madow":
        joint += (cells - 1) / (2 * n)
    apart = (
        entropies_of_codes(x_codes, x_levels, estimator)[left] + entropies_of_codes(y_codes, y_levels, estimator)[right]
    )
    information = apart - joint
    if estimator == "plugin":
        information = np.maximum(information, 0.0)
    return _fill((p, q), left, right, information, mirror=y is None)


def _warn_of_sparse_pair(n: int, x_levels: Levels, y_levels: Levels) -> None:
    i, j = int(np.argmax(x_levels)), int(np.argmax(y_levels))
    warn_if_sparse_table(n, (x_levels[i] - 1.0) * (y_levels[j] - 1.0), f"column {i} of x and column {j} of y")


def _from_labels(
    x: np.ndarray,
    y: np.ndarray | None,
    n_neighbors: int,
    discrete: str | None,
    jitter: float,
    rng: np.random.Generator,
) -> PairMatrix:
    """Ross's estimator for continuous against discrete columns."""
    if y is None:
        raise OptionError("estimator='ross' pairs continuous with discrete columns; pass both x and y")
    if which_is_discrete(x, y, discrete) == "x":
        return _ross(as_points(y, "y"), "y", *category_columns(x, "x"), "x", n_neighbors, jitter, rng).T
    return _ross(as_points(x, "x"), "x", *category_columns(y, "y"), "y", n_neighbors, jitter, rng)


def _ross(
    points: Points,
    points_name: str,
    codes: Codes,
    levels: Levels,
    codes_name: str,
    n_neighbors: int,
    jitter: float,
    rng: np.random.Generator,
) -> PairMatrix:
    from unsnarl.information._sorted_neighbors import SortedColumns, ross_pairs

    n = len(points)
    if (levels == n).any():
        raise DataError(
            f"every value of {codes_name} column {int(np.argmax(levels == n))} occurs only once; "
            "estimator 'ross' needs categories with at least 2 observations"
        )
    information = np.zeros((points.shape[1], len(levels)))
    moving, useful = np.flatnonzero(varies(points)), np.flatnonzero(levels > 1)
    if not len(moving) or not len(useful):
        return information
    columns = condition(points, points_name, standardize=False, jitter=jitter, rng=rng)
    left, right = _all_pairs(len(moving), len(useful))
    estimate, tied = ross_pairs(
        SortedColumns.of(columns),
        np.ascontiguousarray(codes[:, useful].T),
        levels[useful],
        left,
        right,
        n_neighbors,
        digamma_table(n),
    )
    _warn_of_worst_tie(tied, moving[left], n, "Ross's estimator", points_name)
    information[moving[left], useful[right]] = estimate
    return information


def _warn_of_worst_tie(
    tied: Float[np.ndarray, "pairs"], column: PairIndex, n: int, estimator: str, argument: str
) -> None:
    worst = int(np.argmax(tied))
    warn_if_tied(int(tied[worst]), n, estimator, f"column {int(column[worst])} of {argument}")


def _from_neighbors(
    x: np.ndarray,
    y: np.ndarray | None,
    n_neighbors: int,
    second: bool,
    *,
    standardize: bool,
    jitter: float,
    rng: np.random.Generator,
) -> PairMatrix:
    """KSG-1 or KSG-2 for continuous columns."""
    from unsnarl.information._sorted_neighbors import SortedColumns, ksg_pairs

    n, name = len(x), "KSG-2" if second else "KSG-1"
    x_points = as_points(x, "x")
    y_points = x_points if y is None else as_points(y, "y")
    x_moving, y_moving = np.flatnonzero(varies(x_points)), np.flatnonzero(varies(y_points))
    information = np.zeros((x_points.shape[1], y_points.shape[1]))
    if y is None:
        information[x_moving, x_moving] = np.inf
        left, right = _upper_pairs(len(x_moving), diagonal=False)
    else:
        left, right = _all_pairs(len(x_moving), len(y_moving)) if len(y_moving) else _upper_pairs(0, diagonal=False)
    if not len(left):
        return information
    one = SortedColumns.of(condition(x_points, "x", standardize=standardize, jitter=jitter, rng=rng))
    other = one
    if y is not None:
        other = SortedColumns.of(condition(y_points, "y", standardize=standardize, jitter=jitter, rng=rng))
    psi = digamma_table(n)
    estimate, tied = ksg_pairs(one, other, left, right, n_neighbors, second, psi)
    _warn_of_worst_tie(tied, x_moving[left], n, name, "x")
    warn_if_near_ceiling(float(estimate.max()), n, float(psi[n] - psi[n_neighbors]), name)
    information[x_moving[left], y_moving[right]] = estimate
    if y is None:
        information[x_moving[right], x_moving[left]] = estimate
    return information
