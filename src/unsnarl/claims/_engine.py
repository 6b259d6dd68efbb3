"""Running a claim: tune on spare seeds, run every arm once a seed, pair over seeds, give the verdict."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.arrays import check_range
from unsnarl.claims import _record
from unsnarl.claims._claim import Claim, Row, Tuning
from unsnarl.claims._fingerprint import fingerprint
from unsnarl.claims._jobs import TROUBLE, Job, Outcome, check_engine, known, run_jobs
from unsnarl.claims._progress import Progress
from unsnarl.claims._record import DECIDING, row_verdict
from unsnarl.claims._statistics import overall, paired_gains, paired_interval
from unsnarl.errors import FileError, OptionError, UnknownNameError, UnsnarlError

INTERVAL = "95% bootstrap of the mean paired difference, stretched for few seeds by Student's t"


class ClaimError(UnsnarlError, RuntimeError):
    """A claim with runs that failed: the message names the first; results of the others are kept.

    Attributes:
        failures: (arm, seed, reason) of every failed run.
    """

    def __init__(self, message: str, failures: Sequence[tuple[str, int, str]] = ()):
        super().__init__(message)
        self.failures = list(failures)


def available_claims() -> list[str]:
    """The slugs of all claims that can be run: those of this package and those of installed plug-ins."""
    found = {name.replace("_", "-") for name in _modules()}
    for card in _cards_elsewhere():
        with contextlib.suppress(ImportError, ValueError):
            if importlib.util.find_spec(card.claim) is not None:
                found.add(card.slug)
    return sorted(found)


def load_claim(slug: str) -> Claim:
    """The claim of a system.

    Raises:
        UnknownNameError: there is none of that slug; near ones are named.
        ClaimError: its module has no `claim`, or that of another slug.
    """
    module_name = f"unsnarl.claims.{slug.replace('-', '_')}"
    if slug.replace("-", "_") not in _modules():
        elsewhere = {card.slug: card.claim for card in _cards_elsewhere()}
        if slug not in elsewhere or slug not in available_claims():
            raise UnknownNameError("claim", slug, available_claims())
        module_name = elsewhere[slug]
    claim = getattr(importlib.import_module(module_name), "claim", None)
    if not isinstance(claim, Claim):
        raise ClaimError(f"the module {module_name} has no claim = Claim(...)")
    if claim.slug != slug:
        raise ClaimError(f"the module {module_name} holds the claim {claim.slug!r}, not {slug!r}")
    return claim


def _modules() -> list[str]:
    import unsnarl.claims

    return [m.name for m in pkgutil.iter_modules(unsnarl.claims.__path__) if not m.name.startswith("_")]


def _cards_elsewhere() -> list[Any]:
    from unsnarl.catalog import cards

    return [card for card in cards() if card.claim and not card.claim.startswith("unsnarl.claims.")]


def run_claim(
    slug: str | Claim,
    *,
    seeds: int | Sequence[int] = 5,
    engine: str = "local",
    workers: int | None = None,
    tune: bool = True,
    quick: bool = False,
    runs: str | os.PathLike[str] = "runs",
    records: str | os.PathLike[str] = "docs/claims",
    progress: bool = True,
) -> dict[str, Any]:
    """Run a claim and give its record; finished runs are read from the run folder, so a stopped claim goes on.

    Nothing is written but the run folder: hand the record to `write_record`.

    Args:
        slug: a system's slug, or a claim.
        seeds: how many (0, 1, ...), or which. Three are the fewest to hope for a verdict from; see `paired_interval`.
        engine: "local", "processes", "ray" or "dask"; the numbers are the same.
        workers: how many runs go on at a time.
        tune: choose hyperparameters first; without, the choice stated in the claim's module is used, or else the one
            in the record.
        quick: a smoke test at a small scale, whose record cannot be written.
        runs: the folder of all runs; this claim's is `runs/claims/SLUG`.
        records: where records are, for a choice made in an earlier run (only read).
        progress: show how far it is, on standard error.

    Raises:
        UnknownNameError, OptionError: an unknown claim, engine or option, or seeds that tuning uses.
        MissingExtraError: the engine's package is not installed.
        FileError: the claim is being run from another process in the same folder.
        ClaimError: runs failed; all others have been run and kept.
    """
    claim = load_claim(slug) if isinstance(slug, str) else slug
    chosen_seeds = _check_seeds(seeds, claim)
    at_a_time = check_engine(engine, workers)
    root = Path(runs).resolve() / "claims" / claim.slug / ("quick" if quick else "")
    shown_root = Path(runs) / "claims" / claim.slug
    display = Progress(claim.slug, at_a_time, shown=progress)
    with _alone(root, shown_root), display.show():
        bench = _Bench(claim, root, shown_root, quick, engine, at_a_time, display)
        tuning = bench.tune(len(chosen_seeds)) if tune else _stated(claim, Path(records))
        results = bench.run(chosen_seeds, tuning)
    return _assemble(claim, chosen_seeds, tuning, results, bench, engine=engine, quick=quick)


def _check_seeds(seeds: int | Sequence[int], claim: Claim) -> list[int]:
    if isinstance(seeds, int | np.integer):
        check_range(seeds, "seeds", low=1, integer=True)
        chosen = list(range(int(seeds)))
    else:
        for seed in seeds:
            check_range(seed, "seeds", low=0, integer=True)
        chosen = [int(seed) for seed in seeds]
    if not chosen or len(set(chosen)) < len(chosen):
        raise OptionError(f"seeds={list(chosen)} must be different and at least one")
    # a choice that was made on a seed must not be judged on it, whether it is made now or was made before
    spent = sorted({seed for tuning in claim.tune for seed in tuning.seeds} & set(chosen))
    if spent:
        raise OptionError(f"seeds has {spent[0]}, which the tuning of {claim.slug!r} uses; choose others")
    return chosen


@contextlib.contextmanager
def _alone(root: Path, shown: Path) -> Iterator[None]:
    """Hold the run folder, so that two runs of a claim do not share one."""
    from filelock import FileLock, Timeout

    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(root / ".running"), timeout=0)
        lock.acquire()
    except Timeout:
        raise FileError(f"this claim is being run in {shown} already; wait for it, or give another runs=") from None
    except OSError as error:
        raise FileError(f"cannot use the run folder {shown}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


class _Bench:
    """Makes jobs of a claim's runs, has them run, and remembers what came of them."""

    def __init__(
        self, claim: Claim, root: Path, shown: Path, quick: bool, engine: str, workers: int, display: Progress
    ):
        self.claim, self.root, self.shown, self.quick = claim, root, shown, quick
        self.engine, self.workers, self.display = engine, workers, display
        self.outcomes: dict[str, Outcome] = {}
        modules = {claim.arm(name).run.__module__ for name in claim.arms}
        self.fingerprints = {module: fingerprint(module, claim.sources) for module in modules}

    def job(self, arm: str, seed: int, options: Mapping[str, Any]) -> Job:
        run = self.claim.arm(arm).run
        return Job(
            claim=self.claim.slug,
            arm=arm,
            seed=seed,
            options={**self.claim.arm(arm).options, **options},
            run=run,
            root=self.root,
            fingerprint=self.fingerprints[run.__module__],
            quick=self.quick,
            threads=self.claim.threads,
        )

    def execute(self, stage: str, jobs: Sequence[Job], later: Sequence[str] = ()) -> list[Job]:
        """Run what has not been run before; gives the jobs that failed."""
        jobs = list({job.key: job for job in jobs}.values())
        before = {job.key: outcome for job in jobs if (outcome := known(job)) is not None}
        self.outcomes |= before
        self.display.start(stage, jobs, list(before.values()), later)
        waiting = [job for job in jobs if job.key not in before]
        try:
            for outcome in run_jobs(waiting, self.engine, self.workers):
                self.outcomes[outcome.key] = outcome
                self.display.finished(outcome)
        except KeyboardInterrupt:
            done = sum(job.key in self.outcomes for job in jobs)
            self.display.log(
                f"{self.claim.slug}: stopped; {done} of {len(jobs)} runs are kept in {self.shown}, "
                "the same command goes on from there"
            )
            raise
        return [job for job in jobs if self.outcomes[job.key].failed is not None]

    def tune(self, seeds: int) -> list[dict[str, Any]]:
        """Try every setting of every tuning and choose; one entry of the record for each.

        `seeds` is how many seeds the runs after it have, for the estimate of the time left.
        """
        tried = [
            (tuning, setting, self.job(tuning.arm, seed, {**setting, **tuning.condition}))
            for tuning in self.claim.tune
            for setting in tuning.settings()
            for seed in tuning.seeds
        ]
        if not tried:
            return []
        runs = {(arm, repr(sorted(row.condition.items()))) for row in self.claim.rows for arm in row.arms}
        later = [arm for arm, _ in runs] * seeds
        failed = self.execute("tuning", [job for _, _, job in tried], later)
        entries = []
        for tuning in self.claim.tune:
            jobs = [(setting, job) for t, setting, job in tried if t is tuning]
            self._require([job for _, job in jobs], tuning.metric)
            entry = _choose(tuning, [(setting, self.outcomes[job.key]) for setting, job in jobs])
            if entry["chosen"] is None:
                of_this = [job for _, job in jobs if job in failed] or [job for _, job in jobs]
                self._give_up(of_this, f"no setting of {tuning.arm!r} gave a finite {tuning.metric}: ")
            entries.append(entry)
        return entries

    def run(self, seeds: Sequence[int], tuning: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Outcome]:
        """Run every arm that a row reads, once a seed and condition: (row, arm, seed) -> outcome."""
        plan = {
            (row.name, arm, seed): self.job(arm, seed, arm_options(row, arm, tuning))
            for seed in seeds  # seed by seed, so that a stopped claim has whole pairs
            for row in self.claim.rows
            if seed in seeds[: row.seeds]
            for arm in row.arms
        }
        failed = self.execute("runs", list(plan.values()))
        if failed:
            self._give_up(failed)
        for row in self.claim.rows:
            used = seeds[: row.seeds]
            self._require([plan[row.name, row.system, s] for s in used], row.metric)
            self._require(
                [plan[row.name, a, s] for a in row.baselines for s in used], row.baseline_metric or row.metric
            )
        return {where: self.outcomes[job.key] for where, job in plan.items()}

    def _require(self, jobs: Sequence[Job], metric: str) -> None:
        for job in jobs:
            outcome = self.outcomes[job.key]
            if outcome.failed is None and metric not in outcome.numbers:
                raise ClaimError(
                    f"claim {self.claim.slug!r}: {job.name} returned no {metric!r}; it returned "
                    f"{', '.join(outcome.numbers)}"
                )

    def _give_up(self, failed: Sequence[Job], why: str = "") -> None:
        failures = [(job.arm, job.seed, self.outcomes[job.key].failed or "not finite") for job in failed]
        first = failed[0]
        others = f" and {len(failed) - 1} more failed" if len(failed) > 1 else " failed"
        kept = sum(outcome.failed is None for outcome in self.outcomes.values())
        trouble = self.shown.joinpath(first.folder.relative_to(self.root.parent if self.quick else self.root), TROUBLE)
        raise ClaimError(
            f"claim {self.claim.slug!r}: {why}{first.name}{others} ({failures[0][2]}); the other {kept} results are "
            f"kept, details are in {trouble}; the same command tries the failed ones again",
            failures,
        )


def arm_options(row: Row, arm: str, tuning: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The options an arm gets in a row: what was chosen for it under this condition, then the condition itself."""
    options: dict[str, Any] = {}
    for entry in tuning:
        applies = all(row.condition.get(name) == value for name, value in entry["condition"].items())
        if arm in (entry["arm"], *entry["also"]) and applies:
            options |= entry["chosen"]
    return options | dict(row.condition)


def _choose(tuning: Tuning, tried: Sequence[tuple[Mapping[str, Any], Outcome]]) -> dict[str, Any]:
    """The record's entry of a tuning; a setting with a failed or non-finite run is never chosen."""
    entry = _tuning_entry(tuning)
    best = None
    for setting in tuning.settings():
        outcomes = [outcome for s, outcome in tried if s == setting]
        values = [outcome.numbers.get(tuning.metric) for outcome in outcomes]
        finite = [value for value in values if value is not None]
        mean = math.fsum(finite) / len(values) if len(finite) == len(values) else None
        reasons = [outcome.failed for outcome in outcomes if outcome.failed is not None]
        entry["tried"].append(
            {"options": setting, "values": values, "mean": mean} | ({"failed": reasons[0]} if reasons else {})
        )
        better = mean is not None and (best is None or (mean > best if tuning.objective == "max" else mean < best))
        if better:
            best, entry["chosen"] = mean, setting
    entry["at_edge"] = _at_edge(tuning, entry["chosen"])
    return entry


def _tuning_entry(tuning: Tuning) -> dict[str, Any]:
    return {
        "arm": tuning.arm,
        "also": list(tuning.also),
        "condition": dict(tuning.condition),
        "metric": tuning.metric,
        "objective": tuning.objective,
        "seeds": [int(seed) for seed in tuning.seeds],
        "grid": {name: list(values) for name, values in tuning.grid.items()},
        "trials": tuning.trials,
        "tried": [],
        "chosen": None,
        "at_edge": [],
    }


def _at_edge(tuning: Tuning, chosen: Mapping[str, Any] | None) -> list[str]:
    """The numeric options whose chosen value is the smallest or largest tried, so that a better one may lie beyond."""
    edges = []
    for name, values in tuning.grid.items():
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if chosen and numeric and len(set(values)) > 2 and chosen[name] in (min(values), max(values)):
            edges.append(name)
    return edges


def _stated(claim: Claim, records: Path) -> list[dict[str, Any]]:
    """The choices to use without tuning: those in the module, else those in the record."""
    entries = []
    recorded: list[dict[str, Any]] = []
    if any(tuning.chosen is None for tuning in claim.tune):
        path = records / f"{claim.slug}.json"
        if not path.exists():
            raise OptionError(
                f"tune=False, but neither the module of {claim.slug!r} nor a record in {records} states what was chosen; "
                "run it with tuning"
            )
        recorded = _record.read_record(path)["tuning"]
    for tuning in claim.tune:
        entry = _tuning_entry(tuning) | {"trials": 0}
        if tuning.chosen is not None:
            entry |= {"chosen": dict(tuning.chosen), "from": "the claim's module"}
        else:
            same = [e for e in recorded if e["arm"] == tuning.arm and e["condition"] == entry["condition"]]
            if not same or set(same[0]["chosen"]) != set(tuning.grid):
                raise OptionError(f"tune=False, but the record of {claim.slug!r} has no choice for {tuning.arm!r}")
            entry |= {"chosen": same[0]["chosen"], "tried": same[0]["tried"], "from": "the record"}
        entries.append(entry)
    return entries


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
    notes = [claim.notes.strip()] if claim.notes.strip() else []
    notes += [f"{row['name']}: {row['note']}." for row in rows if "note" in row]
    notes += [
        f"Tuning of {entry['arm']}: the chosen {' and '.join(entry['at_edge'])} is at the edge of the grid."
        for entry in tuning
        if entry["at_edge"]
    ]
    record = {
        "slug": claim.slug,
        "title": claim.title,
        "statement": claim.statement,
        "verdict": overall([row["verdict"] for row in rows if row["role"] in DECIDING]),
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
    if quick:
        record["quick"] = True
    _record.check_record(record)
    return record


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
