"""Classic entropy and information of binned points."""

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.information import entropy
from unsnarl.information._binned import binned_entropy, binned_mi


def test_counts_joint_bins():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    scaled = (x - x.min(0)) / (x.max(0) - x.min(0))
    for bins in (2, 3, 300):
        cells = np.minimum((scaled * bins).astype(int), bins - 1)
        expected = entropy(["-".join(map(str, row)) for row in cells], base=2)
        assert binned_entropy(x, bins=bins) == pytest.approx(expected, abs=1e-12)
    assert binned_entropy(torch.from_numpy(x), bins=3, base=4) == pytest.approx(binned_entropy(x, bins=3) / 2)


def test_constant_columns_and_edges():
    assert binned_entropy(np.ones((10, 3))) == 0
    assert binned_entropy(np.array([0.0, 0.5, 1.0, 1.0])) == pytest.approx(-0.25 * np.log2(0.25) - 0.75 * np.log2(0.75))
    assert binned_entropy(np.array([[0.0, 5], [1.0, 5]])) == 1


def test_many_dimensions_leave_nothing_to_tell():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 50)
    for dimension, low, high in ((1, 1.0, 2.1), (500, -1e-9, 1e-9)):
        x = rng.uniform(-5, 5, size=(4, dimension))[y] + rng.normal(size=(200, dimension))
        x[:, 0] += 20 * y
        assert low <= binned_mi(x, y, bins=5, scale="all").mi <= high
    assert binned_entropy(x, bins=5) == pytest.approx(np.log2(200))


def test_negative_values_are_left():
    # one category is spread evenly over its own range, the whole is not over its
    x = np.concatenate([np.linspace(0, 1, 60), np.repeat([0.0, 50.0], 3)])
    y = np.array([0] * 60 + [1] * 6)
    assert binned_mi(x, y, bins=8).mi < -0.5
    assert binned_mi(x, y, bins=8, scale="all").mi > -0.2


def test_published_values():
    peer = pytest.importorskip("dse_dsmi")
    from dse_dsmi.dse import diffusion_spectral_entropy
    from dse_dsmi.dsmi import diffusion_spectral_mutual_information

    assert peer is not None
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(150, 3)), rng.integers(3, size=150)
    options = {"classic_shannon_entropy": True, "num_bins_per_dim": 4}
    assert binned_entropy(x, bins=4) == pytest.approx(diffusion_spectral_entropy(x, **options), abs=1e-6)
    theirs, _ = diffusion_spectral_mutual_information(x, y[:, None], **options)
    assert binned_mi(x, y, bins=4).mi == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: binned_entropy(np.ones((3, 2)), bins=0), OptionError, "bins=0 must be an integer at least 1"),
        (lambda: binned_mi(np.ones((3, 2)), [0, 1, 1], scale="row"), OptionError, "scale='row' is not allowed"),
        (lambda: binned_entropy(np.ones((3, 2)), base=1), OptionError, "base=1"),
        (lambda: binned_entropy(np.array([[0.0], [np.inf]])), DataError, "not finite"),
        (lambda: binned_mi(np.ones((3, 2)), [0, 1]), DataError, "X has 3, Y has 2"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
