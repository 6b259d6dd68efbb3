"""The chain of stochastic bottlenecks of information-theoretic hierarchical perception (ITHP).

Xiao et al. 2024, "Neuro-Inspired Information-Theoretic Hierarchical Perception for Multimodal Learning" (arXiv 2404.09403).
A prime modality X0 is compressed into B0 so that B0 still predicts detector X1; B0 is compressed into B1 so that B1 still
predicts detector X2; and so on. The detectors appear in the loss alone: B0 and B1 are functions of X0.

    minimise I(X0;B0) - beta I(B0;X1) + lambda (I(B0;B1) - gamma I(B1;X2))                             (eqs. 2 to 4)
    KL_l  = mean over tokens and dimensions of (mu^2 + exp(logvar) - 1 - logvar) / 2
    MSE_l = mean over tokens and dimensions of (decoder_l(b_l) - x_{l+1})^2
    loss  = KL_0 + beta MSE_0 + lambda (KL_1 + gamma MSE_1)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.objectives import gaussian_kl


@dataclass(frozen=True, eq=False)
class ITHPOutput:
    """What the chain makes of a batch.

    Attributes:
        b: the bottleneck states B0, B1, ..., each (*batch, width); drawn, or the means where nothing was sampled.
        levels: (rate, distortion) of each level: KL in nats a dimension, mean squared error; the distortion is None where
            the detector was not given.
        loss: the information bottleneck objective; None unless all detectors were given.
        mu: means of the states' posteriors.
        logvar: log-variances of the states' posteriors.
    """

    b: list[Tensor]
    levels: list[tuple[Tensor, Tensor | None]]
    loss: Tensor | None
    mu: list[Tensor]
    logvar: list[Tensor]

    @property
    def state(self) -> Float[Tensor, "*batch width"]:
        """The last bottleneck state, which shifts the host."""
        return self.b[-1]


class ITHP(nn.Module):
    """A chain of Gaussian bottlenecks, one for each detector, through which a prime modality is perceived.

    Encoders are Linear - ReLU - dropout - Linear; decoders likewise, followed by a sigmoid (detectors lie in [0, 1]) and,
    as in the official code, by dropout once more. That dropout sets predictions to zero while training, so that the best
    prediction of x is (1 - dropout) x: decoders learn to be too low by 30%. `output_dropout=0` leaves it out.

    Args:
        prime_dim: features of the prime modality.
        detector_dims: features of each detector, in the order of the chain.
        bottleneck_dims: width of each bottleneck.
        beta: weight of the first detector's distortion.
        gamma: weight of the second detector's; of all further ones, or a sequence with one for each.
        lam: weight of the second level against the first; with more levels each is weighted against the one before, so the
            products count; a number for all or a sequence.
        hidden: width of the hidden layers.
        dropout: dropout of encoders and decoders.
        output_dropout: dropout after the decoders' sigmoid; as `dropout` when absent, as published.

    Raises:
        OptionError: an option out of range, or as many bottlenecks as detectors are not given.

    Examples:
        >>> ithp = ITHP(16, [5, 3], bottleneck_dims=(8, 4)).eval()
        >>> out = ithp(torch.rand(2, 7, 16), [torch.rand(2, 7, 5), torch.rand(2, 7, 3)], sample=False)
        >>> [tuple(b.shape) for b in out.b], len(out.levels), out.loss.shape
        ([(2, 7, 8), (2, 7, 4)], 2, torch.Size([]))
        >>> ithp(torch.rand(2, 7, 16)).loss is None
        True
    """

    def __init__(
        self,
        prime_dim: int,
        detector_dims: Sequence[int],
        bottleneck_dims: Sequence[int] = (128, 64),
        beta: float = 8.0,
        gamma: float | Sequence[float] = 32.0,
        lam: float | Sequence[float] = 0.3,
        *,
        hidden: int = 256,
        dropout: float = 0.3,
        output_dropout: float | None = None,
    ):
        super().__init__()
        detector_dims, bottleneck_dims = list(detector_dims), list(bottleneck_dims)
        if not detector_dims or len(detector_dims) != len(bottleneck_dims):
            raise OptionError(
                f"bottleneck_dims={tuple(bottleneck_dims)!r} must have one width for each of the {len(detector_dims)} "
                "detectors, of which there must be at least one"
            )
        for name, values in {
            "prime_dim": [prime_dim],
            "detector_dims": detector_dims,
            "bottleneck_dims": bottleneck_dims,
            "hidden": [hidden],
        }.items():
            for value in values:
                check_range(value, name, low=1, integer=True)
        last = dropout if output_dropout is None else output_dropout
        check_range(dropout, "dropout", low=0, high=1)
        check_range(last, "output_dropout", low=0, high=1)
        self.sizes = (prime_dim, tuple(detector_dims), tuple(bottleneck_dims))
        self.weights = level_weights(len(detector_dims), beta, gamma)
        self.scales = level_scales(len(detector_dims), lam)
        widths = [prime_dim, *bottleneck_dims]
        self.encoders = nn.ModuleList(_two_layers(n, hidden, 2 * m, dropout) for n, m in itertools.pairwise(widths))
        self.decoders = nn.ModuleList(
            nn.Sequential(*_two_layers(m, hidden, d, dropout), nn.Sigmoid(), nn.Dropout(last))
            for m, d in zip(bottleneck_dims, detector_dims, strict=True)
        )

    @property
    def objective_weight(self) -> float:
        """What the objective is multiplied by beside a task loss: 2 / (beta + gamma) (eq. 8), for any number of levels one
        over the mean of their weights; 0 where no detector has a weight, which leaves the host and its task alone.
        """
        total = sum(self.weights)
        return len(self.weights) / total if total > 0 else 0.0

    def forward(
        self,
        prime: Float[Tensor, "*batch feature"],
        detectors: Sequence[Float[Tensor, "..."] | None] | None = None,
        mask: Bool[Tensor, "*batch"] | None = None,
        *,
        detector_masks: Sequence[Bool[Tensor, "*batch"] | None] | None = None,
        sample: bool | None = None,
        generator: torch.Generator | None = None,
    ) -> ITHPOutput:
        """Perceive a batch.

        Args:
            prime: (*batch, prime_dim); of tokens (batch, token, prime_dim).
            detectors: as many tensors (*batch, detector_dim) with values in [0, 1]; None for those that are not there.
            mask: which tokens count in rates and distortions; all of them when absent.
            detector_masks: for each detector, at which tokens it was observed; everywhere when absent.
            sample: draw the states, or take the means; drawn while training when absent.
            generator: source of the draws.

        Raises:
            DataError: another number of detectors, or tensors that are not aligned with the prime modality.
        """
        if prime.shape[-1] != self.prime_dim:
            raise DataError(f"the prime modality has {prime.shape[-1]} features, but {self.prime_dim} are expected")
        sample = self.training if sample is None else sample
        given = self._aligned(prime, detectors)
        observed = list(detector_masks) if detector_masks is not None else [None] * len(given)
        states: list[Tensor] = []
        means: list[Tensor] = []
        logvars: list[Tensor] = []
        levels: list[tuple[Tensor, Tensor | None]] = []
        state = prime
        for level, encoder in enumerate(self.encoders):
            mu, logvar = encoder(state).chunk(2, dim=-1)
            state = mu
            if sample:
                noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
                state = torch.addcmul(mu, noise, (logvar / 2).exp())
            target = given[level]
            error = None
            if target is not None:
                error = _masked_mse(self.decoders[level](state), target, _both(mask, observed[level]))
            levels.append((_mean_kl(mu, logvar, mask), error))
            states.append(state)
            means.append(mu)
            logvars.append(logvar)
        return ITHPOutput(states, levels, self.objective(levels), means, logvars)

    @property
    def prime_dim(self) -> int:
        """Features of the prime modality."""
        return self.sizes[0]

    @property
    def detector_dims(self) -> tuple[int, ...]:
        """Features of each detector."""
        return self.sizes[1]

    @property
    def bottleneck_dims(self) -> tuple[int, ...]:
        """Width of each bottleneck."""
        return self.sizes[2]

    def objective(self, levels: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor | None:
        """The loss of rates and distortions: sum over levels of scale * (rate + weight * distortion)."""
        total: Tensor | None = None
        for (rate, error), weight, scale in zip(levels, self.weights, self.scales, strict=True):
            if error is None:
                return None
            term = scale * (rate + weight * error)
            total = term if total is None else total + term
        return total

    def decode(self, state: Float[Tensor, "*batch width"], level: int) -> Float[Tensor, "*batch feature"]:
        """The detector of a level as its state predicts it, in [0, 1]."""
        decoded: Tensor = self.decoders[level](state)
        return decoded

    def _aligned(self, prime: Tensor, detectors: Sequence[Tensor | None] | None) -> list[Tensor | None]:
        if detectors is None:
            return [None] * len(self.decoders)
        if len(detectors) != len(self.decoders):
            raise DataError(f"{len(detectors)} detectors were given, but the chain has {len(self.decoders)}")
        for i, (detector, size) in enumerate(zip(detectors, self.detector_dims, strict=True)):
            if detector is not None and tuple(detector.shape) != (*prime.shape[:-1], size):
                raise DataError(
                    f"detector {i + 1} has shape {tuple(detector.shape)}, which is not aligned with the prime modality: "
                    f"{(*prime.shape[:-1], size)} is expected"
                )
        return list(detectors)


def level_weights(levels: int, beta: float, gamma: float | Sequence[float]) -> tuple[float, ...]:
    """The weight of each level's distortion: beta, then gamma.

    >>> level_weights(3, 8.0, 32.0)
    (8.0, 32.0, 32.0)
    """
    check_range(beta, "beta", low=0)
    return (float(beta), *_one_for_each(gamma, "gamma", levels - 1))


def level_scales(levels: int, lam: float | Sequence[float]) -> tuple[float, ...]:
    """The weight of each level: 1, lambda, lambda times lambda', ...

    >>> level_scales(3, 0.5)
    (1.0, 0.5, 0.25)
    """
    factors = _one_for_each(lam, "lam", levels - 1)
    return tuple(math.prod(factors[:i], start=1.0) for i in range(levels))


def _one_for_each(value: float | Sequence[float], name: str, count: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * count
    if len(values) != count:
        raise OptionError(f"{name}={value!r} must be one number, or one for each of the {count} levels after the first")
    for number in values:
        check_range(number, name, low=0)
    return tuple(map(float, values))


def _two_layers(n_in: int, hidden: int, n_out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_out))


def _mean_kl(mu: Tensor, logvar: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over tokens and dimensions, where `gaussian_kl` sums over dimensions."""
    mu, logvar = _kept(mu, mask), _kept(logvar, mask)
    return gaussian_kl(mu, logvar) / mu.shape[1] if len(mu) else mu.sum()


def _masked_mse(prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    error = _kept(prediction, mask) - _kept(target, mask)
    return error.square().mean() if len(error) else error.sum()


def _kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """(*batch, feature) as rows, those that count; their gradient is cheaper than that of indexing by a mask."""
    rows = values.flatten(0, -2)
    return rows if mask is None else rows.index_select(0, mask.flatten().nonzero()[:, 0])


def _both(mask: Tensor | None, observed: Tensor | None) -> Tensor | None:
    if mask is None or observed is None:
        return observed if mask is None else mask
    return mask & observed
