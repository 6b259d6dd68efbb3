"""What a survival report shows, computed: everything said of a patient comes from a model that had not seen that patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import norm

from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import MissingExtraError, OptionError, UnsnarlError
from unsnarl.measures._modality_shares import modality_shares, risk_by_ridge
from unsnarl.measures._scores import Scores
from unsnarl.measures.survival._baselines import RidgeCox
from unsnarl.measures.survival._cross_validation import (
    compare_folds,
    cross_predict_survival,
    ranks_within_folds,
    summarize_folds,
)
from unsnarl.measures.survival._kaplan_meier import KaplanMeier, RiskGroups, kaplan_meier, risk_groups

ON_EACH = "ridge Cox on {}"


@dataclass
class SurvivalStudy:
    """A cross-validation of one model and its baselines, and what the model said of the patients of each test fold.

    Attributes:
        name: of the model.
        scores: one line a model and fold; `summary` and `against` (baseline -> comparison) are made of it.
        risk: (n,) rank of each patient's risk in the test fold, in (0, 1), of the first repeat.
        groups: number of groups -> curves and log-rank test.
        kept: patient -> (indices, scores) of the selected instances; empty where the model selects none.
        times: moments at which predicted and observed curves are compared; `predicted` is the mean survival predicted.
        observed: the Kaplan-Meier curve of all patients.
        shares: who says so -> what each modality carries.
        left_out: (section, reason).
    """

    name: str
    scores: pd.DataFrame
    summary: pd.DataFrame
    against: dict[str, dict[str, float]]
    risk: Float[np.ndarray, " n"]
    groups: dict[int, RiskGroups]
    observed: KaplanMeier
    times: Float[np.ndarray, " moment"]
    kept: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    predicted: Float[np.ndarray, " moment"] | None = None
    shares: dict[str, Scores] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


class _Listener:
    """Asks the model for more than its risks after each fit of the first repeat."""

    def __init__(self, name: str, data: SurvivalData, times: Float[np.ndarray, " moment"]):
        self.name, self.data, self.times = name, data, times
        n = len(data)
        self.fold = np.full(n, -1)
        self.kept: list[Any] = [None] * n
        self.predicted = np.full((n, len(times)), np.nan)
        self.alone = {m: np.full(n, np.nan) for m in data.modalities}
        self.embedded: dict[str, np.ndarray] = {}
        self.trouble: dict[str, str] = {}

    def __call__(self, name: str, model: Any, split: Any, seen: SurvivalData, hidden: SurvivalData) -> None:
        repeat, fold, _, test = split
        if repeat:
            return
        self.fold[test] = fold
        if name == self.name:
            self._try("Predicted curves", self._curves, model, test, hidden)
            self._try("Selected instances", self._instances, model, test, hidden)
            self._one_at_a_time(model, test, hidden)
            self._try("Embeddings", self._embeddings, model, test, seen, hidden)

    def _try(self, section: str, ask: Callable[..., str | None], *arguments: Any) -> None:
        if section in self.trouble:
            return
        try:
            reason = ask(*arguments)
        except UnsnarlError as error:
            reason = str(error)
        if reason:
            self.trouble[section] = reason

    def _curves(self, model: Any, test: np.ndarray, hidden: SurvivalData) -> str | None:
        edges = getattr(model, "time_edges_", None)
        if not callable(getattr(model, "predict_survival", None)) or edges is None:
            return f"{type(model).__name__} has no predict_survival with time_edges_"
        curves = np.asarray(model.predict_survival(hidden), dtype=np.float64)
        start = np.ones((len(test), 1))
        points = np.concatenate([[0.0], np.asarray(edges, dtype=np.float64)[1:]])
        whole = np.concatenate([start, curves], axis=1)
        self.predicted[test] = np.stack([np.interp(self.times, points, line) for line in whole])
        return None

    def _instances(self, model: Any, test: np.ndarray, hidden: SurvivalData) -> str | None:
        if not callable(getattr(model, "select_instances", None)):
            return f"{type(model).__name__} has no select_instances"
        indices, scores = model.select_instances(hidden)
        for row, kept, score in zip(test, indices, scores, strict=True):
            self.kept[row] = (np.asarray(kept, dtype=np.int64), np.asarray(score, dtype=np.float64))
        return None

    def _one_at_a_time(self, model: Any, test: np.ndarray, hidden: SurvivalData) -> None:
        if len(self.alone) < 2 or "One modality at a time" in self.trouble:
            return
        try:
            for m, risk in self.alone.items():
                risk[test] = np.asarray(model.risk(hidden.only([m])), dtype=np.float64)
        except MissingExtraError:
            raise
        except Exception as error:  # no model promises to do without a modality
            self.trouble["One modality at a time"] = f"{type(model).__name__} needs all modalities ({error})"

    def _embeddings(self, model: Any, test: np.ndarray, seen: SurvivalData, hidden: SurvivalData) -> str | None:
        if not callable(getattr(model, "embed", None)):
            return f"{type(model).__name__} has no embed"
        known, new = model.embed(seen), model.embed(hidden)
        for part in known:
            x, other = (np.asarray(of[part], dtype=np.float64) for of in (known, new))
            shown = "shared embedding" if part == "common" else part  # "common alone" would be hard to read
            risk = self.embedded.setdefault(shown, np.full(len(self.data), np.nan))
            risk[test] = risk_by_ridge(x, seen.time, seen.event, other)
        return None


def run_study(
    model: Any,
    data: SurvivalData,
    *,
    name: str,
    baselines: Mapping[str, Any],
    folds: int,
    repeats: int,
    seed: int,
    bootstrap: int,
    progress: Callable[[int, int], None] | None = None,
) -> SurvivalStudy:
    """Cross-validate the model beside its baselines, and collect what the report shows."""
    models = {name: model, **baselines}
    if len(models) != 1 + len(baselines):
        raise OptionError(f"a baseline has the name of the model, {name!r}; give it another")
    each = {ON_EACH.format(m): RidgeCox(modalities=[m]) for m in data.modalities} if len(data.modalities) > 1 else {}
    models |= {k: v for k, v in each.items() if k not in models}
    times = np.quantile(data.time[data.event], [0.25, 0.5, 0.75])
    ears = _Listener(name, data, times)
    scores, risks = cross_predict_survival(models, data, folds, repeats, seed, progress=progress, after=ears)
    left_out = list(ears.trouble.items())
    ranks = {m: ranks_within_folds(r[0], ears.fold) for m, r in risks.items()}
    groups = {}
    for count in (2, 3):
        try:
            groups[count] = risk_groups(data.time, data.event, ranks[name], groups=count)
        except UnsnarlError as error:
            left_out.append((f"{count} risk groups", str(error)))
    study = SurvivalStudy(
        name=name,
        scores=scores,
        summary=summarize_folds(scores),
        against={other: compare_folds(scores, name, other) for other in models if other != name},
        risk=ranks[name],
        groups=groups,
        observed=kaplan_meier(data.time, data.event),
        times=times,
        kept=ears.kept if all(kept is not None for kept in ears.kept) else [],
        predicted=None if np.isnan(ears.predicted).any() else ears.predicted.mean(0),
        left_out=left_out,
    )
    sources: dict[str, dict[str, np.ndarray]] = {}
    if each:
        sources["ridge Cox on each modality"] = {m: risks[ON_EACH.format(m)][0] for m in data.modalities}
    if len(ears.alone) > 1 and not any(np.isnan(r).any() for r in ears.alone.values()):
        sources[f"{name}, one modality at a time"] = ears.alone
    if len(ears.embedded) > 1 and not any(np.isnan(r).any() for r in ears.embedded.values()):
        sources[f"embeddings of {name}"] = ears.embedded
    for source, of in sources.items():
        scored = {m: normal_scores(risk, ears.fold) for m, risk in of.items()}
        try:
            study.shares[source] = modality_shares(data.time, data.event, scored, bootstrap=bootstrap, seed=seed)
        except UnsnarlError as error:
            study.left_out.append((f"What each modality carries, {source}", str(error)))
    return study


def normal_scores(risk: Float[np.ndarray, " n"], fold: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Risks of models of different folds on one scale: the normal quantiles of their ranks in the fold."""
    return norm.ppf(ranks_within_folds(risk, fold))
