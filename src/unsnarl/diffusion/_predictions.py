"""What denoisers predict, and how one prediction becomes another.

With x the clean latents, e standard normal noise, and a the log-SNR,

    z = sqrt(sigmoid(a)) x + sqrt(sigmoid(-a)) e            the variance-preserving channel,

a denoiser may predict e ("epsilon"; Ho et al. 2020), x ("sample"), v = sqrt(sigmoid(a)) e - sqrt(sigmoid(-a)) x
("v_prediction"; Salimans and Ho 2022, arXiv 2202.00512), or, in the channel z' = (1 - s) x + s e of rectified flow, the velocity
e - x ("flow"; Esser et al. 2024, arXiv 2403.03206). z' is z times a number, sqrt((1 - s)^2 + s^2), at a = 2 log((1 - s) / s), so
that each tells the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_choice

PREDICTIONS = ("epsilon", "sample", "v_prediction", "flow")


def signal_and_noise(log_snr: Float[Tensor, " n"], ndim: int = 4) -> tuple[Tensor, Tensor]:
    """sqrt(sigmoid(a)) and sqrt(sigmoid(-a)), shaped to multiply tensors of so many dimensions."""
    shape = (-1,) + (1,) * (ndim - 1)
    return torch.sigmoid(log_snr).sqrt().reshape(shape), torch.sigmoid(-log_snr).sqrt().reshape(shape)


def flow_share(log_snr: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """s, the share of noise in rectified flow, at a log-SNR.

    Examples:
        >>> flow_share(torch.tensor([0.0])).item()
        0.5
    """
    return torch.sigmoid(-log_snr / 2)


def flow_log_snr(share: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The log-SNR at a share of noise in rectified flow: 2 log((1 - s) / s)."""
    return -2 * torch.logit(share)


def flow_norm(share: Float[Tensor, " n"], ndim: int = 4) -> Tensor:
    """sqrt((1 - s)^2 + s^2): z of rectified flow over z of the variance-preserving channel."""
    return ((1 - share) ** 2 + share**2).sqrt().reshape((-1,) + (1,) * (ndim - 1))


def target_of(
    kind: str, x: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], log_snr: Float[Tensor, " n"]
) -> Float[Tensor, "n *shape"]:
    """What a denoiser of a kind should have said, given what is hidden.

    Args:
        kind: "epsilon", "sample", "v_prediction" or "flow".
        x: clean latents.
        noise: what was added.
        log_snr: a.

    Raises:
        OptionError: another kind.
    """
    check_choice(kind, PREDICTIONS, "kind")
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return x
    if kind == "flow":
        return noise - x
    signal, rest = signal_and_noise(log_snr, x.ndim)
    return signal * noise - rest * x


def to_noise(
    kind: str, prediction: Float[Tensor, "n *shape"], z: Float[Tensor, "n *shape"], log_snr: Float[Tensor, " n"]
) -> Float[Tensor, "n *shape"]:
    """The noise that a prediction stands for.

    Args:
        kind: of the prediction.
        prediction: a denoiser's answer.
        z: the noisy latents in the variance-preserving channel, for "flow" too.
        log_snr: a.

    Raises:
        OptionError: another kind.
    """
    check_choice(kind, PREDICTIONS, "kind")
    if kind == "epsilon":
        return prediction
    signal, rest = signal_and_noise(log_snr, z.ndim)
    if kind == "v_prediction":
        return signal * prediction + rest * z
    if kind == "sample":
        return (z - signal * prediction) / rest
    share = flow_share(log_snr)
    inside = (1 - share).reshape((-1,) + (1,) * (z.ndim - 1))
    return z * flow_norm(share, z.ndim) + inside * prediction


def to_clean(
    kind: str, prediction: Float[Tensor, "n *shape"], z: Float[Tensor, "n *shape"], log_snr: Float[Tensor, " n"]
) -> Float[Tensor, "n *shape"]:
    """The clean latents that a prediction stands for; arguments as in `to_noise`.

    Raises:
        OptionError: another kind.
    """
    check_choice(kind, PREDICTIONS, "kind")
    if kind == "sample":
        return prediction
    signal, rest = signal_and_noise(log_snr, z.ndim)
    if kind == "v_prediction":
        return signal * z - rest * prediction
    if kind == "epsilon":
        return (z - rest * prediction) / signal
    share = flow_share(log_snr)
    return z * flow_norm(share, z.ndim) - share.reshape((-1,) + (1,) * (z.ndim - 1)) * prediction
