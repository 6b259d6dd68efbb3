"""The report on a survival model: who is at risk first, how risk groups fared, what was selected, what each modality carries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from unsnarl.arrays import check_range
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import OptionError
from unsnarl.measures._scores import Scores
from unsnarl.measures.survival._baselines import ForestSurvival, RidgeCox
from unsnarl.measures.survival._concordance import sksurv
from unsnarl.report._origin import PACKAGES, constructor_lines, environment, one_line, today
from unsnarl.report._page import check_target, picture, write_page
from unsnarl.report._style import clean, number
from unsnarl.report._survival_plots import fold_plot, percent, share_bars, survival_curves
from unsnarl.report._survival_study import SurvivalStudy, run_study

SHOWN = 12  # patients whose selected instances are listed
FEW = 0.10  # a share of events below which the page says so
GROUPS_IN_WORDS = {2: "Split at the median", 3: "Split at the tertiles"}


def write_survival_report(
    model: Any,
    data: SurvivalData | Any,
    to: Any,
    *,
    folds: int = 5,
    repeats: int = 1,
    baselines: Mapping[str, Any] | None = None,
    title: str | None = None,
    unit: str = "",
    command: str | None = None,
    bootstrap: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Cross-validate a survival model beside baselines and write one HTML page about it that needs nothing else.

    Fresh copies of the model are fitted, `folds * repeats` of them, on the same folds as the baselines. Every curve, selected
    instance and share on the page is of patients that the model which speaks of them had not seen; what belongs to single
    patients is that of the first repeat.

    Args:
        model: `fit(data)` and `risk(data)` are needed, as `unsnarl.PIBD` has them; `predict_survival` with `time_edges_`,
            `select_instances`, `embed`, and `risk` of patients with one modality each add a section.
        data: the patients.
        to: the file to write. Its folder must exist; an old file is replaced only when the new one is complete.
        folds: parts of a division of the patients.
        repeats: how often they are divided anew; more make the mean steadier.
        baselines: name -> model; ridge Cox and a random survival forest when None, `{}` for none. Where there are
            several modalities, ridge Cox on each of them is added.
        title: the heading.
        unit: of time, such as "months".
        command: the command or lines of Python that led here; written from the model's parameters when absent.
        bootstrap: half-samples for the intervals of the shares.
        seed: of the folds and half-samples.
        progress: called with (fits done, fits in all).

    Returns:
        The path of the file.

    Raises:
        MissingExtraError: scikit-survival is absent.
        OptionError: no such model or data, or `to` is not a path.
        DataError: too few events for the folds.
        FileError: the file cannot be written; found out before any work where possible.

    Cost: folds * repeats fits of the model and of each baseline.
    """
    target = check_target(to)
    check_range(bootstrap, "bootstrap", low=0, integer=True)
    if not isinstance(data, SurvivalData):
        raise OptionError(f"data is a {type(data).__name__}; pass a SurvivalData (see load_survival, SurvivalData.of)")
    sksurv("metrics")
    name = clean(type(model).__name__)
    if baselines is None:
        baselines = {"ridge Cox": RidgeCox(), "random survival forest": ForestSurvival()}
    study = run_study(
        model,
        data,
        name=name,
        baselines=baselines,
        folds=folds,
        repeats=repeats,
        seed=seed,
        bootstrap=bootstrap,
        progress=progress,
    )
    lead, *finding = _finding(study, data, list(baselines))
    parts = {
        "concordance": _concordance(study),
        "groups": _groups(study, unit),
        "calibration": _calibration(study, unit),
        "modalities": _modalities(study),
        "instances": _instances(study, data),
        "patients": _patients(data, unit),
    }
    names = {
        "concordance": "Concordance",
        "groups": "Risk groups",
        "calibration": "Curves",
        "modalities": "Modalities",
        "instances": "Instances",
        "patients": "Patients",
    }
    anchors = {"calibration": "curves"}
    return write_page(
        "survival.html",
        target,
        eyebrow="unsnarl survival",
        title=title or f"{name} on {len(data):,} patients",
        meta=[f"{len(data):,} patients", f"{int(data.event.sum()):,} events", *data.modalities, today()],
        lead=lead,
        finding=finding,
        sections=[*((anchors.get(k, k), names[k]) for k, v in parts.items() if v), ("reproduce", "Reproduce")],
        reproduce=_reproduce(model, data, command, {"folds": folds, "repeats": repeats, "seed": seed}),
        left_out=study.left_out,
        **parts,
    )


# ---- words ------------------------------------------------------------------------------------------------------------


def _finding(study: SurvivalStudy, data: SurvivalData, baselines: list[str]) -> list[str]:
    means = study.summary["mean"].to_dict()
    mean, reach = means[study.name], _reach(study)[study.name]
    lines = [
        f"{study.name} gives the higher risk to the patient who had the event first in {mean:.0%} of comparable pairs "
        f"(C = {number(mean)} ± {number(reach)})" + (", which may be a guess." if mean - reach <= 0.5 else ".")
    ]
    for other in baselines:
        gap = study.against[other]
        told = "the two cannot be told apart"
        if gap["low"] > 0 or gap["high"] < 0:
            told = f"{study.name} is {'better' if gap['mean'] > 0 else 'worse'}"
        sign = "+" if gap["mean"] > 0 else ""
        lines.append(
            f"Against {other} ({number(means[other])}) the difference is {sign}{number(gap['mean'])} "
            f"(95% interval {number(gap['low'])} to {number(gap['high'])}): {told} on these folds."
        )
    if 2 in study.groups:
        halves = study.groups[2]
        moment = float(study.times[1])
        low, high = (float(curve(moment)) for curve in halves.curves)
        said = f"Of the half with the lower risk {low:.0%} are without the event at time {_time(moment)}, of the other {high:.0%}"
        if math.isfinite(low) and math.isfinite(high):
            lines.append(f"{said} (log-rank p {_p(halves.p)}).")
    if study.shares:
        source, shares = next(iter(study.shares.items()))
        parts = {part: v for part, (v, _) in _condensed(shares).items() if part not in ("together", "none")}
        words = ", ".join(f"{part} {percent(v)}" for part, v in parts.items())
        lines.append(
            f"Of the variation in time, by {source}: {words}; none carries {percent(min(shares['none'], 1.0))}."
        )
    tissue = _true_types(study, data)
    if tissue:
        lines.append(tissue)
    rate = float(data.event.mean())
    if rate < FEW:
        lines.append(f"Only {rate:.0%} of the patients had the event, so all numbers here are uncertain.")
    return lines


def _time(value: float, unit: str = "") -> str:
    text = f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{text} {unit}" if unit else text


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else number(p)


def _reach(study: SurvivalStudy) -> dict[str, float]:
    """Half the width of the 95% interval of each mean."""
    rows = study.summary.to_dict("index")
    return {str(m): float(student.ppf(0.975, row["folds"] - 1) * row["se"]) for m, row in rows.items()}


def _true_types(study: SurvivalStudy, data: SurvivalData) -> str:
    """For simulated slides, how many of the selected patches are of the tissues that matter."""
    if not study.kept or "types" not in data.truth or "prognostic_types" not in data.truth:
        return ""
    kinds, matter = data.truth["types"], list(data.truth["prognostic_types"])
    if any(len(kept) and kept.max() >= len(kind) for (kept, _), kind in zip(study.kept, kinds, strict=True)):
        return ""
    chosen = np.concatenate([kind[kept] for (kept, _), kind in zip(study.kept, kinds, strict=True)])
    share, base = float(np.isin(chosen, matter).mean()), float(np.isin(np.concatenate(kinds), matter).mean())
    return f"{share:.0%} of the selected patches are of the tissues that matter; of all patches, {base:.0%} are."


# ---- sections ---------------------------------------------------------------------------------------------------------


def _concordance(study: SurvivalStudy) -> dict[str, Any]:
    reach = _reach(study)
    seconds = study.scores.groupby("model")["seconds"].mean().to_dict()
    rows = []
    for model, row in study.summary.iterrows():
        gap = study.against.get(str(model))
        against = "" if gap is None else f"{number(-gap['mean'])} ({number(-gap['high'])} to {number(-gap['low'])})"
        spread = f"{number(row['mean'] - reach[str(model)])} to {number(row['mean'] + reach[str(model)])}"
        rows.append((str(model), [number(row["mean"]), spread, against, number(float(seconds[model]), 2)]))
    best, worst = study.summary.index[0], study.summary.index[-1]
    alt = (
        f"Concordance of {len(study.summary)} models over {int(study.summary['folds'].iloc[0])} test folds, from {worst} "
        f"{number(float(study.summary['mean'].iloc[-1]))} to {best} {number(float(study.summary['mean'].iloc[0]))}."
    )
    return {
        "reading": "Harrell's concordance index on patients that no model had seen: 0.5 is a guess, 1 the right order. All models "
        "see the same folds; scaling, bins and selections are learned inside each. Intervals are corrected for the overlap "
        "of the training parts (Nadeau and Bengio 2003).",
        "picture": picture(
            lambda width: fold_plot(study.scores, study.summary, reach, name=study.name, width=width),
            alt,
            "Dots are test folds, the diamond their mean, the bar its 95% interval.",
        ),
        "columns": ["C-index", "95% interval", f"difference to {study.name}", "seconds a fit"],
        "rows": rows,
    }


def _groups(study: SurvivalStudy, unit: str) -> list[dict[str, Any]]:
    made = []
    for count, groups in study.groups.items():
        medians = ", ".join(
            f"{name} {_time(curve.median, unit) if math.isfinite(curve.median) else 'not reached'}"
            for name, curve in zip(groups.names, groups.curves, strict=True)
        )
        ends = "; ".join(
            f"{name} risk: {curve.n} patients, {curve.events} events, the curve ends at {curve.survival[-1]:.0%}"
            for name, curve in zip(groups.names, groups.curves, strict=True)
        )
        made.append(
            {
                "title": f"{GROUPS_IN_WORDS[count]}: log-rank p {_p(groups.p)}",
                "reading": "Patients grouped by the rank of their risk in the test fold, and the share of each group still "
                "without the event (Kaplan-Meier, with 95% intervals at each time).",
                "picture": picture(
                    partial(survival_curves, groups, unit=unit),
                    f"Survival curves. {ends}.",
                    f"Median time by risk: {medians}.",
                ),
            }
        )
    return made


def _calibration(study: SurvivalStudy, unit: str) -> dict[str, Any] | None:
    if study.predicted is None:
        return None
    observed = study.observed(study.times)
    place = np.searchsorted(study.observed.time, study.times, side="right") - 1
    rows = []
    for i, moment in enumerate(study.times):
        low, high = study.observed.low[place[i]], study.observed.high[place[i]]
        predicted = float(study.predicted[i])
        off = "" if low <= predicted <= high else "outside the interval"
        cells = [f"{predicted:.0%}", f"{observed[i]:.0%}", f"{low:.0%} to {high:.0%}", off]
        rows.append((_time(moment, unit), cells))
    return {
        "reading": f"Mean of the survival curves that {study.name} predicts for patients it has not seen, beside the Kaplan-Meier "
        "estimate of all, at the quartiles of the times of events. A model trained on a balanced draw of patients orders "
        "them well and is still off here.",
        "columns": ["predicted", "observed", "95% interval", ""],
        "rows": rows,
    }


def _modalities(study: SurvivalStudy) -> dict[str, Any] | None:
    if not study.shares:
        return None
    divided = {source: _condensed(shares) for source, shares in study.shares.items()}
    bars = [
        (source, {part: v for part, (v, _) in parts.items() if part != "together"}) for source, parts in divided.items()
    ]
    rows = []
    for source, parts in divided.items():
        for i, (part, (value, interval)) in enumerate(parts.items()):
            spread = f"{percent(interval[0])} to {percent(min(interval[1], 1.0))}" if interval else ""
            rows.append((source if i == 0 else "", [part, percent(min(value, 1.0)), spread]))
    told = "; ".join(f"{source}: " + ", ".join(f"{k} {percent(v)}" for k, v in parts.items()) for source, parts in bars)
    return {
        "reading": "The variation of the (log) time of the event, divided: what each modality carries alone, what they have in "
        "common, and what none carries, most of which is chance that nothing measured could foresee. A share in common below "
        "zero says that they tell more together than apart. Risks are of patients the models had not seen.",
        "picture": picture(lambda width: share_bars(bars, width=width), f"Shares of the modalities. {told}."),
        "columns": ["part", "share", "95% interval"],
        "rows": rows,
    }


def _condensed(shares: Scores) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Part -> share and interval; of three or more modalities, all that is in common as one sum."""
    parts = {part: (float(v), shares.intervals.get(part)) for part, v in shares.items()}
    if len(shares.modalities) <= 2:
        return parts
    common = sum(v for part, (v, _) in parts.items() if part.endswith(" in common"))
    alone = {part: of for part, of in parts.items() if part.endswith(" alone")}
    return {**alone, "in two or more": (common, None), "together": parts["together"], "none": parts["none"]}


def _instances(study: SurvivalStudy, data: SurvivalData) -> dict[str, Any] | None:
    if not study.kept:
        return None
    counts = np.array([len(kept) for kept, _ in study.kept])
    modality = next((m for m in data.modalities if data.is_bags(m)), None)
    names = _variable_names(study, data) if modality is None else None
    say = lambda i: names[i] if names else str(i)  # noqa: E731
    rows = []
    for row in np.argsort(-study.risk, kind="stable")[:SHOWN]:
        kept, scores = study.kept[row]
        top = ", ".join(f"{say(int(i))} ({number(float(s), 2)})" for i, s in list(zip(kept, scores, strict=True))[:3])
        total = "" if modality is None else f" of {len(data[modality][row]):,}"
        rows.append((data.names[row], [f"{study.risk[row]:.0%}", f"{counts[row]:,}{total}", top or "none"]))
    often = []
    if names:
        used = np.bincount(np.concatenate([kept for kept, _ in study.kept]), minlength=len(names))
        order = np.argsort(-used, kind="stable")[:SHOWN]
        often = [(names[i], f"{used[i]:,} of {len(data):,} patients ({used[i] / len(data):.0%})") for i in order]
    return {
        "reading": f"{study.name} looks at {np.median(counts):g} instances of a patient (median; {counts.min():,} to "
        f"{counts.max():,}). Below, the {min(SHOWN, len(data))} patients with the highest risk in their test fold: the rank of "
        "the risk, how many instances were selected, and those with the highest scores.",
        "columns": ["rank of risk", "selected", "highest scores"],
        "rows": rows,
        "often": often,
    }


def _variable_names(study: SurvivalStudy, data: SurvivalData) -> list[str] | None:
    """Where a table serves as the bag, the names of its columns, if all indices fit exactly one table."""
    largest = max((int(kept.max()) for kept, _ in study.kept if len(kept)), default=-1)
    fitting = [m for m in data.modalities if not data.is_bags(m) and m not in data.pathways and m != "genes"]
    if len(fitting) == 1 and largest < len(data.columns[fitting[0]]):
        return data.columns_of(fitting[0])
    return None


def _patients(data: SurvivalData, unit: str) -> dict[str, Any]:
    events = int(data.event.sum())
    rate = events / len(data)
    parts = []
    for name, has in data.present.items():
        what = "bags" if data.is_bags(name) else f"a table of {len(data.columns[name]):,} columns"
        parts.append(f"{name} ({what}{'' if has.all() else f', absent in {int((~has).sum()):,} patients'})")
    words = ""
    if rate < FEW or rate > 1 - FEW:
        words = " Events and censored patients are far from balanced."
    after = _time(float(np.median(data.time)), unit)
    edges = np.quantile(data.time[data.event], [0, 0.25, 0.5, 0.75, 1])
    edges[0], edges[-1] = 0.0, max(edges[-1], data.time.max())
    rows = []
    for low, high in pairwise(edges):
        inside = (data.time > low if low > 0 else data.time >= 0) & (data.time <= high)
        seen = int((inside & data.event).sum())
        rows.append((f"{_time(low)} to {_time(high)}", [f"{seen:,}", f"{int(inside.sum()) - seen:,}"]))
    return {
        "sentence": f"{len(data):,} patients, of whom {events:,} ({rate:.0%}) had the event; the median time is {after}. "
        f"Modalities: {'; '.join(parts)}.{words}",
        "columns": ["with the event", "censored"],
        "rows": rows,
    }


def _reproduce(model: Any, data: SurvivalData, command: str | None, options: dict[str, Any]) -> dict[str, Any]:
    params = model.get_params() if callable(getattr(model, "get_params", None)) else {}
    if command is None:
        given = ", ".join(f"{k}={v}" for k, v in options.items())
        lines = [
            "import unsnarl",
            "from unsnarl.report import write_survival_report",
            *constructor_lines(model, params),
            f"data = ...  # {one_line(data)}",
            f'write_survival_report(model, data, "report.html", {given})',
        ]
        command = "\n".join(lines)
    facts = environment(options, (*PACKAGES, "scikit-survival"))
    return {"text": "\n".join(clean(line) for line in command.strip().splitlines()), "facts": facts}
