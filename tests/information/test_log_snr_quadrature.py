"""Points and weights over log-SNRs against integrals that are known."""

import math

import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.information._log_snr_quadrature import log_snr_quadrature
from unsnarl.information._reliability import EstimatorWarning


def logistic(a):
    return torch.sigmoid(a) * torch.sigmoid(-a)


@pytest.mark.parametrize("clip", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("stratified", [True, False])
def test_the_weights_integrate_over_the_truncated_range(clip, stratified):
    nodes = log_snr_quadrature(20_000, loc=0.5, scale=1.5, clip=clip, stratified=stratified, seed=3)
    assert (nodes.low, nodes.high) == (0.5 - 1.5 * clip, 0.5 + 1.5 * clip)
    assert float(nodes.points.min()) >= nodes.low
    assert float(nodes.points.max()) <= nodes.high
    ones = torch.ones(20_000)
    known = 3 * clip
    assert float(nodes.integrate(ones)) == pytest.approx(known, rel=0.001 if stratified else 0.08)
    exact = float(torch.sigmoid(torch.tensor(nodes.high)) - torch.sigmoid(torch.tensor(nodes.low)))
    assert float(nodes.integrate(logistic(nodes.points))) == pytest.approx(exact, rel=0.001 if stratified else 0.03)


def test_the_weight_is_one_over_the_density():
    nodes = log_snr_quadrature(16, loc=1.0, scale=2.0, clip=3.0)
    u = (nodes.points - 1.0) / 2.0
    density = logistic(u) / (2.0 * (1 / (1 + math.exp(-3)) - 1 / (1 + math.exp(3))))
    assert torch.allclose(nodes.weights * density, torch.ones(16, dtype=torch.float64))


def test_the_uniform_law_weighs_by_its_width():
    # not by one over it, which is 144 times as little over [-5, 7]
    nodes = log_snr_quadrature(400, law="uniform")
    assert set(nodes.weights.tolist()) == {12.0}
    assert float(nodes.integrate(torch.ones(400))) == pytest.approx(12.0)
    exact = float(torch.sigmoid(torch.tensor(7.0)) - torch.sigmoid(torch.tensor(-5.0)))
    assert float(nodes.integrate(logistic(nodes.points))) == pytest.approx(exact, rel=0.01)
    assert bool((nodes.points.diff() > 0).all())
    with pytest.raises(OptionError, match="law='normal'"):
        log_snr_quadrature(20, law="normal")


def test_each_part_of_the_law_has_one_point():
    nodes = log_snr_quadrature(50, clip=3.0, seed=1)
    low, high = (1 / (1 + math.exp(s * 3)) for s in (1, -1))
    place = (torch.sigmoid((nodes.points - 1) / 2) - low) / (high - low) * 50
    assert place.long().tolist() == list(range(50))


def test_points_depend_on_the_seed_alone():
    assert torch.equal(log_snr_quadrature(20, seed=4).points, log_snr_quadrature(20, seed=4).points)
    assert not torch.equal(log_snr_quadrature(20, seed=4).points, log_snr_quadrature(20, seed=5).points)


@pytest.mark.parametrize("stratified", [True, False])
def test_the_standard_error_is_the_spread_over_seeds(stratified):
    found, errors = [], []
    for seed in range(200):
        nodes = log_snr_quadrature(40, stratified=stratified, seed=seed)
        generator = torch.Generator().manual_seed(1_000 + seed)
        noisy = torch.exp(-(nodes.points**2) / 8) * (1 + 0.5 * torch.randn(40, generator=generator))
        found.append(float(nodes.integrate(noisy)))
        errors.append(float(nodes.standard_error(noisy)))
    spread, said = torch.tensor(found).std().item(), sum(errors) / len(errors)
    assert 0.85 * spread < said < 1.35 * spread


def test_stratified_points_err_less():
    def spread(stratified):
        values = []
        for seed in range(100):
            nodes = log_snr_quadrature(32, stratified=stratified, seed=seed)
            values.append(float(nodes.integrate(torch.exp(-(nodes.points**2) / 8))))
        return torch.tensor(values).std().item()

    assert spread(True) < 0.1 * spread(False)


def test_values_of_many_places_and_one_point():
    nodes = log_snr_quadrature(30)
    both = torch.stack([torch.ones(30), 2 * torch.ones(30)], dim=1)
    assert nodes.integrate(both).tolist() == pytest.approx(
        [float(nodes.weights.mean()), 2 * float(nodes.weights.mean())]
    )
    with pytest.warns(EstimatorWarning, match="1 log-SNRs are few"):
        one = log_snr_quadrature(1)
    assert math.isnan(float(one.standard_error(torch.ones(1))))
    with pytest.raises(DataError, match="one row a point"):
        nodes.integrate(torch.ones(29))


@pytest.mark.parametrize("bad", [{"n": 0}, {"scale": 0.0}, {"clip": -1.0}, {"clip": 25.0}, {"seed": -1}])
def test_options_out_of_range(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        log_snr_quadrature(**{"n": 20, **bad})


def test_few_points_are_said():
    with pytest.warns(EstimatorWarning, match="15 log-SNRs are few"):
        log_snr_quadrature(15)
