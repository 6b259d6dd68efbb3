"""Every shape scores come in (one number, a measure's numbers, a whole measurement, several of them) as one list of rows."""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.errors import DataError
from unsnarl.measures._findings import describe
from unsnarl.measures._scores import Score, Scores
from unsnarl.report._style import clean, number


@dataclass(frozen=True)
class ScoreRow:
    """One number of one measure, with its interval where it has one and what is known about its meaning."""

    value: float
    score: str
    measure: str = ""
    group: str = ""
    low: float = math.nan
    high: float = math.nan
    meaning: str = ""
    range: str = ""
    chance: float = math.nan
    alone: bool = False  # the only number of its measure

    @property
    def origin(self) -> str:
        """The measure's name where the score's does not say it: mig is mutual_information_gap, beta_vae beta_vae_score."""
        score, measure = self.score.lower(), self.measure.lower()
        initials = "".join(word[:1] for word in re.split(r"[_ ]+", measure))
        return "" if self.alone and (score in measure or score == initials) else self.measure

    @property
    def label(self) -> str:
        """The score's name, with the measure's where that says more."""
        return f"{self.score} ({self.origin})" if self.origin else self.score

    @property
    def interval(self) -> str:
        """The interval as "[0.68, 0.74]", or "" where there is none."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return ""
        return f"[{number(self.low)}, {number(self.high)}]"

    @property
    def unit(self) -> bool:
        """Whether the score is read on the scale of 0 to 1: as its range says, else as its value suggests."""
        ends = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", self.range.replace("−", "-"))]
        if self.range.startswith("up to"):  # such as R²: below 0 where a guess would do better
            return ends[:1] == [1.0] and self.value >= -0.2
        return ends[:2] == [0.0, 1.0] if self.range else 0 <= self.value <= 1


@dataclass
class Collected:
    """What a report says about scores.

    Attributes:
        rows: one a number; `group` is "" unless several measurements were given.
        matrices: title -> latent x factor data frame.
        skipped: (measure, reason) of what was not computed.
        cautions: (measure, warning) of what was computed with reservations.
        finding: sentences, the most important first.
    """

    rows: list[ScoreRow] = field(default_factory=list)
    matrices: dict[str, pd.DataFrame] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    cautions: list[tuple[str, str]] = field(default_factory=list)
    finding: list[str] = field(default_factory=list)

    def add(self, other: Collected) -> None:
        """Take over all of another collection."""
        self.rows += other.rows
        self.matrices.update(other.matrices)
        self.skipped += other.skipped
        self.cautions += other.cautions
        self.finding += other.finding


def collect(scores: Any, factors: Sequence[str] | None = None) -> Collected:
    """Read scores of any of the accepted kinds.

    Args:
        scores: a `MeasureReport`, a `Scores`, a `Score` or number, a data frame with the columns `score` and `value`, or a
            mapping from name to any of these.
        factors: names for the columns of matrices that have none.

    Raises:
        DataError: something else, or nothing in it.
    """
    if isinstance(scores, Collected):
        return scores
    found = _read(scores, "", factors)
    if not found.rows and not found.skipped:
        raise DataError("scores is empty")
    numbers = Counter((row.group, row.measure) for row in found.rows)
    found.rows = [replace(row, alone=numbers[row.group, row.measure] == 1) for row in found.rows]
    if not found.finding:
        found.finding = _sentences(found)
    return found


def _read(scores: Any, group: str, factors: Sequence[str] | None) -> Collected:
    if isinstance(scores, Score):
        return _from_score(scores, scores.name, group, factors)
    if isinstance(scores, Scores):
        return _from_scores(scores, scores.measure, group, factors)
    if isinstance(scores, pd.DataFrame):
        return _from_frame(scores, group)
    if callable(getattr(scores, "table", None)) and hasattr(scores, "finding"):
        return _from_measure_report(scores, group, factors)
    if isinstance(scores, Mapping):
        found = Collected()
        for key, part in scores.items():
            name = str(key)
            if isinstance(part, Scores):
                same = not part.measure and name in part.values_
                found.add(_from_scores(part, part.measure or ("" if same else name), group, factors))
            elif isinstance(part, Score):
                found.add(_from_score(part, name, group, factors))
            elif _is_number(part):
                found.rows.append(ScoreRow(float(part), clean(name), group=clean(group)))
            else:
                found.add(_read(part, _joined(group, name), factors))
        return found
    if _is_number(scores):
        return Collected([ScoreRow(float(scores), "score", group=clean(group))])
    raise DataError(
        f"scores is a {type(scores).__name__}; pass a MeasureReport, Scores, a Score, or a dict of them by name"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _joined(group: str, name: str) -> str:
    return f"{group}: {name}" if group else name


def _from_score(score: Score, name: str, group: str, factors: Sequence[str] | None) -> Collected:
    found = Collected([ScoreRow(float(score), clean(name), group=clean(group), low=score.low, high=score.high)])
    if score.matrix is not None:
        found.matrices[_joined(group, name)] = _framed(score.matrix, factors)
    return found


def _from_scores(scores: Scores, measure: str, group: str, factors: Sequence[str] | None) -> Collected:
    found = Collected()
    for name, value in scores.values_.items():
        low, high = scores.intervals.get(name, (math.nan, math.nan))
        found.rows.append(ScoreRow(float(value), clean(name), clean(measure), clean(group), float(low), float(high)))
    for name, matrix in scores.matrices.items():
        found.matrices[_joined(group, _joined(measure, name))] = _framed(matrix, factors)
    return found


def _from_measure_report(report: Any, group: str, factors: Sequence[str] | None) -> Collected:
    found = _from_frame(report.table(), group)
    told = report.finding() if callable(report.finding) else report.finding
    found.finding = [_joined(group, str(line)) for line in ([told] if isinstance(told, str) else told)]
    matrices = report.matrices() if callable(report.matrices) else report.matrices
    titles = {"nmi": "normalised mutual information"}
    found.matrices = {
        _joined(group, titles.get(str(name), str(name))): _framed(matrix, factors) for name, matrix in matrices.items()
    }
    for measure, lines in dict(getattr(report, "warnings", None) or {}).items():
        found.cautions += [(_joined(group, str(measure)), str(line)) for line in lines]
    known = {measure for measure, _ in found.skipped}
    for measure, reason in dict(getattr(report, "skipped", None) or {}).items():
        if _joined(group, str(measure)) not in known:
            found.skipped.append((_joined(group, str(measure)), str(reason)))
    return found


def _from_frame(frame: pd.DataFrame, group: str) -> Collected:
    missing = {"score", "value"} - set(frame.columns)
    if missing:
        raise DataError(f"scores has no column {min(missing)!r}; it needs at least score and value")
    reason = next((c for c in frame.columns if str(c).startswith("skipped")), None)
    found = Collected()
    for record in frame.to_dict("records"):
        measure, score = _text(record.get("measure")), _text(record["score"])
        why = _text(record.get(reason))
        if why:
            found.skipped.append((_joined(group, measure or score), why))
            continue
        found.rows.append(
            ScoreRow(
                _float(record["value"]),
                clean(score),
                clean(measure),
                clean(_text(record.get("group")) or group),
                _float(record.get("low")),
                _float(record.get("high")),
                clean(_text(record.get("meaning"))),
                _range(record.get("range")),
                _float(record.get("chance")),
            )
        )
    return found


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _range(value: Any) -> str:
    if isinstance(value, tuple | list) and len(value) == 2:
        low, high = _float(value[0]), _float(value[1])
        return f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and up"
    return clean(_text(value))


def _framed(matrix: Any, factors: Sequence[str] | None) -> pd.DataFrame:
    if isinstance(matrix, pd.DataFrame):
        return matrix
    array = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    named = factors is not None and len(factors) == array.shape[1]
    columns = list(factors) if named and factors else [f"factor {j}" for j in range(array.shape[1])]
    return pd.DataFrame(array, index=[f"latent {i}" for i in range(len(array))], columns=columns)


def _sentences(found: Collected) -> list[str]:
    """A finding made of the numbers themselves, for scores that bring none."""
    lines: list[str] = []
    for name, matrix in list(found.matrices.items())[:1]:
        with contextlib.suppress(DataError):  # a negative entry or NaN: not amounts that could be told in words
            lines = describe(matrix, quantity=name)
    parts = []
    for row in [r for r in found.rows if math.isfinite(r.value)][:4]:
        ends = f" (95% interval {number(row.low)} to {number(row.high)})" if row.interval else ""
        parts.append(f"{_joined(row.group, row.label)} is {number(row.value)}{ends}")
    return [*lines, "; ".join(parts) + "."] if parts else lines
