"""Observations parted into those a predictor is fitted on and those it is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from unsnarl.arrays import as_matrix, check_range, check_same_length
from unsnarl.data import FactorTable
from unsnarl.errors import DataError, OptionError


@dataclass(frozen=True)
class HeldOut:
    """Codes and factors of all observations, and which of them are for training.

    Attributes:
        codes: shape (n, latent).
        factors: the factor table of the same n rows.
        train: True for the rows a predictor is fitted on, shape (n,).
    """

    codes: Float[np.ndarray, "n latent"]
    factors: FactorTable
    train: Bool[np.ndarray, " n"]

    @classmethod
    def of(
        cls,
        codes: Any,
        factors: Any,
        *,
        kinds: Any = None,
        test_codes: Any = None,
        test_factors: Any = None,
        test_size: float = 0.25,
        seed: int = 0,
    ) -> HeldOut:
        """Check the input and part it: by the test arrays where given, else a random share `test_size` is held out.

        Raises:
            DataError: lengths or columns differ, a value is not finite, a factor is constant, or a value of a discrete
                factor occurs once only.
            OptionError: `test_size` is not between 0 and 1, or only one of the test arrays is given.
        """
        matrix = as_matrix(codes, "codes").astype(np.float64)
        table = FactorTable.of(factors, kinds=kinds)
        n = check_same_length(codes=matrix, factors=table)
        if (test_codes is None) != (test_factors is None):
            raise OptionError("test_codes and test_factors must be given together")
        check_range(seed, "seed", low=0, integer=True)
        if test_codes is None:
            check_range(test_size, "test_size", low=0, high=0.95, open_low=True)
            held = max(1, round(n * test_size))
            train = np.ones(n, bool)
            train[np.random.default_rng(seed).permutation(n)[:held]] = False
        else:
            more = as_matrix(test_codes, "test_codes", min_rows=1).astype(np.float64)
            if more.shape[1] != matrix.shape[1]:
                raise DataError(f"codes has {matrix.shape[1]} columns but test_codes has {more.shape[1]}")
            matrix, table = np.concatenate([matrix, more]), _append(table, test_factors, len(more))
            train = np.arange(len(matrix)) < n
        table.require_varying()
        _require_pairs(table)
        split = cls(matrix, table, train)
        split.require_learnable()
        return split

    def some(self, rows: Int[np.ndarray, " m"]) -> HeldOut:
        """The same for some of the rows; each keeps its role."""
        return HeldOut(self.codes[rows], self.factors.rows(rows), self.train[rows])

    def require_learnable(self) -> None:
        """Refuse a part in which nothing can be learned or tested.

        Raises:
            DataError: a factor is constant among the training rows, or there are no test rows.
        """
        if self.train.all():
            raise DataError("no observation is left for testing")
        for name in self.factors.names:
            if len(np.unique(self.factors.column(name)[self.train])) < 2:
                raise DataError(
                    f"factor {name!r} has the same value in all {self.train.sum():,} training rows; "
                    "give more observations, a smaller test_size or another seed"
                )


def _append(table: FactorTable, test_factors: Any, rows: int) -> FactorTable:
    names = table.names if not hasattr(test_factors, "columns") and not isinstance(test_factors, dict) else None
    if isinstance(test_factors, FactorTable):
        test_factors, names = test_factors.values, None
    if hasattr(test_factors, "name"):  # a single pandas column
        test_factors, names = test_factors.to_frame(), None
    if names is not None and np.ndim(test_factors) == 2 and np.shape(test_factors)[1] != len(names):
        raise DataError(f"factors has {len(names)} columns but test_factors has {np.shape(test_factors)[1]}")
    more = FactorTable.of(test_factors, names=names, argument="test_factors")
    check_same_length(test_codes=range(rows), test_factors=more)
    if more.names != table.names:
        raise DataError(f"factors has the columns {table.names} but test_factors has {more.names}")
    return FactorTable.of(pd.concat([table.values, more.values], ignore_index=True), kinds=table.kinds)


def _require_pairs(table: FactorTable) -> None:
    for name, levels in table.levels.items():
        counts = np.bincount(table.column(name), minlength=len(levels))
        if counts.min() < 2:
            value = levels[counts.argmin()]
            raise DataError(
                f"factor {name!r} has the value {value!s} in one row only, which cannot be both learned and tested; "
                "drop that row, merge rare values, or declare the factor continuous with kinds="
            )
