"""The stage of an analysis that holds hidden states against predictive similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.data.known._token_source import TokenSource
from unsnarl.errors import DataError
from unsnarl.information._kernel import centered_kernel_alignment
from unsnarl.measures._scores import Interval
from unsnarl.measures.language._alignment import SpectralAlignment, distance_agreement, spectral_alignment
from unsnarl.measures.language._entropy import entropy_convergence, pinsker_check
from unsnarl.measures.language._kernels import predictive_kernel
from unsnarl.measures.language._metric import MetricSpectrum, integrated_separation
from unsnarl.measures.language._opened import evaluating, open_model
from unsnarl.measures.language._stages import Work
from unsnarl.measures.language._windows import Observed

_SHOWN = 48  # contexts in the kernel picture


@dataclass(eq=False)
class Aligned:
    """What the stage found; `shown` is the kernel of a few contexts, the rows `shown_rows` of those observed."""

    alignment: SpectralAlignment
    numbers: dict[str, float]
    intervals: dict[str, Interval]
    shown: np.ndarray
    shown_rows: np.ndarray
    source: str
    checks: dict[str, Any]
    notes: list[str]


def aligned_with_kernel(
    work: Work,
    observed: Observed,
    chosen: np.ndarray,
    spectrum: MetricSpectrum,
    kind: str,
    beta: float,
    reference: Any,
    left_out: dict[str, str],
) -> Aligned:
    """The geometry of hidden states against the kernel of the reference's predictions, or of the model's own."""
    work.tell("alignment", 0.0)
    hidden = observed.hidden[torch.from_numpy(chosen)]
    with torch.no_grad():
        own = work.opened.head(hidden).float()
    notes, checks = [], {}
    numbers: dict[str, float] = {}
    probs = own.softmax(-1)
    source = "the model itself"
    if reference is None:
        notes.append(
            "The predictive kernel comes from the model whose hidden states it is held against, so some agreement is there "
            "by construction; pass reference= (another model, or a source of known probabilities) for a test."
        )
    else:
        probs = _reference_probs(work, observed, chosen, reference)
        source = type(reference).__name__
        there = entropy_convergence(own, probs)
        bounds = pinsker_check(probs.double(), own.double().softmax(-1))
        checks = {"entropy": there, "pinsker": bounds}
        numbers |= {"reference_entropy": there.data, "entropy_difference": there.difference, "reference_kl": there.kl}
    k = predictive_kernel(probs, kind, beta=beta)
    work.tell("alignment", 0.4)
    metric = (spectrum.directions * spectrum.eigenvalues) @ spectrum.directions.T
    found = spectral_alignment(hidden, k, metric=(metric + metric.T) / 2, allow_few=True, seed=work.seed)
    if np.isnan(found.rayleigh):
        left_out["rayleigh"] = (
            f"{len(chosen):,} contexts are no more than the {work.opened.dimension:,} dimensions of h; whitening needs more"
        )
    else:
        numbers["rayleigh"] = found.rayleigh
    numbers["cka"] = found.cka
    numbers["dirichlet"] = float(found.dirichlet[0] / found.mean_kernel)
    centred = (hidden.double() - hidden.double().mean(0)).numpy()
    gram = centred @ centred.T
    _, unit = np.unique(observed.window[chosen], return_inverse=True)

    def estimate(kept: np.ndarray) -> dict[str, float]:
        rows = np.flatnonzero(np.isin(unit, kept))
        here = np.ix_(rows, rows)
        return {"cka": centered_kernel_alignment(gram[here], k[here], kernel="precomputed")}

    intervals = work.intervals(estimate, {"cka": found.cka}, int(unit.max()) + 1, most=100)
    work.tell("alignment", 0.7)
    half = len(chosen) // 2
    if half >= 3:
        agreement = distance_agreement(
            work.opened.head, hidden[:half], (metric + metric.T) / 2, pairs=1_000, points=8, seed=work.seed
        )
        numbers["fisher_agreement"] = agreement.path
        numbers["mean_metric_agreement"], numbers["euclidean_agreement"] = agreement.mean, agreement.euclidean
        shuffled = work.rng.permutation(len(chosen))
        one, other = shuffled[: half // 2 + 1], shuffled[half // 2 + 1 : 2 * (half // 2 + 1)]
        size = min(len(one), len(other), 128)
        numbers["separation"] = float(
            integrated_separation(work.opened.head, hidden[one[:size]], hidden[other[:size]]).mean()
        )
    shown = np.sort(work.rng.choice(len(chosen), size=min(_SHOWN, len(chosen)), replace=False))
    order = shown[_similar_together(k[np.ix_(shown, shown)])]
    return Aligned(found, numbers, intervals, k[np.ix_(order, order)], chosen[order], source, checks, notes)


def _similar_together(kernel: np.ndarray) -> np.ndarray:
    """An order of contexts in which alike ones are neighbours: the leaves of average linkage."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(kernel) < 3:
        return np.arange(len(kernel))
    distance = kernel.max() - kernel
    return leaves_list(linkage(distance[np.triu_indices(len(kernel), 1)], method="average", optimal_ordering=True))


def _reference_probs(work: Work, observed: Observed, chosen: np.ndarray, reference: Any) -> Float[Tensor, "n V"]:
    """The reference's next-token distributions at the chosen contexts."""
    vocabulary = work.opened.vocabulary
    probs = torch.zeros(len(chosen), vocabulary, dtype=torch.float32)
    if isinstance(reference, TokenSource):
        if reference.vocabulary != vocabulary:
            raise DataError(f"reference has {reference.vocabulary} tokens, the model {vocabulary}")
        probs = probs.double()
        for length in np.unique(observed.position[chosen]):
            rows = np.flatnonzero(observed.position[chosen] == length)
            words = np.stack([work.windows[observed.window[chosen[r]]][:length].numpy() for r in rows])
            probs[torch.from_numpy(rows)] = torch.from_numpy(reference.predict(words))
        return probs
    other = open_model(reference, probe=work.windows[0][None, :64] if len(work.windows[0]) >= 3 else None)
    if other.vocabulary != vocabulary:
        raise DataError(
            f"reference has {other.vocabulary} tokens, the model {vocabulary}; they must be the same tokens"
        )
    with evaluating(other.model), torch.no_grad():
        for window in np.unique(observed.window[chosen]):
            rows = np.flatnonzero(observed.window[chosen] == window)
            _, logits = other(work.windows[window][None])
            places = torch.from_numpy(observed.position[chosen[rows]] - 1)
            probs[torch.from_numpy(rows)] = logits[0, places.to(logits.device)].float().softmax(-1).cpu()
    return probs
