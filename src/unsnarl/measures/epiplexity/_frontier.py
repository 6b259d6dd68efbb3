"""What the least description of data costs, and what it consists of, at every compute budget."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.epiplexity._hull import lower_hull

STILL_FALLING = 0.005
"""A run ends before its plateau when K fell over its last tenth by more than this share of it."""


@dataclass(frozen=True)
class Epiplexity:
    """Structure and randomness of data at one budget.

    Attributes:
        S: bits of structure (epiplexity): the description length |P| of the program that is best at this budget.
        H: bits that stay unpredictable to it in all test tokens (time-bounded entropy).
        test_tokens: how many those are.
        compute: what the program takes to train and to read them, floating-point operations; at most the budget.
        size: (layers, width) of the network.
        step: the step of its training.
        lower_bound: the curve ends before its plateau, so that more training would give a larger S.
    """

    S: float
    H: float
    test_tokens: float
    compute: float
    size: tuple[int, int]
    step: int
    lower_bound: bool

    @property
    def K(self) -> float:
        """Bits of program and data together, S + H."""
        return self.S + self.H

    @property
    def H_per_token(self) -> float:
        """Bits a test token that stay unpredictable."""
        return self.H / self.test_tokens


@dataclass(frozen=True, eq=False)
class EpiplexityFrontier:
    """The frontier of K = |P| + D_test * loss against compute, over all sizes and steps.

    Attributes:
        points: one row a measured step: layers, width, step, tokens (trained on), compute, S, H, K (bits), loss (held
            out, real targets) and train_loss (of the teacher), bits a token.
        kept: which rows form the frontier, in the order of compute.
        method: "requential" or "prequential".
        test_tokens: D_test.
        vocabulary: number of different tokens.
        unit: what a token is.
        name: of the data.
        notes: what a reader must know, in sentences.
        settings: the options that decide the numbers.
        teachers: of a requential run, the frontier by the area under the teachers' loss curves.
    """

    points: pd.DataFrame
    kept: np.ndarray
    method: str
    test_tokens: float
    vocabulary: int
    unit: str = "tokens"
    name: str = "data"
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    teachers: EpiplexityFrontier | None = None

    @classmethod
    def of(cls, points: pd.DataFrame, *, tolerance: float, **rest: Any) -> EpiplexityFrontier:
        """The frontier of measured points, with its notes."""
        kept = lower_hull(points["compute"], points["K"], tolerance=tolerance)
        made = cls(points=points, kept=kept, **rest)
        last = points.iloc[kept[-1]]
        if _ends_early(points, int(last["layers"]), int(last["width"])):
            made = replace(made, notes=(*made.notes, _lower_bound(last)))
        return made

    @property
    def compute(self) -> Float[np.ndarray, " point"]:
        """Floating-point operations to train and to read the test tokens, rising."""
        return self._column("compute")

    @property
    def K(self) -> Float[np.ndarray, " point"]:
        """Bits of program and data together, falling."""
        return self._column("K")

    @property
    def S(self) -> Float[np.ndarray, " point"]:
        """Bits of structure at each point of the frontier."""
        return self._column("S")

    @property
    def H(self) -> Float[np.ndarray, " point"]:
        """Bits that stay unpredictable at each point of the frontier, in all test tokens."""
        return self._column("H")

    @property
    def largest_budget(self) -> float:
        """The compute of the dearest measured point; beyond it the frontier is not known."""
        return float(self.points["compute"].max())

    def at(self, compute: float | None = None) -> Epiplexity:
        """Structure and randomness at a budget: those of the last frontier point that it pays for.

        Args:
            compute: floating-point operations; None is all that was measured.

        Raises:
            OptionError: not even the cheapest point is paid for.

        Warns:
            EstimatorWarning: the budget exceeds everything measured.
        """
        budget = self.largest_budget if compute is None else compute
        check_range(budget, "compute", low=0, open_low=True)
        if budget > self.largest_budget * (1 + 1e-9):
            warnings.warn(
                f"compute={budget:.3g} exceeds all that was measured ({self.largest_budget:.3g}); S is what the largest "
                "measured budget gives, which a longer training or a larger network may exceed",
                EstimatorWarning,
                stacklevel=2,
            )
        paid = np.flatnonzero(self.compute <= budget * (1 + 1e-9))
        if not len(paid):
            raise OptionError(
                f"compute={budget:.3g} pays for no measured program; the cheapest takes {self.compute[0]:.3g}"
            )
        row = self.points.iloc[self.kept[paid[-1]]]
        size = (int(row["layers"]), int(row["width"]))
        return Epiplexity(
            S=float(row["S"]),
            H=float(row["H"]),
            test_tokens=self.test_tokens,
            compute=float(row["compute"]),
            size=size,
            step=int(row["step"]),
            lower_bound=bool(paid[-1] == len(self.kept) - 1) and _ends_early(self.points, *size),
        )

    def medians(self) -> pd.DataFrame:
        """One frontier point for each size that is on it, the median by compute; for plots."""
        front = self.points.iloc[self.kept]
        picked = [part.iloc[(len(part) - 1) // 2] for _, part in front.groupby(["layers", "width"])]
        return pd.DataFrame(picked).sort_values("compute", ignore_index=True)

    def plot(self, *, width: float = 9.0) -> Any:
        """K, S and H over compute: thin lines the runs, points the frontier's medians; a matplotlib figure.

        Args:
            width: inches.
        """
        from matplotlib.figure import Figure

        from unsnarl.measures.epiplexity._plot import draw_frontiers

        figure = Figure(figsize=(width, 0.36 * width), layout="constrained")
        draw_frontiers(figure, [self])
        return figure

    def table(self) -> pd.DataFrame:
        """The frontier's points as a table."""
        return self.points.iloc[self.kept].reset_index(drop=True)

    def _column(self, name: str) -> np.ndarray:
        return self.points[name].to_numpy(np.float64)[self.kept]


def common_budget(frontiers: Sequence[EpiplexityFrontier]) -> float:
    """The largest budget that all frontiers were measured up to.

    Raises:
        DataError: none given, or they cannot be compared: other test tokens, methods, vocabularies or kinds of token.
    """
    if not frontiers:
        raise DataError("frontiers is empty; there is nothing to compare")
    first = frontiers[0]
    for other in frontiers[1:]:
        for what in ("vocabulary", "unit", "test_tokens", "method"):
            one, two = getattr(first, what), getattr(other, what)
            if one != two:
                raise DataError(
                    f"{first.name} has {what} {one} but {other.name} has {two}, so their bits a token mean different "
                    "things; measure both alike (text as bytes, or by one tokenizer)"
                )
    return min(f.largest_budget for f in frontiers)


def _ends_early(points: pd.DataFrame, layers: int, width: int) -> bool:
    """Whether the K of one size was still falling when its run ended."""
    run = points[(points["layers"] == layers) & (points["width"] == width)]
    k, step = run["K"].to_numpy(np.float64), run["step"].to_numpy(np.float64)
    late, before = step > 0.9 * step[-1], (step > 0.8 * step[-1]) & (step <= 0.9 * step[-1])
    if not before.any():
        return False
    # two means rather than two points, since measured curves are jagged
    return bool(k[before].mean() - k[late].mean() > STILL_FALLING * k[late].mean())


def network(row: Any) -> str:
    """The size of a row's network in words."""
    return f"{row['layers']:.0f} layer{'s' if row['layers'] > 1 else ''} of {row['width']:.0f}"


def _lower_bound(last: pd.Series) -> str:
    return (
        f"The curve ends before the plateau: the network of {network(last)} was still "
        "learning when its run ended, so S is a lower bound; train for more steps, on more data, or count fewer test tokens."
    )
