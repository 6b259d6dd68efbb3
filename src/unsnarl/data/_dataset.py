"""Observations with the factors that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unsnarl.arrays import check_finite, check_range, check_same_length, to_numpy
from unsnarl.data._factors import FactorTable
from unsnarl.errors import DataError

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
        self.groups = None if groups is None else np.asarray(groups)
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
        """The factors as a data frame, one named column a factor.

        Raises:
            DataError: the data has no factors.
        """
        return self._table().values

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
        rows = np.arange(len(self))[indices]
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


def _as_observations(observations: Any) -> Tensor | list[Tensor]:
    if isinstance(observations, Tensor):
        if observations.ndim == 0:
            raise DataError("observations must have one row an observation, got a single number")
        if observations.is_floating_point() and not bool(torch.isfinite(observations.sum())):
            check_finite(observations.detach().cpu().numpy(), "observations")
        return observations
    if isinstance(observations, list) and observations:
        shapes = {np.shape(o) for o in observations}
        if len(shapes) > 1:
            return [torch.as_tensor(to_numpy(o, f"observation {i}")) for i, o in enumerate(observations)]
    array = to_numpy(observations, "observations")
    if array.ndim == 0:
        raise DataError("observations must have one row an observation, got a single number")
    if array.dtype.kind not in "iufb":
        raise DataError(f"observations must hold numbers, got dtype {array.dtype}")
    check_finite(array, "observations")
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
