"""Observations with the factors that made them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unsnarl.arrays import as_matrix, as_vector, check_finite, check_range, check_same_length, to_numpy
from unsnarl.data._factors import FactorTable
from unsnarl.errors import DataError, UnknownNameError

SPLITS = ("train", "validation", "test")


class FactorDataset(Dataset):
    """n observations and the table of their factors.

    A torch `Dataset`: item i is `(observation, factors)` with factors as a float vector (continuous values, or the
    category index of a discrete factor).

    Args:
        observations: tensor or array of shape (n, ...), or a list of n tensors for ragged data. Images are
            channels-first, uint8 in 0..255 or float in [0, 1]; integers stay as they are stored.
        factors: anything `FactorTable.of` takes; None for unlabelled data.
        kinds: "discrete" or "continuous", a mapping by factor name, or a list; inferred where absent.
        names: factor names where `factors` is a plain array.
        groups: optional group label of each observation (a subject, a site), kept together by `split_by`.
        split: optional label of each observation, one of "train", "validation", "test".

    Raises:
        DataError: lengths differ, a value is not finite, an object array, or an unusable factor column.

    Examples:
        >>> import numpy as np
        >>> data = FactorDataset(np.eye(4), {"size": [1, 2, 1, 2], "colour": ["red", "blue", "blue", "red"]})
        >>> len(data), data.factor_names, data.kinds["colour"]
        (4, ['size', 'colour'], 'discrete')
    """

    def __init__(
        self,
        observations: Any,
        factors: Any = None,
        *,
        kinds: Mapping[str, str] | Iterable[str] | str | None = None,
        names: Iterable[str] | None = None,
        groups: Any = None,
        split: Any = None,
    ):
        self.observations: Tensor | list[Tensor] = _as_observations(observations)
        self.table = None if factors is None else FactorTable.of(factors, kinds=kinds, names=names)
        if isinstance(factors, FactorTable) and kinds is None:
            self.table = factors  # checked, with the levels of the whole it may be a part of
        self.groups = None if groups is None else as_vector(groups, "groups", min_rows=1)
        self.split = None if split is None else _as_split(split)
        parts = {
            "observations": self.observations,
            "factors": self.table,
            "groups": self.groups,
            "split": self.split,
        }
        check_same_length(**{name: part for name, part in parts.items() if part is not None})
        if len(self) == 0:
            raise DataError("the data set has no observations")

    @staticmethod
    def from_arrays(observations: Any, factors: Any = None, **options: Any) -> FactorDataset:
        """A data set of arrays, with the constructor's options; also on a subclass that is built in another way."""
        return FactorDataset(observations, factors, **options)

    @staticmethod
    def from_table(
        frame: pd.DataFrame,
        factors: Iterable[str] | str | None = None,
        observations: Any = None,
        *,
        groups: str | None = None,
        split: str | None = None,
        kinds: Mapping[str, str] | Iterable[str] | str | None = None,
        argument: str = "the table",
    ) -> FactorDataset:
        """A data set from a table, one row an observation.

        Args:
            frame: the table.
            factors: names of the columns that are factors. When absent: every column left over where `observations` are
                given as an array, none otherwise.
            observations: names of the columns that are the observations, or an array with one row a table row; when
                absent, every column that is nothing else.
            groups: name of the column of group labels.
            split: name of the column of "train", "validation" and "test".
            kinds: "discrete" or "continuous", see `FactorTable.of`.
            argument: the table's name in error messages.

        Raises:
            UnknownNameError: a column that does not exist.
            DataError: an observation column that holds no numbers, or unusable values.

        Examples:
            >>> frame = pd.DataFrame({"x": [0.1, 0.2, 0.3], "y": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"]})
            >>> FactorDataset.from_table(frame, factors=["colour"])
            FactorDataset(3 observations of 2; factors: colour (2))
        """
        frame = frame.reset_index(drop=True)
        frame.columns = [str(c) for c in frame.columns]
        columns = list(frame.columns)

        def known(names: Iterable[str] | str | None) -> list[str]:
            listed = [names] if isinstance(names, str) else list(names or ())
            for name in listed:
                if name not in columns:
                    raise UnknownNameError(f"column of {argument}", name, columns)
            return listed

        aside = known([n for n in (groups, split) if n is not None])
        by_name = observations is None or _are_names(observations)
        chosen = known(factors)
        if factors is None and not by_name:
            chosen = [c for c in columns if c not in aside]
        if by_name:
            features = known(observations) or [c for c in columns if c not in {*chosen, *aside}]
            if not features:
                raise DataError(f"{argument} has no column left for the observations")
            for name in features:
                if not pd.api.types.is_numeric_dtype(frame[name]):
                    raise DataError(
                        f"column {name!r} of {argument} holds {frame[name].dtype} values, but observations must be "
                        "numbers; name it among the factors, or choose the columns with observations="
                    )
            observations = as_matrix(frame[features], "observations", min_rows=1)
        return FactorDataset(
            observations,
            frame[chosen] if chosen else None,
            kinds=kinds,
            groups=None if groups is None else frame[groups],
            split=None if split is None else frame[split],
        )

    @staticmethod
    def from_file(path: Any, factors: Any = None, **options: Any) -> FactorDataset:
        """A data set from a file: see `unsnarl.data.read_dataset` for the options.

        Args:
            path: a data set written by `save`, or a .npy, .npz, .csv, .tsv or .parquet file.
            factors: a list of the columns of `path` that are factors, or the path of the file that holds the factors.
            options: keywords of `read_dataset`.
        """
        from unsnarl.data._files import read_dataset

        if isinstance(factors, str | os.PathLike):
            return read_dataset(path, factors, **options)
        return read_dataset(path, factors=factors, **options)

    def save(self, path: Any) -> None:
        """Write everything to one .npz without pickles, from which `from_file` makes the same data set.

        Raises:
            FileError: the name does not end in .npz, or the file cannot be written (the old one stays).
        """
        from unsnarl.data._files import save_dataset

        save_dataset(self, path)

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        factors = self.table.numeric[index] if self.table is not None else np.zeros(0)
        return self.observations[index], torch.as_tensor(factors, dtype=torch.float32)

    def __repr__(self) -> str:
        if isinstance(self.observations, Tensor):
            shape = "x".join(str(s) for s in self.observations.shape[1:]) or "scalar"
            what = f"{len(self):,} observations of {shape}"
        else:
            what = f"{len(self):,} ragged observations"
        if self.table is None:
            return f"{type(self).__name__}({what}, no factors)"
        factors = ", ".join(
            f"{n} ({len(self.table.levels[n])})" if self.table.kinds[n] == "discrete" else f"{n} (continuous)"
            for n in self.factor_names
        )
        return f"{type(self).__name__}({what}; factors: {factors})"

    @property
    def factors(self) -> Any:
        """The factors as a data frame, one named column a factor; their kinds go with it in `attrs["kinds"]`.

        Raises:
            DataError: the data has no factors.
        """
        table = self._table()
        frame = table.values.copy(deep=False)
        frame.attrs["kinds"] = dict(table.kinds)
        return frame

    @property
    def factor_names(self) -> list[str]:
        """Names of the factors, in column order."""
        return [] if self.table is None else self.table.names

    @property
    def kinds(self) -> dict[str, Any]:
        """Factor name -> "discrete" or "continuous"."""
        return {} if self.table is None else dict(self.table.kinds)

    def _table(self) -> FactorTable:
        if self.table is None:
            raise DataError("this data set has no factors")
        return self.table

    def subset(self, indices: Any) -> FactorDataset:
        """Some of the observations (integer indices, a boolean mask or a slice), with their factors."""
        rows = rows_of(indices, len(self))
        chosen = FactorDataset.__new__(type(self))
        chosen.__dict__.update(self.__dict__)
        if isinstance(self.observations, Tensor):
            chosen.observations = self.observations[torch.as_tensor(rows)]
        else:
            chosen.observations = [self.observations[int(i)] for i in rows]
        chosen.table = None if self.table is None else self.table.rows(rows)
        chosen.groups = None if self.groups is None else self.groups[rows]
        chosen.split = None if self.split is None else self.split[rows]
        return chosen

    def split_by(self, seed: int = 0, *, test: float = 0.2, validation: float = 0.0) -> FactorDataset:
        """The same data with a fresh random split; observations of one group stay on the same side.

        Args:
            seed: makes the split; the same seed gives the same split.
            test: share of the observations (or groups) in the test part, in [0, 1).
            validation: share in the validation part.
        """
        check_range(test, "test", low=0, high=1)
        check_range(validation, "validation", low=0, high=1)
        if test + validation >= 1:
            raise DataError(f"test={test} and validation={validation} leave nothing to train on")
        units = np.arange(len(self)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        count = int(units.max()) + 1
        order = np.random.default_rng(seed).permutation(count)
        n_test, n_validation = round(test * count), round(validation * count)
        label = np.full(count, "train", dtype="<U10")
        label[order[:n_test]] = "test"
        label[order[n_test : n_test + n_validation]] = "validation"
        chosen = self.subset(slice(None))
        chosen.split = label[units]
        return chosen

    def _part(self, name: str) -> FactorDataset:
        if self.split is None:
            return self.split_by(0)._part(name)
        rows = np.flatnonzero(self.split == name)
        if len(rows) == 0:
            raise DataError(f"no observation is in the {name!r} part of the split")
        return self.subset(rows)

    @property
    def train(self) -> FactorDataset:
        """The training part (of `split_by(0)` when no split was made)."""
        return self._part("train")

    @property
    def validation(self) -> FactorDataset:
        """The validation part."""
        return self._part("validation")

    @property
    def test(self) -> FactorDataset:
        """The test part."""
        return self._part("test")

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Observations flattened to (n, features) float32 in [0, 1] for uint8 images, and factors as numbers."""
        if not isinstance(self.observations, Tensor):
            raise DataError("ragged observations have no array form")
        flat = self.observations.reshape(len(self), -1)
        x = flat.float().div(255) if flat.dtype == torch.uint8 else flat.float()
        return x.numpy(), self._table().numeric


def _are_names(values: Any) -> bool:
    return isinstance(values, str) or (
        isinstance(values, list | tuple | pd.Index) and len(values) > 0 and all(isinstance(v, str) for v in values)
    )


def rows_of(indices: Any, n: int) -> np.ndarray:
    """Row numbers for an integer, integers, a boolean mask or a slice into n observations.

    Raises:
        DataError: an index out of range, a mask of the wrong length, or something that is no index.
    """
    try:
        return np.atleast_1d(
            np.arange(n)[indices if isinstance(indices, slice | int) else to_numpy(indices, "indices")]
        )
    except (IndexError, TypeError):
        raise DataError(
            f"indices must be whole numbers from {-n} to {n - 1}, a slice, or a boolean mask of length {n}"
        ) from None


def _as_observations(observations: Any) -> Tensor | list[Tensor]:
    if isinstance(observations, Tensor):
        if observations.ndim == 0:
            raise DataError("observations must have one row an observation, got a single number")
        if observations.is_floating_point() and not bool(torch.isfinite(observations.sum())):
            check_finite(to_numpy(observations, "observations"), "observations")
        return observations
    if isinstance(observations, list) and observations and not np.isscalar(observations[0]):
        arrays = [to_numpy(o, f"observation {i}") for i, o in enumerate(observations)]
        if len({a.shape for a in arrays}) > 1:
            return [_as_tensor(a, f"observation {i}") for i, a in enumerate(arrays)]
        observations = arrays
    array = to_numpy(observations, "observations")
    if array.ndim == 0:
        raise DataError("observations must have one row an observation, got a single number")
    return _as_tensor(array, "observations")


def _as_tensor(array: np.ndarray, argument: str) -> Tensor:
    if array.dtype.kind not in "iufb":
        raise DataError(f"{argument} must hold numbers, got dtype {array.dtype}")
    check_finite(array, argument)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    elif array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array))


def _as_split(split: Any) -> np.ndarray:
    labels = np.asarray(split).astype(str)
    unknown = sorted(set(labels.tolist()) - set(SPLITS))
    if unknown:
        raise DataError(f"split holds {unknown[0]!r}; each entry must be one of {', '.join(SPLITS)}")
    return labels
