"""The page of a language model that was measured: its numbers in plain sentences, and the pictures behind them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unsnarl.errors import OptionError
from unsnarl.report import _style
from unsnarl.report._page import DARK, PHONE, Picture, Source, check_target, data_uri, write_page
from unsnarl.report._style import PAGE_WIDTH, PHONE_WIDTH, clean, drawing, new_figure, number, ramp

GROUPS = {
    "head": "How random the head is",
    "surplus": "What is known beyond the next token",
    "metric": "Which directions the prediction feels",
    "geometry": "Hidden states against predictive similarity",
    "reference": "Against the reference",
    "loss": "Where the loss comes from",
    "superposition": "Features in the head's input",
}
LABELS = {
    "entropy": "categorical entropy",
    "nll": "negative log-likelihood",
    "calibration_gap": "likelihood beside entropy",
    "tv": "categorical entropy, total variation",
    "renyi": "categorical entropy, Renyi",
    "next_token_information": "information about the next token",
    "trace": "trace of the metric",
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
    "separation": "integrated separation",
    "fisher_agreement": "agreement of metric lengths",
    "mean_metric_agreement": "agreement of the mean metric",
    "euclidean_agreement": "agreement of plain distances",
    "cka": "alignment (CKA)",
    "rayleigh": "Rayleigh share",
    "dirichlet": "Dirichlet energy",
    "reference_entropy": "entropy of the reference",
    "entropy_difference": "difference of entropies",
    "reference_kl": "divergence from the reference",
    "attraction": "logit of what came",
    "log_partition": "log partition function",
    "log_partition_spread": "spread of it",
    "features": "effective features",
    "features_per_dimension": "features a dimension",
}
_SHOWN_POINTS = 3_000  # contexts in the scatter plot


def write_inspect_page(report: Any, to: Any, *, title: str | None = None, command: str | None = None) -> Path:
    """Write one HTML file on a language model: the finding, every number with a sentence, spectra, contexts, kernel.

    The file holds everything it needs (no network) and escapes the model's name, the texts and every token.

    Args:
        report: a `LanguageReport`.
        to: the file to write; its folder must exist.
        title: the heading; the model's name when absent.
        command: what led here, shown for copying.

    Returns:
        The path of the file.

    Raises:
        OptionError: not a report, or `to` is not a path.
        FileError: the file cannot be written; found out before any work.
    """
    target = check_target(to)
    if not hasattr(report, "spectrum") or not hasattr(report, "kernel_contexts"):
        raise OptionError(f"report must be a LanguageReport, got {type(report).__name__}")
    surplus = [(s.name.replace("_", " of ") + " tokens", _surplus(s)) for s in report.surplus]
    superposition = _superposition(report.superposition)
    checks = _checks(report)
    names = [("numbers", "Numbers"), ("certainty", "Certainty"), ("spectrum", "Spectrum"), ("kernel", "Kernel")]
    names += [("surplus", "Surplus")] if surplus else []
    names += [("superposition", "Features")] if superposition else []
    names += [("checks", "Reference")] if checks else []
    names += [("notes", "Notes")] if report.notes else []
    settings = report.settings
    return write_page(
        "inspect.html",
        target,
        eyebrow="unsnarl inspect",
        title=title or str(settings.get("model") or "A language model"),
        meta=_meta(settings),
        finding=report.finding,
        sections=[*names, ("settings", "Settings")],
        rows=_rows(report),
        intervals=bool(report.intervals),
        left_out=[(LABELS.get(name, name), reason) for name, reason in report.left_out.items()],
        certainty=_picture(
            lambda width, look: certainty_plot(report.entropies, report.nlls, width=width, look=look),
            _certainty_words(report.entropies, report.nlls),
            "Each dot is a context: how unsure the model is against what the token that came cost. The line is the mean cost of "
            "contexts of like entropy; on the diagonal the model is as sure as it is right.",
        ),
        certain=[_context(c) for c in report.certain],
        uncertain=[_context(c) for c in report.uncertain],
        spectrum=_picture(
            lambda width, look: spectrum_plot(report.spectrum.eigenvalues, width=width, look=look),
            f"Eigenvalues of the mean pullback metric, falling from {number(report.spectrum.eigenvalues[0])}; effective rank "
            f"{number(report.spectrum.effective_rank, 1)} of {len(report.spectrum.eigenvalues)}.",
            "Eigenvalues of the mean pullback metric and the share of their sum; the dashed line stands at the effective rank.",
        ),
        kernel=_picture(
            lambda width, look: kernel_plot(report.kernel, width=width, look=look),
            f"The predictive kernel ({report.kernel_kind}) of {len(report.kernel)} contexts, alike ones side by side.",
            f"Predictive similarity ({_kernel_name(report.kernel_kind)}) of {len(report.kernel)} contexts by the predictions of "
            f"{clean(report.kernel_source)}; alike contexts stand side by side.",
        ),
        kernel_contexts=[_context(c) for c in report.kernel_contexts],
        surplus=surplus,
        superposition=superposition,
        checks=checks,
        notes=list(report.notes),
        command=(command or "").strip(),
        settings=_settings(report),
    )


def _rows(report: Any) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    last = ""
    for group, name, value, low, high, unit, meaning in report.table().itertuples(index=False):
        label = LABELS.get(name) or f"surplus of {name.partition('_')[2]} tokens"
        rows.append(
            {
                "head": GROUPS.get(group, group) if group != last else "",
                "label": label,
                "unit": unit,
                "value": number(value),
                "interval": "" if math.isnan(low) else f"[{number(low)}, {number(high)}]",
                "meaning": meaning,
            }
        )
        last = group
    return rows


def _context(context: Any) -> dict[str, str]:
    return {
        "text": _visible(context.text),
        "follows": _visible(context.follows),
        "predicted": _visible(context.predicted),
        "probability": f"{100 * context.probability:.0f}%",
        "entropy": number(context.entropy),
        "nll": f"cost {number(context.nll)}",
    }


def _visible(text: str) -> str:
    """A token or text in one line, in which a line break can be seen."""
    line = clean(text).replace("\n", "↵").replace("\t", "⇥")
    return line if line.strip() else f"“{line}”"


def _surplus(score: Any) -> list[tuple[str, str]]:
    extra = score.extra
    items = [
        (
            "surplus",
            f"{number(float(score))} nats"
            + (f" [{number(score.low)}, {number(score.high)}]" if score.interval else ""),
        ),
        ("cost without the hidden state", f"{number(extra['ce_without'])} nats"),
        ("cost with it", f"{number(extra['ce_with'])} nats"),
        ("token by token", ", ".join(number(float(v)) for v in extra["steps"])),
        ("ceiling", f"{number(extra['ceiling'])} nats"),
    ]
    return [*items, ("contexts", f"{extra['contexts']:,}, after {extra['training_contexts']:,} to learn from")]


def _superposition(result: Any) -> dict[str, Any] | None:
    if result is None:
        return None
    items = [
        ("effective features", number(result.F)),
        ("dimensions", f"{result.N:,}"),
        ("features a dimension", number(result.psi)),
        (
            "autoencoder",
            f"{result.D:,} features" + (f", penalty {result.l1:g}" if result.l1 is not None else ", given"),
        ),
        ("variance left unexplained", f"{100 * result.fvu:.1f}%"),
        ("active at a time", number(result.l0)),
    ]
    return {"items": items, "problems": list(result.problems)}


def _checks(report: Any) -> dict[str, Any] | None:
    if not report.checks:
        return None
    entropy, pinsker = report.checks["entropy"], report.checks["pinsker"]
    held = "Both bounds of theorem 7.1 are kept" if pinsker.holds else "A bound of theorem 7.1 is broken"
    return {
        "sentence": f"{held}, and the model's randomness is {number(entropy.difference)} nats from the reference's at a "
        f"divergence of {number(entropy.kl)}.",
        "items": [
            ("KL(reference || model)", f"{number(pinsker.kl)} nats"),
            ("squared Hellinger distance over KL", f"{number(pinsker.hellinger_ratio)}, at most 1"),
            ("squared total variation over KL", f"{number(pinsker.tv_ratio)}, at most 0.5"),
            ("entropy of the model", f"{number(entropy.model)} nats"),
            ("entropy of the reference", f"{number(entropy.data)} nats"),
        ],
    }


def _meta(settings: dict[str, Any]) -> list[str]:
    import unsnarl

    parts = [f"unsnarl {unsnarl.__version__}", datetime.date.today().isoformat()]
    if "contexts" in settings:
        parts.append(f"{settings['contexts']:,} contexts of {settings.get('texts', 0):,} texts")
    return parts


def _settings(report: Any) -> list[tuple[str, str]]:
    shown = [(name.replace("_", " "), _plain(value)) for name, value in report.settings.items()]
    return shown + [(f"seconds, {stage}", number(seconds, 1)) for stage, seconds in report.timings.items()]


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f"{value:,}"


def _kernel_name(kind: str) -> str:
    names = {
        "bc": "Bhattacharyya coefficient",
        "hellinger": "Hellinger",
        "linear": "inner product",
        "js": "Jensen-Shannon",
    }
    return names.get(kind, kind)


# ---- pictures -----------------------------------------------------------------------------------------------------------


def _picture(make: Callable[[float, str], Figure], alt: str, caption: str) -> Picture:
    """Renderings for phone and desktop, light and dark; each is drawn, for pixels cannot be recoloured in an SVG."""
    sources = []
    for width, screen in ((PHONE_WIDTH, PHONE), (PAGE_WIDTH, "")):
        for look, scheme in (("dark", DARK), ("light", "")):
            figure = make(width, look)
            inches = figure.get_size_inches()
            media = " and ".join(part for part in (screen, scheme) if part)
            uri = data_uri(_style.svg(figure).encode(), "image/svg+xml")
            sources.append(Source(media, uri, round(96 * inches[0]), round(96 * inches[1])))
    return Picture(sources, alt, caption)


def spectrum_plot(
    eigenvalues: Sequence[float] | np.ndarray, *, width: float = PAGE_WIDTH, look: str = "light"
) -> Figure:
    """Eigenvalues on a logarithmic scale, their cumulative share, and the effective rank.

    Args:
        eigenvalues: descending, not all zero.
        width: inches.
        look: "light" or "dark".

    >>> len(spectrum_plot([3.0, 1.0, 0.1]).axes)
    2
    """
    values = np.asarray(eigenvalues, np.float64)
    share = values / values.sum()
    used = share[share > 0]
    rank = float(np.exp(-(used @ np.log(used))))
    index = np.arange(1, len(values) + 1)
    height = 2.4
    with drawing(look) as colours:
        figure = new_figure(width, height)
        axes = figure.add_axes((0.62 / width, 0.45 / height, 1 - 1.3 / width, 1 - 0.6 / height))
        positive = values > values[0] * 1e-12
        axes.plot(index[positive], values[positive], color=colours.accent, linewidth=1.8)
        axes.set_yscale("log")
        axes.set_xscale("log")
        axes.axvline(rank, color=colours.muted, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlabel("direction", fontsize=8.5)
        axes.set_ylabel("eigenvalue", color=colours.accent, fontsize=8.5)
        axes.yaxis.grid(True)
        axes.tick_params(which="both", length=0)
        other = axes.twinx()
        other.plot(index, share.cumsum(), color=colours.second, linewidth=1.4, linestyle=(0, (1, 1.2)))
        other.set_ylim(0, 1.02)
        other.set_ylabel("share of the sum, from the left", color=colours.second, fontsize=8.5)
        other.tick_params(length=0)
        other.spines[:].set_visible(False)
    return figure


def certainty_plot(
    entropies: Sequence[float] | np.ndarray,
    nlls: Sequence[float] | np.ndarray,
    *,
    width: float = PAGE_WIDTH,
    look: str = "light",
) -> Figure:
    """Entropy of the prediction against the cost of the token that came, and the mean cost of contexts of like entropy.

    Args:
        entropies: (n,) nats.
        nlls: (n,) nats.
        width: inches.
        look: "light" or "dark".

    >>> len(certainty_plot([0.1, 1.0, 2.0], [0.0, 1.2, 2.5]).axes)
    1
    """
    x, y = np.asarray(entropies, np.float64), np.asarray(nlls, np.float64)
    middle, mean = binned(x, y)
    some = np.linspace(0, len(x) - 1, min(len(x), _SHOWN_POINTS)).astype(int)
    height = min(3.4, width * 0.62)
    with drawing(look) as colours:
        figure = new_figure(width, height)
        axes = figure.add_axes((0.5 / width, 0.45 / height, 1 - 0.62 / width, 1 - 0.6 / height))
        axes.scatter(x[some], y[some], s=5, color=colours.accent, alpha=0.22, linewidths=0, rasterized=len(some) > 500)
        top = float(max(x.max(), np.quantile(y, 0.98), 0.1)) * 1.05
        axes.plot([0, top], [0, top], color=colours.muted, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(middle, mean, color=colours.second, linewidth=2, marker="o", markersize=3.5)
        axes.set_xlim(0, max(float(x.max()) * 1.03, 1e-6))
        axes.set_ylim(0, top)
        axes.set_xlabel("entropy of the prediction, nats", fontsize=8.5)
        axes.set_ylabel("cost of the token that came, nats", fontsize=8.5)
        axes.yaxis.grid(True)
        axes.tick_params(length=0)
    return figure


def binned(x: np.ndarray, y: np.ndarray, bins: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Mean x and y of equally filled bins of x."""
    parts = [p for p in np.array_split(np.argsort(x, kind="stable"), min(bins, len(x))) if len(p)]
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _certainty_words(entropies: np.ndarray, nlls: np.ndarray) -> str:
    middle, mean = binned(np.asarray(entropies), np.asarray(nlls))
    return (
        f"{len(entropies):,} contexts: where the entropy is lowest, {number(float(middle[0]))} nats on average, what came cost "
        f"{number(float(mean[0]))}; where it is highest, {number(float(middle[-1]))}, it cost {number(float(mean[-1]))}."
    )


def kernel_plot(kernel: np.ndarray, *, width: float = PAGE_WIDTH, look: str = "light") -> Figure:
    """A kernel between contexts as a heat map with a scale.

    Args:
        kernel: (n, n), not negative.
        width: inches.
        look: "light" or "dark".

    >>> len(kernel_plot(np.eye(3)).axes)
    2
    """
    values = np.asarray(kernel, np.float64)
    top = float(np.nanmax(values)) or 1.0
    side = min(width - 0.95, 4.6)
    height = side + 0.3
    with drawing(look) as colours:
        figure = new_figure(width, height)
        axes = figure.add_axes((0.35 / width, 0.1 / height, side / width, side / height))
        shown = axes.imshow(values, cmap=ramp(look), vmin=-top, vmax=top, interpolation="nearest", aspect="auto")
        axes.spines[:].set_visible(False)
        ticks = [0, len(values) - 1] if len(values) > 1 else [0]
        axes.set_yticks(ticks, [str(i + 1) for i in ticks])
        axes.set_xticks([])
        axes.tick_params(length=0)
        scale = figure.add_axes(((side + 0.5) / width, 0.1 / height, 0.12 / width, side / height))
        bar = figure.colorbar(shown, cax=scale)
        bar.outline.set_visible(False)  # type: ignore[operator]
        scale.set_ylim(0, top)
        scale.tick_params(length=0, labelcolor=colours.muted)
    return figure
