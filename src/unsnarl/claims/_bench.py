"""The runs of a claim: try the settings of each tuning and choose, run every arm once a seed, remember the outcomes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unsnarl.claims import _record
from unsnarl.claims._claim import Claim, Row, Tuning
from unsnarl.claims._fingerprint import fingerprint
from unsnarl.claims._jobs import TROUBLE, Job, Outcome, known, run_jobs
from unsnarl.claims._progress import Progress
from unsnarl.errors import FileError, OptionError, UnsnarlError


class ClaimError(UnsnarlError, RuntimeError):
    """A claim with runs that failed: the message names the first; results of the others are kept.

    Attributes:
        failures: (arm, seed, reason) of every failed run.
    """

    def __init__(self, message: str, failures: Sequence[tuple[str, int, str]] = ()):
        super().__init__(message)
        self.failures = list(failures)


class _Bench:
    """Makes jobs of a claim's runs, has them run, and remembers what came of them."""

    def __init__(
        self, claim: Claim, root: Path, shown: Path, quick: bool, engine: str, workers: int, display: Progress
    ):
        self.claim, self.root, self.shown, self.quick = claim, root, shown, quick
        self.engine, self.workers, self.display = engine, workers, display
        self.outcomes: dict[str, Outcome] = {}
        modules = {claim.arm(name).run.__module__ for name in claim.arms}
        self.fingerprints = {module: fingerprint(module, claim.sources) + _weights(claim) for module in modules}

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


def _weights(claim: Claim) -> str:
    """A digest of the weights of the zoo's models that a claim stands on, so that results of others are not reused."""
    if not claim.gates:
        return ""
    from unsnarl.zoo._card import weights_digest
    from unsnarl.zoo._recipe import find_folder

    digests = []
    for name in sorted(claim.gates):
        try:
            digests.append(weights_digest(find_folder(name)))
        except FileError:
            digests.append("absent")  # the run will say so, if it needs it
    return "-" + hashlib.sha256("".join(digests).encode()).hexdigest()[:8]


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
