"""What every measure checks and prepares before it measures: codes, factors, and their categories."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int, Num

from unsnarl.arrays import as_matrix, check_range, check_same_length
from unsnarl.data import FactorTable
from unsnarl.errors import DataError
from unsnarl.measures._scores import Interval, half_sample_intervals

Codes = Num[np.ndarray, "n latent"]
Labels = Int[np.ndarray, "n factor"]
Rows = Int[np.ndarray, " chosen"]

ROUNDING = 1e-12
"""Information below this many nats is what rounding leaves of zero; ratios of it would be noise."""


def read_inputs(codes: Any, factors: Any, kinds: Any = None) -> tuple[Codes, FactorTable]:
    """Codes as a finite matrix and factors as a table with the same number of rows.

    Raises:
        DataError: a wrong shape or type, values that are not finite, different lengths, or a factor with one value only.
    """
    matrix = as_matrix(codes, "codes")
    table = FactorTable.of(factors, kinds=kinds)
    check_same_length(codes=matrix, factors=table)
    table.require_varying()
    with np.errstate(over="ignore", invalid="ignore"):
        spread = matrix.std(axis=0, dtype=np.float64)
    beyond = varying(matrix) & ~(np.isfinite(spread) & (spread > 0))
    if beyond.any():
        raise DataError(
            f"latent {int(beyond.argmax())} of codes has values too large or too small for their variance in float64; "
            "rescale the codes"
        )
    return matrix, table


def as_categories(table: FactorTable, factor_bins: int | None, measure: str) -> FactorTable:
    """The same factors with the continuous ones cut into bins that hold equally many observations.

    Args:
        table: factors of either kind.
        factor_bins: bins for each continuous factor; None leaves none of them allowed.
        measure: the name used in error messages.

    Raises:
        DataError: a factor is continuous and `factor_bins` is None.
    """
    names = [name for name in table.names if table.kinds[name] == "continuous"]
    if factor_bins is not None:
        check_range(factor_bins, "factor_bins", low=2, high=len(table), integer=True)
    if not names:
        return table
    if factor_bins is None:
        raise DataError(
            f"{measure} is defined for discrete factors only, but {', '.join(map(repr, names))} "
            f"{'is' if len(names) == 1 else 'are'} continuous; pass factor_bins=10 to cut such factors into ten equally "
            "filled bins, or declare them discrete with kinds="
        )
    cut = {name: quantile_bins(table.column(name), int(factor_bins)) for name in names}
    binned = FactorTable(table.values.assign(**cut), dict.fromkeys(table.names, "discrete"))
    binned.require_varying()
    return binned


def quantile_bins(values: Num[np.ndarray, " n"], bins: int) -> Int[np.ndarray, " n"]:
    """Bin numbers from 0, with equally many values in each bin as far as ties allow (equal values share a bin)."""
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    return np.searchsorted(edges, values, side="right")


def levels_of(codes: Codes) -> Int[np.ndarray, " latent"]:
    """How many different values each latent takes."""
    ordered = np.sort(codes, axis=0)
    return 1 + np.count_nonzero(ordered[1:] != ordered[:-1], axis=0)


def varying(codes: Num[np.ndarray, "n *latent"]) -> Any:
    """Which latents take more than one value."""
    return codes.max(axis=0) > codes.min(axis=0)


def half_intervals(
    estimate: Callable[[Rows], Mapping[str, float]],
    values: Mapping[str, float],
    labels: Labels,
    *,
    bootstrap: int,
    seed: int,
) -> dict[str, Interval]:
    """Half-sample intervals of numbers that are estimated from some of the rows; {} for `bootstrap=0`.

    A half in which a factor takes one value only is left out, as no measure is defined for it.
    """
    check_range(bootstrap, "bootstrap", low=0, integer=True)
    if not bootstrap:
        return {}

    def of_half(rows: Rows) -> Mapping[str, float]:
        return estimate(rows) if varying(labels[rows]).all() else {}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the whole sample has already warned of
        return half_sample_intervals(of_half, values, len(labels), repeats=int(bootstrap), seed=seed)
