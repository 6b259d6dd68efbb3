"""What is trained: the network, the losses of a batch, and how the information estimators take their turns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unsnarl.objectives._hazard import hazard_nll
from unsnarl.systems.multimodal.pibd._inputs import InputScaler
from unsnarl.systems.multimodal.pibd._network import Embeddings, Output, PIBDNetwork
from unsnarl.training import Task


class SurvivalTask(Task):
    """A network with hazards as its output, and the scales of its inputs.

    Args:
        scaler: how inputs are brought to the network's scale.
        network: called as `network(bags, counts, genes, has_genes, ...)`.
    """

    def __init__(self, scaler: InputScaler, network: Any):
        super().__init__()
        self.scaler, self.network = scaler, network

    def logits(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> Tensor:
        """Hazard logits at prediction, of inputs on the user's scale, (batch, bins)."""
        raise NotImplementedError

    def embeddings(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> dict[str, Tensor]:
        """What the hazards are computed from: "histology" and "genomics" and possibly more, (batch, z) each."""
        raise NotImplementedError


class PIBDTask(SurvivalTask):
    """The losses of Zhang et al. 2024.

        L = NLL + gamma (proxy_w + proxy_o) + sum over both of (alpha NLL_prototypes + beta KL) + lam (I [+ L_lik])

    NLL is summed over the batch. Published, the whole of L is then divided by the number of patients, which makes every
    other term as many times weaker as a batch has patients; with `divide="likelihood"` only NLL is.

    With `club="joint"` the estimators' fit L_lik is added and everything has one optimiser, as published. With
    "alternating" the estimators are fitted after each step, `club_steps` times, to that step's detached embeddings, by an
    optimiser of their own, and the bound I is minimised in everything else.
    """

    def __init__(
        self,
        scaler: InputScaler,
        network: PIBDNetwork,
        *,
        alpha: float,
        beta: float,
        gamma: float,
        lam: float,
        alpha_surv: float,
        club: str,
        club_steps: int,
        divide: str,
        lr: float,
        weight_decay: float,
    ):
        super().__init__(scaler, network)
        self.alpha, self.beta, self.gamma, self.lam, self.alpha_surv = alpha, beta, gamma, lam, alpha_surv
        self.club = club if lam > 0 else "none"
        self.club_steps, self.divide, self.lr, self.weight_decay = club_steps, divide, lr, weight_decay
        self._latest: list[Embeddings] = []

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam; the estimators have their own where they take turns."""
        estimators = list(self.network.information.parameters())
        apart = {id(p) for p in estimators} if self.club == "alternating" else set()
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        made = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        optimizers: dict[str, torch.optim.Optimizer] = {
            "main": made([p for p in self.network.parameters() if id(p) not in apart], **options)
        }
        if apart:
            optimizers["estimator"] = torch.optim.Adam(estimators, lr=self.lr, fused=True)
        return optimizers

    def schedule(self, step: int) -> tuple[str, ...]:
        """One step of everything, then the estimators' turns."""
        return ("main", *["estimator"] * self.club_steps) if self.club == "alternating" else ("main",)

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The losses of a batch (bags, counts, genes, has_genes, time bin, event)."""
        if phase == "estimator":
            fits = [self.network.information.learning_loss(h, p, g) for h, p, g, _ in self._latest]
            if not fits:  # nobody in the batch had both modalities
                return {"loss": sum(p.sum() * 0 for p in self.network.information.parameters())}  # type: ignore[dict-item]
            return {"loss": torch.stack(fits).mean()}
        bags, counts, genes, has_genes, time_bin, event = batch
        cell = time_bin + self.network.histology.n_bins * (~event).long()
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's global generator
            torch.manual_seed(generator.initial_seed())
            output = self.network(*self.scaler(bags, counts, genes), has_genes, cell, generator)
        return self.losses(output, counts > 0, has_genes, time_bin, event)

    def losses(
        self, output: Output, has_bag: Tensor, has_genes: Tensor, time_bin: Tensor, event: Tensor
    ) -> dict[str, Tensor]:
        """All terms of the loss, from what the network gave: "loss" is their sum as it is minimised."""
        patients = len(time_bin)
        nll = hazard_nll(output.logits, time_bin, event, alpha=self.alpha_surv, reduction="sum")
        proxies = [_mean_of(s.proxy, has_bag) for s in output.histology]
        proxy = torch.stack(proxies).mean() + _mean_of(output.genomics.proxy, has_genes)
        likelihood, kl = nll.new_zeros(()), nll.new_zeros(())
        for bottleneck, selections in (
            (self.network.histology, output.histology),
            (self.network.genomics, [output.genomics]),
        ):
            terms = [bottleneck.bottleneck_terms(s.logits, self.alpha_surv) for s in selections]
            likelihood = likelihood + torch.stack([t[0] for t in terms]).mean()
            kl = kl + torch.stack([t[1] for t in terms]).mean()
        rest = self.gamma * proxy + self.alpha * likelihood + self.beta * kl
        logged = {"proxy": proxy, "prototypes": likelihood, "kl": kl}
        if self.club != "none":
            passes = [Embeddings(*(part[e.both] for part in e)) for e in output.passes]
            passes = [e for e in passes if len(e.both)]
            self._latest = []
            if passes:
                information = torch.stack([self.network.information(*e[:3]) for e in passes]).mean()
                logged["information"] = information
                if self.club == "joint":
                    fits = [self.network.information.learning_loss(*e[:3]) for e in passes]
                    logged["fit"] = torch.stack(fits).mean()
                    information = information + logged["fit"]
                else:
                    self._latest = [Embeddings(*(part.detach() for part in e)) for e in passes]
                rest = rest + self.lam * information
        loss = (nll + rest) / patients if self.divide == "all" else nll / patients + rest
        return {"loss": loss, "survival": nll / patients, **logged}

    def logits(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> Tensor:
        """Hazard logits at prediction, of inputs on the user's scale, (batch, bins)."""
        return self.network(*self.scaler(bags, counts, genes), has_genes).logits

    def embeddings(self, bags: Tensor, counts: Tensor, genes: Tensor, has_genes: Tensor) -> dict[str, Tensor]:
        """The three embeddings, averaged over sub-bags."""
        output = self.network(*self.scaler(bags, counts, genes), has_genes)
        return {
            name: (output.shares * torch.stack([getattr(e, name) for e in output.passes])).sum(0)
            for name in ("histology", "genomics", "common")
        }


def _mean_of(values: Tensor | None, present: Tensor) -> Tensor:
    assert values is not None
    return values.where(present, 0.0).sum() / present.sum().clamp_min(1)
