"""The table of factors: one named column a factor, each discrete or continuous."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from unsnarl.arrays import to_numpy
from unsnarl.errors import DataError, OptionError, UnknownNameError

Kind = Literal["discrete", "continuous"]

DISCRETE: Kind = "discrete"
CONTINUOUS: Kind = "continuous"


def infer_kind(column: pd.Series) -> Kind:
    """Whether a column of factor values names categories or measures a quantity.

    Text, booleans and categoricals are discrete. Whole numbers are discrete up to max(20, sqrt(n)) different values
    (and always up to 64 when there are at least 10 observations a value); other numbers are discrete when they take
    at most 50 values and there are at least 20 observations a value (a grid such as 0.5, 0.6, ..., 1.0).
    Override with `kinds=` where the guess is wrong.
    """
    if column.dtype.kind not in "iuf":
        return DISCRETE
    n, levels = len(column), column.nunique()
    whole = column.dtype.kind in "iu" or bool((column == column.round()).all())
    if whole:
        few = levels <= max(20, int(np.sqrt(n))) or (levels <= 64 and n >= 10 * levels)
    else:
        few = levels <= min(50, n // 20)
    return DISCRETE if few else CONTINUOUS


@dataclass(frozen=True)
class FactorTable:
    """Named factor columns with their kinds; immutable.

    Build one with `FactorTable.of`, which checks everything a measure or a learner relies on. `known_levels` holds the
    levels of discrete factors where they are more than those present, as in a part of a table or a simulator's draws.
    """

    values: pd.DataFrame
    kinds: dict[str, Kind]
    known_levels: dict[str, np.ndarray] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        factors: Any,
        *,
        kinds: Mapping[str, str] | Iterable[str] | str | None = None,
        names: Iterable[str] | None = None,
        missing: Literal["raise", "keep"] = "raise",
        argument: str = "factors",
    ) -> FactorTable:
        """Check and name the factors; the levels of the result are those present, so its category indices have no gaps.

        Args:
            factors: a `FactorTable`, a data frame, a mapping name -> column, or an array of shape (n,) or (n, factor). A data
                frame that came from `FactorDataset.factors` brings its kinds along.
            kinds: "discrete" or "continuous" for all, or a mapping from factor name, or one entry a column; inferred where absent.
            names: names for the columns of an unnamed array; "factor 0", "factor 1", ... when absent.
            missing: "raise" refuses missing values, "keep" lets them through (for callers that drop them).
            argument: the name used in error messages.

        Raises:
            DataError: wrong shape, no rows or columns, missing or infinite values, duplicate names, unusable dtype.
            UnknownNameError: `kinds` names a factor that does not exist.
        """
        before: dict[str, Kind] = {}
        if isinstance(factors, FactorTable):
            if kinds is None and (missing == "keep" or not factors.values.isna().to_numpy().any()):
                return factors if factors.known_levels is None else cls(factors.values, factors.kinds)
            table, before = factors.values.copy(), factors.kinds
        else:
            table = _as_frame(factors, names, argument)
            told = table.attrs.pop("kinds", {})  # by `FactorDataset.factors`; a few rows may not show the kind
            before = {str(n): k for n, k in told.items() if n in table.columns}
        if table.shape[1] == 0:
            raise DataError(f"{argument} has no columns")
        if table.shape[0] == 0:
            raise DataError(f"{argument} has no rows")
        table.columns = [str(c) for c in table.columns]
        doubled = table.columns[table.columns.duplicated()]
        if len(doubled):
            raise DataError(f"{argument} has two columns named {doubled[0]!r}")
        named = {n for n in table if isinstance(table[n].dtype, pd.CategoricalDtype) or is_bool_dtype(table[n])}
        for name in table.columns:
            table[name] = _clean_column(table[name], f"factor {name!r}", missing)
        inferred = {n: DISCRETE if n in named else infer_kind(table[n].dropna()) for n in table.columns}
        inferred |= before | _given_kinds(kinds, list(table.columns))
        for name, kind in inferred.items():
            if kind == CONTINUOUS and table[name].dtype.kind not in "iuf":
                raise DataError(f"factor {name!r} holds {table[name].dtype} values and cannot be continuous")
        return cls(table.reset_index(drop=True), inferred)

    @property
    def names(self) -> list[str]:
        """Factor names in column order."""
        return list(self.values.columns)

    @property
    def discrete(self) -> np.ndarray:
        """Which factors are discrete: boolean array of shape (factor,)."""
        return np.array([self.kinds[name] == DISCRETE for name in self.names])

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def levels(self) -> dict[str, np.ndarray]:
        """The sorted different values of each discrete factor; a part of a table keeps the levels of the whole."""
        if self.known_levels is not None:
            return self.known_levels
        return {n: np.unique(_sortable(self.values[n].dropna())) for n in self.names if self.kinds[n] == DISCRETE}

    @cached_property
    def indices(self) -> Int[np.ndarray, "n factor"]:
        """Category indices 0..levels-1 of every factor (-1 where missing values were kept); only where all factors are discrete.

        Raises:
            DataError: a factor is continuous.
        """
        self.require_discrete("category indices")
        return np.stack([self._codes(n) for n in self.names], axis=1)

    @cached_property
    def numeric(self) -> Float[np.ndarray, "n factor"]:
        """Every factor as numbers: continuous values as they are, discrete ones as category indices."""
        columns = [
            self._codes(n) if self.kinds[n] == DISCRETE else self.values[n].to_numpy(np.float64) for n in self.names
        ]
        return np.stack([c.astype(np.float64) for c in columns], axis=1)

    def column(self, name: str) -> np.ndarray:
        """One factor: category indices if discrete, float values if continuous."""
        self._known(name)
        if self.kinds[name] == DISCRETE:
            return self._codes(name)
        return self.values[name].to_numpy(np.float64)

    def _codes(self, name: str) -> Int[np.ndarray, " n"]:
        column = self.values[name]
        codes = np.searchsorted(self.levels[name], _sortable(column)).astype(np.int64)
        return np.where(column.isna(), -1, codes)

    def _known(self, name: str) -> None:
        if name not in self.values.columns:
            raise UnknownNameError("factor", name, self.names)

    def rows(self, indices: Any) -> FactorTable:
        """The same factors for some observations (integer indices, a boolean mask or a slice).

        The levels stay those of the whole table, so that a category index means the same in every part.
        """
        return FactorTable(self.values.iloc[indices].reset_index(drop=True), self.kinds, self.levels)

    def select(self, names: Iterable[str]) -> FactorTable:
        """Some of the factors, in the order given.

        Raises:
            UnknownNameError: a name that is not a factor.
        """
        chosen = list(names)
        for name in chosen:
            self._known(name)
        if not chosen:
            raise DataError("no factor is left")
        levels = {n: self.levels[n] for n in chosen if n in self.levels}
        return FactorTable(self.values[chosen].copy(), {n: self.kinds[n] for n in chosen}, levels)

    def without_missing(self) -> tuple[FactorTable, np.ndarray]:
        """Only the rows in which every factor is known, and the boolean mask of those rows."""
        keep = self.values.notna().all(axis=1).to_numpy()
        if not keep.any():
            raise DataError("every row has a missing factor value")
        return FactorTable(self.values[keep].reset_index(drop=True), self.kinds), keep

    def require_discrete(self, what: str) -> None:
        """Refuse continuous factors for a definition that needs categories.

        Raises:
            DataError: names the continuous factors.
        """
        names = [n for n in self.names if self.kinds[n] == CONTINUOUS]
        if names:
            raise DataError(
                f"{what} is defined for discrete factors only, but {', '.join(map(repr, names))} "
                f"{'is' if len(names) == 1 else 'are'} continuous; bin the values, or declare the factor discrete with kinds="
            )

    def require_varying(self) -> None:
        """Refuse factors that take a single value, of which nothing can be measured.

        Raises:
            DataError: names the constant factor.
        """
        for name in self.names:
            if self.values[name].nunique() < 2:
                raise DataError(
                    f"factor {name!r} has the same value in every row, so no measure is defined for it; leave it out"
                )


def _as_frame(factors: Any, names: Iterable[str] | None, argument: str) -> pd.DataFrame:
    if isinstance(factors, pd.DataFrame):
        return factors.copy()
    if isinstance(factors, pd.Series):
        return factors.to_frame(name=factors.name if factors.name is not None else "factor 0")
    if isinstance(factors, Mapping):
        columns = {str(k): _as_column(v, f"factor {str(k)!r}") for k, v in factors.items()}
        lengths = {k: len(v) for k, v in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"the columns of {argument} have different lengths: {lengths}")
        return pd.DataFrame(columns)
    array = factors if isinstance(factors, np.ndarray) and factors.dtype == object else to_numpy(factors, argument)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise DataError(f"{argument} must be 2-D (observations x factors), got shape {array.shape}")
    names = [names] if isinstance(names, str) else names
    labels = list(names) if names is not None else [f"factor {i}" for i in range(array.shape[1])]
    if len(labels) != array.shape[1]:
        raise DataError(f"{argument} has {array.shape[1]} columns but {len(labels)} names were given")
    return pd.DataFrame(array, columns=labels)


def _as_column(values: Any, label: str) -> pd.Series:
    """One factor as a series without an index: of anything 1-D, missing values and pandas types kept as they are."""
    if not isinstance(values, pd.Series | pd.api.extensions.ExtensionArray):
        with contextlib.suppress(DataError):  # an object array or a list with None, which `_clean_column` judges
            values = to_numpy(values, label)
        if isinstance(values, np.ndarray) and values.ndim != 1:
            raise DataError(f"{label} must be 1-D (one value an observation), got shape {values.shape}")
    return pd.Series(values).reset_index(drop=True)


def _clean_column(column: pd.Series, label: str, missing: str) -> pd.Series:
    gone = int(column.isna().sum())
    if gone == len(column):
        raise DataError(f"{label} is empty: every value is missing")
    if gone and missing == "raise":
        first = int(np.flatnonzero(column.isna().to_numpy())[0])
        raise DataError(
            f"{label} has {gone} missing value{'s' if gone > 1 else ''} (first at row {first}); "
            "fill them or drop those rows"
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if is_bool_dtype(column):
        return column.astype("int64") if not gone else column
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        if column.dtype.kind == "f" and np.isinf(column.to_numpy(np.float64)).any():
            first = int(np.flatnonzero(np.isinf(column.to_numpy(np.float64)))[0])
            raise DataError(f"{label} has an infinite value at row {first}")
        return column
    if is_numeric_dtype(column) and hasattr(column.dtype, "numpy_dtype"):  # pandas' nullable numbers
        plain = column.astype("float64") if gone else column.astype(column.dtype.numpy_dtype)
        return _clean_column(plain, label, missing)
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype) or column.dtype.kind in "US":
        known = column.dropna()
        if not known.map(lambda v: isinstance(v, str | bool | int | float | np.generic)).all():
            raise DataError(f"{label} holds objects that are neither text nor numbers")
        if known.map(lambda v: isinstance(v, int | float | np.number) and not isinstance(v, bool)).all():
            plain = pd.to_numeric(column, errors="coerce")
            if plain.dtype != object and plain.isna().sum() == gone:
                return _clean_column(plain, label, missing)
        return column.map(lambda v: v if pd.isna(v) else str(v)).astype(object)
    raise DataError(f"{label} has dtype {column.dtype}; use numbers, text or booleans")


def _sortable(column: pd.Series) -> np.ndarray:
    values = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def _given_kinds(kinds: Any, names: list[str]) -> dict[str, Kind]:
    if kinds is None:
        return {}
    given: dict[str, Any]
    if isinstance(kinds, str):
        given = dict.fromkeys(names, kinds)
    elif isinstance(kinds, Mapping):
        given = {str(k): v for k, v in kinds.items()}
    else:
        listed = list(kinds)
        if len(listed) != len(names):
            raise OptionError(f"kinds has {len(listed)} entries for {len(names)} factors")
        given = dict(zip(names, listed, strict=True))
    for name, kind in given.items():
        if name not in names:
            raise UnknownNameError("factor", name, names)
        if kind not in (DISCRETE, CONTINUOUS):
            raise OptionError(f"kinds[{name!r}]={kind!r} is not allowed; choose 'discrete' or 'continuous'")
    return given
