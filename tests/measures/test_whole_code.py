"""Measures of the code as a whole, and their place in `measure`."""

import warnings

import numpy as np
import pytest

from unsnarl.errors import DataError, OptionError
from unsnarl.measures import diffusion_spectral, dimensionality, lossy_information, measure


@pytest.fixture
def clusters():
    rng = np.random.default_rng(0)
    shape = rng.integers(4, size=400)
    return 100.0 * np.eye(4)[shape] + 1e-3 * rng.normal(size=(400, 4)), {"shape": shape}


def test_directions_of_a_plane_in_space():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(5000, 2)) @ np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    found = dimensionality(plane, np.arange(5000) % 2, bootstrap=20)
    assert abs(found.effective_rank - 2) < 0.02
    assert abs(found.participation_ratio - 2) < 0.02
    assert found.effective_rank.low < 2 < found.effective_rank.high + 0.02


def test_modes_and_what_a_factor_explains_of_them(clusters):
    codes, factors = clusters
    noise = np.random.default_rng(1).integers(2, size=400)
    found = diffusion_spectral(codes, factors | {"noise": noise}, sigma=10, bootstrap=10)
    shares = np.bincount(factors["shape"]) / 400
    assert abs(found["dse"] + shares @ np.log2(shares)) < 0.01
    assert found["dsmi: shape"] > 1.9
    assert abs(found["dsmi: noise"]) < 0.05
    assert found["dsmi: shape"].low <= found["dsmi: shape"] <= found["dsmi: shape"].high


def test_continuous_factors_are_cut(clusters):
    codes, factors = clusters
    found = diffusion_spectral(codes, {"level": factors["shape"] + 0.01 * np.linspace(0, 1, 400)}, sigma=10)
    assert found["dsmi: level"] > 1.9


def test_large_codes_are_drawn_from(clusters):
    codes, factors = clusters
    found = diffusion_spectral(codes, factors, sigma=10, max_n=100)
    assert found.n == 100
    with pytest.raises(OptionError, match="max_n"):
        diffusion_spectral(codes, factors, max_n=1)


def test_information_of_all_latents_together_sees_an_exclusive_or():
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(3000, 2))
    codes = bits * 4.0 + rng.normal(size=(3000, 2)) * 0.3
    found = lossy_information(codes, {"xor": bits[:, 0] ^ bits[:, 1], "noise": rng.normal(size=3000)})
    assert abs(found["mi: xor"] - np.log(2)) < 0.1
    assert abs(found["mi: noise"]) < 0.1
    assert found.kept == pytest.approx(1)


def test_a_loose_bound_is_said_to_be_one():
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="4 principal components keep 4"):
        found = lossy_information(rng.normal(size=(300, 10)), {"side": rng.integers(2, size=300)}, bootstrap=8)
    assert found["mi: side"].low <= found["mi: side"] <= found["mi: side"].high


def test_constant_codes_are_named(clusters):
    _, factors = clusters
    with pytest.raises(DataError, match="every latent is constant"):
        dimensionality(np.ones((400, 3)), factors)
    with pytest.raises(DataError, match="every latent is constant"):
        lossy_information(np.ones((400, 3)), factors)


def test_they_are_part_of_measure_with_a_meaning_for_every_number(clusters):
    codes, factors = clusters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = measure(codes, factors, names=["dimensionality", "diffusion_spectral", "lossy_information"])
    table = report.table().set_index("score")
    assert {"effective_rank", "dse", "dsmi: shape", "mi: shape"} <= set(table.index)
    assert all(table["meaning"])
    assert "mi: shape" in report.to_json()
