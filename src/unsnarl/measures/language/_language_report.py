"""What the measures found of a language model: all numbers with a sentence each, their intervals, spectra and contexts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from unsnarl.errors import DataError, UnknownNameError
from unsnarl.files import json_values
from unsnarl.measures._scores import Interval, Score
from unsnarl.measures.language._alignment import SpectralAlignment
from unsnarl.measures.language._metric import MetricSpectrum
from unsnarl.measures.language._windows import Observed, Windows

_WORDS_BEFORE = 24  # tokens of a context that are shown


@dataclass(frozen=True)
class DescribedContext:
    """A context in words.

    Attributes:
        text: its last tokens.
        follows: the token that came.
        predicted: the likeliest token.
        probability: the model's probability of it.
        entropy: of the prediction, nats.
        nll: of the token that came, nats.
    """

    text: str
    follows: str
    predicted: str
    probability: float
    entropy: float
    nll: float


@dataclass(frozen=True, repr=False, eq=False)
class LanguageReport:
    """What `analyse_lm` found.

    Attributes:
        numbers: name -> value; information in nats.
        intervals: name -> 95% interval, for those that have one.
        spectrum: eigenvalues of the mean pullback metric.
        alignment: hidden states against the predictive kernel, with chance values.
        kernel: (shown, shown) the kernel of some contexts, alike ones side by side.
        kernel_kind, kernel_source: which kernel, and whose predictions it is made of.
        kernel_contexts: the contexts of its rows.
        certain, uncertain: contexts of least and of most entropy.
        entropies, nlls: (contexts,) of every context.
        surplus: one `Score` for each K.
        superposition: the `SuperpositionResult` of the head's input, or None.
        checks: theorems 5.2 ("entropy") and 7.1 ("pinsker") against a reference; {} without one.
        left_out: what could not be measured -> why.
        notes: what a reader must know.
        timings: stage -> seconds.
        settings: what decides the numbers.
    """

    numbers: dict[str, float]
    intervals: dict[str, Interval]
    spectrum: MetricSpectrum
    alignment: SpectralAlignment
    kernel: Float[np.ndarray, "shown shown"]
    kernel_kind: str
    kernel_source: str
    kernel_contexts: list[DescribedContext]
    certain: list[DescribedContext]
    uncertain: list[DescribedContext]
    entropies: Float[np.ndarray, " contexts"]
    nlls: Float[np.ndarray, " contexts"]
    surplus: list[Score] = field(default_factory=list)
    superposition: Any = None
    checks: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        """One number with its interval.

        Raises:
            DataError: it was left out; the reason is given.
            UnknownNameError: there is no such number.
        """
        if name in self.numbers:
            return Score(self.numbers[name], name=name, interval=self.intervals.get(name))
        if name in self.left_out:
            raise DataError(f"{name} was left out: {self.left_out[name]}")
        raise UnknownNameError("number", name, list(self.numbers))

    def explain(self, name: str) -> str:
        """What a number says, in one plain sentence.

        Raises:
            UnknownNameError, DataError: as `report[name]`.
        """
        return _sentence(self, name, float(self[name]))

    def table(self) -> pd.DataFrame:
        """One row a number: group, number, value, low, high, unit, meaning; `low` and `high` are nan without an interval."""
        rows = []
        for name in self.names():
            group, unit = _kind(name)
            low, high = self.intervals.get(name, (math.nan, math.nan))
            rows.append((group, name, self.numbers[name], low, high, unit, self.explain(name)))
        return pd.DataFrame(rows, columns=["group", "number", "value", "low", "high", "unit", "meaning"])

    def names(self) -> list[str]:
        """The numbers in the order they are read."""
        known = [name for name in _KINDS if name in self.numbers]
        k = sorted((n for n in self.numbers if n.startswith("surplus_")), key=lambda n: int(n.partition("_")[2]))
        at = next((i for i, n in enumerate(known) if _kind(n)[0] not in ("head",)), len(known))
        return known[:at] + k + known[at:]

    @property
    def finding(self) -> list[str]:
        """The report in a few sentences."""
        lines = [self.explain("entropy"), self.explain("calibration_gap"), self.explain("effective_rank")]
        lines += [self.explain(s.name) for s in self.surplus[:1]]
        lines.append(self.explain("cka"))
        if "features" in self.numbers:
            lines.append(self.explain("features"))
        return lines

    def to_dict(self) -> dict[str, Any]:
        """All of it but the arrays of every context as plain JSON values; what is not finite becomes None."""
        return json_values(
            {
                "finding": self.finding,
                "numbers": {
                    name: {
                        "value": self.numbers[name],
                        "interval": self.intervals.get(name),
                        "meaning": self.explain(name),
                    }
                    for name in self.names()
                },
                "eigenvalues": self.spectrum.eigenvalues,
                "alignment": self.alignment,
                "kernel": {"kind": self.kernel_kind, "source": self.kernel_source},
                "certain": self.certain,
                "uncertain": self.uncertain,
                "surplus": {score.name: score.extra for score in self.surplus},
                "checks": {name: check._asdict() for name, check in self.checks.items()},
                "left_out": self.left_out,
                "notes": self.notes,
                "timings": self.timings,
                "settings": self.settings,
            }
        )

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __repr__(self) -> str:
        lines = [f"LanguageReport: {self.settings.get('model', 'model')}, {len(self.entropies):,} contexts"]
        for name in self.names():
            low, high = self.intervals.get(name, (math.nan, math.nan))
            interval = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
            lines.append(f"  {name} = {self.numbers[name]:.4g}{interval}")
        lines += [f"  {name}: left out, {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


def described(
    windows: Windows, observed: Observed, rows: Int[np.ndarray, " n"], tokenizer: Any
) -> list[DescribedContext]:
    """Contexts in words; without a tokenizer that decodes, token numbers."""
    decode = getattr(tokenizer, "decode", None)

    def words(tokens: Sequence[int]) -> str:
        if callable(decode):
            return str(decode(list(tokens)))
        return " ".join(map(str, tokens))

    found = []
    for row in rows:
        window, position = windows[int(observed.window[row])], int(observed.position[row])
        found.append(
            DescribedContext(
                text=words(window[max(0, position - _WORDS_BEFORE) : position].tolist()),
                follows=words([int(window[position])]),
                predicted=words([int(observed.numbers["top"][row])]),
                probability=float(observed.numbers["top_probability"][row]),
                entropy=float(observed.numbers["entropy"][row]),
                nll=float(observed.numbers["nll"][row]),
            )
        )
    return found


# ---- what the numbers mean --------------------------------------------------------------------------------------------

# in reading order: group and unit
_KINDS: dict[str, tuple[str, str]] = {
    "entropy": ("head", "nats"),
    "nll": ("head", "nats"),
    "calibration_gap": ("head", "nats"),
    "tv": ("head", ""),
    "renyi": ("head", "nats"),
    "next_token_information": ("head", "nats"),
    "trace": ("metric", "nats per unit step, squared"),
    "effective_rank": ("metric", "directions"),
    "participation_ratio": ("metric", "directions"),
    "separation": ("metric", "nats"),
    "fisher_agreement": ("metric", ""),
    "mean_metric_agreement": ("metric", ""),
    "euclidean_agreement": ("metric", ""),
    "cka": ("geometry", ""),
    "rayleigh": ("geometry", ""),
    "dirichlet": ("geometry", ""),
    "reference_entropy": ("reference", "nats"),
    "entropy_difference": ("reference", "nats"),
    "reference_kl": ("reference", "nats"),
    "attraction": ("loss", "nats"),
    "log_partition": ("loss", "nats"),
    "log_partition_spread": ("loss", "nats"),
    "features": ("superposition", "features"),
    "features_per_dimension": ("superposition", ""),
}


def _kind(name: str) -> tuple[str, str]:
    return ("surplus", "nats") if name.startswith("surplus_") else _KINDS[name]


def _sentence(report: LanguageReport, name: str, value: float) -> str:
    d, settings = report.settings.get("dimension", 0), report.settings
    if name.startswith("surplus_"):
        return _surplus_sentence(report, name, value)
    own = report.kernel_source == "the model itself"
    by = "its own predictions (so in part by construction)" if own else f"the predictions of {report.kernel_source}"
    trust = ""
    if report.superposition is not None and report.superposition.problems:
        trust = f"; not reliable: {report.superposition.problems[0]}"
    sentences = {
        "entropy": f"On average the model is as unsure of the next token as among {_choices(value)} equally likely ones.",
        "nll": f"The tokens that really came cost {value:.3f} nats each, as if drawn from {_choices(value)} equally likely ones.",
        "calibration_gap": _calibration(value),
        "tv": f"Drawn twice from its predictions, the next token differs {100 * value:.0f}% of the time.",
        "renyi": f"The same randomness with more weight on likely tokens (Renyi entropy of order {2 - settings.get('order', 0.5):g}).",
        "next_token_information": f"Knowing the context tells {value:.2f} nats about the next token beyond how often tokens come "
        "(by the model's own predictions, a little too low for few contexts).",
        "trace": "How far a small random step of the hidden state moves the prediction, summed over all directions.",
        "effective_rank": f"The prediction feels about {value:.0f} of the {d:,} directions of the hidden state.",
        "participation_ratio": f"Counting only the strongest, it is about {value:.0f} directions.",
        "separation": f"Two contexts drawn at random predict {value:.1f} nats apart (Jeffreys divergence along the path between them).",
        "fisher_agreement": f"Lengths in the metric rank how alike two contexts predict with a correlation of {value:.2f}.",
        "mean_metric_agreement": f"One mean metric for all contexts ranks that with {value:.2f}.",
        "euclidean_agreement": f"Plain distances of hidden states rank that with {value:.2f}.",
        "cka": f"The geometry of hidden states follows {by} with an alignment of {value:.2f}, where shuffled contexts "
        f"give {report.alignment.cka_chance:.2f}.",
        "rayleigh": f"The hidden states span {100 * value:.0f}% of what as many directions of the predictive kernel can hold; "
        f"shuffled contexts give {100 * report.alignment.rayleigh_chance:.0f}%.",
        "dirichlet": f"Along the direction the prediction feels most, alike contexts differ {100 * value:.0f}% as much as any two.",
        "reference_entropy": f"The reference is as unsure as among {_choices(value)} equally likely tokens.",
        "entropy_difference": f"The model's randomness is {value:.3f} nats from the reference's.",
        "reference_kl": f"The model's predictions are {value:.3f} nats from the reference's (KL), which bounds that difference.",
        "attraction": "The mean logit of the token that came: how strongly hidden states point at it.",
        "log_partition": "The mean of log Z, what the pull of all tokens together costs; the loss is this minus the attraction.",
        "log_partition_spread": "How much log Z varies over contexts; the theorem on spectral alignment wants it bounded.",
        "features": f"A sparse autoencoder finds the work of {value:,.0f} equally used features in {d:,} dimensions{trust}.",
        "features_per_dimension": "Above 1, more features than dimensions share the hidden state.",
    }
    return sentences[name]


def _choices(entropy: float) -> str:
    choices = math.exp(min(entropy, 30.0))
    return f"{choices:.1f}" if choices < 100 else f"{choices:,.0f}"


def _calibration(gap: float) -> str:
    if abs(gap) < 0.05:
        return f"It is about as sure as it is right: what came costs {gap:+.3f} nats beside what it expects.".replace(
            "-", "−"
        )
    if gap > 0:
        return f"It is surer than it is right: what came costs {gap:.2f} nats more than it expects."
    return f"It is less sure than it is right: what came costs {-gap:.2f} nats less than it expects."


def _surplus_sentence(report: LanguageReport, name: str, value: float) -> str:
    score = next((s for s in report.surplus if s.name == name), None)
    later = int(name.partition("_")[2]) - 1
    what = "the token after the next" if later == 1 else f"the {later} tokens after the next"
    if value <= 0:
        return f"Draft heads found nothing in the hidden state about {what} beyond the next token itself."
    without = score.extra.get("ce_without", math.nan) if score is not None else math.nan
    of = f" of the {without:.2f} they cost without it" if without == without else ""
    return f"Besides the next token, the hidden state tells {value:.2f} nats{of} about {what} (an estimate, no bound)."
