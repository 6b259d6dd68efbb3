"""Running a claim: tune on spare seeds, run every arm once a seed, pair over seeds, give the verdict."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.arrays import check_range
from unsnarl.claims._assemble import _assemble, _unmet
from unsnarl.claims._bench import ClaimError, _Bench, _stated
from unsnarl.claims._claim import Claim
from unsnarl.claims._jobs import check_engine
from unsnarl.claims._progress import Progress
from unsnarl.errors import FileError, OptionError, UnknownNameError


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
    if not quick:
        _unmet(claim)  # a gate that does not exist is told before the runs
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
