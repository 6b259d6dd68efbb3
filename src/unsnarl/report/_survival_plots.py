"""Pictures of a survival report: curves of risk groups, the concordance of models over folds, and shares of modalities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unsnarl.measures.survival._kaplan_meier import RiskGroups
from unsnarl.report._style import PAGE_WIDTH, Theme, drawing, fitted, new_figure, number, text_width

LINES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
NARROW = 5.0  # inches


def percent(share: float) -> str:
    """A share in percent with a true minus sign, and no sign before zero.

    Examples:
        >>> percent(0.256), percent(-0.001), percent(-0.03)
        ('26%', '0%', '−3%')
    """
    whole = round(100 * share)
    return f"{'−' if whole < 0 else ''}{abs(whole)}%"


def _colours(theme: Theme, count: int) -> list[str]:
    return {2: [theme.accent, theme.second], 3: [theme.accent, theme.muted, theme.second]}.get(
        count, [theme.accent, theme.muted, theme.second, theme.ink]
    )


def survival_curves(groups: RiskGroups, width: float = PAGE_WIDTH, *, unit: str = "", look: str = "light") -> Figure:
    """Kaplan-Meier curves of risk groups with their 95% bands, and how many patients were still under observation.

    Args:
        groups: what `risk_groups` returned; at most four groups are told apart.
        width: inches.
        unit: of time, for the axis.
        look: "light" or "dark".
    """
    count = len(groups.curves)
    left, right, top, gap, row = 0.74, 0.2, 0.12, 0.62, 0.2
    axes_height = 2.5 if width > NARROW else 2.1
    height = top + axes_height + gap + row * (count + 0.6)
    last = max(curve.time[-1] for curve in groups.curves)
    with drawing(look) as theme:
        figure = new_figure(width, height)
        inner = (width - left - right) / width
        axes = figure.add_axes((left / width, 1 - (top + axes_height) / height, inner, axes_height / height))
        axes.set_xlim(0, last)
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(5 if width > NARROW else 4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.4g}"))
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.yaxis.grid(True)
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        colours = _colours(theme, count)
        for i, (name, curve) in enumerate(zip(groups.names, groups.curves, strict=True)):
            color, line = colours[i % len(colours)], LINES[i % len(LINES)]
            axes.fill_between(curve.time, curve.low, curve.high, step="post", color=color, alpha=0.13, linewidth=0)
            axes.step(curve.time, curve.survival, where="post", color=color, linestyle=line, linewidth=1.9, label=name)
        half = min(
            float(curve.survival[np.searchsorted(curve.time, last / 2, side="right") - 1]) for curve in groups.curves
        )
        axes.legend(
            loc="lower left" if half > 0.5 else "upper right",  # where no curve passes
            frameon=False,
            fontsize=8.5,
            handlelength=2.6,
            title="risk",
            title_fontsize=8.5,
        )
        axes.set_xlabel(f"time{f' ({fitted(unit, 1.5)})' if unit else ''}", fontsize=8.5)
        axes.set_ylabel("without event", fontsize=8.5)
        ticks = [t for t in axes.get_xticks() if 0 <= t <= last]
        base = top + axes_height + gap
        figure.text(left / width, 1 - base / height, "under observation", fontsize=8, color=theme.muted, va="top")
        for i, (name, curve) in enumerate(zip(groups.names, groups.curves, strict=True)):
            y = 1 - (base + row * (i + 1.25)) / height
            figure.text((left - 0.2) / width, y, fitted(name, left - 0.25, 8), fontsize=8, ha="right", va="center")
            for t in ticks:
                after = np.searchsorted(curve.time, t, side="left")
                here = int(curve.at_risk[after]) if after < len(curve.time) else 0
                x = left / width + inner * t / last
                figure.text(x, y, f"{here:,}", fontsize=8, ha="center", va="center", color=colours[i % len(colours)])
    return figure


def fold_plot(
    scores: pd.DataFrame,
    summary: pd.DataFrame,
    reach: Mapping[str, float],
    *,
    name: str = "",
    width: float = PAGE_WIDTH,
    look: str = "light",
) -> Figure:
    """The concordance of each model on each fold, its mean and the 95% interval of the mean.

    Args:
        scores: what `cross_validate_survival` returned.
        summary: what `summarize_folds` made of it; its order is the order of the rows.
        reach: model -> half the width of its interval.
        name: of the model to point out.
        width: inches.
        look: "light" or "dark".
    """
    stacked = width < NARROW
    row, bottom, top = 0.5 if stacked else 0.36, 0.42, 0.08
    labels = {m: f"{number(v['mean'])} ± {number(reach[str(m)])}" for m, v in summary.iterrows()}
    space = max(text_width(t, 8.5) for t in labels.values()) + 0.2
    left = 0.1 if stacked else 0.25 + max(text_width(fitted(m, 0.36 * width)) for m in summary.index)
    right = 0.12 if stacked else space
    height = top + row * len(summary) + bottom
    low = min(0.5, float(scores["c_index"].min()), *(v["mean"] - reach[str(m)] for m, v in summary.iterrows()))
    high = max(float(scores["c_index"].max()), *(v["mean"] + reach[str(m)] for m, v in summary.iterrows()))
    with drawing(look) as theme:
        figure = new_figure(width, height)
        axes = figure.add_axes(
            (left / width, bottom / height, (width - left - right) / width, row * len(summary) / height)
        )
        axes.set_xlim(max(0, low - 0.02), min(1, high + 0.02))
        axes.set_ylim(row * len(summary), 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        axes.axvline(0.5, color=theme.muted, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(4 if stacked else 6))
        axes.set_xlabel("concordance index on test folds (dashed: a guess)", fontsize=8.5)
        beside = axes.get_yaxis_transform()
        for i, (model, line) in enumerate(summary.iterrows()):
            at = row * (i + (0.7 if stacked else 0.5))
            values = scores.loc[scores["model"] == model, "c_index"].to_numpy()
            spread = 0.1 * row * np.sin(2.4 * np.arange(len(values)))  # so that equal folds can be seen apart
            axes.plot(values, at + spread, "o", color=theme.muted, markersize=3.4, alpha=0.55, markeredgewidth=0)
            color = theme.accent if model == name else theme.ink
            half = reach[str(model)]
            if math.isfinite(half):
                axes.plot([line["mean"] - half, line["mean"] + half], [at, at], color=color, linewidth=2.4, alpha=0.7)
            axes.plot([line["mean"]], [at], "D", color=color, markersize=6.5, zorder=4)
            up = at - row * 0.42
            if stacked:
                axes.text(0, up, fitted(model, width - 0.4 - space), transform=beside, va="center")
                axes.text(
                    1, up, labels[model], transform=beside, va="center", ha="right", color=theme.muted, fontsize=8.5
                )
            else:
                axes.text(-0.015, at, fitted(model, 0.36 * width), transform=beside, va="center", ha="right")
                axes.text(1.02, at, labels[model], transform=beside, va="center", color=theme.muted, fontsize=8.5)
    return figure


def share_bars(
    rows: Sequence[tuple[str, Mapping[str, float]]], *, width: float = PAGE_WIDTH, look: str = "light"
) -> Figure:
    """One bar a source: what each modality carries alone, what they have in common, and what none carries.

    Args:
        rows: (who says so, part -> share); negative shares are drawn as nothing.
        width: inches.
        look: "light" or "dark".
    """
    row, top, bottom = 0.86, 0.05, 0.3
    height = top + row * len(rows) + bottom
    with drawing(look) as theme:
        figure = new_figure(width, height)
        axes = figure.add_axes((0.12 / width, bottom / height, 1 - 0.3 / width, row * len(rows) / height))
        axes.set_xlim(0, 1)
        axes.set_ylim(row * len(rows), 0)
        axes.set_yticks([])
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        for i, (name, shares) in enumerate(rows):
            axes.text(0, row * i + 0.14, fitted(name, width - 0.4, 9), va="center", weight="bold")
            parts = {k: max(0.0, v) for k, v in shares.items() if k != "none"}
            scale = min(1.0, 1 / max(sum(parts.values()), 1e-9))
            start = 0.0
            palette = [theme.accent, theme.second, theme.ink, theme.muted]
            for k, (part, share) in enumerate(parts.items()):
                color, length = palette[k % len(palette)], share * scale
                hatch = "////" if part.endswith(("in common", "two or more")) else None
                axes.barh(
                    row * i + 0.45, length, 0.3, left=start, color=theme.surface if hatch else color, edgecolor=color,
                    hatch=hatch, linewidth=0.8,
                )  # fmt: skip
                start += length
            axes.barh(
                row * i + 0.45,
                max(0.0, 1 - start),
                0.3,
                left=start,
                color=theme.raised,
                edgecolor=theme.rule,
                linewidth=0.8,
            )
            words = "   ".join(f"{part} {percent(share)}" for part, share in shares.items())
            axes.text(0, row * i + 0.72, fitted(words, width - 0.3, 8), va="center", fontsize=8, color=theme.muted)
    return figure
