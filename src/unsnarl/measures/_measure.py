"""Everything the measures say about one representation, in one call."""

from __future__ import annotations

import importlib
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from unsnarl.arrays import as_matrix, check_range
from unsnarl.data import FactorTable
from unsnarl.errors import DataError, UnsnarlError
from unsnarl.information import column_entropies, pairwise_mutual_information
from unsnarl.measures._findings import chance_level, describe, listed, shortened
from unsnarl.measures._inputs import Codes, levels_of, quantile_bins, varying
from unsnarl.measures._measure_report import MeasureReport
from unsnarl.measures._measure_table import _ACTIVE_NUMBERS, ACTIVE, MEASURES, measure_names
from unsnarl.measures._scores import Score, Scores

Progress = Callable[[str, float, int], None]
_FINDING = "finding"
_NEIGHBORS = 10
_CUTS = 10
_SHUFFLED_LATENTS = 128


def measure(
    codes: Any,
    factors: Any,
    *,
    names: Iterable[str] | str | None = None,
    kinds: Any = None,
    discrete: bool | None = None,
    factor_bins: int | None = None,
    logvar: Any = None,
    latent_names: Sequence[str] | None = None,
    factor_names: Sequence[str] | None = None,
    bootstrap: int = 0,
    baseline: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> MeasureReport:
    """Score a representation with every measure that its factors allow, and say in words what carries what.

    A measure that cannot be computed (its definition wants discrete factors and there are continuous ones, say) is skipped
    with the reason; the others go on. Factors with a single value or with another category in every row, and rows with a missing
    factor value, are left out, and the finding says so. All measures see the same rows.

    Args:
        codes: representation of n observations, shape (n, latent); an array, a tensor, or a data frame whose columns name
            the latents. Any model's embeddings will do.
        factors: their factors: a `FactorTable`, data frame, mapping or array of shape (n, factor).
        names: measures to compute: "infomec", "dci", "mutual_information_gap" ("mig"), "sap", "modularity_explicitness",
            "beta_vae_score", "factor_vae_score", "irs", "dimensionality", "diffusion_spectral", "lossy_information"; None
            computes all.
        kinds: "discrete" or "continuous" where the guess of `FactorTable` is wrong.
        discrete: whether codes are categories; None takes integer codes for categories. `False` takes integer codes for
            quantities in every measure.
        factor_bins: cut continuous factors into this many equally filled bins for the measures that need discrete ones.
        logvar: log-variances of the posteriors if `codes` are means of a Gaussian encoder; adds "active_variables".
        latent_names: names of the latents; "latent 0", ... when absent.
        factor_names: names for the columns of an unnamed array of factors.
        bootstrap: half samples for the 95% intervals; 0 computes none. Each costs half as much as the scores.
        baseline: also score codes whose rows are shuffled, which say nothing: the value chance gives.
        seed: seed of everything random.
        progress: called as progress(measure, done, total) before each measure, and within long ones, where done counts
            finished measures with fractions, and at last with done == total.

    Returns:
        A `MeasureReport`: `.finding`, `.scores`, `.skipped`, `.table()`, `.matrices()`, `.to_dict()`.

    Raises:
        DataError: codes or factors that no measure could use: wrong shape, not finite, different lengths, no varying factor.
        OptionError: an option out of range.
        UnknownNameError: a name that is not a measure.

    Cost: for 10,000 observations of 64 latents and 8 discrete factors about a minute on two cores, half of it "dci";
    `baseline` doubles it, `bootstrap` multiplies it. Memory below 1 GiB there.

    Examples:
        >>> factors = np.random.default_rng(0).integers(4, size=(600, 2))
        >>> report = measure(factors[:, ::-1] + 0.0, factors, names=["mig", "irs"], factor_names=["hue", "size"])
        >>> report
        MeasureReport: 600 observations, 2 latents, 2 factors
          Latent 1 carries hue alone (NMI 1.00); latent 0 carries size alone (NMI 1.00).
          mutual_information_gap: mig=0.99...
          irs: irs=1.000
    """
    wanted = measure_names(names)
    check_range(bootstrap, "bootstrap", low=0, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    if factor_bins is not None:
        check_range(factor_bins, "factor_bins", low=2, integer=True)
    matrix, table, logvar, notes = _read(codes, factors, kinds, factor_names, logvar)
    latents = _latent_names(codes, latent_names, matrix.shape[1])
    if discrete is False:
        matrix = matrix.astype(np.float64)
    given = {"factor_bins": factor_bins, "discrete": discrete, "bootstrap": int(bootstrap), "seed": int(seed)}

    tasks = len(wanted) * (2 if baseline else 1) + (logvar is not None) + 1
    run = _Run(matrix, table, given, tasks, progress)
    for name in wanted:
        run.measure(name)
    if logvar is not None:
        run.active(logvar)
    if baseline:
        order = np.random.default_rng(seed).permutation(len(matrix))
        chance = _Run(matrix[order], table, given | {"bootstrap": 0}, tasks, progress, done=run.done)
        for name in run.scores:
            if name != ACTIVE:
                chance.measure(name)
        run.done = chance.done
        at_chance = chance.scores
    else:
        at_chance = {}
    start = time.perf_counter()
    run.tell(_FINDING, 0.0)
    nmi, level = _information(matrix, table, discrete, seed)
    active = run.scores.get(ACTIVE)
    types = active.types if isinstance(active, Scores) else None
    finding = describe(
        nmi,
        latents,
        table.names,
        chance=level,
        passive=[] if types is None else types.passive.tolist(),
        constant=np.flatnonzero(~varying(matrix)).tolist(),
    )
    run.timings[_FINDING] = time.perf_counter() - start
    if progress is not None:
        progress("done", float(tasks), tasks)
    from unsnarl import __version__

    return MeasureReport(
        scores=run.scores,
        skipped=run.skipped,
        finding=finding + notes,
        baseline=at_chance,
        nmi=nmi,
        chance=level,
        types=types,
        latent_names=latents,
        factor_names=table.names,
        kinds={name: str(kind) for name, kind in table.kinds.items()},
        n=len(matrix),
        warnings=run.warnings,
        timings=run.timings,
        settings={**given, "names": wanted, "baseline": bool(baseline), "unsnarl": __version__},
    )


class _Run:
    """The measures on one pair of codes and factors, one after another, whatever happens to each."""

    def __init__(
        self,
        codes: Codes,
        table: FactorTable,
        options: dict[str, Any],
        tasks: int,
        progress: Progress | None,
        done: int = 0,
    ):
        self.codes, self.table, self.options = codes, table, options
        self.tasks, self.progress, self.done = tasks, progress, done
        self.scores: dict[str, Scores | Score] = {}
        self.skipped: dict[str, str] = {}
        self.warnings: dict[str, list[str]] = {}
        self.timings: dict[str, float] = {}

    def tell(self, name: str, fraction: float) -> None:
        if self.progress is not None:
            self.progress(name, self.done + fraction, self.tasks)

    def measure(self, name: str) -> None:
        """Compute one of `MEASURES`."""
        row = MEASURES[name]
        options = {key: self.options[key] for key in row.options if key in self.options}
        if "bins" in row.options and self.options["discrete"]:
            options["bins"] = None
        if name == "dci":
            options["progress"] = lambda done, total: self.tell(name, done / total)
        function = getattr(importlib.import_module(f"unsnarl.measures.{row.module}"), name)
        self._attempt(name, lambda: function(self.codes, self.table, **options))

    def active(self, logvar: Codes) -> None:
        """Compute what the posterior variances say."""
        from unsnarl.measures._mean_and_sampled import tc_gap

        def compute() -> Scores:
            gap = tc_gap(self.codes, logvar, bootstrap=self.options["bootstrap"], seed=self.options["seed"])
            counts = {kind: float(len(gap.types.of(kind))) for kind in ("active", "mixed", "passive")}
            values = counts | {name: gap.values_[name] for name in _ACTIVE_NUMBERS if name in gap.values_}
            intervals = {name: ends for name, ends in gap.intervals.items() if name in values}
            return Scores(values, intervals, extra={"types": gap.types}, measure=ACTIVE)

        self._attempt(ACTIVE, compute)

    def _attempt(self, name: str, compute: Callable[[], Scores | Score]) -> None:
        self.tell(name, 0.0)
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.scores[name] = compute()
            told = [str(w.message) for w in caught if not issubclass(w.category, DeprecationWarning | FutureWarning)]
            if told:
                self.warnings[name] = list(dict.fromkeys(told))
        except UnsnarlError as error:
            self.skipped[name] = str(error)
        except Exception as error:  # one measure that breaks must not cost the user all the others
            self.skipped[name] = f"it stopped with {type(error).__name__}: {error}"
        self.timings[name] = time.perf_counter() - start
        self.done += 1


def _read(
    codes: Any, factors: Any, kinds: Any, factor_names: Sequence[str] | None, logvar: Any
) -> tuple[Codes, FactorTable, Codes | None, list[str]]:
    """Codes and varying factors of the rows in which all factors are known, and what was left out."""
    matrix = as_matrix(codes, "codes")
    table = FactorTable.of(factors, kinds=kinds, names=factor_names, missing="keep")
    if len(table) != len(matrix):
        raise DataError(
            f"all inputs must have one row an observation, but codes has {len(matrix):,}, factors has {len(table):,}"
        )
    if logvar is not None:
        logvar = as_matrix(logvar, "logvar")
        if logvar.shape != matrix.shape:
            raise DataError(f"logvar must have the shape of codes, {matrix.shape}, got {logvar.shape}")
    notes = []
    if table.values.isna().to_numpy().any():
        known, keep = table.without_missing()
        missing = int((~keep).sum())
        notes.append(
            f"{missing:,} of {len(matrix):,} observations with a missing factor value {'were' if missing > 1 else 'was'} left out."
        )
        if len(known) < 2:
            raise DataError(f"only {len(known)} row has all factor values; at least 2 are needed")
        # fresh levels: a value that is left in no row is no value of the factor any more
        table, matrix = FactorTable.of(known.values, kinds=known.kinds), matrix[keep]
        logvar = None if logvar is None else logvar[keep]
    levels = {name: table.values[name].nunique() for name in table.names}
    single = [name for name in table.names if levels[name] < 2]
    unique = [name for name in table.names if levels[name] == len(table) and table.kinds[name] == "discrete"]
    useless = dict.fromkeys(single + unique)
    if len(useless) == len(table.names):
        raise DataError(
            "nothing can be measured of any factor: "
            + "; ".join(_some(names, why) for names, why in ((single, _SINGLE), (unique, _UNIQUE)) if names)
        )
    if useless:
        table = table.select([name for name in table.names if name not in useless])
    notes += [f"Left out: {_some(names, why)}." for names, why in ((single, _SINGLE), (unique, _UNIQUE)) if names]
    return matrix, table, logvar, notes


_SINGLE = "with one value only"
_UNIQUE = "with another category in every row"


def _some(names: Sequence[str], why: str) -> str:
    """A few factor names and what is wrong with them."""
    return (
        listed([shortened(n) for n in names[:5]] + ([f"{len(names) - 5} more"] if len(names) > 5 else [])) + f", {why}"
    )


def _latent_names(codes: Any, names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        names = [str(c) for c in codes.columns] if isinstance(codes, pd.DataFrame) else None
    if names is None or (isinstance(codes, pd.DataFrame) and list(codes.columns) == list(range(count))):
        return [f"latent {j}" for j in range(count)]
    if len(names) != count:
        raise DataError(f"latent_names has {len(names)} entries for {count} latents")
    return [str(name) for name in names]


def _information(
    codes: Codes, table: FactorTable, discrete: bool | None, seed: int
) -> tuple[Float[np.ndarray, "latent factor"], Float[np.ndarray, " factor"]]:
    """I(s_i; z_j) / H(s_i) and the level that chance stays below, from codes with shuffled rows."""
    n, latents = codes.shape
    cut = np.stack([_cut(table.column(name), table.kinds[name], n) for name in table.names], axis=1)
    counted = _counted(codes, discrete) & varying(codes)
    sought = ~counted & varying(codes)
    entropy = column_entropies(cut)

    def normalized(labels: np.ndarray) -> Float[np.ndarray, "latent factor"]:
        nmi = np.zeros((latents, labels.shape[1]))
        if counted.any():
            nmi[counted] = pairwise_mutual_information(codes[:, counted], labels, estimator="plugin")
        if sought.any():
            points, neighbors = codes[:, sought].astype(np.float64), min(_NEIGHBORS, n - 1)
            nmi[sought] = pairwise_mutual_information(
                points, labels, estimator="ross", n_neighbors=neighbors, clip=True
            )
        return nmi / entropy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nmi = normalized(cut)
        rng = np.random.default_rng(seed)
        repeats = int(np.clip(math.ceil(_SHUFFLED_LATENTS / latents), 2, 20))
        shuffled = np.stack([normalized(cut[rng.permutation(n)]) for _ in range(repeats)])
    return nmi, chance_level(shuffled)


def _cut(values: np.ndarray, kind: str, n: int) -> np.ndarray:
    """Category indices as they are, continuous values in ten equally filled bins (or above their median, if that is all)."""
    if kind == "discrete":
        return values
    bins = quantile_bins(values, min(_CUTS, max(2, n // 10)))
    return bins if varying(bins) else (values > np.median(values)).astype(np.int64)


def _counted(codes: Codes, discrete: bool | None) -> np.ndarray:
    """Which latents take so few values that their information is counted; neighbours are sought for the others."""
    levels = levels_of(codes)
    few = levels <= max(2, min(50, len(codes) // 20))
    if discrete or (discrete is None and codes.dtype.kind in "iu"):
        few |= levels <= max(20, len(codes) // 10)
    return few
