"""ProtoPNet's networks, losses and optimisers.

z      = add-on(backbone(x))            1x1 conv - ReLU - 1x1 conv - sigmoid, (batch, dim, h, w)
d      = squared distances of z to the prototypes, (batch, prototype, h, w);  g = log((min d + 1) / (min d + eps))
logits = g W^T                          no bias; W starts at 1 for the own class, -0.5 for others
loss   = CE + .8 Clst - .08 Sep + 1e-4 sum |W of other classes|
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.nn.prototypes._points import PointPrototypes, cluster_cost, other_class_l1, separation_cost
from unsnarl.systems.prototypes.protopnet._plan import JOINT, LAST, WARM, Epoch
from unsnarl.training import Task


class ProtoPNetTask(Task):
    """Networks and losses; what push found out is in buffers, so that it is saved with the weights.

    Args:
        backbone: images -> maps (batch, channels, h, w).
        channels: of those maps.
        shape: (channels, height, width) of one image as users give it.
        class_of: class of every prototype.
        n_classes: number of classes.
        dim: numbers of a latent vector.
        epsilon: eps of the similarity.
        resize: images are resized to this height and width before the backbone; None leaves them.
        weights: of "cluster", "separation" and "l1" in the loss.
        rates: learning rates of "backbone", "add_on", "prototypes" and "last".
        weight_decay: L2 decay of backbone and add-on layers.
        gamma: the joint rates are multiplied by this every `decay_every` joint epochs.
        decay_every: see `gamma`.
        keep_images: whether the images that prototypes were pushed to are kept, as bytes.
    """

    mean: Tensor
    std: Tensor
    pushed: Tensor
    checksums: Tensor
    source: Tensor
    position: Tensor
    field: Tensor
    images: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        shape: Sequence[int],
        class_of: Sequence[int],
        n_classes: int,
        *,
        dim: int,
        epsilon: float,
        resize: int | None,
        weights: dict[str, float],
        rates: dict[str, float],
        weight_decay: float,
        gamma: float,
        decay_every: int,
        keep_images: bool,
    ):
        super().__init__()
        self.backbone = backbone
        self.add_on = nn.Sequential(nn.Conv2d(channels, dim, 1), nn.ReLU(), nn.Conv2d(dim, dim, 1), nn.Sigmoid())
        for layer in self.add_on:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        self.prototypes = PointPrototypes(class_of, dim, epsilon=epsilon)
        self.last = nn.Linear(len(self.prototypes), n_classes, bias=False)
        self.last.weight.data.copy_(self.prototypes.class_weights(n_classes))
        self.resize, self.weights, self.rates, self.weight_decay = resize, weights, rates, weight_decay
        self.gamma, self.decay_every = gamma, decay_every
        self.plan: list[Epoch] = []
        self.steps_per_epoch = 1
        self.last_sees_images = False  # otherwise its batches are similarities
        self.register_buffer("mean", torch.zeros(shape[0], 1, 1))
        self.register_buffer("std", torch.ones(shape[0], 1, 1))
        n = len(self.prototypes)
        self.register_buffer("pushed", torch.zeros((), dtype=torch.bool))
        self.register_buffer("checksums", torch.zeros(2, dtype=torch.long))
        self.register_buffer("source", torch.full((n,), -1, dtype=torch.long))
        self.register_buffer("position", torch.zeros(n, 2, dtype=torch.long))
        self.register_buffer("field", torch.zeros(n, 4, dtype=torch.long))
        self.register_buffer("images", torch.zeros(n if keep_images else 0, *shape, dtype=torch.uint8))

    # ---- networks -------------------------------------------------------------------------------------------------

    def to_network(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel h2 w2"]:
        """Images in [0, 1] as the backbone wants them: resized, then normalised."""
        if self.resize is not None and tuple(x.shape[2:]) != (self.resize, self.resize):
            size = (self.resize, self.resize)
            x = nn.functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        return (x - self.mean) / self.std

    def latents(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch dim rows columns"]:
        """The map of latent vectors of images in [0, 1]."""
        return self.add_on(self.backbone(self.to_network(x)))

    def distances(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch prototype rows columns"]:
        """Squared distance of every place to every prototype."""
        return self.prototypes(self.latents(x))

    def similarities(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch prototype"]:
        """Similarity of the most similar place."""
        return self.prototypes.similarity(self.prototypes.nearest(self.distances(x))[0])

    # ---- learning -------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each phase; decay is on backbone and add-on layers, not on prototypes or the last layer."""

        def group(module: nn.Module, name: str, decay: float = 0.0) -> dict[str, Any]:
            rate = self.rates[name]
            return {"params": list(module.parameters()), "lr": rate, "weight_decay": decay, "base_lr": rate}

        add_on, prototypes = group(self.add_on, "add_on", self.weight_decay), group(self.prototypes, "prototypes")
        backbone, last = group(self.backbone, "backbone", self.weight_decay), group(self.last, "last")
        return {
            WARM: torch.optim.Adam([dict(add_on), dict(prototypes)]),
            JOINT: torch.optim.Adam([g for g in (backbone, add_on, prototypes) if g["params"]]),
            LAST: torch.optim.Adam([last]),
        }

    def epoch(self, step: int) -> Epoch:
        """The pass that a step belongs to."""
        return self.plan[step // self.steps_per_epoch]

    def schedule(self, step: int) -> Sequence[str]:
        """One phase a step."""
        return (self.epoch(step).phase,)

    def losses(
        self, nearest: Float[Tensor, "batch prototype"], labels: Int[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, ""]]:
        """All terms of the loss, from the distance of the nearest place to each prototype."""
        own = self.prototypes.is_own(labels)
        logits = self.last(self.prototypes.similarity(nearest))
        terms = {
            "cross_entropy": nn.functional.cross_entropy(logits, labels),
            "cluster": cluster_cost(nearest, own),
            "separation": separation_cost(nearest, own),
            "l1": other_class_l1(self.last.weight, self.prototypes.class_of),
        }
        loss = (
            terms["cross_entropy"]
            + self.weights["cluster"] * terms["cluster"]
            - self.weights["separation"] * terms["separation"]
            + self.weights["l1"] * terms["l1"]
        )
        return {"loss": loss, **terms, "accuracy": (logits.argmax(1) == labels).float().mean()}

    def last_losses(
        self, similarities: Float[Tensor, "batch prototype"], labels: Int[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, ""]]:
        """CE and L1: all that depends on the last layer."""
        logits = self.last(similarities)
        terms = {
            "cross_entropy": nn.functional.cross_entropy(logits, labels),
            "l1": other_class_l1(self.last.weight, self.prototypes.class_of),
        }
        loss = terms["cross_entropy"] + self.weights["l1"] * terms["l1"]
        return {"loss": loss, **terms, "accuracy": (logits.argmax(1) == labels).float().mean()}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss of one phase; the batch is (images, labels), or (similarities, labels) for the last layer."""
        x, labels = batch
        if phase == LAST:
            if self.last_sees_images:
                with torch.no_grad():
                    self.eval()  # running statistics must not move, or the pushed patches would no longer be patches
                    x = self.similarities(x)
                    self.train()
            return self.last_losses(x, labels)
        if phase == WARM:
            with torch.no_grad():
                maps = self.backbone(self.to_network(x))
            distance = self.prototypes(self.add_on(maps))
        else:
            factor = self.gamma ** (self.epoch(step).joint // self.decay_every)
            for group in self.optimizers_[JOINT].param_groups:
                group["lr"] = group["base_lr"] * factor
            distance = self.distances(x)
        return self.losses(self.prototypes.nearest(distance)[0], labels)

    # ---- push -----------------------------------------------------------------------------------------------------

    def checksum(self) -> Int[Tensor, "2"]:
        """Numbers that change when the networks before the prototypes change, and when the prototypes do."""
        networks = [*self.backbone.state_dict().values(), *self.add_on.state_dict().values(), self.mean, self.std]
        return torch.stack([_sum_of_bits(networks), _sum_of_bits([self.prototypes.vectors])])

    def push_state(self) -> str:
        """Whether prototypes are patches of images: "pushed", "never", or "stale" when anything was trained since."""
        if not bool(self.pushed):
            return "never"
        return "pushed" if torch.equal(self.checksum().cpu(), self.checksums.cpu()) else "stale"

    def keep(self, chosen: Tensor) -> None:
        """Drop all prototypes but the chosen ones."""
        self.prototypes.keep(chosen)
        last = nn.Linear(int(chosen.sum()), self.last.out_features, bias=False).to(self.last.weight.device)
        last.weight.data.copy_(self.last.weight.detach()[:, chosen])
        self.last = last
        for name in ("source", "position", "field"):
            setattr(self, name, getattr(self, name)[chosen].clone())
        if len(self.images):
            self.images = self.images[chosen].clone()
        if bool(self.pushed):
            self.checksums[1] = self.checksum()[1]


def _sum_of_bits(tensors: Sequence[Tensor]) -> Int[Tensor, ""]:
    """The floats' bits as integers, summed with a weight for each tensor; exact, so the same on every machine."""
    total = torch.zeros((), dtype=torch.long)
    for place, tensor in enumerate(tensors):
        if tensor.is_floating_point():
            total += (2 * place + 1) * tensor.detach().cpu().float().contiguous().view(torch.int32).long().sum()
    return total
