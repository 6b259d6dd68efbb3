"""Information between what is denoised and what the denoiser is told, from the gap between its answers.

Kong et al. 2024, "Interpretable Diffusion via Information Decomposition" (arXiv 2310.07972). With

    z = sqrt(sigmoid(a)) x + sqrt(sigmoid(-a)) e,    e standard normal, a the log-SNR,

and e(z, a | y) the mean of e given z and y, as the best denoiser says it:

    i_s(x; y) = 1/2 integral E |e - e(z)|^2 - |e - e(z|y)|^2 da  =  log p(x|y) / p(x)          (their equation 4)
    i_o(x; y) = 1/2 integral E |e(z) - e(z|y)|^2 da                                            (their equation 5)

with E over the noise. Both have the same mean over x given y, the information in nats, because a best denoiser's error is
orthogonal to everything that can be computed from z and y. i_o is never negative and varies far less; i_s is the log-ratio of this
very x. The squares are sums over channels and places, so each place has its part of either. For information given c put c into both:
i(x; y | c) compares e(z | y, c) with e(z | c).

A network is only near the best denoiser, so its numbers are those of the model's own densities at best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.information._log_snr_quadrature import LogSNRQuadrature, log_snr_quadrature

Denoiser = Callable[[Tensor, Tensor, Any], Tensor]
"""(z, a with one number a row, condition) -> its estimate of the noise in z, of the shape of z."""
Fold = Callable[[Tensor], Tensor]
Pair = tuple[str, str]
GROUPS = 20
"""Parts that the points are dealt into, one after the other, for standard errors of what is computed from several informations."""


@dataclass(frozen=True)
class DenoiserInformation:
    """What n observations and a condition tell of each other, in nats.

    Attributes:
        i_o: by the orthogonality principle, of every place; never negative.
        i_s: the log-ratio, of every place; its sum over places is log p(x|y) / p(x).
        curve_o: the integrand of i_o, summed over places: nats per unit of log-SNR at each point.
        curve_s: that of i_s.
        log_snr: at which the denoiser was asked, ascending.
        quadrature: points and weights of the integral.
        groups_o: i_o from each of `GROUPS` parts of the points alone; their mean, weighted by `group_sizes`, is i_o.
        groups_s: the same of i_s.
        group_sizes: points in each part.
    """

    i_o: Float[Tensor, "n *place"]
    i_s: Float[Tensor, "n *place"]
    curve_o: Float[Tensor, "k n"]
    curve_s: Float[Tensor, "k n"]
    log_snr: Float[Tensor, " k"]
    quadrature: LogSNRQuadrature
    groups_o: Float[Tensor, "group n *place"]
    groups_s: Float[Tensor, "group n *place"]
    group_sizes: Float[Tensor, " group"]

    @property
    def total_o(self) -> Float[Tensor, " n"]:
        """i_o of each observation as a whole."""
        return self.i_o.flatten(1).sum(1) if self.i_o.ndim > 1 else self.i_o

    @property
    def total_s(self) -> Float[Tensor, " n"]:
        """i_s of each observation as a whole: log p(x|y) / p(x)."""
        return self.i_s.flatten(1).sum(1) if self.i_s.ndim > 1 else self.i_s

    @property
    def se_o(self) -> Float[Tensor, " n"]:
        """Standard error of `total_o` over the points."""
        return self.quadrature.standard_error(self.curve_o)

    @property
    def se_s(self) -> Float[Tensor, " n"]:
        """Standard error of `total_s` over the points."""
        return self.quadrature.standard_error(self.curve_s)

    def left_out(self, estimate: str = "i_o") -> Float[Tensor, "group n *place"]:
        """The estimate without each part of the points in turn, for the jackknife of whatever is computed from it."""
        groups = self.groups_o if estimate == "i_o" else self.groups_s
        sizes = self.group_sizes.reshape(-1, *[1] * (groups.ndim - 1))
        sums = groups * sizes
        return (sums.sum(0) - sums) / (sizes.sum() - sizes)


def diffusion_mi(
    denoiser: Denoiser,
    x: Float[Tensor, "n channel *place"],
    cond: Any,
    cond0: Any = None,
    *,
    n_snr: int = 100,
    n_noise: int = 1,
    loc: float = 1.0,
    scale: float = 2.0,
    clip: float = 3.0,
    stratified: bool = True,
    snap: Callable[[Tensor], Tensor] | None = None,
    fold: Fold | None = None,
    rowwise: bool = False,
    block: int = 64,
    seed: int = 0,
) -> DenoiserInformation:
    """Information between observations and a condition, from any denoiser (equations at the head of this module).

    Args:
        denoiser: (z, log_snr, cond) -> the noise it sees in z; any callable that comes near the conditional mean.
        x: clean observations in the denoiser's own scale. The first dimension after n is summed over, the others are places.
        cond: what is told; handed to the denoiser as it is.
        cond0: what is told instead: nothing (None, or what stands for nothing), or c for i(x; y | c) with y and c in `cond`.
        n_snr: log-SNRs.
        n_noise: noises at each.
        loc: of the law of the log-SNRs, see `log_snr_quadrature`.
        scale: of it.
        clip: of it.
        stratified: one log-SNR from each part of the law.
        snap: the nearest log-SNRs that the denoiser knows. Noise is added at these, with the weights of the ones drawn.
        fold: squares (rows, channel, *place) -> (rows, *places of the map); the sum over channels when absent.
        rowwise: conditions have one row an observation and are indexed by a tensor of row numbers, `cond[rows]`.
        block: rows the denoiser is asked at a time.
        seed: of log-SNRs and noise.

    Returns:
        Information in nats at every place and of every observation, with standard errors and the curve over the log-SNR. Both
        conditions meet the same log-SNRs and the same noise.

    Raises:
        DataError: x not finite or without channels, or a denoiser that answers in another shape or not in finite numbers.
        OptionError: an option outside its range.

    Warns:
        EstimatorWarning: fewer than 16 log-SNRs.

    Cost: 2 n n_snr n_noise rows of the denoiser; memory O((block + n) * size of x) and 40 maps.

    Examples:
        x = y + noise of deviation 1/2, y = +-1: y and x share 0.627 nats, and only e(z | y) knows the sign.

        >>> def denoiser(z, log_snr, y):
        ...     signal, noise = log_snr.sigmoid().sqrt()[:, None], (-log_snr).sigmoid().sqrt()[:, None]
        ...     spread = signal**2 / 4 + noise**2
        ...     mean = torch.tanh(signal * z / spread) if y is None else y
        ...     return noise * (z - signal * mean) / spread
        >>> y = torch.tensor([-1.0, 1.0]).repeat(200)[:, None]
        >>> x = y + 0.5 * torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
        >>> found = diffusion_mi(denoiser, x[1::2], 1.0, None, clip=5.0)
        >>> bool(abs(found.total_o.mean() - 0.627) < 0.03)
        True
    """
    found = diffusion_gaps(
        denoiser,
        x,
        {"told": cond, "not told": cond0},
        [("told", "not told")],
        n_snr=n_snr,
        n_noise=n_noise,
        loc=loc,
        scale=scale,
        clip=clip,
        stratified=stratified,
        snap=snap,
        fold=fold,
        rowwise=rowwise,
        block=block,
        seed=seed,
    )
    return found["told", "not told"]


@torch.no_grad()
def diffusion_gaps(
    denoiser: Denoiser,
    x: Float[Tensor, "n channel *place"],
    conditions: Mapping[str, Any],
    pairs: Iterable[Pair],
    *,
    n_snr: int = 100,
    n_noise: int = 1,
    loc: float = 1.0,
    scale: float = 2.0,
    clip: float = 3.0,
    stratified: bool = True,
    snap: Callable[[Tensor], Tensor] | None = None,
    fold: Fold | None = None,
    rowwise: bool = False,
    block: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Pair, DenoiserInformation]:
    """`diffusion_mi` for several conditions at once: each is asked once at every z, and all pairs come from the answers.

    Args:
        denoiser: as in `diffusion_mi`, where the other arguments are described too.
        x: clean observations.
        conditions: name -> condition.
        pairs: (name of what is told, name of what is told instead).
        n_snr: log-SNRs.
        n_noise: noises at each.
        loc: of the law of the log-SNRs.
        scale: of it.
        clip: of it.
        stratified: one log-SNR from each part of the law.
        snap: the nearest log-SNRs that the denoiser knows.
        fold: squares to places.
        rowwise: conditions have one row an observation.
        block: rows at a time.
        seed: of log-SNRs and noise.
        progress: called with rows done and rows in all.

    Returns:
        pair -> its information.

    Raises:
        UnknownNameError: a pair names a condition that is not there.
        DataError: as `diffusion_mi`; also no pair.
        OptionError: an option outside its range.

    Cost: (conditions in use) * n * n_snr * n_noise rows of the denoiser.
    """
    pairs = list(dict.fromkeys((told, instead) for told, instead in pairs))
    names = _used(conditions, pairs)
    _check_observations(x)
    check_range(n_noise, "n_noise", low=1, integer=True)
    check_range(block, "block", low=1, integer=True)
    nodes = log_snr_quadrature(n_snr, loc=loc, scale=scale, clip=clip, stratified=stratified, seed=seed)
    asked = nodes.points.to(x.device, torch.float64 if x.dtype == torch.float64 else torch.float32)
    asked = _snapped(asked, snap)
    generator = torch.Generator().manual_seed(2 * int(seed) + 1)  # of its own, so that points and noise are independent

    sums = {pair: _Sums(pair, nodes, n_noise) for pair in pairs}
    n, draws = len(x), len(nodes) * n_noise
    at_once = max(1, block // n)
    for start in range(0, draws, at_once):
        which = torch.arange(start, min(start + at_once, draws)) // n_noise  # the point of each draw
        noise = torch.stack([torch.randn(x.shape, generator=generator) for _ in which]).to(x.device, x.dtype)
        rows = torch.arange(n).repeat(len(which))
        level = asked[which].repeat_interleave(n)
        noise = noise.flatten(0, 1)
        signal, spread = (torch.sigmoid(sign * level).sqrt().to(x.dtype) for sign in (1, -1))
        shape = (-1, *[1] * (x.ndim - 1))
        z = signal.reshape(shape) * x[rows.to(x.device)] + spread.reshape(shape) * noise
        answers = {
            name: _ask(denoiser, z, level, conditions[name], rows if rowwise else None, int(block), name)
            for name in names
        }
        for pair, one in sums.items():
            told, instead = answers[pair[0]], answers[pair[1]]
            gap = told - instead
            one.add(which, _folded(gap**2, fold), _folded(gap * (2 * noise.double() - told - instead), fold), n)
        if progress is not None:
            progress(min(start + at_once, draws) * n, draws * n)
    return {pair: one.finished(asked) for pair, one in sums.items()}


class _Sums:
    """The sums over points that one pair's information is made of."""

    def __init__(self, pair: Pair, nodes: LogSNRQuadrature, n_noise: int):
        self.nodes, self.share = nodes, 0.5 / n_noise
        self.groups = _group_count(len(nodes))
        self.maps: list[Tensor] = []
        self.curves: list[Tensor] = []

    def add(self, which: Tensor, squares: Tensor, differences: Tensor, n: int) -> None:
        """Rows of |e(z) - e(z|y)|^2 and of |e - e(z)|^2 - |e - e(z|y)|^2 at the points `which`, n rows a draw."""
        parts = [self.share * values.reshape(len(which), n, *values.shape[1:]) for values in (squares, differences)]
        if not self.maps:
            shape = parts[0].shape[1:]
            self.maps = [parts[0].new_zeros(self.groups, *shape) for _ in parts]
            self.curves = [parts[0].new_zeros(len(self.nodes), n) for _ in parts]
        place = which.to(squares.device)
        weights = self.nodes.weights.to(squares.device)[place].reshape(-1, *[1] * (parts[0].ndim - 1))
        for maps, curve, part in zip(self.maps, self.curves, parts, strict=True):
            maps.index_add_(0, place % self.groups, weights * part)
            curve.index_add_(0, place, part.flatten(2).sum(2) if part.ndim > 2 else part)

    def finished(self, asked: Tensor) -> DenoiserInformation:
        sizes = torch.bincount(torch.arange(len(self.nodes)) % self.groups).double().to(self.maps[0].device)
        i_o, i_s = (maps.sum(0) / len(self.nodes) for maps in self.maps)
        by = sizes.reshape(-1, *[1] * i_o.ndim)
        groups_o, groups_s = (maps / by for maps in self.maps)
        return DenoiserInformation(
            i_o=i_o,
            i_s=i_s,
            curve_o=self.curves[0],
            curve_s=self.curves[1],
            log_snr=asked.double(),
            quadrature=self.nodes,
            groups_o=groups_o,
            groups_s=groups_s,
            group_sizes=sizes,
        )


def _group_count(points: int) -> int:
    """At most `GROUPS` parts, equal ones where that leaves enough of them."""
    return next((g for g in range(min(GROUPS, points), GROUPS // 2 - 1, -1) if points % g == 0), min(GROUPS, points))


def neighbours_error(left_out: Float[Tensor, "group *shape"]) -> Float[Tensor, "*shape"]:
    """The standard error of a number from its values without each of g interleaved parts of ordered points.

    sqrt((g - 1)^2 / (2 g) mean (v_g+1 - v_g)^2): between parts that lie next to each other the slope over the points hardly counts,
    which in `jackknife_error` counts as chance.
    """
    g = len(left_out)
    if g < 2:
        return torch.full_like(left_out[0], math.nan)
    return ((g - 1) ** 2 / (2 * g) * left_out.diff(dim=0).square().mean(0)).sqrt()


def jackknife_error(left_out: Float[Tensor, "group *shape"]) -> Float[Tensor, "*shape"]:
    """The standard error of a number from its values without each of g parts: sqrt((g - 1) / g sum (v_g - mean)^2)."""
    g = len(left_out)
    if g < 2:
        return torch.full_like(left_out[0], math.nan)
    return ((g - 1) / g * (left_out - left_out.mean(0)).square().sum(0)).sqrt()


def _used(conditions: Mapping[str, Any], pairs: Sequence[Pair]) -> list[str]:
    if not pairs:
        raise DataError("pairs must have at least one element")
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    for name in names:
        if name not in conditions:
            raise UnknownNameError("condition", name, list(conditions))
    return names


def _check_observations(x: Tensor) -> None:
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(f"x must have the shape (n, channel, places...) and not be empty, got {tuple(x.shape)}")
    if not bool(x.isfinite().all()):
        raise DataError("x must be finite")


def _snapped(points: Tensor, snap: Callable[[Tensor], Tensor] | None) -> Tensor:
    if snap is None:
        return points
    found = snap(points)
    if not isinstance(found, Tensor) or found.shape != points.shape or not bool(found.isfinite().all()):
        raise OptionError("snap must return one finite log-SNR for each that it is given")
    return found


def _folded(squares: Tensor, fold: Fold | None) -> Tensor:
    if fold is None:
        return squares.sum(1)
    out = fold(squares)
    if len(out) != len(squares):
        raise OptionError(f"fold must keep the rows; of {len(squares)} it made {len(out)}")
    return out


def _ask(
    denoiser: Denoiser, z: Tensor, level: Tensor, condition: Any, rows: Tensor | None, block: int, name: str
) -> Tensor:
    """The denoiser's answers to all rows, `block` at a time, in double precision."""
    out = []
    for start in range(0, len(z), block):
        part = slice(start, start + block)
        told = condition if rows is None or condition is None else condition[rows[part]]
        answer = denoiser(z[part], level[part], told)
        if not isinstance(answer, Tensor) or answer.shape != z[part].shape:
            shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise DataError(f"denoiser must answer in the shape of z, {tuple(z[part].shape)}, got {shape}")
        out.append(answer.double())
    answers = torch.cat(out)
    if not bool(answers.isfinite().all()):
        raise DataError(f"denoiser gave values that are not finite for the condition {name!r}")
    return answers
