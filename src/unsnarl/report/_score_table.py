"""Every shape scores come in (one number, a measure's numbers, a whole measurement, several of them) as one table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.errors import DataError
from unsnarl.measures._scores import Score, Scores
from unsnarl.report._style import clean, number

COLUMNS = ["group", "measure", "score", "label", "value", "low", "high", "meaning", "range"]


@dataclass
class Collected:
    """What a report says about scores.

    Attributes:
        table: one row a number, with the columns of `COLUMNS`; `group` is "" unless several measurements were given.
        matrices: title -> latent x factor data frame.
        skipped: (measure, reason) of what was not computed.
        finding: sentences, the most important first.
    """

    table: pd.DataFrame
    matrices: dict[str, pd.DataFrame] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    finding: list[str] = field(default_factory=list)


def collect(scores: Any, factors: list[str] | None = None) -> Collected:
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
    rows, found = _read(scores, "", factors)
    table = pd.DataFrame(rows, columns=COLUMNS)
    if table.empty and not found.skipped:
        raise DataError("scores is empty")
    for column in ("value", "low", "high"):
        table[column] = table[column].astype(np.float64)
    found.table = table
    if not found.finding:
        found.finding = _sentences(table, found.matrices)
    return found


def _read(scores: Any, group: str, factors: list[str] | None) -> tuple[list[dict[str, Any]], Collected]:
    found = Collected(pd.DataFrame())
    if isinstance(scores, Score | Scores):
        rows = _from_scores(scores, group, factors, found)
    elif isinstance(scores, pd.DataFrame):
        rows = _from_frame(scores, group, found)
    elif callable(getattr(scores, "table", None)) and hasattr(scores, "finding"):  # a MeasureReport
        rows = _from_frame(scores.table(), group, found)
        told = scores.finding() if callable(scores.finding) else scores.finding
        lines = [told] if isinstance(told, str) else list(told)
        found.finding = [f"{group}: {line}" if group else str(line) for line in lines]
        matrices = scores.matrices() if callable(scores.matrices) else scores.matrices
        found.matrices = {_joined(group, n): _framed(m, factors) for n, m in matrices.items()}
        skipped = getattr(scores, "skipped", None) or {}
        known = {measure for measure, _ in found.skipped}
        found.skipped += [(_joined(group, m), str(why)) for m, why in dict(skipped).items() if _joined(group, m) not in known]
    elif isinstance(scores, Mapping):
        rows = []
        for name, part in scores.items():
            if isinstance(part, Score | Scores) or _is_number(part):
                named = part if isinstance(part, Scores) else Scores({str(name): part}, measure="")
                more = _from_scores(named, group, factors, found, str(name))
                if isinstance(part, Score):
                    more[0].update(low=part.low, high=part.high)
                    if part.matrix is not None:
                        found.matrices[_joined(group, str(name))] = _framed(part.matrix, factors)
            else:
                more, inner = _read(part, _joined(group, str(name)), factors)
                found.matrices.update(inner.matrices)
                found.skipped += inner.skipped
                found.finding += inner.finding
            rows += more
    elif _is_number(scores):
        rows = [_row(group, "", "score", float(scores))]
    else:
        raise DataError(
            f"scores is a {type(scores).__name__}; pass a MeasureReport, Scores, a Score, or a dict of them by name"
        )
    return rows, found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _joined(group: str, name: str) -> str:
    return f"{group}: {name}" if group else str(name)


def _row(group: str, measure: str, score: str, value: float, low: float = math.nan, high: float = math.nan) -> dict[str, Any]:
    label = score if not measure or measure.lower() in score.lower() else f"{measure}: {score}"
    return {
        "group": clean(group), "measure": clean(measure), "score": clean(score), "label": clean(label),
        "value": value, "low": low, "high": high, "meaning": "", "range": "",
    }  # fmt: skip


def _from_scores(
    scores: Score | Scores, group: str, factors: list[str] | None, found: Collected, measure: str | None = None
) -> list[dict[str, Any]]:
    if isinstance(scores, Score):
        if scores.matrix is not None:
            found.matrices[_joined(group, scores.name)] = _framed(scores.matrix, factors)
        return [_row(group, "", scores.name, float(scores), scores.low, scores.high)]
    name = scores.measure or (measure if measure and measure not in scores.values_ else "")
    for title, matrix in scores.matrices.items():
        found.matrices[_joined(group, f"{name}: {title}" if name else title)] = _framed(matrix, factors)
    return [
        _row(group, name, n, float(v), *scores.intervals.get(n, (math.nan, math.nan))) for n, v in scores.values_.items()
    ]


def _from_frame(frame: pd.DataFrame, group: str, found: Collected) -> list[dict[str, Any]]:
    missing = {"score", "value"} - set(frame.columns)
    if missing:
        raise DataError(f"scores has no column {sorted(missing)[0]!r}; it needs at least score and value")
    reason = next((c for c in frame.columns if str(c).startswith("skipped")), None)
    rows = []
    for record in frame.to_dict("records"):
        measure = _text(record.get("measure"))
        why = _text(record.get(reason)) if reason is not None else ""
        if why:
            found.skipped.append((_joined(group, measure or _text(record["score"])), why))
            continue
        row = _row(
            _text(record.get("group")) or group, measure, _text(record["score"]), _float(record["value"]),
            _float(record.get("low")), _float(record.get("high")),
        )  # fmt: skip
        row["label"] = _text(record.get("label")) or row["label"]
        row["meaning"] = clean(_text(record.get("meaning")))
        row["range"] = _range_text(record.get("range"))
        rows.append(row)
    return rows


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _range_text(value: Any) -> str:
    if isinstance(value, tuple | list) and len(value) == 2:
        low, high = (_float(v) for v in value)
        if math.isinf(high) or math.isnan(high):
            return f"{low:g} and up"
        return f"{low:g} to {high:g}"
    return clean(_text(value))


def _framed(matrix: Any, factors: list[str] | None) -> pd.DataFrame:
    if isinstance(matrix, pd.DataFrame):
        return matrix
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2:
        array = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
    names = factors if factors is not None and len(factors) == array.shape[1] else None
    columns = names or [f"factor {j}" for j in range(array.shape[1])]
    return pd.DataFrame(array, index=[f"latent {i}" for i in range(array.shape[0])], columns=columns)


def interval_text(row: Any) -> str:
    """A number with its interval: "0.71 [0.68, 0.74]"."""
    text = number(row.value)
    if math.isfinite(row.low) and math.isfinite(row.high):
        text += f" [{number(row.low)}, {number(row.high)}]"
    return text


def unit_scale(row: Any) -> bool:
    """Whether a score runs from 0 to 1: as its range says, else as its value and interval suggest."""
    ends = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", str(row.range).replace("−", "-"))]
    if str(row.range):
        return ends[:2] == [0.0, 1.0]
    return 0 <= row.value <= 1


def _sentences(table: pd.DataFrame, matrices: Mapping[str, pd.DataFrame]) -> list[str]:
    """A finding made of the numbers themselves, for scores that bring none."""
    lines = []
    for name, matrix in matrices.items():
        told = who_carries_what(matrix)
        if told:
            lines.append(told if len(matrices) == 1 else f"{name}: {told[:1].lower()}{told[1:]}")
            break
    shown = table[np.isfinite(table["value"].to_numpy(np.float64))].head(4)
    if len(shown):
        parts = []
        for row in shown.itertuples():
            ends = f" (95% interval {number(row.low)} to {number(row.high)})" if math.isfinite(row.low) else ""
            parts.append(f"{_joined(row.group, row.label)} is {number(row.value)}{ends}")
        lines.append("; ".join(parts) + ".")
    return lines


def who_carries_what(matrix: pd.DataFrame) -> str:
    """Whether the factors have their largest entries in latents of their own, in one sentence.

    Examples:
        >>> who_carries_what(pd.DataFrame([[0.9, 0.8], [0.1, 0.2]], index=["z0", "z1"], columns=["hue", "scale"]))
        'z0 carries most of hue and scale at once.'
    """
    values = np.abs(matrix.to_numpy(np.float64))
    if not np.isfinite(values).any() or values.shape[1] < 2:
        return ""
    main = np.where(np.isfinite(values), values, 0).argmax(axis=0)
    shared = [i for i in np.unique(main) if (main == i).sum() > 1]
    if not shared:
        return f"Each of the {values.shape[1]} factors has its largest entry in a latent of its own."
    parts = []
    for i in shared[:3]:
        names = [str(c) for c, m in zip(matrix.columns, main, strict=True) if m == i]
        listed = names if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more"]
        parts.append(f"{matrix.index[i]} carries most of {', '.join(listed[:-1])} and {listed[-1]} at once")
    more = f"; {len(shared) - 3} more latents are shared" if len(shared) > 3 else ""
    text = "; ".join(parts) + more + "."
    return text[:1].upper() + text[1:] if text.startswith("latent") else text
