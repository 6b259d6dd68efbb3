"""Modalities of patients as one matrix of scaled numbers, with everything learned from the rows it was fitted on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_choice
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import DataError, NotFittedError, UnknownNameError

SCALES = ("standard", "minmax", "none")


class TableEncoder:
    """Tables scaled and one-hot, bags averaged over their instances, gaps filled with the training median.

    A category gets a column of zeros and ones for each of its values seen in training but the first of them; a value unseen in
    training becomes zeros. A column with gaps in training gets a further column that says where. All of it is learned in `fit`,
    so that calling `fit` on training patients alone keeps test patients out.

    Args:
        modalities: which to take, in this order; all when absent.
        scale: "standard" (mean 0, standard deviation 1), "minmax" (0 to 1 on the training rows) or "none"; for numbers and
            one-hot columns alike, so that a penalty treats them alike.
        drop_first: leave out the first category of each column.

    Raises:
        OptionError: an unknown scale.
        UnknownNameError: the data lacks a modality.
        DataError: the data has other columns than those of `fit`.

    Examples:
        >>> data = SurvivalData({"a": np.array([[0.0, 1], [2, 0], [4, 1]])}, [3, 2, 1], [1, 1, 0],
        ...                     columns={"a": ["size", "site"]}, categories={"a": {"site": ["left", "right"]}})
        >>> encoder = TableEncoder(scale="minmax").fit(data)
        >>> encoder.names_, encoder.transform(data)
        (['a: size', 'a: site=right'], array([[0. , 1. ], [0.5, 0. ], [1. , 1. ]]))
    """

    def __init__(self, modalities: Iterable[str] | None = None, *, scale: str = "standard", drop_first: bool = True):
        check_choice(scale, SCALES, "scale")
        self.modalities = None if modalities is None else _listed(modalities)
        self.scale, self.drop_first = scale, drop_first

    def fit(self, data: SurvivalData) -> TableEncoder:
        """Learn medians, categories and scales from these patients."""
        self.modalities_ = list(data.modalities) if self.modalities is None else self.modalities
        for name in self.modalities_:
            if name not in data.modalities:
                raise UnknownNameError("modality", name, list(data.modalities))
        raw = {name: self._columns(data, name) for name in self.modalities_}
        self.columns_ = {name: list(data.columns[name]) for name in self.modalities_}
        self._plan: list[tuple[str, int, str, float]] = []  # modality, column, how, the category or the fill
        self.names_: list[str] = []
        for name, values in raw.items():
            of = {} if data.is_bags(name) else data.categories.get(name, {})
            for i, column in enumerate(self.columns_[name]):
                known = values[:, i][~np.isnan(values[:, i])]
                if column in of:
                    seen = np.unique(known).astype(int).tolist()
                    for code in seen[1:] if self.drop_first else seen:
                        self._add(name, i, "is", code, f"{name}: {column}={of[column][code]}")
                    continue
                fill = float(np.median(known)) if len(known) else 0.0
                self._add(name, i, "value", fill, f"{name}: {column}")
                if len(known) < len(values):
                    self._add(name, i, "missing", 0.0, f"{name}: {column} missing")
        if not self.names_:
            raise DataError("no column is left to learn from: every category has one value")
        x = self._filled(raw)
        self.center_ = {"standard": x.mean(0), "minmax": x.min(0), "none": np.zeros(x.shape[1])}[self.scale]
        spread = {"standard": x.std(0), "minmax": np.ptp(x, axis=0), "none": np.ones(x.shape[1])}[self.scale]
        self.spread_ = np.where(spread > 1e-12, spread, 1.0)
        return self

    def transform(self, data: SurvivalData) -> Float[np.ndarray, "n columns"]:
        """The matrix of these patients, by what `fit` learned; float64."""
        if not hasattr(self, "spread_"):
            raise NotFittedError("this TableEncoder has not seen any data; call fit first")
        for name in self.modalities_:
            if name not in data.modalities:
                raise UnknownNameError("modality", name, list(data.modalities))
            if list(data.columns[name]) != self.columns_[name]:
                raise DataError(f"modality {name!r} has other columns than the data of fit")
        return (self._filled({m: self._columns(data, m) for m in self.modalities_}) - self.center_) / self.spread_

    def fit_transform(self, data: SurvivalData) -> Float[np.ndarray, "n columns"]:
        """`fit`, then `transform`."""
        return self.fit(data).transform(data)

    def _add(self, modality: str, column: int, how: str, value: float, name: str) -> None:
        self._plan.append((modality, column, how, value))
        self.names_.append(name)

    def _columns(self, data: SurvivalData, name: str) -> np.ndarray:
        values: Any = data.modalities[name]
        if isinstance(values, list):
            width = len(data.columns[name])
            values = np.stack([bag.mean(0) if len(bag) else np.full(width, np.nan) for bag in values])
        return values.astype(np.float64)

    def _filled(self, raw: dict[str, np.ndarray]) -> np.ndarray:
        columns = []
        for name, i, how, value in self._plan:
            x = raw[name][:, i]
            if how == "value":
                columns.append(np.where(np.isnan(x), value, x))
            else:
                columns.append((np.isnan(x) if how == "missing" else x == value).astype(np.float64))
        return np.column_stack(columns)


def _listed(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
