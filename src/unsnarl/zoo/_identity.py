"""The identity encoder: a unit vector for who an object is, whatever its place, size, pose and background.

It is trained by supervised contrast (Khosla et al. 2020, arXiv 2004.11362) on photos of random instances,

    L = -mean_i mean_{p in P(i)} log( exp(z_i z_p / tau) / sum_{a != i} exp(z_i z_a / tau) ),

P(i) being the other photos of i's instance in the batch. Half of every batch are instances of one kind, so that kind alone does not
tell them apart. It sees crops of objects: a square about the object, with whatever background it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unsnarl.data.scenes import THINGS, photo, random_instance, render_scenes, to_signed
from unsnarl.training import EMA, Task
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._networks import ResidualBlock
from unsnarl.zoo._schedule import adamw, cosine_rate, set_rate

SIDE = 24  # pixels of a crop
MARGIN = 1.15  # side of the crop over the larger side of the object's box
KNOWN = 5_000  # instances that are trained on; later ones are for testing


class IdentityNetwork(nn.Module):
    """Crops (n, 3, 24, 24) in [-1, 1] to unit vectors (n, 64)."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 48, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(48, 64, 4, stride=2, padding=1),
            ResidualBlock(64),
            nn.Conv2d(64, 96, 4, stride=2, padding=1),
            ResidualBlock(96),
            nn.GroupNorm(8, 96),
            nn.SiLU(),
        )
        self.head = nn.Linear(96 * (SIDE // 4) ** 2, width)

    def forward(self, crops: Float[Tensor, "n 3 24 24"]) -> Float[Tensor, "n width"]:
        """Unit vectors."""
        return functional.normalize(self.head(self.body(crops).flatten(1)), dim=1)


def crop_objects(
    images: Float[Tensor, "n 3 side side"], centres: Float[Tensor, "n 2"], sides: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 24 24"]:
    """Square crops, resampled to 24 x 24 pixels; what lies outside the image repeats its edge.

    Args:
        images: n images.
        centres: x and y as shares of the width.
        sides: of the squares, as shares of the width.
    """
    line = (torch.arange(SIDE, device=images.device) + 0.5) / SIDE - 0.5
    grid_y, grid_x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([grid_x, grid_y], dim=-1)[None] * sides[:, None, None, None] + centres[:, None, None, :]
    return functional.grid_sample(images, 2 * grid - 1, mode="bilinear", padding_mode="border", align_corners=False)


def supervised_contrast(
    vectors: Float[Tensor, "n width"], who: Int[Tensor, " n"], temperature: float = 0.1
) -> Float[Tensor, ""]:
    """The loss of this module, over all vectors that have another of their own in the batch."""
    itself = torch.eye(len(who), dtype=torch.bool, device=who.device)
    scores = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    own = (who[:, None] == who[None, :]) & ~itself
    log_share = scores - scores.logsumexp(1, keepdim=True)
    means = log_share.masked_fill(~own, 0.0).sum(1) / own.sum(1).clamp(min=1)
    return -means[own.any(1)].mean()


class IdentityTask(Task):
    """The network trained by `supervised_contrast`; what is kept is the average over the last steps."""

    def __init__(self, *, steps: int, lr: float = 1e-3):
        super().__init__()
        self.network = IdentityNetwork()
        self.average = EMA(self.network, steps=200)
        self.steps, self.lr = steps, lr

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW."""
        optimizer = adamw(self.network, lr=self.lr, weight_decay=0.05, betas=(0.9, 0.99), clip_norm=1.0)
        self.average.follow(self.network, optimizer)
        return {"main": optimizer}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss."""
        set_rate(self.optimizers_["main"], cosine_rate(step, self.steps, 200))
        images, centres, sides, who = batch
        noise = torch.randn(len(who), 3, generator=generator)
        centres = centres + 0.06 * sides[:, None] * noise[:, :2]  # detections are not exact
        sides = sides * (0.1 * noise[:, 2]).exp()
        crops = crop_objects(degrade(images, generator, 0.5), centres, sides)
        return {"loss": supervised_contrast(self.network(crops), who)}


class IdentityBatches:
    """Step t -> photos of instances: images, centres, sides of the crops, and which instance each shows.

    Args:
        instances: a step.
        views: photos of each.
        seed: of everything.
        first: number of the first instance that may be drawn, and how many there are.
        many: how many there are.
    """

    def __init__(self, instances: int = 24, views: int = 4, seed: int = 0, first: int = 0, many: int = KNOWN):
        self.instances, self.views, self.seed, self.first, self.many = instances, views, seed, first, many

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        generator = np.random.default_rng([self.seed, step, 23])
        kind = THINGS[generator.integers(len(THINGS))]
        numbers = self.first + generator.integers(self.many, size=self.instances)
        shown = [
            random_instance(self.seed, int(n), kind=kind if i < self.instances // 2 else None)
            for i, n in enumerate(numbers)
        ]
        start = step * self.instances * self.views
        scenes = [
            photo(one, self.seed, start + i * self.views + v) for i, one in enumerate(shown) for v in range(self.views)
        ]
        return *photo_tensors(scenes), torch.arange(self.instances).repeat_interleave(self.views)


def photo_tensors(scenes: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Signed images of scenes, and centre and side of the crop about their first object, from its visible box."""
    drawn = render_scenes(scenes)
    boxes = torch.from_numpy(drawn.boxes()[:, 0]).float() / drawn.images.shape[-1]
    centres = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    sides = MARGIN * (boxes[:, 2:] - boxes[:, :2]).amax(1).clamp(min=0.2)
    return to_signed(drawn.images), centres, sides
