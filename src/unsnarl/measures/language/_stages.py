"""The first stages of an analysis: reading the texts, the averages over contexts, and the mean metric."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.information._spectrum import entropy_of_shares
from unsnarl.measures._scores import Interval, half_sample_intervals
from unsnarl.measures.language._metric import MetricSpectrum, metric_spectrum, pullback_metric
from unsnarl.measures.language._opened import OpenedModel
from unsnarl.measures.language._windows import Observed, Windows, marginal_entropy, observe, spread

GROUPS = 8  # of contexts whose metrics are averaged; their halves give the intervals of the spectrum
# shares of the time of a run, for the estimate of what is left
_STAGES = {"reading": 0.35, "metric": 0.15, "alignment": 0.1, "surplus": 0.25, "superposition": 0.15}

Tell = Callable[[str, float], None]


class Work:
    """What the stages share: the model, the windows, a clock and the intervals."""

    def __init__(
        self,
        opened: OpenedModel,
        windows: Windows,
        min_context: int,
        batch: int,
        order: float,
        repeats: int,
        seed: int,
        rng: np.random.Generator,
        tell: Tell,
    ):
        self.opened, self.windows, self.min_context, self.batch = opened, windows, min_context, batch
        self.order, self.repeats, self.seed, self.rng, self.tell = order, repeats, seed, rng, tell
        self.began = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.began = now - self.began, now
        return round(seconds, 2)

    def read(self, contexts: int) -> tuple[Observed, list[Float[Tensor, "_ d"]]]:
        """Statistics and hidden states of the windows."""
        return observe(
            self.opened,
            self.windows,
            contexts=contexts,
            min_context=self.min_context,
            order=self.order,
            batch=self.batch,
            tell=lambda share: self.tell("reading", share),
        )

    def intervals(
        self,
        estimate: Callable[[np.ndarray], dict[str, float]],
        values: dict[str, float],
        units: int,
        most: int = 10_000,
    ) -> dict[str, Interval]:
        """95% intervals from halves of the units (windows or groups); none where there are fewer than 8."""
        if self.repeats < 2 or units < 8:
            return {}
        return half_sample_intervals(estimate, values, units, repeats=min(self.repeats, most), seed=self.seed)


def entropy_numbers(work: Work, observed: Observed) -> tuple[dict[str, float], dict[str, Interval]]:
    """Averages over contexts; halves of windows give the intervals, since contexts of one window are not independent."""
    columns = {
        name: observed.numbers[name] for name in ("entropy", "tv", "renyi", "nll", "log_partition", "attraction")
    }
    columns["calibration_gap"] = columns["nll"] - columns["entropy"]
    _, unit = np.unique(observed.window, return_inverse=True)
    units = int(unit.max()) + 1
    count = np.bincount(unit, minlength=units)
    sums = {name: np.bincount(unit, weights=values, minlength=units) for name, values in columns.items()}

    def estimate(kept: np.ndarray) -> dict[str, float]:
        total = count[kept].sum()
        return {name: float(part[kept].sum() / total) for name, part in sums.items()}

    values = estimate(np.arange(units))
    intervals = work.intervals(estimate, values, units)
    values["next_token_information"] = max(marginal_entropy(observed.shares) - values["entropy"], 0.0)
    values["log_partition_spread"] = float(observed.numbers["log_partition"].std())
    return values, intervals


def metric_numbers(
    work: Work, observed: Observed, contexts: int
) -> tuple[MetricSpectrum, dict[str, float], dict[str, Interval]]:
    """The mean metric from groups of contexts of different windows, and intervals from halves of the groups."""
    rows = spread(len(observed), contexts, work.rng)
    groups = np.array_split(rows, min(GROUPS, max(1, len(rows) // 2)))
    metrics = []
    for i, group in enumerate(groups):
        work.tell("metric", i / len(groups))
        metrics.append(pullback_metric(work.opened.head, observed.hidden[torch.from_numpy(group)]))
    each, weight = np.stack(metrics), np.array([len(g) for g in groups], np.float64)

    def estimate(kept: np.ndarray) -> dict[str, float]:
        mean = np.tensordot(weight[kept] / weight[kept].sum(), each[kept], axes=1)
        values = np.maximum(np.linalg.eigvalsh(mean), 0.0)
        return {
            "trace": float(values.sum()),
            "effective_rank": float(np.exp(entropy_of_shares(values))),
            "participation_ratio": float(values.sum() ** 2 / (values @ values)),
        }

    spectrum = metric_spectrum(np.tensordot(weight / weight.sum(), each, axes=1))
    values = {
        "trace": spectrum.trace,
        "effective_rank": spectrum.effective_rank,
        "participation_ratio": spectrum.participation_ratio,
    }
    intervals = work.intervals(estimate, values, len(groups), most=50)  # there are 70 different halves of 8 groups
    return spectrum, values, intervals


def stage_teller(progress: bool | Tell, surplus: bool, superposition: bool) -> Tell:
    """Stages as a share of the whole."""
    if not progress:
        return lambda stage, share: None
    used = {
        name: part
        for name, part in _STAGES.items()
        if (surplus or name != "surplus") and (superposition or name != "superposition")
    }
    total = sum(used.values())
    starts, start = {}, 0.0
    for name, part in used.items():
        starts[name], start = start / total, start + part
    if callable(progress):
        return lambda stage, share: progress(
            stage, min(starts.get(stage, 1.0) + share * used.get(stage, 0.0) / total, 1.0)
        )
    from unsnarl.training._progress import Progress

    bar = Progress(1_000, "inspecting")

    def tell(stage: str, share: float) -> None:
        done = min(starts.get(stage, 1.0) + share * used.get(stage, 0.0) / total, 1.0)
        bar.update(max(1, round(1_000 * done)))
        if done >= 1:
            bar.close()

    return tell
