"""The network: two bags -> kept instances and prototypes -> three embeddings -> hazards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unsnarl.nn._product_of_experts import ProductOfExperts
from unsnarl.nn._self_normalizing import PathwayEncoder
from unsnarl.systems.multimodal.pibd._bottleneck import PrototypicalBottleneck, Selection
from unsnarl.systems.multimodal.pibd._disentangle import DisentanglingLayer, SharedInformation, pool
from unsnarl.systems.multimodal.pibd._sub_bags import sub_bags


class Embeddings(NamedTuple):
    """The three embeddings of one pass over a batch, each (batch, z), and who has both modalities, (batch,)."""

    histology: Tensor
    genomics: Tensor
    common: Tensor
    both: Tensor


class Output(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        logits: of the hazards, averaged over sub-bags, (batch, bins).
        passes: embeddings of each sub-bag.
        shares: how much each sub-bag counts for each patient, (sub-bag, batch, 1), summing to 1 over sub-bags.
        histology: selection in each sub-bag.
        genomics: selection among the pathways.
        common: mean of the product of both experts, (batch, z), of the last sub-bag.
    """

    logits: Tensor
    passes: list[Embeddings]
    shares: Tensor
    histology: list[Selection]
    genomics: Selection
    common: Tensor


class PIBDNetwork(nn.Module):
    """Prototypical information bottlenecks for both bags, a product of experts, a disentangling layer, hazards.

    Args:
        bag_width: numbers in an instance of the first bag.
        pathway_sizes: genes of each pathway.
        n_bins: time bins.
        z_dim: size of everything inside.
        top: what is kept of both bags, see `PrototypicalBottleneck`.
        samples: draws of each prototype and of the common token.
        select: False keeps all instances.
        duplicates: whether an instance may be kept several times.
        label_prototype: in training, take each patient's prototype from the label, which no test patient has.
        experts: "published" reads standard deviations as variances and multiplies the noise by the variance; "gaussian" squares
            and takes roots where the mathematics does.
        sub_bag: instances of the first bag that are looked at together; None for all.
        dropout: of the instance encoders.
        pathway_dropout: alpha dropout of the pathway encoders.
        layer_dropout: dropout and drop-path of the disentangling layer.
        heads: attention heads.
        club_hidden: width of the information estimators.
        noise_at_test: draw from the prototypes at test too, with the noise of `noise_seed`, as published; otherwise their
            means are taken.
        noise_seed: see `noise_at_test`; also orders the patches of bags that are larger than `sub_bag`.
    """

    def __init__(
        self,
        bag_width: int,
        pathway_sizes: Sequence[int],
        *,
        n_bins: int = 4,
        z_dim: int = 256,
        top: tuple[float, float] = (0.5, 0.8),
        samples: int = 50,
        select: bool = True,
        duplicates: bool = True,
        label_prototype: bool = False,
        experts: str = "gaussian",
        sub_bag: int | None = 512,
        dropout: float = 0.2,
        pathway_dropout: float = 0.25,
        layer_dropout: float = 0.1,
        heads: int = 4,
        club_hidden: int = 512,
        noise_at_test: bool = False,
        noise_seed: int = 0,
    ):
        super().__init__()
        self.samples, self.label_prototype, self.experts_as = samples, label_prototype, experts
        self.sub_bag, self.noise_at_test, self.noise_seed = sub_bag, noise_at_test, noise_seed
        self.pathways = PathwayEncoder(pathway_sizes, z_dim, dropout=pathway_dropout)
        options = {"samples": samples, "dropout": dropout, "select": select, "duplicates": duplicates}
        self.histology = PrototypicalBottleneck(bag_width, z_dim, n_bins, top=top[0], **options)  # type: ignore[arg-type]
        self.genomics = PrototypicalBottleneck(z_dim, z_dim, n_bins, top=top[1], **options)  # type: ignore[arg-type]
        self.experts = ProductOfExperts(2)
        self.layer = DisentanglingLayer(z_dim, heads=heads, dropout=layer_dropout, drop_path=layer_dropout)
        self.absent = nn.Parameter(torch.zeros(2, z_dim))  # stands in for the embedding of a modality that is missing
        self.head = nn.Sequential(nn.Linear(3 * z_dim, z_dim), nn.ReLU(), nn.Linear(z_dim, n_bins))
        self.information = SharedInformation(z_dim, club_hidden)

    def forward(
        self,
        bags: Float[Tensor, "batch instance width"],
        counts: Int[Tensor, " batch"],
        genes: Float[Tensor, "batch gene"],
        has_genes: Bool[Tensor, " batch"],
        cell: Int[Tensor, " batch"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """Hazards and everything they were made from.

        Args:
            bags: padded to one length.
            counts: instances of each bag; 0 for a patient without the modality.
            genes: those of all pathways one after the other.
            has_genes: False for a patient without the modality, whose `genes` are not looked at.
            cell: the label's cell y + C (1 - event); None at prediction.
            generator: noise of training; None at prediction.
        """
        if generator is None:
            generator = self.test_noise(bags.device)
        fixed = generator is not None and not self.training
        use_label = self.label_prototype and self.training
        has_bag = counts > 0
        complete = bool(has_bag.all() and has_genes.all())
        pathway_mask = None
        if not bool(has_genes.all()):
            genes = genes.where(has_genes[:, None], 0.0)
            pathway_mask = has_genes[:, None].expand(-1, len(self.pathways.sizes))
        genomics = self.genomics(self.pathways(genes), pathway_mask, cell, generator, use_label=use_label)
        if fixed:  # as published: the same noise for both bottlenecks
            generator.manual_seed(self.noise_seed)  # type: ignore[union-attr]
        present = None if complete else torch.stack([has_bag, has_genes])
        weights, passes, selections, logits = [], [], [], []
        order = None if self.training else self.noise_seed
        for index, mask, weight in sub_bags(counts, bags.shape[1], self.sub_bag, generator, order):
            part = bags if index is None else bags.gather(1, index[..., None].expand(-1, -1, bags.shape[2]))
            histology = self.histology(part, mask, cell, generator, use_label=use_label)
            common = self._common(histology, genomics, present, generator, fixed)
            embeddings = self._embed(histology, genomics, common, present)
            logits.append(self.head(torch.cat(embeddings[:3], 1)))
            weights.append(weight)
            passes.append(embeddings)
            selections.append(histology)
        shares = torch.stack(weights)[..., None]
        shares = shares / shares.sum(0)
        return Output((shares * torch.stack(logits)).sum(0), passes, shares, selections, genomics, common)

    def test_noise(self, device: torch.device) -> torch.Generator | None:
        """The noise of prediction: always the same, or none."""
        return torch.Generator(device=device).manual_seed(self.noise_seed) if self.noise_at_test else None

    def _common(
        self,
        histology: Selection,
        genomics: Selection,
        present: Tensor | None,
        generator: torch.Generator | None,
        fixed: bool,
    ) -> Float[Tensor, "batch z"]:
        """The token of what both prototypes say, averaged over draws."""
        means = torch.stack([histology.mean, genomics.mean])
        spread = torch.stack([histology.deviation, genomics.deviation])
        published = self.experts_as == "published"
        mean, variance = self.experts(means, spread if published else spread.square(), present)
        if generator is None:
            return mean
        shape = (1, mean.shape[1]) if fixed else mean.shape
        # the average of S draws of noise is one draw with the S-th part of the variance
        noise = torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype) / self.samples**0.5
        return mean + noise * (variance if published else variance.sqrt())

    def _embed(self, histology: Selection, genomics: Selection, common: Tensor, present: Tensor | None) -> Embeddings:
        ragged = [
            None if bool(selection.token_mask.all()) else selection.token_mask for selection in (histology, genomics)
        ]
        streams = self.layer(histology.tokens, genomics.tokens, common[:, None], *ragged)
        h, p = pool(streams[0], ragged[0]), pool(streams[1], ragged[1])
        both = torch.ones(len(h), dtype=torch.bool, device=h.device)
        if present is not None:
            h, p = h.where(present[0][:, None], self.absent[0]), p.where(present[1][:, None], self.absent[1])
            both = present.all(0)
        return Embeddings(h, p, streams[2][:, 0], both)
