"""Survival models compared on the same folds, with nothing of a test fold seen before its risks are asked for."""

from __future__ import annotations

import copy
import time as clock
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator, clone

from unsnarl.arrays import check_range
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.measures.survival._concordance import as_risk, concordance

Split = tuple[int, int, np.ndarray, np.ndarray]  # repeat, fold, training rows, test rows


def survival_folds(data: SurvivalData, folds: int = 5, repeats: int = 3, seed: int = 0) -> Iterator[Split]:
    """Repeated folds with the same share of events in each.

    Args:
        data: the patients.
        folds: parts; each is the test part once a repeat.
        repeats: how often the patients are divided anew.
        seed: of the division.

    Yields:
        (repeat, fold, training rows, test rows).

    Raises:
        DataError: fewer events or censored patients than folds.
        OptionError: folds or repeats out of range.
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    check_range(folds, "folds", low=2, integer=True)
    check_range(repeats, "repeats", low=1, integer=True)
    events, censored = int(data.event.sum()), int((~data.event).sum())
    if events < folds:
        raise DataError(f"{events} events cannot be spread over folds={folds}")
    if len(data) < 2 * folds:
        raise DataError(f"{len(data)} patients are too few for folds={folds}")
    # with fewer censored patients than folds there is nothing to balance but the events themselves
    labels = data.event if censored == 0 or censored >= folds else np.ones(len(data), dtype=bool)
    splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    for i, (train, test) in enumerate(splitter.split(np.zeros(len(data)), labels)):
        yield i // folds, i % folds, train, test


def cross_validate_survival(
    models: Mapping[str, Any],
    data: SurvivalData,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Harrell's C of each model on each test fold of a repeated cross-validation, stratified by event.

    Every model is fitted afresh on the training patients of a fold, all models on the same folds. What a model scales, bins or
    selects it must do inside `fit`; it is asked for the risks of patients whose time and event are hidden (NaN and False), and
    `truth` of simulated patients is never shown.

    Args:
        models: name -> object with `fit(data)` and `risk(data)`, such as `RidgeCox()` or `PIBD(...)`; a copy is fitted.
        data: the patients.
        folds: parts of a division.
        repeats: how often the patients are divided anew.
        seed: of the divisions.
        progress: called with (fits done, fits in all).

    Returns:
        One line a model and fold: `model`, `repeat`, `fold`, `c_index`, `n_train`, `n_test`, `events_test`, `seconds`;
        `summarize_folds` makes a table of means and standard errors of it.

    Raises:
        MissingExtraError: scikit-survival is absent.
        DataError: too few events for the folds, a fold without a comparable pair, or risks that are not finite.
        OptionError: no model, or one without `fit` and `risk`.

    Cost: folds * repeats fits of each model.
    """
    return cross_predict_survival(models, data, folds, repeats, seed, progress=progress)[0]


def cross_predict_survival(
    models: Mapping[str, Any],
    data: SurvivalData,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
    after: Callable[[str, Any, Split, SurvivalData, SurvivalData], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, Float[np.ndarray, "repeats n"]]]:
    """The folds of `cross_validate_survival`, and the risk of every patient from the model that had not seen it.

    Args:
        models: name -> model, as in `cross_validate_survival`.
        data: the patients.
        folds: parts of a division.
        repeats: how often the patients are divided anew.
        seed: of the divisions.
        progress: called with (fits done, fits in all).
        after: called with (name, fitted model, split, training data, blinded test data) after each fit, to ask a model for more.

    Returns:
        The table, and model -> risks (repeats, n). Risks of different folds come from different models, and their scales may
        differ: compare them within a fold, or after `ranks_within_folds`.
    """
    if not models:
        raise OptionError("models is empty; pass at least one, such as {'ridge Cox': RidgeCox()}")
    for name, model in models.items():
        if not callable(getattr(model, "fit", None)) or not callable(getattr(model, "risk", None)):
            raise OptionError(f"the model {name!r} ({type(model).__name__}) needs the methods fit(data) and risk(data)")
    splits = list(survival_folds(data, folds, repeats, seed))
    risks = {name: np.full((repeats, len(data)), np.nan) for name in models}
    rows = []
    for split in splits:
        repeat, fold, train, test = split
        seen, hidden = data.subset(train).blinded(outcome=False), data.subset(test).blinded()
        for name, model in models.items():
            began = clock.perf_counter()
            fresh = clone(model) if isinstance(model, BaseEstimator) else copy.deepcopy(model)
            fitted = fresh.fit(seen)
            fitted = fresh if fitted is None else fitted
            try:
                risk = as_risk(fitted.risk(hidden), len(test))
                value = _fold_concordance(data.time[test], data.event[test], risk)
            except DataError as error:
                raise DataError(f"{name}, repeat {repeat}, fold {fold}: {error}") from None
            risks[name][repeat, test] = risk
            rows.append(
                {
                    "model": name,
                    "repeat": repeat,
                    "fold": fold,
                    "c_index": value,
                    "n_train": len(train),
                    "n_test": len(test),
                    "events_test": int(data.event[test].sum()),
                    "seconds": clock.perf_counter() - began,
                }
            )
            if after is not None:
                after(name, fitted, split, seen, hidden)
            if progress is not None:
                progress(len(rows), len(splits) * len(models))
    return pd.DataFrame(rows), risks


def _fold_concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    import warnings

    with warnings.catch_warnings():  # whether the flags are swapped was said of the whole
        warnings.simplefilter("ignore", UserWarning)
        return float(concordance(time, event, risk))


def summarize_folds(scores: pd.DataFrame, *, value: str = "c_index") -> pd.DataFrame:
    """Mean and standard errors of each model over the folds of a repeated cross-validation.

    The training parts of any two folds overlap, so the folds are not independent and the plain standard error
    s / sqrt(J) of J folds is too small. `se` is corrected for the overlap (Nadeau and Bengio 2003, section 3):
    sqrt(1/J + n_test/n_train) * s. `se_plain` stands beside it since most papers print that one.

    Returns:
        One line a model, best first: `mean`, `se`, `se_plain`, `sd`, `folds`.

    Examples:
        >>> scores = pd.DataFrame({"model": ["a"] * 4, "c_index": [0.6, 0.7, 0.6, 0.7], "n_train": 80, "n_test": 20})
        >>> summarize_folds(scores).round(4)
               mean      se  se_plain      sd  folds
        model
        a      0.65  0.0408    0.0289  0.0577      4
    """
    rows = {}
    for name, part in scores.groupby("model", sort=False):
        rows[name] = {"mean": float(part[value].mean()), **_errors(part[value].to_numpy(), part)}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "model"
    return frame.sort_values("mean", ascending=False, kind="stable").astype({"folds": int})


def compare_folds(scores: pd.DataFrame, model: str, baseline: str, *, value: str = "c_index") -> dict[str, float]:
    """The mean difference of two models on the same folds, with a 95% interval corrected for the overlap of folds.

    Returns:
        `mean`, `se` (Nadeau and Bengio 2003), `low`, `high` (Student's t with J - 1 degrees of freedom) and `p`, two-sided.

    Raises:
        UnknownNameError: a model that is not in the table.
        DataError: the two were not run on the same folds.
    """
    from scipy.stats import t

    names = list(scores["model"].unique())
    for name in (model, baseline):
        if name not in names:
            raise UnknownNameError("model", name, names)
    wide = scores.pivot(index=["repeat", "fold"], columns="model", values=value)[[model, baseline]]
    if wide.isna().any(axis=None) or len(wide) < 2:
        raise DataError(f"{model!r} and {baseline!r} were not run on the same two or more folds")
    gaps = (wide[model] - wide[baseline]).to_numpy()
    errors = _errors(gaps, scores[scores["model"] == model])
    mean, se, reach = float(gaps.mean()), errors["se"], float(t.ppf(0.975, len(gaps) - 1))
    p = float(2 * t.sf(abs(mean) / se, len(gaps) - 1)) if se > 0 else float(mean == 0)
    return {"mean": mean, "se": se, "low": mean - reach * se, "high": mean + reach * se, "p": p}


def _errors(values: np.ndarray, folds: pd.DataFrame) -> dict[str, float]:
    sd = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    ratio = float((folds["n_test"] / folds["n_train"]).mean())
    count = len(values)
    return {"se": sd * (1 / count + ratio) ** 0.5, "se_plain": sd / count**0.5, "sd": sd, "folds": count}


def ranks_within_folds(risk: Float[np.ndarray, " n"], fold: Any) -> Float[np.ndarray, " n"]:
    """Risks of patients as ranks in (0, 1) among those of their fold, so that folds with models of their own can be pooled.

    Examples:
        >>> ranks_within_folds(np.array([5.0, 1.0, -3.0, -2.0]), [0, 0, 1, 1])
        array([0.75, 0.25, 0.25, 0.75])
    """
    from scipy.stats import rankdata

    ranks, labels = np.empty(len(risk)), np.asarray(fold)
    for k in np.unique(labels):
        of = labels == k
        ranks[of] = (rankdata(risk[of]) - 0.5) / of.sum()
    return ranks
