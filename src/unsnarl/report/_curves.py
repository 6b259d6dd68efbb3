"""Training curves: one small panel for every number that was logged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from unsnarl.errors import DataError
from unsnarl.report._style import PAGE_WIDTH, drawing, fitted, new_figure, number, short

MOST_PANELS = 12
NOT_CURVES = {"step", "epoch", "seconds", "time", "elapsed"}
SMOOTH_FROM = 60  # points; a longer curve gets a running mean on top of the raw line


def curve_columns(history: Any) -> tuple[pd.DataFrame, list[str]]:
    """The history as a data frame with a `step` column, and the names of the columns to draw.

    Raises:
        DataError: the history cannot be read as a table.
    """
    try:
        frame = history.copy() if isinstance(history, pd.DataFrame) else pd.DataFrame(history)
    except (TypeError, ValueError) as error:
        raise DataError(f"history cannot be read as a table: {error}") from None
    frame.columns = [str(c) for c in frame.columns]
    frame = frame.loc[:, ~frame.columns.duplicated()]
    if "step" not in frame.columns:
        frame.insert(0, "step", np.arange(len(frame)))
    names = [
        c
        for c in frame.columns
        if c not in NOT_CURVES
        and frame[c].dtype.kind in "iuf"
        and np.isfinite(frame[c].to_numpy(np.float64)).sum() >= 2
    ]
    return frame, names


def training_curves(
    history: Any, *, columns: int | None = None, width: float = PAGE_WIDTH, look: str = "light"
) -> Figure:
    """One panel a logged number, over the training step.

    Args:
        history: a learner's `history_`: a data frame (or what makes one) with `step` and one column a number.
        columns: panels side by side; by default as many as fit.
        width: inches.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know. A panel's scale is logarithmic when its numbers are positive and span more
        than a factor of 100; at most 12 panels are drawn.

    Raises:
        DataError: no numeric column has two finite values.

    Examples:
        >>> figure = training_curves({"step": [0, 1, 2], "loss": [3.0, 2.0, 1.5]})
        >>> len(figure.axes)
        1
    """
    frame, names = curve_columns(history)
    if not names:
        raise DataError("history has no numeric column with at least two finite values")
    names = names[:MOST_PANELS]
    rows = math.ceil(len(names) / (columns or max(1, int(width // 2.2))))
    side_by_side = min(columns or len(names), math.ceil(len(names) / rows))  # 4 panels as 2 x 2, not 3 + 1
    panel_height = 1.75 if side_by_side > 1 else 1.6
    with drawing(look) as colours:
        figure = new_figure(width, rows * panel_height + 0.1)
        grid = figure.subplots(rows, side_by_side, squeeze=False)
        figure.subplots_adjust(
            left=0.52 / width,
            right=1 - 0.15 / width,
            top=1 - 0.28 / (rows * panel_height + 0.1),
            bottom=0.4 / (rows * panel_height + 0.1),
            hspace=0.62 / (panel_height - 0.62),
            wspace=0.55 / (width / side_by_side - 0.6),
        )
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(grid.flat, names, strict=False):
            step, value = frame["step"].to_numpy(np.float64), frame[name].to_numpy(np.float64)
            known = np.isfinite(step) & np.isfinite(value)
            step, value = step[known], value[known]
            long = len(value) >= SMOOTH_FROM
            axes.plot(step, value, color=colours.accent, linewidth=0.8 if long else 1.6, alpha=0.4 if long else 1)
            if long:
                smooth = pd.Series(value).rolling(max(5, len(value) // 25), center=True, min_periods=1).mean()
                axes.plot(step, smooth, color=colours.accent, linewidth=1.8)
            if value.min() > 0 and value.max() > 100 * value.min():
                axes.set_yscale("log")
                axes.yaxis.set_minor_locator(NullLocator())
            else:
                axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}".replace("-", "−")))
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
            axes.yaxis.grid(True)
            axes.spines["left"].set_visible(False)
            axes.tick_params(which="both", length=0)
            axes.set_title(fitted(name, width / side_by_side - 1.3, 9.5, "bold"), parse_math=False)
            axes.set_title(number(float(value[-1])), loc="right", color=colours.muted, weight="normal")
        for axes in grid[-1]:
            axes.set_xlabel("step", fontsize=8.5)
    return figure


def describe(history: Any) -> str:
    """The curves in words: first and last value of each."""
    frame, names = curve_columns(history)
    parts = []
    for name in names[:MOST_PANELS]:
        values = frame[name].to_numpy(np.float64)
        values = values[np.isfinite(values)]
        parts.append(f"{short(name)} from {number(float(values[0]))} to {number(float(values[-1]))}")
    return f"Training curves over {len(frame):,} logged steps: {'; '.join(parts)}."
