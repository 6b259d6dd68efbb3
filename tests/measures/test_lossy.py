"""Mutual information through lossy compression, its compressors, and MINE."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.data.known._pairs import draw_images, gaussian_pair, image_pair
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.information import EstimatorWarning, mutual_information
from unsnarl.information._kde_entropy import kde_bandwidth, kde_entropy
from unsnarl.information._weighted_entropy import weighted_entropy
from unsnarl.measures.lossy import (
    AutoencoderCompressor,
    FirstCoordinates,
    LossyMutualInformation,
    PCACompressor,
    code_information,
    mine_mutual_information,
)
from unsnarl.measures.lossy._mine import MineTask
from unsnarl.measures.lossy._networks import CompressorTask, ConvCompressor, DenseCompressor
from unsnarl.training import Run

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")
PLAIN = {"x_compressor": "identity", "y_compressor": "identity"}


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("mi", [0.0, 1.0, 4.0])
def test_correlated_gaussians_to_a_twentieth_of_a_nat(d, mi):
    x, y = gaussian_pair(mi, d, d, n=10_000, seed=d)
    found, error = LossyMutualInformation(**PLAIN).fit(x, y).estimate()
    assert found == pytest.approx(mi, abs=0.05)
    assert 0.01 < error < 0.1


@quiet
def test_sums_of_entropies():
    x, y = gaussian_pair(1.0, 2, 1, n=800)
    h = [weighted_entropy(v, n_neighbors=5, weights="nearest") for v in (x, y, np.c_[x, y])]
    found = LossyMutualInformation(**PLAIN, k=5, weights="nearest").fit(x, y).estimate()
    assert found.mi == pytest.approx(h[0].entropy + h[1].entropy - h[2].entropy, abs=1e-9)
    assert found.standard_error == pytest.approx(sum(e.standard_error for e in h), abs=1e-9)


def test_one_bandwidth_for_all_three_densities():
    x, y = gaussian_pair(1.0, 1, 1, n=600)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    b = kde_bandwidth(np.c_[x, y])
    h = [kde_entropy(v, bandwidth=b, whiten=False).entropy for v in (x, y, np.c_[x, y])]
    found = LossyMutualInformation(**PLAIN, entropy="kde").fit(x, y).estimate()
    assert found.mi == pytest.approx(h[0] + h[1] - h[2], abs=1e-6)
    for kernel in ("tophat", "epanechnikov"):
        other = LossyMutualInformation(**PLAIN, entropy="kde", kernel=kernel, bandwidth="lsq").fit(x, y).estimate()
        assert 0.4 < other.mi < 1.1  # low, because the most remote point sets the bandwidth


@pytest.mark.parametrize("entropy", ["kl", "kde"])
def test_labels(entropy):
    """A mixture of two far Gaussians says everything of its component; one of two equal ones nothing."""
    rng = np.random.default_rng(0)
    n = 2000 if entropy == "kl" else 700
    y = rng.integers(2, size=n)
    x = rng.normal(size=(n, 2))
    apart = x + 20 * y[:, None] * [1, 0]
    measure = LossyMutualInformation("identity", entropy=entropy)
    truth = mutual_information(y, y)
    assert measure.fit(apart, y).estimate().mi == pytest.approx(truth, abs=0.1 if entropy == "kl" else 0.3)
    assert measure.fit(x, y).estimate().mi == pytest.approx(0, abs=0.05)
    named = measure.fit(apart, np.array(["b", "a"])[y]).estimate()
    assert named == pytest.approx(measure.fit(apart, y).estimate(), abs=1e-9)
    swapped = LossyMutualInformation("labels", "identity", entropy=entropy).fit(y, apart).estimate()
    assert swapped == measure.fit(apart, y).estimate()


@quiet
def test_labels_by_their_definition():
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=900)
    x = rng.normal(size=(900, 2)) * (1 + y[:, None])
    expected = weighted_entropy(x, n_neighbors=5).entropy
    expected -= sum(np.mean(y == c) * weighted_entropy(x[y == c], n_neighbors=5).entropy for c in range(3))
    assert LossyMutualInformation("identity", k=5).fit(x, y).estimate().mi == pytest.approx(expected, abs=1e-9)


def test_two_columns_of_labels():
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=5000)
    y = np.where(rng.random(5000) < 0.8, x, rng.integers(3, size=5000))
    found = LossyMutualInformation().fit(x, y).estimate()
    assert found.mi == pytest.approx(mutual_information(x, y), abs=1e-12)
    runs = []
    for seed in range(40):
        g = np.random.default_rng(seed)
        a = g.integers(3, size=500)
        b = np.where(g.random(500) < 0.8, a, g.integers(3, size=500))
        runs.append(code_information(a, b))
    assert np.std([r.mi for r in runs]) == pytest.approx(np.mean([r.standard_error for r in runs]), rel=0.35)


@quiet
def test_other_pairs_than_those_fitted_are_the_ones_estimated():
    measure = LossyMutualInformation("pca", "pca", dim=1)
    strong, weak = gaussian_pair(3.0, 1, 1, 1000, 0), gaussian_pair(0.0, 1, 1, 1000, 1)
    spread = np.array([[1.0, 0.5, -0.5]])
    strong, weak = ((x @ spread, y @ spread) for x, y in (strong, weak))
    fitted = measure.fit(*strong)
    assert fitted.estimate().mi == pytest.approx(3, abs=0.2)
    assert fitted.estimate(*weak).mi == pytest.approx(0, abs=0.1)
    assert fitted.estimate(*strong) == fitted.estimate()


@pytest.fixture(scope="module")
def blobs():
    """An autoencoder that has learned 16 x 16 blobs, briefly."""
    images = np.concatenate(image_pair(0, "blobs", 1000, seed=50))
    return images, AutoencoderCompressor(2, steps=250, batch_size=64, lr=5e-3).fit(images)


@quiet
def test_an_autoencoder_unfolds_what_components_fold(blobs):
    images, compressor = blobs
    x, y = image_pair(2.0, "blobs", 3000, seed=7)
    by_code = LossyMutualInformation(compressor, compressor, dim=2).fit(x, y).estimate().mi
    pca = PCACompressor(2).fit(images)
    by_components = LossyMutualInformation(pca, pca, dim=2).fit(x, y).estimate().mi
    assert by_code == pytest.approx(2.0, abs=0.45)
    assert by_components < by_code - 0.5
    independent = LossyMutualInformation(compressor, compressor, dim=2).fit(x, np.roll(y, 1, axis=0)).estimate().mi
    assert independent == pytest.approx(0, abs=0.45)


def test_the_code_tells_the_pictures_parameters(blobs):
    images, compressor = blobs
    values = np.random.default_rng(0).normal(size=(500, 2))
    codes = compressor.transform(draw_images(values, "blobs", 16))
    assert codes.shape == (500, 2)
    assert codes.dtype == np.float64
    features = np.c_[codes, codes**2, codes[:, :1] * codes[:, 1:], codes**3, np.ones(500)]
    left = values - features @ np.linalg.lstsq(features, values, rcond=None)[0]
    assert (left.var(axis=0) / values.var(axis=0)).max() < 0.5
    error = (compressor.reconstruct(images) - torch.as_tensor(images)).abs().mean()
    assert error < 0.5 * np.abs(images - np.median(images, axis=0)).mean()
    assert compressor.history_[-1]["loss"] < compressor.history_[0]["loss"]


def test_the_published_sizes():
    network = ConvCompressor((1, 28, 28), 4, 0.1)
    assert [c.weight.shape[0] for c in network.convolutions] == [8, 16, 32]
    assert network.back[2].out_features == 1568
    assert [c.weight.shape[0] for c in network.deconvolutions] == [16, 8, 1]
    dense = DenseCompressor(32, 4, 0.1)
    assert [layer.out_features for layer in (*dense.encoder, dense.code)] == [24, 16, 4]
    assert [layer.out_features for layer in dense.decoder] == [16, 24, 32]


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 13, 21)])
def test_images_of_any_size_and_channels(size):
    network = ConvCompressor(size, 3, 0.0)
    x = torch.rand(2, *size)
    assert network.decode(network.code(network.features(x))).shape == x.shape


def test_what_is_random_comes_from_the_generator():
    task = CompressorTask(
        DenseCompressor(6, 2, 0.3), code="linear", latent_noise=0.5, lr=0.1, shift=torch.zeros(6), scale=torch.ones(6)
    )
    x = torch.rand(50, 6)
    losses = [float(task("main", (x,), 0, torch.Generator().manual_seed(seed))["loss"].detach()) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(task.codes(x), task.codes(x))
    quiet_task = CompressorTask(
        DenseCompressor(6, 2, 0.0), code="linear", latent_noise=0.0, lr=0.1, shift=torch.zeros(6), scale=torch.ones(6)
    )
    expected = (quiet_task.reconstruct(x) - x).abs().mean()
    assert float(quiet_task("main", (x,), 0, torch.Generator())["loss"].detach()) == pytest.approx(
        float(expected.detach())
    )


def test_three_codes():
    x = np.random.default_rng(0).normal(size=(300, 6))
    options = {"steps": 20, "batch_size": 50, "seed": 3}
    sigmoid = AutoencoderCompressor(2, code="sigmoid", **options).fit(x).transform(x)
    before = AutoencoderCompressor(2, code="pre-sigmoid", **options).fit(x).transform(x)
    assert sigmoid.min() > 0
    assert sigmoid.max() < 1
    assert 1 / (1 + np.exp(-before)) == pytest.approx(sigmoid, abs=1e-5)
    linear = AutoencoderCompressor(2, **options).fit(x).transform(x)
    assert not np.allclose(linear, before)


def test_same_seed_same_code_and_resume(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 6))
    whole = AutoencoderCompressor(2, steps=30, batch_size=50, seed=1).fit(x).transform(x)
    again = AutoencoderCompressor(2, steps=30, batch_size=50, seed=1).fit(x).transform(x)
    assert np.array_equal(whole, again)
    AutoencoderCompressor(2, steps=12, batch_size=50, seed=1).fit(x, run=Run(tmp_path / "run", {}))
    resumed = AutoencoderCompressor(2, steps=30, batch_size=50, seed=1).fit(x, run=Run(tmp_path / "run", {}))
    assert np.array_equal(resumed.transform(x), whole)
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    AutoencoderCompressor(2, steps=2, batch_size=50).fit(x)
    assert torch.equal(torch.rand(1), before)  # the global stream is untouched


def test_unsigned_bytes_are_pixels():
    images = np.random.default_rng(0).integers(0, 256, size=(60, 8, 8), dtype=np.uint8)
    options = {"steps": 5, "batch_size": 30}
    a = AutoencoderCompressor(2, **options).fit(images).transform(images)
    b = AutoencoderCompressor(2, **options).fit(images / np.float32(255)).transform(images / np.float32(255))
    assert a == pytest.approx(b, abs=1e-5)


def test_components_and_first_numbers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 10))
    codes = PCACompressor(3).fit(x).transform(x)
    centered = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(centered, full_matrices=False)
    assert np.abs(codes) == pytest.approx(np.abs(u[:, :3] * s[:3]), abs=1e-8)
    images = rng.normal(size=(20, 1, 4, 4))
    assert np.array_equal(FirstCoordinates(3).fit(images).transform(images), images.reshape(20, 16)[:, :3])


@quiet
def test_objects_and_functions_as_compressors():
    x, y = gaussian_pair(1.0, 2, 2, n=1000)
    expected = LossyMutualInformation(**PLAIN).fit(x, y).estimate()
    assert LossyMutualInformation(lambda v: v, lambda v: v).fit(x, y).estimate() == expected
    wide = [v @ np.random.default_rng(i).normal(size=(2, 30)) for i, v in enumerate((x, y))]
    unfitted = PCACompressor(2)
    found = LossyMutualInformation(unfitted, "pca", dim=2).fit(*wide).estimate()
    assert found.mi == pytest.approx(expected.mi, abs=0.01)
    assert not hasattr(unfitted, "pca_")  # it was copied
    fitted = PCACompressor(2).fit(wide[0])
    assert LossyMutualInformation(fitted, "pca", dim=2).fit(*wide).x_compressor_ is fitted
    # a table that has no more columns than dim needs no compressor
    assert LossyMutualInformation("ae", "pca").fit(x, y).estimate() == expected
    assert LossyMutualInformation().fit(x[:, 0], y[:, 0]).codes_[0].shape == (1000, 1)


def test_bad_input():
    rng = np.random.default_rng(0)
    x, y = gaussian_pair(1.0, 2, 2, n=500)
    measure = LossyMutualInformation(**PLAIN, k=5)
    with pytest.raises(NotFittedError, match="call fit first"):
        measure.estimate()
    with pytest.raises(DataError, match="X has 500, Y has 499"):
        measure.fit(x, y[1:])
    with pytest.raises(DataError, match="the sample has 49 observations, but 5 neighbours need at least 50"):
        measure.fit(x[:49], y[:49])
    with pytest.raises(DataError, match="the code of X has 20 of 510 rows that coincide"):
        measure.fit(np.r_[x, x[:10]], np.r_[y, rng.normal(size=(10, 2))]).estimate()
    with pytest.raises(DataError, match="the codes have 6 \\+ 5 dimensions"):
        measure.fit(rng.normal(size=(500, 6)), rng.normal(size=(500, 5))).estimate()
    with pytest.raises(DataError, match="the code of X column 1 is constant"):
        measure.fit(np.c_[x[:, 0], np.ones(500)], y).estimate()
    labels = np.r_[np.zeros(470, int), np.ones(30, int)]
    with pytest.raises(DataError, match="class 1 of Y has 30 observations, but 5 neighbours need at least 50"):
        measure.fit(x, labels).estimate()
    with pytest.raises(DataError, match="give both X and Y"):
        measure.fit(x, y).estimate(x)
    for option, value in (
        ("dim", 11),
        ("dim", 0),
        ("entropy", "bins"),
        ("k", 0),
        ("kernel", "box"),
        ("x_compressor", "umap"),
    ):
        with pytest.raises(OptionError, match=f"{option}="):
            LossyMutualInformation(**{option: value}).fit(rng.normal(size=(100, 20)), y[:100])
    with pytest.raises(OptionError, match="an object with fit and transform, or a function"):
        LossyMutualInformation(3).fit(rng.normal(size=(100, 20)), y[:100])
    with pytest.raises(DataError, match="the compressor gave 3 codes for 500 observations"):
        LossyMutualInformation(lambda v: v[:3], "identity").fit(x, y)
    with pytest.raises(DataError, match="too small for the convolutional autoencoder"):
        AutoencoderCompressor().fit(rng.random((20, 6, 6)))
    with pytest.raises(DataError, match="observations are constant"):
        AutoencoderCompressor().fit(np.ones((20, 9, 9)))
    with pytest.raises(DataError, match="observations are constant"):
        AutoencoderCompressor().fit(np.ones((20, 9)))
    with pytest.raises(DataError, match="not finite"):
        AutoencoderCompressor().fit(np.full((20, 9), np.nan))
    with pytest.raises(OptionError, match="code='binary'"):
        AutoencoderCompressor(code="binary").fit(x)
    with pytest.raises(NotFittedError):
        AutoencoderCompressor().transform(x)
    with pytest.raises(DataError, match=r"has 2 features|have shape \(2,\)"):
        AutoencoderCompressor(1, steps=1).fit(rng.random((20, 5))).transform(x)


def test_mine_on_gaussians():
    x, y = gaussian_pair(1.0, 2, 2, n=3000)
    found = mine_mutual_information(x, y, steps=500, hidden=(64, 64))
    assert found.mi == pytest.approx(1.0, abs=0.15)
    assert 0.01 < found.standard_error < 0.1
    assert found.history[0] == (0, pytest.approx(0, abs=0.1))
    independent = mine_mutual_information(x, np.roll(y, 1, axis=0), steps=200, hidden=(64, 64))
    assert independent.mi == pytest.approx(0, abs=0.05)
    assert mine_mutual_information(x, y, steps=20, seed=3) == mine_mutual_information(x, y, steps=20, seed=3)


class Table(nn.Module):
    """T(x, y) looked up: the network that can be anything on pairs of categories."""

    def __init__(self):
        super().__init__()
        self.values = nn.Parameter(torch.tensor([[0.5, -1.0], [0.25, 2.0]]))

    def forward(self, x, y):
        return self.values[x[:, 0].long(), y[:, 0].long()]


def test_the_gradient_is_divided_by_the_moving_average():
    """The derivative of -(mean of T on pairs) + (mean of exp T on shuffled pairs) / average, worked out by hand."""
    x = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    y = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    task = MineTask(Table(), lr=0.1, ema=0.9)
    task.log_average.fill_(math.log(3.0))
    order = torch.randperm(4, generator=torch.Generator().manual_seed(5))
    losses = task("main", (x, y), 0, torch.Generator().manual_seed(5))
    losses["loss"].backward()
    t = task.network.values.detach()
    apart = torch.exp(t[x[:, 0].long(), y[order, 0].long()])
    average = 0.9 * 3.0 + 0.1 * float(apart.mean())
    expected = torch.zeros(2, 2)
    for a, b in zip(x[:, 0].long(), y[:, 0].long(), strict=True):
        expected[a, b] -= 1 / 4
    for a, b, e in zip(x[:, 0].long(), y[order, 0].long(), apart, strict=True):
        expected[a, b] += e / 4 / average
    assert task.network.values.grad == pytest.approx(expected, abs=1e-6)
    assert float(task.log_average) == pytest.approx(math.log(average), abs=1e-5)
    joint = t[x[:, 0].long(), y[:, 0].long()].mean()
    assert float(losses["bound"]) == pytest.approx(float(joint - apart.mean().log()), abs=1e-6)


def test_mine_on_images_and_bad_input():
    x, y = image_pair(2.0, "blobs", 400, seed=1)
    assert math.isfinite(mine_mutual_information(x, y, network="conv", steps=3, batch_size=32).mi)
    with pytest.raises(DataError, match="at least 50 pairs"):
        mine_mutual_information(x[:20], y[:20])
    with pytest.raises(DataError, match="x has 400, y has 399"):
        mine_mutual_information(x, y[1:])
    with pytest.raises(OptionError, match="network='rnn'"):
        mine_mutual_information(x, y, network="rnn")
    with pytest.raises(OptionError, match="ema=1"):
        mine_mutual_information(x, y, ema=1.0)


def test_more_information_than_the_labels_have_is_said_to_be_impossible():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=2000)
    codes = rng.normal(size=(2000, 6)) + 20 * labels[:, None]
    with pytest.warns(EstimatorWarning, match=r"more than the entropy of the labels, 1\.39"):
        found = LossyMutualInformation("pca", "labels").fit(codes, labels).estimate()
    assert found.mi > 2
    assert abs(LossyMutualInformation("pca", "labels", dim=1).fit(codes, labels).estimate().mi - np.log(4)) < 0.05
