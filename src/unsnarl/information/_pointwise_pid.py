"""Partial information decomposition of two sources, point by point: what both tell, what one alone tells, what only both together tell.

Williams and Beer 2010 (arXiv 1004.2515). With i_1, i_2 and i_12 what source 1, source 2 and both together tell of a target, and r
what is counted as told by both,

    u_1 = i_1 - r,    u_2 = i_2 - r,    s = i_12 - i_1 - i_2 + r,    so that    r + u_1 + u_2 + s = i_12.

What r is has to be chosen:

- "min": r = min(i_1, i_2), the smaller of both. With informations that are never negative r and u are not either, and
  s = i_12 - max(i_1, i_2). It calls equal amounts at one place shared even if they are about different things.
- "specificity-ambiguity" (Finn and Lizier 2018, arXiv 1801.09010): with h_k = -log p(y_k) what source k could tell at most,
  i_k = h_k - (h_k - i_k), and the minimum is taken of both parts: r = min(h_1, h_2) - min(h_1 - i_1, h_2 - i_2). Of pointwise
  log-ratios. Equal priors make it max(i_1, i_2), so that independent sources look redundant and u is never positive; priors that
  differ by more than the informations make it the i of the likelier source.
- a function of i_1, i_2 and i_12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_choice, check_finite, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.information._reliability import _warn

REDUNDANCIES = ("min", "specificity-ambiguity")
TERMS = ("redundancy", "unique_1", "unique_2", "synergy")
Redundancy = str | Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class PIDTerms:
    """The four terms of a decomposition, each of the shape of what was decomposed, in its unit.

    Attributes:
        redundancy: what both sources tell.
        unique_1: what the first alone tells.
        unique_2: what the second alone tells.
        synergy: what only both together tell.
    """

    redundancy: Float[np.ndarray, "*shape"]
    unique_1: Float[np.ndarray, "*shape"]
    unique_2: Float[np.ndarray, "*shape"]
    synergy: Float[np.ndarray, "*shape"]

    def summed(self, axis: int | tuple[int, ...] | None = None) -> PIDTerms:
        """Every term summed over axes; over all of them when absent."""
        return PIDTerms(*(np.asarray(term.sum(axis=axis)) for term in astuple(self)))

    def mean(self, axis: int | tuple[int, ...] | None = None) -> PIDTerms:
        """Every term averaged over axes; over all of them when absent."""
        return PIDTerms(*(np.asarray(term.mean(axis=axis)) for term in astuple(self)))

    def as_dict(self) -> dict[str, np.ndarray]:
        """Name -> term."""
        return dict(zip(TERMS, astuple(self), strict=True))

    def shares(self) -> dict[str, float]:
        """Each term's sum as a share of the sum of all four, which is i_12; nan where that is 0."""
        sums = {name: float(term.sum()) for name, term in self.as_dict().items()}
        total = sum(sums.values())
        return {name: value / total if total else float("nan") for name, value in sums.items()}


def pointwise_pid(
    i1: Float[np.ndarray, "*shape"] | Any,
    i2: Float[np.ndarray, "*shape"] | Any,
    i12: Float[np.ndarray, "*shape"] | Any,
    redundancy: Redundancy = "min",
    *,
    surprisals: Sequence[float] | None = None,
) -> PIDTerms:
    """Decompose what two sources tell, at every point of maps of information (equations at the head of this module).

    Args:
        i1: what the first source tells.
        i2: what the second tells.
        i12: what both together tell.
        redundancy: "min", "specificity-ambiguity", or a function (i1, i2, i12) -> what both tell, of the same shape.
        surprisals: for "specificity-ambiguity", -log p(y_1) and -log p(y_2) in the unit of the informations; equal when absent.

    Raises:
        DataError: maps of different shapes or not finite, or a function that returns such.
        OptionError: another redundancy, or surprisals that are not two numbers of at least 0.

    Warns:
        EstimatorWarning: "specificity-ambiguity" with equal surprisals.

    Cost: O(points).

    Examples:
        A copy of one bit, and a bit that only both together tell:

        >>> bit = np.log(2)
        >>> [round(float(v), 2) for v in pointwise_pid(bit, bit, bit).as_dict().values()]
        [0.69, 0.0, 0.0, 0.0]
        >>> [round(float(v), 2) for v in pointwise_pid(0.0, 0.0, bit).as_dict().values()]
        [0.0, 0.0, 0.0, 0.69]
    """
    maps = [_information(values, name) for name, values in (("i1", i1), ("i2", i2), ("i12", i12))]
    first, second, both = maps
    if not first.shape == second.shape == both.shape:
        raise DataError(f"i1, i2 and i12 must have one shape, got {first.shape}, {second.shape} and {both.shape}")
    shared = _redundancy(first, second, both, redundancy, surprisals)
    # in this order rounding cannot make a synergy negative that is none: both >= second gives both - first >= second - first
    terms = (shared, first - shared, second - shared, (both - first) - (second - shared))
    return PIDTerms(*(np.asarray(term) for term in terms))


def pid_levels(
    i1: Float[np.ndarray, "n *place"] | Any,
    i2: Float[np.ndarray, "n *place"] | Any,
    i12: Float[np.ndarray, "n *place"] | Any,
    redundancy: Redundancy = "min",
    *,
    surprisals: Sequence[float] | None = None,
) -> tuple[PIDTerms, PIDTerms, PIDTerms]:
    """The decomposition of n maps at both levels.

    Arguments and errors as in `pointwise_pid`; the first axis counts observations.

    Returns:
        The terms of every place; these summed over places, (n,); and the terms of the informations summed over places first, (n,).
        The last two have the same sum, i_12, and differ in what is shared: 'min' place by place calls shared only what both tell at
        the same place.

    Examples:
        Two sources that tell different places share nothing there, but as much of the whole:

        >>> _, by_place, whole = pid_levels(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]))
        >>> by_place.redundancy.item(), whole.redundancy.item()
        (0.0, 1.0)
    """
    maps = [_information(values, name) for name, values in (("i1", i1), ("i2", i2), ("i12", i12))]
    terms = pointwise_pid(maps[0], maps[1], maps[2], redundancy, surprisals=surprisals)
    axes = tuple(range(1, maps[0].ndim))
    whole = [np.asarray(one.sum(axis=axes)) for one in maps]
    return terms, terms.summed(axes), pointwise_pid(whole[0], whole[1], whole[2], redundancy, surprisals=surprisals)


def _information(values: Any, name: str) -> np.ndarray:
    array = np.asarray(to_numpy(values, name), dtype=np.float64)
    check_finite(array.reshape(-1), name)
    return array


def _redundancy(
    first: np.ndarray, second: np.ndarray, both: np.ndarray, kind: Redundancy, surprisals: Sequence[float] | None
) -> np.ndarray:
    if callable(kind):
        found = np.asarray(to_numpy(kind(first, second, both), "what redundancy returned"), dtype=np.float64)
        if found.shape != first.shape:
            raise DataError(f"redundancy must return the shape {first.shape}, got {found.shape}")
        check_finite(found.reshape(-1), "what redundancy returned")
        return found
    check_choice(kind, REDUNDANCIES, "redundancy")
    if kind == "min":
        return np.asarray(np.minimum(first, second))
    h1, h2 = (0.0, 0.0) if surprisals is None else check_surprisals(surprisals)
    if h1 == h2:
        _warn(
            "with equal surprisals the redundancy 'specificity-ambiguity' is the larger of both informations, so that even "
            "independent sources look redundant; give surprisals= that differ, or take 'min'"
        )
    return np.asarray(min(h1, h2) - np.minimum(h1 - first, h2 - second))


def check_surprisals(surprisals: Sequence[float]) -> tuple[float, float]:
    """Two surprisals as numbers.

    Raises:
        OptionError: not two, not finite, or below 0.
    """
    values = [float(value) for value in surprisals]
    if len(values) != 2 or not all(np.isfinite(value) and value >= 0 for value in values):
        raise OptionError(f"surprisals={surprisals!r} must be two numbers of at least 0, -log p of each source")
    return values[0], values[1]
