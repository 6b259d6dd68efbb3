"""How closely the geometry of hidden states follows the similarity of what they predict.

Zhang 2025 (arXiv 2507.19247), definition 7.6 (Dirichlet energy) and theorem 7.6: for a log-linear head with unit output
vectors g(w), whitened hidden states and a bounded partition function, NLL = -E<gbar_x, h_x> + E log Z, and its minimiser
turns h towards the leading eigenspaces of K(x, x') = <gbar_x, gbar_x'>. The proof is a sketch and needs all of these
assumptions, so what is measured here is association, not equivalence. The two statistics are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from unsnarl.arrays import check_range, check_same_length, to_numpy
from unsnarl.errors import DataError
from unsnarl.information._kernel import centered_kernel_alignment
from unsnarl.measures.language._heads import LanguageHead, as_hidden
from unsnarl.measures.language._metric import fisher_length, metric_coordinates, metric_spectrum

Kernel = Float[np.ndarray, "n n"]


@dataclass(frozen=True, eq=False)
class SpectralAlignment:
    """Hidden states of n contexts held against a kernel K of predictive similarity.

    Attributes:
        cka: linear CKA between the centred h h^T and the centred K, in [0, 1].
        rayleigh: tr(U^T K_c U) / sum of the r largest eigenvalues of K_c, U the whitened hidden states; 1 when they span
            the leading eigenspace. nan where there are no more contexts than dimensions.
        dirichlet: (k,) energy of h . v for the k leading directions v of a metric, over the variance of h . v; empty
            without a metric. Below `mean_kernel`: contexts that predict alike lie near each other along v.
        mean_kernel: the mean of K, what `dirichlet` would be for a direction that has nothing to do with K.
        cka_chance: the CKA of the same with the contexts' order shuffled.
        rayleigh_chance: likewise.
        contexts: n.
    """

    cka: float
    rayleigh: float
    dirichlet: Float[np.ndarray, " k"]
    mean_kernel: float
    cka_chance: float
    rayleigh_chance: float
    contexts: int

    def __repr__(self) -> str:
        energy = f", dirichlet={self.dirichlet[0]:.3f}" if len(self.dirichlet) else ""
        return (
            f"SpectralAlignment(cka={self.cka:.3f} (chance {self.cka_chance:.3f}), rayleigh={self.rayleigh:.3f} "
            f"(chance {self.rayleigh_chance:.3f}){energy}, {self.contexts:,} contexts)"
        )


def spectral_alignment(
    hidden: Any,
    kernel: Any,
    *,
    metric: Any = None,
    directions: int = 8,
    ridge: float = 1e-8,
    allow_few: bool = False,
    seed: int = 0,
) -> SpectralAlignment:
    """CKA, Rayleigh share and Dirichlet energy of hidden states against a kernel of predictive similarity.

    Args:
        hidden: (n, d) one hidden state a context.
        kernel: (n, n) symmetric, such as `predictive_kernel` of the true next-token distributions.
        metric: (d, d), the mean `pullback_metric`; gives the directions of the Dirichlet energies.
        directions: how many leading directions of the metric.
        ridge: variances below this share of the largest are not whitened up.
        allow_few: with no more contexts than dimensions give nan for the Rayleigh share instead of refusing: every
            centred kernel then lies within the span of the hidden states, and the share would be 1 whatever they are.
        seed: of the shuffling behind the chance values.

    Raises:
        DataError: lengths differ, a kernel that is not square and symmetric, constant hidden states, or no more
            contexts than dimensions.
        OptionError: an option out of range.

    Cost: O(n^2 d + n^3); memory O(n^2).

    >>> rng = np.random.default_rng(0)
    >>> h = rng.normal(size=(40, 3))
    >>> found = spectral_alignment(h, h @ h.T)
    >>> round(found.cka, 6), round(found.rayleigh, 6)
    (1.0, 1.0)
    """
    check_range(directions, "directions", low=1, integer=True)
    check_range(ridge, "ridge", low=0)
    check_range(seed, "seed", low=0, integer=True)
    states = as_hidden(hidden, "hidden").detach().cpu().double().numpy()
    if states.ndim != 2:
        raise DataError(f"hidden must be (n, d), got shape {states.shape}")
    k = _checked_kernel(kernel)
    n = check_same_length(hidden=states, kernel=k)
    few = n <= states.shape[1]
    if few and not allow_few:
        raise DataError(
            f"hidden has {n:,} contexts for {states.shape[1]:,} dimensions; whitening needs more contexts than dimensions"
        )
    centred = states - states.mean(axis=0)
    if not np.abs(centred).max() > 1e-12 * max(1.0, float(np.abs(states).max())):
        raise DataError("hidden is constant, so there is no geometry to compare")
    shuffled = centred[np.random.default_rng(seed).permutation(n)]
    gram, chance_gram = centred @ centred.T, shuffled @ shuffled.T
    kc = k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean()
    shares = (math.nan, math.nan) if few else _rayleigh(centred, shuffled, kc, ridge)
    energy = np.empty(0)
    if metric is not None:
        vectors = metric_spectrum(metric).directions
        if len(vectors) != states.shape[1]:
            raise DataError(f"metric is of {len(vectors)} entries, hidden has {states.shape[1]}")
        energy = dirichlet_energy(centred @ vectors[:, :directions], k)
    return SpectralAlignment(
        cka=centered_kernel_alignment(gram, k, kernel="precomputed"),
        rayleigh=shares[0],
        dirichlet=energy,
        mean_kernel=float(k.mean()),
        cka_chance=centered_kernel_alignment(chance_gram, k, kernel="precomputed"),
        rayleigh_chance=shares[1],
        contexts=n,
    )


def _checked_kernel(kernel: Any) -> Kernel:
    k = to_numpy(kernel, "kernel")
    if k.ndim != 2 or k.shape[0] != k.shape[1] or len(k) < 3 or k.dtype.kind not in "iuf":
        raise DataError(f"kernel must be a square matrix of at least 3 contexts, got shape {k.shape} of {k.dtype}")
    k = k.astype(np.float64)
    if not np.isfinite(k).all():
        raise DataError("kernel has values that are not finite")
    if np.abs(k - k.T).max() > 1e-8 * max(float(np.abs(k).max()), 1e-300):
        raise DataError("kernel is not symmetric")
    return k


def _rayleigh(
    centred: Float[np.ndarray, "n d"], shuffled: Float[np.ndarray, "n d"], kc: Kernel, ridge: float
) -> tuple[float, float]:
    """Shares of the hidden states and of their shuffled copy; whitened: U diag(s / sqrt(s^2 + ridge s_1^2))."""
    eigenvalues = np.linalg.eigvalsh(kc)[::-1]
    shares = []
    for states in (centred, shuffled):
        u, s, _ = np.linalg.svd(states, full_matrices=False)
        square = (s / s[0]) ** 2
        kept = square > max(ridge, 1e-24)
        white = u[:, kept] * np.sqrt(square[kept] / (square[kept] + ridge))
        best = float(eigenvalues[: int(kept.sum())].sum())
        shares.append(float(((kc @ white) * white).sum()) / best if best > 0 else math.nan)
    return shares[0], shares[1]


def dirichlet_energy(phi: Any, kernel: Any, *, normalise: bool = True) -> Float[np.ndarray, " functions"]:
    """E(phi) = 1/2 mean_xx' K(x, x') (phi_x - phi_x')^2 of functions on n contexts (definition 7.6), over their variance.

    Args:
        phi: (n,) or (n, functions) values at the contexts.
        kernel: (n, n) symmetric.
        normalise: divide by the variance of phi (ours), so that the unit of phi does not matter.

    Returns:
        (functions,); about the mean of K for values that have nothing to do with K, less where alike contexts have
        alike values.

    Raises:
        DataError: lengths differ, or a constant function where its variance is divided by.

    Cost: O(n^2 functions).

    >>> dirichlet_energy([0.0, 0.0, 1.0, 1.0], np.kron(np.eye(2), np.ones((2, 2))))
    array([0.])
    """
    k = _checked_kernel(kernel)
    values = to_numpy(phi, "phi").astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    n = check_same_length(phi=values, kernel=k)
    values = values - values.mean(axis=0)  # the energy does not change, and rounding is less
    energy = (k.sum(axis=1) @ values**2 - ((k @ values) * values).sum(axis=0)) / n**2
    if not normalise:
        return energy
    variance = values.var(axis=0)
    if not (variance > 0).all():
        raise DataError("phi is constant, so its energy over its variance is undefined")
    return energy / variance


@dataclass(frozen=True)
class DistanceAgreement:
    """Rank correlations, over pairs of contexts, of predictive closeness -log KL(p_h || p_h') with closeness of h.

    Attributes:
        path: with minus the Fisher length of the segment between the two hidden states (`fisher_length`). It sees the
            predictions along the way, those of the pair among them.
        local: with minus the distance in the metrics at the two contexts themselves, the root of the mean of
            dh^T g(h) dh and dh^T g(h') dh; blind where both predictions are nearly certain.
        mean: with minus the distance in one metric for all pairs.
        euclidean: with minus the Euclidean distance of h.
        pairs: number of pairs.
    """

    path: float
    local: float
    mean: float
    euclidean: float
    pairs: int


def distance_agreement(
    model: Any, hidden: Any, metric: Any, *, pairs: int = 4_000, points: int = 16, seed: int = 0
) -> DistanceAgreement:
    """Whether Fisher distances of hidden states tell better than Euclidean ones how far apart two predictions are.

    Args:
        model: as in `pullback_metric`: what turns h into predictions.
        hidden: (n, d) contexts.
        metric: (d, d), such as the mean `pullback_metric` of **other** contexts, so that nothing of these is in it.
        pairs: how many ordered pairs of two different contexts are drawn; all when there are no more.
        points: nodes of the quadrature along the segments.
        seed: of the draw.

    Returns:
        Spearman's correlations; +1 when the closer pairs are always those that predict more alike. For a head that is
        not linear the local distance takes the difference of the logits for J dh.

    Raises:
        DataError: fewer than 3 contexts, or shapes that do not fit.
        OptionError: as `pullback_metric`.

    Cost: O(n V d + pairs (points V + d)): a second a hundred pairs and 16 points at V = 50,000.
    """
    from scipy.stats import spearmanr

    check_range(pairs, "pairs", low=2, integer=True)
    head = LanguageHead.of(model)
    states = as_hidden(hidden, "hidden").detach()
    if states.ndim != 2 or len(states) < 3:
        raise DataError(f"hidden must be (n, d) with at least 3 contexts, got shape {tuple(states.shape)}")
    one, other = _some_pairs(len(states), pairs, np.random.default_rng(seed))
    with torch.no_grad():
        logp = head(states).float().log_softmax(-1).cpu()  # float32: sums over the vocabulary, ranked only
    closeness, local = np.empty(len(one)), np.zeros(len(one))
    for first in range(len(states)):
        p = logp[first].exp()
        mine = np.flatnonzero(one == first)  # KL(p_h || p_h') and the variance of dz at h
        gap = logp[first] - logp[torch.from_numpy(other[mine])]
        mean = gap @ p
        closeness[mine] = -np.log(np.maximum(mean.double().numpy(), 1e-12))
        local[mine] += ((gap - mean[:, None]).square() @ p).double().numpy()
        theirs = np.flatnonzero(other == first)  # the variance at h'
        gap = logp[first] - logp[torch.from_numpy(one[theirs])]
        local[theirs] += ((gap - (gap @ p)[:, None]).square() @ p).double().numpy()
    coordinates = metric_coordinates(metric, states)
    plain = states.cpu().double().numpy()

    def agreement(distance: Float[np.ndarray, " pairs"]) -> float:
        return float(spearmanr(closeness, -distance).statistic)

    return DistanceAgreement(
        path=agreement(
            fisher_length(head, states[torch.from_numpy(one)], states[torch.from_numpy(other)], points=points)
        ),
        local=agreement(local),
        mean=agreement(np.linalg.norm(coordinates[one] - coordinates[other], axis=1)),
        euclidean=agreement(np.linalg.norm(plain[one] - plain[other], axis=1)),
        pairs=len(one),
    )


def _some_pairs(n: int, pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if pairs >= n * (n - 1):
        one, other = np.nonzero(~np.eye(n, dtype=bool))
        return one, other
    chosen = rng.choice(n * (n - 1), size=pairs, replace=False)
    one, other = chosen // (n - 1), chosen % (n - 1)
    return one, other + (other >= one)
