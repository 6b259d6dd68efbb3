"""The picture of one or several frontiers: what they cost in all, in structure and in what stays random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import EngFormatter, NullFormatter

from unsnarl.measures.epiplexity._frontier import EpiplexityFrontier

COLORS = ("#0b64a0", "#b8440c", "#1a1d21", "#5a616a")
MARKERS = "os^DvPX"
PANELS = {"K": "program and data, K", "S": "structure, S", "H": "left random, H"}


def draw_frontiers(
    figure: Any,
    frontiers: Sequence[EpiplexityFrontier],
    *,
    colors: Sequence[str] = COLORS,
    columns: int = 3,
    legend_columns: int = 4,
) -> None:
    """Three panels over compute: K with every run behind it, S and H along the frontier.

    Sets differ in colour, in marker and in name.

    Args:
        figure: a matplotlib figure.
        frontiers: what to draw.
        colors: one a set, begun again when they run out.
        columns: panels side by side.
        legend_columns: names side by side.
    """
    panels = figure.subplots(-(-3 // columns), columns, squeeze=False, sharex=True).flat
    end = max(f.largest_budget for f in frontiers)
    for axes, (what, title) in zip(panels, PANELS.items(), strict=False):
        for number, frontier in enumerate(frontiers):
            color, marker = colors[number % len(colors)], MARKERS[number % len(MARKERS)]
            if what == "K":
                for _, run in frontier.points.groupby(["layers", "width"]):
                    axes.plot(run["compute"], run["K"], color=color, linewidth=0.7, alpha=0.35)
            x, y = frontier.compute, getattr(frontier, what)
            axes.step(np.append(x, end), np.append(y, y[-1]), where="post", color=color, linewidth=1.8)
            middle = frontier.medians()
            axes.plot(
                middle["compute"],
                middle[what],
                marker,
                color=color,
                markersize=5,
                label=frontier.name,
                linestyle="none",
            )
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())  # within one power of ten they would overlap
        axes.set_title(title, parse_math=False)
        axes.yaxis.set_major_formatter(EngFormatter(unit="b", sep=" "))
        axes.set_xlabel("compute, operations")
        axes.yaxis.grid(True, alpha=0.4)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if what == "S" else None)
    figure.axes[0].set_ylabel("bits")
    if len(frontiers) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=min(legend_columns, len(labels)), frameon=False
        )
