"""A paired comparison: every seed a line from the baseline to the system, and beside it the mean gain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unsnarl.claims._statistics import RULES, VERDICTS
from unsnarl.errors import DataError
from unsnarl.report._style import PAGE_WIDTH, drawing, fitted, new_figure, number

PLAIN = ("system", "baseline", "constant")


ON_THE_MEAN = RULES[1]


@dataclass(frozen=True)
class ClaimRow:
    """One row of a claim record, checked. Gains are signed so that larger is better for the system."""

    name: str
    metric: str
    higher_is_better: bool
    relative: bool
    seeds: list[Any]
    system: list[float]
    baseline: list[float]
    minimum_effect: float
    mean: float
    low: float
    high: float
    verdict: str
    system_name: str = "system"
    baseline_name: str = "baseline"
    role: str = "central"
    rule: str = ""

    @classmethod
    def of(cls, row: Any, place: str = "row") -> ClaimRow:
        """Read one row of the JSON record.

        Raises:
            DataError: a key is missing, the numbers are not one a seed, or the verdict is not one of the three.
        """
        if not isinstance(row, Mapping):
            raise DataError(f"{place} of the claim record is a {type(row).__name__}, not a mapping")
        missing = [k for k in ("metric", "system", "baseline", "difference", "minimum_effect") if k not in row]
        if missing:
            raise DataError(f"{place} of the claim record has no {missing[0]!r}")
        system, baseline = (_numbers(row[k], f"{k} of {place}") for k in ("system", "baseline"))
        seeds = list(row.get("seeds") or range(len(system)))
        if not len(system) == len(baseline) == len(seeds) or not system:
            raise DataError(
                f"{place} of the claim record has {len(system)} numbers of the system, {len(baseline)} of the baseline "
                f"and {len(seeds)} seeds; there must be one each a seed"
            )
        difference = row["difference"]
        if not isinstance(difference, Mapping) or "mean" not in difference:
            raise DataError(f"difference of {place} must be a mapping with mean, low and high, got {difference!r}")
        mean, low, high = (_one_number(difference.get(k)) for k in ("mean", "low", "high"))
        verdict = str(row.get("verdict", "inconclusive"))
        if verdict not in VERDICTS:
            raise DataError(
                f"verdict={verdict!r} of {place} is not allowed; choose one of {', '.join(map(repr, VERDICTS))}"
            )
        return cls(
            name=str(row.get("name", row["metric"])),
            metric=str(row["metric"]),
            higher_is_better=bool(row.get("higher_is_better", True)),
            relative=row.get("compare") == "relative",
            seeds=seeds,
            system=system,
            baseline=baseline,
            minimum_effect=_one_number(row["minimum_effect"]),
            mean=mean,
            low=low,
            high=high,
            verdict=verdict,
            system_name=str(row.get("system_arm") or "system"),
            baseline_name=str(row.get("baseline_arm") or "baseline"),
            role=str(row.get("role") or "central"),
            rule=str(row.get("rule") or ""),
        )

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known (one seed has none)."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def gain(self, value: float) -> str:
        """A gain for reading: in percent when it is relative to the baseline."""
        return f"{number(100 * value, 1)}%" if self.relative else number(value)

    @property
    def interval(self) -> str:
        """The ends of the interval in words."""
        return f"{self.gain(self.low)} to {self.gain(self.high)}" if self.has_interval else "no interval"

    def sentence(self) -> str:
        """What the row found, in words."""
        if not math.isfinite(self.mean):
            return f"The gain in {self.metric} could not be computed: no seed gave a number for both sides."
        system, baseline = (f"the {n}" if n in PLAIN else n for n in (self.system_name, self.baseline_name))
        start = f"The gain in {self.metric} of {system} over {baseline} is {self.gain(self.mean)}"
        many = len(self.seeds)
        missing = sum(not math.isfinite(s + b) for s, b in zip(self.system, self.baseline, strict=True))
        if missing:
            return f"{start}, but {missing:,} of {many:,} seeds gave no number, so nothing can be concluded."
        if not self.has_interval:
            return f"{start} with {many:,} seed{'s' if many > 1 else ''}; without an interval nothing can be concluded."
        asked = f"the minimum effect of {self.gain(self.minimum_effect)}"
        if self.low > self.minimum_effect:
            where = f"wholly above {asked}"
        elif self.high < self.minimum_effect:
            where = f"wholly below {asked}"
        elif self.verdict == "holds":
            where = f"wholly above zero, with a mean that reaches {asked}"
        elif self.rule == ON_THE_MEAN and self.low <= 0 < self.minimum_effect <= self.mean:
            where = f"which reaches below zero, though the mean passes {asked}"
        else:
            where = f"which reaches across {asked}"
        return f"{start} (mean of {many:,} seeds; 95% interval {self.interval}, {where})."


def _one_number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError):
        raise DataError(f"the claim record holds {value!r} where a number is expected") from None


def _numbers(values: Any, what: str) -> list[float]:
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise DataError(f"{what} of the claim record must be a list of numbers, got {values!r}")
    return [_one_number(v) for v in values]


def paired_plot(row: Mapping[str, Any], *, width: float = PAGE_WIDTH, look: str = "light") -> Figure:
    """One row of a claim: the seeds as lines, the mean difference with its interval against the minimum effect.

    Args:
        row: a row of a claim record: `baseline` and `system` (one number a seed), `difference` with `mean`, `low` and
            `high` (of the gain: larger is better for the system), `minimum_effect`, `higher_is_better`.
        width: inches.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know. The shaded side is where the interval must lie for the claim to hold.

    Examples:
        >>> figure = paired_plot({
        ...     "metric": "InfoM", "higher_is_better": True, "baseline": [0.3, 0.4], "system": [0.5, 0.6],
        ...     "difference": {"mean": 0.2, "low": 0.15, "high": 0.25}, "minimum_effect": 0.1,
        ... })
        >>> len(figure.axes)
        2
    """
    return draw(ClaimRow.of(row), width, look)


def draw(row: ClaimRow, width: float, look: str = "light") -> Figure:
    """The picture of a checked `ClaimRow`."""
    height = 2.8
    left, middle, right, top, bottom = 0.55, 0.75, 0.15, 0.5, 0.45
    usable = width - left - middle - right
    share = 0.58
    number_format = FuncFormatter(lambda v, _: f"{v:.4g}".replace("-", "−"))
    with drawing(look) as colours:
        figure = new_figure(width, height)
        box = (height - top - bottom) / height
        pairs = figure.add_axes((left / width, bottom / height, usable * share / width, box))
        effect = figure.add_axes(
            ((left + usable * share + middle) / width, bottom / height, usable * (1 - share) / width, box)
        )
        for axes in (pairs, effect):
            axes.yaxis.grid(True)
            axes.spines["left"].set_visible(False)
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(length=0)
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.yaxis.set_major_formatter(number_format)
        for base, system in zip(row.baseline, row.system, strict=True):
            pairs.plot([0, 1], [base, system], color=colours.accent, linewidth=1.1, alpha=0.55)
        pairs.plot(np.zeros(len(row.baseline)), row.baseline, "o", color=colours.second, markersize=5)
        pairs.plot(np.ones(len(row.system)), row.system, "o", color=colours.accent, markersize=5)
        for at, values, colour in ((0, row.baseline, colours.second), (1, row.system, colours.accent)):
            finite = [v for v in values if math.isfinite(v)]
            if finite:
                mean, out = float(np.mean(finite)), 0.1 if at else -0.1
                pairs.plot([at + out * 0.6, at + out * 1.8], [mean, mean], color=colour, linewidth=3)
        pairs.set_xlim(-0.35, 1.35)
        names = [fitted(name, usable * share / 1.7 - 0.08, 8.5) for name in (row.baseline_name, row.system_name)]
        pairs.set_xticks([0, 1], names, parse_math=False)
        pairs.tick_params(axis="x", labelcolor=colours.ink, pad=6)
        better = "higher is better" if row.higher_is_better else "lower is better"
        pairs.set_title(fitted(row.metric, usable * share + middle - 0.15, 9.5, "bold"), parse_math=False, pad=18)
        pairs.text(0, 1.03, better, transform=pairs.transAxes, fontsize=8, color=colours.muted, va="bottom")

        shown = [v for v in (0.0, row.minimum_effect, row.mean, row.low, row.high) if math.isfinite(v)]
        span = (max(shown) - min(shown)) or 1.0
        ends = (min(shown) - 0.18 * span, max(shown) + 0.18 * span)
        effect.set_ylim(*ends)
        effect.set_xlim(-1, 1)
        effect.set_xticks([0], [f"mean of {len(row.seeds):,}"])
        effect.tick_params(axis="x", labelcolor=colours.ink, pad=6)
        effect.axhline(0, color=colours.muted, linewidth=0.9)
        effect.axhspan(row.minimum_effect, ends[1], color=colours.accent, alpha=0.13, linewidth=0)
        effect.axhline(row.minimum_effect, color=colours.accent, linewidth=1, linestyle=(0, (4, 3)))
        if row.has_interval:
            effect.plot([0, 0], [row.low, row.high], color=colours.ink, linewidth=3)
        effect.plot([0], [row.mean], "o", color=colours.ink, markersize=7)
        if row.relative:
            effect.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g}%".replace("-", "−")))
        effect.set_title("gain", pad=18)
        effect.text(
            0, 1.03, "shaded: the claim", transform=effect.transAxes, fontsize=8, color=colours.muted, va="bottom"
        )
    return figure


def describe(row: ClaimRow) -> str:
    """The picture in words."""
    return f"Each seed as a line from {row.baseline_name} to {row.system_name}, and the mean gain beside it. {row.sentence()}"
