"""What is trained: encoder, decoder, prototypes and votes, in two stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.nn.prototypes._gaussian import GaussianPrototypes
from unsnarl.objectives import gaussian_kl, gaussian_sample
from unsnarl.systems.prototypes.prob_psenn._losses import r1_loss, r2_loss, squared_distances, vote_logits, vote_nll
from unsnarl.systems.prototypes.prob_psenn._networks import brightened_and_zoomed
from unsnarl.training import Task

PARTS = ("encoder", "decoder", "prototypes", "votes")


class ClassPoints(nn.Module):
    """One learned vector a class: the point prototypes of Li et al. (2018), with the verbs of `GaussianPrototypes`."""

    def __init__(self, n: int, dim: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n, dim))

    @property
    def means(self) -> Float[Tensor, "n dim"]:
        """The vectors."""
        return self.vectors

    def modes(self) -> Float[Tensor, "n dim"]:
        """The vectors."""
        return self.vectors.detach().clone()

    def sample(self, samples: int, generator: torch.Generator | None = None) -> Float[Tensor, "sample n dim"]:
        """The vectors, as often as asked: all draws are the same."""
        return self.vectors.expand(samples, -1, -1)

    @torch.no_grad()
    def fit_(
        self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"], *, seed: int = 0
    ) -> ClassPoints:
        """Set each vector to the mean of its class."""
        for k in range(len(self.vectors)):
            self.vectors[k] = features[labels == k].mean(0)
        return self


class ProbPSENNTask(Task):
    """Stage "autoencoder" trains encoder and decoder alone; stage "joint" trains the chosen parts on all terms.

    Args:
        encoder: images in [-1, 1] -> means and log variances of codes (batch, 2 z_dim), or codes (batch, z_dim).
        decoder: codes -> images in [-1, 1].
        prototypes: one a class.
        n_classes: K.
        variational: whether the encoder gives log variances.
        weights: of the terms "nll", "reconstruction", "r1", "r2" and "kl".
        pretrain_reconstruction: weight of the reconstruction in stage "autoencoder".
        trained: which parts stage "joint" trains.
        augmented: whether the encoder sees images of changed brightness and zoom while training.
        stored: how many training distances there is room for.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prototypes: GaussianPrototypes | ClassPoints,
        n_classes: int,
        *,
        variational: bool = True,
        weights: dict[str, float],
        pretrain_reconstruction: float = 10.0,
        trained: Sequence[str] = PARTS,
        augmented: bool = False,
        n_samples: int = 10,
        lr: float = 1e-3,
        stored: int = 0,
    ):
        super().__init__()
        self.encoder, self.decoder, self.prototypes = encoder, decoder, prototypes
        noise = 2e-8 * torch.rand(n_classes, n_classes) - 1e-8
        self.votes = nn.Parameter(-0.5 * torch.eye(n_classes) + noise)
        self.variational, self.weights, self.trained = variational, dict(weights), tuple(trained)
        self.pretrain_reconstruction = pretrain_reconstruction
        self.augmented, self.n_samples, self.lr = augmented, n_samples, lr
        self.stage = "joint"
        self.register_buffer("distances", torch.zeros(stored))  # of training data to the prototype of their class
        self.register_buffer("distance_ends", torch.zeros(n_classes, dtype=torch.long))  # where each class ends there
        self.register_buffer(
            "distance_samples", torch.zeros((), dtype=torch.long)
        )  # over how many draws they are means

    # ---- training -------------------------------------------------------------------------------------------------

    def start_stage(self, stage: str) -> None:
        """Make a stage's parts, and no others, ready to be trained."""
        self.stage = stage
        wanted = ("encoder", "decoder") if stage == "autoencoder" else self.trained
        for name in PARTS:
            part = getattr(self, name)
            for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
                parameter.requires_grad_(name in wanted)

    def train(self, mode: bool = True) -> ProbPSENNTask:
        """Training mode; networks that are not trained keep the statistics of their batch norms."""
        super().train(mode)
        if mode and self.stage == "joint":
            for name in ("encoder", "decoder"):
                if name not in self.trained:
                    getattr(self, name).eval()
        return self

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam over what the stage trains."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return {self.stage: torch.optim.Adam(parameters, lr=self.lr)}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The terms of the loss; "loss" is their weighted sum.

        Encodings are draws here, mu + exp(logvar / 2) eps, and the draws of prototypes are fresh in every step.
        """
        x, y = batch
        mu, logvar = self.posterior(brightened_and_zoomed(x, generator) if self.augmented else x)
        z = mu if logvar is None else gaussian_sample(mu, logvar, generator)
        w = self.weights
        terms = {"reconstruction": (x - self.decoder(z)).square().mean()}
        if logvar is not None:
            terms["kl"] = gaussian_kl(mu, logvar)
        if phase == "autoencoder":
            w = w | {"reconstruction": self.pretrain_reconstruction}
            return {"loss": sum(w[name] * value for name, value in terms.items()), **terms}  # type: ignore[dict-item]
        draws = self.prototypes.sample(self.n_samples if self.probabilistic else 1, generator)
        logits = vote_logits(squared_distances(z, draws), self.votes)
        surprise = self.surprise(z)
        terms |= {"nll": vote_nll(logits, y), "r1": r1_loss(surprise), "r2": r2_loss(surprise, y)}
        loss: Any = sum(w[name] * value for name, value in terms.items() if w[name])
        with torch.no_grad():
            right = (logits.softmax(2).mean(1).argmax(1) == y).float().mean()
        return {"loss": loss, **terms, "accuracy": right}

    @property
    def probabilistic(self) -> bool:
        """False for point prototypes."""
        return isinstance(self.prototypes, GaussianPrototypes)

    def surprise(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """-log density of encodings under each prototype, or their squared distances to points."""
        if isinstance(self.prototypes, GaussianPrototypes):
            return -self.prototypes.log_density(z)
        return squared_distances(z, self.prototypes.sample(1))[:, :, 0]

    # ---- using ----------------------------------------------------------------------------------------------------

    def posterior(
        self, x: Float[Tensor, "batch ..."]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"] | None]:
        """Mean and log variance of each observation's code; no log variance for a plain autoencoder."""
        if not self.variational:
            return self.encoder(x), None
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        return mu, logvar

    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch dim"]:
        """The code used outside of training: the mean."""
        return self.posterior(x)[0]

    def answers(
        self, x: Float[Tensor, "batch ..."], prototypes: Float[Tensor, "sample classes dim"]
    ) -> tuple[Float[Tensor, "batch classes sample"], Float[Tensor, "batch sample classes"]]:
        """Distances to draws of the prototypes, and the class probabilities of each draw."""
        distances = squared_distances(self.encode(x), prototypes)
        return distances, vote_logits(distances, self.votes).softmax(2)

    def store_distances(
        self, means: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], samples: int
    ) -> None:
        """Keep, sorted, the mean distances of training data to the prototype of their class."""
        own = means.gather(1, labels[:, None])[:, 0]
        groups = [own[labels == k].sort().values for k in range(len(self.votes))]
        self.distances = torch.cat(groups).to(self.votes.device)
        self.distance_ends = torch.tensor(np.cumsum([len(g) for g in groups]), device=self.votes.device)
        self.distance_samples = torch.tensor(samples, device=self.votes.device)

    def percentile(
        self, distance: Float[Tensor, " batch"], reference: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Which share of a class's training data is nearer to its prototype than this distance."""
        ends = [0, *self.distance_ends.tolist()]
        share = torch.zeros_like(distance)
        for k, (first, last) in enumerate(pairwise(ends)):
            of_class = reference == k
            nearer = torch.searchsorted(self.distances[first:last].contiguous(), distance[of_class].contiguous())
            share[of_class] = nearer / max(1, last - first)
        return share
