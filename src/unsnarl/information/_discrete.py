"""Entropies and informations of categories, from counts.

The plug-in (maximum likelihood) estimator puts the observed frequencies into the definition. It is exact for the
sample and biased for the population: entropy too low by about (K - 1) / 2n with K occupied cells, mutual information
too high by about (Kx - 1)(Ky - 1) / 2n. The Miller-Madow estimator adds that first-order term back.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from unsnarl.arrays import as_matrix, check_choice, check_same_length
from unsnarl.errors import DataError
from unsnarl.information._categories import Codes, category_columns, row_codes
from unsnarl.information._reliability import warn_if_sparse_table
from unsnarl.information._units import nats_per_unit

CountEstimator = Literal["plugin", "miller-madow"]
COUNT_ESTIMATORS = ("plugin", "miller-madow")


def entropy_of_rows(codes: Codes, estimator: str) -> float:
    """Entropy in nats of the rows of a code matrix."""
    joint, cells = row_codes(codes)
    return entropy_of_counts(np.bincount(joint, minlength=cells), estimator)


def entropy_of_counts(counts: Int[np.ndarray, "cells"], estimator: str) -> float:
    """Entropy in nats of a table of counts; empty cells are ignored."""
    counts = counts[counts > 0]
    n = int(counts.sum())
    entropy = math.log(n) - float(counts @ np.log(counts)) / n
    if estimator == "miller-madow":
        entropy += (len(counts) - 1) / (2 * n)
    return max(entropy, 0.0)


def entropies_of_codes(
    codes: Codes, levels: Int[np.ndarray, "columns"], estimator: str
) -> Float[np.ndarray, "columns"]:
    """Entropy in nats of each column of a code matrix. Cost: O(n * columns)."""
    n = len(codes)
    start = np.cumsum(levels) - levels
    counts = np.bincount((codes + start).ravel(), minlength=int(levels.sum()))
    weight = np.add.reduceat(counts * np.log(np.maximum(counts, 1)), start)
    entropies = np.maximum(math.log(n) - weight / n, 0.0)
    return entropies + (levels - 1) / (2 * n) if estimator == "miller-madow" else entropies


def entropy(
    x: Shaped[np.ndarray, "n"] | Any, *, estimator: CountEstimator | str = "plugin", base: float = math.e
) -> float:
    """Entropy of a discrete variable, H(X) = -sum_x p(x) log p(x).

    Args:
        x: n labels (integers, booleans, text, or numbers on a coarse grid).
        estimator: "plugin" (observed frequencies) or "miller-madow" (plus (K - 1) / 2n, Miller 1955).
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number in [0, log n]; up to (K - 1) / 2n above log n with "miller-madow".

    Raises:
        DataError: x is not one column of labels.
        OptionError: unknown estimator, or base not above 1.

    Cost: O(n log n).

    >>> entropy(["red", "red", "blue", "green"], base=2)
    1.5
    """
    check_choice(estimator, COUNT_ESTIMATORS, "estimator")
    unit = nats_per_unit(base)
    codes, _ = category_columns(x, "x")
    if codes.shape[1] != 1:
        raise DataError(
            f"x must be 1-D, got shape {codes.shape}; joint_entropy takes the columns as one variable, "
            "column_entropies each by itself"
        )
    return entropy_of_rows(codes, estimator) / unit


def joint_entropy(
    *variables: Shaped[np.ndarray, "n *columns"] | Any,
    estimator: CountEstimator | str = "plugin",
    base: float = math.e,
) -> float:
    """Entropy of several discrete variables taken together, H(X, Y, ...).

    Args:
        *variables: each n labels, or a matrix of integer codes whose columns are taken together.
        estimator: "plugin" or "miller-madow", as in `entropy`.
        base: unit of the result; e gives nats, 2 gives bits.

    Raises:
        DataError: no variable, different lengths, or values that are no categories.
        OptionError: unknown estimator, or base not above 1.

    Cost: O(columns * n log n).

    >>> x = np.array([0, 0, 1, 1])
    >>> y = np.array([0, 1, 0, 1])
    >>> joint_entropy(x, y, base=2), joint_entropy(np.stack([x, y, x ^ y], axis=1), base=2)
    (2.0, 2.0)
    """
    check_choice(estimator, COUNT_ESTIMATORS, "estimator")
    unit = nats_per_unit(base)
    if not variables:
        raise DataError("joint_entropy needs at least one variable")
    return entropy_of_rows(_together(_codes_of(variables)), estimator) / unit


def _codes_of(variables: tuple[Any, ...], names: tuple[str, ...] = ()) -> list[Codes]:
    """Category codes of several variables with one row an observation each."""
    names = names or (("x",) if len(variables) == 1 else tuple(f"variable {i}" for i in range(len(variables))))
    codes = [category_columns(values, name)[0] for values, name in zip(variables, names, strict=True)]
    check_same_length(**dict(zip(names, codes, strict=True)))
    return codes


def _together(codes: list[Codes]) -> Codes:
    return np.concatenate(codes, axis=1)


def column_entropies(
    x: Num[np.ndarray, "n p"] | Any, *, estimator: CountEstimator | str = "plugin", base: float = math.e
) -> Float[np.ndarray, "p"]:
    """Entropy of each column of category codes by itself, H(X_1), ..., H(X_p).

    Args:
        x: n observations of p discrete variables.
        estimator: "plugin" or "miller-madow", as in `entropy`.
        base: unit of the result; e gives nats, 2 gives bits.

    Raises:
        DataError: x is not a matrix of numbers, or a column holds measurements rather than categories.
        OptionError: unknown estimator, or base not above 1.

    Cost: O(n p) for small integers, O(n p log n) for other numbers.

    >>> column_entropies(np.array([[0, 7], [1, 7], [2, 7], [3, 7]]), base=2)
    array([2., 0.])
    """
    check_choice(estimator, COUNT_ESTIMATORS, "estimator")
    unit = nats_per_unit(base)
    codes, levels = category_columns(as_matrix(x, "x"), "x")
    return entropies_of_codes(codes, levels, estimator) / unit


def conditional_entropy(
    x: Shaped[np.ndarray, "n *columns"] | Any,
    given: Shaped[np.ndarray, "n *columns"] | Any,
    *,
    estimator: CountEstimator | str = "plugin",
    base: float = math.e,
) -> float:
    """What remains unknown of X when another discrete variable is known, H(X | G) = H(X, G) - H(G).

    Args:
        x: n labels, or a matrix of integer codes whose columns are taken together.
        given: the known variable, in the same form.
        estimator: "plugin" or "miller-madow" (both entropies corrected).
        base: unit of the result; e gives nats, 2 gives bits.

    Raises:
        DataError: different lengths, or values that are no categories.
        OptionError: unknown estimator, or base not above 1.

    Cost: O(columns * n log n).

    >>> conditional_entropy([0, 1, 2, 3], given=[0, 0, 1, 1], base=2)
    1.0
    """
    check_choice(estimator, COUNT_ESTIMATORS, "estimator")
    unit = nats_per_unit(base)
    codes = _codes_of((x, given), ("x", "given"))
    return (entropy_of_rows(_together(codes), estimator) - entropy_of_rows(codes[1], estimator)) / unit


def count_information(x: Any, y: Any, estimator: str) -> float:
    """I(X; Y) in nats of two discrete variables, H(X) + H(Y) - H(X, Y)."""
    codes = _codes_of((x, y), ("x", "y"))
    (one, rows), (other, columns) = (row_codes(part) for part in codes)
    warn_if_sparse_table(len(one), (rows - 1.0) * (columns - 1.0))
    information = (
        entropy_of_rows(codes[0], estimator)
        + entropy_of_rows(codes[1], estimator)
        - entropy_of_rows(np.stack([one, other], axis=1), estimator)
    )
    return max(information, 0.0) if estimator == "plugin" else information


def conditional_mutual_information(
    x: Shaped[np.ndarray, "n *columns"] | Any,
    y: Shaped[np.ndarray, "n *columns"] | Any,
    given: Shaped[np.ndarray, "n *columns"] | Any,
    *,
    estimator: CountEstimator | str = "plugin",
    base: float = math.e,
) -> float:
    """What two discrete variables share beyond a third, I(X; Y | G) = H(X,G) + H(Y,G) - H(X,Y,G) - H(G).

    Args:
        x: n labels, or a matrix of integer codes whose columns are taken together.
        y: in the same form.
        given: in the same form.
        estimator: "plugin" or "miller-madow" (all four entropies corrected; the result may then be negative).
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number in [0, min(H(X | G), H(Y | G))] for "plugin".

    Raises:
        DataError: different lengths, or values that are no categories.
        OptionError: unknown estimator, or base not above 1.

    Warns:
        EstimatorWarning: the table given each state of G has more cells than there are observations.

    Cost: O(columns * n log n).

    >>> x, y = np.array([0, 0, 1, 1] * 5), np.array([0, 1, 0, 1] * 5)
    >>> round(conditional_mutual_information(x, y, given=x ^ y, base=2), 6)
    1.0
    """
    check_choice(estimator, COUNT_ESTIMATORS, "estimator")
    unit = nats_per_unit(base)
    codes = _codes_of((x, y, given), ("x", "y", "given"))
    (one, rows), (other, columns), (known, slices) = (row_codes(part) for part in codes)
    warn_if_sparse_table(len(one), (rows - 1.0) * (columns - 1.0) * slices, "x, y and given")
    table = np.stack([one, other, known], axis=1)
    information = (
        entropy_of_rows(table[:, [0, 2]], estimator)
        + entropy_of_rows(table[:, [1, 2]], estimator)
        - entropy_of_rows(table, estimator)
        - entropy_of_rows(table[:, [2]], estimator)
    )
    return (max(information, 0.0) if estimator == "plugin" else information) / unit
