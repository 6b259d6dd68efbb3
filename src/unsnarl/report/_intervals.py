"""Scores as dots with whiskers, one row each, on the scale they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unsnarl.errors import DataError
from unsnarl.report._score_rows import ScoreRow, collect
from unsnarl.report._style import PAGE_WIDTH, drawing, fitted, new_figure, number, short, text_width

STACKED_BELOW = 5.0  # inches: narrower pictures put the name above its whisker instead of beside it


def interval_plot(scores: Any, *, title: str | None = None, width: float = PAGE_WIDTH, look: str = "light") -> Figure:
    """Dots with 95% intervals.

    Args:
        scores: a data frame with the columns `score`, `value` and, where known, `low`, `high`, `measure`, `range`; or
            anything `write_report` takes as `scores`.
        title: printed above.
        width: inches; below 5 the names stand above their whiskers.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know. When some scores run from 0 to 1, the axis is that scale and only they are
        drawn; otherwise the axis fits all values.

    Raises:
        DataError: there is no finite score to draw.

    Examples:
        >>> from unsnarl.measures._scores import Scores
        >>> figure = interval_plot(Scores({"modularity": 0.5, "compactness": 0.4}, intervals={"modularity": (0.4, 0.6)}))
        >>> len(figure.axes)
        1
    """
    drawn, unit = drawable(collect(scores).rows)
    if not drawn:
        raise DataError("scores has no finite value to draw")
    stacked = width < STACKED_BELOW
    values = [f"{number(row.value)} {row.interval}".rstrip() for row in drawn]
    heads = [row.group if i == 0 or drawn[i - 1].group != row.group else "" for i, row in enumerate(drawn)]
    row_height = 0.5 if stacked else 0.3
    y, level = [], 0.0
    head_at = []
    for head in heads:
        if head:
            head_at.append((level + row_height * 0.5, head))
            level += row_height
        y.append(level + row_height * (0.74 if stacked else 0.5))
        level += row_height
    top, bottom = (0.35 if title else 0.06), 0.32
    longest = max(text_width(value, 8.5) for value in values)
    if stacked:
        left, right = 0.1, 0.12
        names = [
            fitted(row.label, width - left - right - text_width(value, 8.5) - 0.15)
            for row, value in zip(drawn, values, strict=True)
        ]
    else:
        names = [fitted(row.label, 0.4 * width) for row in drawn]
        left, right = 0.2 + max(map(text_width, names)), 0.2 + longest
    height = top + level + bottom
    with drawing(look) as colours:
        figure = new_figure(width, height)
        axes = figure.add_axes((left / width, bottom / height, (width - left - right) / width, level / height))
        low, high = limits(drawn, unit)
        axes.set_xlim(low, high)
        axes.set_ylim(level, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0, pad=5)
        axes.xaxis.grid(not stacked)  # stacked, it would run through the names
        if unit:
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"])
        beside = axes.get_yaxis_transform()
        for row, at, name, text in zip(drawn, y, names, values, strict=True):
            axes.plot([low, high], [at, at], color=colours.rule, linewidth=0.9, zorder=1)
            if stacked:
                axes.plot(axes.get_xticks(), np.full(len(axes.get_xticks()), at), "|", color=colours.rule, markersize=5)
            if row.interval:
                axes.plot([row.low, row.high], [at, at], color=colours.accent, linewidth=2.6, alpha=0.55, zorder=2)
            if math.isfinite(row.chance):
                axes.plot([row.chance], [at], "|", color=colours.second, markersize=9, markeredgewidth=1.8, zorder=3)
            axes.plot([row.value], [at], "o", color=colours.accent, markersize=6, zorder=3, clip_on=False)
            if stacked:
                up = at - row_height * 0.36
                axes.text(0, up, name, transform=beside, va="center", ha="left", parse_math=False)
                axes.text(1, up, text, transform=beside, va="center", ha="right", color=colours.muted, fontsize=8.5)
            else:
                axes.text(-0.02, at, name, transform=beside, va="center", ha="right", parse_math=False)
                axes.text(1.02, at, text, transform=beside, va="center", ha="left", color=colours.muted, fontsize=8.5)
        for at, head in head_at:
            where = 0.0 if stacked else -(left - 0.05) / (width - left - right)
            axes.text(where, at, short(head, 40), transform=beside, va="center", weight="bold", parse_math=False)
        if title:
            figure.text(0.1 / width, 1 - 0.08 / height, short(title, 60), va="top", weight="bold", fontsize=9.5)
    return figure


def drawable(rows: Sequence[ScoreRow]) -> tuple[list[ScoreRow], bool]:
    """The rows that share one axis, and whether that axis is 0..1."""
    finite = [row for row in rows if math.isfinite(row.value)]
    unit = [row for row in finite if row.unit]
    return (unit, True) if unit else (finite, False)


def limits(drawn: Sequence[ScoreRow], unit: bool) -> tuple[float, float]:
    """The ends of the axis: 0..1, widened where an interval reaches beyond."""
    numbers = [n for row in drawn for n in (row.value, row.low, row.high, row.chance) if math.isfinite(n)]
    smallest, largest = min(numbers), max(numbers)
    if unit:
        return min(0.0, smallest), max(1.0, largest)
    span = (largest - smallest) or abs(largest) or 1.0
    low = 0.0 if 0 <= smallest < 0.5 * largest else smallest - 0.08 * span
    return low, largest + 0.08 * span


def describe(rows: Sequence[ScoreRow]) -> str:
    """The picture in words, for those who do not see it."""
    drawn, _ = drawable(rows)
    best, worst = max(drawn, key=lambda r: r.value), min(drawn, key=lambda r: r.value)
    return (
        f"Dot plot of {len(drawn)} scores with their intervals, from {short(worst.label)} {number(worst.value, 2)} "
        f"to {short(best.label)} {number(best.value, 2)}; the table below has all numbers."
    )
