"""The training loss of a denoiser, with places and images that count more or less."""

from __future__ import annotations

from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional

from unsnarl.arrays import check_choice
from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import DataError


def masked_mean(
    squares: Float[Tensor, "n c h w"], mask: Shaped[Tensor, "rows height width"] | None
) -> Float[Tensor, " n"]:
    """The mean over channels and places, places weighing as the mask says; the mask is averaged down to the places.

    Raises:
        DataError: a mask of another number of rows, below 0, or empty for an image.
    """
    by_place = squares.mean(1)
    if mask is None:
        return by_place.flatten(1).mean(1)
    if mask.ndim != 3 or len(mask) != len(squares):
        raise DataError(f"mask must have the shape (n, height, width) with n = {len(squares)}, got {tuple(mask.shape)}")
    weights = mask.to(squares)
    if bool((weights < 0).any()):
        raise DataError("mask must not be negative")
    _, height, width = by_place.shape
    if weights.shape[1:] != (height, width):
        weights = functional.adaptive_avg_pool2d(weights[:, None], (height, width))[:, 0]
    total = weights.flatten(1).sum(1)
    empty = int((total <= 0).sum())
    if empty:
        raise DataError(f"mask is empty for {empty} of {len(mask)} images")
    return (by_place * weights).flatten(1).sum(1) / total


def diffusion_loss(
    host: Host,
    latents: Float[Tensor, "n c h w"],
    condition: Condition,
    times: Shaped[Tensor, " n"],
    noise: Float[Tensor, "n c h w"],
    *,
    mask: Bool[Tensor, "n height width"] | Float[Tensor, "n height width"] | None = None,
    weight: Float[Tensor, " n"] | None = None,
    reduction: str = "mean",
) -> Float[Tensor, "*n"]:
    """|target - prediction|^2 of a host in its own channel, averaged over channels and places.

    Args:
        host: whose denoiser is asked, once.
        latents: clean.
        condition: of one row or of n.
        times: of the noise.
        noise: standard normal.
        mask: places that count, in the size of the latents or of the images: the loss is the weighted mean over places.
        weight: of each image.
        reduction: "mean" over images, or "none".

    Raises:
        DataError: a mask of another shape, negative, or empty for an image.
        OptionError: another reduction.
    """
    check_choice(reduction, ("mean", "none"), "reduction")
    predicted = host.predict(host.add_noise(latents, times, noise), times, condition)
    losses = masked_mean((predicted - host.target(latents, times, noise)) ** 2, mask)
    if weight is not None:
        losses = losses * weight.to(losses)
    return losses.mean() if reduction == "mean" else losses
