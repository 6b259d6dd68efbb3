"""What a measure returns: numbers with intervals, and the matrices behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unsnarl.arrays import check_range
from unsnarl.errors import DataError

Interval = tuple[float, float]


class Score(float):
    """A number that remembers its interval and the latent x factor matrix it came from.

    Behaves as a float everywhere; the rest is in attributes.

    Attributes:
        low, high: ends of the 95% interval; nan when no interval was asked for.
        matrix: the latent x factor matrix behind the number, or None.
        per_factor: one value a factor, or None.
        name: what the number is called.
        extra: anything else the measure found, each entry also an attribute of the score.

    Examples:
        >>> s = Score(0.5, name="sap", interval=(0.4, 0.6))
        >>> s > 0.3, s.low, s
        (True, 0.4, Score(sap=0.500 [0.400, 0.600]))
    """

    name: str
    low: float
    high: float
    matrix: np.ndarray | None
    per_factor: np.ndarray | None
    extra: dict[str, Any]

    def __new__(
        cls,
        value: float,
        *,
        name: str = "score",
        interval: Interval | None = None,
        matrix: np.ndarray | None = None,
        per_factor: np.ndarray | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Score:
        score = super().__new__(cls, value)
        score.name = name
        score.low, score.high = interval if interval is not None else (math.nan, math.nan)
        score.matrix = matrix
        score.per_factor = per_factor
        score.extra = dict(extra or {})
        return score

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, Any]]:
        keywords = {"name": self.name, "interval": (self.low, self.high), "matrix": self.matrix}
        return (float(self),), {**keywords, "per_factor": self.per_factor, "extra": self.extra}

    def __getattr__(self, name: str) -> Any:
        extra = vars(self).get("extra", {})
        if name in extra:
            return extra[name]
        known = ", ".join(["low", "high", "matrix", "per_factor", *extra])
        raise AttributeError(f"the score has no {name!r}; it has {known}")

    @property
    def interval(self) -> Interval | None:
        """(low, high), or None when no interval was asked for."""
        return None if math.isnan(self.low) else (self.low, self.high)

    def __repr__(self) -> str:
        text = f"{self.name}={float(self):.3f}"
        return f"Score({text} [{self.low:.3f}, {self.high:.3f}])" if self.interval else f"Score({text})"


@dataclass(frozen=True, repr=False, eq=False)
class Scores(Mapping[str, float]):
    """Several numbers of one measure: a mapping from name to `Score`, with attribute access to all that is in it.

    Two of them are equal when their numbers are, as any mappings.

    Args:
        values_: name -> number, the headline first.
        intervals: name -> (low, high), for the names that have one.
        matrices: name -> array behind the numbers, of shape (latent, factor) unless the measure says otherwise.
        extra: anything else the measure found (index arrays, masks, settings).
        measure: name of the measure.

    Examples:
        >>> s = Scores({"modularity": 0.5}, intervals={"modularity": (0.4, 0.6)}, matrices={"nmi": np.eye(2)})
        >>> s.modularity, s["modularity"] == 0.5, s.nmi.shape
        (Score(modularity=0.500 [0.400, 0.600]), True, (2, 2))
    """

    values_: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    matrices: dict[str, np.ndarray] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    measure: str = ""

    def __getitem__(self, name: str) -> Score:
        matrix = next(iter(self.matrices.values()), None)
        return Score(self.values_[name], name=name, interval=self.intervals.get(name), matrix=matrix)

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("values_", "matrices", "extra"):
            raise AttributeError(name)
        if name in self.values_:
            return self[name]
        for store in (self.matrices, self.extra):
            if name in store:
                return store[name]
        known = [*self.values_, *self.matrices, *self.extra]
        raise AttributeError(f"{self.measure or 'these scores'} has no {name!r}; it has {', '.join(known)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.values_, *self.matrices, *self.extra})

    def __repr__(self) -> str:
        parts = []
        for name in self:
            text = f"{name}={self.values_[name]:.3f}"
            if name in self.intervals:
                low, high = self.intervals[name]
                text += f" [{low:.3f}, {high:.3f}]"
            parts.append(text)
        return f"{self.measure or 'Scores'}({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Numbers and intervals as plain JSON values."""
        return {n: {"value": _plain(v), "interval": self.intervals.get(n)} for n, v in self.values_.items()}


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def half_sample_intervals(
    estimate: Callable[[np.ndarray], Mapping[str, float]],
    values: Mapping[str, float],
    n: int,
    *,
    repeats: int,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Bootstrap intervals for any measure, from random halves of the observations drawn without replacement.

    Resampling with replacement repeats observations, which ruins nearest-neighbour estimators (a copy is a neighbour at
    distance zero) and inflates plug-in ones. A half drawn without replacement has no copies, and by the finite-population
    correction the spread of a half-sample estimate about the full one equals the sampling spread of the full estimate:
    (1/m - 1/n) s^2 = s^2 / n for m = n/2 (McCarthy 1969's half-samples; Politis and Romano 1994 for the general case).
    The interval is the full estimate plus the quantiles of (half - mean of halves), so the bias of a smaller sample
    does not move it.

    Args:
        estimate: maps the indices of chosen observations, shape (m,), to name -> number.
        values: the estimates on all n observations.
        n: number of observations.
        repeats: number of halves; 200 gives stable ends.
        seed: seed of the draws.
        level: coverage of the interval.

    Returns:
        name -> (low, high) for every name whose halves gave finite numbers.
    """
    check_range(repeats, "bootstrap", low=2, integer=True)
    if n < 8:
        raise DataError(f"an interval needs at least 8 observations, got {n}")
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(repeats):
        half = np.sort(rng.choice(n, size=n // 2, replace=False))
        for name, value in estimate(half).items():
            if name in draws:
                draws[name].append(float(value))
    tail = (1 - level) / 2
    intervals = {}
    for name, drawn in draws.items():
        finite = np.array(drawn)[np.isfinite(drawn)]
        if len(finite) >= 2 and math.isfinite(values[name]):
            low, high = np.quantile(finite - finite.mean(), [tail, 1 - tail])
            intervals[name] = (float(values[name] + low), float(values[name] + high))
    return intervals
