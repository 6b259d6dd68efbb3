"""The prototypical information bottleneck: keep the instances of a bag that resemble learned risk prototypes.

Each cell of (time bin, censored or not) has a prototype N(mu, diag(sd^2)). Instances are compared with draws from the
prototypes by their cosine; the label says which prototype a patient's instances should resemble, and the bottleneck's cost
falls on the prototypes alone (Zhang et al. 2024, section 3.2).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.nn.prototypes._gaussian import GaussianPrototypes
from unsnarl.objectives._hazard import hazard_nll


class Selection(NamedTuple):
    """What the bottleneck made of a batch of bags.

    Attributes:
        attention: cosine of every instance with every prototype, (batch, instance, cell); -inf at padding.
        tokens: encoded instances that were kept, (batch, kept, z).
        token_mask: which of `tokens` are there, (batch, kept).
        indices: which instance each token is, (batch, kept); 0 where there is none.
        votes: how often the kept scores belong to each prototype, as shares of the kept, (batch, cell).
        cell: the prototype of each patient, (batch,): the label's, or the one with the most votes.
        mean: of that prototype, (batch, z).
        deviation: its standard deviations, (batch, z).
        proxy: loss of each patient that draws instances to the label's prototype, (batch,); None without labels.
        logits: hazards that the prototypes themselves predict, (cell, bins).
    """

    attention: Tensor
    tokens: Tensor
    token_mask: Tensor
    indices: Tensor
    votes: Tensor
    cell: Tensor
    mean: Tensor
    deviation: Tensor
    proxy: Tensor | None
    logits: Tensor


class PrototypicalBottleneck(nn.Module):
    """Instances of a bag -> those that look most like a prototype, and the prototype of the patient.

    With z_i = encoder(x_i), prototypes zp_p averaged over `samples` draws and a_ip = cos(z_i, zp_p):

    - the proxy loss of a patient is -(m_own - mean of m_p over the others), m_p being the mean of the k largest a_ip of
      column p;
    - of all (instance, prototype) scores the k largest are kept, and their instances with them; one instance may be kept
      several times, once for each prototype it resembles;
    - the prototype that most of the kept scores belong to is the patient's, unless the label is taken instead.

    Args:
        in_dim: numbers in an instance.
        z_dim: numbers in an encoded instance and in a prototype.
        n_bins: time bins C; there are 2 C prototypes, of cell y + C for a patient censored in bin y.
        top: k, as a share of the bag (a float up to 1) or a count (an int).
        samples: draws of each prototype.
        dropout: of the encoder's hidden layers.
        select: False keeps every instance once, for comparison; the patient's prototype is found as before.
        duplicates: False scores an instance by its best prototype and keeps each once.

    Raises:
        OptionError: `top` is not a share in (0, 1] or a count.
    """

    def __init__(
        self,
        in_dim: int,
        z_dim: int,
        n_bins: int,
        *,
        top: float,
        samples: int = 50,
        dropout: float = 0.2,
        select: bool = True,
        duplicates: bool = True,
    ):
        super().__init__()
        check_top(top, "top")
        self.n_bins, self.top, self.samples = n_bins, top, samples
        self.select, self.duplicates = select, duplicates
        self.encoder = nn.Sequential(
            nn.Linear(in_dim, 2 * z_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * z_dim, 2 * z_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * z_dim, z_dim),
        )
        self.prototypes = GaussianPrototypes(2 * n_bins, z_dim, family="diagonal", reset="xavier")
        self.decoder = nn.Linear(z_dim, n_bins)

    def forward(
        self,
        x: Float[Tensor, "batch instance in"],
        mask: Bool[Tensor, "batch instance"] | None = None,
        cell: Int[Tensor, " batch"] | None = None,
        generator: torch.Generator | None = None,
        *,
        use_label: bool = False,
    ) -> Selection:
        """Encode, compare, select.

        Args:
            x: bags, padded to one length.
            mask: True for instances, False for padding; None where there is none. A bag may be empty.
            cell: the label's cell of each patient, for the proxy loss; None at prediction.
            generator: noise of the prototypes' draws; None takes their means.
            use_label: take the patient's prototype from `cell`.

        Raises:
            DataError: k is a count larger than some bag.
        """
        z = self.encoder(x)
        if generator is None:
            prototypes = self.prototypes.means
        else:
            prototypes = self.prototypes.sample(self.samples, generator).mean(0)
        attention = F.normalize(z, dim=2) @ F.normalize(prototypes, dim=1).t()
        batch, n = x.shape[:2]
        counts = torch.full((batch,), n, device=x.device) if mask is None else mask.sum(1)
        kept = self.kept(counts)
        if mask is not None:
            attention = attention.masked_fill(~mask[..., None], -torch.inf)
        proxy = None if cell is None else self._proxy_loss(attention, kept, cell)
        indices, winners = self._top(attention, kept)
        token_mask = torch.arange(indices.shape[1], device=x.device) < kept[:, None]
        votes = F.one_hot(winners, 2 * self.n_bins).where(token_mask[..., None], 0).sum(1)
        # of several prototypes with equally many votes the first
        own = cell if use_label and cell is not None else votes.argmax(1)
        shares = votes / kept.clamp_min(1)[:, None]
        if self.select:
            if not self.duplicates:
                indices = attention.amax(2).topk(indices.shape[1], 1).indices
            indices = indices.where(token_mask, 0)
            tokens = z.gather(1, indices[..., None].expand(-1, -1, z.shape[2]))
        else:
            indices, tokens = torch.arange(n, device=x.device).expand(batch, n), z
            token_mask = torch.ones_like(indices, dtype=torch.bool) if mask is None else mask
        return Selection(
            attention=attention,
            tokens=tokens,
            token_mask=token_mask,
            indices=indices,
            votes=shares,
            cell=own,
            mean=self.prototypes.means[own],
            deviation=self.prototypes.standard_deviations()[own],
            proxy=proxy,
            logits=self.decoder(prototypes),  # the mean over draws of an affine map is the map of their mean
        )

    def kept(self, counts: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The k of bags with so many instances: at least one, unless the bag is empty.

        Raises:
            DataError: k is a count, and a bag has fewer instances.
        """
        if isinstance(self.top, int):
            small = (counts > 0) & (counts < self.top)
            if bool(small.any()):
                least = int(counts[small].min())
                raise DataError(f"top-k exceeds instances: {self.top} are to be kept of a bag of {least}; keep a share")
            return torch.full_like(counts, self.top).where(counts > 0, 0)
        return (self.top * counts.double()).floor().long().clamp_min(1).minimum(counts)

    def bottleneck_terms(
        self, logits: Float[Tensor, "cell bins"], alpha_surv: float = 0.5
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The two terms of the bottleneck, on the prototypes only.

        Args:
            logits: `Selection.logits`.
            alpha_surv: weight of censoring, as in `hazard_nll`.

        Returns:
            The negative log-likelihood of each prototype's own cell, summed over the cells; and KL(N(mu_p, sd_p^2) ||
            N(0, I)), mean over the prototypes; both in nats.
        """
        cells = torch.arange(2 * self.n_bins, device=logits.device)
        nll = hazard_nll(logits, cells % self.n_bins, cells < self.n_bins, alpha=alpha_surv, reduction="sum")
        return nll, self.prototypes.kl_to_standard_normal().mean()

    def top_means(
        self, attention: Float[Tensor, "batch instance cell"], kept: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch cell"]:
        """Mean of the k largest cosines with each prototype; 0 for an empty bag."""
        largest = attention.topk(max(1, int(kept.max())), 1).values  # (batch, kept, cell)
        there = (torch.arange(largest.shape[1], device=attention.device) < kept[:, None])[..., None]
        return largest.where(there, 0.0).sum(1) / kept.clamp_min(1)[:, None]

    def _proxy_loss(self, attention: Tensor, kept: Tensor, cell: Tensor) -> Float[Tensor, " batch"]:
        means = self.top_means(attention, kept)
        own = means.gather(1, cell[:, None])[:, 0]
        return -(own - (means.sum(1) - own) / (means.shape[1] - 1))

    def _top(self, attention: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Instances and prototypes of the k largest scores of each bag, largest first."""
        n = attention.shape[1]
        flat = attention.transpose(1, 2).flatten(1)  # all instances of prototype 0, then those of prototype 1, ...
        places = flat.topk(max(1, int(kept.max())), 1).indices
        return places % n, places // n


def check_top(top: float, argument: str) -> None:
    """Refuse what is neither a share nor a count."""
    if isinstance(top, int) and not isinstance(top, bool):
        check_range(top, argument, low=1, integer=True)
    elif not (isinstance(top, float) and 0 < top <= 1):
        raise OptionError(f"{argument}={top!r} must be a share of the bag above 0 and at most 1.0, or a count (an int)")
