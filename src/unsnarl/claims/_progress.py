"""The display of a running claim: runs done, time elapsed, and a time left that is estimated from finished runs only."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from unsnarl.claims._jobs import Job, Outcome, heartbeat


class Progress:
    """What is known about the time of a claim's runs, and where it is shown.

    Args:
        slug: the claim.
        workers: how many runs go on at a time.
        shown: False for silence. On a terminal one line is kept up to date; elsewhere a line is written for each run.
    """

    def __init__(self, slug: str, workers: int = 1, *, shown: bool = True):
        self.slug, self.workers, self.shown = slug, workers, shown
        self.stage = ""
        self.jobs: dict[str, Job] = {}
        self.done: set[str] = set()
        self.later: list[str] = []
        self.seconds: dict[str, list[float]] = {}
        self.started, self.began = time.monotonic(), time.time()
        self._live = False

    @contextlib.contextmanager
    def show(self) -> Iterator[None]:
        """Keep the display up while the block runs."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if not (self.shown and console.is_terminal):
            yield
            return
        self._live = True
        with Live(get_renderable=self.line, console=console, refresh_per_second=2, transient=True):
            yield
        self._live = False

    def start(self, stage: str, jobs: Sequence[Job], outcomes: Sequence[Outcome], later: Sequence[str] = ()) -> None:
        """Begin a stage.

        Args:
            stage: "tuning" or "runs".
            jobs: all of the stage.
            outcomes: those that are there already.
            later: the arms of runs that come in later stages, for the estimate.
        """
        self.stage, self.jobs, self.later = stage, {job.key: job for job in jobs}, list(later)
        self.done = set()
        for outcome in outcomes:
            self._count(outcome)
        kept = f", {len(outcomes)} of them done before" if outcomes else ""
        self.log(f"{self.slug}: {stage}, {len(jobs)} runs{kept}")

    def finished(self, outcome: Outcome) -> None:
        """Take note of a run that ended."""
        self._count(outcome)
        job = self.jobs[outcome.key]
        if outcome.failed is not None:
            told = f"failed: {outcome.failed}"
        else:
            numbers = [f"{k} {'-' if v is None else f'{v:.4g}'}" for k, v in list(outcome.numbers.items())[:4]]
            told = f"{clock(outcome.seconds)}; {', '.join(numbers)}"
        self.log(f"{self.slug}: [{len(self.done)}/{len(self.jobs)}] {job.name}: {told}; {self.remaining()}")

    def log(self, line: str) -> None:
        """Write a line where there is no live display."""
        if self.shown and not self._live:
            print(line, file=sys.stderr, flush=True)

    def line(self) -> str:
        """The state in one line."""
        from rich.markup import escape

        now = time.monotonic()
        parts = [f"[bold]{self.slug}[/bold] {self.stage} {len(self.done)}/{len(self.jobs)}"]
        parts += [f"{clock(now - self.started)} elapsed", self.remaining()]
        for job, beat in self._under_way()[: self.workers]:
            shown = "".join(f", {k} {v:.4g}" for k, v in list(beat["numbers"].items())[:2])
            parts.append(escape(f"{job.arm} seed {job.seed} {beat['share']:.0%}{shown}"))
        return "  ".join(parts)

    def remaining(self) -> str:
        """The time left in words, or that nothing can be said before a run has ended."""
        seconds = self.estimate()
        if seconds is None:
            return "time left unknown until a run has ended"
        unseen = {job.arm for key, job in self.jobs.items() if key not in self.done} - set(self._usual())
        return f"about {clock(seconds)} left" + (f", guessing at {', '.join(sorted(unseen))}" if unseen else "")

    def estimate(self) -> float | None:
        """Seconds left, from the mean time of finished runs of each arm; None while there are none.

        An arm without a finished run counts by one under way, when that is far enough, or else as the mean of the
        others. Runs under way count for what is left of them.
        """
        if not self.seconds:
            return None
        usual = self._usual()
        unseen = statistics.fmean(usual.values())
        left = [usual.get(job.arm, unseen) for key, job in self.jobs.items() if key not in self.done]
        left += [usual.get(arm, unseen) for arm in self.later]
        if not left:
            return 0.0
        begun = sum(usual.get(job.arm, unseen) * beat["share"] for job, beat in self._under_way())
        return max((sum(left) - begun) / min(self.workers, len(left)), 0.0)

    def _count(self, outcome: Outcome) -> None:
        self.done.add(outcome.key)
        if outcome.failed is None:
            self.seconds.setdefault(self.jobs[outcome.key].arm, []).append(outcome.seconds)

    def _usual(self) -> dict[str, float]:
        """Seconds a run of each arm takes, as far as known."""
        usual = {arm: statistics.fmean(times) for arm, times in list(self.seconds.items())}
        for job, beat in self._under_way():
            if job.arm not in usual and beat["share"] >= 0.05:
                usual[job.arm] = (time.time() - beat["started"]) / beat["share"]
        return usual

    def _under_way(self) -> list[tuple[Job, dict[str, Any]]]:
        beats = [(job, heartbeat(job, self.began)) for key, job in list(self.jobs.items()) if key not in self.done]
        return [(job, beat) for job, beat in beats if beat is not None]


def clock(seconds: float) -> str:
    """A duration for people.

    Examples:
        >>> clock(7.25), clock(200), clock(7500)
        ('7.2 s', '3 min 20 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
