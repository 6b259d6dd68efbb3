"""The style-based generator: its layers against their definitions, its losses against hand-made networks, its training."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from unsnarl.errors import CheckpointError, DataError, OptionError
from unsnarl.training import Run, train
from unsnarl.zoo._gan_recipe import (
    GAN_CORRELATED,
    GAN_TINY,
    GanTask,
    SpriteBatches,
    path_lengths,
    read_generator,
    settle_mean,
    squared_slopes,
    write_generator,
)
from unsnarl.zoo._style_gan import Discriminator, Generator, minibatch_deviation
from unsnarl.zoo._style_layers import Blur, Convolution, Dense, ModulatedConvolution, Upsample


def seeded(n):
    return torch.Generator().manual_seed(n)


def tiny(**options):
    torch.manual_seed(0)
    return Generator(**({"widths": (16, 8, 8, 8), "latent": 8, "style": 8, "depth": 2} | options)).eval()


def tiny_task(steps=8, **options):
    generator = tiny()
    return GanTask(steps=steps, generator=generator, discriminator=Discriminator((16, 8, 8, 8)), **options)


def test_modulation_and_demodulation_are_equations_one_and_three():
    torch.manual_seed(0)
    layer = ModulatedConvolution(5, 7, 3, 4)
    x, w = torch.randn(3, 5, 6, 6), torch.randn(3, 4)
    style = layer.affine(w)
    out = layer(x, w)
    for i in range(3):
        weight = layer.weight / math.sqrt(5 * 9) * style[i][None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(out[i], functional.conv2d(x[i : i + 1], weight, padding=1)[0], atol=1e-5)
    plain = ModulatedConvolution(5, 3, 1, 4, demodulate=False)
    by_hand = torch.einsum(
        "oi,nihw->nohw", plain.weight[:, :, 0, 0] / math.sqrt(5), x * plain.affine(w)[:, :, None, None]
    )
    assert torch.allclose(plain(x, w), by_hand, atol=1e-5)


def test_demodulated_features_keep_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedConvolution(64, 32, 3, 8)
    for size in (0.1, 1.0, 30.0):
        out = layer(torch.randn(4, 64, 16, 16), size * torch.randn(4, 8))
        assert float(out[:, :, 1:-1, 1:-1].detach().std()) == pytest.approx(1.0, abs=0.1)


def test_scaled_weights_and_slow_layers_start_alike():
    torch.manual_seed(0)
    x = torch.randn(4000, 64)
    for rate in (1.0, 0.01):
        layer = Dense(64, 64, bias=1.0, rate=rate)
        y = layer(x)
        assert float(y.detach().std()) == pytest.approx(1.0, abs=0.05)
        assert float(y.detach().mean()) == pytest.approx(1.0, abs=0.05)
        y.sum().backward()
        assert float(layer.bias.grad[0]) == pytest.approx(4000 * rate, rel=1e-4)


def test_resampling_keeps_a_constant_and_the_size_told():
    ones = torch.ones(2, 3, 8, 8)
    up = Upsample()(ones)
    assert up.shape == (2, 3, 16, 16)
    assert torch.allclose(up[:, :, 1:-1, 1:-1], torch.ones(()))
    assert torch.allclose(Blur(2)(ones)[:, :, 3:-3, 3:-3], torch.ones(()))
    assert Blur(2)(ones).shape[-1] == 9
    dot = torch.zeros(1, 1, 8, 8)
    dot[0, 0, 4, 4] = 1.0
    expected = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4  # twice as many pixels, each a half of [1, 3, 3, 1] / 8 of two
    assert torch.allclose(Upsample()(dot)[0, 0, 7:11, 8] / Upsample()(dot)[0, 0, 8, 8], expected / expected[1])
    for size in (1, 3):
        assert Convolution(3, 5, size, halve=True)(ones).shape == (2, 5, 4, 4)
        assert Convolution(3, 5, size)(ones).shape == (2, 5, 8, 8)
    w = torch.zeros(2, 4)
    assert ModulatedConvolution(3, 5, 3, 4, double=True)(ones, w).shape == (2, 5, 16, 16)
    doubled = ModulatedConvolution(3, 5, 3, 4, double=True, demodulate=False)
    doubled.weight.data.fill_(1.0)
    # the transposed convolution spreads 9 taps over 4 pixels and the filter has gain 4: 9 on average, 3 channels, scale 1 / sqrt 27
    assert torch.allclose(doubled(ones, w)[:, :, 4:-4, 4:-4].mean(), torch.tensor(9 * 3 / math.sqrt(27)), rtol=1e-4)


def test_the_sizes_of_the_real_network():
    generator, discriminator = Generator(), Discriminator()
    assert 0.9e6 < sum(p.numel() for p in generator.parameters()) < 1.1e6
    assert sum(p.numel() for p in discriminator.parameters()) < 1.1e6
    assert (generator.layers, generator.image_size, generator.latent, generator.style_width) == (8, 32, 64, 64)
    w = generator.style(generator.latents(4, seed=0))
    assert w.shape == (4, 64)
    images = generator.synthesize(w)
    assert images.shape == (4, 3, 32, 32)
    assert float(images.detach().abs().max()) <= 1
    assert discriminator(images).shape == (4,)


def test_every_layer_matters_and_no_image_knows_another():
    generator = tiny()
    w = generator.style(generator.latents(3, seed=0))
    images = generator.synthesize(w)
    assert torch.equal(generator.synthesize(generator.spread(w)), images)
    assert torch.allclose(generator.synthesize(w[1:2])[0], images[1], atol=1e-6)
    other = generator.style(generator.latents(3, seed=1))
    for layer in range(generator.layers):
        swapped = generator.swap(w, other, (layer, layer + 1))
        assert (swapped != generator.spread(w)).any(2).sum() == 3
        assert float((generator.synthesize(swapped) - images).detach().abs().max()) > 1e-4
    assert torch.equal(generator.swap(w, other, (0, 8)), generator.spread(other))
    assert torch.equal(generator.latents(2, seed=0), generator.latents(5, seed=0)[:2])


def test_only_the_direction_of_z_counts_and_truncation_is_a_line_to_the_mean():
    generator = tiny()
    settle_mean(generator, n=500)
    z = generator.latents(3, seed=2)
    w = generator.style(z)
    assert torch.allclose(generator.style(7.0 * z), w, atol=1e-5)
    assert float(generator.mean_w.norm()) > 0.05
    assert torch.allclose(generator.style(z, 0.25), generator.mean_w + 0.25 * (w - generator.mean_w), atol=1e-6)
    assert torch.allclose(generator.style(z, 0.0), generator.mean_w.expand(3, -1))
    plus = generator.spread(w)
    assert torch.allclose(generator.truncate(plus, 0.5)[:, 3], generator.style(z, 0.5), atol=1e-6)
    assert torch.equal(generator(z, 0.5), generator.synthesize(generator.style(z, 0.5)))
    big = torch.randn(20_000, 8, generator=seeded(5))
    assert torch.allclose(generator.mean_w, generator.style(big).mean(0), atol=0.1)


def test_both_modes_of_differentiation_and_batched_maps():
    generator = tiny(widths=(4, 4)).double()
    w = generator.style(torch.randn(2, 8, generator=seeded(0)).double()).detach()
    v = torch.randn(2, 8, generator=seeded(1)).double()
    _, forward = torch.func.jvp(generator.synthesize, (w,), (v,))
    step = 1e-6
    finite = (generator.synthesize(w + step * v) - generator.synthesize(w - step * v)) / (2 * step)
    assert torch.allclose(forward, finite, atol=1e-6)
    y = torch.randn(forward.shape, generator=seeded(2)).double()
    leaf = w.clone().requires_grad_()
    (back,) = torch.autograd.grad((generator.synthesize(leaf) * y).sum(), leaf)
    assert float((back * v).sum()) == pytest.approx(float((forward * y).sum()), rel=1e-8)
    each = torch.func.vmap(torch.func.jacfwd(lambda one: generator.synthesize(one[None])[0].mean()))(w)
    assert each.shape == (2, 8)


def test_noise_is_off_unless_asked_for():
    quiet, noisy = tiny(), tiny(noise=True)
    w = quiet.style(quiet.latents(2, seed=0))
    with pytest.raises(OptionError, match="noise"):
        quiet.synthesize(w, noise=seeded(0))
    for layer in noisy.convolutions:
        layer.strength.data.fill_(0.5)
    still = noisy.synthesize(w)
    assert torch.equal(still, noisy.synthesize(w))
    first = noisy.synthesize(w, noise=seeded(0))
    assert torch.equal(first, noisy.synthesize(w, noise=seeded(0)))
    assert not torch.equal(first, noisy.synthesize(w, noise=seeded(1)))
    assert not torch.equal(first, still)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: g.style(torch.zeros(2, 9)), DataError, r"z must have shape \(n, 8\), got \(2, 9\)"),
        (lambda g: g.style(torch.zeros(2, 8), 1.5), OptionError, "truncation"),
        (lambda g: g.synthesize(torch.zeros(2, 9)), DataError, r"\(n, 8\) or \(n, 8, 8\)"),
        (lambda g: g.synthesize(torch.zeros(2, 7, 8)), DataError, r"got \(2, 7, 8\)"),
        (lambda g: g.swap(torch.zeros(2, 8), torch.zeros(2, 8), (3, 9)), OptionError, "last <= 8"),
        (lambda g: g.swap(torch.zeros(2, 8), torch.zeros(2, 8), (3, 3)), OptionError, "first < last"),
        (lambda g: g.latents(0, 0), OptionError, "n=0"),
        (lambda g: Generator(widths=()), OptionError, "widths"),
        (lambda g: Generator(depth=0), OptionError, "depth"),
        (lambda g: minibatch_deviation(torch.zeros(6, 2, 4, 4), 4), DataError, "groups of 4"),
    ],
)
def test_bad_input_gets_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call(tiny())


def test_the_spread_of_a_group_by_hand():
    x = torch.randn(8, 3, 4, 4, generator=seeded(0))
    out = minibatch_deviation(x, 4)
    assert torch.equal(out[:, :3], x)
    for k in range(2):  # the groups are 0, 2, 4, 6 and 1, 3, 5, 7
        expected = np.sqrt(x[k::2].numpy().var(0) + 1e-8).mean()
        assert torch.allclose(out[k::2, 3], torch.tensor(expected), atol=1e-6)


class Linear(torch.nn.Module):
    """A discriminator whose score is a fixed slope times the image."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.randn(3, 32, 32, generator=seeded(3)) / 50)

    def forward(self, images):
        return (images * self.slope).sum((1, 2, 3))


def test_losses_are_logistic_and_lazy_terms_come_on_their_steps():
    task = GanTask(steps=100, generator=tiny(), discriminator=Linear(), gamma=0.3)
    task.prepare()
    task.eval()  # the running mean stays
    (images,) = SpriteBatches(4, seed=0)(0)
    with torch.no_grad():
        fake = task.generator.synthesize(task.styles(4, seeded(7)))
        real_scores, fake_scores = task.discriminator(images).double(), task.discriminator(fake).double()
    game = float((1 + fake_scores.exp()).log().mean() + (1 + (-real_scores).exp()).log().mean())
    plain = task("discriminator", (images,), 14, seeded(7))
    assert float(plain["loss"]) == pytest.approx(game, rel=1e-5)
    assert "r1" not in plain
    lazy = task("discriminator", (images,), 15, seeded(7))
    size = float(task.discriminator.slope.square().sum())
    assert float(lazy["r1"]) == pytest.approx(size, rel=1e-5)
    assert float(lazy["loss"]) == pytest.approx(game + 0.5 * 0.3 * 16 * size, rel=1e-5)
    lazy["loss"].backward()
    assert task.discriminator.slope.grad is not None
    assert all(p.grad is None for p in task.generator.parameters())

    made = task("generator", (images,), 6, seeded(7))
    assert float(made["loss"]) == pytest.approx(float((1 + (-fake_scores).exp()).log().mean()), rel=1e-5)
    assert float(task.path_mean) == 0.0
    longer = task("generator", (images,), 7, seeded(7))
    assert float(task.path_mean) == pytest.approx(0.01 * float(longer["path"]), rel=1e-5)
    spread = float(longer["path_spread"]) ** 2 + (0.99 * float(longer["path"])) ** 2
    assert float(longer["loss"] - longer["game"]) == pytest.approx(2 * 8 * spread, rel=1e-4)
    task.discriminator.slope.grad = None
    longer["loss"].backward()
    assert task.discriminator.slope.grad is None
    assert task.generator.constant.grad is not None


def test_path_lengths_are_norms_of_jacobian_products_and_have_gradients():
    generator = tiny().double()
    w = generator.style(torch.randn(2, 8, generator=seeded(0)).double())
    styles = generator.spread(w).detach().clone().requires_grad_()
    y = torch.randn(2, 3, 32, 32, generator=seeded(1)).double()
    lengths = path_lengths(generator, styles, y)
    jacobian = torch.autograd.functional.jacobian(lambda s: (generator.synthesize(s) * y).sum((1, 2, 3)), styles)
    for i in range(2):
        product = jacobian[i, i]  # (layers, style)
        assert float(lengths[i].detach()) == pytest.approx(math.sqrt(float(product.square().sum()) / 8), rel=1e-6)
    lengths.sum().backward()
    assert float(generator.constant.grad.abs().sum()) > 0
    x = torch.randn(2, 3, 32, 32, requires_grad=True)
    assert torch.allclose(squared_slopes((x**2).sum((1, 2, 3)), x), (2 * x).square().sum((1, 2, 3)))


def test_a_share_of_the_styles_is_mixed():
    task = tiny_task(mixed=1.0)
    styles = task.styles(64, seeded(0))
    changes = (styles[:, 1:] != styles[:, :-1]).any(2).sum(1)
    assert (changes == 1).all()  # from one style to the other, once
    places = (styles[:, 1:] != styles[:, :-1]).any(2).float().mean(0)
    assert float(places.min()) > 0
    task.mixed = 0.0
    styles = task.styles(64, seeded(0))
    assert torch.equal(styles, styles[:, :1].expand(-1, 8, -1))


def test_the_rate_falls_at_the_end_alone():
    task = tiny_task(steps=100)
    assert [round(task.rate(step), 3) for step in (0, 60, 80, 100)] == [1.0, 1.0, 0.55, 0.1]


def eight_pixels(steps, lr=2e-3):
    torch.manual_seed(0)
    generator = Generator(widths=(16, 16), latent=8, style=8, depth=2)
    return GanTask(steps=steps, lr=lr, generator=generator, discriminator=Discriminator((16, 16)))


def test_training_moves_both_and_resumes_to_the_same_bits(tmp_path):
    def batches(step):
        return (torch.rand(4, 3, 8, 8, generator=seeded(step)),)

    whole = eight_pixels(17)
    before = whole.generator.constant.detach().clone()
    train(whole, batches, steps=17, run=Run(tmp_path / "whole", {}), checkpoint_every=50, progress=False)
    stopped = eight_pixels(17)
    train(stopped, batches, steps=9, run=Run(tmp_path / "stopped", {}), checkpoint_every=50, progress=False)
    resumed = eight_pixels(17)
    train(resumed, batches, steps=17, run=Run(tmp_path / "stopped", {}), checkpoint_every=50, progress=False)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not torch.equal(before, whole.generator.constant)
    assert not torch.equal(whole.generator.constant, whole.average.module.constant)
    assert float(whole.path_mean) > 0
    assert float(whole.generator.mean_w.norm()) > 0


def test_the_generator_learns_the_brightness_of_its_images():
    task = eight_pixels(40, lr=1e-2)
    generator = task.generator
    bright = torch.full((4, 3, 8, 8), 0.6)
    before = float((generator(generator.latents(16, 1)) - 0.6).abs().mean().detach())
    train(task, lambda step: (bright,), steps=40, progress=False)
    after = float((generator(generator.latents(16, 1)) - 0.6).abs().mean().detach())
    assert after < 0.7 * before


def test_a_written_generator_is_read_again(tmp_path):
    generator = tiny(noise=True)
    settle_mean(generator, n=100)
    write_generator(generator, tmp_path)
    again = read_generator(tmp_path)
    assert again.config == generator.config
    z = generator.latents(3, seed=0)
    assert torch.allclose(again(z, 0.7), generator(z, 0.7), atol=0.02)  # half precision on the disk
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_generator(tmp_path)


def test_the_recipes_differ_in_their_data_alone():
    assert GAN_TINY.settings["correlate"] == {}
    assert GAN_CORRELATED.settings["correlate"] == {"hue size": 0.8, "shape x": 0.6}
    assert GAN_TINY.steps * GAN_TINY.batch_size == pytest.approx(112_000, rel=1e-3)
    batches = GAN_TINY.batches({})
    (images,) = batches(5)
    assert images.shape == (GAN_TINY.batch_size, 3, 32, 32)
    assert torch.equal(images, GAN_TINY.batches({})(5)[0])
    assert not torch.equal(images, batches(6)[0])
    assert float(images.abs().max()) <= 1
    rows = np.concatenate([GAN_CORRELATED.batches({}).rows(step) for step in range(200)])
    assert np.corrcoef(rows[:, 1], rows[:, 2])[0, 1] > 0.7


def test_a_recipe_writes_the_average_with_its_own_mean_style(tmp_path, monkeypatch):
    from unsnarl.zoo import _gan_recipe

    monkeypatch.setattr(_gan_recipe, "Generator", lambda **given: Generator(**({"widths": (16, 8, 8, 8)} | given)))
    monkeypatch.setattr(_gan_recipe, "Discriminator", lambda: Discriminator((16, 8, 8, 8)))
    small = _gan_recipe.gan_recipe("small", "a small one", images=32, batch_size=4)
    folder = small.train({}, tmp_path, progress=False)
    loaded = small.load(folder)
    w = loaded.style(torch.randn(4000, 64, generator=seeded(9)))
    assert torch.allclose(loaded.mean_w, w.mean(0), atol=0.05)
    assert loaded(loaded.latents(2, 0)).shape == (2, 3, 32, 32)
