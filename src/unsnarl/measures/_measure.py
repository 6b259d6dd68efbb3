"""Everything the measures say about one representation, in one call."""

from __future__ import annotations

import importlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from unsnarl.arrays import as_matrix, check_range
from unsnarl.data import FactorTable
from unsnarl.errors import DataError, UnknownNameError, UnsnarlError
from unsnarl.information import column_entropies, pairwise_mutual_information
from unsnarl.measures._active import LatentTypes
from unsnarl.measures._findings import chance_level, describe, listed, shortened
from unsnarl.measures._inputs import Codes, levels_of, quantile_bins, varying
from unsnarl.measures._scores import Score, Scores

Progress = Callable[[str, float, int], None]
ACTIVE = "active_variables"
_FINDING = "finding"
_NEIGHBORS = 10
_CUTS = 10
_SHUFFLED_LATENTS = 128


@dataclass(frozen=True)
class _Kept:
    """What is known about one number before it is computed."""

    meaning: str
    range: str


@dataclass(frozen=True)
class _Row:
    """One measure: where its function is, which options it takes, and what its numbers mean."""

    module: str
    options: tuple[str, ...]
    numbers: Mapping[str, _Kept]


MEASURES: dict[str, _Row] = {
    "infomec": _Row(
        "_infomec",
        ("kinds", "factor_bins", "discrete", "bootstrap", "seed"),
        {
            "modularity": _Kept("how nearly each active latent tells of one factor only (InfoM)", "0 to 1"),
            "explicitness": _Kept("how well a linear classifier reads the factors from all latents (InfoE)", "up to 1"),
            "compactness": _Kept("how nearly each factor is told of by one latent only (InfoC)", "0 to 1"),
        },
    ),
    "dci": _Row(
        "_dci",
        ("kinds", "bootstrap", "seed"),
        {
            "disentanglement": _Kept("how nearly each latent serves to predict one factor only", "0 to 1"),
            "completeness": _Kept("how nearly each factor is predicted from one latent only", "0 to 1"),
            "informativeness": _Kept(
                "accuracy (R² for continuous factors) of the prediction on held-out rows", "up to 1"
            ),
            "informativeness_train": _Kept("the same on the rows the predictor learned from", "up to 1"),
        },
    ),
    "mutual_information_gap": _Row(
        "_gap",
        ("kinds", "factor_bins", "bins", "bootstrap", "seed"),
        {"mig": _Kept("how much more the best latent tells of a factor than the second best", "0 to 1")},
    ),
    "sap": _Row(
        "_sap",
        ("kinds", "bootstrap", "seed"),
        {"sap": _Kept("how much better the best latent alone predicts a factor than the second best", "0 to 1")},
    ),
    "modularity_explicitness": _Row(
        "_modularity",
        ("kinds", "factor_bins", "bins", "bootstrap", "seed"),
        {
            "modularity": _Kept("how nearly each latent, useful or not, tells of one factor only", "0 to 1"),
            "explicitness": _Kept(
                "area under the ROC curve of a linear classifier on held-out rows; chance is 0.5", "0 to 1"
            ),
            "explicitness_train": _Kept("the same on the rows the classifier learned from", "0 to 1"),
        },
    ),
    "beta_vae_score": _Row(
        "_beta_vae",
        ("kinds", "factor_bins", "bootstrap", "seed"),
        {
            "beta_vae": _Kept(
                "how often a linear classifier tells from code differences which factor was held", "0 to 1"
            )
        },
    ),
    "factor_vae_score": _Row(
        "_factor_vae",
        ("kinds", "factor_bins", "bootstrap", "seed"),
        {"factor_vae": _Kept("how often the latent that varies least tells which factor was held", "0 to 1")},
    ),
    "irs": _Row(
        "_irs",
        ("kinds", "bootstrap", "seed"),
        {"irs": _Kept("how still each latent stays when all but its own factor change", "0 to 1")},
    ),
}

_ACTIVE_NUMBERS = {
    "active": _Kept("latents that are used for every input", "0 and up"),
    "mixed": _Kept("latents that are used for some inputs only", "0 and up"),
    "passive": _Kept("latents whose posterior is the prior", "0 and up"),
    "tc_mean": _Kept("total correlation of the means of all latents, in nats", "0 and up"),
    "tc_sampled": _Kept("total correlation of sampled latents, in nats", "0 and up"),
    "tc_mean_without_passive": _Kept("total correlation of the means without the passive latents, in nats", "0 and up"),
    "tc_sampled_without_passive": _Kept(
        "total correlation of sampled latents without the passive ones, in nats", "0 and up"
    ),
    "share_removed": _Kept("share of the gap between mean and sampled that goes with the passive latents", "up to 1"),
}

_SHORT_NAMES = {
    "mig": "mutual_information_gap",
    "modularity": "modularity_explicitness",
    "beta_vae": "beta_vae_score",
    "factor_vae": "factor_vae_score",
}


def measure_names(names: Iterable[str] | str | None = None) -> list[str]:
    """The full names of the measures asked for, each once; all of them for None.

    Raises:
        UnknownNameError: a name that is not a measure.
    """
    if names is None:
        return list(MEASURES)
    wanted = [names] if isinstance(names, str) else list(names)
    full = [_SHORT_NAMES.get(str(name), str(name)) for name in wanted]
    for name in full:
        if name not in MEASURES:
            raise UnknownNameError("measure", name, list(MEASURES))
    return list(dict.fromkeys(full))


@dataclass(frozen=True, repr=False, eq=False)
class MeasureReport:
    """What `measure` found.

    Attributes:
        scores: measure -> its `Scores` or `Score`.
        skipped: measure -> why it was not computed.
        finding: sentences in plain language, the clearest first.
        baseline: measure -> the same on codes whose rows are shuffled, so on codes that say nothing; {} unless asked for.
        nmi: I(s_i; z_j) / H(s_i), latent x factor, continuous factors cut into ten equally filled bins.
        chance: for each factor the entry of `nmi` above which the finding believes it.
        types: active, mixed and passive latents; None without `logvar`.
        latent_names, factor_names: names, in the order of the columns.
        kinds: factor -> "discrete" or "continuous".
        n: observations used.
        warnings: measure -> what it warned of.
        timings: measure -> seconds.
        settings: the options that decide the numbers.
    """

    scores: dict[str, Scores | Score]
    skipped: dict[str, str]
    finding: list[str]
    baseline: dict[str, Scores | Score]
    nmi: Float[np.ndarray, "latent factor"]
    chance: Float[np.ndarray, " factor"]
    types: LatentTypes | None
    latent_names: list[str]
    factor_names: list[str]
    kinds: dict[str, str]
    n: int
    warnings: dict[str, list[str]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Scores | Score:
        """The scores of one measure, by its full or short name.

        Raises:
            UnknownNameError: it is none of the computed ones (with the reason if it was skipped).
        """
        full = _SHORT_NAMES.get(name, name)
        if full in self.skipped:
            raise DataError(f"{full} was skipped: {self.skipped[full]}")
        if full not in self.scores:
            raise UnknownNameError("measure", name, list(self.scores))
        return self.scores[full]

    def table(self) -> pd.DataFrame:
        """One row a number: measure, score, value, low, high, chance, range, meaning, skipped.

        `low` and `high` are nan without `bootstrap`, `chance` (the score of shuffled codes) is nan without `baseline`. A
        skipped measure has one row with its reason in `skipped` and an empty score.
        """
        rows: list[dict[str, Any]] = []
        for name, scores in self.scores.items():
            chance = _numbers(self.baseline[name]) if name in self.baseline else {}
            for score, number in _numbers(scores).items():
                known = _known(name).get(score, _Kept("", ""))
                at_chance = float(chance.get(score, math.nan))
                rows.append(
                    {
                        "measure": name,
                        "score": score,
                        "value": float(number),
                        "low": number.low,
                        "high": number.high,
                        "chance": at_chance,
                        "range": known.range,
                        "meaning": known.meaning,
                        "skipped": "",
                    }
                )
        nothing = {"value": math.nan, "low": math.nan, "high": math.nan, "chance": math.nan, "range": "", "meaning": ""}
        rows += [{"measure": n, "score": "", **nothing, "skipped": reason} for n, reason in self.skipped.items()]
        columns = ["measure", "score", "value", "low", "high", "chance", "range", "meaning", "skipped"]
        return pd.DataFrame(rows, columns=columns)

    def matrices(self) -> dict[str, pd.DataFrame]:
        """The matrices behind the numbers, latent x factor, with names; `nmi`, which the finding reads, first."""
        found = {"nmi": self._framed(self.nmi)}
        for name, scores in self.scores.items():
            if name == "infomec":
                nmi = np.asarray(scores.nmi).T
                if not np.allclose(nmi, self.nmi):
                    found["infomec: nmi"] = self._framed(nmi)
            elif isinstance(scores, Scores):
                found |= {f"{name}: {key}": self._framed(matrix) for key, matrix in scores.matrices.items()}
            elif scores.matrix is not None:
                found[name] = self._framed(scores.matrix)
        return found

    def _framed(self, matrix: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(np.asarray(matrix, np.float64), index=self.latent_names, columns=self.factor_names)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values; what is not finite becomes None."""
        matrices = {name: frame.to_numpy().tolist() for name, frame in self.matrices().items()}
        types = None
        if self.types is not None:
            types = {kind: self.types.of(kind).tolist() for kind in ("active", "mixed", "passive")}
        return _plain(
            {
                "n": self.n,
                "latents": self.latent_names,
                "factors": self.kinds,
                "finding": self.finding,
                "scores": {name: _as_dict(scores) for name, scores in self.scores.items()},
                "baseline": {name: _as_dict(scores) for name, scores in self.baseline.items()},
                "skipped": self.skipped,
                "warnings": self.warnings,
                "timings": self.timings,
                "types": types,
                "chance": self.chance.tolist(),
                "matrices": matrices,
                "settings": self.settings,
            }
        )

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __repr__(self) -> str:
        lines = [
            f"MeasureReport: {self.n:,} observations, {len(self.latent_names)} latents, {len(self.factor_names)} factors"
        ]
        lines += [f"  {sentence}" for sentence in self.finding]
        for name, scores in self.scores.items():
            numbers = [repr(number)[6:-1] for number in _numbers(scores).values()]
            lines.append(f"  {name}: {', '.join(numbers)}")
        lines += [f"  {name}: skipped, {reason}" for name, reason in self.skipped.items()]
        told = sum(map(len, self.warnings.values()))
        if told:
            lines.append(f"  ({told} warning{'s' if told > 1 else ''}: see .warnings)")
        return "\n".join(lines)


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
            "beta_vae_score", "factor_vae_score", "irs"; None computes all.
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
        from unsnarl.measures._active import tc_gap

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


def _known(name: str) -> Mapping[str, _Kept]:
    return _ACTIVE_NUMBERS if name == ACTIVE else MEASURES[name].numbers


def _numbers(scores: Scores | Score) -> dict[str, Score]:
    if isinstance(scores, Scores):
        return {name: scores[name] for name in scores}
    return {scores.name: scores}


def _as_dict(scores: Scores | Score) -> dict[str, Any]:
    return {name: {"value": float(score), "interval": score.interval} for name, score in _numbers(scores).items()}


def _plain(value: Any) -> Any:
    """Plain JSON values; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
