"""Integrals over all log-SNRs from few of them: importance sampling by a truncated logistic law.

Information read off a denoiser is an integral over a, the log-SNR of the noise (Kong et al. 2023, arXiv 2302.03792; Kong et al.
2024, arXiv 2310.07972), of something that is small at both ends. With q uniform between L = sigmoid(-clip) and R = sigmoid(clip),

    a = loc + scale logit(q),    u = (a - loc) / scale,    density of a:  sigmoid(u) sigmoid(-u) / (scale (R - L)),

so that the integral of f is the mean of f(a) times weight(a) = scale (R - L) / (sigmoid(u) sigmoid(-u)), and R - L = tanh(clip / 2).
What lies outside loc +- scale clip is left out. A uniform law over the same range has the density 1 / (width of the range) and so the
weight (width); code in circulation weights its uniform sampler by 1 / (width), 144 times too little over [-5, 7].

*Stratified*: one q from each of n equal parts of [L, R]. Every a has the same law as before and the mean the same expectation,
with far less chance in it, since neighbouring a give nearly the same f.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.information._reliability import _warn

LAWS = ("logistic", "uniform")
FEWEST = 16
"""Below so many points the standard error itself is a guess."""


@dataclass(frozen=True)
class LogSNRQuadrature:
    """Log-SNRs, ascending, with the weights that turn a mean over them into an integral.

    Attributes:
        points: log-SNRs, double precision.
        weights: by which to multiply f before the mean is taken.
        low: where the integral begins.
        high: where it ends.
        stratified: whether each point is from its own part of the law.

    Examples:
        >>> nodes = log_snr_quadrature(200, clip=8.0)
        >>> bell = torch.exp(-(nodes.points**2) / 2) / math.sqrt(2 * math.pi)
        >>> round(nodes.integrate(bell).item(), 2)
        1.0
    """

    points: Float[Tensor, " k"]
    weights: Float[Tensor, " k"]
    low: float
    high: float
    stratified: bool

    def __len__(self) -> int:
        return len(self.points)

    def integrate(self, values: Shaped[Tensor, "k *shape"]) -> Float[Tensor, "*shape"]:
        """The integral of what takes these values at the points, over [low, high].

        Raises:
            DataError: not one value a point.
        """
        return self.terms(values).mean(0)

    def standard_error(self, values: Shaped[Tensor, "k *shape"]) -> Float[Tensor, "*shape"]:
        """The standard error of `integrate`, from the points alone.

        Independent points: the deviation of weight times value over sqrt(k). Stratified points: from the differences of
        neighbours, which is what is left of the variance but for the slope of f, so on the safe side.

        Raises:
            DataError: not one value a point.
        """
        terms = self.terms(values)
        k = len(terms)
        if k < 2:
            return torch.full_like(terms[0], math.nan)
        if self.stratified:
            return (terms.diff(dim=0).square().sum(0) / (2 * (k - 1) * k)).sqrt()
        return terms.std(0) / math.sqrt(k)

    def terms(self, values: Shaped[Tensor, "k *shape"]) -> Float[Tensor, "k *shape"]:
        """Weight times value, whose mean is the integral.

        Raises:
            DataError: not one value a point.
        """
        if values.ndim == 0 or len(values) != len(self):
            raise DataError(f"values must have one row a point ({len(self)}), got the shape {tuple(values.shape)}")
        return values.double() * self.weights.to(values.device).reshape(-1, *[1] * (values.ndim - 1))


def log_snr_quadrature(
    n: int = 100,
    *,
    loc: float = 1.0,
    scale: float = 2.0,
    clip: float = 3.0,
    law: str = "logistic",
    stratified: bool = True,
    seed: int = 0,
) -> LogSNRQuadrature:
    """Points and weights for an integral over the log-SNR, as at the head of this module.

    Args:
        n: points.
        loc: centre of the logistic law. The published runs on Stable Diffusion have 1.
        scale: of the law; 2 in the published runs.
        clip: where it is truncated, in units of scale: 3 in the published runs, so that the integral is over [-5, 7].
        law: "logistic", or "uniform" over the same range, which has more of its points where little is told.
        stratified: one point from each of n equal parts of the law; False draws them independently, as published.
        seed: of the points.

    Raises:
        OptionError: no point, a scale or clip that is not above 0, another law, or a negative seed.

    Warns:
        EstimatorWarning: fewer than 16 points.

    Cost: O(n).

    Examples:
        >>> nodes = log_snr_quadrature(64)
        >>> nodes.low, nodes.high, bool((nodes.points.diff() > 0).all())
        (-5.0, 7.0, True)
    """
    check_range(n, "n", low=1, integer=True)
    check_range(loc, "loc")
    check_range(scale, "scale", low=0, open_low=True)
    check_range(clip, "clip", low=0, high=20, open_low=True)
    check_choice(law, LAWS, "law")
    check_range(seed, "seed", low=0, integer=True)
    if n < FEWEST:
        _warn(
            f"{n} log-SNRs are few for an integral over all of them (at least {FEWEST}); its standard error is a guess"
        )
    uniform = torch.rand(int(n), generator=torch.Generator().manual_seed(int(seed)), dtype=torch.float64)
    if stratified:
        uniform = (torch.arange(int(n), dtype=torch.float64) + uniform) / n
    low, high = loc - scale * clip, loc + scale * clip
    if law == "uniform":
        points = low + (high - low) * uniform.sort().values
        return LogSNRQuadrature(points, torch.full_like(points, high - low), low, high, stratified)
    share = math.tanh(clip / 2)
    # q = sigmoid(-clip) + share * uniform; both q and 1 - q are written without cancellation
    below = torch.sigmoid(torch.tensor(-float(clip), dtype=torch.float64))
    q, rest = below + share * uniform, below + share * (1 - uniform)
    points = loc + scale * (q.log() - rest.log())
    order = points.argsort()
    weights = scale * share / (q * rest)
    return LogSNRQuadrature(points[order], weights[order], low, high, stratified)
