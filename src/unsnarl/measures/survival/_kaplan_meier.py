"""Survival curves of groups of patients, and whether they differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import as_vector, check_range, check_same_length
from unsnarl.data.survival._outcome import check_outcome
from unsnarl.errors import DataError, OptionError
from unsnarl.measures.survival._concordance import as_risk, sksurv

GROUP_NAMES = {2: ("low", "high"), 3: ("low", "middle", "high")}


@dataclass(frozen=True, repr=False, eq=False)
class KaplanMeier:
    """A survival curve: a step function that falls at each time with an event.

    Attributes:
        time: ascending, beginning with 0.
        survival: probability of living past each time.
        low, high: pointwise 95% interval (log-log).
        at_risk: patients still under observation just before each time.
        n, events: patients and events.
    """

    time: Float[np.ndarray, " step"]
    survival: Float[np.ndarray, " step"]
    low: Float[np.ndarray, " step"]
    high: Float[np.ndarray, " step"]
    at_risk: Int[np.ndarray, " step"]
    n: int
    events: int

    def __call__(self, time: Any) -> np.ndarray:
        """The probability of living past these times; nan beyond the last one."""
        times = np.asarray(time, dtype=np.float64)
        place = np.searchsorted(self.time, times, side="right") - 1
        return np.where(times > self.time[-1], np.nan, self.survival[np.maximum(place, 0)])

    @property
    def median(self) -> float:
        """The first time at which at most half are left; nan when the curve ends above one half."""
        below = np.flatnonzero(self.survival <= 0.5)
        return float(self.time[below[0]]) if len(below) else float("nan")

    def __repr__(self) -> str:
        return f"KaplanMeier({self.n:,} patients, {self.events:,} events, median {self.median:.4g})"


def kaplan_meier(time: Any, event: Any, *, level: float = 0.95) -> KaplanMeier:
    """The Kaplan-Meier estimate of the survival curve (Kaplan and Meier 1958) with pointwise log-log intervals.

    Args:
        time: times, at least 0.
        event: True where the event was seen.
        level: coverage of the interval at each time.

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: unusable times or events.

    Cost: O(n log n).
    """
    check_range(level, "level", low=0, high=1, open_low=True)
    times, events = check_outcome(time, event)
    return _estimate(times, events, level)


def _estimate(times: np.ndarray, events: np.ndarray, level: float = 0.95) -> KaplanMeier:
    at_risk = np.array([int((times >= t).sum()) for t in np.unique(times)])
    if not events.any():  # a group in which nobody had the event stays at 1
        steps = np.unique(times)
        survival = low = high = np.ones(len(steps))
    else:
        steps, survival, interval = sksurv("nonparametric").kaplan_meier_estimator(
            events, times, conf_level=level, conf_type="log-log"
        )
        low, high = interval
        certain = survival >= 1  # before the first event the log-log interval is not defined
        low, high = np.where(certain, 1.0, np.nan_to_num(low)), np.where(certain, 1.0, np.nan_to_num(high, nan=1.0))
    start = steps[0] > 0
    whole = lambda values, first: np.concatenate([[first], values]) if start else np.asarray(values)  # noqa: E731
    return KaplanMeier(
        whole(steps, 0.0).astype(np.float64),
        whole(survival, 1.0),
        whole(low, 1.0),
        whole(high, 1.0),
        whole(at_risk, len(times)).astype(np.int64),
        len(times),
        int(events.sum()),
    )


@dataclass(frozen=True, repr=False, eq=False)
class RiskGroups:
    """Patients in groups of rising risk, and how the groups fared.

    Attributes:
        group: (n,) the group of each patient, 0 the lowest risk.
        names: of the groups, from the lowest risk to the highest.
        thresholds: risks between the groups; a patient at a threshold is in the lower group.
        curves: one `KaplanMeier` a group.
        chi2, p: log-rank test of equal curves.
    """

    group: Int[np.ndarray, " n"]
    names: tuple[str, ...]
    thresholds: Float[np.ndarray, " cut"]
    curves: tuple[KaplanMeier, ...]
    chi2: float
    p: float

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {curve.n}" for name, curve in zip(self.names, self.curves, strict=True))
        return f"RiskGroups({parts}; log-rank p = {self.p:.3g})"


def risk_groups(
    time: Any, event: Any, risk: Any, *, groups: int = 2, thresholds: Sequence[float] | None = None
) -> RiskGroups:
    """Split patients at the median (`groups=2`) or the tertiles (3) of their risk, or at given thresholds.

    The p-value is that of a split whose risks and thresholds do not come from these patients' outcomes: use risks from a
    cross-validation or of patients the model has not seen. A threshold chosen to make the curves differ makes p meaningless.

    Args:
        time: times, at least 0.
        event: True where the event was seen.
        risk: higher for an earlier event.
        groups: number of groups of about equal size.
        thresholds: ascending risks to split at (such as quantiles of the training risks), in place of `groups`.

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: a group is empty, as when risks are tied.
        OptionError: thresholds that do not ascend.

    Cost: O(n log n).
    """
    check_range(groups, "groups", low=2, integer=True)
    times, events = check_outcome(time, event)
    risks = as_risk(risk, len(times))
    cuts = (
        np.quantile(risks, np.linspace(0, 1, groups + 1)[1:-1])
        if thresholds is None
        else as_vector(thresholds, "thresholds", min_rows=1).astype(np.float64)
    )
    if not (np.diff(cuts) > 0).all():
        raise (DataError if thresholds is None else OptionError)(f"the thresholds {cuts.tolist()} must ascend")
    labels = np.searchsorted(cuts, risks, side="left").astype(np.int64)
    sizes = np.bincount(labels, minlength=len(cuts) + 1)
    if (sizes == 0).any():
        raise DataError(f"{int((sizes == 0).sum())} of {len(sizes)} risk groups hold nobody; too many risks are equal")
    chi2, p = log_rank(times, events, labels)
    names = GROUP_NAMES.get(len(sizes), tuple(f"group {i + 1}" for i in range(len(sizes))))
    curves = tuple(_estimate(times[labels == k], events[labels == k]) for k in range(len(sizes)))
    return RiskGroups(labels, names, cuts, curves, chi2, p)


def log_rank(time: Any, event: Any, group: Any) -> tuple[float, float]:
    """Chi-squared and p of the log-rank test that all groups share one survival curve (Mantel 1966).

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: fewer than two groups, or lengths differ.
    """
    times, events = check_outcome(time, event)
    labels = as_vector(group, "group", min_rows=1)
    check_same_length(time=times, group=labels)
    if len(np.unique(labels)) < 2:
        raise DataError("the log-rank test compares at least two groups, got one")
    y = np.empty(len(times), dtype=[("event", "?"), ("time", "<f8")])
    y["event"], y["time"] = events, times
    chi2, p = sksurv("compare").compare_survival(y, labels)
    return float(chi2), float(p)
