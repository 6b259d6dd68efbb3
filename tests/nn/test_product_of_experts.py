"""The product of Gaussian experts against closed forms."""

import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.nn._product_of_experts import ProductOfExperts


def random_experts(n_experts: int = 3, batch: int = 4, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(n_experts, batch, dim, generator=generator, dtype=torch.double)
    return means, torch.rand(n_experts, batch, dim, generator=generator, dtype=torch.double) + 0.1


def test_product_of_densities() -> None:
    """Its log-density is the weighted sum of the experts', up to a constant in x."""
    means, variances = random_experts()
    experts = ProductOfExperts(3, eps=0.0).double()
    with torch.no_grad():
        experts.phi.copy_(torch.tensor([0.3, -1.0, 2.0]))
    mean, variance = experts(means, variances)
    x = torch.randn(6, 1, 1, dtype=torch.double)
    weights = experts.phi.softmax(0)[:, None, None, None]
    summed = (weights * torch.distributions.Normal(means[:, None], variances[:, None].sqrt()).log_prob(x)).sum(0)
    product = torch.distributions.Normal(mean, variance.sqrt()).log_prob(x)
    gap = summed - product
    assert (gap - gap[:1]).abs().max() < 1e-10


def test_equal_weights_at_first_and_precision_decides() -> None:
    experts = ProductOfExperts(2)
    assert experts.weights.tolist() == [0.5, 0.5]
    means = torch.tensor([[[0.0]], [[1.0]]])
    mean, _ = experts(means, torch.tensor([[[1e-4]], [[1.0]]]))
    assert mean.item() == pytest.approx(1e-4, rel=1e-3)


def test_an_absent_expert_has_no_say() -> None:
    means, variances = random_experts()
    present = torch.ones(3, 4, dtype=torch.bool)
    present[0, 1] = False
    present[1:, 2] = False
    means[0, 1], variances[0, 1] = torch.nan, torch.nan
    experts = ProductOfExperts(3, eps=0.0).double()
    mean, variance = experts(means, variances, present)
    assert torch.allclose(mean[2], means[0, 2])
    assert torch.allclose(variance[2], variances[0, 2])  # one expert alone is handed through
    pair = ProductOfExperts(2, eps=0.0).double()(means[1:, 1:2], variances[1:, 1:2])
    assert torch.allclose(mean[1], pair[0][0])
    assert torch.allclose(variance[1], pair[1][0])
    full = experts(means[:, :1], variances[:, :1])
    assert torch.allclose(mean[0], full[0][0])


def test_gradients_reach_the_weights_and_skip_absent_experts() -> None:
    means, variances = random_experts()
    means.requires_grad_()
    present = torch.ones(3, 4, dtype=torch.bool)
    present[0, 1] = False
    experts = ProductOfExperts(3).double()
    mean, variance = experts(means, variances, present)
    (mean.sum() + variance.sum()).backward()
    assert experts.phi.grad is not None
    assert experts.phi.grad.abs().min() > 0
    assert means.grad is not None
    assert (means.grad[0, 1] == 0).all()
    assert (means.grad[1, 1] != 0).all()


def test_bad_input() -> None:
    means, variances = random_experts()
    with pytest.raises(DataError, match=r"must both have shape \(2, batch, dim\), got \(3, 4, 5\)"):
        ProductOfExperts(2).double()(means, variances)
    present = torch.ones(3, 4, dtype=torch.bool)
    present[:, 3] = False
    with pytest.raises(DataError, match="row 3 has no expert at all"):
        ProductOfExperts(3).double()(means, variances, present)
    with pytest.raises(OptionError, match="n_experts"):
        ProductOfExperts(0)
