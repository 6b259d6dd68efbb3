"""One coloured sprite on grey: seven independent factors, six of them continuous.

| factor | values |
|---|---|
| shape | square, ellipse, heart (of nearly the same area) |
| hue | [0, 1), a circle; saturation 0.85 and value 0.95, so that no channel is quite at its end |
| size | 0.7 to 1.25: the square's side is 0.344 of the width at size 1 |
| orientation | -35 to 35 degrees, counter-clockwise: within this range no shape looks the same twice |
| x, y | 0 (left, top) to 1 (right, bottom) of the range in which the largest sprite stays inside |
| background | brightness, 0.1 to 0.6 |
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from numba import njit
from scipy.special import ndtr
from torch import Tensor

from unsnarl.arrays import check_finite, check_range
from unsnarl.data._dataset import FactorDataset, rows_of
from unsnarl.data._factors import CONTINUOUS, DISCRETE, FactorTable
from unsnarl.data._simulator import images
from unsnarl.data._sprites import LARGEST_RADIUS, SHAPES, _signed_distance
from unsnarl.errors import DataError, OptionError, UnknownNameError

RANGES: dict[str, tuple[float, float]] = {
    "hue": (0.0, 1.0),
    "size": (0.7, 1.25),
    "orientation": (-35.0, 35.0),
    "x": (0.0, 1.0),
    "y": (0.0, 1.0),
    "background": (0.1, 0.6),
}
NAMES = ("shape", *RANGES)
CIRCULAR = "hue"
SATURATION, VALUE = 0.85, 0.95
MARGIN = 0.34  # centres stay this share of the width away from the edges, so that the outermost pixels are always grey


def draw_sprites(
    n: int, rng: np.random.Generator, correlate: Mapping[tuple[str, str], float] | None = None
) -> Float[np.ndarray, "n 7"]:
    """Random factors, uniform in their ranges: rows for `render_color_sprites`.

    Args:
        n: how many.
        rng: of the draws.
        correlate: pairs of factors -> correlation of the normal variables they are made from (a Gaussian copula), in [-1, 1]. Every
            factor alone stays uniform. A rank correlation is about the same: 0.79 for 0.8.

    Raises:
        UnknownNameError: a factor that does not exist.
        OptionError: a correlation outside [-1, 1], or correlations that contradict one another.
    """
    check_range(n, "n", low=1, integer=True)
    if correlate:
        uniform = ndtr(rng.standard_normal((n, len(NAMES))) @ _root(correlate).T)
    else:
        uniform = rng.random((n, len(NAMES)))
    uniform = np.minimum(uniform, 1 - 1e-12)
    out = np.empty((n, len(NAMES)))
    out[:, 0] = np.floor(len(SHAPES) * uniform[:, 0])
    for column, (low, high) in enumerate(RANGES.values(), start=1):
        out[:, column] = low + (high - low) * uniform[:, column]
    return out


def _root(correlate: Mapping[tuple[str, str], float]) -> Float[np.ndarray, "7 7"]:
    matrix = np.eye(len(NAMES))
    for pair, strength in correlate.items():
        if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] == pair[1]:
            raise OptionError(f"correlate needs pairs of two different factors, got {pair!r}")
        for name in pair:
            if name not in NAMES:
                raise UnknownNameError("sprite factor", name, list(NAMES))
        check_range(strength, f"correlate[{pair}]", low=-1, high=1)
        a, b = (NAMES.index(name) for name in pair)
        matrix[a, b] = matrix[b, a] = strength
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-9:
        raise OptionError("the correlations in correlate contradict one another: no distribution has all of them")
    return vectors * np.sqrt(np.maximum(values, 0.0))


def sprite_colors(hues: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """RGB in [0, 1] of hues in [0, 1].

    Examples:
        >>> sprite_colors(np.array([0.0, 1 / 3])).round(4).tolist()
        [[0.95, 0.1425, 0.1425], [0.1425, 0.95, 0.1425]]
    """
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hues[:, None]) % 6
    return VALUE - VALUE * SATURATION * np.clip(np.minimum(k, 4 - k), 0, 1)


def render_color_sprites(
    rows: Float[np.ndarray, "n factor"], image_size: int = 32
) -> UInt8[np.ndarray, "n 3 side side"]:
    """Images of one sprite each, edges by coverage; the same factors give the same pixels in any batch.

    Args:
        rows: one an image, columns in the order of `NAMES`, the shape as its place in `SHAPES`.
        image_size: height and width in pixels, at least 8.

    Raises:
        DataError: wrong shape, or a value that is not finite or outside its factor's range.
        OptionError: image_size is too small.

    Cost: O(n * pixels); some 100,000 images of 32 pixels a second on one core.
    """
    check_range(image_size, "image_size", low=8, integer=True)
    if rows.ndim != 2 or rows.shape[1] != len(NAMES):
        raise DataError(f"rows must have shape (n, {len(NAMES)}), got {rows.shape}")
    check_finite(rows, "rows")
    if not np.isin(rows[:, 0], np.arange(len(SHAPES))).all():
        raise DataError(f"the shape must be a whole number below {len(SHAPES)}")
    for column, (name, (low, high)) in enumerate(RANGES.items(), start=1):
        wrong = np.flatnonzero((rows[:, column] < low - 1e-9) | (rows[:, column] > high + 1e-9))
        if len(wrong):
            raise DataError(
                f"{name} must be from {low:g} to {high:g}, got {rows[wrong[0], column]:g} in row {wrong[0]}"
            )
    named = dict(zip(NAMES, rows.T, strict=True))
    angle = np.radians(named["orientation"])
    place = np.stack(
        [
            image_size * (MARGIN + (1 - 2 * MARGIN) * named["x"]),
            image_size * (MARGIN + (1 - 2 * MARGIN) * named["y"]),
            image_size * named["size"],
            np.cos(angle),
            np.sin(angle),
        ],
        axis=1,
    )
    out = np.empty((len(rows), 3, image_size, image_size), dtype=np.uint8)
    _draw(named["shape"].astype(np.int64), place, 255 * sprite_colors(named["hue"]), 255 * named["background"], out)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _draw(shapes, place, colors, grey, out):
    n, _, height, width = out.shape
    for i in range(n):
        out[i] = np.uint8(grey[i] + 0.5)
        cx, cy, size, c, s = place[i, 0], place[i, 1], place[i, 2], place[i, 3], place[i, 4]
        reach = LARGEST_RADIUS * size + 0.5
        for row in range(max(0, floor(cy - reach)), min(height, ceil(cy + reach))):
            for column in range(max(0, floor(cx - reach)), min(width, ceil(cx + reach))):
                dx, dy = column + 0.5 - cx, cy - row - 0.5
                distance = _signed_distance(shapes[i], size, c * dx + s * dy, c * dy - s * dx)
                cover = min(max(0.5 - distance, 0.0), 1.0)
                if cover > 0.0:
                    for channel in range(3):
                        out[i, channel, row, column] = np.uint8(grey[i] + cover * (colors[i, channel] - grey[i]) + 0.5)


class ColorSprites(FactorDataset):
    """Coloured sprites with continuous factors, and any counterfactual of them.

    Args:
        size: number of images drawn.
        image_size: height and width in pixels.
        seed: of the draws.
        correlate: pairs of factors drawn together, see `draw_sprites`.

    Raises:
        OptionError: a size or a correlation outside its range.
        UnknownNameError: a correlation of a factor that does not exist.

    Examples:
        >>> sprites = ColorSprites(100, seed=1)
        >>> tuple(sprites.observations.shape), sprites.kinds["hue"]
        ((100, 3, 32, 32), 'continuous')
        >>> smaller = sprites.intervene([0, 1], size=0.7)
        >>> smaller.factors["size"].tolist()
        [0.7, 0.7]
    """

    def __init__(
        self,
        size: int = 10_000,
        *,
        image_size: int = 32,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
    ):
        check_range(size, "size", low=1, integer=True)
        self.image_size, self.seed, self.correlate = image_size, seed, dict(correlate or {})
        rows = draw_sprites(size, np.random.default_rng(seed), correlate)
        super().__init__(images(render_color_sprites(rows, image_size)), sprite_table(rows))

    def render(self, factors: Any) -> Tensor:
        """Images (n, 3, image_size, image_size), uint8, for a table with all factors by name.

        Raises:
            UnknownNameError: a factor is missing, or a shape does not exist.
            DataError: a value outside its factor's range.
        """
        return images(render_color_sprites(sprite_rows(factors), self.image_size))

    def intervene(self, indices: Any, **changes: Any) -> FactorDataset:
        """The same sprites with some factors set to new values, everything else kept: the exact counterfactual.

        Args:
            indices: which observations (an integer, indices, a mask or a slice).
            changes: factor name -> new value, one for all or one for each chosen observation.

        Raises:
            UnknownNameError: a factor that does not exist.
            DataError: a value outside its factor's range, or a wrong number of them.
            OptionError: no change is named.
        """
        if not changes:
            raise OptionError("name at least one factor to change, e.g. intervene(indices, shape='heart')")
        chosen = rows_of(indices, len(self))
        assert self.table is not None
        frame = self.table.rows(chosen).values.copy()
        for name, value in changes.items():
            if name not in NAMES:
                raise UnknownNameError("sprite factor", name, list(NAMES))
            if np.ndim(value) and len(value) != len(chosen):
                raise DataError(f"{name} has {len(value)} values for {len(chosen)} observations")
            frame[name] = value
        rows = sprite_rows(frame)
        return FactorDataset(images(render_color_sprites(rows, self.image_size)), sprite_table(rows))

    def sample(self, size: int, seed: int) -> FactorDataset:
        """Fresh draws with the same options, as plain data."""
        rows = draw_sprites(size, np.random.default_rng(seed), self.correlate)
        return FactorDataset(images(render_color_sprites(rows, self.image_size)), sprite_table(rows))


def sprite_table(rows: Float[np.ndarray, "n 7"]) -> FactorTable:
    """Rows of numbers as a table with shapes by name."""
    columns: dict[str, Any] = dict(zip(NAMES, rows.T.copy(), strict=True))
    columns["shape"] = np.array(SHAPES, dtype=object)[rows[:, 0].astype(np.int64)]
    kinds = {name: DISCRETE if name == "shape" else CONTINUOUS for name in NAMES}
    return FactorTable(pd.DataFrame(columns), kinds, {"shape": np.unique(SHAPES)})


def sprite_rows(factors: Any) -> Float[np.ndarray, "n 7"]:
    """A table (or mapping) of factors by name as rows of numbers.

    Raises:
        UnknownNameError: a factor is missing, or a shape does not exist.
        DataError: a value that is no number.
    """
    frame = factors.values if isinstance(factors, FactorTable) else pd.DataFrame(factors)
    for name in NAMES:
        if name not in frame:
            raise UnknownNameError("factor", name, [str(c) for c in frame.columns])
    rows = np.empty((len(frame), len(NAMES)))
    shapes = frame["shape"].astype(str)
    known = shapes.isin(SHAPES).to_numpy()
    if not known.all():
        raise UnknownNameError("shape", shapes[~known].iloc[0], list(SHAPES))
    rows[:, 0] = shapes.map({name: place for place, name in enumerate(SHAPES)})
    for column, name in enumerate(RANGES, start=1):
        try:
            rows[:, column] = frame[name].to_numpy(np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{name} must hold numbers") from None
    return rows
