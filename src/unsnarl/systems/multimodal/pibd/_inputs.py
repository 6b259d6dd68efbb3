"""What users pass -> bags and genes of patients, and the scales that training sets for them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unsnarl.arrays import check_same_length, to_numpy
from unsnarl.data.survival._clusters import correlation_clusters
from unsnarl.data.survival._outcome import check_outcome, from_structured
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import DataError

BAG_SCALINGS = ("standard", "none")
GENE_SCALINGS = ("minmax", "standard", "none")


@dataclass(frozen=True)
class Patients:
    """Checked inputs of n patients.

    Attributes:
        bags: one (n_i, width) float32 array a patient; of length 0 for one without the modality.
        genes: those of all pathways one after the other, (n, total) float32; zeros for a patient without the modality.
        has_genes: who has the modality, (n,).
        names: of the patients.
        time: until the event or the last visit, (n,); None at prediction.
        event: whether the event was seen, (n,); None at prediction.
    """

    bags: list[Float[np.ndarray, "_ _"]]
    genes: Float[np.ndarray, "n gene"]
    has_genes: Bool[np.ndarray, " n"]
    names: list[str]
    time: Float[np.ndarray, " n"] | None = None
    event: Bool[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.bags)

    @property
    def counts(self) -> Int[np.ndarray, " n"]:
        """Instances of each bag."""
        return np.array([len(bag) for bag in self.bags], dtype=np.int64)

    def subset(self, rows: Sequence[int] | np.ndarray) -> Patients:
        """Some of the patients."""
        index = np.asarray(rows, dtype=np.int64)
        return Patients(
            [self.bags[i] for i in index],
            self.genes[index],
            self.has_genes[index],
            [self.names[i] for i in index],
            None if self.time is None else self.time[index],
            None if self.event is None else self.event[index],
        )


@dataclass(frozen=True)
class Reader:
    """How inputs are read: what `fit` met, and what is later expected to be the same. Its fields are JSON.

    Attributes:
        width: numbers in an instance.
        pathways: name -> number of genes, or the names of its columns where the data has names.
        modalities: names of the two modalities of a `SurvivalData`; None where arrays were passed.
        columns: names of the columns of a table that serves as the first bag; None for real bags.
        levels: categories of each of these columns, 0 for numbers.
    """

    width: int
    pathways: dict[str, Any]
    modalities: tuple[str, str] | None = None
    columns: list[str] | None = None
    levels: list[int] | None = None

    @staticmethod
    def of(X: Any, pathways: Any, *, modalities: tuple[str, str] | None, clusters: int) -> Reader:
        """Find out how these training inputs are to be read."""
        if isinstance(X, SurvivalData):
            return _reader_of_data(X, modalities, clusters)
        if X is None or pathways is None:
            raise DataError(
                "fit needs both bags and pathways (a patient may lack one; see predict_survival for what then happens)"
            )
        widths = [b.shape[1] for b in (_bag(b, i) for i, b in enumerate(X)) if b is not None]
        if not widths:
            raise DataError("no patient has a bag; fit needs patients with both modalities")
        return Reader(widths[0], {name: values.shape[1] for name, values in _tables(pathways).items()})

    @property
    def sizes(self) -> list[int]:
        """Genes of each pathway."""
        return [v if isinstance(v, int) else len(v) for v in self.pathways.values()]

    def to_facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "modalities": list(self.modalities) if self.modalities else None}

    @staticmethod
    def from_facts(facts: Mapping[str, Any]) -> Reader:
        """From JSON."""
        return Reader(**{**facts, "modalities": tuple(facts["modalities"]) if facts["modalities"] else None})

    def read(self, X: Any, pathways: Any = None, time: Any = None, event: Any = None, *, outcome: bool) -> Patients:
        """Checked inputs.

        Args:
            X: a `SurvivalData`, or bags: a list of (n_i, width) arrays with None for a patient without one, or an (n, N,
                width) array, or None where nobody has any.
            pathways: name -> (n, genes), or a list of such tables, or one table; None where nobody has any.
            time: times, or scikit-survival's structured array of events and times.
            event: True where the event was seen.
            outcome: whether time and event are needed.

        Raises:
            DataError: shapes, lengths or names that do not fit, NaN, or a patient without anything.
        """
        if isinstance(X, SurvivalData):
            bags, genes, names = self._from_data(X)
            if outcome:
                time, event = X.time, X.event
        else:
            if getattr(getattr(time, "dtype", None), "names", None):
                event, time = from_structured(time)
            n = next(
                (len(v) for v in (X, *(_tables(pathways).values() if pathways is not None else ())) if v is not None), 0
            )
            bags = self._bags(X, n)
            genes = self._genes(None if pathways is None else _tables(pathways), n)
            names = [f"patient {i}" for i in range(n)]
        check_same_length(bags=bags, pathways=genes)
        gone = np.isnan(genes)
        has_genes = ~gone.all(1)
        if (gone[has_genes]).any():
            row = int(np.flatnonzero(gone.any(1) & has_genes)[0])
            column = int(np.flatnonzero(gone[row])[0])
            pathway = list(self.pathways)[int(np.searchsorted(np.cumsum(self.sizes), column, side="right"))]
            raise DataError(
                f"pathways has NaN in {int(gone[has_genes].any(1).sum())} patients (first: patient {row} in {pathway!r}); fill "
                "them, or make all genes of a patient NaN to say that none was measured"
            )
        lost = ~has_genes & (np.array([len(b) for b in bags], dtype=np.int64) == 0)
        if lost.any():
            raise DataError(f"{names[int(lost.argmax())]} has neither a bag nor genes")
        genes = np.where(has_genes[:, None], genes, 0).astype(np.float32)
        patients = Patients(bags, genes, has_genes, names)
        if not outcome:
            return patients
        if time is None or event is None:
            raise DataError("time and event are needed: two vectors, or scikit-survival's structured array as time")
        times, events = check_outcome(time, event)
        check_same_length(bags=bags, time=times, event=events)
        return Patients(bags, genes, has_genes, names, times, events)

    def _from_data(self, data: SurvivalData) -> tuple[list[np.ndarray], np.ndarray, list[str]]:
        bag_name, gene_name = self.modalities or ("", "")
        if self.modalities is None:
            found = _reader_of_data(data, None, 8)
            bag_name, gene_name = found.modalities or ("", "")
        n = len(data)
        if bag_name not in data.modalities:
            bags = self._bags(None, n)
        elif data.is_bags(bag_name):
            bags = self._bags(data[bag_name], n)
        else:
            bags = self._variables(data[bag_name], data.columns_of(bag_name))
        if gene_name not in data.modalities:
            genes = self._genes(None, n)
        elif any(isinstance(v, int) for v in self.pathways.values()):
            genes = self._genes(data.pathway_arrays(gene_name), n)
        else:
            names = data.columns_of(gene_name)
            wanted = [c for columns in self.pathways.values() for c in columns]
            absent = [c for c in wanted if c not in set(names)]
            if absent:
                raise DataError(f"modality {gene_name!r} has no column {absent[0]!r}, which the model was fitted on")
            place = {c: i for i, c in enumerate(names)}
            genes = np.asarray(data[gene_name])[:, [place[c] for c in wanted]]
        return bags, genes, data.names

    def _bags(self, X: Any, n: int) -> list[np.ndarray]:
        if X is None:
            return [np.zeros((0, self.width), dtype=np.float32)] * n
        bags = []
        for i, values in enumerate(X):
            bag = _bag(values, i)
            if bag is None:
                bag = np.zeros((0, self.width), dtype=np.float32)
            if bag.shape[1] != self.width:
                raise DataError(f"bag {i} has {bag.shape[1]} features, but {self.width} are expected")
            bags.append(bag)
        return bags

    def _genes(self, tables: dict[str, np.ndarray] | None, n: int) -> np.ndarray:
        if tables is None:
            return np.full((n, sum(self.sizes)), np.nan, dtype=np.float32)
        if list(tables) != list(self.pathways) or [t.shape[1] for t in tables.values()] != self.sizes:
            raise DataError(
                f"pathways are {_shown({k: t.shape[1] for k, t in tables.items()})} (genes), but the model was fitted on "
                f"{_shown(dict(zip(self.pathways, self.sizes, strict=True)))}"
            )
        return np.concatenate(list(tables.values()), axis=1)

    def _variables(self, table: np.ndarray, columns: list[str]) -> list[np.ndarray]:
        """A row of a table as a bag: one instance a variable that was measured, with a tag that says which it is."""
        if columns != self.columns:
            raise DataError(f"the columns of {self.modalities[0]!r} are not those of fit" if self.modalities else "")
        levels = self.levels or []
        encoded = np.zeros((len(table), len(columns), self.width), dtype=np.float32)
        start = len(columns)
        for i, k in enumerate(levels):
            encoded[:, i, i] = 1
            known = ~np.isnan(table[:, i])
            if k:
                rows = np.flatnonzero(known)
                encoded[rows, i, start + table[rows, i].astype(int)] = 1
            else:
                encoded[known, i, start] = table[known, i]
            start += max(1, k)
        return [row[~np.isnan(values)] for row, values in zip(encoded, table, strict=True)]


class InputScaler(nn.Module):
    """Bags and genes on the scale of the networks, by what was learned from the training patients.

    Args:
        reader: how the inputs are read.
        bag_scaling: "standard": every feature to mean 0 and standard deviation 1 over the instances of all training bags
            (numbers of a table by variable); "none", as published, for features that come scaled.
        gene_scaling: "minmax": every gene to [-1, 1] on the training patients, and what is exactly 0 stays 0, as published;
            "standard"; "none".
    """

    shift: Tensor
    scale: Tensor
    gene_shift: Tensor
    gene_scale: Tensor

    def __init__(self, reader: Reader, bag_scaling: str, gene_scaling: str):
        super().__init__()
        self.bag_scaling, self.gene_scaling = bag_scaling, gene_scaling
        self.tags = 0 if reader.columns is None else len(reader.columns)
        self.levels = reader.levels or []
        self.register_buffer("shift", torch.zeros(max(1, self.tags), reader.width))
        self.register_buffer("scale", torch.ones(reader.width))
        self.register_buffer("gene_shift", torch.zeros(sum(reader.sizes)))
        self.register_buffer("gene_scale", torch.ones(sum(reader.sizes)))

    def learn(self, patients: Patients) -> None:
        """Set the scales from training patients."""
        if self.bag_scaling == "standard":
            count = max(1, int(patients.counts.sum()))
            if self.tags:
                every, start = np.concatenate(patients.bags), self.tags
                for i, k in enumerate(self.levels):
                    values = every[every[:, i] == 1, start].astype(np.float64)
                    if k == 0 and len(values):
                        self.shift[i, start] = float(values.mean())
                        self.scale[start] = float(_safe(values.std()))
                    start += max(1, k)
            else:
                mean = sum(bag.sum(0, dtype=np.float64) for bag in patients.bags) / count
                square = sum(((bag - mean) ** 2).sum(0) for bag in patients.bags) / count
                self.shift.copy_(torch.as_tensor(mean)[None])
                self.scale.copy_(torch.as_tensor(_safe(np.sqrt(square))))
        genes = patients.genes[patients.has_genes].astype(np.float64)
        if self.gene_scaling == "minmax":
            low, high = genes.min(0), genes.max(0)
            self.gene_shift.copy_(torch.as_tensor((low + high) / 2))
            self.gene_scale.copy_(torch.as_tensor(_safe((high - low) / 2)))
        elif self.gene_scaling == "standard":
            self.gene_shift.copy_(torch.as_tensor(genes.mean(0)))
            self.gene_scale.copy_(torch.as_tensor(_safe(genes.std(0))))

    def forward(
        self,
        bags: Float[Tensor, "batch instance width"],
        counts: Int[Tensor, " batch"],
        genes: Float[Tensor, "batch gene"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same three, scaled."""
        shift = bags[..., : self.tags] @ self.shift if self.tags else self.shift
        scaled = (genes - self.gene_shift) / self.gene_scale
        if self.gene_scaling == "minmax":
            scaled = scaled.where(genes != 0, 0.0)
        return (bags - shift) / self.scale, counts, scaled


def _safe(spread: Any) -> Any:
    return np.where(np.asarray(spread) > 1e-12, spread, 1.0)


def _reader_of_data(data: SurvivalData, modalities: tuple[str, str] | None, clusters: int) -> Reader:
    bag_name, gene_name = modalities or _choose(data)
    groups: Mapping[str, Any] = data.pathways.get(gene_name) or {}
    if data.is_bags(gene_name):
        raise DataError(f"modality {gene_name!r} is bags, but the second modality must be a table of genes")
    if not groups:
        rows = data.present[gene_name]
        names = data.columns_of(gene_name)
        groups = correlation_clusters(data[gene_name][rows], names, min(clusters, len(names)))
    pathways = {name: list(columns) for name, columns in groups.items()}
    if data.is_bags(bag_name):
        width = next((b.shape[1] for b in data[bag_name]), 0)
        return Reader(width, pathways, (bag_name, gene_name))
    columns = data.columns_of(bag_name)
    of = data.categories.get(bag_name, {})
    levels = [len(of.get(c, ())) for c in columns]
    return Reader(len(columns) + sum(max(1, k) for k in levels), pathways, (bag_name, gene_name), columns, levels)


def _choose(data: SurvivalData) -> tuple[str, str]:
    names = list(data.modalities)
    if len(names) < 2:
        raise DataError(f"two modalities are needed, but the data has only {names[0]!r}")
    tables = [m for m in names if not data.is_bags(m)]
    if not tables:
        raise DataError("no modality is a table of genes; all are bags")
    grouped = [m for m in tables if data.pathways.get(m)]
    genes = grouped[0] if grouped else max(tables, key=lambda m: len(data.columns_of(m)))
    bags = next((m for m in names if data.is_bags(m)), next(m for m in names if m != genes))
    unused = [m for m in names if m not in (bags, genes)]
    if unused:
        warnings.warn(
            f"of the modalities {', '.join(names)} only {bags!r} (bags) and {genes!r} (genes) are used; "
            "choose others by modalities=",
            UserWarning,
            stacklevel=5,
        )
    return bags, genes


def _bag(values: Any, place: int) -> np.ndarray | None:
    if values is None:
        return None
    bag = to_numpy(values, f"bag {place}")
    if bag.ndim != 2 or bag.dtype.kind not in "biuf":
        raise DataError(f"bag {place} must be instances x features of numbers, got shape {bag.shape} of {bag.dtype}")
    bag = bag.astype(np.float32, copy=False)
    if not np.isfinite(bag).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(bag))[0])
        raise DataError(f"bag {place} has values that are not finite (first: instance {row}, feature {column})")
    return bag


def _tables(pathways: Any) -> dict[str, np.ndarray]:
    if not isinstance(pathways, Mapping):
        several = isinstance(pathways, list | tuple)
        pathways = {f"pathway {i}": p for i, p in enumerate(pathways if several else [pathways])}
    if not pathways:
        raise DataError("pathways is empty; at least one is needed")
    tables = {}
    for name, values in pathways.items():
        table = to_numpy(values, f"pathway {name!r}")
        if table.ndim != 2 or table.dtype.kind not in "biuf":
            raise DataError(
                f"pathway {name!r} must be patients x genes of numbers, got shape {table.shape} of {table.dtype}"
            )
        if table.shape[1] == 0:
            raise DataError(f"pathway {name!r} has no measured gene; leave it out")
        if np.isinf(table).any():
            raise DataError(f"pathway {name!r} has infinite values")
        tables[str(name)] = table.astype(np.float32, copy=False)
    check_same_length(**tables)
    return tables


def _shown(sizes: dict[str, int]) -> str:
    parts = [f"{name} ({size})" for name, size in sizes.items()]
    return ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
