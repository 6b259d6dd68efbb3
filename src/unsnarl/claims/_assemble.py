"""Assembling a claim's record from the outcomes of its runs: numbers paired over seeds, intervals, verdicts, notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unsnarl.claims import _record
from unsnarl.claims._bench import _Bench, arm_options
from unsnarl.claims._claim import Claim, Row
from unsnarl.claims._jobs import Outcome
from unsnarl.claims._record import DECIDING, row_verdict
from unsnarl.claims._statistics import overall, paired_gains, paired_interval

INTERVAL = "95% bootstrap of the mean paired difference, stretched for few seeds by Student's t"


def _assemble(
    claim: Claim,
    seeds: Sequence[int],
    tuning: list[dict[str, Any]],
    results: Mapping[tuple[str, str, int], Outcome],
    bench: _Bench,
    *,
    engine: str,
    quick: bool,
) -> dict[str, Any]:
    rows = [_row_entry(claim, row, seeds, tuning, results) for row in claim.rows]
    used = list({outcome.key: outcome for outcome in bench.outcomes.values()}.values())
    machines: list[dict[str, Any]] = []
    for outcome in used:
        if outcome.machine and outcome.machine not in machines:
            machines.append(outcome.machine)
    machine = dict(machines[0]) if machines else _record.machine()
    if len(machines) > 1:
        machine["others"] = machines[1:]
    unmet = _unmet(claim) if not quick else []
    notes = [claim.notes.strip()] if claim.notes.strip() else []
    notes += [f"{row['name']}: {row['note']}." for row in rows if "note" in row]
    if unmet:
        notes.append(f"Whatever the rows say, the verdict waits for gates that are not met: {'; '.join(unmet)}.")
    notes += [
        f"Tuning of {entry['arm']}: the chosen {' and '.join(entry['at_edge'])} is at the edge of the grid."
        for entry in tuning
        if entry["at_edge"]
    ]
    record = {
        "slug": claim.slug,
        "title": claim.title,
        "statement": claim.statement,
        "verdict": "inconclusive" if unmet else overall([row["verdict"] for row in rows if row["role"] in DECIDING]),
        "rows": rows,
        "tuning": tuning,
        "settings": {
            **claim.settings,
            "arms": {
                name: {"function": claim.arm(name).run.__name__, **claim.arm(name).options} for name in claim.arms
            },
            "seeds": list(seeds),
            "interval": INTERVAL,
            "engine": engine,
            "workers": bench.workers,
            "threads": claim.threads,
            "code": sorted(bench.fingerprints.values()),
        },
        "machine": machine,
        "versions": _record.versions(),
        "date": max([outcome.date for outcome in used if outcome.date], default=_record.today()),
        "seconds": round(math.fsum(outcome.seconds for outcome in used), 1),
        "notes": "\n".join(notes),
    }
    if unmet:
        record["unmet_gates"] = unmet
    if quick:
        record["quick"] = True
    _record.check_record(record)
    return record


def _unmet(claim: Claim) -> list[str]:
    if not claim.gates:
        return []
    from unsnarl.claims.gates import unmet_gates

    return unmet_gates(claim.gates)


def _row_entry(
    claim: Claim,
    row: Row,
    seeds: Sequence[int],
    tuning: Sequence[Mapping[str, Any]],
    results: Mapping[tuple[str, str, int], Outcome],
) -> dict[str, Any]:
    seeds = seeds[: row.seeds]
    system = [results[row.name, row.system, seed].numbers[row.metric] for seed in seeds]
    baseline: list[float | None] = []
    best_arms: list[str | None] = []
    for seed in seeds:
        value, arm = _best_baseline(row, {a: results[row.name, a, seed].numbers for a in row.baselines})
        baseline.append(value)
        best_arms.append(arm)
    gains = paired_gains(
        [math.nan if v is None else v for v in system],
        [math.nan if v is None else v for v in baseline],
        higher_is_better=row.higher_is_better,
        compare=row.compare,
    )
    found = gains[np.isfinite(gains)]
    mean = low = high = None
    if len(found):
        estimate = paired_interval(found)
        mean = estimate.mean
        low, high = (estimate.low, estimate.high) if len(found) > 1 else (None, None)
    complete = len(found) == len(gains)
    entry = {
        "name": row.name,
        "metric": row.metric,
        "higher_is_better": row.higher_is_better,
        "seeds": list(seeds),
        "system": system,
        "baseline": baseline,
        "minimum_effect": float(row.minimum_effect),
        "difference": {"mean": mean, "low": low, "high": high},
        "verdict": row_verdict(mean, low, high, row.minimum_effect, row.rule, complete=complete),
        "rule": row.rule,
        "compare": row.compare,
        "role": row.role,
        "system_arm": row.system,
        "baseline_arm": "constant" if row.constant is not None else " or ".join(row.baselines),
        "condition": dict(row.condition),
        "options": {arm: {**claim.arm(arm).options, **arm_options(row, arm, tuning)} for arm in row.arms},
        "tuning_runs": {arm: claim.trials(arm) for arm in row.arms},
    }
    if row.baseline_metric:
        entry["baseline_metric"] = row.baseline_metric
    if len(row.baselines) > 1:
        entry["baseline_arms"] = best_arms
    if row.unequal_budget:
        entry["unequal_budget"] = row.unequal_budget
    note = _note(gains, seeds)
    if note:
        entry["note"] = note
    return entry


def _best_baseline(row: Row, numbers: Mapping[str, Mapping[str, float | None]]) -> tuple[float | None, str | None]:
    """The hardest baseline of one seed; None when any is missing, as the missing one may be the hardest."""
    if row.constant is not None:
        return row.constant, None
    values = {arm: of_arm[row.baseline_metric or row.metric] for arm, of_arm in numbers.items()}
    finite = {arm: value for arm, value in values.items() if value is not None}
    if len(finite) < len(values):
        return None, None
    arm = (max if row.higher_is_better else min)(finite, key=lambda name: finite[name])
    return finite[arm], arm


def _note(gains: np.ndarray, seeds: Sequence[int]) -> str:
    missing = [str(seed) for seed, gain in zip(seeds, gains, strict=True) if not math.isfinite(gain)]
    if missing:
        return f"no finite number for seed {', '.join(missing)}, so the row cannot hold"
    if len(gains) == 1:
        return "one seed gives no interval"
    if np.ptp(gains) == 0:
        return "every seed gave the same difference, so the interval has no width and says nothing of other seeds"
    if len(gains) < 5:
        return f"{len(gains)} seeds give a wide interval"
    return ""
