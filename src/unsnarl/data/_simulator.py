"""Data sets that can render any combination of their factors, and so any counterfactual, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from unsnarl.arrays import check_range, to_numpy
from unsnarl.data._dataset import FactorDataset, rows_of
from unsnarl.data._factors import DISCRETE, FactorTable
from unsnarl.errors import DataError, OptionError, UnknownNameError


class Simulator(FactorDataset):
    """Observations rendered from a full grid of discrete factors.

    A subclass sets `grid` (factor name -> its values in order) before calling `super().__init__`, and implements
    `render_indices`. The data set holds `size` draws from the grid, or the whole grid.

    Args:
        size: number of scenes drawn; None renders the whole grid once, in order.
        seed: seed of the draws.
        correlate: pairs of factors drawn together, `{("floor_hue", "wall_hue"): 0.8}`. The second factor follows the
            first: p(b | a) is proportional to exp(-(u_b - u_a)^2 / (2 s^2)), with u the place in the factor's order
            scaled to [0, 1] and s = (1 - strength) / strength; strength 0 leaves the pair independent, 1 makes the
            second a function of the first (after Traeuble et al. 2021).
        leave_out: factor combinations never drawn, e.g. `[{"shape": "cube", "object_hue": 0.3}]`, for compositional
            tests; `only_left_out=True` draws only from them.

    Raises:
        UnknownNameError: an option names a factor that does not exist.
        OptionError: a size, strength or value outside its range.
    """

    grid: dict[str, np.ndarray]

    def __init__(
        self,
        size: int | None,
        *,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
        leave_out: Iterable[Mapping[str, Any]] = (),
        only_left_out: bool = False,
    ):
        self.seed = seed
        self._correlate = self._check_correlate(correlate or {})
        self._left_out = [self._check_combination(c) for c in leave_out]
        if only_left_out and not self._left_out:
            raise OptionError("only_left_out=True needs leave_out combinations to draw from")
        self._only_left_out = only_left_out
        if size is None:
            indices = self.full_grid()
            if self._left_out:
                indices = indices[self._is_left_out(indices) == only_left_out]
        else:
            check_range(size, "size", low=1, integer=True)
            indices = self.sample_indices(int(size), np.random.default_rng(seed))
        super().__init__(self.render_indices(indices), self._table_of(indices))

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Observations of shape (n, ...) for grid indices; the same factors give the same pixels in any batch."""
        raise NotImplementedError

    @property
    def factor_sizes(self) -> list[int]:
        """Number of values of each factor of the grid."""
        return [len(values) for values in self.grid.values()]

    @property
    def factor_names(self) -> list[str]:
        """Names of the factors of the grid."""
        return list(self.grid)

    def full_grid(self) -> Int[np.ndarray, "n factor"]:
        """Index combinations of the whole grid, the last factor changing fastest."""
        return np.stack(np.unravel_index(np.arange(int(np.prod(self.factor_sizes))), self.factor_sizes), axis=1)

    def sample_indices(self, size: int, rng: np.random.Generator) -> Int[np.ndarray, "n factor"]:
        """Random grid indices that respect `correlate` and `leave_out`.

        Raises:
            OptionError: the left-out combinations leave (almost) nothing to draw from.
        """
        kept: list[np.ndarray] = []
        count = 0
        for _ in range(1000):
            block = self._draw(size, rng)
            if self._left_out:
                if self._only_left_out:
                    for row, combination in enumerate(rng.integers(len(self._left_out), size=size)):
                        for column, value in self._left_out[combination].items():
                            block[row, column] = value
                else:
                    block = block[~self._is_left_out(block)]
            kept.append(block)
            count += len(block)
            if count >= size:
                return np.concatenate(kept)[:size]
        raise OptionError("leave_out excludes (almost) every combination of factors, so nothing can be drawn")

    def _draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        names, sizes = self.factor_names, self.factor_sizes
        indices = np.stack([rng.integers(s, size=size) for s in sizes], axis=1)
        for (first, second), strength in self._correlate.items():
            a, b = names.index(first), names.index(second)
            if strength < 1e-9:
                continue
            u = np.linspace(0, 1, sizes[a])[:, None] - np.linspace(0, 1, sizes[b])[None, :]
            width = (1.0 - strength) / strength
            nearest = np.where(np.arange(sizes[b]) == np.abs(u).argmin(axis=1)[:, None], 0.0, -np.inf)
            logits = -(u**2) / (2 * width**2) if width > 1e-6 else nearest
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            cdf = np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)
            draw = (rng.random(size)[:, None] > cdf[indices[:, a]]).sum(axis=1)
            indices[:, b] = np.minimum(draw, sizes[b] - 1)
        return indices

    def _is_left_out(self, indices: np.ndarray) -> np.ndarray:
        out = np.zeros(len(indices), dtype=bool)
        for combination in self._left_out:
            match = np.ones(len(indices), dtype=bool)
            for column, value in combination.items():
                match &= indices[:, column] == value
            out |= match
        return out

    def _check_correlate(self, correlate: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
        for pair, strength in correlate.items():
            if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] == pair[1]:
                raise OptionError(f"correlate needs pairs of two different factors, got {pair!r}")
            for name in pair:
                self._column(name)
            check_range(strength, f"correlate[{pair}]", low=0, high=1)
        return _causes_first(correlate)

    def _check_combination(self, combination: Mapping[str, Any]) -> dict[int, int]:
        if not combination:
            raise OptionError("a leave_out combination names no factor")
        return {self._column(name): self._index(name, value) for name, value in combination.items()}

    def _column(self, name: str) -> int:
        if name not in self.grid:
            raise UnknownNameError("factor", name, list(self.grid))
        return list(self.grid).index(name)

    def _index(self, name: str, value: Any) -> int:
        """The grid index of a factor's value: an exact value, or for numbers the one nearest within half a grid step."""
        column = self._column(name)
        value = value.item() if isinstance(value, np.generic) else value
        values = self.grid[list(self.grid)[column]]
        if values.dtype.kind in "US":
            found = np.flatnonzero(values == str(value))
            if len(found):
                return int(found[0])
            raise OptionError(f"{name}={value!r} is not allowed; choose one of {', '.join(map(str, values))}")
        try:
            distance = np.abs(values.astype(float) - float(value))
        except (TypeError, ValueError):
            raise OptionError(f"{name}={value!r} must be a number") from None
        steps = np.diff(np.sort(values.astype(float)))
        if not distance.min() <= (steps.min() / 2 if len(steps) else 0) + 1e-9:
            raise OptionError(
                f"{name}={value!r} is outside the grid {values.min():g} to {values.max():g} of this factor"
            )
        return int(distance.argmin())

    def _table_of(self, indices: np.ndarray) -> FactorTable:
        columns = {name: values[indices[:, i]] for i, (name, values) in enumerate(self.grid.items())}
        frame = pd.DataFrame({n: (c.astype(object) if c.dtype.kind in "US" else c) for n, c in columns.items()})
        return FactorTable(frame, dict.fromkeys(self.grid, DISCRETE), {n: np.unique(v) for n, v in self.grid.items()})

    def indices_of(self, factors: Any) -> Int[np.ndarray, "n factor"]:
        """Grid indices of factor values given as a table (all factors, by name)."""
        if isinstance(factors, FactorTable):
            factors = factors.values
        if not isinstance(factors, pd.DataFrame):
            array = to_numpy(factors, "factors")
            if array.ndim != 2 or array.shape[1] != len(self.grid):
                raise DataError(f"factors must have shape (n, {len(self.grid)}), got {array.shape}")
            if array.dtype.kind not in "iu":
                raise DataError("factors given as an array must be grid indices (integers); pass a table for values")
            if (array < 0).any() or (array >= np.array(self.factor_sizes)).any():
                raise DataError(f"grid indices must lie below the factor sizes {self.factor_sizes}")
            return array.astype(np.int64)
        columns = []
        for name, values in self.grid.items():
            if name not in factors:
                raise UnknownNameError("factor", name, [str(c) for c in factors.columns])
            kind = str if values.dtype.kind in "US" else float
            try:
                given = factors[name].to_numpy().astype(kind)
            except (TypeError, ValueError):
                raise DataError(f"{name} must hold numbers") from None
            unique, inverse = np.unique(given, return_inverse=True)
            columns.append(np.array([self._index(name, v) for v in unique])[inverse])
        return np.stack(columns, axis=1)

    def render(self, factors: Any) -> Tensor:
        """Observations for a table of factor values, or an integer array of grid indices (n, factor)."""
        return self.render_indices(self.indices_of(factors))

    def intervene(self, indices: Any, **changes: Any) -> FactorDataset:
        """The same scenes with some factors set to new values, everything else kept: the exact counterfactual.

        Args:
            indices: which observations (an integer, indices, a mask or a slice).
            changes: factor name -> new value, one for all or one for each chosen observation.

        Raises:
            UnknownNameError: a factor that does not exist.
            OptionError: a value outside the factor's grid.
        """
        if not changes:
            raise OptionError("name at least one factor to change, e.g. intervene(indices, shape='cube')")
        rows = rows_of(indices, len(self))
        assert self.table is not None
        grid_indices = self.indices_of(self.table.rows(rows))
        for name, value in changes.items():
            column = self._column(name)
            if np.ndim(value) == 0:
                grid_indices[:, column] = self._index(name, value)
            else:
                if len(value) != len(rows):
                    raise DataError(f"{name} has {len(value)} values for {len(rows)} observations")
                grid_indices[:, column] = [self._index(name, v) for v in value]
        return FactorDataset(self.render_indices(grid_indices), self._table_of(grid_indices))

    def sample(self, size: int, seed: int) -> FactorDataset:
        """Fresh draws with the same options, as plain data."""
        check_range(size, "size", low=1, integer=True)
        indices = self.sample_indices(size, np.random.default_rng(seed))
        return FactorDataset(self.render_indices(indices), self._table_of(indices))


def _causes_first(correlate: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """The pairs in an order that draws a factor before those that follow it."""
    followers = [second for _, second in correlate]
    for name in followers:
        if followers.count(name) > 1:
            raise OptionError(f"correlate makes {name!r} follow two factors; a factor can follow only one")
    waiting, ordered = dict(correlate), {}
    while waiting:
        ready = {pair: s for pair, s in waiting.items() if not any(pair[0] == second for _, second in waiting)}
        if not ready:
            raise OptionError(f"correlate goes round in a circle: {', '.join(f'{a} -> {b}' for a, b in waiting)}")
        ordered.update(ready)
        waiting = {pair: s for pair, s in waiting.items() if pair not in ready}
    return ordered


def images(array: np.ndarray) -> Tensor:
    """A tensor that shares the memory of a contiguous array of images."""
    return torch.from_numpy(np.ascontiguousarray(array))
