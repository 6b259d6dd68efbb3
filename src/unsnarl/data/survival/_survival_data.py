"""Patients described by several modalities, with the time until an event or until they were last seen without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from unsnarl.arrays import check_same_length, to_numpy
from unsnarl.data._dataset import rows_of
from unsnarl.data.survival._outcome import check_outcome, from_structured
from unsnarl.errors import DataError, UnknownNameError


@dataclass(frozen=True, repr=False, eq=False)
class SurvivalData:
    """n patients: one or more modalities, a time and whether the event was seen at that time.

    A modality is a *table*, one row of numbers a patient, or *bags*, a list of (n_i, features) arrays with any number of
    instances a patient (the patches of a slide). The columns of a table that hold categories carry the index of the category
    as a number; `categories` names them, and `table` shows the words. Nothing is scaled, encoded or filled in here: what
    learns from data belongs inside `fit`.

    Args:
        modalities: name -> table or bags; all float32.
        time: time of the event or of the last visit, in any unit, at least 0.
        event: True where the event was seen, False where the patient was censored.
        names: of the patients; "patient 0", ... when absent.
        columns: modality -> names of its columns (tables) or features (bags); "column 0", ... when absent.
        categories: modality -> column -> its categories in order.
        pathways: modality -> group name -> names of the columns that belong to the group, such as genes of a pathway; groups
            may share columns and need not cover all.
        may_be_missing: modalities in which NaN means "not measured"; a row of NaN, or an empty bag, then says that the patient
            lacks the modality. In all others NaN and empty bags are refused.
        truth: for simulated patients, what is really so ("risk", "types", ...); dropped by `blinded`.

    Raises:
        DataError: lengths differ, NaN or infinite values, an empty bag, bags of different widths, a negative time, an event
            flag that is not 0 or 1, no event at all, or names that do not fit.

    Warns:
        UserWarning: more than 95% of the patients had the event, as happens when the flags of event and censorship are swapped.

    Examples:
        >>> data = SurvivalData({"genes": np.eye(3)}, time=[5, 8, 2], event=[True, False, True], names=["ann", "bob", "cai"])
        >>> data, data.subset([2]).names
        (SurvivalData(3 patients, 67% with event; genes: table of 3), ['cai'])
    """

    modalities: Mapping[str, Any]
    time: Any
    event: Any
    names: Any = None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    pathways: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    may_be_missing: tuple[str, ...] = ()
    truth: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        time, event = check_outcome(self.time, self.event)
        n = len(time)
        if not self.modalities:
            raise DataError("modalities is empty; a patient needs at least one")
        for name in (*self.columns, *self.categories, *self.pathways, *self.may_be_missing):
            self._known(name)
        checked: dict[str, Any] = {}
        columns: dict[str, list[str]] = {}
        for name, values in self.modalities.items():
            missing = name in self.may_be_missing
            checked[name] = _as_bags(values, name, missing) if _is_bags(values) else _as_table(values, name, missing)
            check_same_length(**{"time": time, name: checked[name]})
            width = _width(checked[name])
            given = self.columns.get(name)
            columns[name] = [f"column {i}" for i in range(width)] if given is None else [str(c) for c in given]
            if len(columns[name]) != width:
                raise DataError(f"columns[{name!r}] has {len(columns[name])} names for {width} columns")
            if len(set(columns[name])) < width:
                twice = next(c for c in columns[name] if columns[name].count(c) > 1)
                raise DataError(f"columns[{name!r}] has {twice!r} more than once")
        pathways = {m: _as_pathways(groups, m, columns[m]) for m, groups in self.pathways.items()}
        categories = {
            m: {str(c): tuple(map(str, levels)) for c, levels in of.items()} for m, of in self.categories.items()
        }
        for name, of in categories.items():
            _check_categories(name, of, columns[name], checked[name])
        names = [f"patient {i}" for i in range(n)] if self.names is None else [str(v) for v in self.names]
        check_same_length(time=time, names=names)
        self._set(modalities=checked, time=time, event=event, names=names, columns=columns)
        self._set(categories=categories, pathways=pathways, truth=dict(self.truth))

    def _set(self, **values: Any) -> SurvivalData:
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    def _known(self, name: str) -> None:
        if name not in self.modalities:
            raise UnknownNameError("modality", name, list(self.modalities))

    @staticmethod
    def of(modalities: Mapping[str, Any] | Any, y: Any, **options: Any) -> SurvivalData:
        """From scikit-survival's pair: a table (or several) and a structured array with a flag and a time.

        Args:
            modalities: name -> data frame, array or bags; one data frame or array alone becomes the modality "clinical". Text and
                categorical columns of a data frame become categories.
            y: structured array with two fields, the boolean event and the time, as `sksurv.util.Surv` makes them.
            options: further fields of `SurvivalData`.

        Raises:
            DataError: y is no such array.
        """
        event, time = from_structured(y)
        named = modalities if isinstance(modalities, Mapping) else {"clinical": modalities}
        parts: dict[str, Any] = {"modalities": {}, "columns": {}, "categories": {}}
        for name, values in named.items():
            if isinstance(values, pd.DataFrame):
                parts["modalities"][name], parts["categories"][name] = encode_frame(values, name)
                parts["columns"][name] = [str(c) for c in values.columns]
            else:
                parts["modalities"][name] = values
        for part, given in parts.items():
            given.update(options.pop(part, {}))
        return SurvivalData(**parts, time=time, event=event, **options)

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        parts = []
        for name, values in self.modalities.items():
            if isinstance(values, list):
                sizes = sorted(map(len, values)) or [0]
                parts.append(f"{name}: bags of {sizes[0]:,} to {sizes[-1]:,} x {_width(values)}")
            else:
                parts.append(f"{name}: table of {_width(values)}")
        share = f"{self.event.mean():.0%} with event" if len(self) else "none"
        return f"{type(self).__name__}({len(self):,} patients, {share}; {', '.join(parts)})"

    def __getitem__(self, name: str) -> Any:
        """A modality by name.

        Raises:
            UnknownNameError: there is no such modality.
        """
        self._known(name)
        return self.modalities[name]

    @property
    def y(self) -> np.ndarray:
        """The outcome as scikit-survival takes it: fields `event` (bool) and `time` (float64)."""
        structured = np.empty(len(self), dtype=[("event", "?"), ("time", "<f8")])
        structured["event"], structured["time"] = self.event, self.time
        return structured

    @property
    def present(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """Which patients have each modality: a bag with an instance, a row with a value."""
        return {
            name: np.array([len(bag) > 0 for bag in values], dtype=bool)
            if isinstance(values, list)
            else ~np.isnan(values).all(axis=1)
            for name, values in self.modalities.items()
        }

    def is_bags(self, name: str) -> bool:
        """Whether a modality is bags (else a table)."""
        return isinstance(self[name], list)

    def subset(self, indices: Any) -> SurvivalData:
        """Some of the patients: integer indices, a boolean mask or a slice. The columns and pathways stay."""
        rows = rows_of(indices, len(self))
        pick = lambda values: [values[i] for i in rows] if isinstance(values, list) else values[rows]  # noqa: E731
        return self._with(
            modalities={name: pick(values) for name, values in self.modalities.items()},
            time=self.time[rows],
            event=self.event[rows],
            names=[self.names[i] for i in rows],
            truth={
                name: pick(values) if _runs_over(values, len(self)) else values for name, values in self.truth.items()
            },
        )

    def only(self, modalities: Iterable[str]) -> SurvivalData:
        """The same patients with some of their modalities.

        Raises:
            UnknownNameError: there is no such modality.
        """
        chosen = [modalities] if isinstance(modalities, str) else list(modalities)
        return self._with(
            modalities={name: self[name] for name in chosen},
            **{
                part: {m: v for m, v in getattr(self, part).items() if m in chosen}
                for part in ("columns", "categories", "pathways")
            },
            may_be_missing=tuple(m for m in self.may_be_missing if m in chosen),
        )

    def blinded(self, *, outcome: bool = True) -> SurvivalData:
        """The same patients without `truth` and, unless `outcome` is False, with time NaN and no events: nothing left to peek at."""
        hidden = {"time": np.full(len(self), np.nan), "event": np.zeros(len(self), dtype=bool)} if outcome else {}
        return self._with(truth={}, **hidden)

    def with_pathways(self, modality: str, groups: Mapping[str, Sequence[str]]) -> SurvivalData:
        """The same data with the columns of a table grouped anew.

        Raises:
            DataError: a group is empty or names a column that is not there.
        """
        return self._with(
            pathways={**self.pathways, modality: _as_pathways(groups, modality, self.columns_of(modality))}
        )

    def columns_of(self, modality: str) -> list[str]:
        """Names of a modality's columns."""
        self._known(modality)
        return list(self.columns[modality])

    def pathway_arrays(self, modality: str = "genes") -> dict[str, Float[np.ndarray, "n _"]]:
        """Pathway -> its columns of the table, one (n, size) array each.

        Raises:
            DataError: the modality has no pathways.
        """
        self._known(modality)
        if not self.pathways.get(modality):
            raise DataError(f"the modality {modality!r} has no pathways; see with_pathways and correlation_clusters")
        place = {c: i for i, c in enumerate(self.columns[modality])}
        return {
            name: self.modalities[modality][:, [place[g] for g in genes]]
            for name, genes in self.pathways[modality].items()
        }

    def table(self, modality: str) -> pd.DataFrame:
        """A table as a data frame, its categories in words, one row a patient."""
        if self.is_bags(modality):
            raise DataError(f"the modality {modality!r} is bags and has no table")
        frame = pd.DataFrame(self[modality].copy(), columns=self.columns_of(modality), index=pd.Index(self.names))
        for column, levels in self.categories.get(modality, {}).items():
            codes = frame[column].fillna(-1).to_numpy(dtype=np.int64)
            frame[column] = pd.Categorical.from_codes(codes, categories=pd.Index(levels))
        return frame

    def _with(self, **changes: Any) -> SurvivalData:
        """A copy without the checks, which a part of checked data need not pass again."""
        made = object.__new__(type(self))
        for spec in dataclasses.fields(self):
            object.__setattr__(made, spec.name, changes.get(spec.name, getattr(self, spec.name)))
        return made


def encode_frame(frame: pd.DataFrame, modality: str) -> tuple[np.ndarray, dict[str, list[str]]]:
    """The numbers of a data frame, with text and categorical columns as indices of their categories."""
    numbers, categories = [], {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column):
            as_categories = column.astype("category")
            codes = as_categories.cat.codes.to_numpy(np.float64)
            categories[str(name)] = [str(v) for v in as_categories.cat.categories]
            numbers.append(np.where(codes < 0, np.nan, codes))
        else:
            numbers.append(column.to_numpy(np.float64))
    if not numbers:
        raise DataError(f"the modality {modality!r} has no columns")
    return np.column_stack(numbers), categories


def _is_bags(values: Any) -> bool:
    return isinstance(values, list | tuple) and len(values) > 0 and getattr(values[0], "ndim", 0) == 2


def _width(values: Any) -> int:
    return int(values[0].shape[1] if isinstance(values, list) else values.shape[1]) if len(values) else 0


def _runs_over(values: Any, n: int) -> bool:
    return isinstance(values, list | np.ndarray) and len(values) == n


def _as_table(values: Any, name: str, missing: bool) -> np.ndarray:
    array = to_numpy(values, f"modality {name!r}")
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"modality {name!r} must be patients x columns or a list of bags, got shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"modality {name!r} must hold numbers, got dtype {array.dtype}; see SurvivalData.of for tables")
    _check_values(array, f"modality {name!r}", missing)
    return np.ascontiguousarray(array, dtype=np.float32)


def _as_bags(values: Any, name: str, missing: bool) -> list[np.ndarray]:
    bags: list[np.ndarray] = []
    for i, bag in enumerate(values):
        array = to_numpy(bag, f"bag {i} of {name!r}")
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise DataError(
                f"bag {i} of {name!r} must be instances x features, got shape {array.shape} of {array.dtype}"
            )
        if len(array) == 0 and not missing:
            raise DataError(f"bag {i} of {name!r} is empty; leave the patient out, or list {name!r} in may_be_missing")
        if bags and array.shape[1] != bags[0].shape[1]:
            raise DataError(f"bag {i} of {name!r} has {array.shape[1]} features, but bag 0 has {bags[0].shape[1]}")
        _check_values(array, f"bag {i} of {name!r}", False)
        bags.append(np.ascontiguousarray(array, dtype=np.float32))
    return bags


def _check_values(array: np.ndarray, what: str, missing: bool) -> None:
    if array.dtype.kind != "f":
        return
    bad = np.isinf(array) if missing else ~np.isfinite(array)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        value = "NaN" if np.isnan(array[row, column]) else "infinite"
        hint = "" if missing or value != "NaN" else "; list the modality in may_be_missing if NaN means not measured"
        raise DataError(f"{what} has {int(bad.sum())} {value} values (first: row {row}, column {column}){hint}")


def _as_pathways(groups: Mapping[str, Sequence[str]], modality: str, columns: list[str]) -> dict[str, tuple[str, ...]]:
    known, made = set(columns), {}
    for name, genes in groups.items():
        if len(genes) == 0:
            raise DataError(f"the pathway {str(name)!r} of {modality!r} has no column")
        for gene in genes:
            if gene not in known:
                raise DataError(f"the pathway {str(name)!r} names {gene!r}, which is not a column of {modality!r}")
        made[str(name)] = tuple(genes)
    return made


def _check_categories(modality: str, of: Mapping[str, Sequence[str]], columns: list[str], values: Any) -> None:
    for column, levels in of.items():
        if column not in columns:
            raise UnknownNameError(f"column of {modality!r}", column, columns)
        codes = values[:, columns.index(column)]
        codes = codes[~np.isnan(codes)]
        if len(codes) and not (np.isin(codes, np.arange(len(levels)))).all():
            raise DataError(
                f"column {column!r} of {modality!r} must hold the index of one of its {len(levels)} categories"
            )
