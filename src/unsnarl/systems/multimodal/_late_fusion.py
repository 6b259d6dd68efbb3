"""Late fusion of patches and pathways: what a system for both has to beat.

Gated-attention multiple-instance learning for the slide (Ilse et al. 2018, arXiv 1802.04712), self-normalizing networks for the
genes (Klambauer et al. 2017, arXiv 1706.02515), their two embeddings side by side into the hazards of time bins: the usual
baseline of multimodal survival papers (Chen et al. 2021, MCAT, and after).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.nn._gated_attention import GatedAttention
from unsnarl.nn._self_normalizing import PathwayEncoder
from unsnarl.objectives._hazard import hazard_nll
from unsnarl.systems.multimodal.pibd._inputs import InputScaler, Reader
from unsnarl.systems.multimodal.pibd._survival_learner import BagSurvivalLearner
from unsnarl.systems.multimodal.pibd._task import SurvivalTask


class LateFusionNetwork(nn.Module):
    """Patches -> gated attention -> z; pathways -> self-normalizing networks -> mean -> z; both -> hazards.

    Args:
        bag_width: numbers in an instance.
        pathway_sizes: genes of each pathway.
        n_bins: time bins.
        z_dim: size of embeddings and hidden layers.
        dropout: of the instances' layer and of the attention.
        pathway_dropout: alpha dropout of the pathway encoders.
    """

    def __init__(
        self,
        bag_width: int,
        pathway_sizes: list[int],
        *,
        n_bins: int,
        z_dim: int,
        dropout: float,
        pathway_dropout: float,
    ):
        super().__init__()
        self.instances = nn.Sequential(nn.Linear(bag_width, z_dim), nn.ReLU(), nn.Dropout(dropout))
        self.attention = GatedAttention(z_dim, z_dim, dropout=dropout)
        self.pathways = PathwayEncoder(pathway_sizes, z_dim, dropout=pathway_dropout)
        self.absent = nn.Parameter(torch.zeros(2, z_dim))
        self.head = nn.Sequential(nn.Linear(2 * z_dim, z_dim), nn.ReLU(), nn.Linear(z_dim, n_bins))

    def embed(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of both modalities, (batch, z) each, and the weights of the instances."""
        mask = torch.arange(bags.shape[1], device=bags.device) < counts[:, None]
        h, weights = self.attention(self.instances(bags), mask)
        p = self.pathways(genes.where(has_genes[:, None], 0.0)).mean(1)
        h = h.where((counts > 0)[:, None], self.absent[0])
        return h, p.where(has_genes[:, None], self.absent[1]), weights

    def forward(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> Tensor:
        """Hazard logits, (batch, bins)."""
        h, p, _ = self.embed(bags, counts, genes, has_genes)
        return self.head(torch.cat([h, p], 1))


class LateFusionTask(SurvivalTask):
    """The negative log-likelihood of the hazards, mean over the batch."""

    def __init__(self, scaler: InputScaler, network: LateFusionNetwork, *, alpha_surv: float, lr: float, decay: float):
        super().__init__(scaler, network)
        self.alpha_surv, self.lr, self.decay = alpha_surv, lr, decay

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam, or AdamW where weights decay."""
        made = torch.optim.AdamW if self.decay else torch.optim.Adam
        return {"main": made(self.network.parameters(), lr=self.lr, weight_decay=self.decay, fused=True)}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss of a batch (bags, counts, genes, has_genes, time bin, event)."""
        bags, counts, genes, has_genes, time_bin, event = batch
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's global generator
            torch.manual_seed(generator.initial_seed())
            logits = self.logits(bags, counts, genes, has_genes)
        return {"loss": hazard_nll(logits, time_bin, event, alpha=self.alpha_surv)}

    def logits(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> Tensor:
        """Hazard logits of inputs on the user's scale, (batch, bins)."""
        return self.network(*self.scaler(bags, counts, genes), has_genes)

    def embeddings(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> dict[str, Tensor]:
        """The two embeddings."""
        h, p, _ = self.network.embed(*self.scaler(bags, counts, genes), has_genes)
        return {"histology": h, "genomics": p}


class LateFusionSurvival(BagSurvivalLearner):
    """Survival curves from patches and pathways by gated attention, self-normalizing networks and late fusion.

    The verbs are those of `PIBD` (`fit`, `predict_survival`, `risk`, `predict`, `score`, `embed`).

    Args:
        n_bins: time bins, cut at quantiles of the times of events.
        z_dim: size of embeddings and hidden layers.
        dropout: of the instances' layer and of the attention.
        pathway_dropout: alpha dropout of the pathway encoders.
        alpha_surv: how much less a censored patient counts, see `hazard_nll`.
        balanced: draw patients so that every (time bin, event) cell comes up equally often.
        max_patches: so many instances of a bag at most are drawn for a training step; None for all.
        bag_scaling: "standard" or "none".
        gene_scaling: "minmax" (to [-1, 1]), "standard" or "none".
        lr: learning rate of Adam.
        weight_decay: decoupled weight decay.
        batch_size: patients a step.
        epochs: passes over the patients.
        modalities: names of the bags and of the genes in a `SurvivalData` that has more than two modalities.
        clusters: groups of correlated genes that serve as pathways where a `SurvivalData` has none.
        validation_fraction: share of the patients set aside to choose the best epoch; 0 keeps the last.
        monitor: what is best there: "loss" (of the hazards) or "concordance".
        seed: of everything random.
    """

    def __init__(
        self,
        n_bins: int = 4,
        z_dim: int = 256,
        *,
        dropout: float = 0.25,
        pathway_dropout: float = 0.25,
        alpha_surv: float = 0.5,
        balanced: bool = True,
        max_patches: int | None = 4096,
        bag_scaling: str = "standard",
        gene_scaling: str = "minmax",
        lr: float = 5e-4,
        weight_decay: float = 0.0,
        batch_size: int = 32,
        epochs: int = 30,
        modalities: tuple[str, str] | None = None,
        clusters: int = 8,
        validation_fraction: float = 0.0,
        monitor: str = "loss",
        seed: int = 0,
    ):
        self.n_bins = n_bins
        self.z_dim = z_dim
        self.dropout = dropout
        self.pathway_dropout = pathway_dropout
        self.alpha_surv = alpha_surv
        self.balanced = balanced
        self.max_patches = max_patches
        self.bag_scaling = bag_scaling
        self.gene_scaling = gene_scaling
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.modalities = modalities
        self.clusters = clusters
        self.validation_fraction = validation_fraction
        self.monitor = monitor
        self.seed = seed

    def _make_task(self, facts: dict[str, Any]) -> LateFusionTask:
        reader = Reader.from_facts(facts["reader"])
        network = LateFusionNetwork(
            reader.width,
            reader.sizes,
            n_bins=self.n_bins,
            z_dim=self.z_dim,
            dropout=self.dropout,
            pathway_dropout=self.pathway_dropout,
        )
        scaler = InputScaler(reader, self.bag_scaling, self.gene_scaling)
        return LateFusionTask(scaler, network, alpha_surv=self.alpha_surv, lr=self.lr, decay=self.weight_decay)

    def _check_options(self) -> None:
        super()._check_options()
        for name in ("dropout", "pathway_dropout"):
            check_range(getattr(self, name), name, low=0, high=0.99)
        check_range(self.weight_decay, "weight_decay", low=0)

    def attend(self, bags: Any, pathways: Any = None) -> list[Any]:
        """How much each instance of each patient counts, one array of weights a patient that sums to 1."""
        patients = self._patients(bags, pathways)
        found: list[Any] = [None] * len(patients)
        for rows, (x, counts, genes, has_genes) in self._parts(patients):
            with torch.inference_mode():
                weights = self.task_.network.embed(*self.task_.scaler(x, counts, genes), has_genes)[2].cpu().numpy()
            for row, weight, n in zip(rows, weights, counts.tolist(), strict=True):
                found[row] = weight[:n]
        return found
