"""Information read off best denoisers against information that is known."""

import math

import pytest
import torch

from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.information._denoiser_information import diffusion_gaps, diffusion_mi, jackknife_error
from unsnarl.information._reliability import EstimatorWarning


def gaussian_denoiser(variance, shape=(-1, 1)):
    """The best denoiser of N(mean, variance): the condition is (mean, variance), or None for N(0, given variance)."""

    def denoiser(z, log_snr, told):
        signal, noise = (torch.sigmoid(s * log_snr).sqrt().reshape(shape).to(z) for s in (1, -1))
        mean, spread = (0.0, variance) if told is None else (told[:, :1] if told.ndim == 2 else told[0], None)
        if spread is None:
            spread = told[:, 1:] if told.ndim == 2 else told[1]
        return noise * (z - signal * mean) / (signal**2 * spread + noise**2)

    return denoiser


def gaussian_pairs(n, correlation, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    return correlation * y + math.sqrt(1 - correlation**2) * noise, y


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_gaussian_information_is_exact(correlation):
    x, y = gaussian_pairs(3_000, correlation)
    told = torch.cat([correlation * y, torch.full_like(y, 1 - correlation**2)], dim=1)
    found = diffusion_mi(gaussian_denoiser(1.0), x, told, None, rowwise=True, clip=6.0, n_snr=60, block=50_000, seed=1)
    exact = -0.5 * math.log(1 - correlation**2)
    for total, curve in ((found.total_o, found.curve_o), (found.total_s, found.curve_s)):
        chance = float(total.std()) / math.sqrt(len(x)) + float(found.quadrature.standard_error(curve.mean(1)))
        assert abs(float(total.mean()) - exact) < 3 * chance
        assert chance < 0.1 * exact + 0.01


def test_the_log_ratio_of_a_single_observation():
    # x = 1.2 under N(1, 0.25) against N(0, 1): many noises, so that only this x is left
    x = torch.tensor([[1.2]], dtype=torch.float64)
    told = torch.tensor([1.0, 0.25], dtype=torch.float64)
    found = diffusion_mi(gaussian_denoiser(1.0), x, told, None, clip=7.0, n_snr=300, n_noise=200, block=60_000)
    exact = -0.5 * math.log(0.25) - 0.5 * (0.2**2 / 0.25) + 0.5 * 1.2**2
    assert float(found.total_s) == pytest.approx(exact, abs=4 * float(found.se_s) + 0.01)
    assert float(found.se_s) < 0.03


def test_a_mixture_gives_the_log_ratio():
    means = torch.tensor([-1.0, 1.0], dtype=torch.float64)

    def denoiser(z, log_snr, told):
        signal, noise = (torch.sigmoid(s * log_snr).sqrt()[:, None] for s in (1, -1))
        spread = 0.16 * signal**2 + noise**2
        away = z - signal * means
        weights = torch.softmax(told.log() - away**2 / (2 * spread), dim=1)
        return (weights * noise * away / spread).sum(1, keepdim=True)

    x = torch.tensor([[-1.3], [0.2], [0.9]], dtype=torch.float64)
    one, half = torch.tensor([0.1, 0.9], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    found = diffusion_mi(denoiser, x, one, half, clip=6.0, n_snr=200, n_noise=100, block=60_000)
    normal = torch.exp(-((x - means) ** 2) / 0.32)
    exact = ((normal * one).sum(1) / (normal * half).sum(1)).log()
    assert (found.total_s - exact).abs().max() < 4 * float(found.se_s.max())
    assert float(found.se_s.max()) < 0.05
    assert bool((found.i_o >= 0).all())


def test_places_add_up_and_each_has_its_own():
    # x of two channels and three places; the condition moves the mean at the first place only, by 1 in one channel: KL = 1/2
    def denoiser(z, log_snr, told):
        signal, noise = (torch.sigmoid(s * log_snr).sqrt().reshape(-1, 1, 1).to(z) for s in (1, -1))
        return noise * (z - signal * told)

    told = torch.zeros(2, 3)
    told[1, 0] = 1.0
    found = diffusion_mi(denoiser, torch.randn(4, 2, 3), told, torch.zeros(2, 3), clip=6.0)
    assert found.i_o.shape == (4, 3)
    assert torch.allclose(found.i_o[:, 0], torch.full((4,), 0.5, dtype=torch.float64), atol=0.01)
    assert float(found.i_o[:, 1:].abs().max()) == 0
    assert torch.allclose(found.total_o, found.i_o.sum(1))
    assert torch.allclose(found.quadrature.integrate(found.curve_o), found.total_o)
    groups = found.groups_o * found.group_sizes[:, None, None]
    assert torch.allclose(groups.sum(0) / found.group_sizes.sum(), found.i_o)
    assert torch.allclose(found.left_out().mean(0), found.i_o, atol=0.05)

    whole = diffusion_mi(denoiser, torch.randn(4, 2, 3), told, torch.zeros(2, 3), fold=lambda q: q.sum((1, 2)))
    assert whole.i_o.shape == (4,)
    assert torch.equal(whole.total_o, whole.i_o)


def test_all_conditions_meet_the_same_noise_once():
    asked = []

    def denoiser(z, log_snr, told):
        asked.append((told, z.clone(), log_snr.clone()))
        return told * z

    x = torch.randn(2, 1, 4)
    pairs = [("b", "a"), ("c", "a"), ("c", "b"), ("b", "a")]
    found = diffusion_gaps(denoiser, x, {"a": 0.0, "b": 0.1, "c": 0.2, "unused": 5.0}, pairs, n_snr=16, block=8)
    assert set(found) == {("b", "a"), ("c", "a"), ("c", "b")}
    assert {told for told, _, _ in asked} == {0.0, 0.1, 0.2}
    by = {
        t: (torch.cat([z for told, z, _ in asked if told == t]), torch.cat([a for told, _, a in asked if told == t]))
        for t in (0.0, 0.1, 0.2)
    }
    assert by[0.0][0].shape == (32, 1, 4)  # 16 points, 2 rows, once
    assert torch.equal(by[0.0][0], by[0.2][0])
    assert torch.equal(by[0.0][1], by[0.1][1])
    # (0.2 z)^2 is four times (0.1 z)^2, at the same z
    assert torch.allclose(found["c", "a"].i_o, 4 * found["b", "a"].i_o)
    assert torch.allclose(found["c", "b"].i_s, found["c", "a"].i_s - found["b", "a"].i_s)


def test_blocks_do_not_change_the_numbers_and_are_kept():
    sizes = []

    def denoiser(z, log_snr, told):
        sizes.append(len(z))
        return told * z

    x = torch.randn(5, 3, 2)
    found = [diffusion_mi(denoiser, x, 0.3, 0.0, n_snr=17, n_noise=2, block=b).i_s for b in (3, 5, 12, 1_000)]
    for other in found[1:]:
        assert torch.allclose(found[0], other)
    assert max(sizes[: 2 * 34 * 2]) <= 3


def test_snapped_log_snrs_are_what_the_channel_uses():
    grid = torch.linspace(-5, 7, 25)
    seen = []

    def denoiser(z, log_snr, told):
        seen.append(log_snr)
        return told * z

    found = diffusion_mi(
        denoiser, torch.randn(1, 2), 0.1, 0.0, snap=lambda a: grid[(a[:, None] - grid).abs().argmin(1)], n_snr=40
    )
    assert set(torch.cat(seen).tolist()) <= set(grid.tolist())
    assert set(found.log_snr.tolist()) <= set(grid.double().tolist())
    assert not torch.equal(found.quadrature.points, found.log_snr)
    with pytest.raises(OptionError, match="snap"):
        diffusion_mi(denoiser, torch.randn(1, 2), 0.1, 0.0, snap=lambda a: a[:3])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.randn(20, dtype=torch.float64)
    left = (values.sum() - values) / 19
    assert float(jackknife_error(left)) == pytest.approx(float(values.std() / math.sqrt(20)))
    assert math.isnan(float(jackknife_error(left[:1])))


def test_bad_input():
    def fine(z, log_snr, told):
        return 0 * z

    x = torch.randn(2, 3)
    with pytest.raises(DataError, match="shape of z"):
        diffusion_mi(lambda z, a, told: z[:, :1], x, 1.0, n_snr=16)
    with pytest.raises(DataError, match="not finite for the condition 'told'"):
        diffusion_mi(lambda z, a, told: z * (math.nan if told else 1), x, 1.0, n_snr=16)
    with pytest.raises(DataError, match="x must be finite"):
        diffusion_mi(fine, x * math.inf, 1.0)
    with pytest.raises(DataError, match="not be empty"):
        diffusion_mi(fine, torch.zeros(0, 3), 1.0)
    with pytest.raises(OptionError, match="n_noise"):
        diffusion_mi(fine, x, 1.0, n_noise=0)
    with pytest.raises(OptionError, match="fold must keep the rows"):
        diffusion_mi(fine, x, 1.0, fold=lambda q: q[:1], n_snr=16)
    with pytest.raises(UnknownNameError, match="did you mean 'told'"):
        diffusion_gaps(fine, x, {"told": 1, "not": 0}, [("tld", "not")])
    with pytest.raises(DataError, match="pairs"):
        diffusion_gaps(fine, x, {"told": 1}, [])
    with pytest.warns(EstimatorWarning, match="few"):
        diffusion_mi(fine, x, 1.0, n_snr=8)


def test_progress_ends_at_all_rows():
    told = []
    diffusion_gaps(
        lambda z, a, c: c * z,
        torch.randn(3, 2),
        {"a": 0.0, "b": 1.0},
        [("b", "a")],
        n_snr=16,
        block=7,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (48, 48)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
