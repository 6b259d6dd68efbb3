"""What the measures found of one representation: a report to print, tabulate, index and write as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from unsnarl.errors import DataError, UnknownNameError
from unsnarl.files import json_values
from unsnarl.measures._active import LatentTypes
from unsnarl.measures._measure_table import _SHORT_NAMES, known_of
from unsnarl.measures._scores import Score, Scores


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
                known = known_of(name, score)
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
        return json_values(
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


def _numbers(scores: Scores | Score) -> dict[str, Score]:
    if isinstance(scores, Scores):
        return {name: scores[name] for name in scores}
    return {scores.name: scores}


def _as_dict(scores: Scores | Score) -> dict[str, Any]:
    return {name: {"value": float(score), "interval": score.interval} for name, score in _numbers(scores).items()}
