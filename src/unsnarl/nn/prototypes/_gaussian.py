"""Prototypes that are distributions: one Gaussian, or a mixture of Gaussians, a prototype, in the space of an encoder."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import OptionError
from unsnarl.nn.prototypes._fit_gaussians import class_gaussians, class_mixtures

FAMILIES = ("diagonal", "full", "mixture")
RESETS = ("prior", "xavier")
LEAST_SCALE = 1e-5  # added to the diagonal of Cholesky factors, so that densities stay finite


class GaussianPrototypes(nn.Module):
    """`n` prototypes, each a distribution over vectors of size `dim` (Vadillo et al. 2024, arXiv 2403.13740).

    Families: "diagonal" is N(mu, diag(sd)^2) with sd = softplus(raw); "full" is N(mu, L L^T) with L lower triangular
    and its diagonal softplus(raw) + 1e-5; "mixture" is a weighted sum of `components` full Gaussians.

    Draws are reparameterised: mu + L eps is differentiable in mu and L. Of a mixture the component is drawn first, so
    the weights of the components have no gradient through draws, only through `log_density`.

    Args:
        n: number of prototypes.
        dim: size of the vectors.
        family: "diagonal", "full" or "mixture".
        components: Gaussians in each mixture; the other families have one.
        prior_scale: standard deviation s of the prior N(0, s^2 I) from which the means are drawn at first.
        reset: how the first values are drawn, see `reset_parameters`.
        generator: source of the first values; torch's global one when absent.

    Examples:
        >>> prototypes = GaussianPrototypes(3, 2, generator=torch.Generator().manual_seed(0))
        >>> prototypes.sample(5, torch.Generator().manual_seed(1)).shape
        torch.Size([5, 3, 2])
        >>> prototypes.log_density(torch.zeros(4, 2)).shape
        torch.Size([4, 3])
    """

    _places: Tensor  # of the values below the diagonal in a flattened matrix

    def __init__(
        self,
        n: int,
        dim: int,
        *,
        family: str = "full",
        components: int = 2,
        prior_scale: float = 1.0,
        reset: str = "prior",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_range(n, "n", low=1, integer=True)
        check_range(dim, "dim", low=1, integer=True)
        check_choice(family, FAMILIES, "family")
        check_range(components, "components", low=1, integer=True)
        check_range(prior_scale, "prior_scale", low=0, open_low=True)
        check_choice(reset, RESETS, "reset")
        self.n, self.dim, self.family = int(n), int(dim), family
        self.components = int(components) if family == "mixture" else 1
        self.prior_scale = float(prior_scale)
        self.locations = nn.Parameter(torch.empty(self.n, self.components, self.dim))
        self.raw_diagonal = nn.Parameter(torch.empty(self.n, self.components, self.dim))
        if family != "diagonal":
            self.raw_lower = nn.Parameter(torch.empty(self.n, self.components, self.dim * (self.dim - 1) // 2))
            rows, columns = torch.tril_indices(self.dim, self.dim, -1)
            self.register_buffer("_places", rows * self.dim + columns, persistent=False)
        if family == "mixture":
            self.weight_logits = nn.Parameter(torch.empty(self.n, self.components))
        self.reset_parameters(reset, generator)

    def extra_repr(self) -> str:
        """The sizes, for `print`."""
        return f"n={self.n}, dim={self.dim}, family={self.family!r}"

    @torch.no_grad()
    def reset_parameters(self, reset: str = "prior", generator: torch.Generator | None = None) -> None:
        """Draw first values anew.

        "prior": means from N(0, s^2 I); raw diagonals from N(s / 5, (s / 10)^2); raw values below the diagonal from
        N(.2, .1^2). A mixture is spread wider, as in the authors' code: both kinds of raw values from N(.3, .3^2), the
        logits of its weights from N(1, .2^2).

        "xavier", for the diagonal family: one matrix (n, 2 dim), Xavier uniform; its first half are the means, softplus
        of its second half the standard deviations.

        Raises:
            OptionError: "xavier" for a family other than diagonal.
        """
        if reset == "xavier":
            if self.family != "diagonal":
                raise OptionError(f'reset="xavier" is for family="diagonal", not {self.family!r}')
            both = torch.empty(self.n, 2 * self.dim, device=self.locations.device)
            nn.init.xavier_uniform_(both, generator=generator)
            self.locations.copy_(both[:, None, : self.dim])
            self.raw_diagonal.copy_(both[:, None, self.dim :])
            return
        s = self.prior_scale
        mixed = self.family == "mixture"
        self.locations.normal_(0.0, s, generator=generator)
        self.raw_diagonal.normal_(0.3 if mixed else s / 5, 0.3 if mixed else s / 10, generator=generator)
        if self.family != "diagonal":
            self.raw_lower.normal_(0.3 if mixed else 0.2, 0.3 if mixed else 0.1, generator=generator)
        if mixed:
            self.weight_logits.normal_(1.0, 0.2, generator=generator)

    # ---- parameters of the distributions --------------------------------------------------------------------------

    @property
    def means(self) -> Float[Tensor, "n dim"]:
        """The expectation of each prototype."""
        if self.family != "mixture":
            return self.locations[:, 0]
        return torch.einsum("nc,ncd->nd", self.weights(), self.locations)

    def weights(self) -> Float[Tensor, "n component"]:
        """The weights of the components, which sum to 1; all ones but for mixtures."""
        if self.family != "mixture":
            return torch.ones_like(self.locations[:, :, 0])
        return self.weight_logits.softmax(1)

    def scales(self) -> Float[Tensor, "n component dim dim"] | Float[Tensor, "n component dim"]:
        """Standard deviations of a diagonal family, lower Cholesky factors of the covariances of the others."""
        diagonal = F.softplus(self.raw_diagonal)
        if self.family == "diagonal":
            return diagonal
        flat = torch.zeros(self.n, self.components, self.dim * self.dim, dtype=diagonal.dtype, device=diagonal.device)
        flat = flat.index_copy(2, self._places, self.raw_lower)
        return flat.unflatten(2, (self.dim, self.dim)) + torch.diag_embed(diagonal + LEAST_SCALE)

    def covariances(self) -> Float[Tensor, "n dim dim"]:
        """The covariance matrix of each prototype; of a mixture that of the whole."""
        scales = self.scales()
        if self.family == "diagonal":
            return torch.diag_embed(scales[:, 0].square())
        within = scales @ scales.mT
        if self.family == "full":
            return within[:, 0]
        away = self.locations - self.means[:, None]
        return torch.einsum("nc,ncde->nde", self.weights(), within + away[..., :, None] * away[..., None, :])

    def standard_deviations(self) -> Float[Tensor, "n dim"]:
        """The standard deviation of each prototype in each dimension."""
        if self.family == "diagonal":
            return F.softplus(self.raw_diagonal[:, 0])
        return self.covariances().diagonal(dim1=1, dim2=2).sqrt()

    # ---- using them -----------------------------------------------------------------------------------------------

    def sample(self, samples: int, generator: torch.Generator | None = None) -> Float[Tensor, "sample n dim"]:
        """Draws of every prototype, reparameterised.

        Args:
            samples: how many draws of each.
            generator: source of the noise; torch's global one when absent.
        """
        check_range(samples, "samples", low=1, integer=True)
        shape, where = (int(samples), self.n, self.dim), self.locations
        noise = torch.randn(shape, generator=generator, dtype=where.dtype, device=where.device)
        scales = self.scales()
        if self.family == "diagonal":
            return torch.addcmul(self.locations[:, 0], noise, scales[:, 0])
        if self.family == "full":
            return self.locations[:, 0] + torch.einsum("nde,sne->snd", scales[:, 0], noise)
        chosen = torch.multinomial(self.weights().detach(), int(samples), replacement=True, generator=generator).t()
        each = torch.arange(self.n, device=where.device)
        spread = torch.einsum("ncde,sne->sncd", scales, noise)  # all components, then the drawn one: no copies of L
        picked = spread.gather(2, chosen[..., None, None].expand(-1, -1, 1, self.dim))[:, :, 0]
        return self.locations[each, chosen] + picked

    def log_density(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch n"]:
        """Logarithm of the density of each vector under each prototype, in nats.

        Cost: O(batch * n * dim) for the diagonal family, O(batch * n * components * dim^2) for the others.
        """
        if self.family == "diagonal":
            scales = self.scales()[:, 0]
            away = (x[:, None] - self.locations[:, 0]) / scales
            return -0.5 * (away.square().sum(2) + self.dim * math.log(2 * math.pi)) - scales.log().sum(1)
        parts = self._component_log_densities(x)
        if self.family == "full":
            return parts[:, :, 0]
        return (parts + self.weight_logits.log_softmax(1)).logsumexp(2)

    def _component_log_densities(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch n component"]:
        scales = self.scales()
        away = (x[:, None, None] - self.locations).permute(1, 2, 3, 0)  # (n, component, dim, batch)
        white = torch.linalg.solve_triangular(scales, away, upper=False)
        square = white.square().sum(2).permute(2, 0, 1)
        volume = scales.diagonal(dim1=2, dim2=3).log().sum(2)
        return -0.5 * (square + self.dim * math.log(2 * math.pi)) - volume

    @torch.no_grad()
    def modes(self) -> Float[Tensor, "n dim"]:
        """The most likely vector of each prototype: the mean of a Gaussian, the highest peak of a mixture.

        The peaks of a mixture are found by mean shift from each component's mean (Carreira-Perpinan 2000): x becomes
        (sum_c r_c P_c)^-1 sum_c r_c P_c mu_c, with precisions P_c and the responsibilities r_c of x.
        """
        if self.family != "mixture":
            return self.locations[:, 0].clone()
        precisions = torch.cholesky_inverse(self.scales().double())
        pulled = torch.einsum("ncde,nce->ncd", precisions, self.locations.double())
        x = self.locations.clone()  # (n, start, dim)
        own = torch.arange(self.n, device=x.device)
        logits = self.weight_logits.log_softmax(1)
        for _ in range(100):
            parts = self._component_log_densities(x.flatten(0, 1)).unflatten(0, (self.n, self.components))
            shares = (parts[own, :, own] + logits[:, None]).softmax(2).double()  # (n, start, component)
            system = torch.einsum("nsc,ncde->nsde", shares, precisions)
            moved = torch.linalg.solve(system, torch.einsum("nsc,ncd->nsd", shares, pulled)).to(x.dtype)
            far, x = float((moved - x).abs().max()), moved
            if far < 1e-6:
                break
        heights = self.log_density(x.flatten(0, 1)).unflatten(0, (self.n, self.components))[own, :, own]
        return x[own, heights.argmax(1)]

    def kl_to_standard_normal(
        self, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Float[Tensor, " n"]:
        """KL(p_k || N(0, I)) of each prototype, in nats.

        In closed form for Gaussians: .5 (tr(L L^T) + |mu|^2 - dim) - sum log L_ii. A mixture has none; give `samples`
        for the average of log p_k - log N(0, I) over as many draws.

        Raises:
            OptionError: a mixture without `samples`.
        """
        if self.family == "mixture":
            if samples is None:
                raise OptionError("the KL divergence of a mixture has no closed form; give samples= to estimate it")
            draws = self.sample(samples, generator)
            own = torch.arange(self.n, device=draws.device)
            log_p = self.log_density(draws.flatten(0, 1)).unflatten(0, (samples, self.n))[:, own, own]
            return (log_p + 0.5 * (draws.square().sum(2) + self.dim * math.log(2 * math.pi))).mean(0)
        scales = self.scales()[:, 0]
        diagonal = scales if self.family == "diagonal" else scales.diagonal(dim1=1, dim2=2)
        squares = scales.square().flatten(1).sum(1) + self.locations[:, 0].square().sum(1)
        return 0.5 * (squares - self.dim) - diagonal.log().sum(1)

    # ---- fitting --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_(
        self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"], *, seed: int = 0
    ) -> GaussianPrototypes:
        """Set prototype k to the distribution of the features of class k.

        Gaussians get the mean and the (unbiased) covariance of the class, or the square roots of its variances when
        diagonal; mixtures are fitted by expectation maximisation. A class with fewer than dim + 1 samples has a
        singular covariance: it is shrunk towards a multiple of the identity by the amount of Ledoit and Wolf (2004),
        with a warning; a class of one sample gets the average variance within the other classes.

        Args:
            features: vectors of the training data.
            labels: class of each, 0 to n - 1.
            seed: of the starting point of a mixture.

        Raises:
            DataError: a class without samples, labels outside 0..n - 1, or values that are not finite.
        """
        x, y = features.detach().cpu().double().numpy(), labels.detach().cpu().numpy()
        weights = None
        if self.family == "mixture":
            weights, means, factors = class_mixtures(x, y, self.n, self.components, seed)
        else:
            means, factors = class_gaussians(x, y, self.n, diagonal=self.family == "diagonal")
            means, factors = means[:, None], factors[:, None]
        self.set_(means, factors, weights)
        return self

    @torch.no_grad()
    def set_(self, means: np.ndarray, factors: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Set means (n, component, dim) and standard deviations (same shape) or Cholesky factors (..., dim, dim)."""
        scales = torch.as_tensor(factors, dtype=torch.float64)
        diagonal = scales if self.family == "diagonal" else scales.diagonal(dim1=2, dim2=3) - LEAST_SCALE
        diagonal = diagonal.clamp_min(1e-7)
        self.locations.copy_(torch.as_tensor(means, dtype=torch.float64))
        self.raw_diagonal.copy_(diagonal + torch.log(-torch.expm1(-diagonal)))  # the inverse of softplus
        if self.family != "diagonal":
            self.raw_lower.copy_(scales.flatten(2)[:, :, self._places.cpu()])
        if weights is not None:
            self.weight_logits.copy_(torch.as_tensor(weights, dtype=torch.float64).clamp_min(1e-12).log())
