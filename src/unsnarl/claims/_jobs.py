"""Jobs: one arm, one seed, one set of options. Each is run once, its numbers kept on disk, by whichever engine.

A finished job is a `result.json` in its folder, written whole or not at all; a run that is stopped in any way loses only
the jobs under way, and those resume from their own checkpoints. The folder's name holds a digest of all that the
numbers depend on, so that a changed option or a changed line of code is another job.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.arrays import check_choice, check_range
from unsnarl.claims._context import HEARTBEAT, Context
from unsnarl.errors import MissingExtraError, UnsnarlError
from unsnarl.files import atomic_write

ENGINES = ("local", "processes", "ray", "dask")
RESULT, TROUBLE = "result.json", "error.txt"


@dataclass(frozen=True)
class Job:
    """One run of one arm. Equal keys mean equal numbers.

    Attributes:
        claim, arm, seed, options: which run.
        run: the arm's function.
        root: the claim's run folder.
        fingerprint: digest of the code.
        quick: at the scale of a smoke test.
        threads: threads it may use.
    """

    claim: str
    arm: str
    seed: int
    options: dict[str, Any]
    run: Callable[..., Mapping[str, float]] = field(repr=False, compare=False)
    root: Path
    fingerprint: str
    quick: bool = False
    threads: int = 1

    @property
    def key(self) -> str:
        """A digest of all that the numbers depend on."""
        parts = [self.arm, self.run.__qualname__, self.seed, self.options, self.fingerprint, self.quick, self.threads]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where the job keeps its checkpoints and its result."""
        arm = re.sub(r"[^a-z0-9]+", "-", self.arm.lower()).strip("-")[:40] or "arm"
        return self.root / arm / f"seed-{self.seed}-{self.key}"

    @property
    def name(self) -> str:
        """The arm, seed and options in words."""
        options = ", ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.arm}, seed {self.seed}" + (f" ({options})" if options else "")


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its numbers, or the reason it failed.

    Attributes:
        key: the job's key.
        numbers: metric -> number; None where it was not finite.
        failed: one line with the reason, or None.
        seconds: time it took.
        machine: the machine it ran on, as in a record.
        date: the day it ended.
    """

    key: str
    numbers: dict[str, float | None]
    failed: str | None = None
    seconds: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)
    date: str = ""


def known(job: Job) -> Outcome | None:
    """The outcome of a job that has been run before; None when there is none or its file is damaged."""
    try:
        kept = json.loads((job.folder / RESULT).read_text(encoding="utf-8"))
        outcome = Outcome(**kept["outcome"])
        numbers = {str(k): None if v is None else float(v) for k, v in outcome.numbers.items()}
        return Outcome(**{**asdict(outcome), "numbers": numbers}) if outcome.key == job.key else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def keep(job: Job, outcome: Outcome) -> None:
    """Write a successful outcome into the job's folder, unless it is there."""
    if outcome.failed is not None or known(job) is not None:
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    told = {"claim": job.claim, "arm": job.arm, "seed": job.seed, "options": job.options, "quick": job.quick}
    with atomic_write(job.folder / RESULT, "w") as file:
        json.dump(told | {"outcome": asdict(outcome)}, file, indent=1, allow_nan=False)


def execute(job: Job) -> Outcome:
    """Run a job, or read its result where there is one; an exception becomes a failed outcome.

    Two processes that are given the same job do not run it twice: the second waits and reads.
    """
    from filelock import FileLock

    from unsnarl.claims._record import machine, today

    job.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(job.folder / ".lock")):
        done = known(job)
        if done is not None:
            return done
        context = Context(job.folder, job.arm, job.seed, job.quick, job.fingerprint, job.root / "shared")
        context.report(0, 1)
        with steady(job.seed, job.threads):
            started = time.perf_counter()
            try:
                numbers = _checked(job.run(job.seed, context, **job.options))
            except Exception as error:
                with atomic_write(job.folder / TROUBLE, "w") as file:
                    file.write(traceback.format_exc())
                return Outcome(job.key, {}, failed=_one_line(error), seconds=time.perf_counter() - started)
            seconds = time.perf_counter() - started
        outcome = Outcome(job.key, numbers, seconds=round(seconds, 3), machine=machine(), date=today())
        keep(job, outcome)
        with contextlib.suppress(OSError):
            (job.folder / TROUBLE).unlink()
    return outcome


def _checked(numbers: Any) -> dict[str, float | None]:
    if not isinstance(numbers, Mapping) or not numbers:
        raise UnsnarlError(f"the arm must return a dictionary of numbers, it returned {type(numbers).__name__}")
    checked: dict[str, float | None] = {}
    for name, value in numbers.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise UnsnarlError(f"the arm returned {name}={value!r}, which is not a number") from None
        checked[str(name)] = number if math.isfinite(number) else None
    return checked


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] if isinstance(error, UnsnarlError) and text else f"{type(error).__name__}: {text[:300]}"


@contextlib.contextmanager
def steady(seed: int, threads: int) -> Iterator[None]:
    """The same random state and number of threads wherever a job runs, so that every engine gives the same numbers.

    Arms take their randomness from the seed they are given; the global generators are seeded too, for the sake of
    libraries that use them unasked. All is put back afterwards.
    """
    import torch
    from threadpoolctl import threadpool_limits

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    with (
        _environment(dict.fromkeys(names, str(threads))),
        threadpool_limits(threads),
        torch.random.fork_rng(devices=[]),
    ):
        states = random.getstate(), np.random.get_state(), torch.get_num_threads()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_num_threads(states[2])


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_engine(engine: str, workers: int | None) -> int:
    """How many jobs an engine runs at a time.

    Raises:
        OptionError: an unknown engine, or fewer than one worker.
        MissingExtraError: ray or dask is asked for and not installed.
    """
    check_choice(engine, ENGINES, "engine")
    if workers is not None:
        check_range(workers, "workers", low=1, integer=True)
    if engine == "local":
        return 1
    if engine == "ray":
        _need("ray")
    if engine == "dask":
        _need("dask")
        _need("distributed")
    import joblib

    return workers or joblib.cpu_count(only_physical_cores=True)


def _need(package: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, "cluster")


def run_jobs(jobs: Sequence[Job], engine: str = "local", workers: int | None = None) -> Iterator[Outcome]:
    """Run jobs and give their outcomes as they end, in any order.

    Args:
        jobs: what to run.
        engine: "local" runs one after the other in this process; "processes" in several local ones; "ray" and "dask" on
            the cluster named by RAY_ADDRESS or DASK_SCHEDULER_ADDRESS, or on one started here. A cluster's machines
            must see the run folder under the same path for jobs to resume; results come back without that.
        workers: how many at a time; the number of cores when not given.

    Raises:
        OptionError, MissingExtraError: see `check_engine`.
        UnsnarlError: a worker process died (most often for want of memory).
    """
    workers = check_engine(engine, workers)
    if engine == "local":
        for job in jobs:
            yield execute(job)
        return

    from concurrent.futures import BrokenExecutor

    by_key = {job.key: job for job in jobs}
    with _environment({"OMP_WAIT_POLICY": "PASSIVE"}):
        try:
            for outcome in (_by_list if engine == "ray" else _by_generator)(jobs, engine, workers):
                keep(by_key[outcome.key], outcome)
                yield outcome
        except BrokenExecutor:
            raise UnsnarlError(
                "a worker process died, most often for want of memory; finished runs are kept, "
                "try again with fewer workers"
            ) from None


def _by_generator(jobs: Sequence[Job], engine: str, workers: int) -> Iterator[Outcome]:
    import joblib

    with _backend(engine, workers):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
        yield from parallel(joblib.delayed(execute)(job) for job in jobs)


def _by_list(jobs: Sequence[Job], engine: str, workers: int) -> Iterator[Outcome]:
    """For a joblib backend that gives all results at the end: outcomes are read from the run folder in the meantime."""
    from concurrent.futures import ThreadPoolExecutor, wait

    import joblib

    def call() -> list[Outcome]:
        with joblib.parallel_config(backend=engine, n_jobs=workers):
            return list(joblib.Parallel(batch_size=1)(joblib.delayed(execute)(job) for job in jobs))

    seen: set[str] = set()
    with _backend(engine, workers), ThreadPoolExecutor(1) as thread:
        results = thread.submit(call)
        while not results.done():
            wait([results], timeout=0.5)
            for job in jobs:
                outcome = known(job) if job.key not in seen else None
                if outcome is not None:
                    seen.add(job.key)
                    yield outcome
        yield from (outcome for outcome in results.result() if outcome.key not in seen)


@contextlib.contextmanager
def _backend(engine: str, workers: int) -> Iterator[None]:
    """Set joblib to an engine; a cluster that is started here is stopped afterwards."""
    import joblib

    if engine == "processes":
        with joblib.parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=1):
            yield
    elif engine == "ray":
        import ray
        from ray.util.joblib import register_ray

        ours = not ray.is_initialized()
        if ours:
            elsewhere = bool(os.environ.get("RAY_ADDRESS"))
            where: dict[str, Any] = {"address": "auto"} if elsewhere else {"num_cpus": workers}
            ray.init(include_dashboard=None if elsewhere else False, log_to_driver=False, **where)
        register_ray()
        try:
            yield
        finally:
            if ours:
                ray.shutdown()
    else:
        from dask.distributed import Client

        cluster = {} if os.environ.get("DASK_SCHEDULER_ADDRESS") else {"n_workers": workers, "threads_per_worker": 1}
        with Client(**cluster), joblib.parallel_config(backend="dask"):
            yield


def heartbeat(job: Job, since: float) -> dict[str, Any] | None:
    """How far a running job is: {"started", "share", "numbers"}; None when it has not begun after `since`."""
    try:
        beat = json.loads((job.folder / HEARTBEAT).read_text(encoding="utf-8"))
        return beat if beat["started"] >= since and 0 <= beat["share"] <= 1 else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
