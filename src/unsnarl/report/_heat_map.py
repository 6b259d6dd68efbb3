"""Which latent carries which factor, as a picture: latents down, factors across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unsnarl.arrays import as_matrix, check_range
from unsnarl.errors import DataError
from unsnarl.report._style import PAGE_WIDTH, drawing, fitted, new_figure, number, ramp, readable_on, short, text_width

MOST_LATENTS = 40


@dataclass(frozen=True)
class Arranged:
    """A latent x factor matrix in reading order, and how many latents were left out of it."""

    matrix: pd.DataFrame
    total: int

    @property
    def left_out(self) -> int:
        """Latents that are not shown."""
        return self.total - len(self.matrix)

    @property
    def scale(self) -> float:
        """The largest absolute entry; full colour."""
        values = np.abs(self.matrix.to_numpy(np.float64))
        return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0

    def sentence(self) -> str:
        """What is shown, in words."""
        order = "Latents are grouped by the factor they carry most, the strongest first"
        if self.left_out:
            return f"{order}; the {len(self.matrix)} most informative of {self.total:,} latents are shown."
        return order + "."


def arrange(matrix: Any, limit: int = MOST_LATENTS, argument: str = "matrix") -> Arranged:
    """Group latents by the factor they carry most (factors in their own order), strongest first; keep the top `limit`.

    Args:
        matrix: data frame or array of shape (latent, factor); NaN marks an entry that is not known.
        limit: most latents to keep, by largest absolute entry.
        argument: the name used in error messages.

    Raises:
        DataError: not 2-D, not numeric, or without rows or columns.
    """
    check_range(limit, "limit", low=1, integer=True)
    frame = matrix if isinstance(matrix, pd.DataFrame) else pd.DataFrame(_matrix(matrix, argument))
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{argument} has shape {frame.shape}; it needs at least one latent and one factor")
    try:
        values = np.abs(frame.to_numpy(np.float64))
    except (TypeError, ValueError):
        raise DataError(f"{argument} must hold numbers") from None
    values = np.where(np.isfinite(values), values, 0.0)
    strength, carried = values.max(axis=1), values.argmax(axis=1)
    kept = np.sort(np.argsort(-strength, kind="stable")[:limit])
    carried = np.where(strength > 0, carried, frame.shape[1])  # latents that carry nothing come last
    order = kept[np.lexsort((kept, -strength[kept], carried[kept]))]
    return Arranged(frame.iloc[order], len(frame))


def _matrix(values: Any, argument: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "f" and array.ndim == 2 and array.size:
        return array  # NaN is allowed here
    return as_matrix(values, argument, min_rows=1)


def heat_map(
    matrix: Any,
    *,
    latents: Sequence[str] | None = None,
    factors: Sequence[str] | None = None,
    title: str | None = None,
    limit: int = MOST_LATENTS,
    width: float | None = None,
    look: str = "light",
) -> Figure:
    """An annotated heat map of a latent x factor matrix.

    Args:
        matrix: data frame or array of shape (latent, factor); a data frame brings its own names.
        latents: names of the rows; "latent 0", ... when absent.
        factors: names of the columns; "factor 0", ... when absent.
        title: printed above.
        limit: most latents to show; the ones with the largest entries are kept, and the picture says so.
        width: inches; by default as wide as the factors need.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know; `figure.savefig("heat.png")` writes it.

    Raises:
        DataError: not 2-D, not numeric, empty, or another number of names than rows or columns.

    Examples:
        >>> import numpy as np
        >>> figure = heat_map(np.eye(3), factors=["shape", "scale", "hue"])
        >>> len(figure.axes[0].texts)
        9
    """
    frame = matrix if isinstance(matrix, pd.DataFrame) else named(matrix, latents, factors)
    arranged = arrange(frame, limit)
    shown = arranged.matrix
    values = shown.to_numpy(np.float64)
    rows, columns = values.shape
    row_names = [fitted(n, 1.4, 8.5) for n in shown.index]
    column_names = [fitted(n, 1.6, 8.5) for n in shown.columns]
    left = 0.2 + max(text_width(n, 8.5) for n in row_names)
    upright = max(map(len, column_names)) > 5 or columns > 10
    top = (0.12 + max(text_width(n, 8.5) for n in column_names) if upright else 0.3) + (0.3 if title else 0.05)
    note = arranged.sentence() if arranged.left_out else ""
    bottom = 0.45 if note else 0.1
    cell_width = 0.46 if width is None else max((width - left - 0.1) / columns, 0.3)
    if width is None:
        cell_width = min(cell_width, max((4 * PAGE_WIDTH - left) / columns, 0.3))
    full_width, full_height = left + cell_width * columns + 0.15, top + 0.27 * rows + bottom
    scale = arranged.scale or 1.0
    with drawing(look) as colours:
        figure = new_figure(full_width, full_height)
        axes = figure.add_axes(
            (left / full_width, bottom / full_height, cell_width * columns / full_width, 0.27 * rows / full_height)
        )
        colour_map = ramp(look)
        axes.imshow(values, cmap=colour_map, vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelcolor=colours.ink)
        axes.xaxis.tick_top()
        axes.set_xticks(range(columns), column_names, parse_math=False)
        if upright:
            axes.tick_params(axis="x", rotation=90)
        axes.set_yticks(range(rows), row_names, parse_math=False)
        axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=colours.surface, linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for i in range(rows):
            for j in range(columns):
                value = values[i, j]
                ground = colour_map(0.5 + 0.5 * np.clip(value / scale, -1, 1)) if value == value else colours.surface
                axes.text(
                    j, i, cell(value), ha="center", va="center", fontsize=8, color=readable_on(ground), parse_math=False
                )
        if title:
            figure.text(
                0.1 / full_width, 1 - 0.08 / full_height, short(title, 60), va="top", weight="bold", fontsize=9.5
            )
        if note:
            figure.text(0.1 / full_width, 0.08 / full_height, note, fontsize=7.5, color=colours.muted, wrap=True)
    return figure


def cell(value: float) -> str:
    """The text of one entry, two digits where they fit."""
    if value == value and abs(value) < 10:
        return f"{value:.2f}".replace("-", "−") if abs(value) >= 0.005 else "0"
    return number(value, 1)


def named(matrix: Any, latents: Sequence[str] | None = None, factors: Sequence[str] | None = None) -> pd.DataFrame:
    """An array of shape (latent, factor) with names.

    Raises:
        DataError: another number of names than rows or columns.
    """
    array = _matrix(matrix, "matrix")
    if array.ndim != 2:
        raise DataError(f"matrix must be 2-D (latents x factors), got shape {array.shape}")
    index = list(latents) if latents is not None else [f"latent {i}" for i in range(array.shape[0])]
    columns = list(factors) if factors is not None else [f"factor {i}" for i in range(array.shape[1])]
    for names, count, what in ((index, array.shape[0], "latents"), (columns, array.shape[1], "factors")):
        if len(names) != count:
            raise DataError(f"{what} names {len(names)} {what}, but the matrix has {count}")
    return pd.DataFrame(array, index=index, columns=columns)
