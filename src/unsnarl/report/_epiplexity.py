"""The page of an epiplexity ranking: who has the most structure, the frontiers, and every number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unsnarl.errors import OptionError
from unsnarl.measures.epiplexity._frontier import EpiplexityFrontier, network
from unsnarl.measures.epiplexity._plot import draw_frontiers
from unsnarl.measures.epiplexity._rank import EpiplexityRanking, bits
from unsnarl.report._page import check_target, picture, write_page
from unsnarl.report._style import PAGE_WIDTH, drawing, new_figure, number, short

COLUMNS = ("structure S", "random H, bits a token", "both K", "network", "steps", "lowest loss", "gzip")
READING = (
    "S is what it takes to transmit the training of the program that describes the data in the fewest bits at this budget, "
    "and H what this program cannot predict. Lowest loss and gzip, in bits a token, stand beside for comparison: both are "
    "large for noise."
)
CAPTION = "Thin lines are the runs, one a network; the steps are the frontier, its markers the median point of each network on it."


def write_epiplexity_page(
    result: EpiplexityRanking | EpiplexityFrontier | Any, to: Any, *, title: str | None = None
) -> Path:
    """Write the page of a ranking, or of the frontier of one data set.

    Args:
        result: what `rank_files` or `estimate_epiplexity` returned.
        to: the file to write; its folder must exist.
        title: of the page.

    Returns:
        The path of the file.

    Raises:
        OptionError: `result` is neither.
        FileError: the file cannot be written.
    """
    target = check_target(to)
    if isinstance(result, EpiplexityFrontier):
        settings = {**result.settings, "method": result.method, "test_tokens": result.test_tokens}
        result = EpiplexityRanking({result.name: result}, result.largest_budget, {}, settings)
    if not isinstance(result, EpiplexityRanking) or not result.frontiers:
        raise OptionError(f"result is a {type(result).__name__}; pass what rank_files or estimate_epiplexity returned")
    lead, *finding = result.finding
    many = len(result.frontiers) > 1
    return write_page(
        "epiplexity.html",
        target,
        eyebrow="unsnarl epiplexity",
        title=title
        or ("Which data teach the most" if many else f"What there is to learn in {next(iter(result.frontiers))}"),
        meta=[f"{len(result.frontiers):,} data sets" if many else "one data set", f"{result.budget:.3g} operations"],
        lead=lead,
        finding=finding,
        picture=picture(lambda width: draw(result, width), describe(result), CAPTION),
        columns=COLUMNS,
        rows=[_row(row) for row in result.table().to_dict("records")],
        reading=READING,
        settings=[(name.replace("_", " "), _text(value)) for name, value in result.settings.items()],
    )


def draw(result: EpiplexityRanking, width: float = PAGE_WIDTH, look: str = "light") -> Figure:
    """The frontiers in the report's look; on a phone the panels stand below each other.

    Args:
        result: the ranking.
        width: inches.
        look: "light" or "dark".
    """
    columns = 3 if width > 5 else 1
    with drawing(look) as colours:
        figure = new_figure(
            width, (2.5 if columns == 3 else 6.2) + 0.22 * len(result.frontiers) / (4 if columns == 3 else 1)
        )
        figure.set_layout_engine("constrained")
        draw_frontiers(
            figure,
            list(result.frontiers.values()),
            colors=(colours.accent, colours.second, colours.ink, colours.muted),
            columns=columns,
            legend_columns=4 if columns == 3 else 1,
        )
    return figure


def describe(result: EpiplexityRanking) -> str:
    """The picture in words."""
    parts = [
        f"{short(name)} ends at {bits(found.S)} of structure and {number(found.H_per_token)} bits a token left random"
        for name, found in result.at_budget().items()
    ]
    return f"Cost, structure and randomness over compute: {'; '.join(parts)}."


def _row(row: Mapping[Any, Any]) -> tuple[str, list[str]]:
    structure = ("at least " if row["lower_bound"] else "") + bits(row["S"])
    cells = [
        structure,
        number(row["H"]),
        bits(row["K"]),
        network(row),
        f"{row['step']:,}",
        number(row["loss"]),
        number(row["gzip"]),
    ]
    return str(row["data"]), cells


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(" x ".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for v in value)
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
