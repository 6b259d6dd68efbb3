"""Information about categories from an entropy that grows with the number of points it is given.

I(Z; Y) = sum_c p_c [ mean over r of H(Z*_{c,r}) - H(Z | Y = c) ], where Z*_{c,r} is the r-th random subset of all rows of
Z, of the same size as category c. Without that match the first term would be larger merely for having more points.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_range
from unsnarl.errors import DataError
from unsnarl.information._reliability import _warn

Rows = Int[np.ndarray, "rows"]


class MatchedInformation(float):
    """An information in bits that remembers its parts.

    Attributes:
        categories: the categories, in the order of the following arrays.
        shares: p_c, the share of each category.
        matched: mean entropy of random subsets of the category's size, in bits.
        within: entropy within the category, in bits.
        standard_error: of the result, from the spread over the random subsets alone (the sample taken as it is); nan
            for a single repeat.
        sigma: width of the kernel used; nan where there was none.
    """

    categories: Int[np.ndarray, "categories"]
    shares: Float[np.ndarray, "categories"]
    matched: Float[np.ndarray, "categories"]
    within: Float[np.ndarray, "categories"]
    standard_error: float
    sigma: float


def size_matched_information(
    entropy: Callable[[Rows], float],
    labels: Int[np.ndarray, "n"],
    *,
    repeats: int = 5,
    seed: int = 0,
    sigma: float = math.nan,
) -> MatchedInformation:
    """What categories explain of an entropy, against random subsets of the same size.

    The random subsets are those of Python's `random.sample`, seeded anew for every category, as published: two
    categories of one size are compared with the same subsets.

    Args:
        entropy: entropy in bits of the given rows (two or more of them).
        labels: category of each row.
        repeats: random subsets a category.
        seed: of the subsets.
        sigma: handed through to the result.

    Raises:
        DataError: fewer than two observations.
        OptionError: repeats or seed out of range.

    Warns:
        EstimatorWarning: a category has one member; its entropies are taken as 0.
    """
    check_range(repeats, "n_repeats", low=1, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    n = len(labels)
    if n < 2:
        raise DataError(f"at least 2 observations are needed, got {n}")
    categories, sizes = np.unique(labels, return_counts=True)
    alone = int((sizes == 1).sum())
    if alone:
        _warn(
            f"{alone} of {len(categories)} categories have a single observation, whose entropy is taken as 0; they add "
            "nothing to the estimate"
        )
    within, draws = np.zeros(len(categories)), np.zeros((len(categories), int(repeats)))
    known: dict[int, list[float]] = {}  # the subsets depend on the size alone
    for place, (category, size) in enumerate(zip(categories, sizes.tolist(), strict=True)):
        if size == 1:
            continue
        if size not in known:
            stream = random.Random(int(seed))
            subsets = [sorted(stream.sample(range(n), size)) for _ in range(int(repeats))]
            if size == n:
                subsets = subsets[:1]  # all rows, every time
            known[size] = [entropy(np.array(rows)) for rows in subsets] * (int(repeats) // len(subsets))
        draws[place] = known[size]
        within[place] = draws[place, 0] if size == n else entropy(np.flatnonzero(labels == category))
    shares = sizes / n
    matched = draws.mean(axis=1)
    value = MatchedInformation(shares @ (matched - within))
    value.categories, value.shares, value.matched, value.within = categories, shares, matched, within
    value.standard_error, value.sigma = _spread(draws, shares, sizes), sigma
    return value


def _spread(draws: Any, shares: Any, sizes: Any) -> float:
    """Standard error of the mean over the draws; categories of one size share theirs, and so their error."""
    if draws.shape[1] < 2:
        return math.nan
    variance = 0.0
    for size in np.unique(sizes):
        same = sizes == size
        one = draws[np.flatnonzero(same)[0]]
        variance += shares[same].sum() ** 2 * one.var(ddof=1) / len(one)
    return math.sqrt(variance)
